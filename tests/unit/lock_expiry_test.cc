// SPDX-License-Identifier: Apache-2.0
// Goal: an owner that passes its limits ends its own wait, and loses its locks to whoever wants them: at once, all of
// them, once; unless it has begun to commit.
// Method: limits of some milliseconds on holders and waiters, also on one whose process stands still.
#include <gtest/gtest.h>

#include "lock_testing.h"

namespace hf::lock {
namespace {

constexpr Mode S = Mode::kShared, X = Mode::kExclusive;
constexpr std::uint64_t kMs = 1'000'000;
// How late a wait may end. The machine may be busy with other tests.
constexpr std::uint64_t kLateNs = (kSanitized ? 2'000 : 500) * kMs;

class LockExpiryTest : public LockTest {
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

TEST_F(LockExpiryTest, EndsAtTheOwnLimit) {
  Life holder(*first_);
  ASSERT_EQ(holder.lock(row_, X), Code::kOK);
  Waiter waiter(*second_, row_, X, wait_ms(UINT64_MAX));
  ASSERT_EQ(waiter.hold(row_of("held"), X), Code::kOK);
  const std::uint64_t start = monotonic_ns();
  waiter.owner().set_expiry(start + 40 * kMs);
  waiter.start();
  EXPECT_EQ(waiter.answer(), Code::kEXPIRED);
  EXPECT_GE(elapsed(start), 40 * kMs);
  EXPECT_LT(elapsed(start), 40 * kMs + kLateNs);
  waiter.finish();
  Life other(*first_);
  EXPECT_EQ(other.lock(row_of("held"), X), Code::kOK);
  expect_free_after(holder);
}

TEST_F(LockExpiryTest, TheHoldersLimitEndsTheWaitWithTheLock) {
  for (const Mode mode : {S, X}) {
    Life holder(*first_, "idle");
    ASSERT_EQ(holder.lock(row_, mode), Code::kOK);
    ASSERT_EQ(holder.lock(row_of("second"), X), Code::kOK);
    ASSERT_EQ(holder.lock(row_of(std::string(400, 'k')), X), Code::kOK);
    const std::uint64_t start = monotonic_ns();
    const std::uint64_t expiries = first_->stats().expiries;
    holder->set_expiry(start + 40 * kMs);
    EXPECT_FALSE(holder->expired());
    Life other(*second_);
    EXPECT_EQ(other.lock(row_, X, Life::no_wait()), Code::kLOCKED);
    EXPECT_EQ(other.lock(row_, X, wait_ms(UINT64_MAX)), Code::kOK);
    EXPECT_GE(elapsed(start), 40 * kMs);
    EXPECT_LT(elapsed(start), 40 * kMs + kLateNs);
    EXPECT_EQ(first_->stats().expiries, expiries + 1);
    // All that it held is free, and it can do nothing more but end.
    EXPECT_TRUE(holder->expired());
    EXPECT_EQ(holder->expired_by_pid(), static_cast<std::uint64_t>(getpid()));
    EXPECT_EQ(other.lock(row_of("second"), X), Code::kOK);
    EXPECT_EQ(other.lock(row_of(std::string(400, 'k')), X), Code::kOK);
    EXPECT_FALSE(holder->start_commit());
    EXPECT_EQ(holder.lock(row_of("third"), S), Code::kEXPIRED);
    EXPECT_EQ(holder.lock(row_, S), Code::kEXPIRED);
    EXPECT_EQ(holder.lock_all({{row_of("third"), S}, {row_of("fourth"), S}}), Code::kEXPIRED);
    holder->end();
    EXPECT_EQ(other->held(row_), X);
    Life third(*first_);
    EXPECT_EQ(third.lock(row_, S), Code::kLOCKED) << "the end of the expired one gave another's lock back";
    EXPECT_EQ(third.lock(row_of("second"), S), Code::kLOCKED);
    EXPECT_EQ(third.lock(row_of("third"), X), Code::kOK);
  }
  expect_clean(first_, {row_});
}

// Also at once, and for who does not wait.
TEST_F(LockExpiryTest, AHolderPastItsLimitIsNoObstacle) {
  for (const bool wait : {false, true}) {
    Life holder(*first_);
    ASSERT_EQ(holder.lock(row_, X), Code::kOK);
    holder->set_expiry(monotonic_ns());
    sleep_for_ms(1);
    Life other(*second_);
    EXPECT_EQ(other.lock(row_, X, wait ? wait_ms(UINT64_MAX) : Life::no_wait()), Code::kOK);
    EXPECT_TRUE(holder->expired());
  }
}

TEST_F(LockExpiryTest, ACommitOnceBegunIsSafeFromItsLimit) {
  Life holder(*first_);
  ASSERT_EQ(holder.lock(row_, X), Code::kOK);
  holder->set_expiry(monotonic_ns() + 5 * kMs);
  ASSERT_TRUE(holder->start_commit());
  sleep_for_ms(10);
  Life other(*second_);
  EXPECT_EQ(other.lock(row_, X), Code::kLOCKED);
  EXPECT_EQ(other.lock(row_, X, wait_ms(20)), Code::kLOCK_TIMEOUT);
  EXPECT_FALSE(holder->expired());
  holder->end();
  EXPECT_EQ(other.lock(row_, X), Code::kOK);
}

// An owner's next life has neither the limit nor the locks of the last.
TEST_F(LockExpiryTest, ANewLifeAfterExpiry) {
  Life holder(*first_);
  ASSERT_EQ(holder.lock(row_, X), Code::kOK);
  const std::uint64_t number = holder->number();
  holder->set_expiry(monotonic_ns());
  sleep_for_ms(1);
  Life other(*second_);
  ASSERT_EQ(other.lock(row_, X), Code::kOK);
  ASSERT_TRUE(holder->expired());
  holder->end();
  ASSERT_TRUE(holder->begin("again", monotonic_ns(), false, nullptr).ok());
  EXPECT_FALSE(holder->expired());
  EXPECT_EQ(holder->held_count(), 0u);
  EXPECT_NE(holder->number(), number);
  EXPECT_EQ(holder.lock(row_, X), Code::kLOCKED);
  other->end();
  EXPECT_EQ(holder.lock(row_, X), Code::kOK);
  sleep_for_ms(2);
  EXPECT_EQ(other->active(), false);
  Life third(*second_);
  EXPECT_EQ(third.lock(row_, X, wait_ms(5)), Code::kLOCK_TIMEOUT);
}

// One that waits passes its limit: those behind it do not wait for it.
TEST_F(LockExpiryTest, AWaiterPastItsLimitLeavesTheQueue) {
  Life reader(*first_);
  ASSERT_EQ(reader.lock(row_, S), Code::kOK);
  WaitRule strict = wait_strictly();
  Waiter writer(*second_, row_, X, strict);
  writer.owner().set_expiry(monotonic_ns() + 60 * kMs);
  writer.start();
  ASSERT_TRUE(eventually_waiting(*first_, row_, 1));
  Waiter behind(*first_, row_, S, strict);
  behind.start();
  ASSERT_TRUE(eventually_waiting(*first_, row_, 2));
  EXPECT_EQ(writer.answer(), Code::kEXPIRED);
  EXPECT_EQ(behind.answer(), Code::kOK);
  EXPECT_LT(behind.waited_ns(), 60 * kMs + kLateNs);
}

// The same when it cannot see to it, because its process stands still.
TEST_F(LockExpiryTest, AStoppedWaiterPastItsLimitLeavesTheQueue) {
  Life reader(*first_);
  ASSERT_EQ(reader.lock(row_, S), Code::kOK);
  const pid_t child = fork_member([this](LockTable& table) {
    Life life(table);
    life->set_expiry(monotonic_ns() + 200 * kMs);
    return life.lock(row_, X, wait_strictly()) == Code::kEXPIRED ? 0 : 1;
  });
  ASSERT_TRUE(eventually_waiting(*first_, row_, 1));
  kill(child, SIGSTOP);
  Life late(*second_);
  EXPECT_EQ(late.lock(row_, S, wait_ms(5'000)), Code::kOK);
  kill(child, SIGCONT);
  EXPECT_EQ(platform::wait_for_child(child), 0);
}

}  // namespace
}  // namespace hf::lock
