// SPDX-License-Identifier: Apache-2.0
// Goal: a wait ends as its rule says: at once, in time, by cancelling, by a deadlock; the caller then holds what it
// held before, is told who was in the way, and left nothing behind that others would wait for.
// Method: one owner holds, a thread in another member of the table waits; the test ends the wait in each way.
#include <gtest/gtest.h>

#include "lock_testing.h"

namespace hf::lock {
namespace {

constexpr Mode S = Mode::kShared, X = Mode::kExclusive;
constexpr std::uint64_t kMs = 1'000'000;
// How late a wait may end. The machine may be busy with other tests.
constexpr std::uint64_t kLateNs = (kSanitized ? 2'000 : 500) * kMs;

class LockWaitTest : public LockTest {
 protected:
  // Who waits behind one that gave up must not wait for it.
  void expect_free_after(Life& holder) {
    holder->end();
    EXPECT_EQ(waiting(*first_, row_), 0u);
    Life next(*second_);
    EXPECT_EQ(next.lock(row_, X), Code::kOK);
  }
  static std::uint64_t elapsed(std::uint64_t start) { return monotonic_ns() - start; }

  Member first_ = create(4096, "first");
  Member second_ = attach("second");
  const Row row_ = row_of("row");
};

TEST_F(LockWaitTest, NoWaitSaysLockedAtOnceAndWhoHolds) {
  Life holder(*first_, "checkout");
  ASSERT_EQ(holder.lock(row_, X), Code::kOK);
  sleep_for_ms(30);
  Life other(*second_);
  Report report;
  const std::uint64_t start = monotonic_ns();
  EXPECT_EQ(other.lock(row_, S, Life::no_wait(), &report), Code::kLOCKED);
  EXPECT_LT(elapsed(start), kLateNs);
  EXPECT_EQ(report.key, "row");
  EXPECT_EQ(report.wanted.row.table, kTable);
  EXPECT_EQ(report.wanted.mode, S);
  EXPECT_EQ(report.held, Mode::kNone);
  EXPECT_EQ(report.other.number, holder->number());
  EXPECT_EQ(report.other.held, X);
  EXPECT_EQ(report.other.wanted, Mode::kNone);
  EXPECT_EQ(report.other.label, "checkout");
  EXPECT_EQ(report.other.pid, static_cast<std::uint64_t>(getpid()));
  EXPECT_EQ(report.other.thread, static_cast<std::uint64_t>(gettid()));
  EXPECT_EQ(report.other.table, kTable);
  EXPECT_EQ(report.other.key, "row");
  EXPECT_GE(report.other.since_ms, 20u);  // coarse clock
  EXPECT_LT(report.other.since_ms, 20'000u);
  EXPECT_FALSE(report.other.expired);
  EXPECT_TRUE(report.cycle.empty());
  EXPECT_EQ(first_->stats().waits, 0u);
  expect_free_after(holder);
}

TEST_F(LockWaitTest, AnOwnerWithoutALabelHasThatOfItsProcess) {
  Life holder(*first_);
  ASSERT_EQ(holder.lock(row_, X), Code::kOK);
  Life other(*second_);
  Report report;
  ASSERT_EQ(other.lock(row_, X, Life::no_wait(), &report), Code::kLOCKED);
  EXPECT_EQ(report.other.label, "first");
}

TEST_F(LockWaitTest, TimeoutsOfEveryLength) {
  Life holder(*first_, "slow");
  ASSERT_EQ(holder.lock(row_, X), Code::kOK);
  Life other(*second_);
  ASSERT_EQ(other.lock(row_of("held"), S), Code::kOK);
  std::uint64_t timeouts = 0;
  for (const std::uint64_t timeout_ms : {0, 1, 2, 5, 30}) {
    Report report;
    const std::uint64_t start = monotonic_ns();
    EXPECT_EQ(other.lock(row_, S, wait_ms(timeout_ms), &report), Code::kLOCK_TIMEOUT) << timeout_ms;
    EXPECT_GE(elapsed(start), timeout_ms * kMs);
    EXPECT_LT(elapsed(start), timeout_ms * kMs + kLateNs);
    EXPECT_EQ(report.other.number, holder->number());
    EXPECT_EQ(report.other.label, "slow");
    EXPECT_EQ(report.other.held, X);
    EXPECT_EQ(report.key, "row");
    EXPECT_GE(report.waited_ms + 1, timeout_ms);
    EXPECT_LT(report.waited_ms, timeout_ms + kLateNs / kMs);
    EXPECT_EQ(first_->stats().timeouts, ++timeouts);
    EXPECT_EQ(waiting(*first_, row_), 0u);
    EXPECT_EQ(other->held_count(), 1u);
  }
  expect_free_after(holder);
}

// None, and numbers that overflow when made into nanoseconds, wait until the row is free.
TEST_F(LockWaitTest, EndlessTimeouts) {
  for (const std::uint64_t timeout_ms :
       {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX / 1'000'000, UINT64_MAX / 1'000'000 + 1, std::uint64_t{1} << 63}) {
    Life holder(*first_);
    ASSERT_EQ(holder.lock(row_, X), Code::kOK);
    Waiter waiter(*second_, row_, X, wait_ms(timeout_ms));
    waiter.start();
    ASSERT_TRUE(eventually_waiting(*first_, row_, 1));
    sleep_for_ms(20);
    EXPECT_FALSE(waiter.answered()) << timeout_ms;
    holder->end();
    EXPECT_EQ(waiter.answer(), Code::kOK) << timeout_ms;
  }
  const LockStats stats = first_->stats();
  EXPECT_EQ(stats.timeouts, 0u);
  EXPECT_EQ(stats.waits, 5u);
  EXPECT_GE(stats.longest_wait_ns, 20 * kMs);
  EXPECT_GE(stats.waited_ns, 5 * 20 * kMs);
  EXPECT_GE(stats.handovers, 5u);  // each slept for longer than kBargeNs
}

TEST_F(LockWaitTest, AWaiterKeepsWhatItHeldBefore) {
  Life holder(*first_);
  ASSERT_EQ(holder.lock(row_, S), Code::kOK);
  Life other(*second_);
  ASSERT_EQ(other.lock(row_, S), Code::kOK);
  Report report;
  EXPECT_EQ(other.lock(row_, X, wait_ms(5), &report), Code::kLOCK_TIMEOUT);
  EXPECT_EQ(report.held, S);
  EXPECT_EQ(report.other.number, holder->number());
  EXPECT_EQ(other->held(row_), S);
  EXPECT_EQ(other->held_count(), 1u);
  Life third(*first_);
  EXPECT_EQ(third.lock(row_, S), Code::kOK);
  EXPECT_EQ(third.lock(row_, X), Code::kLOCKED);
}

TEST_F(LockWaitTest, IsCancelled) {
  Life holder(*first_);
  ASSERT_EQ(holder.lock(row_, S), Code::kOK);
  for (const bool upgrade : {false, true}) {
    std::atomic<bool> cancelled{false};
    WaitRule rule = wait_ms(UINT64_MAX);
    rule.cancelled = &cancelled;
    Waiter waiter(*second_, row_, X, rule);
    if (upgrade) {
      ASSERT_EQ(waiter.hold(row_, S), Code::kOK);
    }
    waiter.start();
    ASSERT_TRUE(eventually_waiting(*first_, row_, 1));
    // An interrupt alone ends nothing.
    waiter.owner().interrupt();
    sleep_for_ms(10);
    EXPECT_FALSE(waiter.answered());
    cancelled = true;
    const std::uint64_t start = monotonic_ns();
    waiter.owner().interrupt();
    EXPECT_EQ(waiter.answer(), Code::kCANCELLED);
    EXPECT_LT(elapsed(start), kLateNs);
    EXPECT_EQ(waiter.owner().held(row_), upgrade ? S : Mode::kNone);
    EXPECT_EQ(waiting(*first_, row_), 0u);
  }
  expect_free_after(holder);
}

TEST_F(LockWaitTest, IsCancelledBeforeItBegins) {
  Life holder(*first_);
  ASSERT_EQ(holder.lock(row_, X), Code::kOK);
  const std::atomic<bool> cancelled{true};
  WaitRule rule = wait_ms(UINT64_MAX);
  rule.cancelled = &cancelled;
  Life other(*second_);
  EXPECT_EQ(other.lock(row_, X, rule), Code::kCANCELLED);
  EXPECT_EQ(other->held_count(), 0u);
  expect_free_after(holder);
}

// Nobody calls interrupt(), or it came before the wait: the flag is seen all the same, a little later.
TEST_F(LockWaitTest, ACancelBetweenTheLookAndTheSleepIsNotLost) {
  Life holder(*first_);
  ASSERT_EQ(holder.lock(row_, X), Code::kOK);
  for (int round = 0; round < (kSanitized ? 50 : 200); ++round) {
    std::atomic<bool> cancelled{false};
    WaitRule rule = wait_ms(UINT64_MAX);
    rule.cancelled = &cancelled;
    Waiter waiter(*second_, row_, X, rule);
    waiter.start();
    for (int spin = 0; spin < round * 100; ++spin) (void)cancelled.load();
    cancelled = true;
    waiter.owner().interrupt();
    ASSERT_EQ(waiter.answer(), Code::kCANCELLED) << round;
    ASSERT_LT(waiter.waited_ns(), kLateNs) << round;
  }
  expect_free_after(holder);
}

TEST_F(LockWaitTest, AnUpgraderThatGivesUpLetsOthersIn) {
  Life reader(*first_);
  ASSERT_EQ(reader.lock(row_, S), Code::kOK);
  WaitRule rule = wait_ms(80);
  rule.strict = true;
  Waiter upgrader(*second_, row_, X, rule);
  ASSERT_EQ(upgrader.hold(row_, S), Code::kOK);
  upgrader.start();
  ASSERT_TRUE(eventually_waiting(*first_, row_, 1));
  Waiter behind(*first_, row_, S, wait_ms(10'000));
  behind.start();
  EXPECT_EQ(upgrader.answer(), Code::kLOCK_TIMEOUT);
  EXPECT_EQ(upgrader.owner().held(row_), S);
  EXPECT_EQ(behind.answer(), Code::kOK);
  EXPECT_LT(behind.waited_ns(), 80 * kMs + kLateNs);
}

TEST_F(LockWaitTest, OutOfOrderIsAnErrorOnlyWhereItWouldBlock) {
  WaitRule rule = wait_ms(10);
  rule.ordered = true;
  Life holder(*first_);
  for (const char* key : {"a", "m", "z"}) ASSERT_EQ(holder.lock(row_of(key), X), Code::kOK);
  Life other(*second_);
  ASSERT_EQ(other.lock(row_of("f"), X, rule), Code::kOK);
  EXPECT_EQ(other.lock(row_of("b"), X, rule), Code::kOK) << "free, although out of order";
  Report report;
  EXPECT_EQ(other.lock(row_of("a"), X, rule, &report), Code::kLOCK_ORDER);
  EXPECT_EQ(report.other.number, holder->number());
  EXPECT_EQ(other.lock(row_of("m"), X, rule), Code::kLOCK_TIMEOUT) << "in order: may wait";
  EXPECT_EQ(other.lock(row_of("z", kTable - 1), X, rule), Code::kOK);
  ASSERT_EQ(holder.lock(row_of("a", kTable + 1), X), Code::kOK);
  EXPECT_EQ(other.lock(row_of("a", kTable + 1), X, rule), Code::kLOCK_TIMEOUT) << "a later table";
  WaitRule free = wait_ms(5);
  EXPECT_EQ(other.lock(row_of("a"), X, free), Code::kLOCK_TIMEOUT) << "allowed where nobody asked for order";
  rule.wait = false;
  EXPECT_EQ(other.lock(row_of("a"), X, rule), Code::kLOCKED) << "never blocks";
  EXPECT_EQ(other->held_count(), 3u);
}

// A cycle can go through one that holds nothing: it stands in front of another. As the youngest it has to find that
// out.
TEST_F(LockWaitTest, TheYoungestOfACycleGivesUpAlthoughItHoldsNothing) {
  for (int round = 0; round < 10; ++round) {
    Waiter reader(*first_, row_of("x"), S, wait_ms(UINT64_MAX));
    Waiter late_reader(*second_, row_of("y"), S, wait_ms(UINT64_MAX));
    Waiter writer(*first_, row_of("y"), X, wait_ms(UINT64_MAX));
    ASSERT_EQ(reader.hold(row_of("y"), S), Code::kOK);
    ASSERT_EQ(late_reader.hold(row_of("x"), X), Code::kOK);
    writer.start();
    ASSERT_TRUE(eventually_waiting(*first_, row_of("y"), 1));
    sleep_for_ms(2);
    late_reader.start();  // could share the row with the reader, but for the writer in front
    ASSERT_TRUE(eventually_waiting(*first_, row_of("y"), 2));
    reader.start();
    EXPECT_EQ(writer.answer(), Code::kDEADLOCK);
    EXPECT_EQ(writer.report().cycle.size(), 3u);
    EXPECT_EQ(late_reader.answer(), Code::kOK);
    late_reader.finish();
    EXPECT_EQ(reader.answer(), Code::kOK);
    EXPECT_LT(reader.waited_ns(), kLateNs);
  }
  EXPECT_EQ(first_->stats().deadlocks, 10u);
}

TEST_F(LockWaitTest, UnlockOfWhatIsNotHeld) {
  Life holder(*first_);
  ASSERT_EQ(holder.lock(row_, X), Code::kOK);
  Life other(*first_);
  EXPECT_EQ(other.unlock(row_), Code::kNOT_FOUND);
  EXPECT_EQ(holder.unlock(row_of("other")), Code::kNOT_FOUND);
  EXPECT_EQ(holder->held(row_), X);
  EXPECT_EQ(other.lock(row_, S), Code::kLOCKED);
}

// What a holder wrote is there for the next one; a thread sanitizer sees a race where the lock does not order them.
TEST_F(LockWaitTest, ALockOrdersWhatItsHoldersDo) {
  constexpr int kThreads = 4;
  const int rounds = kSanitized ? 1'000 : 5'000;
  std::uint64_t guarded = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      WaitRule rule = wait_ms(UINT64_MAX);
      rule.strict = i == 0;
      Owner owner(*first_);
      for (int round = 0; round < rounds; ++round) {
        if (!owner.begin("", monotonic_ns(), false, nullptr).ok()) abort();
        ASSERT_TRUE(first_->acquire(owner, {row_, X}, rule, nullptr).ok());
        ++guarded;
        owner.end();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(guarded, static_cast<std::uint64_t>(rounds) * kThreads);
  expect_clean(first_, {row_});
}

}  // namespace
}  // namespace hf::lock
