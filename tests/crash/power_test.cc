// SPDX-License-Identifier: Apache-2.0
// Goal: after a power failure every durable commit is there, in csn order, with no gap, and nothing else is half there.
//
// Method: a child commits durably, then relaxed, and is killed between the write and the sync of its last flush: the
// log then ends in records that are in the file but that nobody was told are on the device. Its shared memory is taken
// away, as a power failure would. Then the tail is lost in every way a device may lose it: cut at any byte, single
// sectors of it missing, old bytes in their place; and, which no device may do, bytes before it are lost as well, which
// must end in a dense prefix or in kCORRUPT, never in anything else.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "crash/fixture.h"
#include "log/frame.h"
#include "platform/test_point.h"
#include "txn/identity.h"

namespace hf::crash {
namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint32_t kDurableWorker = 0;
constexpr std::uint32_t kRelaxedWorker = 1;
constexpr std::uint64_t kDurableCommits = 300;
constexpr std::uint64_t kRelaxedCommits = 200;

// Commits durably, then relaxed, then dies in the flush that would have made the relaxed ones durable.
int power_role(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
  if (!session.ok()) return 3;
  if (!work(*session, *board, kDurableWorker, txn::Durability::kDurable, kDurableCommits).ok()) return 4;
  if (!work(*session, *board, kRelaxedWorker, txn::Durability::kRelaxed, kRelaxedCommits).ok()) return 5;
  platform::arm("log.flush.written:kill:1");
  (void)work(*session, *board, kDurableWorker, txn::Durability::kDurable, 1).ok();
  return 6;
}
const Role power_registration("power", power_role);

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
}

void write_bytes(const std::string& path, std::uint64_t offset, const std::string& bytes) {
  const int fd = open(path.c_str(), O_WRONLY);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)), static_cast<ssize_t>(bytes.size()));
  close(fd);
}

class PowerTest : public CrashTest {
 protected:
  // The directory as the device has it, in path("dead"); the tail of its newest segment.
  void make_dead() {
    const int end = Child("power", with({{"merge_ms", "100000"}, {"flush_ms", "1000000"}, {"background", "0"}})).wait();
    ASSERT_EQ(end, kKilled);
    std::filesystem::remove_all(db() + "/memory");
    std::filesystem::remove(db() + "/session");
    std::filesystem::rename(db(), path("dead"));
    find_tail();
  }

  // Walks the frames of the newest segment: where do the durable ones end, where the written ones?
  void find_tail() {
    std::uint64_t newest = 0;
    for (const auto& entry : std::filesystem::directory_iterator(path("dead") + "/log")) {
      log::SegmentHeader header;
      const std::string bytes = read_file(entry.path());
      ASSERT_GE(bytes.size(), sizeof header);
      std::memcpy(&header, bytes.data(), sizeof header);
      if (std::memcmp(header.magic, log::kSegmentMagic, sizeof header.magic) != 0 || header.sequence <= newest)
        continue;
      newest = header.sequence;
      segment_ = "log/" + entry.path().filename().string();
      bytes_ = bytes;
    }
    const Csn durable = (*board_)->workers[kDurableWorker].acked_csn.load();
    std::uint64_t offset = log::kSegmentHeaderSize;
    for (;;) {
      log::FrameHeader frame;
      std::memcpy(&frame, bytes_.data() + offset, sizeof frame);
      if (frame.magic != log::kFrameMagic) break;
      starts_.push_back(offset);
      offset += log::frame_size(frame.body_size);
      if (frame.csn <= durable) durable_end_ = offset;
    }
    written_end_ = offset;
    ASSERT_GT(durable_end_, log::kSegmentHeaderSize);
    ASSERT_GT(written_end_, durable_end_ + 100 * kSector) << "no tail to lose";
  }

  std::uint64_t random_in(std::uint64_t from, std::uint64_t to) const { return from + random_number(to - from); }

  // A copy of the dead directory as the database.
  std::string revive() {
    copy_tree(path("dead"), db());
    return db() + "/" + segment_;
  }

  // Opens and looks. With kMustBeThere the durable worker's acknowledged commits have to be there.
  std::string open_and_audit(Status* opened) {
    Result<Session> session = Session::open(db(), small_options());
    *opened = session.ok() ? Status() : session.status();
    if (!session.ok()) return "";
    std::string wrong = audit(*session, **board_, Acked::kMayBeGone);
    if (!wrong.empty()) return wrong;
    Result<std::uint64_t> newest = newest_number(*session, kDurableWorker);
    if (!newest.ok()) return newest.status().message();
    survived_ = *newest;
    Csn csn = 0;
    if (Status status = write_once(*session, kDurableWorker, *newest + 1, txn::Durability::kDurable, &csn);
        !status.ok()) {
      return "the recovered database takes no commit: " + status.message();
    }
    return "";
  }

  void expect_durable_survives(const std::string& what) {
    Status opened;
    EXPECT_EQ(open_and_audit(&opened), "") << what;
    EXPECT_TRUE(opened.ok()) << what << ": " << opened.message();
    EXPECT_GE(survived_, kDurableCommits) << what;
  }

  std::string segment_;
  std::string bytes_;
  std::vector<std::uint64_t> starts_;  // of frames
  std::uint64_t durable_end_ = 0, written_end_ = 0;
  std::uint64_t survived_ = 0;
};

constexpr int kVariants = kSanitized ? 8 : 25;

TEST_F(PowerTest, NothingIsLost) {
  make_dead();
  revive();
  expect_durable_survives("untouched");
}

