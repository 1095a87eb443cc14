// SPDX-License-Identifier: Apache-2.0
// Goal: a process counts as alive exactly as long as it runs, whatever happens to its pid, its slot or its children.
// Method: handles opened separately conflict like processes do, so most cases need one process; kills use real ones.
#include "platform/liveness.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <set>
#include <vector>

#include "platform_testing.h"

namespace hf::platform {
namespace {

struct SlotTable {
  ProcessSlot rows[kProcessSlotsMax];
};

class LivenessTest : public testing::Test {
 protected:
  Liveness open() {
    Result<Liveness> liveness = Liveness::open(path_);
    if (!liveness.ok()) abort();
    return std::move(liveness).value();
  }
  Liveness join(const std::string& label = "test") {
    Liveness liveness = open();
    if (!liveness.lock_gate(Deadline::after_ms(10'000)).ok()) abort();
    if (!liveness.take_slot(table_->rows, label).ok()) abort();
    liveness.unlock_gate();
    return liveness;
  }
  // A child that joins, tells its id and waits to be killed.
  pid_t start_member(bool stay = true) {
    told_->store(0);
    const pid_t child = fork_child([this, stay] {
      Liveness liveness = join();
      told_->store(liveness.me());
      while (stay) pause();
      _exit(0);
      return 0;
    });
    if (!eventually([this] { return told_->load() != 0; })) abort();
    return child;
  }
  OwnerId told() const { return told_->load(); }

  TemporaryDirectory directory_;
  std::string path_ = directory_ / "live";
  SharedMemory<SlotTable> table_;
  SharedMemory<std::atomic<OwnerId>> told_;
};

TEST_F(LivenessTest, OpenNamesThePathThatFails) {
  Result<Liveness> liveness = Liveness::open(directory_ / "absent/live");
  ASSERT_FALSE(liveness.ok());
  EXPECT_EQ(liveness.code(), Code::kNOT_FOUND);
  EXPECT_NE(liveness.status().message().find("absent/live"), std::string::npos);
}

TEST_F(LivenessTest, CallsOnAClosedHandleFail) {
  Liveness liveness;
  EXPECT_EQ(liveness.lock_gate(Deadline::after_ms(0)).code(), Code::kIO_ERROR);
  liveness.release_slot();
  liveness.unlock_gate();
}

TEST_F(LivenessTest, DescriptorClosesOnExec) {
  Liveness liveness = open();
  EXPECT_NE(fcntl(liveness.fd(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(LivenessTest, GateExcludesUntilUnlocked) {
  Liveness first = open();
  Liveness second = open();
  ASSERT_TRUE(first.lock_gate(Deadline::never()).ok());
  EXPECT_EQ(second.lock_gate(Deadline::after_ms(0)).code(), Code::kBUSY);
  const std::uint64_t start = monotonic_ns();
  EXPECT_EQ(second.lock_gate(Deadline::after_ms(40)).code(), Code::kBUSY);
  EXPECT_GE(monotonic_ns() - start, 40'000'000u);
  first.unlock_gate();
  EXPECT_TRUE(second.lock_gate(Deadline::after_ms(0)).ok());
}

TEST_F(LivenessTest, GateOpensWhenItsHolderIsKilled) {
  const pid_t child = fork_child([this] {
    Liveness liveness = open();
    if (!liveness.lock_gate(Deadline::never()).ok()) return 1;
    told_->store(1);
    for (;;) pause();
  });
  ASSERT_TRUE(eventually([this] { return told() == 1; }));
  Liveness liveness = open();
  EXPECT_EQ(liveness.lock_gate(Deadline::after_ms(5)).code(), Code::kBUSY);
  kill(child, SIGKILL);
  EXPECT_TRUE(liveness.lock_gate(Deadline::after_ms(10'000)).ok());
  EXPECT_EQ(wait_for_child(child), 128 + SIGKILL);
}

TEST_F(LivenessTest, DestructionAndAssignmentGiveGateAndSlotBack) {
  Liveness watcher = join();
  Liveness member = join();
  const OwnerId first_life = member.me();
  ASSERT_TRUE(member.lock_gate(Deadline::never()).ok());
  member = open();
  EXPECT_EQ(member.me(), 0u);
  EXPECT_FALSE(watcher.alive(first_life));
  EXPECT_TRUE(watcher.lock_gate(Deadline::after_ms(0)).ok());
  watcher.unlock_gate();
  OwnerId second_life = 0;
  {
    Liveness scoped = join();
    second_life = scoped.me();
    EXPECT_TRUE(watcher.alive(second_life));
  }
  EXPECT_FALSE(watcher.alive(second_life));
}

TEST_F(LivenessTest, MovingKeepsTheLife) {
  Liveness watcher = join();
  Liveness member = join();
  const OwnerId life = member.me();
  Liveness moved(std::move(member));
  EXPECT_EQ(moved.me(), life);
  EXPECT_TRUE(watcher.alive(life));
  Liveness assigned;
  assigned = std::move(moved);
  EXPECT_EQ(assigned.me(), life);
  EXPECT_TRUE(watcher.alive(life));
  EXPECT_TRUE(assigned.alive(watcher.me()));
}

TEST_F(LivenessTest, OthersAliveSeesSlotsAndNotGatesOrItself) {
  Liveness first = open();
  ASSERT_TRUE(first.lock_gate(Deadline::never()).ok());
  EXPECT_FALSE(value_of(first.others_alive()));
  ASSERT_TRUE(first.take_slot(table_->rows, "first").ok());
  EXPECT_FALSE(value_of(first.others_alive()));
  first.unlock_gate();

  Liveness second = open();
  ASSERT_TRUE(second.lock_gate(Deadline::never()).ok());
  EXPECT_TRUE(value_of(second.others_alive()));
  first.release_slot();
  EXPECT_FALSE(value_of(second.others_alive()));
}

TEST_F(LivenessTest, TakerFillsItsRow) {
  for (ProcessSlot& row : table_->rows) memset(row.label, 'x', sizeof row.label);
  const std::uint64_t before = wall_ms();
  Liveness member = join("checkout");
  const ProcessSlot& row = table_->rows[owner_slot(member.me())];
  EXPECT_EQ(row.generation.load(), 1u);
  EXPECT_EQ(row.pid, static_cast<std::uint32_t>(getpid()));
  EXPECT_GE(row.opened_at_ms, before);
  EXPECT_LE(row.opened_at_ms, wall_ms());
  EXPECT_EQ(std::string(row.label, sizeof row.label), "checkout" + std::string(40, '\0'));
}

TEST_F(LivenessTest, LongLabelsAreCutAtACharacter) {
  Liveness plain = join(std::string(100, 'a'));
  EXPECT_EQ(std::string(table_->rows[owner_slot(plain.me())].label), std::string(47, 'a'));
  Liveness exact = join(std::string(47, 'b'));
  EXPECT_EQ(std::string(table_->rows[owner_slot(exact.me())].label), std::string(47, 'b'));
  Liveness split = join(std::string(46, 'c') + "\xC3\xA9");  // two bytes, of which one would fit
  EXPECT_EQ(std::string(table_->rows[owner_slot(split.me())].label), std::string(46, 'c'));
}

TEST_F(LivenessTest, ASlotTakenAgainIsANewLife) {
  Liveness watcher = join();
  Liveness first = join();
  const OwnerId first_life = first.me();
  EXPECT_EQ(watcher.holder_of(owner_slot(first_life)), first_life);
  first.release_slot();
  EXPECT_EQ(watcher.holder_of(owner_slot(first_life)), 0u);
  EXPECT_FALSE(watcher.alive(first_life));

  Liveness second = join();
  ASSERT_EQ(owner_slot(second.me()), owner_slot(first_life));
  EXPECT_NE(second.me(), first_life);
  EXPECT_FALSE(watcher.alive(first_life));
  EXPECT_FALSE(second.alive(first_life));  // asked about an earlier life of the own slot
  EXPECT_TRUE(watcher.alive(second.me()));
  EXPECT_TRUE(second.alive(second.me()));
  EXPECT_EQ(watcher.holder_of(owner_slot(second.me())), second.me());
  EXPECT_EQ(second.holder_of(owner_slot(second.me())), second.me());
}

TEST_F(LivenessTest, GenerationsWrapPastZero) {
  table_->rows[0].generation.store((1u << 22) - 1);
  Liveness wrapped = join();
  EXPECT_EQ(wrapped.me(), 1u << 9 | 1u);
  // Whatever a damaged table holds, an id has 31 bits and a generation.
  table_->rows[1].generation.store(0xFFFFFFFFu);
  Liveness damaged = join();
  EXPECT_EQ(damaged.me(), 1u << 9 | 2u);
  table_->rows[2].generation.store((1u << 22) - 2);
  Liveness highest = join();
  EXPECT_EQ(highest.me(), 0x7FFFFE00u | 3u);
  EXPECT_TRUE(wrapped.alive(highest.me()));
}

TEST_F(LivenessTest, NumbersThatAreNoLifeAreDead) {
  Liveness watcher = join();
  for (const OwnerId id : {0u, 511u, 1u << 9, 1u << 9 | 300u, 0x7FFFFFFFu, watcher.me() ^ (1u << 9)}) {
    EXPECT_FALSE(watcher.alive(id)) << id;
  }
  EXPECT_EQ(watcher.holder_of(kProcessSlotsMax), 0u);
  EXPECT_EQ(watcher.holder_of(UINT32_MAX), 0u);
}

TEST_F(LivenessTest, AnswersLimitWhenAllSlotsAreTaken) {
  std::vector<Liveness> members;
  std::set<OwnerId> lives;
  for (std::uint32_t i = 0; i < kProcessSlotsMax; ++i) {
    members.push_back(join());
    lives.insert(members.back().me());
  }
  EXPECT_EQ(lives.size(), kProcessSlotsMax);
  Liveness extra = open();
  ASSERT_TRUE(extra.lock_gate(Deadline::never()).ok());
  EXPECT_EQ(extra.take_slot(table_->rows, "extra").code(), Code::kLIMIT);
  EXPECT_EQ(extra.me(), 0u);
  members[77].release_slot();
  ASSERT_TRUE(extra.take_slot(table_->rows, "extra").ok());
  EXPECT_EQ(owner_slot(extra.me()), 77u);

  for (std::uint32_t i = 0; i + 1 < kProcessSlotsMax; ++i) members[i].release_slot();
  EXPECT_TRUE(value_of(extra.others_alive()));  // the last slot counts like the first
  members.back().release_slot();
  EXPECT_FALSE(value_of(extra.others_alive()));
}

TEST_F(LivenessTest, AKilledProcessIsDeadAndItsSlotIsTakenAgain) {
  Liveness watcher = join();
  const pid_t child = start_member();
  const OwnerId life = told();
  EXPECT_TRUE(watcher.alive(life));
  kill(child, SIGSTOP);  // stopped is not dead
  EXPECT_TRUE(watcher.alive(life));
  kill(child, SIGKILL);
  EXPECT_EQ(wait_for_child(child), 128 + SIGKILL);
  EXPECT_FALSE(watcher.alive(life));

  const pid_t next = start_member();
  EXPECT_EQ(owner_slot(told()), owner_slot(life));
  EXPECT_NE(told(), life);
  EXPECT_FALSE(watcher.alive(life));
  EXPECT_TRUE(watcher.alive(told()));
  kill(next, SIGKILL);
  EXPECT_EQ(wait_for_child(next), 128 + SIGKILL);
}

TEST_F(LivenessTest, AProcessThatExitsWithoutCleaningIsDead) {
  Liveness watcher = join();
  const pid_t child = start_member(false);
  EXPECT_EQ(wait_for_child(child), 0);
  EXPECT_FALSE(watcher.alive(told()));
}

// A member forks a child of its own and is killed while that child lives on.
class ForkedMember : public LivenessTest {
 protected:
  struct Shared {
    std::atomic<OwnerId> life{0};
    std::atomic<pid_t> child{0};
    std::atomic<bool> child_done{false};
  };
  void start(bool close_in_child) {
    member_ = fork_child([this, close_in_child] {
      Liveness liveness = join();
      shared_->child = fork_child([this, close_in_child, &liveness] {
        prctl(PR_SET_PDEATHSIG, 0);  // outliving its parent is the point; TearDown() ends it
        if (close_in_child) {
          liveness.close_in_forked_child();
          liveness.~Liveness();  // must not unlock the parent's bytes
          new (&liveness) Liveness();
        }
        shared_->child_done = true;
        for (;;) pause();
        return 0;
      });
      shared_->life = liveness.me();
      for (;;) pause();
      return 0;
    });
    if (!eventually([this] { return shared_->life != 0 && shared_->child_done; })) abort();
  }
  void TearDown() override {
    if (shared_->child != 0) kill(shared_->child, SIGKILL);
  }
  void kill_member() {
    kill(member_, SIGKILL);
    EXPECT_EQ(wait_for_child(member_), 128 + SIGKILL);
  }

  SharedMemory<Shared> shared_;
  pid_t member_ = 0;
};

TEST_F(ForkedMember, AChildThatClosedItsCopyNeitherKeepsNorEndsTheLife) {
  Liveness watcher = join();
  start(true);
  EXPECT_TRUE(watcher.alive(shared_->life));
  kill_member();
  EXPECT_EQ(kill(shared_->child, 0), 0);
  EXPECT_FALSE(watcher.alive(shared_->life));
}

// Why close_in_forked_child() exists. Should this ever fail, the fork handler is no longer needed.
TEST_F(ForkedMember, AChildThatKeepsItsCopyKeepsTheLife) {
  Liveness watcher = join();
  start(false);
  kill_member();
  EXPECT_TRUE(watcher.alive(shared_->life));
  kill(shared_->child, SIGKILL);
  EXPECT_TRUE(eventually([&] { return !watcher.alive(shared_->life); }));
}

}  // namespace
}  // namespace hf::platform
