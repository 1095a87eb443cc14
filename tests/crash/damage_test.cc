// SPDX-License-Identifier: Apache-2.0
// Goal: a directory with a file that is missing, foreign, newer, of another byte order or damaged gives the documented
// code and a message that names the file, and nothing there is overwritten: putting the file right makes it open again.
//
// Method: one directory of a killed session with several log segments, its memory taken away. Each case copies it, does
// one damage, opens it in a child (which must not crash), and compares every file with what it was before.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "crash/fixture.h"
#include "log/frame.h"

namespace hf::crash {
namespace {

namespace fs = std::filesystem;

// Opens without making anything and notes the answer on the board.
int open_role(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  txn::DatabaseOptions options = options_in(arguments);
  options.create = number_in(arguments, "create", 1) != 0;
  Result<Session> session = Session::open(arguments.at("db"), options);
  const Status status = session.ok() ? Status() : session.status();
  board->code = static_cast<std::uint32_t>(status.code());
  std::snprintf(board->report, sizeof board->report, "%s", status.message().c_str());
  if (!session.ok()) return 0;
  const std::string wrong = audit(*session, *board, Acked::kMustBeThere);
  if (wrong.empty()) return 0;
  std::snprintf(board->report, sizeof board->report, "%s", wrong.c_str());
  return 4;
}
const Role open_registration("open", open_role);

class DamageTest : public CrashTest {
 protected:
  DamageTest() {
    make("two", 4);
    if (HasFatalFailure()) return;
    for (WorkerRow& row : (*board_)->workers) row.acked = row.acked_csn = 0;  // not in the one that is looked at
    make("one", 0);
    if (HasFatalFailure()) return;
    revive();
    for (const auto& entry : fs::directory_iterator(db() + "/log")) {
      log::SegmentHeader header{};
      std::ifstream(entry.path(), std::ios::binary).read(reinterpret_cast<char*>(&header), sizeof header);
      const bool used = std::memcmp(header.magic, log::kSegmentMagic, sizeof header.magic) == 0;
      if (used) segments_[header.sequence] = entry.path().filename().string();
    }
  }

  // A killed session's directory with some segments in the log.
  void make(const std::string& name, std::uint32_t first) {
    Arguments arguments = with({{"first", std::to_string(first)},
                                {"threads", "2"},
                                {"merge_ms", "100000"},
                                {"overlay", "67108864"},
                                {"count", "2500"},
                                {"durable", "0"},
                                {"stay", "1"},
                                {"background", "0"}});
    arguments["db"] = path(name);
    Child child("worker", arguments);
    ASSERT_TRUE(eventually(20'000, [&] {
      return (*board_)->workers[first].acked.load() == 2'500 && (*board_)->workers[first + 1].acked.load() == 2'500;
    })) << (*board_)->report;
    child.kill_and_wait();
    // Recovery writes down what only the memory had, and is killed before it merges.
    Arguments audit_arguments =
        with({{"die", "1"}, {"merge_ms", "100000"}, {"overlay", "67108864"}, {"acked_gone", "1"}, {"background", "0"}});
    audit_arguments["db"] = path(name);
    ASSERT_EQ(Child("audit", audit_arguments).wait(), kKilled) << (*board_)->report;
    fs::remove_all(path(name) + "/memory");
    fs::remove(path(name) + "/session");
  }

  void revive() { copy_tree(path("one"), db()); }
  std::string in_db(const std::string& name) const { return db() + "/" + name; }
  std::string segment(std::uint64_t index_from_oldest) const {
    return "log/" + std::next(segments_.begin(), static_cast<long>(index_from_oldest))->second;
  }
  std::string newest_segment() const { return "log/" + segments_.rbegin()->second; }

