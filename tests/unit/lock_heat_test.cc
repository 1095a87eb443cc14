// SPDX-License-Identifier: Apache-2.0
// Goal: rows that conflict become hot and those left alone cool; scores saturate; `hot` is 0 when nothing is.
// Method: the heat cells of a table that lies in plain memory, under a clock that the test moves.
#include "lock/heat.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <new>
#include <thread>
#include <vector>

namespace hf::lock {
namespace {

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kRow = 4711 + 5 * std::uint64_t{kBuckets};  // a hash, with bits above the bucket's number
constexpr std::uint64_t kOther = 4712;

class HeatTest : public testing::Test {
 protected:
  HeatTest() {
    region_.base = static_cast<char*>(std::aligned_alloc(4096, kOwnersOffset));
    if (region_.base == nullptr) throw std::bad_alloc();
    std::memset(region_.base, 0, kOwnersOffset);
    cool(region_, now_);
  }
  ~HeatTest() override { free(region_.base); }

  std::uint16_t cell(std::uint64_t hash = kRow) const { return region_.heat(hash).load(); }
  std::uint64_t hot() const { return region_.shared().hot.load(); }
  Mode first_touch(std::uint64_t hash = kRow) const { return lock_at_first_touch(region_, hash); }
  void pass(std::uint64_t ms) {
    now_ += ms * kMs;
    cool(region_, now_);
  }
  void conflict(int times, bool written_too) {
    for (int i = 0; i < times; ++i) note_conflict(region_, kRow, written_too);
  }

