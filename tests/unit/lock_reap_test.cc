// SPDX-License-Identifier: Apache-2.0
// Goal: what dead processes hold is in nobody's way, and is taken back by whoever needs it, also when those who take it
// back are killed in turn, or in the middle of a list of everything.
// Method: children die with everything locked, others at the points of taking back; then the table has to be empty.
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>

#include "lock_testing.h"

namespace hf::lock {
namespace {

constexpr Mode S = Mode::kShared, X = Mode::kExclusive;
constexpr std::uint64_t kMs = 1'000'000;

class LockReapTest : public LockTest {
 protected:
  struct Board {
    std::atomic<bool> stop{false};
    std::atomic<int> step{0};
  };

  Member member_ = create(1024);
  platform::SharedMemory<Board> board_;
};

// An upgrader that dies while it waits is no rival any more.
TEST_F(LockReapTest, AnUpgraderThatDiedIsNoRival) {
  for (const bool wait : {true, false}) {
    Life other(*member_);
    ASSERT_EQ(other.lock(row(0), S), Code::kOK);
    const pid_t child = fork_member([this](LockTable& table) {
      Life life(table);
      if (life.lock(row(0), S) != Code::kOK) return 1;
      (void)life.lock(row(0), X, wait_ms(UINT64_MAX));
      return 2;
    });
    ASSERT_TRUE(eventually_waiting(*member_, row(0), 1));
    sleep_for_ms(20);
    kill_child(child);
    EXPECT_EQ(other.lock(row(0), X, wait ? wait_ms(10'000) : Life::no_wait()), Code::kOK);
    other->end();
    expect_clean(member_, all_rows());
  }
}

// Who does not wait, or not for long, is not refused for the sake of the dead.
TEST_F(LockReapTest, ADeadHolderIsNoObstacle) {
  for (const std::uint64_t timeout_ms : {UINT64_MAX, std::uint64_t{1'000}, std::uint64_t{1}, std::uint64_t{0}}) {
    for (const bool wait : {true, false}) {
      const pid_t child = fork_member([this](LockTable& table) {
        Life life(table);
        for (const Row& row : all_rows()) {
          if (life.lock(row, X) != Code::kOK) return 1;
        }
        board_->step = 3;
        for (;;) pause();
        return 0;
      });
      ASSERT_TRUE(eventually([&] { return board_->step.exchange(0) == 3; }));
      sleep_for_ms(20);
      Life life(*member_);
      EXPECT_EQ(life.lock(row(0), S), Code::kLOCKED);
      kill_child(child);
      WaitRule rule = wait_ms(timeout_ms);
      rule.wait = wait;
      const std::uint64_t start = monotonic_ns();
      EXPECT_EQ(life.lock(row(0), X, rule), Code::kOK) << timeout_ms;
      EXPECT_LT(monotonic_ns() - start, kStallMaxMs * kMs);
      EXPECT_EQ(life.lock_all({{row(3), X}, {row(1), X}}, rule), Code::kOK) << timeout_ms;
      life->end();
      expect_clean(member_, all_rows());
    }
  }
}

TEST_F(LockReapTest, TheReaperIsKilledInTheMiddle) {
  if (!platform::kTestPoints) GTEST_SKIP() << "built without test points";
  for (const char* spec : {"lock.holder_dead:kill", "lock.reaped:kill", "lock.reaping:kill:1", "lock.reaping:kill:3",
                           "lock.reaping:kill:6", "lock.dropped:kill:1", "lock.dropped:kill:3", "lock.unlinked:kill:2",
                           "lock.handed:kill"}) {
    // The first dies with all rows locked, the second and the third while they take them back.
    const pid_t holder = fork_member([this](LockTable& table) {
      Life life(table);
      for (const Row& row : all_rows()) {
        if (life.lock(row, X) != Code::kOK) return 1;
      }
      board_->step = 3;
      for (;;) pause();
      return 0;
    });
    ASSERT_TRUE(eventually([&] { return board_->step.exchange(0) == 3; }));
    std::optional<Waiter> waiter;
    if (spec == std::string("lock.handed:kill")) {  // somebody to hand it to
      waiter.emplace(*member_, row(2), S, wait_strictly());
      waiter->start();
      ASSERT_TRUE(eventually_waiting(*member_, row(2), 1));
    }
    const auto start_reaper = [&] {
      return fork_member([&](LockTable& table) {
        platform::arm(spec);
        board_->step = 4;
        Life life(table);
        (void)life.lock(row(0), X, wait_ms(10'000));
        return 0;
      });
    };
    const pid_t second = start_reaper();
    ASSERT_TRUE(eventually([&] { return board_->step.exchange(0) == 4; }));
    sleep_for_ms(2);
    kill_child(holder);
    const int code = platform::wait_for_child(second);
    EXPECT_TRUE(code == kKilled || spec == std::string("lock.handed:kill")) << spec << ": " << code;
    const pid_t third = start_reaper();
    (void)platform::wait_for_child(third);
    const std::uint64_t start = monotonic_ns();
    waiter.reset();
    for (const Row& row : all_rows()) {
      Life life(*member_);
      EXPECT_EQ(life.lock(row, X, wait_ms(10'000)), Code::kOK) << spec;
    }
    EXPECT_LT(monotonic_ns() - start, kStallMaxMs * kMs) << spec;
    expect_clean(member_, all_rows());
    if (HasFailure()) return;
  }
}

// Requests refer to other units, for the bytes of long keys, and to owner rows. A reaper that is killed when it has
// freed the first chunk has left no request that refers to it.
TEST_F(LockReapTest, NoUnitOfTheDeadIsFreeWhileARequestRefersToIt) {
  if (!platform::kTestPoints) GTEST_SKIP() << "built without test points";
  const pid_t holder = fork_member([this](LockTable& table) {
    // Long and short keys in turn, in an order that scatters their units over several chunks.
    std::vector<std::string> keys;
    for (int i = 0; i < 200; ++i) keys.push_back(std::to_string(i) + std::string(i % 3 == 0 ? 400 : 1, 'k'));
    std::mt19937 random(1);
    Life life(table);
    for (int turn = 0; turn < 5; ++turn) {
      std::shuffle(keys.begin(), keys.end(), random);
      for (const std::string& key : keys) {
        if (life.lock(row_of(key), X) != Code::kOK) return 1;
      }
      for (int i = turn == 4 ? 100 : 0; i < 200; ++i) (void)life.unlock(row_of(keys[static_cast<std::size_t>(i)]));
    }
    board_->step = 3;
    for (;;) pause();
    return 0;
  });
  ASSERT_TRUE(eventually([&] { return board_->step == 3; }));
  EXPECT_EQ(member_->list().size(), 100u);
  kill_child(holder);
  const pid_t reaper = fork_member([](LockTable& table) {
    platform::arm("lock.reaped:kill:1");
    table.reap();
    return 0;
  });
  EXPECT_EQ(platform::wait_for_child(reaper), kKilled);
  EXPECT_EQ(member_->list().size(), 0u);
  expect_clean(member_, all_rows());
}

// The list stops the whole table for a moment: whoever dies in it leaves all the latches behind.
TEST_F(LockReapTest, InTheMiddleOfTheList) {
  std::mt19937_64 random(7);
  int latched = 0;
  for (int round = 0; round < (kSanitized ? 10 : 40); ++round) {
    board_->step = 0;
    const pid_t child = fork_member([this](LockTable& table) {
      Life life(table);
      (void)life.lock(row(0), X);
      board_->step = 3;
      for (;;) (void)table.list();
      return 0;
    });
    ASSERT_TRUE(eventually([&] { return board_->step == 3; }));
    for (std::uint64_t spins = random() % 100'000; spins > 0; --spins) (void)board_->stop.load();
    kill_child(child);
    for (std::uint32_t i = 0; i < kBuckets; ++i) {
      if (member_->region().bucket(i).latch != 0) ++latched;
    }
    // A list of the next one, and a lock in every bucket.
    const std::uint64_t start = monotonic_ns();
    if (round % 2 == 0) (void)member_->list();
    std::vector<std::string> keys;
    for (std::uint32_t i = 0; i < 200; ++i) keys.push_back("key" + std::to_string(i));
    Life life(*member_);
    for (std::uint32_t i = 0; i < 200; ++i) {
      EXPECT_EQ(life.lock({kTable, keys[i], i * (kBuckets / 200) + random() % 40}, X, wait_ms(10'000)), Code::kOK);
    }
    life->end();
    EXPECT_LT(monotonic_ns() - start, kStallMaxMs * kMs);
    expect_clean(member_, all_rows());
    if (HasFailure()) return;
  }
  EXPECT_GT(latched, 0) << "no kill met a list";
}

// A holder is killed while 64 wait: how long until the next one has it.
TEST_F(LockReapTest, AHolderKilledWithManyWaiters) {
  constexpr int kWaiters = 64;
  std::vector<std::uint64_t> gaps;
  for (int round = 0; round < (kSanitized ? 3 : 15); ++round) {
    board_->step = 0;
    const pid_t holder = fork_member([this](LockTable& table) {
      Life life(table);
      if (life.lock(row(0), X) != Code::kOK) return 1;
      board_->step = 3;
      for (;;) pause();
      return 0;
    });
    ASSERT_TRUE(eventually([&] { return board_->step == 3; }));
    std::atomic<std::uint64_t> granted_ns{0};
    std::vector<std::unique_ptr<Waiter>> waiters;
    for (int i = 0; i < kWaiters; ++i) {
      waiters.push_back(std::make_unique<Waiter>(*member_, row(0), X, wait_ms(UINT64_MAX)));
      waiters.back()->on_grant([&] {
        std::uint64_t none = 0;
        granted_ns.compare_exchange_strong(none, monotonic_ns());
      });
      waiters.back()->let_go();
      waiters.back()->start();
    }
    ASSERT_TRUE(eventually_waiting(*member_, row(0), kWaiters));
    const std::uint64_t killed_ns = monotonic_ns();
    kill_child(holder);
    for (auto& waiter : waiters) EXPECT_EQ(waiter->answer(), Code::kOK);
    gaps.push_back(granted_ns - killed_ns);
  }
  std::sort(gaps.begin(), gaps.end());
  std::fprintf(stderr, "next grant after a kill with %d waiters: median %.1f ms, longest %.1f ms\n", kWaiters,
               static_cast<double>(gaps[gaps.size() / 2]) / 1e6, static_cast<double>(gaps.back()) / 1e6);
  EXPECT_LT(gaps[gaps.size() / 2], (kSanitized ? 500 : 50) * kMs);
  EXPECT_LT(gaps.back(), kStallMaxMs * kMs);
  expect_clean(member_, all_rows());
}

}  // namespace
}  // namespace hf::lock
