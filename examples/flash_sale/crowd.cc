// SPDX-License-Identifier: Apache-2.0
#include "crowd.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "die.h"
#include "report.h"
#include "shop.h"
#include "stock_taking.h"
#include "worker.h"

namespace flash_sale {
namespace {

constexpr std::uint64_t kProgressEveryNs = 200'000'000;
constexpr std::uint64_t kStandstillNs = 90'000'000'000;     // longer than any patience of a worker: something hangs
constexpr auto kWatchEvery = std::chrono::milliseconds(1);  // the race for the stock may be over in a tenth of a second

pid_t start_child(const std::function<void()>& work) {
  const pid_t parent = getpid();
  std::fflush(nullptr);  // or the child would print it once more
  const pid_t child = fork();
  if (child < 0) die("cannot start a process");
  if (child > 0) return child;
  // A child does not outlive the parent, whatever ends it.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(2);
  work();
  std::fflush(nullptr);
  _exit(0);
}

class Crowd {
 public:
  Crowd(const std::string& database_path, const Options& options, Board& board) : options_(options), board_(board) {
    for (std::uint32_t worker = 0; worker < options.processes; ++worker) {
      children_.push_back(start_child([&, worker] { run_worker(database_path, options, board, worker); }));
    }
    // The naive sale knows no locks, so nobody could count in peace.
    if (!options.naive) children_.push_back(start_child([&] { run_stock_taking(database_path, options, board); }));
    live_ = static_cast<std::uint32_t>(children_.size());
  }

  CrowdResult watch() {
    ProgressPrinter progress(options_);
    result_.ended_well = true;
    while (live_ > 0) {
      reap();
      if (board_.figures().open.load(std::memory_order_acquire) != 0) {
        const std::uint64_t elapsed_ns = monotonic_ns() - board_.figures().started_ns.load(std::memory_order_relaxed);
        if (options_.kill && result_.killed_pid == 0 && is_time_to_kill()) kill_one(elapsed_ns);
        if (live_ > 0 && elapsed_ns >= progress_next_ns_) {
          progress.print(board_, elapsed_ns);
          progress_next_ns_ = (elapsed_ns / kProgressEveryNs + 1) * kProgressEveryNs;
          if (stands_still()) call_off("nobody was served for too long");
        }
      }
      std::this_thread::sleep_for(kWatchEvery);
    }
    return result_;
  }

 private:
  // A child that ended by itself has finished the sale, or it could not go on: then the sale is off.
  void reap() {
    for (pid_t& child : children_) {
      int status = 0;
      if (child == 0 || waitpid(child, &status, WNOHANG) != child) continue;
      child = 0;
      --live_;
      if (WIFSIGNALED(status)) call_off("a process died of signal " + std::to_string(WTERMSIG(status)));
      if (WIFEXITED(status) && WEXITSTATUS(status) != 0) call_off("a process gave up");
    }
  }

  bool stands_still() {
    const std::uint64_t finished = board_.tally().visits_finished;
    if (finished != finished_seen_) {
      finished_seen_ = finished;
      served_ns_ = monotonic_ns();
    }
    return monotonic_ns() - served_ns_ > kStandstillNs;
  }

  void call_off(const std::string& why) {
    if (!result_.ended_well) return;  // it was called off before, and this child died of the lines below
    result_.ended_well = false;
    std::fprintf(stderr, "flash_sale: %s: the sale is off\n", why.c_str());
    for (const pid_t other : children_) {
      if (other != 0) kill(other, SIGKILL);
    }
  }

  bool is_time_to_kill() const {
    std::uint64_t finished = 0;
    std::uint64_t sold = 0;
    for (std::uint32_t index = 0; index < board_.visit_count(); ++index) {
      const Visit& visit = board_.visit(index);
      finished += visit.finished.load(std::memory_order_relaxed);
      if (visit.order.load(std::memory_order_relaxed) != Outcome::kYes) continue;
      sold += basket_of(options_.seed, Board::buyer_of(index)).count;
    }
    return finished * 3 >= board_.visit_count() || (options_.stock > 0 && sold * 3 >= options_.stock);
  }

  void kill_one(std::uint64_t elapsed_ns) {
    const auto victim = static_cast<std::uint32_t>(options_.seed % options_.processes);
    pid_t& child = children_[victim];
    int status = 0;
    if (child == 0 || kill(child, SIGKILL) != 0 || waitpid(child, &status, 0) != child) return;
    const pid_t pid = child;
    child = 0;
    --live_;
    if (WIFEXITED(status)) {  // it was faster
      if (WEXITSTATUS(status) != 0) call_off("a process gave up");
      return;
    }
    result_.killed_pid = pid;
    result_.killed_at_s = static_cast<double>(elapsed_ns) / 1e9;
    board_.give_back(victim);
  }

  const Options& options_;
  Board& board_;
  std::vector<pid_t> children_;  // by worker, then the stock-taker; 0: ended
  std::uint32_t live_ = 0;
  std::uint64_t progress_next_ns_ = kProgressEveryNs;
  std::uint64_t finished_seen_ = 0;
  std::uint64_t served_ns_ = monotonic_ns();  // when finished_seen_ last grew
  CrowdResult result_;
};

}  // namespace

bool run_in_child(const std::function<void()>& work) {
  const pid_t child = start_child(work);
  int status = 0;
  if (waitpid(child, &status, 0) != child) return false;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

CrowdResult run_crowd(const std::string& database_path, const Options& options, Board& board) {
  return Crowd(database_path, options, board).watch();
}

}  // namespace flash_sale
