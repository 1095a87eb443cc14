// SPDX-License-Identifier: Apache-2.0
// Goal: a process killed at any point of locking, waiting and handing over holds up nobody for long; what it held and
// wanted is taken back, and nothing of it is left.
// Method: children are killed at each named point, alone and while others wait for exactly what they were about to do;
// then the table has to be empty. (Random moments: lock_model_test.cc. Places of a queue: lock_order_test.cc. Those who
// take back: lock_reap_test.cc.)
#include <gtest/gtest.h>

#include <random>

#include "lock_testing.h"

namespace hf::lock {
namespace {

constexpr Mode S = Mode::kShared, X = Mode::kExclusive;
constexpr std::uint64_t kMs = 1'000'000;

class LockKillTest : public LockTest {
 protected:
  struct Board {
    std::atomic<bool> stop{false};
    std::atomic<int> step{0};
    std::atomic<std::uint64_t> rounds{0};
    std::atomic<std::uint64_t> slowest_ns{0};
    std::atomic<int> code{0};  // an answer that nobody expects
  };

  // Locks at random in all ways until it is stopped: together, two of these pass every point again and again.
  void churn(LockTable& table, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    const auto below = [&](std::uint64_t bound) { return random() % bound; };
    Owner owner(table);
    while (!board_->stop) {
      if (!owner.begin("churn", monotonic_ns(), false, nullptr).ok()) abort();
      if (below(6) == 0) owner.set_expiry(monotonic_ns() + below(2 * kMs));
      for (std::uint64_t steps = 1 + below(3); steps > 0; --steps) {
        WaitRule rule = wait_ms(below(3) == 0 ? 1 : 5'000);
        rule.strict = below(2) == 0;
        const std::uint64_t start = monotonic_ns();
        const Code code =
            table.acquire(owner, {row(static_cast<std::uint32_t>(below(kRows))), kModes[below(3)]}, rule, nullptr)
                .code();
        const std::uint64_t waited = monotonic_ns() - start;
        if (waited > board_->slowest_ns) board_->slowest_ns = waited;
        if (code == Code::kEXPIRED || code == Code::kDEADLOCK) break;
        if (code != Code::kOK && code != Code::kLOCK_TIMEOUT) board_->code = static_cast<int>(code);
      }
      if (below(4) == 0) sleep_for_ms(static_cast<long>(1 + below(3)));
      owner.end();
      board_->rounds.fetch_add(1);
    }
  }
  // A process with two threads that do so. With a spec it is killed there.
  pid_t start_churn(std::uint64_t seed, const std::string& spec = "") {
    return platform::fork_child([this, seed, spec] {
      alarm(kSanitized ? 240 : 90);
      Member member = attach(spec.empty() ? "survivor" : "victim");
      if (!spec.empty()) platform::arm(spec);
      std::thread second([&] { churn(*member, seed + 1); });
      churn(*member, seed);
      second.join();
      return 0;
    });
  }
  // A child that does something to the table and goes on to its death at a point, or fails.
  template <typename Body>
  pid_t start_victim(const std::string& spec, Body body) {
    return fork_member([&](LockTable& table) {
      Life life(table, "victim");
      body(table, life);
      platform::arm(spec);
      board_->step = 1;
      life->end();
      return 1;  // the point was not met
    });
  }

  Member member_ = create(1024);
  platform::SharedMemory<Board> board_;
};

constexpr const char* kPoints[] = {"lock.filled",   "lock.linked",  "lock.linked_last", "lock.unlinked",
                                   "lock.waiting",  "lock.handed",  "lock.upgrading",   "lock.upgraded",
                                   "lock.released", "lock.dropped", "lock.expired",     "lock.chunk_claimed"};

TEST_F(LockKillTest, AtEveryPointBesideASurvivor) {
  if (!platform::kTestPoints) GTEST_SKIP() << "built without test points";
  std::mt19937_64 random(20240607);
  for (const char* point : kPoints) {
    for (int round = 0; round < (kSanitized ? 1 : 3); ++round) {
      const std::uint64_t pass = point == std::string("lock.chunk_claimed") ? 1 : 1 + random() % (round == 0 ? 1 : 30);
      const std::string spec = std::string(point) + ":kill:" + std::to_string(pass);
      board_->stop = false;
      const pid_t survivor = start_churn(random());
      const pid_t victim = start_churn(random(), spec);
      EXPECT_EQ(platform::wait_for_child(victim), kKilled) << spec;
      // The survivor's threads go on.
      const std::uint64_t before = board_->rounds;
      EXPECT_TRUE(eventually([&] { return board_->rounds > before + 20; })) << spec;
      board_->stop = true;
      EXPECT_EQ(platform::wait_for_child(survivor), 0) << spec;
      EXPECT_LT(board_->slowest_ns.exchange(0), kStallMaxMs * kMs) << spec;
      EXPECT_EQ(board_->code, 0) << spec;
      expect_clean(member_, all_rows());
      if (HasFailure()) {
        ADD_FAILURE() << spec;
        return;
      }
    }
  }
}

// Nobody else is there at the time of the death: what is left is found by the next who comes.
TEST_F(LockKillTest, AtEveryPointOfALockAndItsRelease) {
  if (!platform::kTestPoints) GTEST_SKIP() << "built without test points";
  for (const char* point : {"lock.filled", "lock.linked", "lock.unlinked", "lock.released", "lock.chunk_claimed"}) {
    for (int pass = 1; pass <= 8; ++pass) {
      const pid_t child = fork_member([&](LockTable& table) {
        platform::arm(std::string(point) + ":kill:" + std::to_string(pass));
        Life life(table);
        std::vector<std::string> keys;
        for (int i = 0; i < 300; ++i) keys.push_back("key" + std::to_string(i));
        for (const Row& row : all_rows()) (void)life.lock(row, X);
        for (const Row& row : all_rows()) (void)life.unlock(row);
        for (const std::string& key : keys) (void)life.lock(row_of(key), X);
        life->end();
        return 0;
      });
      const int code = platform::wait_for_child(child);
      const bool met = pass == 1 || point != std::string("lock.chunk_claimed") || pass <= 5;  // 306 rows
      EXPECT_EQ(code, met ? kKilled : 0) << point << " " << pass;
      const std::uint64_t start = monotonic_ns();
      for (const Row& row : all_rows()) {
        Life life(*member_);
        EXPECT_EQ(life.lock(row, X, wait_ms(10'000)), Code::kOK) << point << " " << pass;
      }
      EXPECT_LT(monotonic_ns() - start, kStallMaxMs * kMs) << point << " " << pass;
      expect_clean(member_, all_rows());
      if (HasFailure()) return;
    }
  }
}

// It gave the row back in part, or granted it in part, or granted it and told nobody. Those who wait find out.
TEST_F(LockKillTest, InTheMiddleOfARelease) {
  if (!platform::kTestPoints) GTEST_SKIP() << "built without test points";
  for (const char* spec : {"lock.unlinked:kill", "lock.handed:kill:1", "lock.handed:kill:2", "lock.released:kill"}) {
    for (const bool strict : {true, false}) {
      board_->step = 0;
      const pid_t victim = start_victim(spec, [&](LockTable& table, Life& life) {
        if (life.lock(row(0), X) != Code::kOK) _exit(2);
        board_->step = 2;
        // Waits until three stand in line, each for longer than a moment.
        if (!eventually_waiting(table, row(0), 4)) _exit(3);
        sleep_for_ms(2);
      });
      ASSERT_TRUE(eventually([&] { return board_->step == 2; }));
      WaitRule rule = wait_ms(10'000);
      rule.strict = strict;
      Waiter reader(*member_, row(0), S, rule), second(*member_, row(0), S, rule);
      Waiter writer(*member_, row(0), X, rule), last(*member_, row(0), S, rule);
      std::size_t count = 0;
      for (Waiter* waiter : {&reader, &second, &writer, &last}) {
        waiter->start();
        ASSERT_TRUE(eventually([&] { return waiting(*member_, row(0)) == count + 1 || board_->step == 1; }));
        ++count;
      }
      EXPECT_EQ(platform::wait_for_child(victim), kKilled) << spec;
      const std::uint64_t start = monotonic_ns();
      EXPECT_EQ(reader.answer(), Code::kOK) << spec;
      EXPECT_EQ(second.answer(), Code::kOK) << spec;
      EXPECT_LT(monotonic_ns() - start, kStallMaxMs * kMs) << spec;
      EXPECT_FALSE(writer.answered()) << spec;
      reader.finish();
      second.finish();
      EXPECT_EQ(writer.answer(), Code::kOK) << spec;
      writer.finish();
      EXPECT_EQ(last.answer(), Code::kOK) << spec;
      last.finish();
      EXPECT_LT(monotonic_ns() - start, 2 * kStallMaxMs * kMs) << spec;
    }
    expect_clean(member_, all_rows());
    if (HasFailure()) return;
  }
}

// The last of a list leaves it, or a new one joins, and dies before it has said which one is the last now. Who comes
// next has to be found by everybody: when the row is given back, and when others want it.
TEST_F(LockKillTest, AtTheEndOfAList) {
  if (!platform::kTestPoints) GTEST_SKIP() << "built without test points";
  for (const char* spec : {"lock.unlinked:kill", "lock.linked_last:kill"}) {
    for (const bool same_row : {true, false}) {
      Life holder(*member_), other(*member_);
      ASSERT_EQ(holder.lock(row(0), X), Code::kOK);
      ASSERT_EQ(other.lock(row(2), X), Code::kOK);  // another row in the same bucket
      const pid_t victim = fork_member([&](LockTable& table) {
        platform::arm(spec);
        Life life(table);
        (void)life.lock(row(0), X, wait_ms(30));
        return 0;
      });
      EXPECT_EQ(platform::wait_for_child(victim), kKilled) << spec;
      const Row wanted = row(same_row ? 0 : 2);
      Waiter next(*member_, wanted, X, wait_ms(10'000)), last(*member_, wanted, X, wait_ms(10'000));
      next.start();
      ASSERT_TRUE(eventually([&] { return waiting(*member_, wanted) >= 1; })) << spec;
      last.start();
      sleep_for_ms(5);
      (same_row ? holder : other)->end();
      EXPECT_EQ(next.answer(), Code::kOK) << spec;
      Life late(*member_);
      EXPECT_EQ(late.lock(wanted, S), Code::kLOCKED) << spec;
      EXPECT_FALSE(last.answered()) << spec;
      next.finish();
      EXPECT_EQ(last.answer(), Code::kOK) << spec;
      EXPECT_EQ(late.lock(wanted, S), Code::kLOCKED) << spec;
      last.finish();
      holder->end();
      other->end();
      late->end();
      expect_clean(member_, all_rows());
    }
    if (HasFailure()) return;
  }
}

// The same for one that waits for its upgrade.
TEST_F(LockKillTest, InTheMiddleOfHandingAnUpgradeOver) {
  if (!platform::kTestPoints) GTEST_SKIP() << "built without test points";
  for (const char* spec : {"lock.unlinked:kill", "lock.upgraded:kill", "lock.released:kill"}) {
    board_->step = 0;
    const pid_t victim = start_victim(spec, [&](LockTable& table, Life& life) {
      if (life.lock(row(0), S) != Code::kOK) _exit(2);
      board_->step = 2;
      if (!eventually_waiting(table, row(0), 1)) _exit(3);
    });
    ASSERT_TRUE(eventually([&] { return board_->step == 2; }));
    Waiter upgrader(*member_, row(0), X, wait_ms(10'000));
    ASSERT_EQ(upgrader.hold(row(0), S), Code::kOK);
    upgrader.start();
    EXPECT_EQ(platform::wait_for_child(victim), kKilled) << spec;
    EXPECT_EQ(upgrader.answer(), Code::kOK) << spec;
    EXPECT_LT(upgrader.waited_ns(), kStallMaxMs * kMs) << spec;
    EXPECT_EQ(upgrader.owner().held(row(0)), X);
    upgrader.finish();
    expect_clean(member_, all_rows());
  }
}

}  // namespace
}  // namespace hf::lock
