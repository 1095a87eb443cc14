// SPDX-License-Identifier: Apache-2.0
#include "torture/histories_round.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <new>
#include <random>
#include <thread>
#include <vector>

#include "platform/plant.h"

namespace torture {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr auto kStandstillMax = std::chrono::seconds(20);
constexpr std::uint64_t kOverlayBytes = 8u << 20;  // small: it is sealed and merged all the time
constexpr std::uint64_t kLogSegmentBytes = 8u << 20;
constexpr std::uint64_t kMapBytes = std::uint64_t{1} << 32;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

class Field {
 public:
  Field(const Round& round, const Common& common)
      : round_(round), directory_(make_directory(common, "histories")), random_(round.load.seed) {
    void* const at = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) std::abort();
    board_ = new (at) Board();
    board_->limit = round.transactions;
    std::filesystem::create_directory(tapes());
  }
  ~Field() {
    munmap(board_, sizeof(Board));
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  Field(const Field&) = delete;

  RoundResult run() {
    RoundResult result;
    const Clock::time_point begin = Clock::now();
    alone(Task::kMake);
    if (!board_->failed) work(result);
    if (!board_->failed) alone(Task::kLookAtAll);
    result.seconds = seconds_since(begin);
    result.committed = board_->committed;
    result.refused = board_->refused;
    if (board_->failed) result.failure = board_->failure;
    check(result);
    return result;
  }

 private:
  std::string tapes() const { return directory_ + "/tapes"; }

  enum class Task { kMake, kWork, kLookAtAll };

  // --- in the children -----------------------------------------------------------------------------------------------

  hf_db* open(Task task) {
    // Tables are made in peace: the bug is for those who work.
    if (hf::platform::kPlantedBugs) hf::platform::plant(task == Task::kMake ? "" : round_.plant);
    hf_open_options options = HF_OPEN_OPTIONS_INIT;
    options.map_size = kMapBytes;
    options.overlay_bytes_max = kOverlayBytes;
    options.log_segment_size_max = kLogSegmentBytes;
    options.merge_interval_ms = round_.merges ? 10 : 500;
    if (!round_.load.heat) options.flags |= HF_OPEN_NO_HEAT;
    hf_db* db = nullptr;
    hf_error error = HF_ERROR_INIT;
    const int code = hf_open((directory_ + "/db").c_str(), &options, &db, &error);
    if (code != HF_OK) board_->fail(std::string("hf_open answered ") + hf_code_name(code) + ": " + error.message);
    return db;
  }

  bool find_tables(hf_db* db, Tables* tables) {
    int code = hf_table_ensure(db, "rows", &tables->rows);
    if (code == HF_OK) code = hf_table_ensure(db, "numbers", &tables->numbers);
    if (code != HF_OK) board_->fail(std::string("hf_table_ensure answered ") + hf_code_name(code));
    return code == HF_OK;
  }

  int child(Task task) {
    hf_db* db = open(task);
    if (db == nullptr) return 1;
    Tables tables;
    if (!find_tables(db, &tables)) return 1;
    if (task != Task::kMake) {
      std::vector<std::unique_ptr<Worker>> workers;
      const unsigned count = task == Task::kLookAtAll ? 1 : round_.threads;
      for (unsigned i = 0; i < count; ++i) {
        workers.push_back(std::make_unique<Worker>(db, tables, *board_, round_.load, tapes() + "/"));
      }
      if (task == Task::kLookAtAll)
        workers[0]->read_all();
      else
        work_with(db, workers);
    }
    const int code = hf_close(&db);
    if (code != HF_OK) board_->fail(std::string("hf_close answered ") + hf_code_name(code));
    return 0;
  }

  void work_with(hf_db* db, const std::vector<std::unique_ptr<Worker>>& workers) {
    std::atomic<unsigned> working{static_cast<unsigned>(workers.size())};
    std::vector<std::thread> threads;
    for (const auto& worker : workers) {
      threads.emplace_back([&] {
        worker->run();
        --working;
      });
    }
    while (working > 0) {
      std::this_thread::sleep_for(milliseconds(5));
      if (!round_.merges) continue;
      const int code = hf_maintain(db, HF_MAINTAIN_MERGE_ALL);
      if (code != HF_OK && code != HF_BUSY && code != HF_OVERLOADED) {
        board_->fail(std::string("hf_maintain answered ") + hf_code_name(code));
      }
    }
    for (std::thread& thread : threads) thread.join();
  }

  // --- in the parent, which never opens the database -----------------------------------------------------------------

  pid_t start(Task task) {
    const pid_t pid = fork();
    if (pid == 0) _exit(child(task));
    if (pid < 0) {
      std::perror("fork");
      std::abort();
    }
    return pid;
  }

  // Waits for a child that ended; nothing but our own SIGKILL may have ended it badly.
  void ended(pid_t pid, int state) {
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0) return;
    const bool killed = WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL;
    if (!killed) board_->fail("process " + std::to_string(pid) + " ended with state " + std::to_string(state));
  }

