// SPDX-License-Identifier: Apache-2.0
// Goal: what an operator sees is true: the metrics text is well-formed and counts what happened, the list of processes
// holds the living with their pins and locks and not the dead, messages come when there is something to say.
// Method: do a known number of things and read; a child process that is killed.
#include <signal.h>

#include <map>
#include <mutex>
#include <sstream>
#include <thread>
#include <vector>

#include "holdfast/admin.h"
#include "support.h"

namespace conformance {
namespace {

class Figures : public DatabaseTest {
 protected:
  std::string metrics() {
    size_t size = 0;
    EXPECT_EQ(hf_metrics(db_, nullptr, 0, &size), HF_TOO_LARGE);
    std::string text(size + 200, '\0');  // numbers grow meanwhile
    EXPECT_EQ(hf_metrics(db_, text.data(), text.size(), &size), HF_OK);
    EXPECT_EQ(strlen(text.c_str()), size);
    text.resize(size);
    return text;
  }
  // Value by name with labels; checks the form of each line on the way.
  std::map<std::string, double> parsed() {
    std::map<std::string, double> values;
    std::map<std::string, std::string> types;
    std::istringstream lines(metrics());
    std::string help_of;
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string first, second, third;
      words >> first >> second >> third;
      if (line.rfind("# HELP ", 0) == 0) {
        help_of = third;
        EXPECT_GT(line.size(), std::string("# HELP  ").size() + third.size()) << line;
      } else if (line.rfind("# TYPE ", 0) == 0) {
        EXPECT_EQ(third, help_of) << "TYPE follows HELP";
        EXPECT_TRUE(types.emplace(third, line.substr(line.rfind(' ') + 1)).second) << "twice: " << third;
      } else {
        EXPECT_EQ(first.rfind(help_of, 0), 0u) << line;
        EXPECT_TRUE(third.empty()) << line;
        size_t used = 0;
        values[first] = std::stod(second, &used);
        EXPECT_EQ(used, second.size()) << line;
      }
    }
    for (const auto& [name, type] : types) {
      EXPECT_TRUE(type == "counter" || type == "gauge" || type == "histogram") << name;
      EXPECT_EQ(type == "counter", name.size() > 6 && name.substr(name.size() - 6) == "_total") << name;
    }
    return values;
  }
};

TEST_F(Figures, MetricsCountWhatHappened) {
  const auto before = parsed();
  for (int i = 0; i < 7; ++i) put("row" + std::to_string(i), "value");
  const auto after = parsed();
  const auto grown = [&](const char* name) { return after.at(name) - before.at(name); };
  EXPECT_EQ(grown("holdfast_commits_total"), 7);
  EXPECT_EQ(grown("holdfast_durable_wait_seconds_count"), 7);
  EXPECT_EQ(after.at("holdfast_durable_wait_seconds_bucket{le=\"+Inf\"}"),
            after.at("holdfast_durable_wait_seconds_count"));
  EXPECT_GE(grown("holdfast_log_sync_seconds_count"), 1);
  EXPECT_EQ(after.at("holdfast_log_syncs_total"), after.at("holdfast_log_sync_seconds_count"));
  EXPECT_GT(grown("holdfast_durable_wait_seconds_sum"), 0);
  EXPECT_EQ(after.at("holdfast_processes"), 1);
  ASSERT_EQ(hf_maintain(db_, HF_MAINTAIN_MERGE_ALL), HF_OK);
  const auto merged = parsed();
  EXPECT_GE(merged.at("holdfast_merge_seconds_count"), 1);
  EXPECT_EQ(merged.at("holdfast_csn_applied"), merged.at("holdfast_csn_published"));
}

TEST_F(Figures, HistogramsNeverFall) {
  put("row", "value");
  std::istringstream lines(metrics());
  std::map<std::string, double> last;
  int buckets = 0;
  for (std::string line; std::getline(lines, line);) {
    const size_t at = line.find("_bucket{le=");
    if (line[0] == '#' || at == std::string::npos) continue;
    const double value = std::stod(line.substr(line.rfind(' ') + 1));
    double& before = last[line.substr(0, at)];
    EXPECT_GE(value, before) << line;
    before = value;
    ++buckets;
  }
  EXPECT_EQ(last.size(), 4u);
  EXPECT_EQ(buckets, 4 * 24);
}

TEST_F(Figures, WaitsForLocksAreCounted) {
  hf_txn *holder = nullptr, *waiter = nullptr;
  ASSERT_EQ(hf_begin(db_, nullptr, &holder), HF_OK);
  ASSERT_EQ(hf_begin(db_, nullptr, &waiter), HF_OK);
  ASSERT_EQ(hf_lock(holder, table_, bytes("present"), nullptr), HF_OK);
  hf_lock_options options = HF_LOCK_OPTIONS_INIT;
  options.timeout_ms = 20;
  const auto before = parsed();
  EXPECT_EQ(hf_lock(waiter, table_, bytes("present"), &options), HF_LOCK_TIMEOUT);
  const auto after = parsed();
  EXPECT_EQ(after.at("holdfast_lock_wait_seconds_count") - before.at("holdfast_lock_wait_seconds_count"), 1);
  EXPECT_GE(after.at("holdfast_lock_wait_seconds_sum") - before.at("holdfast_lock_wait_seconds_sum"), 0.02);
  EXPECT_EQ(after.at("holdfast_lock_timeouts_total") - before.at("holdfast_lock_timeouts_total"), 1);
  hf_txn_end(&waiter);
  hf_txn_end(&holder);
}

TEST_F(Figures, MetricsRefuseBadArguments) {
  size_t size = 0;
  char buffer[8];
  EXPECT_EQ(hf_metrics(nullptr, buffer, sizeof buffer, &size), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_metrics(db_, buffer, sizeof buffer, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_metrics(db_, nullptr, 8, &size), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_metrics(db_, buffer, sizeof buffer, &size), HF_TOO_LARGE);
  EXPECT_GT(size, 1000u);
}

std::vector<hf_process_info> processes_of(hf_db* db) {
  std::vector<hf_process_info> all;
  const auto visit = [](const hf_process_info* info, void* context) {
    static_cast<std::vector<hf_process_info>*>(context)->push_back(*info);
    return 0;
  };
  EXPECT_EQ(hf_processes(db, visit, &all), HF_OK);
  return all;
}

TEST_F(Figures, ProcessWithPinAndLocks) {
  hf_txn* txn = nullptr;
  hf_row row{};
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  ASSERT_EQ(hf_get(txn, table_, bytes("present"), &row), HF_OK);
  ASSERT_EQ(hf_lock(txn, table_, bytes("a"), nullptr), HF_OK);
  ASSERT_EQ(hf_lock(txn, table_, bytes("b"), nullptr), HF_OK);
  const std::vector<hf_process_info> all = processes_of(db_);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].pid, static_cast<uint64_t>(getpid()));
  EXPECT_STREQ(all[0].label, "conformance");
  EXPECT_EQ(all[0].is_self, 1u);
  EXPECT_EQ(all[0].pins, 1u);
  EXPECT_EQ(all[0].locks_held, 2u);
  EXPECT_EQ(all[0].locks_waiting, 0u);
  EXPECT_GT(all[0].opened_ms, 1'600'000'000'000u);
  hf_txn_end(&txn);
  EXPECT_EQ(processes_of(db_)[0].locks_held, 0u);
}

