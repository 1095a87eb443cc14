// SPDX-License-Identifier: Apache-2.0
// Goal: a backup is the database at one commit, at least as new as what was durable when it began, whoever writes
// meanwhile; it opens, and restores, also up to a later commit or time from the log; what is damaged, torn or
// unfinished is refused; cancelled work leaves nothing. Method: a bank whose sum never changes and a journal row for
// each transfer tell a mixed state; writers in processes of their own. Kills at named points: crash/backup_test.cc.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <fstream>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "holdfast/admin.h"
#include "support.h"

namespace conformance {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;
constexpr int kAccounts = 100;
constexpr std::int64_t kStart = 1'000;

hf_open_options bank_options() {
  hf_open_options options = HF_OPEN_OPTIONS_INIT;
  options.map_size = std::uint64_t{1} << 32;
  options.log_segment_size_max = 4 * kMiB;
  options.log_keep_bytes = 200 * kMiB;
  options.overlay_bytes_max = 32 * kMiB;
  options.txn_bytes_max = 4 * kMiB;
  return options;
}

std::string account(int number) { return "account " + std::to_string(number); }

// Rows of a database, and what they were at any commit: key -> value by the log, or by looking.
using Rows = std::map<std::string, std::string>;

Rows rows_of(const std::string& path) {
  Rows rows;
  hf_db* db = nullptr;
  hf_table* table = nullptr;
  hf_txn* txn = nullptr;
  hf_cursor* cursor = nullptr;
  const hf_open_options options = bank_options();
  hf_error error = HF_ERROR_INIT;
  EXPECT_EQ(hf_open(path.c_str(), &options, &db, &error), HF_OK) << error.message;
  EXPECT_EQ(hf_table_open(db, "bank", &table), HF_OK);
  EXPECT_EQ(hf_begin(db, nullptr, &txn), HF_OK);
  EXPECT_EQ(hf_cursor_open(txn, table, nullptr, &cursor), HF_OK);
  hf_bytes key;
  hf_row row{};
  while (hf_cursor_next(cursor, &key, &row) == HF_OK) rows[text(key)] = text(row.value);
  hf_cursor_close(&cursor);
  hf_txn_end(&txn);
  EXPECT_EQ(hf_close(&db), HF_OK);
  return rows;
}

std::int64_t number(const Rows& rows, const std::string& key) {
  const auto found = rows.find(key);
  return found == rows.end() ? 0 : std::stoll(found->second);
}

// "" or what is wrong with the bank: its sum, or a journal with a gap or an end that the writer's count does not say.
std::string audit(const Rows& rows) {
  std::int64_t sum = 0;
  for (int i = 0; i < kAccounts; ++i) sum += number(rows, account(i));
  if (sum != kAccounts * kStart) return "the sum is " + std::to_string(sum);
  std::map<std::string, std::int64_t> journal;
  for (const auto& [key, value] : rows) {
    if (key.starts_with("journal ")) ++journal[key.substr(8, 4)];
  }
  for (const auto& [writer, entries] : journal) {
    const std::int64_t counted = number(rows, "count " + writer);
    if (counted != entries) return writer + ": " + std::to_string(counted) + " counted, " + std::to_string(entries);
  }
  return "";
}

// One transfer with its journal row and the writer's count, in one commit.
int transfer(hf_db* db, hf_table* table, const std::string& writer, std::uint64_t n, std::minstd_rand& random,
             std::uint64_t* csn) {
  const int from = static_cast<int>(random() % kAccounts);
  const int to = (from + 1 + static_cast<int>(random() % (kAccounts - 1))) % kAccounts;
  for (;;) {
    hf_txn* txn = nullptr;
    int code = hf_begin(db, nullptr, &txn);
    std::int64_t balance[2] = {0, 0};
    for (int i = 0; i < 2 && code == HF_OK; ++i) {
      hf_row row{};
      code = hf_get(txn, table, bytes(account(i == 0 ? from : to)), &row);
      if (code == HF_OK) balance[i] = std::stoll(text(row.value));
    }
    const std::string filler(300, 'j');
    if (code == HF_OK) code = hf_put(txn, table, bytes(account(from)), bytes(std::to_string(balance[0] - 1)), 0);
    if (code == HF_OK) code = hf_put(txn, table, bytes(account(to)), bytes(std::to_string(balance[1] + 1)), 0);
    if (code == HF_OK) {
      code = hf_put(txn, table, bytes("journal " + writer + " " + std::to_string(n)), bytes(filler), 0);
    }
    if (code == HF_OK) code = hf_put(txn, table, bytes("count " + writer), bytes(std::to_string(n)), 0);
    if (code == HF_OK) code = hf_commit(txn);
    if (code == HF_OK && csn != nullptr) *csn = hf_txn_csn(txn);
    hf_txn_end(&txn);
    if (!hf_is_retryable(code)) return code;
  }
}

// Threads of a process of its own that make transfers until they are killed.
pid_t start_writers(const std::string& path, int process, int threads) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  hf_db* db = nullptr;
  hf_table* table = nullptr;
  const hf_open_options options = bank_options();
  if (hf_open(path.c_str(), &options, &db, nullptr) != HF_OK) _exit(1);
  if (hf_table_open(db, "bank", &table) != HF_OK) _exit(2);
  std::vector<std::thread> running;
  for (int thread = 0; thread < threads; ++thread) {
    running.emplace_back([=] {
      const std::string writer = "p" + std::to_string(process) + "t" + std::to_string(thread);
      std::minstd_rand random(static_cast<unsigned>(17 * process + thread));
      for (std::uint64_t n = 1;; ++n) {
        if (transfer(db, table, writer, n, random, nullptr) != HF_OK) _exit(3);
      }
    });
  }
  for (std::thread& thread : running) thread.join();
  _exit(4);
}

class BackupTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(open());
    ASSERT_EQ(hf_table_ensure(db_, "bank", &table_), HF_OK);
    hf_txn* txn = nullptr;
    ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
    for (int i = 0; i < kAccounts; ++i) {
      ASSERT_EQ(hf_put(txn, table_, bytes(account(i)), bytes(std::to_string(kStart)), 0), HF_OK);
    }
    ASSERT_EQ(hf_commit(txn), HF_OK);
    hf_txn_end(&txn);
  }
  void TearDown() override { EXPECT_EQ(hf_close(&db_), HF_OK); }

  void open() {
    const hf_open_options options = bank_options();
    hf_error error = HF_ERROR_INIT;
    ASSERT_EQ(hf_open(path_.c_str(), &options, &db_, &error), HF_OK) << error.message;
  }
  std::uint64_t transfers(int count) {
    std::uint64_t csn = 0;
    for (int i = 0; i < count; ++i) EXPECT_EQ(transfer(db_, table_, "main", ++made_, random_, &csn), HF_OK);
    return csn;
  }
  hf_backup_result backup(const std::string& name) {
    hf_backup_result result{};
    result.size = sizeof result;
    EXPECT_EQ(hf_backup(db_, directory_.path(name).c_str(), nullptr, &result), HF_OK) << error_of(db_).message;
    return result;
  }
  hf_backup_result stream_to(const std::string& name) {
    hf_backup_result result{};
    result.size = sizeof result;
    const int fd = ::open(directory_.path(name).c_str(), O_RDWR | O_CREAT | O_EXCL, 0666);
    EXPECT_EQ(hf_backup_fd(db_, fd, nullptr, &result), HF_OK) << error_of(db_).message;
    ::close(fd);
    return result;
  }
  int restore(const std::string& from, const std::string& to, hf_restore_result* result = nullptr,
              std::uint64_t until_csn = 0, std::uint64_t until_ms = 0, bool with_log = false) {
    hf_restore_options options = HF_RESTORE_OPTIONS_INIT;
    options.until_csn = until_csn;
    options.until_ms = until_ms;
    if (with_log || until_csn != 0 || until_ms != 0) options.log_of = path_.c_str();
    hf_restore_result unused{};
    if (result == nullptr) result = &unused;
    *result = {};
    result->size = sizeof *result;
    error_ = new_error();
    return hf_restore(directory_.path(from).c_str(), directory_.path(to).c_str(), &options, result, &error_);
  }
  // What the log says the bank was at that commit.
  Rows model(std::uint64_t csn, std::uint64_t* committed_at_ms = nullptr) {
    Rows rows;
    hf_log_reader* reader = nullptr;
    hf_log_record record{};
    record.size = sizeof record;
    EXPECT_EQ(hf_log_open(path_.c_str(), 0, &reader, nullptr), HF_OK);
    for (std::uint64_t at = 1; at <= csn; ++at) {
      const int code = hf_log_next(reader, 5'000, &record);
      EXPECT_EQ(code, HF_OK);
      EXPECT_EQ(record.csn, at);
      if (code != HF_OK) break;
      if (committed_at_ms != nullptr) *committed_at_ms = record.committed_at_ms;
      for (std::uint32_t i = 0; i < record.operation_count; ++i) {
        const hf_log_operation& operation = record.operations[i];
        if (std::string(operation.table) != "bank") continue;
        if (operation.kind == HF_LOG_PUT) rows[text(operation.key)] = text(operation.value);
        if (operation.kind == HF_LOG_DELETE) rows.erase(text(operation.key));
      }
    }
    hf_log_close(&reader);
    return rows;
  }
  bool exists(const std::string& name) const { return std::filesystem::exists(directory_.path(name)); }

  TempDirectory directory_;
  const std::string path_ = directory_.path("db");
  hf_db* db_ = nullptr;
  hf_table* table_ = nullptr;
  std::uint64_t made_ = 0;
  std::minstd_rand random_{7};
  hf_error error_ = new_error();
};

