// SPDX-License-Identifier: Apache-2.0
#include "torture/power_workload.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <mutex>
#include <thread>

#include "platform/test_point.h"
#include "torture/power_shop.h"

namespace torture::power {
namespace {

using Random = std::mt19937_64;

// The first thing that goes wrong in any thread.
class Complaint {
 public:
  void note(const std::string& wrong) {
    const std::lock_guard lock(mutex_);
    if (first_.empty()) first_ = wrong;
  }
  std::string first() const { return first_; }

 private:
  std::mutex mutex_;
  std::string first_;
};

std::string sell_in_threads(hf_db* db, Recorder& recorder, const WorkloadPlan& plan, std::uint64_t first_id) {
  const SellerPlan sellers{plan.seed, plan.commits_each, plan.large_rows};
  Complaint complaint;
  std::vector<std::thread> threads;
  for (int i = 0; i < plan.threads; ++i) {
    threads.emplace_back(
        [&, id = first_id + static_cast<std::uint64_t>(i)] { complaint.note(sell(db, recorder, sellers, id)); });
  }
  for (std::thread& thread : threads) thread.join();
  return complaint.first();
}

// Another process that sells: it waits for a byte in the pipe before it opens.
pid_t start_second(const WorkloadPlan& plan, const std::string& path, Recorder& recorder, std::uint64_t first_id,
                   int* go) {
  int ends[2];
  if (::pipe(ends) != 0) return -1;
  const pid_t pid = ::fork();
  if (pid != 0) {
    ::close(ends[0]);
    *go = ends[1];
    return pid;
  }
  ::close(ends[1]);
  char byte;
  if (::read(ends[0], &byte, 1) != 1) ::_exit(3);
  hf_db* db = nullptr;
  const hf_open_options options = small_options(plan.background);
  hf_error error = HF_ERROR_INIT;
  std::string wrong;
  if (hf_open(path.c_str(), &options, &db, &error) != HF_OK) wrong = error.message;
  if (wrong.empty()) wrong = sell_in_threads(db, recorder, plan, first_id);
  if (!wrong.empty()) std::fprintf(stderr, "second process: %s\n", wrong.c_str());
  hf_close(&db);
  ::_exit(wrong.empty() ? 0 : 1);
}

// The region as it is: what a later boot may find of it.
void keep_region(const WorkloadPlan& plan, const std::string& path) {
  const io::Unobserved unobserved;
  std::error_code ignored;
  if (plan.region_copy.empty()) return;
  std::filesystem::copy_file(path + "/memory/control", plan.region_copy,
                             std::filesystem::copy_options::overwrite_existing, ignored);
}

// What an open has recovered counts as answered once a sync says so.
std::string acknowledge_all(hf_db* db, Recorder& recorder) {
  hf_stats stats{};
  stats.size = sizeof stats;
  int code = hf_stat(db, &stats);
  if (code == HF_OK) code = hf_sync(db, 10'000);
  if (code != HF_OK) return "after an open: " + describe(db, code);
  recorder.acknowledge(stats.csn_published);
  return "";
}

// The last thing that a process does: relaxed commits, and a flush of them that gets no further than its writes.
// Nobody else is at work, so that the recording knows all that happened.
void die_in_flush(hf_db* db, Recorder& recorder, std::uint64_t seed) {
  if (!sell_relaxed(db, recorder, seed, 20).empty()) return;
  hf::platform::arm("log.flush.written:kill:1");
  const int code = hf_sync(db, 1000);  // comes back only where test points are off
  if (code != HF_OK) std::fprintf(stderr, "hf_sync: %s\n", hf_code_name(code));
}

// One open, with everybody at work until the sellers are done. `close`: in order; else the caller's process ends next.
std::string run_session(const WorkloadPlan& plan, int session, const std::string& path, Recorder& recorder,
                        bool close) {
  const std::uint64_t first_id = static_cast<std::uint64_t>(session) * 100 + 1;
  int go = -1;
  const pid_t second = plan.second_process && close ? start_second(plan, path, recorder, first_id + 50, &go) : 0;
  hf_db* db = nullptr;
  // Who is to end at once must not have a thread that is in the middle of something: its calls would be unknown.
  const hf_open_options options = small_options(plan.background && close);
  hf_error error = HF_ERROR_INIT;
  if (const int code = hf_open(path.c_str(), &options, &db, &error); code != HF_OK) {
    return std::string("hf_open: ") + hf_code_name(code) + ": " + error.message;
  }
  std::atomic<bool> stop{false};
  Complaint complaint;
  complaint.note(session == 0 ? make_tables(db, recorder) : acknowledge_all(db, recorder));
  if (second > 0 && ::write(go, "g", 1) != 1) complaint.note("the second process cannot be told to begin");
  std::thread keeper([&] {
    const std::string name = "extra" + std::to_string(session) + "-";
    complaint.note(keep(db, recorder, plan.seed + 77 + static_cast<std::uint64_t>(session), name, stop));
  });
  complaint.note(sell_in_threads(db, recorder, plan, first_id));
  int end = 0;
  if (second > 0 && (::waitpid(second, &end, 0) != second || end != 0)) complaint.note("the second process failed");
  stop = true;
  keeper.join();
  if (go >= 0) ::close(go);
  keep_region(plan, path);
  if (!close) {
    if (plan.seed % 4 != 3) die_in_flush(db, recorder, plan.seed);
    return complaint.first();
  }
  if (const int code = hf_close(&db); code != HF_OK) complaint.note(std::string("hf_close: ") + hf_code_name(code));
  return complaint.first();
}

// A session in a process that ends without a close: what it left in the ring, and in files without a sync, is for the
// next one to pick up, with the machine still up.
std::string run_dying_session(const WorkloadPlan& plan, int session, const std::string& path, Recorder& recorder) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    const std::string wrong = run_session(plan, session, path, recorder, false);
    if (!wrong.empty()) std::fprintf(stderr, "dying process: %s\n", wrong.c_str());
    ::_exit(wrong.empty() ? 0 : 1);
  }
  int end = 0;
  const bool waited = pid > 0 && ::waitpid(pid, &end, 0) == pid;
  const bool killed = WIFSIGNALED(end) && WTERMSIG(end) == SIGKILL;
  // Without its memory there is nothing to salvage: recovery itself has to put on the device what the flush wrote.
  if (killed && plan.seed % 4 == 1) {
    const io::Unobserved unobserved;
    std::filesystem::remove_all(path + "/memory");
  }
  return waited && (end == 0 || killed) ? "" : "the dying process failed";
}

}  // namespace

