// SPDX-License-Identifier: Apache-2.0
// Goal: a lock table that is full says so with its figures, loses nothing and leaks nothing, and works again as soon as
// something is given back, by whomever.
// Method: the smallest table, filled by one member, by several, by the dead; the message read.
#include <gtest/gtest.h>

#include <optional>

#include "lock_testing.h"

namespace hf::lock {
namespace {

constexpr Mode S = Mode::kShared, X = Mode::kExclusive;

class LockFullTest : public LockTest {
 protected:
  LockFullTest() {
    for (int i = 0; i < 5'000; ++i) keys_.push_back("key" + std::to_string(i));
  }
  Row row(std::size_t i) const { return row_of(keys_[i]); }
  // Locks rows from `first` on until the table is full. Answers how many.
  std::size_t fill(Life& life, std::size_t first = 0) {
    std::size_t count = 0;
    Code code = Code::kOK;
    while ((code = life.lock(row(first + count), X)) == Code::kOK) ++count;
    EXPECT_EQ(code, Code::kLOCK_TABLE_FULL);
    return count;
  }

  std::vector<std::string> keys_;
};

TEST_F(LockFullTest, SaysSoWithTheFiguresAndLosesNothing) {
  Member member = create(64);
  std::optional<Life> first(std::in_place, *member);
  Life& life = *first;
  EXPECT_EQ(fill(life), 64u);
  EXPECT_EQ(member->stats().units_in_use, 64u);
  const Status status = member->acquire(*life, {row(64), X}, wait_ms(1'000), nullptr);
  EXPECT_EQ(status.code(), Code::kLOCK_TABLE_FULL);
  EXPECT_NE(status.message().find("64"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("locks_max"), std::string::npos) << status.message();
  // All that was held is held, asking again for it needs no room, and so does making it stronger.
  EXPECT_EQ(life->held_count(), 64u);
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(life.lock(row(i), S), Code::kOK);
  EXPECT_EQ(member->list().size(), 64u);
  // One back, one more.
  EXPECT_EQ(life.unlock(row(10)), Code::kOK);
  EXPECT_EQ(life.lock(row(64), X), Code::kOK);
  EXPECT_EQ(life.lock(row(10), X), Code::kLOCK_TABLE_FULL);
  first.reset();  // an owner that ended keeps a few units for its next lock
  expect_clean(member, {row(0), row(64)});
  Life again(*member);
  EXPECT_EQ(fill(again, 100), 64u);
}

TEST_F(LockFullTest, AListThatDoesNotFitIsNotTakenAtAll) {
  Member member = create(64);
  Life life(*member);
  for (std::size_t i = 0; i < 40; ++i) ASSERT_EQ(life.lock(row(i), S), Code::kOK);
  std::vector<Request> requests;
  for (std::size_t i = 30; i < 70; ++i) requests.push_back({row(i), X});
  EXPECT_EQ(life.lock_all(requests), Code::kLOCK_TABLE_FULL);
  EXPECT_EQ(life->held_count(), 40u);
  for (std::size_t i = 0; i < 70; ++i) EXPECT_EQ(life->held(row(i)), i < 40 ? S : Mode::kNone) << i;
  EXPECT_EQ(member->stats().units_in_use, 40u);
  requests.resize(34);
  EXPECT_EQ(life.lock_all(requests), Code::kOK);
  EXPECT_EQ(member->stats().units_in_use, 64u);
}

TEST_F(LockFullTest, LongKeysTakeSeveralUnitsOrNone) {
  Member member = create(64);
  Life life(*member);
  std::vector<std::string> keys;
  for (int i = 0; i < 13; ++i) keys.push_back(std::string(509, 'k') + std::to_string(10 + i));
  for (int i = 0; i < 12; ++i) ASSERT_EQ(life.lock(row_of(keys[i]), X), Code::kOK);
  EXPECT_EQ(life.lock(row_of(keys[12]), X), Code::kLOCK_TABLE_FULL);
  EXPECT_EQ(member->stats().units_in_use, 60u);
  EXPECT_EQ(fill(life), 4u);
  EXPECT_EQ(life.unlock(row_of(keys[3])), Code::kOK);
  EXPECT_EQ(life.lock(row_of(keys[12]), X), Code::kOK);
  EXPECT_EQ(life.lock(row(100), X), Code::kLOCK_TABLE_FULL);
}

// A waiter needs a unit too, and gives it back when it gives up.
TEST_F(LockFullTest, WaitersCountToo) {
  Member member = create(64);
  Life life(*member);
  for (std::size_t i = 0; i < 63; ++i) ASSERT_EQ(life.lock(row(i), X), Code::kOK);
  Life other(*member);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(other.lock(row(0), X, wait_ms(0)), Code::kLOCK_TIMEOUT);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(other.lock(row(0), X), Code::kLOCKED);
  EXPECT_EQ(member->stats().units_in_use, 63u);
  other->end();
  // What the other kept for its next lock is not lost either.
  other->~Owner();
  new (&*other) Owner(*member);
  EXPECT_EQ(life.lock(row(63), X), Code::kOK);
  ASSERT_TRUE(other->begin("", 0, false, nullptr).ok());
  EXPECT_EQ(other.lock(row(0), X, wait_ms(0)), Code::kLOCK_TABLE_FULL);
}

TEST_F(LockFullTest, MembersShareTheRoom) {
  Member first = create(1024);
  Member second = attach();
  std::size_t in_first = 0;
  {
    Life life(*first);
    in_first = fill(life);
    EXPECT_EQ(in_first, 1024u);
    Life other(*second);
    EXPECT_EQ(fill(other, 2'000), 0u);
    EXPECT_EQ(second->stats().units_in_use, 1024u);
  }
  // Most of what one does not need any more is for the other to have.
  Life other(*second);
  EXPECT_GE(fill(other, 2'000), 1024u - 1024 / 8 - kUnitsPerChunk);
}

TEST_F(LockFullTest, AMemberThatLeavesGivesAllBack) {
  Member first = create(256);
  {
    Member second = attach();
    Life life(*second);
    EXPECT_EQ(fill(life), 256u);
  }
  Life life(*first);
  EXPECT_EQ(fill(life), 256u);
}

// What the dead had is found when it is needed.
TEST_F(LockFullTest, WhatTheDeadHadIsFoundWhenItIsNeeded) {
  Member member = create(256);
  platform::SharedMemory<std::atomic<int>> filled;
  const pid_t child = fork_member([&](LockTable& table) {
    Life life(table);
    *filled = static_cast<int>(fill(life));
    for (;;) pause();
    return 0;
  });
  ASSERT_TRUE(eventually([&] { return *filled != 0; }));
  EXPECT_EQ(*filled, 256);
  Life life(*member);
  EXPECT_EQ(life.lock(row(1'000), X), Code::kLOCK_TABLE_FULL);
  kill_child(child);
  EXPECT_EQ(fill(life, 1'000), 256u);
  life->end();
  expect_clean(member, {row(0)});
}

TEST_F(LockFullTest, ManyThreadsAtTheEdge) {
  Member first = create(64);
  Member second = attach();
  std::vector<std::thread> threads;
  std::atomic<int> full{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      LockTable& table = i == 0 ? *second : *first;
      for (int round = 0; round < (kSanitized ? 100 : 500); ++round) {
        Life life(table);
        for (std::size_t k = 0; k < 25; ++k) {
          const Code code = life.lock(row(static_cast<std::size_t>(i) * 100 + k), X);
          if (code == Code::kLOCK_TABLE_FULL) full.fetch_add(1);
          ASSERT_TRUE(code == Code::kOK || code == Code::kLOCK_TABLE_FULL) << static_cast<int>(code);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(full, 0);
  expect_clean(first, {});
}

// --- owners --------------------------------------------------------------------------------------------------------

TEST_F(LockFullTest, OwnersHaveALimit) {
  Member first = create(64);
  Member second = attach();
  std::vector<std::unique_ptr<Owner>> owners;
  for (std::uint32_t i = 0; i < kOwnersMax; ++i) {
    owners.push_back(std::make_unique<Owner>(*first));
    ASSERT_TRUE(owners.back()->begin("", i, false, nullptr).ok()) << i;
  }
  EXPECT_EQ(first->stats().owners_in_use, kOwnersMax);
  for (Member* member : {&first, &second}) {
    Owner extra(**member);
    const Status status = extra.begin("", 0, false, nullptr);
    EXPECT_EQ(status.code(), Code::kLIMIT);
    EXPECT_NE(status.message().find("4096"), std::string::npos) << status.message();
    EXPECT_FALSE(extra.active());
  }
  owners.pop_back();
  Owner extra(*first);
  EXPECT_TRUE(extra.begin("", 0, false, nullptr).ok());
  EXPECT_TRUE(first->acquire(extra, {row(0), X}, Life::no_wait(), nullptr).ok());
  // Numbers are never given twice.
  std::vector<std::uint64_t> numbers = {extra.number()};
  for (const auto& owner : owners) numbers.push_back(owner->number());
  std::sort(numbers.begin(), numbers.end());
  EXPECT_EQ(std::adjacent_find(numbers.begin(), numbers.end()), numbers.end());
  extra.end();
  owners.clear();
  expect_clean(first, {row(0)});
}

TEST_F(LockFullTest, OwnersOfTheDeadAreFoundWhenTheyAreNeeded) {
  Member member = create(64);
  platform::SharedMemory<std::atomic<bool>> filled;
  const pid_t child = fork_member([&](LockTable& table) {
    std::vector<std::unique_ptr<Owner>> owners;
    do {
      owners.push_back(std::make_unique<Owner>(table));
    } while (owners.back()->begin("", 0, false, nullptr).ok());
    *filled = true;
    for (;;) pause();
    return 0;
  });
  ASSERT_TRUE(eventually([&] { return filled->load(); }));
  {
    Owner owner(*member);
    EXPECT_EQ(owner.begin("", 0, false, nullptr).code(), Code::kLIMIT);
  }
  kill_child(child);
  expect_clean(member, {row(0)});
}

}  // namespace
}  // namespace hf::lock