  LockRegion region_;
  std::uint64_t now_ = 1'000'000 * kMs;
};

TEST_F(HeatTest, SecondConflictMakesARowHot) {
  EXPECT_EQ(first_touch(), Mode::kNone);
  conflict(1, true);
  EXPECT_EQ(first_touch(), Mode::kNone);
  EXPECT_EQ(hot(), 0u);
  conflict(1, true);
  EXPECT_EQ(first_touch(), Mode::kExclusive);
  EXPECT_NE(hot(), 0u);
  EXPECT_EQ(first_touch(kOther), Mode::kNone);
  EXPECT_EQ(cell(kOther), 0u);
}

TEST_F(HeatTest, RowsOnlyReadAreSharedUntilTheyAreWrittenToo) {
  conflict(2, false);
  EXPECT_EQ(first_touch(), Mode::kShared);
  conflict(2, true);
  EXPECT_EQ(first_touch(), Mode::kExclusive);
}

TEST_F(HeatTest, ConflictsFarApartStayCold) {
  conflict(1, true);
  pass(200);
  conflict(1, true);
  EXPECT_EQ(first_touch(), Mode::kExclusive);

  region_.heat(kRow).store(0);
  for (int i = 0; i < 20; ++i) {
    conflict(1, true);
    EXPECT_EQ(first_touch(), Mode::kNone) << i;
    pass(400);
  }
}

TEST_F(HeatTest, ScoresSaturateEachForItself) {
  conflict(1000, false);
  EXPECT_EQ(cell(), make_heat(255, 0));
  conflict(1000, true);
  EXPECT_EQ(cell(), make_heat(255, 255));
  for (int i = 0; i < 1000; ++i) note_wait(region_, kRow, Mode::kShared);
  for (int i = 0; i < 1000; ++i) note_wait(region_, kRow, Mode::kExclusive);
  EXPECT_EQ(cell(), make_heat(255, 255));
}

TEST_F(HeatTest, CoolsInLessThanASecondAndGoesToZero) {
  conflict(1000, true);
  conflict(1000, false);
  int turns = 0;
  while (first_touch() != Mode::kNone && turns < 100) {
    EXPECT_NE(hot(), 0u);
    pass(100);
    ++turns;
  }
  EXPECT_GE(turns, 4);
  EXPECT_LE(turns, 10);
  EXPECT_EQ(hot(), 0u);
  EXPECT_NE(cell(), 0u);
  for (int i = 0; i < 30; ++i) pass(100);
  EXPECT_EQ(cell(), 0u);
}

TEST_F(HeatTest, CoolsAtItsOwnRateWhoeverCalls) {
  conflict(1000, true);
  cool(region_, now_ + 99 * kMs);
  EXPECT_EQ(cell(), make_heat(0, 255));
  cool(region_, now_ + 100 * kMs);
  const std::uint16_t once = cell();
  EXPECT_EQ(once, make_heat(0, 191));
  cool(region_, now_ + 100 * kMs);
  cool(region_, now_ + 199 * kMs);
  cool(region_, now_);      // a clock that was read before the last turn
  cool(region_, now_ - 1);  // likewise
  EXPECT_EQ(cell(), once);

  // Ten turns of 70 ms are seven periods, as is one turn of 700 ms.
  pass(100);
  region_.heat(kRow).store(make_heat(0, 255));
  region_.heat(kOther).store(make_heat(200, 0));
  for (int i = 0; i < 10; ++i) pass(70);
  const std::uint16_t bit_by_bit = cell();
  EXPECT_GT(written_heat(bit_by_bit), 0);
  region_.heat(kRow).store(make_heat(0, 255));
  pass(700);
  EXPECT_EQ(cell(), bit_by_bit);
  pass(3'600'000);
  EXPECT_EQ(cell(), 0u);
  EXPECT_EQ(cell(kOther), 0u);
}

TEST_F(HeatTest, WaitsKeepARowHotAndWarmNoColdOne) {
  for (int i = 0; i < 100; ++i) {
    note_wait(region_, kRow, Mode::kExclusive);
    note_wait(region_, kRow, Mode::kShared);
  }
  EXPECT_EQ(cell(), 0u);

  conflict(2, true);
  for (int i = 0; i < 50; ++i) {
    note_wait(region_, kRow, Mode::kExclusive);
    pass(100);
    EXPECT_EQ(first_touch(), Mode::kExclusive) << i;
  }
  EXPECT_EQ(read_heat(cell()), 0);
  // Increments say nothing: what they wait for is no reader's row.
  for (int i = 0; i < 10; ++i) {
    note_wait(region_, kRow, Mode::kIncrement);
    pass(100);
  }
  EXPECT_EQ(first_touch(), Mode::kNone);
}

TEST_F(HeatTest, WritersThatWaitForReadersKeepTheRowShared) {
  conflict(2, false);
  for (int i = 0; i < 50; ++i) {
    note_wait(region_, kRow, i % 2 == 0 ? Mode::kExclusive : Mode::kShared);
    pass(100);
    EXPECT_EQ(first_touch(), Mode::kShared) << i;
  }
}

TEST_F(HeatTest, CountsHotCellsAnewEachTurn) {
  conflict(8, true);
  for (int i = 0; i < 4; ++i) note_conflict(region_, kOther, false);
  EXPECT_EQ(hot_cells(region_), 2u);
  const std::vector<HotCell> cells = list_hot_cells(region_);
  ASSERT_EQ(cells.size(), 2u);
  EXPECT_EQ(cells[0].bucket, kRow % kBuckets);
  EXPECT_EQ(cells[0].written, 255);
  EXPECT_EQ(cells[0].read, 0);
  EXPECT_EQ(cells[1].bucket, kOther);
  EXPECT_EQ(cells[1].read, 128);

  region_.shared().hot.store(0);  // as when its store was lost
  EXPECT_EQ(first_touch(), Mode::kNone);
  pass(100);
  EXPECT_EQ(hot(), 2u);
  EXPECT_EQ(first_touch(), Mode::kExclusive);
  pass(300);
  EXPECT_EQ(hot(), 1u);
  region_.shared().hot.store(0);
  note_wait(region_, kRow, Mode::kExclusive);
  EXPECT_NE(hot(), 0u);
}

// Threads that heat and cool at once lose updates at most: the scores stay scores, and all of it cools in the end.
TEST_F(HeatTest, ThreadsAtOnceLeaveValidScores) {
  std::vector<std::thread> threads;
  std::atomic<std::uint64_t> clock{now_};
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([this, thread, &clock] {
      for (std::uint64_t i = 0; i < 20'000; ++i) {
        note_conflict(region_, kRow + i % 3, thread % 2 == 0);
        note_wait(region_, kRow + i % 3, Mode::kExclusive);
        if (i % 100 == 0) cool(region_, clock.fetch_add(30 * kMs) + 30 * kMs);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(cell(kRow + 3), 0u);
  EXPECT_NE(first_touch(), Mode::kNone);
  now_ = clock.load();
  pass(10'000);
  EXPECT_EQ(hot(), 0u);
  EXPECT_EQ(hot_cells(region_), 0u);
  EXPECT_EQ(cell(), 0u);
}

}  // namespace
}  // namespace hf::lock