TEST_F(BackupTest, IsADatabaseOfItsOwn) {
  const std::uint64_t csn = transfers(50);
  const hf_backup_result result = backup("copy");
  EXPECT_EQ(result.csn, csn);
  EXPECT_GT(result.bytes, 8'192u);
  EXPECT_GT(result.committed_at_ms, 1'600'000'000'000u);
  const Rows wanted = model(csn);
  EXPECT_EQ(rows_of(directory_.path("copy")), wanted);
  EXPECT_EQ(audit(wanted), "");
  transfers(50);
  EXPECT_EQ(rows_of(directory_.path("copy")), wanted) << "opening it again changes nothing, nor does the source";
  // It goes on by itself, csn after csn, and can be backed up.
  hf_db* copy = nullptr;
  hf_table* table = nullptr;
  const hf_open_options options = bank_options();
  ASSERT_EQ(hf_open(directory_.path("copy").c_str(), &options, &copy, nullptr), HF_OK);
  ASSERT_EQ(hf_table_open(copy, "bank", &table), HF_OK);
  std::uint64_t next = 0;
  ASSERT_EQ(transfer(copy, table, "main", 51, random_, &next), HF_OK);
  EXPECT_EQ(next, csn + 1);
  EXPECT_EQ(hf_backup(copy, directory_.path("copy of copy").c_str(), nullptr, nullptr), HF_OK);
  EXPECT_EQ(hf_close(&copy), HF_OK);
  EXPECT_EQ(audit(rows_of(directory_.path("copy of copy"))), "");
}

TEST_F(BackupTest, RestoresDirectoriesAndStreams) {
  const std::uint64_t csn = transfers(200);
  backup("copy");
  const hf_backup_result streamed = stream_to("stream");
  EXPECT_EQ(std::filesystem::file_size(directory_.path("stream")), streamed.bytes);
  transfers(20);
  const Rows wanted = model(csn);
  for (const std::string from : {"copy", "stream"}) {
    hf_restore_result result{};
    ASSERT_EQ(restore(from, "restored " + from, &result), HF_OK) << error_.message;
    EXPECT_EQ(result.csn, csn);
    EXPECT_EQ(result.records, 0u);
    EXPECT_EQ(result.committed_at_ms, streamed.committed_at_ms);
    EXPECT_EQ(rows_of(directory_.path("restored " + from)), wanted);
  }
  // Through a pipe, both ends at once.
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::thread sender([&] {
    EXPECT_EQ(hf_backup_fd(db_, ends[1], nullptr, nullptr), HF_OK) << error_of(db_).message;
    ::close(ends[1]);
  });
  EXPECT_EQ(hf_restore_fd(ends[0], directory_.path("piped").c_str(), nullptr, nullptr, &error_), HF_OK)
      << error_.message;
  sender.join();
  ::close(ends[0]);
  EXPECT_EQ(rows_of(directory_.path("piped")), rows_of(path_));
  // Whose reader goes away.
  ASSERT_EQ(pipe(ends), 0);
  ::close(ends[0]);
  EXPECT_EQ(hf_backup_fd(db_, ends[1], nullptr, nullptr), HF_IO_ERROR) << "and no SIGPIPE";
  ::close(ends[1]);
}

TEST_F(BackupTest, UnderWriteLoadOfTwoProcesses) {
  pid_t writers[2];
  for (int process = 0; process < 2; ++process) writers[process] = start_writers(path_, process, 4);
  std::vector<hf_backup_result> results;
  for (int i = 0; i < 4; ++i) {
    usleep(300'000);
    hf_stats stats{};
    stats.size = sizeof stats;
    ASSERT_EQ(hf_stat(db_, &stats), HF_OK);
    const bool streamed = i % 2 == 1;
    results.push_back(streamed ? stream_to("backup" + std::to_string(i)) : backup("backup" + std::to_string(i)));
    EXPECT_GE(results.back().csn, stats.csn_durable) << "older than what was durable when it began";
  }
  usleep(300'000);
  for (const pid_t writer : writers) {
    EXPECT_EQ(waitpid(writer, nullptr, WNOHANG), 0) << "a writer has given up";
    kill(writer, SIGKILL);
    waitpid(writer, nullptr, 0);
  }
  EXPECT_GT(results.back().csn, results.front().csn + 100);
  for (int i = 0; i < 4; ++i) {
    const std::string name = "backup" + std::to_string(i);
    if (i % 2 == 1) {
      ASSERT_EQ(restore(name, name + " restored"), HF_OK) << error_.message;
    }
    const Rows rows = rows_of(directory_.path(i % 2 == 1 ? name + " restored" : name));
    EXPECT_EQ(audit(rows), "") << name;
    EXPECT_EQ(rows, model(results[static_cast<std::size_t>(i)].csn)) << name;
  }
}

TEST_F(BackupTest, RestoresToAnyCommitOfTheLog) {
  transfers(100);
  const std::uint64_t base = backup("copy").csn;
  const std::uint64_t last = transfers(300);
  ASSERT_EQ(hf_maintain(db_, HF_MAINTAIN_MERGE_ALL), HF_OK);
  int number = 0;
  const auto check = [&](std::uint64_t until, std::uint64_t wanted) {
    const std::string name = "restored" + std::to_string(++number);
    hf_restore_result result{};
    std::uint64_t at_ms = 0;
    const Rows rows = model(wanted, &at_ms);
    ASSERT_EQ(restore("copy", name, &result, until, 0, true), HF_OK) << error_.message;
    EXPECT_EQ(result.csn, wanted);
    EXPECT_EQ(result.records, wanted - base);
    EXPECT_EQ(result.committed_at_ms, at_ms);
    EXPECT_EQ(rows_of(directory_.path(name)), rows) << until;
  };
  for (const std::uint64_t until : {base, base + 1, base + 150, last - 1, last}) check(until, until);
  check(0, last);
  check(last + 1'000, last);
  EXPECT_EQ(restore("copy", "before", nullptr, base - 1), HF_INVALID_ARGUMENT) << error_.message;
  EXPECT_FALSE(exists("before"));
  // From the log of a database that nobody has open.
  ASSERT_EQ(hf_close(&db_), HF_OK);
  check(0, last);
  check(base + 7, base + 7);
  // Versions are those of the source, and the result has another identity: its log is not the source's.
  hf_restore_result result{};
  ASSERT_EQ(restore("copy", "first", &result, last), HF_OK);
  hf_restore_options options = HF_RESTORE_OPTIONS_INIT;
  const std::string other = directory_.path("first");
  options.log_of = other.c_str();
  EXPECT_EQ(hf_restore(directory_.path("copy").c_str(), directory_.path("second").c_str(), &options, nullptr, &error_),
            HF_INVALID_ARGUMENT)
      << error_.message;
  ASSERT_NO_FATAL_FAILURE(open());
  hf_db* restored = nullptr;
  const hf_open_options plain = bank_options();
  ASSERT_EQ(hf_open(other.c_str(), &plain, &restored, nullptr), HF_OK);
  for (hf_db* db : {db_, restored}) {
    hf_table* table = nullptr;
    hf_txn* txn = nullptr;
    hf_row row{};
    ASSERT_EQ(hf_table_open(db, "bank", &table), HF_OK);
    ASSERT_EQ(hf_begin(db, nullptr, &txn), HF_OK);
    ASSERT_EQ(hf_get(txn, table, bytes("count main"), &row), HF_OK);
    EXPECT_EQ(row.version, last);
    hf_txn_end(&txn);
  }
  EXPECT_EQ(hf_close(&restored), HF_OK);
}

TEST_F(BackupTest, RestoresToATime) {
  transfers(5);
  const std::uint64_t base = backup("copy").csn;
  std::map<std::uint64_t, std::uint64_t> times;  // csn -> committed_at_ms
  std::uint64_t last = 0;
  for (int i = 0; i < 10; ++i) {
    last = transfers(3);
    usleep(15'000);
  }
  for (std::uint64_t csn = base; csn <= last; ++csn) model(csn, &times[csn]);
  int number = 0;
  for (const std::uint64_t until :
       {times[base], times[base + 4], times[last] - 1, times[last], times[last] + 100'000}) {
    const std::string name = "restored" + std::to_string(++number);
    std::uint64_t wanted = base;
    while (wanted < last && times[wanted + 1] <= until) ++wanted;
    hf_restore_result result{};
    ASSERT_EQ(restore("copy", name, &result, 0, until), HF_OK) << error_.message;
    EXPECT_EQ(result.csn, wanted) << until;
    EXPECT_EQ(rows_of(directory_.path(name)), model(wanted));
  }
  EXPECT_EQ(restore("copy", "before", nullptr, 0, times[base] - 10'000), HF_INVALID_ARGUMENT) << error_.message;
}

TEST_F(BackupTest, TakesOverTablesThatComeAndGo) {
  const std::string big(100'000, 'b');
  backup("copy");
  hf_table* other = nullptr;
  ASSERT_EQ(hf_table_create(db_, "other", &other), HF_OK);
  hf_txn* txn = nullptr;
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  ASSERT_EQ(hf_put(txn, other, bytes("k"), bytes(big), 0), HF_OK);
  ASSERT_EQ(hf_counter_set(txn, other, bytes("c"), 41), HF_OK);
  ASSERT_EQ(hf_add(txn, other, bytes("c"), 1, 0, 100), HF_OK);
  ASSERT_EQ(hf_put(txn, other, bytes("fleeting"), bytes("gone"), 1), HF_OK);
  ASSERT_EQ(hf_commit(txn), HF_OK);
  hf_txn_end(&txn);
  ASSERT_EQ(hf_table_create(db_, "dropped", &table_), HF_OK);
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  ASSERT_EQ(hf_put(txn, table_, bytes("k"), bytes("v"), 0), HF_OK);
  ASSERT_EQ(hf_commit(txn), HF_OK);
  hf_txn_end(&txn);
  ASSERT_EQ(hf_table_drop(db_, "dropped"), HF_OK);
  ASSERT_EQ(hf_table_drop(db_, "bank"), HF_OK);
  ASSERT_EQ(hf_table_rename(db_, "other", "bank"), HF_OK);
  ASSERT_EQ(restore("copy", "restored", nullptr, 0, 0, true), HF_OK) << error_.message;
  EXPECT_EQ(hf_close(&db_), HF_OK);
  usleep(20'000);
  const hf_open_options options = bank_options();
  ASSERT_EQ(hf_open(directory_.path("restored").c_str(), &options, &db_, nullptr), HF_OK);
  ASSERT_EQ(hf_table_open(db_, "dropped", &table_), HF_NO_TABLE);
  ASSERT_EQ(hf_table_open(db_, "other", &table_), HF_NO_TABLE);
  ASSERT_EQ(hf_table_open(db_, "bank", &table_), HF_OK);
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  hf_row row{};
  ASSERT_EQ(hf_get(txn, table_, bytes("k"), &row), HF_OK);
  EXPECT_EQ(text(row.value), big);
  EXPECT_EQ(hf_get(txn, table_, bytes("fleeting"), &row), HF_NOT_FOUND);
  EXPECT_EQ(hf_get(txn, table_, bytes(account(1)), &row), HF_NOT_FOUND);
  ASSERT_EQ(hf_add(txn, table_, bytes("c"), 1, 0, 43), HF_OK) << "a counter stays one";
  hf_txn_end(&txn);
}

TEST_F(BackupTest, ABulkLoadIsNotInTheLog) {
  const std::uint64_t base = backup("before").csn;
  hf_table* loaded = nullptr;
  hf_load* load = nullptr;
  ASSERT_EQ(hf_table_create(db_, "loaded", &loaded), HF_OK);
  ASSERT_EQ(hf_load_begin(db_, loaded, &load), HF_OK);
  ASSERT_EQ(hf_load_add(load, bytes("k"), bytes("v"), 0), HF_OK);
  EXPECT_EQ(hf_load_finish(load), HF_OK);
  EXPECT_EQ(hf_load_end(&load), HF_OK);
  const std::uint64_t last = transfers(3);
  EXPECT_EQ(restore("before", "lost rows", nullptr, 0, 0, true), HF_SNAPSHOT_TOO_OLD) << error_.message;
  EXPECT_FALSE(exists("lost rows"));
  // The message names the commit up to which it works.
  const std::string message = error_.message;
  const std::size_t at = message.find("up to commit ");
  ASSERT_NE(at, std::string::npos) << message;
  const std::uint64_t until = std::stoull(message.substr(at + 13));
  EXPECT_GE(until, base);
  EXPECT_LT(until, last - 2);
  EXPECT_EQ(restore("before", "without", nullptr, until), HF_OK) << error_.message;
  // A backup made later has them.
  backup("after");
  transfers(3);
  ASSERT_EQ(restore("after", "with", nullptr, 0, 0, true), HF_OK) << error_.message;
  hf_db* with = nullptr;
  const hf_open_options options = bank_options();
  ASSERT_EQ(hf_open(directory_.path("with").c_str(), &options, &with, nullptr), HF_OK);
  ASSERT_EQ(hf_table_open(with, "loaded", &loaded), HF_OK);
  hf_txn* txn = nullptr;
  hf_row row{};
  ASSERT_EQ(hf_begin(with, nullptr, &txn), HF_OK);
  EXPECT_EQ(hf_get(txn, loaded, bytes("k"), &row), HF_OK);
  hf_txn_end(&txn);
  EXPECT_EQ(hf_close(&with), HF_OK);
}

TEST_F(BackupTest, TheLogMustReachBack) {
  backup("copy");
  ASSERT_EQ(hf_close(&db_), HF_OK);
  hf_open_options options = bank_options();
  options.log_keep_bytes = 0;
  options.log_segment_size_max = kMiB;
  ASSERT_EQ(hf_open(path_.c_str(), &options, &db_, nullptr), HF_OK);
  ASSERT_EQ(hf_table_open(db_, "bank", &table_), HF_OK);
  for (int round = 0; round < 8; ++round) {
    hf_txn* txn = nullptr;
    ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
    ASSERT_EQ(hf_put(txn, table_, bytes("big"), bytes(std::string(700'000, 'x')), 0), HF_OK);
    ASSERT_EQ(hf_commit(txn), HF_OK);
    hf_txn_end(&txn);
    ASSERT_EQ(hf_maintain(db_, HF_MAINTAIN_MERGE_ALL), HF_OK);
  }
  EXPECT_EQ(restore("copy", "restored", nullptr, 0, 0, true), HF_SNAPSHOT_TOO_OLD) << error_.message;
  EXPECT_FALSE(exists("restored"));
  EXPECT_EQ(restore("copy", "restored"), HF_OK) << "the backup alone: " << error_.message;
}

// --- what is wrong with a backup ---------------------------------------------------------------------------------

TEST_F(BackupTest, EveryFlippedBitIsFound) {
  transfers(30);
  backup("copy");
  stream_to("stream");
  const unsigned seed = static_cast<unsigned>(time(nullptr));
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::minstd_rand random(seed);
  for (const std::string file : {"copy/base/data.mdb", "copy/BACKUP", "stream"}) {
    const std::string from = file == "stream" ? file : "copy";
    const std::uint64_t size = std::filesystem::file_size(directory_.path(file));
    for (int i = 0; i < 60; ++i) {
      const auto offset = static_cast<off_t>(random() % size);
      const int bit = 1 << (random() % 8);
      const int fd = ::open(directory_.path(file).c_str(), O_RDWR);
      unsigned char byte = 0;
      ASSERT_EQ(pread(fd, &byte, 1, offset), 1);
      const unsigned char flipped = static_cast<unsigned char>(byte ^ bit);
      ASSERT_EQ(pwrite(fd, &flipped, 1, offset), 1);
      const int code = restore(from, "restored");
      EXPECT_TRUE(code == HF_CORRUPT || code == HF_WRONG_FORMAT)
          << file << " byte " << offset << ": HF_" << hf_code_name(code) << " " << error_.message;
      EXPECT_FALSE(exists("restored")) << "what was made is taken back";
      ASSERT_EQ(pwrite(fd, &byte, 1, offset), 1);
      ::close(fd);
    }
    ASSERT_EQ(restore(from, "restored"), HF_OK) << error_.message;
    std::filesystem::remove_all(directory_.path("restored"));
  }
}

TEST_F(BackupTest, ATornStreamIsRefused) {
  transfers(10);
  stream_to("stream");
  std::ifstream in(directory_.path("stream"), std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(in), {}};
  std::vector<std::size_t> sizes{0,
                                 1,
                                 71,
                                 72,
                                 80,
                                 96,
                                 97,
                                 whole.size() / 2,
                                 whole.size() - 41,
                                 whole.size() - 40,
                                 whole.size() - 16,
                                 whole.size() - 1};
  for (const std::size_t size : sizes) {
    std::ofstream(directory_.path("torn"), std::ios::binary | std::ios::trunc) << whole.substr(0, size);
    EXPECT_EQ(restore("torn", "restored"), HF_CORRUPT) << size << " bytes: " << error_.message;
    EXPECT_FALSE(exists("restored"));
  }
  // The head of one stream with the blocks of another.
  stream_to("second");
  std::ifstream again(directory_.path("second"), std::ios::binary);
  const std::string second{std::istreambuf_iterator<char>(again), {}};
  std::ofstream(directory_.path("torn"), std::ios::binary | std::ios::trunc)
      << whole.substr(0, 72) << second.substr(72);
  EXPECT_EQ(restore("torn", "restored"), HF_CORRUPT) << error_.message;
}

TEST_F(BackupTest, OnlyFinishedBackupsCount) {
  backup("copy");
  EXPECT_EQ(restore("nothing", "restored"), HF_NOT_FOUND) << error_.message;
  EXPECT_EQ(restore("db", "restored"), HF_CORRUPT) << "a database is no backup: " << error_.message;
  std::ofstream(directory_.path("copy/UNFINISHED"));
  EXPECT_EQ(restore("copy", "restored"), HF_CORRUPT) << error_.message;
  std::filesystem::remove(directory_.path("copy/UNFINISHED"));
  rows_of(directory_.path("copy"));
  EXPECT_EQ(restore("copy", "restored"), HF_CORRUPT) << "opened as a database since: " << error_.message;
}

TEST_F(BackupTest, DestinationsAreTakenEmpty) {
  std::filesystem::create_directory(directory_.path("empty"));
  EXPECT_EQ(hf_backup(db_, directory_.path("empty").c_str(), nullptr, nullptr), HF_OK);
  EXPECT_EQ(hf_backup(db_, directory_.path("empty").c_str(), nullptr, nullptr), HF_EXISTS);
  EXPECT_EQ(hf_backup(db_, path_.c_str(), nullptr, nullptr), HF_EXISTS);
  EXPECT_EQ(restore("empty", "db"), HF_EXISTS);
  std::ofstream(directory_.path("file")) << "x";
  EXPECT_EQ(hf_backup(db_, directory_.path("file").c_str(), nullptr, nullptr), HF_EXISTS);
  EXPECT_NE(hf_backup(db_, directory_.path("no/where").c_str(), nullptr, nullptr), HF_OK);
  EXPECT_EQ(hf_backup(db_, nullptr, nullptr, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_backup_fd(db_, -1, nullptr, nullptr), HF_INVALID_ARGUMENT);
  hf_backup_options options = HF_BACKUP_OPTIONS_INIT;
  options.flags = 1;
  EXPECT_EQ(hf_backup(db_, directory_.path("x").c_str(), &options, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_FALSE(exists("x"));
}

struct CancelAfter {
  int calls = 0;
  std::uint64_t done = 0;
};
int cancel_after(std::uint64_t done, std::uint64_t total, void* context) {
  CancelAfter& state = *static_cast<CancelAfter*>(context);
  EXPECT_GE(done, state.done);
  EXPECT_LE(done, total);
  state.done = done;
  return --state.calls == 0;
}

TEST_F(BackupTest, ProgressCanEndIt) {
  transfers(200);
  for (const int calls : {1, 2, 3}) {
    CancelAfter state{calls};
    hf_backup_options options = HF_BACKUP_OPTIONS_INIT;
    options.progress = cancel_after;
    options.progress_context = &state;
    const int code = hf_backup(db_, directory_.path("copy").c_str(), &options, nullptr);
    if (calls <= 2) {
      EXPECT_EQ(code, HF_CANCELLED);
    }
    EXPECT_EQ(exists("copy"), code == HF_OK);
    std::filesystem::remove_all(directory_.path("copy"));
  }
  std::filesystem::create_directory(directory_.path("mine"));
  CancelAfter state{1};
  hf_backup_options options = HF_BACKUP_OPTIONS_INIT;
  options.progress = cancel_after;
  options.progress_context = &state;
  EXPECT_EQ(hf_backup(db_, directory_.path("mine").c_str(), &options, nullptr), HF_CANCELLED);
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path("mine"))) << "a directory that was there stays";
  backup("copy");
  state = {2};
  hf_restore_options restoring = HF_RESTORE_OPTIONS_INIT;
  restoring.progress = cancel_after;
  restoring.progress_context = &state;
  state = {1};
  EXPECT_EQ(
      hf_restore(directory_.path("copy").c_str(), directory_.path("restored").c_str(), &restoring, nullptr, &error_),
      HF_CANCELLED);
  EXPECT_FALSE(exists("restored"));
}

// --- compaction --------------------------------------------------------------------------------------------------

class CompactTest : public BackupTest {
 protected:
  int compact(hf_compact_result* result = nullptr, hf_progress progress = nullptr, void* context = nullptr) {
    hf_compact_result unused{};
    if (result == nullptr) result = &unused;
    *result = {};
    result->size = sizeof *result;
    error_ = new_error();
    return hf_compact(path_.c_str(), progress, context, result, &error_);
  }
  // Rows that are there no more leave their pages behind.
  void waste() {
    const std::string filler(3'000, 'w');
    for (const bool put : {true, false}) {
      hf_txn* txn = nullptr;
      ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
      for (int i = 0; i < 1'000; ++i) {
        const std::string key = "waste " + std::to_string(i);
        ASSERT_EQ(put ? hf_put(txn, table_, bytes(key), bytes(filler), 0) : hf_delete(txn, table_, bytes(key)), HF_OK);
      }
      ASSERT_EQ(hf_commit(txn), HF_OK);
      hf_txn_end(&txn);
      ASSERT_EQ(hf_maintain(db_, HF_MAINTAIN_MERGE_ALL), HF_OK);
    }
  }
};

TEST_F(CompactTest, GivesRoomBackAndChangesNothingElse) {
  waste();
  const std::uint64_t csn = transfers(20);
  EXPECT_EQ(compact(), HF_BUSY) << error_.message;
  ASSERT_EQ(hf_close(&db_), HF_OK);
  const Rows wanted = rows_of(path_);
  hf_compact_result result{};
  ASSERT_EQ(compact(&result), HF_OK) << error_.message;
  EXPECT_GT(result.bytes_before, 3 * kMiB);
  EXPECT_LT(result.bytes_after, kMiB);
  EXPECT_EQ(std::filesystem::file_size(path_ + "/base/data.mdb"), result.bytes_after);
  EXPECT_EQ(rows_of(path_), wanted);
  EXPECT_EQ(wanted, model(csn)) << "the log is as it was";
  ASSERT_NO_FATAL_FAILURE(open());
  ASSERT_EQ(hf_table_open(db_, "bank", &table_), HF_OK);
  EXPECT_EQ(transfers(1), csn + 1);
  ASSERT_EQ(hf_close(&db_), HF_OK);
  ASSERT_EQ(compact(&result), HF_OK) << error_.message;
  CancelAfter state{1};
  EXPECT_EQ(compact(&result, cancel_after, &state), HF_CANCELLED);
  EXPECT_FALSE(exists("db/base/data.mdb.compact"));
  EXPECT_EQ(audit(rows_of(path_)), "");
}

TEST_F(CompactTest, RecoversFirst) {
  waste();
  ASSERT_EQ(hf_close(&db_), HF_OK);
  const pid_t writers = start_writers(path_, 0, 2);
  usleep(500'000);
  EXPECT_EQ(compact(), HF_BUSY) << error_.message;
  kill(writers, SIGKILL);
  waitpid(writers, nullptr, 0);
  hf_compact_result result{};
  ASSERT_EQ(compact(&result), HF_OK) << error_.message;
  EXPECT_LT(result.bytes_after, result.bytes_before);
  const Rows rows = rows_of(path_);
  EXPECT_EQ(audit(rows), "");
  EXPECT_GT(number(rows, "count p0t0"), 0);
  EXPECT_EQ(hf_compact(directory_.path("none").c_str(), nullptr, nullptr, nullptr, &error_), HF_NOT_FOUND);
  EXPECT_FALSE(exists("none"));
}

}  // namespace
}  // namespace conformance
