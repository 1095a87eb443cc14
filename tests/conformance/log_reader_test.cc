// SPDX-License-Identifier: Apache-2.0
// Goal: hf_log_* gives every durable commit once, in order and with the names of its tables, of a database that is open
// elsewhere, here, or nowhere; waits for more; notices when the log was used again or is damaged; never gives what is
// not durable. Method: writers in processes of their own keep a count in every row; segments of the least size, so that
// the log rolls all the time.
#include <fcntl.h>
#include <signal.h>

#include <atomic>
#include <fstream>
#include <map>
#include <thread>
#include <vector>

#include "holdfast/admin.h"
#include "support.h"

namespace conformance {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;

hf_open_options small_segments(std::uint64_t keep_bytes) {
  hf_open_options options = HF_OPEN_OPTIONS_INIT;
  options.map_size = std::uint64_t{1} << 32;
  options.log_segment_size_max = kMiB;
  options.log_keep_bytes = keep_bytes;
  options.overlay_bytes_max = 16 * kMiB;
  return options;
}

int put_one(hf_db* db, hf_table* table, const std::string& key, const std::string& value, std::uint64_t* csn,
            bool relaxed = false) {
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  if (relaxed) options.durability = HF_RELAXED;
  hf_txn* txn = nullptr;
  int code = hf_begin(db, &options, &txn);
  if (code == HF_OK) code = hf_put(txn, table, bytes(key), bytes(value), 0);
  if (code == HF_OK) code = hf_commit(txn);
  if (code == HF_OK && csn != nullptr) *csn = hf_txn_csn(txn);
  hf_txn_end(&txn);
  return code;
}

class LogReaderTest : public testing::Test {
 protected:
  void TearDown() override {
    hf_log_close(&reader_);
    EXPECT_EQ(hf_close(&db_), HF_OK);
  }
  void open(std::uint64_t keep_bytes = 64 * kMiB) {
    const hf_open_options options = small_segments(keep_bytes);
    hf_error error = HF_ERROR_INIT;
    ASSERT_EQ(hf_open(path_.c_str(), &options, &db_, &error), HF_OK) << error.message;
    ASSERT_EQ(hf_table_ensure(db_, "rows", &table_), HF_OK);
  }
  std::uint64_t put(const std::string& key, const std::string& value) {
    std::uint64_t csn = 0;
    EXPECT_EQ(put_one(db_, table_, key, value, &csn), HF_OK);
    return csn;
  }
  void read_from(std::uint64_t csn) {
    hf_log_close(&reader_);
    hf_error error = HF_ERROR_INIT;
    ASSERT_EQ(hf_log_open(path_.c_str(), csn, &reader_, &error), HF_OK) << error.message;
  }
  int next(std::uint64_t timeout_ms = 0) {
    record_ = {};
    record_.size = sizeof record_;
    return hf_log_next(reader_, timeout_ms, &record_);
  }
  std::string why() {
    hf_error error = HF_ERROR_INIT;
    hf_log_error(reader_, &error);
    return error.message;
  }
  std::string name(std::uint32_t operation = 0) { return record_.operations[operation].table; }
  std::string value(std::uint32_t operation = 0) { return text(record_.operations[operation].value); }