  void overwrite(const std::string& name, std::uint64_t offset, const std::string& bytes) {
    const int fd = open(in_db(name).c_str(), O_WRONLY);
    ASSERT_GE(fd, 0) << name;
    ASSERT_EQ(pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)), static_cast<ssize_t>(bytes.size()));
    close(fd);
  }

  // Opening says one of `codes` and names `word`; every file that was there is as it was.
  void expect_refused(const std::vector<Code>& codes, const std::string& word) {
    const auto before = fingerprint(db());
    const int end = Child("open", with({})).wait();
    EXPECT_EQ(end, 0) << "the opening process ended with " << end << " (128 + a signal's number)";
    const auto code = static_cast<Code>((*board_)->code.load());
    EXPECT_TRUE(std::find(codes.begin(), codes.end(), code) != codes.end())
        << "answered " << code_name(static_cast<int>(code)) << ": " << (*board_)->report;
    EXPECT_NE(std::string((*board_)->report).find(word), std::string::npos)
        << "does not name " << word << ": " << (*board_)->report;
    auto after = fingerprint(db());
    for (const auto& [name, sum] : before) {
      EXPECT_TRUE(after.count(name) == 1 && after[name] == sum) << name << " was changed or removed";
    }
  }

  void expect_opens() {
    EXPECT_EQ(Child("open", with({})).wait(), 0) << (*board_)->report;
    EXPECT_EQ((*board_)->code.load(), 0u) << (*board_)->report;
  }

  std::map<std::uint64_t, std::string> segments_;  // by sequence
};

TEST_F(DamageTest, UndamagedItOpens) {
  ASSERT_GE(segments_.size(), 4u);
  expect_opens();
}

TEST_F(DamageTest, ASegmentIsMissing) {
  for (const std::string& name : {segment(0), segment(1), newest_segment()}) {
    SCOPED_TRACE(name);
    revive();
    fs::rename(in_db(name), path("aside"));
    // The newest one may have no record yet; even then its absence is an answer of its own or no loss.
    expect_refused({Code::kCORRUPT}, "missing segment");
    fs::rename(path("aside"), in_db(name));
    expect_opens();
  }
}

TEST_F(DamageTest, ASegmentIsForeign) {
  for (const std::string& name : {segment(1), newest_segment()}) {
    revive();
    fs::path other;
    for (const auto& entry : fs::directory_iterator(path("two") + "/log")) other = entry.path();
    fs::copy_file(other, in_db(name), fs::copy_options::overwrite_existing);
    expect_refused({Code::kWRONG_FORMAT}, name);
  }
  // Beside our own ones it is as wrong.
  revive();
  fs::copy_file(path("two") + "/" + segment(0), in_db("log/log-999.hfl"));
  expect_refused({Code::kWRONG_FORMAT}, "log-999.hfl");
}

TEST_F(DamageTest, ASegmentIsNewerOrOfAnotherByteOrder) {
  revive();
  overwrite(segment(1), offsetof(log::SegmentHeader, version), std::string("\x02\0\0\0", 4));
  expect_refused({Code::kWRONG_FORMAT}, segment(1));
  revive();
  overwrite(segment(1), offsetof(log::SegmentHeader, byte_order), "\x01\x02\x03\x04");
  expect_refused({Code::kWRONG_FORMAT}, segment(1));
}

TEST_F(DamageTest, ASegmentHeaderIsDamaged) {
  for (const std::string& name : {segment(0), segment(1)}) {
    revive();
    overwrite(name, 0, std::string(8, 'x'));
    expect_refused({Code::kCORRUPT}, "log");
    revive();
    overwrite(name, offsetof(log::SegmentHeader, first_csn), "xyz");
    expect_refused({Code::kCORRUPT}, "log");
  }
}