TEST_F(PowerTest, TheTailIsCutAnywhere) {
  make_dead();
  for (int i = 0; i < kVariants && !HasFailure(); ++i) {
    const std::string file = revive();
    const std::uint64_t cut = i == 0 ? durable_end_ : random_in(durable_end_, written_end_);
    write_bytes(file, cut, std::string(written_end_ - cut, '\0'));
    expect_durable_survives("zeros from " + std::to_string(cut) + " on; durable up to " + std::to_string(durable_end_));
  }
}

TEST_F(PowerTest, SectorsOfTheTailAreLost) {
  make_dead();
  for (int i = 0; i < kVariants && !HasFailure(); ++i) {
    const std::string file = revive();
    std::string what = "lost sectors:";
    for (std::uint64_t n = 1 + random_number(8); n > 0; --n) {
      // A sector that holds durable bytes was written before; the device has one or the other content of the rest.
      const std::uint64_t sector = random_in(durable_end_, written_end_) / kSector * kSector;
      const std::uint64_t from = std::max(sector, durable_end_);
      const bool garbage = random_number(2) != 0;
      write_bytes(file, from, std::string(sector + kSector - from, garbage ? 'x' : '\0'));
      what += " " + std::to_string(sector);
    }
    expect_durable_survives(what);
  }
}

// What an older use of the same file would have there: whole, verifying records, but of other places.
TEST_F(PowerTest, OldRecordsStandInTheTail) {
  make_dead();
  for (int i = 0; i < kVariants && !HasFailure(); ++i) {
    const std::string file = revive();
    const std::uint64_t to = starts_[random_in(1, starts_.size())];
    const std::uint64_t from = starts_[random_number(starts_.size())];
    if (to < durable_end_ || from >= durable_end_) continue;
    const std::uint64_t size = std::min(durable_end_ - from, written_end_ - to);
    write_bytes(file, to, bytes_.substr(from, size));
    expect_durable_survives("old records at " + std::to_string(to));
  }
}

// Bytes that had been synced are lost. The engine may find that out or not, but it never shows anything but a prefix.
TEST_F(PowerTest, DurableBytesAreLost) {
  make_dead();
  int corrupt = 0;
  for (int i = 0; i < kVariants && !HasFailure(); ++i) {
    const std::string file = revive();
    const std::uint64_t at = random_in(log::kSegmentHeaderSize, durable_end_);
    const bool all_behind = random_number(2) != 0;
    const std::uint64_t size = all_behind ? written_end_ - at : std::min<std::uint64_t>(kSector, written_end_ - at);
    write_bytes(file, at, std::string(size, '\0'));
    Status opened;
    EXPECT_EQ(open_and_audit(&opened), "") << "lost " << size << " bytes at " << at;
    if (opened.ok()) {
      EXPECT_TRUE(all_behind) << "durable records follow the hole at " << at << ", and it was taken for a torn tail";
    } else {
      EXPECT_EQ(opened.code(), Code::kCORRUPT) << opened.message();
      ++corrupt;
    }
  }
  EXPECT_GT(corrupt, 0);
}

TEST_F(PowerTest, AFlippedBitInADurableRecordIsReported) {
  make_dead();
  for (int i = 0; i < (kSanitized ? 4 : 12) && !HasFailure(); ++i) {
    const std::string file = revive();
    // In any record but the last durable one, whose durability only a later record could prove.
    std::uint64_t at = 0;
    do {
      at = random_in(log::kSegmentHeaderSize, durable_end_);
    } while (std::none_of(starts_.begin(), starts_.end(),
                          [&](std::uint64_t start) { return start > at && start + 4096 < durable_end_; }));
    std::uint64_t start = 0;
    for (const std::uint64_t one : starts_) start = one <= at ? one : start;
    const std::string good = bytes_.substr(at, 1);
    write_bytes(file, at, std::string(1, static_cast<char>(good[0] ^ (1 << random_number(8)))));

    const auto before = fingerprint(db());
    Status opened;
    EXPECT_EQ(open_and_audit(&opened), "");
    EXPECT_EQ(opened.code(), Code::kCORRUPT) << "a bit at " << at << ": " << opened.message();
    EXPECT_NE(opened.message().find(segment_), std::string::npos) << opened.message();
    EXPECT_NE(opened.message().find("offset " + std::to_string(start)), std::string::npos)
        << "a bit at " << at << ": " << opened.message();
    EXPECT_EQ(fingerprint(db()), before) << "something was overwritten";

    write_bytes(file, at, good);
    expect_durable_survives("the bit is mended");
  }
}

// LMDB writes the first two pages of its file without a sync. Whatever is left of them, a first open that did not come
// to its end is begun anew.
TEST_F(CrashTest, PowerFailsDuringTheFirstOpen) {
  for (const std::size_t size : {0, 512, 4096, 8192}) {
    std::filesystem::remove_all(db());
    std::filesystem::create_directories(db() + "/base");
    ASSERT_TRUE(txn::write_identity(db(), {4711, false}).ok());
    std::ofstream(db() + "/base/data.mdb", std::ios::binary) << std::string(size, '\0');
    for (const char* key : {"one", "two"}) {
      Result<Session> session = Session::open(db(), small_options());
      ASSERT_TRUE(session.ok()) << size << " bytes: " << session.status().message();
      EXPECT_TRUE(put_row(*session, key, "value").ok());
    }
  }
}

// The same without the mark that says whose it is: nothing is taken away, however often it is tried.
TEST_F(CrashTest, ATornFileWithoutAMarkIsKept) {
  std::filesystem::create_directories(db() + "/base");
  std::ofstream(db() + "/base/data.mdb", std::ios::binary) << std::string(8192, '\0');
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Session::open(db(), small_options()).status().code(), Code::kWRONG_FORMAT);
  EXPECT_EQ(read_file(db() + "/base/data.mdb"), std::string(8192, '\0'));
}

}  // namespace
}  // namespace hf::crash
