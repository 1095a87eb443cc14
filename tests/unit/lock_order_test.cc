// SPDX-License-Identifier: Apache-2.0
// Goal: who waits gets the lock in order of arrival: exactly, where that was asked for, whoever of the queue is killed;
// else after a bounded time, however others hammer at the row.
// Method: waiters enqueued one after the other, seen in the list, note a ticket when they are granted.
#include <gtest/gtest.h>

#include <functional>

#include "lock_testing.h"

namespace hf::lock {
namespace {

constexpr Mode S = Mode::kShared, X = Mode::kExclusive, I = Mode::kIncrement;
constexpr std::uint64_t kMs = 1'000'000;
constexpr int kQueue = 20;

class LockOrderTest : public LockTest {
 protected:
  struct Board {
    std::atomic<int> ticket{0};
    std::atomic<int> granted[kQueue];  // the ticket, from 1 on
    std::atomic<int> inside{0};
    std::atomic<int> together_max{0};
    std::atomic<bool> stop{false};
  };
  // Waits until all of `count` are inside at once. Answers whether they ever were.
  bool meet(int count) {
    board_->inside.fetch_add(1);
    const bool all = eventually([&] { return board_->inside.load() >= count; });
    return all;
  }
  // A process that waits for the row, notes its ticket, and gives it back.
  pid_t start_in_queue(int place, const WaitRule& rule) {
    const pid_t child = fork_member([this, place, &rule](LockTable& table) {
      Life life(table);
      if (life.lock(row_, X, rule) != Code::kOK) return 1;
      if (board_->inside.fetch_add(1) != 0) return 2;
      board_->granted[place] = board_->ticket.fetch_add(1) + 1;
      board_->inside.fetch_sub(1);
      life->end();
      return 0;
    });
    return child;
  }
  // Walks the bucket without its latch: only for buckets whose lists nobody shortens meanwhile.
  std::size_t requests() const {
    std::size_t count = 0;
    const LockRegion region = first_->region();
    for (UnitRef at = region.bucket(row_.hash).first.load(); at != 0; at = region.unit(at).next.load()) ++count;
    return count;
  }