TEST_F(DamageTest, ASegmentIsShort) {
  revive();
  fs::resize_file(in_db(segment(1)), 100'000);
  expect_refused({Code::kCORRUPT}, segment(1));
  revive();
  fs::resize_file(in_db(segment(1)), 0);
  expect_refused({Code::kCORRUPT}, "log");
}

TEST_F(DamageTest, TheMarkIsDamaged) {
  revive();
  overwrite("HOLDFAST", 0, "GOODBYE");
  expect_refused({Code::kWRONG_FORMAT}, "HOLDFAST");
  revive();
  overwrite("HOLDFAST", 8, "\x01\x02\x03\x04");
  expect_refused({Code::kWRONG_FORMAT}, "byte order");
  revive();
  overwrite("HOLDFAST", 12, std::string("\x63\0\0\0", 4));
  expect_refused({Code::kWRONG_FORMAT}, "version 99");
  revive();
  overwrite("HOLDFAST", 17, "!");
  expect_refused({Code::kCORRUPT}, "HOLDFAST");
  for (const std::uint64_t size : {0, 7, 39}) {
    revive();
    fs::resize_file(in_db("HOLDFAST"), size);
    expect_refused({Code::kWRONG_FORMAT, Code::kCORRUPT}, "HOLDFAST");
  }
}

TEST_F(DamageTest, TheMarkIsMissing) {
  revive();
  fs::rename(in_db("HOLDFAST"), path("aside"));
  expect_refused({Code::kWRONG_FORMAT, Code::kCORRUPT}, db());
  fs::remove(in_db("HOLDFAST"));
  fs::rename(path("aside"), in_db("HOLDFAST"));
  expect_opens();
}

TEST_F(DamageTest, TheBaseIsMissingOrGarbage) {
  revive();
  fs::rename(in_db("base/data.mdb"), path("aside"));
  expect_refused({Code::kCORRUPT}, "data.mdb");
  fs::rename(path("aside"), in_db("base/data.mdb"));
  expect_opens();

  revive();
  const auto size = fs::file_size(in_db("base/data.mdb"));
  std::ofstream(in_db("base/data.mdb"), std::ios::binary | std::ios::trunc) << std::string(size, 'g');
  expect_refused({Code::kWRONG_FORMAT, Code::kCORRUPT}, "data.mdb");

  revive();
  fs::copy_file(path("two") + "/base/data.mdb", in_db("base/data.mdb"), fs::copy_options::overwrite_existing);
  expect_refused({Code::kWRONG_FORMAT}, "data.mdb");
}

// A file that lost its end would be a SIGBUS at the first touch of what is missing.
TEST_F(DamageTest, TheBaseIsShort) {
  // Merged in order, so that all rows are in the base.
  revive();
  expect_opens();
  const std::string whole = path("whole");
  copy_tree(db(), whole);
  const auto size = fs::file_size(in_db("base/data.mdb"));
  for (const std::uint64_t part : {size / 2, std::uint64_t{3 * 4096}, std::uint64_t{4096}, std::uint64_t{100}}) {
    SCOPED_TRACE(std::to_string(part) + " of " + std::to_string(size) + " bytes");
    copy_tree(whole, db());
    fs::resize_file(in_db("base/data.mdb"), part);
    expect_refused({Code::kWRONG_FORMAT, Code::kCORRUPT}, "data.mdb");
  }
  copy_tree(whole, db());
  fs::resize_file(in_db("base/data.mdb"), 0);
  EXPECT_EQ(Child("open", with({})).wait(), 0);
  EXPECT_NE((*board_)->code.load(), 0u) << "an emptied base was taken for a new database";
}

TEST_F(DamageTest, TheDirectoryIsNotOurs) {
  fs::remove_all(db());
  std::ofstream(db()) << "a file";
  EXPECT_EQ(Child("open", with({})).wait(), 0);
  EXPECT_EQ((*board_)->code.load(), static_cast<std::uint32_t>(Code::kWRONG_FORMAT)) << (*board_)->report;
  fs::remove(db());

  fs::create_directory(db());
  std::ofstream(in_db("letters.txt")) << "dear reader";
  expect_refused({Code::kWRONG_FORMAT}, "letters.txt");
  EXPECT_EQ(fingerprint(db()).size(), 1u) << "files were made in a foreign directory";

  fs::remove_all(db());
  EXPECT_EQ(Child("open", with({{"create", "0"}})).wait(), 0);
  EXPECT_EQ((*board_)->code.load(), static_cast<std::uint32_t>(Code::kNOT_FOUND));
  EXPECT_FALSE(fs::exists(db())) << "made, although it was not to";

  Arguments nowhere = with({});
  nowhere["db"] = path("no/such/place");
  EXPECT_EQ(Child("open", nowhere).wait(), 0);
  EXPECT_NE((*board_)->code.load(), 0u);
  EXPECT_NE(std::string((*board_)->report).find("no/such/place"), std::string::npos) << (*board_)->report;
}

}  // namespace
}  // namespace hf::crash
