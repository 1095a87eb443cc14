// SPDX-License-Identifier: Apache-2.0
// Goal: the lock file has the layout that docs/formats.md gives it, and nothing else is taken for one.
// Method: offsets and sizes as plain numbers; a file made and looked at; damaged files refused.
#include "lock/format.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "lock_testing.h"

namespace hf::lock {
namespace {

class LockFormatTest : public LockTest {
 protected:
  std::size_t file_size() const { return std::filesystem::file_size(path()); }
  void overwrite(off_t offset, const std::string& bytes) const {
    const int fd = open(path().c_str(), O_WRONLY | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(pwrite(fd, bytes.data(), bytes.size(), offset), static_cast<ssize_t>(bytes.size()));
    close(fd);
  }
  Code attach_code(const Member& member, const std::string& path) const {
    return LockTable::attach(path, *member.liveness, slots_->rows).code();
  }
  Code attach_code(const Member& member) const { return attach_code(member, path()); }
};

TEST_F(LockFormatTest, PlacesOfTheParts) {
  EXPECT_EQ(kUnitChunksOffset, 4096u);
  EXPECT_EQ(kHeatOffset, 4096u + 16384);
  EXPECT_EQ(kBucketsOffset, 4096u + 16384 + 16384);
  EXPECT_EQ(kOwnersOffset, 4096u + 16384 + 16384 + 524288);
  EXPECT_EQ(kUnitsOffset, 4096u + 16384 + 16384 + 524288 + 524288);
  EXPECT_EQ(lock_file_size(64), kUnitsOffset + 8192);
  EXPECT_EQ(kLocksMax, 262'144u);
  EXPECT_EQ(kOwnersMax, 4096u);
}

TEST_F(LockFormatTest, FieldsOfAUnit) {
  EXPECT_EQ(sizeof(Unit), 128u);
  EXPECT_EQ(offsetof(Unit, word), 0u);
  EXPECT_EQ(offsetof(Unit, next), 4u);
  EXPECT_EQ(offsetof(Unit, hash), 8u);
  EXPECT_EQ(offsetof(Unit, life), 16u);
  EXPECT_EQ(offsetof(Unit, since_ns), 24u);
  EXPECT_EQ(offsetof(Unit, owner), 32u);
  EXPECT_EQ(offsetof(Unit, table), 36u);
  EXPECT_EQ(offsetof(Unit, more), 40u);
  EXPECT_EQ(offsetof(Unit, key_size), 44u);
  EXPECT_EQ(offsetof(Unit, key), 48u);
  EXPECT_EQ(offsetof(Unit, key) + kUnitKeySize, sizeof(Unit));
  EXPECT_EQ(offsetof(UnitMore, word), 0u);  // who scans the units may not know which of them is which
  EXPECT_EQ(offsetof(UnitMore, more), 4u);
  EXPECT_EQ(offsetof(UnitMore, key) + kUnitMoreSize, sizeof(UnitMore));
  // The longest key has a place: one unit and four more.
  EXPECT_GE(kUnitKeySize + 4 * kUnitMoreSize, kKeySizeMax);
}

TEST_F(LockFormatTest, FieldsOfBucketAndOwner) {
  EXPECT_EQ(sizeof(Bucket), 64u);
  EXPECT_EQ(offsetof(Bucket, latch), 0u);
  EXPECT_EQ(offsetof(Bucket, first), 4u);
  EXPECT_EQ(offsetof(Bucket, last), 8u);
  EXPECT_EQ(sizeof(OwnerRow), 128u);
  EXPECT_EQ(offsetof(OwnerRow, status), 0u);
  EXPECT_EQ(offsetof(OwnerRow, expires_at_ns), 8u);
  EXPECT_EQ(offsetof(OwnerRow, began_ns), 16u);
  EXPECT_EQ(offsetof(OwnerRow, process), 24u);
  EXPECT_EQ(offsetof(OwnerRow, wake), 28u);
  EXPECT_EQ(offsetof(OwnerRow, waiting), 32u);
  EXPECT_EQ(sizeof(LockShared), 4096u);
  EXPECT_EQ(offsetof(LockShared, magic), 0u);
  EXPECT_EQ(offsetof(LockShared, locks_max), 8u);
}

TEST_F(LockFormatTest, WordsKeepWhatIsPacked) {
  for (const State state : {State::kUnused, State::kWaiting, State::kGranted, State::kUpgrading, State::kDropped}) {
    for (const Mode held : {Mode::kNone, Mode::kShared, Mode::kExclusive, Mode::kIncrement}) {
      for (const Mode wanted : {Mode::kNone, Mode::kShared, Mode::kExclusive, Mode::kIncrement}) {
        for (const std::uint8_t flags : {0, 1, 2, 3}) {
          const RequestWord word = unpack(pack({state, held, wanted, flags}));
          EXPECT_EQ(word.state, state);
          EXPECT_EQ(word.held, held);
          EXPECT_EQ(word.wanted, wanted);
          EXPECT_EQ(word.flags, flags);
        }
      }
    }
  }
  const std::uint64_t life = (std::uint64_t{1} << 62) - 1;
  EXPECT_EQ(life_of(make_status(life, OwnerState::kExpired)), life);
  EXPECT_EQ(state_of(make_status(life, OwnerState::kExpired)), OwnerState::kExpired);
}

TEST_F(LockFormatTest, MakesTheFile) {
  Member first = create(4096);
  EXPECT_GE(file_size(), lock_file_size(4096));
  EXPECT_EQ(std::string(first->shared().magic, 8), std::string(kLockMagic, 8));
  EXPECT_EQ(first->shared().locks_max, 4096u);
  EXPECT_EQ(first->stats().locks_max, 4096u);
  Member second = attach();
  EXPECT_EQ(second->stats().locks_max, 4096u);  // the first opener's option
}

TEST_F(LockFormatTest, RoundsUpToChunks) {
  for (const auto& [wanted, made] : {std::pair{1u, 64u}, {64u, 64u}, {65u, 128u}, {1000u, 1024u}}) {
    Member first = create(wanted);
    EXPECT_EQ(first->stats().locks_max, made) << wanted;
    EXPECT_GE(file_size(), lock_file_size(made));
  }
}

TEST_F(LockFormatTest, AFileMadeAnewKnowsNothingOfTheOld) {
  Member first = create(64);
  Life holder(*first);
  ASSERT_EQ(holder.lock(row_of("row"), Mode::kExclusive), Code::kOK);
  Member second = create(64);
  EXPECT_TRUE(second->list().empty());
  Life other(*second);
  EXPECT_EQ(other.lock(row_of("row"), Mode::kExclusive), Code::kOK);
}

TEST_F(LockFormatTest, RefusesWhatIsNoLockFile) {
  Member member = create(64);
  ASSERT_EQ(attach_code(member), Code::kOK);
  overwrite(0, "HFLOCK00");
  EXPECT_NE(attach_code(member), Code::kOK);
  overwrite(0, std::string(kLockMagic, 8));
  ASSERT_EQ(attach_code(member), Code::kOK);
  // More units than the file has room for.
  overwrite(8, std::string("\x00\x10\x00\x00", 4));
  EXPECT_NE(attach_code(member), Code::kOK);
  overwrite(8, std::string("\x00\x00\x00\x00", 4));
  EXPECT_NE(attach_code(member), Code::kOK);
  overwrite(8, std::string("\xff\xff\xff\xff", 4));
  EXPECT_NE(attach_code(member), Code::kOK);
  overwrite(8, std::string("\x40\x00\x00\x00", 4));
  ASSERT_EQ(attach_code(member), Code::kOK);
}

TEST_F(LockFormatTest, RefusesAFileThatIsTooShortOrNotThere) {
  Member member = create(64);
  const std::string copy = directory_ / "copy";  // a mapped file is not made shorter
  for (const std::size_t size : {file_size(), file_size() - 1, kUnitsOffset, sizeof(LockShared), std::size_t{0}}) {
    std::filesystem::copy_file(path(), copy, std::filesystem::copy_options::overwrite_existing);
    std::filesystem::resize_file(copy, size);
    EXPECT_EQ(attach_code(member, copy) == Code::kOK, size == file_size()) << size;
  }
  EXPECT_EQ(attach_code(member, directory_ / "absent"), Code::kNOT_FOUND);
}

}  // namespace
}  // namespace hf::lock
