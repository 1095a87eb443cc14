// SPDX-License-Identifier: Apache-2.0
#include "bench_crowd.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bit>
#include <chrono>
#include <new>
#include <thread>
#include <vector>

#include "database.h"
#include "files.h"
#include "signals.h"
#include "units.h"

namespace tool::bench {
namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(1);
constexpr std::uint64_t kShowEveryNs = 500'000'000;

void raise_to(std::atomic<std::uint64_t>& maximum, std::uint64_t value) noexcept {
  std::uint64_t seen = maximum.load(std::memory_order_relaxed);
  while (seen < value && !maximum.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

pid_t start_child(const std::function<void()>& work) {
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) fail_system("cannot start a process", errno);
  if (child > 0) return child;
  // A child does not outlive the command, whatever ends that.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(kTrouble);
  try {
    work();
    _exit(kDone);
  } catch (const Failure& failure) {
    say(failure.message());
    _exit(failure.exit_code());
  } catch (const std::exception& error) {
    say(error.what());
    _exit(kTrouble);
  }
}

int exit_code_of_child(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : static_cast<int>(kBug); }

// The last worker to come takes the figures of the start and opens the doors.
void wait_for_doors(holdfast::Database& database, const Plan& plan, Board& board) {
  if (board.ready.fetch_add(1, std::memory_order_acq_rel) + 1 == plan.processes) {
    board.before = must(database.stats());
    board.started_ns.store(monotonic_ns(), std::memory_order_relaxed);
    board.open.store(1, std::memory_order_release);
  }
  while (board.open.load(std::memory_order_acquire) == 0) {
    check_interrupted();
    std::this_thread::sleep_for(kLookEvery);
  }
}

void serve_customers(Shop& shop, const Plan& plan, Board& board, std::uint64_t worker) {
  const std::uint64_t end_ns = board.started_ns.load(std::memory_order_relaxed) + plan.duration_ms * 1'000'000;
  std::uint64_t random = plan.seed * 1'000'003 + worker;
  for (std::uint64_t sequence = 0; monotonic_ns() < end_ns; ++sequence) {
    if (board.stop.load(std::memory_order_relaxed) != 0 || interrupted()) break;
    const Shop::Served served = shop.serve(worker, sequence, random);
    board.attempts.fetch_add(served.attempts, std::memory_order_relaxed);
    if (served.answer == Shop::Answer::kSold) {
      board.orders.fetch_add(1, std::memory_order_relaxed);
      board.latency.add(served.elapsed_us);
    } else {
      board.sold_out.fetch_add(1, std::memory_order_relaxed);
    }
  }
  raise_to(board.ended_ns, monotonic_ns());
}

void run_worker(const std::string& database_path, const Plan& plan, Board& board, std::uint32_t process) {
  holdfast::Database database = open_for(database_path, "worker " + std::to_string(process + 1), /*make=*/false);
  Shop shop(database, plan);
  wait_for_doors(database, plan, board);
  std::vector<std::thread> threads;
  for (std::uint32_t thread = 0; thread < plan.threads; ++thread) {
    const std::uint64_t worker = std::uint64_t{process} * plan.threads + thread;
    threads.emplace_back([&, worker] {
      try {
        serve_customers(shop, plan, board, worker);
      } catch (const Failure& failure) {
        say(failure.message());
        _exit(failure.exit_code());  // the others are told by the parent
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (board.done.fetch_add(1, std::memory_order_acq_rel) + 1 == plan.processes) board.after = must(database.stats());
  close_database(database);
}

void show_progress(const Board& board) {
  if (board.open.load(std::memory_order_acquire) == 0 || isatty(STDERR_FILENO) != 1) return;
  const std::uint64_t elapsed_ns = monotonic_ns() - board.started_ns.load(std::memory_order_relaxed);
  const double seconds = static_cast<double>(elapsed_ns) / 1e9;
  const std::uint64_t orders = board.orders.load(std::memory_order_relaxed);
  (void)write_all(STDERR_FILENO, "\r\x1b[Kbench  " + format_fixed(seconds, 1) + " s  " + format_count(orders) +
                                     " orders  " + format_rate(static_cast<double>(orders) / seconds) + "/s");
}

}  // namespace

void Histogram::add(std::uint64_t value_us) noexcept {
  raise_to(max_us_, value_us);
  // Below 8 a bucket per value; above, the three bits after the leading one choose the eighth.
  unsigned bucket = static_cast<unsigned>(value_us);
  if (value_us >= 8) {
    const unsigned shift = static_cast<unsigned>(std::bit_width(value_us)) - 4;
    bucket = 8 * (shift + 1) + static_cast<unsigned>((value_us >> shift) & 7);
  }
  counts_[bucket < kBuckets ? bucket : kBuckets - 1].fetch_add(1, std::memory_order_relaxed);
}

std::uint64_t Histogram::quantile_us(double share) const noexcept {
  std::uint64_t total = 0;
  for (const auto& count : counts_) total += count.load(std::memory_order_relaxed);
  std::uint64_t seen = 0;
  for (unsigned bucket = 0; bucket < kBuckets; ++bucket) {
    seen += counts_[bucket].load(std::memory_order_relaxed);
    if (seen == 0 || static_cast<double>(seen) < share * static_cast<double>(total)) continue;
    const std::uint64_t end = bucket < 8 ? bucket : std::uint64_t{8 + bucket % 8 + 1} << (bucket / 8 - 1);
    return end < max_us() ? end : max_us();
  }
  return max_us();
}

Board* Board::make() {
  void* memory = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail_system("no memory", errno);
  return new (memory) Board{};
}

holdfast::Database open_for(const std::string& database_path, const std::string& who, bool make) {
  Common common;
  common.directory = database_path;
  return open_database(common, "bench " + who, make ? OpenMode::kMaker : OpenMode::kWorker);
}

void run_in_child(const std::function<void()>& work) {
  const pid_t child = start_child(work);
  int status = 0;
  while (waitpid(child, &status, 0) != child) {
    if (errno != EINTR) fail_system("cannot wait for a process", errno);
  }
  if (const int code = exit_code_of_child(status); code != kDone) throw Failure(code, "");
}

void run_crowd(const std::string& database_path, const Plan& plan, Board& board) {
  std::vector<pid_t> children;
  for (std::uint32_t process = 0; process < plan.processes; ++process) {
    children.push_back(start_child([&, process] { run_worker(database_path, plan, board, process); }));
  }
  int exit_code = kDone;
  std::uint64_t shown_ns = monotonic_ns();
  for (std::size_t live = children.size(); live > 0;) {
    if (interrupted() || exit_code != kDone) board.stop.store(1, std::memory_order_relaxed);
    for (pid_t& child : children) {
      int status = 0;
      if (child == 0 || waitpid(child, &status, WNOHANG) != child) continue;
      child = 0;
      --live;
      if (exit_code == kDone) exit_code = exit_code_of_child(status);
    }
    // Before the doors are open nobody looks at `stop`.
    const bool is_stuck = exit_code != kDone && board.open.load(std::memory_order_acquire) == 0;
    for (const pid_t child : children) {
      if (is_stuck && child != 0) kill(child, SIGTERM);
    }
    if (monotonic_ns() - shown_ns > kShowEveryNs) {
      show_progress(board);
      shown_ns = monotonic_ns();
    }
    std::this_thread::sleep_for(kLookEvery);
  }
  if (isatty(STDERR_FILENO) == 1) (void)write_all(STDERR_FILENO, "\r\x1b[K");
  if (exit_code != kDone) throw Failure(exit_code, "");
}

}  // namespace tool::bench
