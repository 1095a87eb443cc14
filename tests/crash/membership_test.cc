// SPDX-License-Identifier: Apache-2.0
// Goal: processes come and go as they like. Who commits meanwhile does not notice; the last one leaves a directory
// that has nothing to recover; a fork, a second open in one process and a pid that two processes have harm nobody.
//
// Method: real processes that join, leave, fork and die around others that commit all the time.
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "crash/survivors.h"

namespace hf::crash {
namespace {

namespace fs = std::filesystem;

constexpr int kSkipped = 77;

class MembershipTest : public SurvivorsTest {};

TEST_F(MembershipTest, JoinAndLeaveWhileOthersCommit) {
  start_survivors(2);
  forget_waits();
  for (std::uint32_t round = 0; round < (kSanitized ? 4u : 15u); ++round) {
    std::vector<Child> joiners;
    for (std::uint32_t i = 0; i < 3; ++i) {
      joiners.emplace_back("worker", with({{"first", std::to_string(4 + 2 * i)}, {"threads", "2"}, {"count", "15"}}));
    }
    for (Child& joiner : joiners) EXPECT_EQ(joiner.wait(), 0) << (*board_)->report;
  }
  expect_nobody_waited(4, "somebody joined or left");
  stop_survivors();
  expect_clean_directory();
}

TEST_F(MembershipTest, AllComeAndGoAtOnce) {
  for (std::uint32_t round = 0; round < (kSanitized ? 3u : 10u) && !HasFailure(); ++round) {
    std::vector<Child> children;
    for (std::uint32_t i = 0; i < 4; ++i) {
      const std::string count = std::to_string(1 + i * round);
      children.emplace_back("worker", with({{"first", std::to_string(2 * i)}, {"threads", "2"}, {"count", count}}));
    }
    (*board_)->stop = round % 2;  // every second time they leave as soon as they have come
    for (Child& child : children) EXPECT_EQ(child.wait(), 0) << (*board_)->report;
    (*board_)->stop = 0;
    expect_clean_directory();
  }
}

// --- one process ---------------------------------------------------------------------------------------------------

TEST_F(MembershipTest, OpenedTwiceInOneProcess) {
  Result<Session> one = Session::open(db(), small_options());
  ASSERT_TRUE(one.ok()) << one.status().message();
  fs::create_directory_symlink(db(), path("link"));
  for (const std::string& name : {db(), db() + "/", path("./db"), path("link"), path("link/../db")}) {
    Result<Session> two = Session::open(name, small_options());
    ASSERT_TRUE(two.ok()) << name << ": " << two.status().message();
    EXPECT_EQ(one->database().get(), two->database().get()) << name;
    EXPECT_TRUE(put_row(*two, "p", name).ok());
  }
  EXPECT_TRUE(put_row(*one, "p", "still open").ok());
  Result<Session> two = Session::open(path("link"), small_options());
  one->close();
  EXPECT_TRUE(put_row(*two, "p", "the first one closed").ok());
  EXPECT_EQ(two->database()->stats()->processes, 1u);
}

TEST_F(MembershipTest, ThreadsOpenAndCloseAllTheTime) {
  const Deadline deadline = Deadline::after_ms(kSanitized ? 2'000 : 1'000);
  std::atomic<int> opens{0};
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      while (!deadline.passed()) {
        Result<Session> session = Session::open(db(), small_options());
        if (!session.ok()) {
          ADD_FAILURE() << session.status().message();
          return;
        }
        EXPECT_TRUE(work(*session, **board_, i, txn::Durability::kDurable, 2).ok()) << (*board_)->workers[i].message;
        ++opens;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GT(opens.load(), 8);
  expect_clean_directory();
}

TEST_F(MembershipTest, AForkedChildHasNothingAndHarmsNobody) {
  Result<Session> session = Session::open(db(), small_options());
  ASSERT_TRUE(session.ok()) << session.status().message();
  ASSERT_TRUE(work(*session, **board_, 0, txn::Durability::kDurable, 10).ok());
  txn::Transaction reader(session->database());
  txn::TxnOptions read_only;
  read_only.read_only = true;
  ASSERT_TRUE(reader.begin(read_only).ok());
  const std::string directory = db();
  for (int round = 0; round < 3; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      if (!session->database()->forked()) _exit(1);
      txn::DatabaseOptions options = small_options();
      options.background_thread = false;
      Result<Session> anew = Session::open(directory, options);
      if (!anew.ok()) _exit(2);
      if (anew->database() == session->database() || anew->database()->forked()) _exit(3);
      if (!work(*anew, **board_, 1, txn::Durability::kDurable, 10).ok()) _exit(4);
      if (!audit_groups(*anew).empty()) _exit(5);
      anew->close();
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the child ended with " << status;
    EXPECT_FALSE(session->database()->forked());
    EXPECT_TRUE(work(*session, **board_, 0, txn::Durability::kDurable, 10).ok()) << (*board_)->workers[0].message;
    // A stranger sees that the parent lives: it joins, and does not recover.
    EXPECT_EQ(Child("worker", with({{"first", "2"}, {"threads", "1"}, {"count", "5"}})).wait(), 0) << (*board_)->report;
    EXPECT_EQ(session->database()->stats()->processes, 1u);
  }
  // What the parent had open before all that is as it was.
  txn::RowView row;
  EXPECT_EQ(reader.get(session->table(), "no such row", &row).code(), Code::kNOT_FOUND);
  reader.abort();
  EXPECT_EQ(audit(*session, **board_, Acked::kMustBeThere), "");
}

// Opens, commits, forks a child that does nothing and outlives it.
int forker_role(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
  if (!session.ok() || !work(*session, *board, 0, txn::Durability::kDurable, 10).ok()) return 3;
  if (fork() == 0) {
    board->step = static_cast<std::uint32_t>(getpid());  // by the child: it has run its fork handlers then
    alarm(30);
  }
  for (;;) pause();
}
const Role forker_registration("forker", forker_role);

TEST_F(MembershipTest, AForkedChildDoesNotKeepItsDeadParentAlive) {
  Child parent("forker", with({}));
  ASSERT_TRUE(eventually(20'000, [&] { return (*board_)->step.load() != 0; }));
  EXPECT_EQ(parent.kill_and_wait(), kKilled);
  Result<Session> session = Session::open(db(), small_options());
  EXPECT_TRUE(session.ok()) << session.status().message();
  if (session.ok()) {
    EXPECT_EQ(session->database()->stats()->processes, 1u);
    EXPECT_EQ(audit(*session, **board_, Acked::kMustBeThere), "");
    EXPECT_TRUE(work(*session, **board_, 0, txn::Durability::kDurable, 10).ok());
  }
  kill(static_cast<pid_t>((*board_)->step.load()), SIGKILL);
}

// However full recovery has made a small overlay, the last one out leaves nothing behind. The steps are smaller than
// half of one of the four segments that so small an overlay has, and there are enough of them to fill all four.
TEST_F(MembershipTest, LeavesNothingAfterARecoveryThatFilledTheOverlay) {
  for (std::uint32_t commits = 200; commits < 700; commits += kSanitized ? 60 : 20) {
    Child worker("worker", with({{"threads", "1"},
                                 {"durable", "0"},
                                 {"count", std::to_string(commits)},
                                 {"stay", "1"},
                                 {"merge_ms", "100000"},
                                 {"overlay", "67108864"}}));
    const std::uint64_t before = (*board_)->workers[0].acked.load();
    ASSERT_TRUE(eventually(20'000, [&] { return (*board_)->workers[0].acked.load() == before + commits; }));
    worker.kill_and_wait();
    expect_sound(with({{"overlay", "524288"}, {"background", "0"}}), **board_, std::to_string(commits) + " commits");
    ASSERT_FALSE(fs::exists(db() + "/session")) << "after " << commits << " commits to recover";
  }
}

// --- the maintainer --------------------------------------------------------------------------------------------------

TEST_F(MembershipTest, AnotherTakesTheDeadMaintainersPlace) {
  for (const bool has_thread : {true, false}) {
    txn::DatabaseOptions options = small_options();
    options.background_thread = has_thread;
    options.merge_interval_ms = 100'000;  // merges are the victim's, until it is dead
    Result<Session> session = Session::open(db(), options);
    ASSERT_TRUE(session.ok()) << session.status().message();
    const std::uint64_t takeovers = session->database()->stats()->takeovers;
    Child victim("worker", with({{"first", "0"}, {"threads", "1"}}), "merge.before_commit:kill:2");
    EXPECT_EQ(victim.wait(20'000), kKilled);
    ASSERT_TRUE(work(*session, **board_, 4, txn::Durability::kDurable, 20).ok());
    if (!has_thread) {
      EXPECT_TRUE(eventually(kStallMaxNs / 1'000'000, [&] { return session->database()->maintain(true).ok(); }));
      EXPECT_EQ(session->database()->stats()->applied, session->database()->stats()->published);
    }
    EXPECT_TRUE(eventually(kStallMaxNs / 1'000'000, [&] {
      return session->database()->stats()->takeovers > takeovers;
    })) << "nobody took the role from the dead";
    session->close();
    expect_clean_directory();
  }
}

// --- one pid, two processes ----------------------------------------------------------------------------------------

// Runs the role `inner` as pid 1 of a pid namespace of its own. Both end at once: a leak checker starts a process to
// look at its own, which cannot work across pid namespaces.
int container_role(const Arguments& arguments) {
  if (unshare(CLONE_NEWPID) != 0) return kSkipped;
  _exit(Child(arguments.at("inner"), arguments).wait());
}
const Role container_registration("container", container_role);

// Opens and commits, then goes on until told to stop.
int contained(const Arguments& arguments) {
  if (getpid() != 1) return 90;
  SharedBoard board(arguments.at("board"));
  Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
  const auto worker = static_cast<std::uint32_t>(number_in(arguments, "first", 0));
  Status status = session.ok() ? Status() : session.status();
  if (status.ok()) status = work(*session, *board, worker, txn::Durability::kDurable, 5);
  board->code = static_cast<std::uint32_t>(status.code());
  std::snprintf(board->report, sizeof board->report, "%s", status.message().c_str());
  board->step.fetch_add(1);
  while (status.ok() && board->stop.load() == 0) {
    if (!work(*session, *board, worker, txn::Durability::kDurable, 1).ok()) return 5;
  }
  return status.ok() ? 0 : 6;
}
const Role contained_registration("contained", [](const Arguments& arguments) -> int { _exit(contained(arguments)); });

TEST_F(MembershipTest, TwoProcessesWithOnePid) {
  Child one("container", with({{"inner", "contained"}, {"first", "0"}}));
  if (!eventually(20'000, [&] { return (*board_)->step.load() == 1; })) {
    if (one.wait(1'000) == kSkipped) GTEST_SKIP() << "a pid namespace needs root";
    FAIL() << "the first one did not open";
  }
  ASSERT_EQ((*board_)->code.load(), 0u) << (*board_)->report;
  Child two("container", with({{"inner", "contained"}, {"first", "2"}}));
  ASSERT_TRUE(eventually(20'000, [&] { return (*board_)->step.load() == 2; }));
  const auto code = static_cast<Code>((*board_)->code.load());
  if (code != Code::kOK) {
    EXPECT_EQ(code, Code::kBUSY) << (*board_)->report;
    EXPECT_NE(std::string((*board_)->report).find("pid namespace"), std::string::npos)
        << "names no remedy: " << (*board_)->report;
  }
  expect_all_go_on(1, "the first of the two");
  (*board_)->stop = 1;
  EXPECT_EQ(one.wait(), 0);
  EXPECT_EQ(two.wait(), code == Code::kOK ? 0 : 6);
  expect_clean_directory();
}

}  // namespace
}  // namespace hf::crash