  Member first_ = create();
  Member second_ = attach();
  platform::SharedMemory<Board> board_;
  const Row row_ = row_of("row");
};

TEST_F(LockOrderTest, StrictWaitersAreGrantedExactlyInOrder) {
  Life holder(*first_);
  ASSERT_EQ(holder.lock(row_, X), Code::kOK);
  std::vector<std::unique_ptr<Waiter>> waiters;
  for (int i = 0; i < kQueue; ++i) {
    waiters.push_back(std::make_unique<Waiter>(i % 2 == 0 ? *first_ : *second_, row_, X, wait_strictly()));
    waiters.back()->on_grant([this, i] { board_->granted[i] = board_->ticket.fetch_add(1) + 1; });
    waiters.back()->let_go();
    waiters.back()->start();
    ASSERT_TRUE(eventually_waiting(*first_, row_, static_cast<std::size_t>(i) + 1));
  }
  EXPECT_EQ(board_->ticket, 0);
  holder->end();
  for (int i = 0; i < kQueue; ++i) {
    EXPECT_EQ(waiters[i]->answer(), Code::kOK);
    EXPECT_EQ(board_->granted[i], i + 1);
  }
  waiters.clear();
  expect_clean(first_, {row_});
}

// The list shows the queue in its order.
TEST_F(LockOrderTest, TheListShowsTheQueueInOrder) {
  Life holder(*first_);
  ASSERT_EQ(holder.lock(row_, X), Code::kOK);
  std::vector<std::unique_ptr<Waiter>> waiters;
  for (int i = 0; i < 5; ++i) {
    waiters.push_back(std::make_unique<Waiter>(*second_, row_, i % 2 == 0 ? X : S, wait_ms(10'000)));
    waiters.back()->start();
    ASSERT_TRUE(eventually_waiting(*first_, row_, static_cast<std::size_t>(i) + 1));
  }
  const std::vector<Party> parties = first_->list();
  ASSERT_EQ(parties.size(), 6u);
  EXPECT_EQ(parties[0].number, holder->number());
  EXPECT_EQ(parties[0].held, X);
  EXPECT_EQ(parties[0].wanted, Mode::kNone);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(parties[i + 1].number, waiters[i]->owner().number());
    EXPECT_EQ(parties[i + 1].held, Mode::kNone);
    EXPECT_EQ(parties[i + 1].wanted, i % 2 == 0 ? X : S);
    EXPECT_EQ(parties[i + 1].label, "member");
  }
  for (auto& waiter : waiters) waiter->let_go();
  holder->end();
}

// The one at each place of the queue in turn is killed while it waits; the others keep their order and lose no time.
TEST_F(LockOrderTest, StrictOrderWithTheWaiterAtEveryPlaceKilled) {
  const WaitRule rule = wait_strictly();
  for (int victim = 0; victim < kQueue; ++victim) {
    for (auto& granted : board_->granted) granted = 0;
    board_->ticket = 0;
    Life holder(*first_);
    ASSERT_EQ(holder.lock(row_, X), Code::kOK);
    pid_t children[kQueue];
    for (int i = 0; i < kQueue; ++i) {
      children[i] = start_in_queue(i, rule);
      ASSERT_TRUE(eventually_waiting(*first_, row_, static_cast<std::size_t>(i) + 1));
    }
    kill_child(children[victim]);
    const std::uint64_t start = monotonic_ns();
    holder->end();
    for (int i = 0; i < kQueue; ++i) {
      if (i == victim) continue;
      EXPECT_EQ(platform::wait_for_child(children[i]), 0) << "victim " << victim;
      EXPECT_EQ(board_->granted[i], i < victim ? i + 1 : i) << "victim " << victim;
    }
    EXPECT_LT(monotonic_ns() - start, kStallMaxMs * kMs) << "victim " << victim;
    EXPECT_EQ(board_->granted[victim], 0);
    if (HasFailure()) return;
  }
  expect_clean(first_, {row_});
}

// The same when most of them are killed, and for those that did not ask for order: all others get it.
TEST_F(LockOrderTest, AllOthersAreServedWhenManyWaitersAreKilled) {
  for (const bool strict : {true, false}) {
    WaitRule rule = wait_ms(UINT64_MAX);
    rule.strict = strict;
    for (auto& granted : board_->granted) granted = 0;
    board_->ticket = 0;
    Life holder(*first_);
    ASSERT_EQ(holder.lock(row_, X), Code::kOK);
    pid_t children[kQueue];
    for (int i = 0; i < kQueue; ++i) {
      children[i] = start_in_queue(i, rule);
      ASSERT_TRUE(eventually_waiting(*first_, row_, static_cast<std::size_t>(i) + 1));
    }
    for (int i = 0; i < kQueue; ++i) {
      if (i % 4 != 3) kill_child(children[i]);
    }
    const std::uint64_t start = monotonic_ns();
    holder->end();
    int ticket = 0;
    for (int i = 3; i < kQueue; i += 4) {
      EXPECT_EQ(platform::wait_for_child(children[i]), 0);
      EXPECT_EQ(board_->granted[i], ++ticket);  // all slept for long: handed over in order
    }
    EXPECT_LT(monotonic_ns() - start, kStallMaxMs * kMs);
    expect_clean(first_, {row_});
  }
}

// It was handed the lock, but is killed before it runs again.
TEST_F(LockOrderTest, AWaiterKilledBetweenTheHandOverAndItsWakeUp) {
  const WaitRule rule = wait_strictly();
  for (auto& granted : board_->granted) granted = 0;
  Life holder(*first_);
  ASSERT_EQ(holder.lock(row_, X), Code::kOK);
  const pid_t victim = start_in_queue(0, rule);
  ASSERT_TRUE(eventually_waiting(*first_, row_, 1));
  const pid_t next = start_in_queue(1, rule);
  ASSERT_TRUE(eventually_waiting(*first_, row_, 2));
  kill(victim, SIGSTOP);
  sleep_for_ms(5);
  holder->end();
  EXPECT_EQ(waiting(*first_, row_), 1u) << "handed over";
  sleep_for_ms(20);
  EXPECT_EQ(board_->granted[1], 0);
  const std::uint64_t start = monotonic_ns();
  kill_child(victim);
  EXPECT_EQ(platform::wait_for_child(next), 0);
  EXPECT_LT(monotonic_ns() - start, kStallMaxMs * kMs);
  EXPECT_EQ(board_->granted[0], 0);
  expect_clean(first_, {row_});
}

TEST_F(LockOrderTest, NobodyPassesAStrictWaiter) {
  Life holder(*first_);
  ASSERT_EQ(holder.lock(row_, S), Code::kOK);
  Waiter strict(*second_, row_, X, wait_strictly());
  strict.start();
  ASSERT_TRUE(eventually_waiting(*first_, row_, 1));
  Life late(*first_);
  EXPECT_EQ(late.lock(row_, S), Code::kLOCKED);
  EXPECT_EQ(holder.lock(row_, S), Code::kOK) << "has it already";
  holder->end();
  EXPECT_EQ(late.lock(row_, X), Code::kLOCKED) << "handed over, not put up for grabs";
  EXPECT_EQ(strict.answer(), Code::kOK);
}

// A young sleeper may be passed, one older than kBargeNs not: the release hands the lock to it.
TEST_F(LockOrderTest, OnlyAYoungSleeperIsPassed) {
  int passed = 0;
  const Deadline enough = Deadline::after_ms(10'000);  // on a busy machine a sleeper is soon an old one
  while (passed == 0 && !enough.passed()) {
    Life holder(*first_);
    ASSERT_EQ(holder.lock(row_, X), Code::kOK);
    Waiter young(*second_, row_, X, wait_ms(10'000));
    young.start();
    while (requests() < 2) std::this_thread::yield();
    holder->end();
    Life barger(*first_);
    if (barger.lock(row_, X) == Code::kOK) ++passed;
    barger->end();
    EXPECT_EQ(young.answer(), Code::kOK);
  }
  EXPECT_GT(passed, 0) << "nobody ever took a free row past a sleeper";

  for (int round = 0; round < 20; ++round) {
    Life holder(*first_);
    ASSERT_EQ(holder.lock(row_, X), Code::kOK);
    Waiter old(*second_, row_, X, wait_ms(10'000));
    old.start();
    ASSERT_TRUE(eventually_waiting(*first_, row_, 1));
    sleep_for_ms(2);
    const std::uint64_t handovers = first_->stats().handovers;
    holder->end();
    Life barger(*first_);
    // Handed over by the release: if the barger had it all the same, the sleeper had had it and gone.
    EXPECT_EQ(first_->stats().handovers, handovers + 1);
    (void)barger.lock(row_, X);
    barger->end();
    EXPECT_EQ(old.answer(), Code::kOK);
  }
}

class LockHammerTest : public LockOrderTest {
 protected:
  ~LockHammerTest() override { finish(); }
  // Takes and gives back until the end, never waiting in the queue for long.
  void hammer(LockTable& table, Mode mode) {
    hammers_.emplace_back([this, &table, mode] {
      Owner owner(table);
      while (!board_->stop) {
        if (!owner.begin("hammer", monotonic_ns(), false, nullptr).ok()) abort();
        (void)table.acquire(owner, {row_, mode}, Life::no_wait(), nullptr).ok();
        owner.end();
        passes_.fetch_add(1);
      }
    });
  }
  void finish() {
    board_->stop = true;
    for (std::thread& thread : hammers_) thread.join();
    hammers_.clear();
  }

  std::atomic<std::uint64_t> passes_{0};
  std::vector<std::thread> hammers_;
};

TEST_F(LockHammerTest, ASleeperIsServedInBoundedTimeAlthoughOthersHammer) {
  hammer(*first_, X);
  hammer(*second_, X);
  ASSERT_TRUE(eventually([this] { return passes_ > 100; }));
  std::uint64_t longest = 0;
  for (int round = 0; round < 100; ++round) {
    const std::uint64_t start = monotonic_ns();
    Life sleeper(*second_);
    ASSERT_EQ(sleeper.lock(row_, X, wait_ms(UINT64_MAX)), Code::kOK);
    longest = std::max(longest, monotonic_ns() - start);
    sleep_for_ms(1);
  }
  EXPECT_LT(longest, (kSanitized ? 2'000 : 500) * kMs);
  finish();
  expect_clean(first_, {row_});
}

// Readers that overlap without end do not keep a writer out.
TEST_F(LockHammerTest, AWriterIsServedInBoundedTimeAlthoughReadersHammer) {
  for (int i = 0; i < 4; ++i) hammer(i % 2 == 0 ? *first_ : *second_, S);
  ASSERT_TRUE(eventually([this] { return passes_ > 100; }));
  std::uint64_t longest = 0;
  for (int round = 0; round < 50; ++round) {
    const std::uint64_t start = monotonic_ns();
    Life writer(*second_);
    ASSERT_EQ(writer.lock(row_, X, wait_ms(UINT64_MAX)), Code::kOK);
    longest = std::max(longest, monotonic_ns() - start);
    writer->end();
    sleep_for_ms(1);
  }
  EXPECT_LT(longest, (kSanitized ? 2'000 : 500) * kMs);
  finish();
  expect_clean(first_, {row_});
}

TEST_F(LockHammerTest, AReaderIsServedInBoundedTimeAlthoughCountersHammer) {
  for (int i = 0; i < 4; ++i) hammer(i % 2 == 0 ? *first_ : *second_, I);
  for (int round = 0; round < 50; ++round) {
    const std::uint64_t start = monotonic_ns();
    Life reader(*second_);
    ASSERT_EQ(reader.lock(row_, S, wait_ms(UINT64_MAX)), Code::kOK);
    EXPECT_LT(monotonic_ns() - start, (kSanitized ? 2'000 : 500) * kMs);
  }
}

// One reader stays while others come: deterministic form of the above.
TEST_F(LockOrderTest, AReaderDoesNotPassAWriterThatHasWaited) {
  Life reader(*first_);
  ASSERT_EQ(reader.lock(row_, S), Code::kOK);
  Waiter writer(*second_, row_, X, wait_ms(10'000));
  writer.start();
  ASSERT_TRUE(eventually_waiting(*first_, row_, 1));
  sleep_for_ms(2);
  Life late(*first_);
  EXPECT_EQ(late.lock(row_, S), Code::kLOCKED);
  reader->end();
  EXPECT_EQ(writer.answer(), Code::kOK);
  writer.finish();
  EXPECT_EQ(late.lock(row_, S), Code::kOK);
}

TEST_F(LockOrderTest, WaitersOfOneGroupAreGrantedTogether) {
  for (const Mode mode : {S, I}) {
    for (const bool strict : {true, false}) {
      board_->inside = 0;
      WaitRule rule = wait_ms(UINT64_MAX);
      rule.strict = strict;
      Life holder(*first_);
      ASSERT_EQ(holder.lock(row_, X), Code::kOK);
      std::vector<std::unique_ptr<Waiter>> group;
      std::atomic<int> met{0};
      for (int i = 0; i < 6; ++i) {
        group.push_back(std::make_unique<Waiter>(i % 2 == 0 ? *first_ : *second_, row_, mode, rule));
        group.back()->on_grant([this, &met] {
          if (meet(6)) met.fetch_add(1);
        });
        group.back()->let_go();
        group.back()->start();
        ASSERT_TRUE(eventually_waiting(*first_, row_, static_cast<std::size_t>(i) + 1));
      }
      holder->end();
      for (auto& waiter : group) EXPECT_EQ(waiter->answer(), Code::kOK);
      EXPECT_EQ(met, 6) << "not all held it at the same time";
    }
  }
  expect_clean(first_, {row_});
}

// S S X S S I I S behind an exclusive lock, all strict: the first two together, then the writer alone, and so on; each
// release grants just who can go, and wakes nobody else.
TEST_F(LockOrderTest, GroupsBehindAnExclusiveLockComeInOrder) {
  Life holder(*first_);
  ASSERT_EQ(holder.lock(row_, X), Code::kOK);
  std::vector<std::unique_ptr<Waiter>> waiters;
  for (const Mode mode : {S, S, X, S, S, I, I, S}) {
    waiters.push_back(std::make_unique<Waiter>(*second_, row_, mode, wait_strictly()));
    waiters.back()->start();
    ASSERT_TRUE(eventually_waiting(*first_, row_, waiters.size()));
  }
  const auto expect_granted = [&](std::size_t first, std::size_t end) {
    for (std::size_t i = first; i < end; ++i) EXPECT_EQ(waiters[i]->answer(), Code::kOK) << i;
    sleep_for_ms(3);
    for (std::size_t i = end; i < waiters.size(); ++i) EXPECT_FALSE(waiters[i]->answered()) << i;
    EXPECT_EQ(first_->stats().handovers, end);
  };
  holder->end();
  expect_granted(0, 2);
  waiters[0]->finish();
  expect_granted(0, 2);
  waiters[1]->finish();
  expect_granted(2, 3);
  waiters[2]->finish();
  expect_granted(3, 5);
  waiters[4]->finish();
  expect_granted(3, 5);
  waiters[3]->finish();
  expect_granted(5, 7);
  waiters[5]->finish();
  waiters[6]->finish();
  expect_granted(7, 8);
  waiters.clear();
  expect_clean(first_, {row_});
}

// When one that nobody may pass gives up, those behind it that it alone kept out get in at once.
TEST_F(LockOrderTest, WhoGivesUpLetsThoseBehindIn) {
  Life reader(*first_);
  ASSERT_EQ(reader.lock(row_, S), Code::kOK);
  std::atomic<bool> cancelled{false};
  WaitRule rule = wait_strictly();
  rule.cancelled = &cancelled;
  Waiter writer(*second_, row_, X, rule);
  writer.start();
  ASSERT_TRUE(eventually_waiting(*first_, row_, 1));
  Waiter behind(*first_, row_, S, wait_strictly());
  behind.start();
  Waiter behind_too(*second_, row_, S, wait_ms(UINT64_MAX));
  sleep_for_ms(3);
  behind_too.start();
  ASSERT_TRUE(eventually_waiting(*first_, row_, 3));
  cancelled = true;
  writer.owner().interrupt();
  EXPECT_EQ(writer.answer(), Code::kCANCELLED);
  EXPECT_EQ(behind.answer(), Code::kOK);
  EXPECT_EQ(behind_too.answer(), Code::kOK);
}

}  // namespace
}  // namespace hf::lock