  TempDirectory directory_;
  const std::string path_ = directory_.path("db");
  hf_db* db_ = nullptr;
  hf_table* table_ = nullptr;
  hf_log_reader* reader_ = nullptr;
  hf_log_record record_{};
};

TEST_F(LogReaderTest, GivesEveryOperationOfEveryCommit) {
  open();
  const std::uint64_t first = put("a", "one");
  hf_txn* txn = nullptr;
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  ASSERT_EQ(hf_delete(txn, table_, bytes("a")), HF_OK);
  ASSERT_EQ(hf_put(txn, table_, bytes("b"), bytes("two"), 60'000), HF_OK);
  ASSERT_EQ(hf_counter_set(txn, table_, bytes("c"), 7), HF_OK);
  ASSERT_EQ(hf_commit(txn), HF_OK);
  hf_txn_end(&txn);
  ASSERT_EQ(hf_table_drop(db_, "rows"), HF_OK);

  read_from(first);
  ASSERT_EQ(next(), HF_OK) << why();
  EXPECT_EQ(record_.csn, first);
  EXPECT_GT(record_.committed_at_ms, 1'600'000'000'000u);
  EXPECT_GT(record_.bytes, 0u);
  EXPECT_NE(std::string(record_.file).find(path_ + "/log/log-"), std::string::npos);
  ASSERT_EQ(record_.operation_count, 1u);
  EXPECT_EQ(record_.operations[0].kind, HF_LOG_PUT);
  EXPECT_EQ(text(record_.operations[0].key), "a");
  EXPECT_EQ(value(), "one");
  EXPECT_EQ(name(), "rows");
  EXPECT_GE(record_.operations[0].table_id, 16u);

  ASSERT_EQ(next(), HF_OK) << why();
  EXPECT_EQ(record_.csn, first + 1);
  ASSERT_EQ(record_.operation_count, 3u);
  EXPECT_EQ(record_.operations[0].kind, HF_LOG_DELETE);
  EXPECT_EQ(text(record_.operations[0].key), "a");
  EXPECT_GT(record_.operations[1].expires_ms, record_.committed_at_ms);
  EXPECT_EQ(record_.operations[2].is_counter, 1u);
  EXPECT_EQ(value(2), std::string("\7\0\0\0\0\0\0\0", 8));

  ASSERT_EQ(next(), HF_OK) << why();
  bool dropped = false;
  for (std::uint32_t i = 0; i < record_.operation_count; ++i) {
    if (record_.operations[i].kind != HF_LOG_DROP_TABLE) continue;
    dropped = true;
    EXPECT_EQ(name(i), "rows") << "a dropped table keeps its name";
    EXPECT_EQ(record_.operations[i].key.size, 0u);
  }
  EXPECT_TRUE(dropped);
  EXPECT_EQ(next(), HF_NOT_FOUND);
}

TEST_F(LogReaderTest, FromAnywhereAndFromTheOldest) {
  open();
  std::uint64_t last = 0;
  for (int i = 0; i < 100; ++i) last = put("k", std::to_string(i));
  for (const std::uint64_t from : {std::uint64_t{0}, std::uint64_t{1}, last - 50, last, last + 1, last + 5}) {
    read_from(from);
    std::uint64_t expected = from == 0 ? 1 : from;
    for (; expected <= last; ++expected) {
      ASSERT_EQ(next(), HF_OK) << why();
      ASSERT_EQ(record_.csn, expected);
    }
    ASSERT_EQ(next(), HF_NOT_FOUND);
  }
  // A reader that asked for what is to come gets it.
  for (std::uint64_t csn = last + 1; csn <= last + 5; ++csn) put("k", "later");
  ASSERT_EQ(next(5'000), HF_OK);
  EXPECT_EQ(record_.csn, last + 5);
}

TEST_F(LogReaderTest, KeptSegmentsOutliveMergesAndOpens) {
  open();
  const std::string filler(10'000, 'f');
  std::uint64_t last = 0;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 300; ++i) last = put("k" + std::to_string(i), filler);
    ASSERT_EQ(hf_maintain(db_, HF_MAINTAIN_MERGE_ALL), HF_OK);
    ASSERT_EQ(hf_close(&db_), HF_OK);
    open();
  }
  read_from(0);
  for (std::uint64_t expected = 1; expected <= last; ++expected) {
    ASSERT_EQ(next(), HF_OK) << why();
    ASSERT_EQ(record_.csn, expected);
  }
  // Keeping less from now on: the oldest go first, and what is left has no gap.
  ASSERT_EQ(hf_close(&db_), HF_OK);
  open(4 * kMiB);
  hf_log_reader* gone = nullptr;
  hf_error error = HF_ERROR_INIT;
  EXPECT_EQ(hf_log_open(path_.c_str(), 1, &gone, &error), HF_SNAPSHOT_TOO_OLD) << error.message;
  EXPECT_EQ(gone, nullptr);
  read_from(0);
  ASSERT_EQ(next(), HF_OK) << why();
  EXPECT_NE(std::string(error.message).find(std::to_string(record_.csn)), std::string::npos) << error.message;
  std::uint64_t expected = record_.csn + 1;
  EXPECT_GT(expected, 100u);
  EXPECT_LT(expected, last - 200) << "less was kept than asked for";
  for (; expected <= last; ++expected) {
    ASSERT_EQ(next(), HF_OK) << why();
    ASSERT_EQ(record_.csn, expected);
  }
  // And nothing: only what is not merged.
  ASSERT_EQ(hf_close(&db_), HF_OK);
  open(0);
  put("k", "v");
  ASSERT_EQ(hf_maintain(db_, HF_MAINTAIN_MERGE_ALL), HF_OK);
  hf_stats stats{};
  stats.size = sizeof stats;
  ASSERT_EQ(hf_stat(db_, &stats), HF_OK);
  EXPECT_LT(stats.log_bytes, 6 * kMiB);
}

TEST_F(LogReaderTest, NamesOfTablesThatTheBaseDoesNotHaveYet) {
  open();
  put("x", "y");
  ASSERT_EQ(hf_maintain(db_, HF_MAINTAIN_MERGE_ALL), HF_OK);
  hf_table* fresh = nullptr;
  ASSERT_EQ(hf_table_create(db_, "fresh", &fresh), HF_OK);
  std::uint64_t csn = 0;
  ASSERT_EQ(put_one(db_, fresh, "k", "v", &csn), HF_OK);
  read_from(csn);
  ASSERT_EQ(next(), HF_OK);
  EXPECT_EQ(name(), "fresh") << "made after the newest merge, before the first record that is given";
  ASSERT_EQ(hf_table_rename(db_, "fresh", "renamed"), HF_OK);
  ASSERT_EQ(put_one(db_, fresh, "k", "w", &csn), HF_OK);
  ASSERT_EQ(next(1'000), HF_OK);
  EXPECT_EQ(name(), "(catalog)");
  EXPECT_LT(record_.operations[0].table_id, 16u);
  ASSERT_EQ(next(1'000), HF_OK);
  EXPECT_EQ(name(), "renamed");
}

TEST_F(LogReaderTest, NeverGivesWhatIsNotDurable) {
  hf_open_options options = small_segments(0);
  options.flags = HF_OPEN_NO_THREAD;  // nobody flushes by the way
  ASSERT_EQ(hf_open(path_.c_str(), &options, &db_, nullptr), HF_OK);
  ASSERT_EQ(hf_table_ensure(db_, "rows", &table_), HF_OK);
  const std::uint64_t durable = put("a", "durable");
  // More than the ring holds: some of them are in the files, whole, and no sync has covered them.
  const std::string filler(50'000, 'r');
  std::uint64_t relaxed = 0;
  for (int i = 0; i < 120; ++i) ASSERT_EQ(put_one(db_, table_, "a", filler, &relaxed, true), HF_OK);
  hf_stats stats{};
  stats.size = sizeof stats;
  ASSERT_EQ(hf_stat(db_, &stats), HF_OK);
  ASSERT_EQ(stats.csn_durable, durable);
  read_from(durable);
  ASSERT_EQ(next(), HF_OK);
  EXPECT_EQ(next(50), HF_NOT_FOUND) << "commit " << record_.csn << " is not known to be on the device";
  ASSERT_EQ(hf_sync(db_, 5'000), HF_OK);
  for (std::uint64_t csn = durable + 1; csn <= relaxed; ++csn) {
    ASSERT_EQ(next(), HF_OK) << why();
    ASSERT_EQ(record_.csn, csn);
  }
}

// Everything that a process of others made durable, one after the other, while it goes on and when it was killed.
TEST_F(LogReaderTest, FollowsWritersOfOtherProcessesAcrossSegments) {
  constexpr std::uint64_t kCommits = 4'000;
  constexpr int kWriters = 2;
  pid_t children[kWriters];
  for (int writer = 0; writer < kWriters; ++writer) {
    children[writer] = fork();
    if (children[writer] != 0) continue;
    hf_db* db = nullptr;
    hf_table* table = nullptr;
    const hf_open_options options = small_segments(64 * kMiB);
    if (hf_open(path_.c_str(), &options, &db, nullptr) != HF_OK) _exit(1);
    if (hf_table_ensure(db, "rows", &table) != HF_OK) _exit(2);
    const std::string filler(2'000, 'x');
    for (std::uint64_t i = 1;; ++i) {
      if (put_one(db, table, "w" + std::to_string(writer), std::to_string(i) + " " + filler, nullptr) != HF_OK)
        _exit(3);
    }
  }
  for (int attempt = 0; attempt < 500; ++attempt) {  // until there is a database
    if (hf_log_open(path_.c_str(), 0, &reader_, nullptr) == HF_OK) break;
    usleep(10'000);
  }
  ASSERT_NE(reader_, nullptr);
  std::map<std::string, std::uint64_t> newest;
  std::map<std::string, int> files;
  std::uint64_t expected = 1;
  const auto take = [&] {
    ASSERT_EQ(record_.csn, expected++);
    ++files[record_.file];
    if (name() != "rows") return;
    const std::string key = text(record_.operations[0].key);
    ASSERT_EQ(std::stoull(value()), ++newest[key]);
  };
  while (expected <= kCommits && !HasFatalFailure()) {
    ASSERT_EQ(next(10'000), HF_OK) << why();
    take();
  }
  for (const pid_t child : children) kill(child, SIGKILL);
  for (const pid_t child : children) waitpid(child, nullptr, 0);
  // What lies whole in the files of the dead counts, and the next session begins behind it.
  while (next(100) == HF_OK && !HasFatalFailure()) take();
  const std::uint64_t whole = expected - 1;
  open();
  const std::uint64_t csn = put("w9", "1 ");
  EXPECT_GT(csn, whole);
  while (expected <= csn && !HasFatalFailure()) {
    ASSERT_EQ(next(5'000), HF_OK) << why();
    take();
  }
  EXPECT_GT(files.size(), 3u);
}

TEST_F(LogReaderTest, NoticesThatTheLogWasUsedAgain) {
  open(0);
  const std::string filler(20'000, 'f');
  const std::uint64_t first = put("k", filler);
  read_from(first);
  ASSERT_EQ(next(), HF_OK);
  // Far more than was read ahead, and more than once through the files.
  for (int round = 0; round < 12; ++round) {
    for (int i = 0; i < 100; ++i) put("k" + std::to_string(i), filler);
    ASSERT_EQ(hf_maintain(db_, HF_MAINTAIN_MERGE_ALL), HF_OK);
  }
  int code = HF_OK;
  std::uint64_t expected = first + 1;
  for (; (code = next()) == HF_OK; ++expected) {
    ASSERT_EQ(record_.csn, expected);
    ASSERT_EQ(value().substr(0, 5), "fffff");
  }
  EXPECT_EQ(code, HF_SNAPSHOT_TOO_OLD) << why();
  EXPECT_NE(why().find(std::to_string(expected)), std::string::npos) << why();
}

// Readers slower than the log is used again meet a whole record or HF_SNAPSHOT_TOO_OLD, whatever they race with.
TEST_F(LogReaderTest, RacesWithTheReuseOfSegments) {
  open(0);
  std::atomic<bool> stop{false};
  std::atomic<int> failed{0};
  std::thread writer([&] {
    const std::string filler(30'000, 'f');
    for (std::uint64_t i = 0; !stop; ++i) {
      if (put_one(db_, table_, "k" + std::to_string(i % 50), std::to_string(i) + filler, nullptr) != HF_OK) failed = 1;
      if (i % 40 == 0 && hf_maintain(db_, HF_MAINTAIN_MERGE_ALL) != HF_OK) failed = 2;
    }
  });
  int overtaken = 0, records = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(4);
  while (std::chrono::steady_clock::now() < end && !HasFatalFailure()) {
    hf_error error = HF_ERROR_INIT;
    const int opened = hf_log_open(path_.c_str(), 0, &reader_, &error);
    EXPECT_TRUE(opened == HF_OK || opened == HF_SNAPSHOT_TOO_OLD) << error.message;
    std::uint64_t expected = 0;
    while (opened == HF_OK && !HasFatalFailure()) {
      const int code = next(20);
      if (code == HF_NOT_FOUND) break;
      if (code == HF_SNAPSHOT_TOO_OLD) {
        ++overtaken;
        break;
      }
      EXPECT_EQ(code, HF_OK) << why();
      if (code != HF_OK) break;
      if (expected != 0) {
        EXPECT_EQ(record_.csn, expected);
      }
      expected = record_.csn + 1;
      if (++records % 2 == 0) usleep(30'000);
    }
    hf_log_close(&reader_);
  }
  stop = true;
  writer.join();
  EXPECT_EQ(failed, 0);
  EXPECT_GT(overtaken, 0) << "nothing raced; records: " << records;
}

TEST_F(LogReaderTest, NamesWhatIsDamaged) {
  open();
  std::uint64_t csn = 0;
  for (int i = 0; i < 50; ++i) csn = put("k", "some value of row " + std::to_string(i));
  read_from(csn - 20);
  ASSERT_EQ(next(), HF_OK);
  for (int i = 0; i < 5; ++i) ASSERT_EQ(next(), HF_OK);
  const std::string file = record_.file;
  const std::uint64_t offset = record_.offset, damaged = record_.csn;
  const int fd = ::open(file.c_str(), O_RDWR);
  char byte = 0;
  ASSERT_EQ(pread(fd, &byte, 1, static_cast<off_t>(offset + 40)), 1);
  byte = static_cast<char>(byte ^ 4);
  ASSERT_EQ(pwrite(fd, &byte, 1, static_cast<off_t>(offset + 40)), 1);
  ::close(fd);
  for (const bool live : {true, false}) {
    if (!live) {
      // A copy of the directory, that nobody ever opens: open or dead, damage before what was durable is no end.
      std::filesystem::copy(path_, directory_.path("copy"), std::filesystem::copy_options::recursive);
      hf_log_close(&reader_);
      hf_error error = HF_ERROR_INIT;
      ASSERT_EQ(hf_log_open(directory_.path("copy").c_str(), csn - 20, &reader_, &error), HF_OK) << error.message;
    } else {
      read_from(csn - 20);
    }
    int code = HF_OK;
    while ((code = next()) == HF_OK) ASSERT_LT(record_.csn, damaged);
    EXPECT_EQ(code, HF_CORRUPT) << why();
    EXPECT_NE(why().find("offset " + std::to_string(offset)), std::string::npos) << why();
    EXPECT_NE(why().find("log-"), std::string::npos) << why();
  }
}

TEST_F(LogReaderTest, Arguments) {
  hf_error error = HF_ERROR_INIT;
  EXPECT_EQ(hf_log_open(path_.c_str(), 0, nullptr, &error), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_log_open(nullptr, 0, &reader_, &error), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_log_open(path_.c_str(), 0, &reader_, &error), HF_NOT_FOUND) << error.message;
  EXPECT_EQ(reader_, nullptr);
  EXPECT_FALSE(std::filesystem::exists(path_)) << "reading makes nothing";
  open();
  read_from(0);
  EXPECT_EQ(hf_log_next(reader_, 0, nullptr), HF_INVALID_ARGUMENT);
  hf_log_record unset{};
  EXPECT_EQ(hf_log_next(reader_, 0, &unset), HF_INVALID_ARGUMENT);
  hf_log_reader* ended = reader_;
  EXPECT_EQ(hf_log_close(&reader_), HF_OK);
  EXPECT_EQ(hf_log_next(ended, 0, &record_), HF_MISUSE);
  EXPECT_EQ(hf_log_close(&reader_), HF_OK);
  EXPECT_EQ(hf_log_next(nullptr, 0, &record_), HF_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace conformance
