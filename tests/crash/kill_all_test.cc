// SPDX-License-Identifier: Apache-2.0
// Goal: when all processes are killed at once, at any instant, the next open has every commit that was answered:
// durable ones, and relaxed ones too, since the machine did not stop and the memory they shared is still there. Being
// killed in the middle of recovery, again and again, changes nothing about that.
//
// Method: rounds of three processes that commit durably and relaxed and are killed after a random time. Then one
// process opens, audits, and ends in order or is killed as well; before it come, at random, ones that are killed at a
// point inside recovery, merge or leaving. The seed is printed; HOLDFAST_TEST_SEED repeats it.
#include <signal.h>

#include <filesystem>
#include <vector>

#include "base/clock.h"
#include "crash/fixture.h"

namespace hf::crash {
namespace {

constexpr std::uint64_t kRandomKillsMs = kSanitized ? 6'000 : 9'000;

class KillAllTest : public CrashTest {
 protected:
  // Lets `processes` with two threads each commit for about that long and kills them all.
  void commit_and_kill(std::uint32_t processes, std::uint64_t run_ms, Arguments more) {
    (*board_)->ready = 0;
    std::vector<Child> children;
    for (std::uint32_t i = 0; i < processes; ++i) {
      Arguments arguments = with(more);
      arguments["first"] = std::to_string(2 * i);
      arguments["threads"] = "2";
      arguments["durable"] = "2";
      children.emplace_back("worker", arguments);
      // The gate lets one in at a time; now and then all come at once.
      if (random_number(2) == 0) eventually(10'000, [&] { return (*board_)->ready.load() == i + 1; });
    }
    ASSERT_TRUE(eventually(20'000, [&] { return (*board_)->ready.load() == processes; })) << (*board_)->report;
    sleep_ms(run_ms);
    for (Child& child : children) child.signal(SIGKILL);
    for (Child& child : children) EXPECT_EQ(child.wait(), kKilled) << (*board_)->report;
    for (const WorkerRow& row : (*board_)->workers) EXPECT_EQ(row.code.load(), 0u) << row.message;
  }
};

TEST_F(KillAllTest, AtRandomInstants) {
  constexpr const char* kInterruptions[] = {
      "log.recover:kill:1",    "log.recover:kill:2",         "log.recover:kill:3",
      "open.recovered:kill:1", "file.sync:kill:2",           "file.write:kill:3",
      "close.clean:kill:1",    "merge.before_commit:kill:1", "merge.committed:kill:1"};
  const Deadline deadline = Deadline::after_ms(kRandomKillsMs);
  int rounds = 0;
  for (; !deadline.passed() && !HasFailure(); ++rounds) {
    commit_and_kill(3, 5 + random_number(150), {});
    for (std::uint64_t left = random_number(3); left > 0; --left) {
      const int end = Child("audit", with({}), kInterruptions[random_number(std::size(kInterruptions))]).wait();
      EXPECT_TRUE(end == kKilled || end == 0) << "ended with " << end << ": " << (*board_)->report;
    }
    expect_sound(with({{"die", std::to_string(random_number(2))}}), **board_, "round " + std::to_string(rounds));
  }
  EXPECT_GE(rounds, 5);
  std::uint64_t commits = 0;
  for (const WorkerRow& row : (*board_)->workers) commits += row.acked.load();
  EXPECT_GT(commits, 100u);
  RecordProperty("rounds", rounds);
}

// Killed before the table is there, in the very first open and commits.
TEST_F(KillAllTest, WhileTheDatabaseIsMade) {
  constexpr const char* kPoints[] = {"file.open",           "file.write",    "file.sync",
                                     "file.sync_directory", "file.allocate", "region.map",
                                     "store.commit",        "log.recover",   "open.recovered"};
  for (const char* point : kPoints) {
    int kills = 0;
    for (std::uint64_t pass = 1; pass <= 12; ++pass) {
      std::filesystem::remove_all(db());
      const int end = Child("audit", with({}), std::string(point) + ":kill:" + std::to_string(pass)).wait();
      if (end == 0) break;  // there are no more passes
      ++kills;
      EXPECT_EQ(end, kKilled) << point << " pass " << pass << ": " << (*board_)->report;
      expect_sound(with({}), **board_, std::string(point) + " pass " + std::to_string(pass));
      if (kSanitized) pass += 2;
    }
    EXPECT_GT(kills, 0) << point << " was never reached";
  }
}

// Each point that lies on the way of recovery, twice in a row, from a log that is longer than the new overlay holds, so
// that recovery itself has to merge.
TEST_F(KillAllTest, TwiceDuringRecovery) {
  constexpr const char* kPoints[] = {"log.recover:kill:1",
                                     "open.recovered:kill:1",
                                     "overlay.prepare:kill:1",
                                     "overlay.rotate.sealed:kill:2",
                                     "overlay.rotate.activated:kill:1",
                                     "merge.before_commit:kill:1",
                                     "merge.committed:kill:2",
                                     "store.merge.before_commit:kill:2",
                                     "store.merge.committed:kill:1",
                                     "close.clean:kill:1"};
  const Arguments small = with({{"overlay", "524288"}, {"background", "0"}});
  std::uint64_t acked_before = 0;
  for (const char* point : kPoints) {
    // Merges are far away: the log holds all of it.
    commit_and_kill(2, 100, {{"overlay", "67108864"}, {"merge_ms", "100000"}});
    std::uint64_t acked = 0;
    for (const WorkerRow& row : (*board_)->workers) acked += row.acked.load();
    ASSERT_GT(acked, acked_before + 300) << "too few commits for the test to mean something";
    acked_before = acked;
    EXPECT_EQ(Child("audit", small, point).wait(), kKilled) << point;
    EXPECT_EQ(Child("audit", small, point).wait(), kKilled) << point << ", again";
    expect_sound(small, **board_, point);
    if (HasFailure()) return;
  }
}

// Salvage, the first step of recovery, carries what is only in the old session's memory to the log's files. It is
// killed at each of its writes and syncs; the next open has to do the rest. Several segments' worth is in memory, so
// that salvage has to begin new ones. Each kill starts from the same copy of the dead session.
TEST_F(KillAllTest, WhileTheOldMemoryIsSalvaged) {
  // Just less than the ring, which is flushed when it is full.
  Child writer("worker", with({{"threads", "1"},
                               {"durable", "0"},
                               {"count", "3500"},
                               {"stay", "1"},
                               {"background", "0"},
                               {"merge_ms", "100000"},
                               {"overlay", "67108864"}}));
  ASSERT_TRUE(eventually(20'000, [&] { return (*board_)->workers[0].acked.load() == 3'500; })) << (*board_)->report;
  EXPECT_EQ(writer.kill_and_wait(), kKilled);
  const std::string dead = path("dead");
  copy_tree(db(), dead);
  for (const char* point : {"file.write", "file.sync"}) {
    for (int pass = 1; pass <= (std::string(point) == "file.write" ? 12 : 6); ++pass) {
      copy_tree(dead, db());
      const std::string spec = std::string(point) + ":kill:" + std::to_string(pass);
      EXPECT_EQ(Child("audit", with({}), spec).wait(), kKilled) << spec << ": " << (*board_)->report;
      expect_sound(with({}), **board_, spec);
    }
  }
}

}  // namespace
}  // namespace hf::crash