TEST_F(Figures, TheKilledAreNotListed) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    hf_db* db = nullptr;
    const char code = open_small(directory_.path("db"), &db, nullptr, HF_OPEN_NO_THREAD) == HF_OK ? 'y' : 'n';
    (void)!write(ready[1], &code, 1);
    for (;;) pause();
  }
  char code = 0;
  ASSERT_EQ(read(ready[0], &code, 1), 1);
  ASSERT_EQ(code, 'y');
  const std::vector<hf_process_info> both = processes_of(db_);
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[0].is_self + both[1].is_self, 1u);
  EXPECT_EQ(both[0].is_self != 0 ? both[1].pid : both[0].pid, static_cast<uint64_t>(child));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(processes_of(db_).size(), 1u);
  close(ready[0]);
  close(ready[1]);
}

TEST_F(Figures, TheVisitorCanStop) {
  const auto visit = [](const hf_process_info*, void*) { return 77; };
  EXPECT_EQ(hf_processes(db_, visit, nullptr), 77);
  EXPECT_EQ(hf_processes(db_, nullptr, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_processes(nullptr, visit, nullptr), HF_INVALID_ARGUMENT);
}

struct Messages {
  std::mutex mutex;
  std::vector<std::pair<int, std::string>> lines;
  static void hear(int level, const char* text, void* context) {
    auto* const self = static_cast<Messages*>(context);
    const std::lock_guard lock(self->mutex);
    self->lines.emplace_back(level, text);
  }
  bool has(int level, const std::string& part) {
    const std::lock_guard lock(mutex);
    for (const auto& [its_level, text] : lines) {
      if (its_level == level && text.find(part) != std::string::npos) return true;
    }
    return false;
  }
};

int open_heard(const std::string& path, Messages& messages, hf_db** db) {
  hf_open_options options = HF_OPEN_OPTIONS_INIT;
  options.map_size = std::uint64_t{1} << 32;
  options.on_message = Messages::hear;
  options.message_context = &messages;
  return hf_open(path.c_str(), &options, db, nullptr);
}

TEST(Messages, OpenAndClose) {
  TempDirectory directory;
  Messages messages;
  hf_db* db = nullptr;
  ASSERT_EQ(open_heard(directory.path("db"), messages, &db), HF_OK);
  EXPECT_TRUE(messages.has(HF_MESSAGE_INFO, "opened"));
  ASSERT_EQ(hf_close(&db), HF_OK);
  EXPECT_TRUE(messages.has(HF_MESSAGE_INFO, "last process"));
  for (const auto& [level, text] : messages.lines) EXPECT_EQ(text.find('\n'), std::string::npos) << text;
}

TEST(Messages, RecoveryAfterACrash) {
  TempDirectory directory;
  const int killed = in_child([&] {
    hf_db* db = nullptr;
    hf_table* table = nullptr;
    hf_txn* txn = nullptr;
    if (open_small(directory.path("db"), &db, nullptr, HF_OPEN_NO_THREAD) != HF_OK) return 1;
    if (hf_table_create(db, "rows", &table) != HF_OK || hf_begin(db, nullptr, &txn) != HF_OK) return 2;
    if (hf_put(txn, table, bytes("key"), bytes("value"), 0) != HF_OK || hf_commit(txn) != HF_OK) return 3;
    kill(getpid(), SIGKILL);
    return 4;
  });
  ASSERT_EQ(killed, 1000 + SIGKILL);
  Messages messages;
  hf_db* db = nullptr;
  ASSERT_EQ(open_heard(directory.path("db"), messages, &db), HF_OK);
  EXPECT_TRUE(messages.has(HF_MESSAGE_WARNING, "after a crash: 2 commits")) << messages.lines.size();
  EXPECT_EQ(hf_close(&db), HF_OK);
}

}  // namespace
}  // namespace conformance
