// SPDX-License-Identifier: Apache-2.0
// Goal: the latch excludes threads and processes, and survives the SIGKILL of its holder within a second.
// Method: a plain counter guarded by the latch must come out exact; holders are killed at known and at random moments.
#include "platform/latch.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <thread>
#include <vector>

#include "platform/test_point.h"
#include "platform_testing.h"

namespace hf::platform {
namespace {

struct Shared {
  LatchWord latch{};
  ProcessSlot slots[kProcessSlotsMax];
  std::uint64_t counter = 0;  // guarded by latch
  std::uint64_t shadow = 0;   // guarded by latch; equals counter outside of it
  std::atomic<int> ready{0};
  std::atomic<int> taken_over{0};
  std::atomic<std::uint64_t> done{0};
};

class LatchTest : public testing::Test {
 protected:
  Liveness join() {
    Result<Liveness> liveness = Liveness::open(directory_ / "live");
    if (!liveness.ok() || !liveness->lock_gate(Deadline::after_ms(30'000)).ok()) abort();
    if (!liveness->take_slot(shared_->slots, "latch").ok()) abort();
    liveness->unlock_gate();
    return std::move(liveness).value();
  }
  std::uint32_t word() const { return shared_->latch.word.load(); }

  // A child that joins, takes the latch and keeps it until killed.
  pid_t start_holder() {
    shared_->ready = 0;
    const pid_t child = fork_child([this] {
      Liveness liveness = join();
      RobustLatch latch(shared_->latch, liveness);
      if (latch.acquire(Deadline::never()) == Acquired::kNo) return 1;
      shared_->ready = 1;
      for (;;) pause();
      return 0;
    });
    if (!eventually([this] { return shared_->ready == 1; })) abort();
    return child;
  }
  // A store that the compiler neither delays nor drops: a kill may come between any two of them.
  static void store(std::uint64_t& out, std::uint64_t value) { __atomic_store_n(&out, value, __ATOMIC_RELEASE); }
  static void kill_and_reap(pid_t child) {
    kill(child, SIGKILL);
    EXPECT_EQ(wait_for_child(child), 128 + SIGKILL);
  }

  TemporaryDirectory directory_;
  SharedMemory<Shared> shared_;
};

TEST_F(LatchTest, TakesAndGivesBack) {
  Liveness liveness = join();
  RobustLatch latch(shared_->latch, liveness);
  EXPECT_EQ(latch.holder(), 0u);
  ASSERT_EQ(latch.acquire(Deadline::after_ms(0)), Acquired::kYes);
  EXPECT_EQ(latch.holder(), liveness.me());
  EXPECT_EQ(word(), liveness.me());
  latch.release();
  EXPECT_EQ(word(), 0u);
  ASSERT_EQ(latch.try_acquire(), Acquired::kYes);
  EXPECT_EQ(latch.holder(), liveness.me());
  latch.release();
  EXPECT_EQ(word(), 0u);
  EXPECT_EQ(shared_->latch.takeovers, 0u);
}

TEST_F(LatchTest, GivesUpAtTheDeadlineAgainstALiveHolder) {
  Liveness holding = join();
  Liveness waiting = join();
  RobustLatch held(shared_->latch, holding);
  RobustLatch wanted(shared_->latch, waiting);
  ASSERT_EQ(held.acquire(Deadline::never()), Acquired::kYes);
  EXPECT_EQ(wanted.try_acquire(), Acquired::kNo);
  EXPECT_EQ(wanted.acquire(Deadline::after_ms(0)), Acquired::kNo);
  const std::uint64_t start = monotonic_ns();
  EXPECT_EQ(wanted.acquire(Deadline::after_ms(30)), Acquired::kNo);
  EXPECT_GE(monotonic_ns() - start, 30'000'000u);
  EXPECT_EQ(held.holder(), holding.me());
  held.release();
  EXPECT_EQ(word(), 0u);
  EXPECT_EQ(wanted.acquire(Deadline::after_ms(0)), Acquired::kYes);
  wanted.release();
}

// Another thread of the own process holds it: contention, and not a dead holder.
TEST_F(LatchTest, WaitsForAnotherThreadOfTheOwnProcess) {
  Liveness liveness = join();
  RobustLatch latch(shared_->latch, liveness);
  ASSERT_EQ(latch.acquire(Deadline::never()), Acquired::kYes);
  std::atomic<bool> released{false};
  std::thread waiter([&] {
    RobustLatch mine(shared_->latch, liveness);
    EXPECT_EQ(mine.try_acquire(), Acquired::kNo);
    EXPECT_EQ(mine.acquire(Deadline::after_ms(15)), Acquired::kNo);
    EXPECT_EQ(mine.acquire(Deadline::never()), Acquired::kYes);
    EXPECT_TRUE(released);
    mine.release();
  });
  sleep_for_ms(60);
  released = true;
  latch.release();
  waiter.join();
  EXPECT_EQ(word(), 0u);
  EXPECT_EQ(shared_->latch.takeovers, 0u);
}

TEST_F(LatchTest, ASleeperTakesItWithTheWaitersFlagKept) {
  Liveness liveness = join();
  RobustLatch latch(shared_->latch, liveness);
  ASSERT_EQ(latch.acquire(Deadline::never()), Acquired::kYes);
  std::uint32_t word_of_sleeper = 0;
  std::thread sleeper([&] {
    EXPECT_EQ(latch.acquire(Deadline::never()), Acquired::kYes);
    word_of_sleeper = word();
    latch.release();
  });
  ASSERT_TRUE(eventually([&] { return word() == (liveness.me() | kLatchWaiters); }));
  sleep_for_ms(1);
  latch.release();
  sleeper.join();
  EXPECT_EQ(word_of_sleeper, liveness.me() | kLatchWaiters);
  EXPECT_EQ(word(), 0u);
}

TEST_F(LatchTest, CountsExactlyAmongThreads) {
  constexpr int kThreads = 8;
  constexpr int kRounds = 5000;
  Liveness first = join();
  Liveness second = join();  // as if half of the threads were another process
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      RobustLatch latch(shared_->latch, i % 2 == 0 ? first : second);
      for (int round = 0; round < kRounds; ++round) {
        ASSERT_EQ(latch.acquire(Deadline::never()), Acquired::kYes);
        shared_->counter++;
        if (round % 512 == 0) std::this_thread::yield();
        latch.release();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(shared_->counter, std::uint64_t{kThreads} * kRounds);
  EXPECT_EQ(word(), 0u);
  EXPECT_EQ(shared_->latch.takeovers, 0u);
}

// Threads that give up early and threads that try must not disturb those that wait.
TEST_F(LatchTest, CountsExactlyWithImpatientThreads) {
  constexpr int kThreads = 6;
  Liveness liveness = join();
  std::atomic<std::uint64_t> taken{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      RobustLatch latch(shared_->latch, liveness);
      for (int round = 0; round < 2000; ++round) {
        Acquired acquired = Acquired::kNo;
        if (i % 3 == 0) acquired = latch.acquire(Deadline::never());
        if (i % 3 == 1) acquired = latch.acquire(Deadline::after_ns(50'000));
        if (i % 3 == 2) acquired = latch.try_acquire();
        ASSERT_NE(acquired, Acquired::kTakenOver);
        if (acquired == Acquired::kNo) continue;
        shared_->counter++;
        taken.fetch_add(1);
        latch.release();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(shared_->counter, taken.load());
  EXPECT_EQ(word(), 0u);
}

TEST_F(LatchTest, TryTakesOverFromADeadHolder) {
  Liveness liveness = join();
  const pid_t child = start_holder();
  RobustLatch latch(shared_->latch, liveness);
  EXPECT_EQ(latch.try_acquire(), Acquired::kNo);
  kill_and_reap(child);
  EXPECT_EQ(latch.try_acquire(), Acquired::kTakenOver);
  EXPECT_EQ(word(), liveness.me() | kLatchWaiters);
  EXPECT_EQ(shared_->latch.takeovers, 1u);
  latch.release();
  EXPECT_EQ(latch.try_acquire(), Acquired::kYes);
  latch.release();
}

TEST_F(LatchTest, TakesOverEvenWhenTheDeadlineHasPassed) {
  Liveness liveness = join();
  kill_and_reap(start_holder());
  RobustLatch latch(shared_->latch, liveness);
  EXPECT_EQ(latch.acquire(Deadline::after_ms(0)), Acquired::kTakenOver);
  latch.release();
}

TEST_F(LatchTest, AStoppedHolderIsNotDead) {
  Liveness liveness = join();
  const pid_t child = start_holder();
  kill(child, SIGSTOP);
  RobustLatch latch(shared_->latch, liveness);
  EXPECT_EQ(latch.acquire(Deadline::after_ms(50)), Acquired::kNo);
  kill_and_reap(child);
  EXPECT_EQ(latch.acquire(Deadline::after_ms(1000)), Acquired::kTakenOver);
  latch.release();
}

// The holder's slot belongs to somebody new, who is alive: the latch's word names the life and not the slot.
TEST_F(LatchTest, AHolderWhoseSlotWasTakenAgainIsDead) {
  Liveness liveness = join();
  kill_and_reap(start_holder());
  const OwnerId dead = word();
  Liveness successor = join();
  ASSERT_EQ(owner_slot(successor.me()), owner_slot(dead));
  RobustLatch latch(shared_->latch, liveness);
  EXPECT_EQ(latch.acquire(Deadline::after_ms(1000)), Acquired::kTakenOver);
  latch.release();
  // The successor itself, meeting its predecessor's id, may not mistake it for its own.
  shared_->latch.word = dead;
  RobustLatch of_successor(shared_->latch, successor);
  EXPECT_EQ(of_successor.try_acquire(), Acquired::kTakenOver);
  of_successor.release();
}

// Two waiters find the same holder dead; the slower one must not take the latch from the faster.
TEST_F(LatchTest, OfTwoThatFindTheHolderDeadOneWins) {
  if (!kTestPoints) GTEST_SKIP() << "built without test points";
  Liveness slow_life = join();
  Liveness fast_life = join();
  kill_and_reap(start_holder());
  RobustLatch slow(shared_->latch, slow_life);
  RobustLatch fast(shared_->latch, fast_life);
  arm_hook("latch.holder_dead", [&] {
    arm("");
    EXPECT_EQ(fast.try_acquire(), Acquired::kTakenOver);
  });
  EXPECT_EQ(slow.try_acquire(), Acquired::kNo);
  EXPECT_EQ(slow.holder(), fast_life.me());
  EXPECT_EQ(shared_->latch.takeovers, 1u);
  fast.release();
  EXPECT_EQ(slow.try_acquire(), Acquired::kYes);
  slow.release();
}

// Waiters in several processes sleep when the holder is killed: one takes over, all go on, none is forgotten.
TEST_F(LatchTest, WaitersGoOnWhenTheHolderIsKilled) {
  constexpr int kWaiters = 4;
  constexpr int kRounds = 500;
  const pid_t holder = start_holder();
  pid_t waiters[kWaiters];
  for (pid_t& waiter : waiters) {
    waiter = fork_child([this] {
      Liveness liveness = join();
      RobustLatch latch(shared_->latch, liveness);
      shared_->ready.fetch_add(1);
      for (int round = 0; round < kRounds; ++round) {
        const Acquired acquired = latch.acquire(Deadline::never());
        if (acquired == Acquired::kNo) return 1;
        if (acquired == Acquired::kTakenOver) shared_->taken_over.fetch_add(1);
        shared_->counter++;
        latch.release();
        shared_->done.fetch_add(1);
      }
      return 0;
    });
  }
  ASSERT_TRUE(eventually([this] { return shared_->ready == 1 + kWaiters; }));
  sleep_for_ms(20);
  EXPECT_EQ(shared_->done, 0u);
  const std::uint64_t killed_at = monotonic_ns();
  kill(holder, SIGKILL);
  ASSERT_TRUE(eventually([this] { return shared_->done > 0; }));
  EXPECT_LT(monotonic_ns() - killed_at, 1'000'000'000u);
  EXPECT_EQ(wait_for_child(holder), 128 + SIGKILL);
  for (const pid_t waiter : waiters) EXPECT_EQ(wait_for_child(waiter), 0);
  EXPECT_EQ(shared_->taken_over, 1);
  EXPECT_EQ(shared_->latch.takeovers, 1u);
  EXPECT_EQ(shared_->counter, std::uint64_t{kWaiters} * kRounds);
  EXPECT_EQ(word(), 0u);
}

// The waiters flag is lost, as by a releaser killed before its wake-up call: the sleep's bound saves the sleeper.
TEST_F(LatchTest, ALostWakeUpCostsOnlyTheBound) {
  Liveness liveness = join();
  RobustLatch latch(shared_->latch, liveness);
  ASSERT_EQ(latch.acquire(Deadline::never()), Acquired::kYes);
  std::thread sleeper([&] {
    EXPECT_EQ(latch.acquire(Deadline::after_ms(10'000)), Acquired::kYes);
    latch.release();
  });
  ASSERT_TRUE(eventually([this] { return (word() & kLatchWaiters) != 0; }));
  shared_->latch.word.store(0, std::memory_order_release);
  sleeper.join();
}

// Workers in processes are killed at random moments while they count in three steps. Whoever takes over repairs the
// half done step of the dead. What was finished is never lost, and each kill leaves at most one step unfinished.
TEST_F(LatchTest, CountsExactlyWhileWorkersAreKilled) {
  constexpr int kWorkers = 3;
  constexpr int kKills = 40;
  const auto work = [this] {
    Liveness liveness = join();
    RobustLatch latch(shared_->latch, liveness);
    for (;;) {
      const Acquired acquired = latch.acquire(Deadline::after_ms(10'000));
      if (acquired == Acquired::kNo) return 1;
      if (acquired == Acquired::kTakenOver) shared_->shadow = shared_->counter;
      if (shared_->shadow != shared_->counter) return 2;
      store(shared_->counter, shared_->counter + 1);
      for (int i = 0; i < 300; ++i) (void)shared_->ready.load();  // makes the half done state wide enough to be hit
      store(shared_->shadow, shared_->shadow + 1);
      shared_->done.fetch_add(1);
      latch.release();
    }
  };
  pid_t workers[kWorkers];
  for (pid_t& worker : workers) worker = fork_child(work);
  unsigned random = 20240607;
  for (int i = 0; i < kKills; ++i) {
    random = random * 1664525 + 1013904223;
    const std::uint64_t before = shared_->done;
    ASSERT_TRUE(eventually([&] { return shared_->done > before + 100; })) << "after kill " << i;
    sleep_for_ms(static_cast<long>(random >> 16) % 4);
    pid_t& victim = workers[(random >> 24) % kWorkers];
    kill_and_reap(victim);
    victim = fork_child(work);
  }
  for (const pid_t worker : workers) kill_and_reap(worker);

  Liveness liveness = join();
  RobustLatch latch(shared_->latch, liveness);
  const Acquired acquired = latch.acquire(Deadline::after_ms(1000));
  ASSERT_NE(acquired, Acquired::kNo);
  if (acquired == Acquired::kYes) {
    EXPECT_EQ(shared_->shadow, shared_->counter);
  }
  EXPECT_GE(shared_->counter, shared_->done);
  EXPECT_LE(shared_->counter, shared_->done + kKills + kWorkers);
  EXPECT_GE(shared_->latch.takeovers, 1u);  // else no kill met a holder and nothing was tested
  EXPECT_LE(shared_->latch.takeovers, std::uint64_t{kKills + kWorkers});
  latch.release();
}

}  // namespace
}  // namespace hf::platform