  void work(RoundResult& result) {
    std::vector<pid_t> pids;
    for (unsigned i = 0; i < round_.processes; ++i) pids.push_back(start(Task::kWork));
    std::uint64_t seen = 0;
    Clock::time_point moved = Clock::now();
    while (!pids.empty()) {
      for (std::size_t i = pids.size(); i-- > 0;) {
        int state = 0;
        if (waitpid(pids[i], &state, WNOHANG) != pids[i]) continue;
        ended(pids[i], state);
        pids.erase(pids.begin() + static_cast<std::ptrdiff_t>(i));
      }
      const std::uint64_t now = board_->begun;
      if (now != seen) moved = Clock::now();
      seen = now;
      if (Clock::now() - moved > kStandstillMax) {
        board_->fail("a standstill of " + std::to_string(kStandstillMax.count()) + " s");
        kill_and_reap(pids, 0);
        return;
      }
      if (result.kills < round_.kills && now > round_.transactions * (result.kills + 1) / (round_.kills + 1)) {
        const std::size_t victims = ++result.kills % 4 == 0 ? pids.size() : 1;
        const std::size_t stay = pids.size() - std::min(victims, pids.size());
        kill_and_reap(pids, stay);
        for (std::size_t i = 0; i < victims; ++i) pids.push_back(start(Task::kWork));
      }
      if (round_.stops && !pids.empty() && random_() % 16 == 0) stop_for_a_while(pids[random_() % pids.size()]);
      std::this_thread::sleep_for(std::chrono::microseconds(200 + random_() % 800));
    }
  }

  // Wherever it is, it stands still: the others wait for it, or go on without.
  void stop_for_a_while(pid_t pid) {
    kill(pid, SIGSTOP);
    std::this_thread::sleep_for(milliseconds(1 + random_() % 8));
    kill(pid, SIGCONT);
  }

  void kill_and_reap(std::vector<pid_t>& pids, std::size_t stay) {
    std::shuffle(pids.begin(), pids.end(), random_);
    for (std::size_t i = stay; i < pids.size(); ++i) kill(pids[i], SIGKILL);
    for (std::size_t i = stay; i < pids.size(); ++i) {
      int state = 0;
      waitpid(pids[i], &state, 0);
      ended(pids[i], state);
    }
    pids.resize(stay);
  }

  void alone(Task task) {
    const pid_t pid = start(task);
    int state = 0;
    waitpid(pid, &state, 0);
    ended(pid, state);
  }

  // --- the verdict ---------------------------------------------------------------------------------------------------

  void check(RoundResult& result) {
    histories::History history;
    for (const auto& tape : std::filesystem::directory_iterator(tapes())) read_tape(tape.path().string(), history);
    std::sort(history.begin(), history.end(),
              [](const histories::Txn& a, const histories::Txn& b) { return a.begun_ns < b.begun_ns; });
    const Clock::time_point begin = Clock::now();
    result.report = histories::check(history);
    result.check_seconds = seconds_since(begin);
    for (const histories::Anomaly& anomaly : result.report.anomalies) {
      std::uint64_t over_ns = 0;
      for (const std::uint32_t txn : anomaly.txns) over_ns = std::max(over_ns, history[txn].ended_ns);
      const auto after = std::partition_point(history.begin(), history.end(),
                                              [over_ns](const histories::Txn& txn) { return txn.begun_ns <= over_ns; });
      const auto count = static_cast<std::uint64_t>(after - history.begin());
      if (result.caught_after == 0 || count < result.caught_after) result.caught_after = count;
    }
  }

  const Round& round_;
  std::string directory_;
  std::mt19937_64 random_;
  Board* board_ = nullptr;
};

}  // namespace

RoundResult run_round(const Round& round, const Common& common) {
  std::fflush(stdout);  // children inherit what is not written yet
  return Field(round, common).run();
}

}  // namespace torture