hf_open_options small_options(bool background) {
  hf_open_options options{};
  options.size = sizeof options;
  if (!background) options.flags = HF_OPEN_NO_THREAD;
  options.map_size = std::uint64_t{1} << 32;
  options.overlay_bytes_max = 32u << 20;
  options.log_segment_size_max = 1u << 20;
  options.merge_interval_ms = 10;
  options.flush_interval_ms = 5;
  options.sweep_interval_ms = 10;
  options.tables_max = 100;
  options.locks_max = 1024;
  return options;
}

std::string run_workload(const WorkloadPlan& plan, const std::string& path, Recorder& recorder) {
  std::string wrong;
  for (int session = 0; session < plan.sessions && wrong.empty(); ++session) {
    const bool dies = session < plan.dying;
    wrong = dies ? run_dying_session(plan, session, path, recorder) : run_session(plan, session, path, recorder, true);
  }
  return wrong;
}

std::string run_few(hf_db* db, Random& random, int commits, History* history, Recorder* recorder) {
  hf_table* table = nullptr;
  const bool is_new = !history->at(history->last()).contains("after");
  if (const int code = hf_table_ensure(db, "after", &table); code != HF_OK)
    return "hf_table_ensure: " + describe(db, code);
  if (is_new) history->add(history->last() + 1, {{Change::Kind::kCreateTable, "after", "", 0}});
  if (recorder != nullptr) recorder->acknowledge(history->last());
  for (int i = 0; i < commits; ++i) {
    hf_txn_options options = HF_TXN_OPTIONS_INIT;
    options.durability = random() % 3 != 0 ? HF_DURABLE : HF_RELAXED;
    hf_txn* txn = nullptr;
    int code = hf_begin(db, &options, &txn);
    Changes changes;
    for (int row = static_cast<int>(random() % 3); row >= 0 && code == HF_OK; --row) {
      const std::string key = "row" + std::to_string(random() % 20);
      const std::string value = random_value(random, random() % 3 == 0 ? random() % 9000 : random() % 100);
      const bool gone = random() % 4 == 0;
      code = gone ? hf_erase(txn, table, bytes_of(key)) : hf_put(txn, table, bytes_of(key), bytes_of(value), 0);
      changes.push_back({gone ? Change::Kind::kErase : Change::Kind::kPut, "after", key, hash_of(value)});
    }
    if (code == HF_OK) code = hf_commit(txn);
    const Csn csn = hf_txn_csn(txn);
    hf_txn_end(&txn);
    if (code != HF_OK) return std::string("a commit after recovery answered ") + hf_code_name(code);
    if (csn != history->last() + 1) return "a commit after recovery got csn " + std::to_string(csn);
    history->add(csn, std::move(changes));
    if (recorder != nullptr && options.durability == HF_DURABLE) recorder->acknowledge(csn);
    if (random() % 4 == 0) {
      code = hf_maintain(db, HF_MAINTAIN_MERGE_ALL);
      if (code != HF_OK) return "hf_maintain after recovery: " + describe(db, code);
    }
  }
  return "";
}

}  // namespace torture::power
