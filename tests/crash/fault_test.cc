// SPDX-License-Identifier: Apache-2.0
// Goal: what the device refuses is answered with a clear code. A failed sync is final for everybody who has the
// database open, and loses nothing that was acknowledged; a full disk is not final: there is an error, and work again
// with room.
//
// Method: faults injected at the platform's test points while this process and another one commit; and a sweep: every
// n-th call of each kind of system call fails in a whole life of a database, after which it has to open and be sound.
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "crash/fixture.h"
#include "platform/test_point.h"

namespace hf::crash {
namespace {

// Opens, writes one row named after the process, notes the answer of it on the board.
int put_role(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
  const Status status = session.ok() ? put_row(*session, "p", "put") : session.status();
  board->code = static_cast<std::uint32_t>(status.code());
  std::snprintf(board->report, sizeof board->report, "%s", status.message().c_str());
  return 0;
}
const Role put_registration("put", put_role);

class FaultTest : public CrashTest {
 protected:
  ~FaultTest() override { platform::arm(""); }

  Code put_by_another_process() {
    EXPECT_EQ(Child("put", with({})).wait(), 0);
    return static_cast<Code>((*board_)->code.load());
  }

  // Commits until something says no, at most that long.
  Status commit_until_refused(const Session& session, std::uint32_t worker, txn::Durability durability,
                              std::uint64_t ms) {
    const Deadline deadline = Deadline::after_ms(ms);
    while (!deadline.passed()) {
      if (Status status = work(session, **board_, worker, durability, 50); !status.ok()) return status;
    }
    return {};
  }

  void expect_works_again(const Session& session, std::uint32_t worker) {
    Status status;
    EXPECT_TRUE(eventually(kStallMaxNs / 1'000'000 * 5,
                           [&] {
                             status = work(session, **board_, worker, txn::Durability::kDurable, 1);
                             return status.ok();
                           }))
        << "does not work again: " << status.message();
  }
};

bool is_one_of(Code code, const std::vector<Code>& codes) {
  return std::find(codes.begin(), codes.end(), code) != codes.end();
}

void expect_final(const std::string& point, Code first_answer) {
  EXPECT_TRUE(is_one_of(first_answer, {Code::kMAYBE_COMMITTED, Code::kFAILED, Code::kIO_ERROR}))
      << point << ": " << code_name(static_cast<int>(first_answer));
}

class FinalFaultTest : public FaultTest, public testing::WithParamInterface<const char*> {};

TEST_P(FinalFaultTest, EndsEveryCommitUntilAllHaveClosed) {
  Result<Session> session = Session::open(db(), small_options());
  ASSERT_TRUE(session.ok()) << session.status().message();
  Child other("worker", with({{"first", "0"}, {"threads", "2"}}));
  std::vector<std::thread> threads;
  std::vector<Status> answers(3);
  for (std::uint32_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] { answers[i] = work(*session, **board_, 4 + i, txn::Durability::kDurable, 0); });
  }
  EXPECT_TRUE(eventually(20'000, [&] { return (*board_)->workers[0].acked > 20 && (*board_)->workers[4].acked > 20; }));
  platform::arm(GetParam());
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(other.wait(10'000), 2) << "the other process went on";
  bool maybe = false;
  for (const Status& answer : answers) {
    expect_final(GetParam(), answer.code());
    maybe |= answer.code() == Code::kMAYBE_COMMITTED;
  }
  for (std::uint32_t worker : {0, 1}) {
    expect_final(GetParam(), static_cast<Code>((*board_)->workers[worker].code.load()));
  }
  if (std::string(GetParam()).starts_with("file.sync")) {
    EXPECT_TRUE(maybe) << "somebody's commit was visible when the sync failed";
  }

  // The device works again; that changes nothing for this open, here or elsewhere. Reading goes on.
  platform::arm("");
  Csn csn = 0;
  Status later = write_once(*session, 9, 1, txn::Durability::kDurable, &csn);
  EXPECT_EQ(later.code(), Code::kFAILED) << later.message();
  EXPECT_NE(later.message().find(strerror(EIO)), std::string::npos) << "does not say why: " << later.message();
  later = write_once(*session, 9, 1, txn::Durability::kRelaxed, &csn);
  EXPECT_EQ(later.code(), Code::kFAILED) << later.message();
  EXPECT_EQ(put_by_another_process(), Code::kFAILED) << (*board_)->report;
  EXPECT_EQ(audit_groups(*session), "");

  session->close();
  expect_sound(with({}), **board_, GetParam());
  EXPECT_EQ(put_by_another_process(), Code::kOK) << (*board_)->report;
}

INSTANTIATE_TEST_SUITE_P(Device, FinalFaultTest,
                         testing::Values("file.sync:errno=5", "file.write:errno=5", "store.commit:errno=5"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& letter : name) letter = isalnum(letter) ? letter : '_';
                           return name;
                         });

TEST_F(FaultTest, NoRoomForSegmentsIsAnErrorAndPasses) {
  txn::DatabaseOptions options = small_options();
  options.overload_timeout_ms = 500;
  Result<Session> session = Session::open(db(), options);
  ASSERT_TRUE(session.ok()) << session.status().message();
  for (const auto durability : {txn::Durability::kDurable, txn::Durability::kRelaxed}) {
    platform::arm("file.allocate:errno=28");
    const Status refused = commit_until_refused(*session, 0, durability, 4'000);
    // Segments that are used again need no room, so this may go well for ever.
    EXPECT_TRUE(is_one_of(refused.code(), {Code::kOK, Code::kDISK_FULL})) << refused.message();
    platform::arm("");
    expect_works_again(*session, 0);
  }
  session->close();
  expect_sound(with({}), **board_, "after the disk was full");
}

// In a new database the first growth meets the full disk.
TEST_F(FaultTest, NoRoomToGrowNamesTheFile) {
  txn::DatabaseOptions options = small_options();
  options.overload_timeout_ms = 500;
  options.merge_interval_ms = 100'000;
  Result<Session> session = Session::open(db(), options);
  ASSERT_TRUE(session.ok()) << session.status().message();
  platform::arm("file.allocate:errno=28");
  const Status refused = commit_until_refused(*session, 0, txn::Durability::kRelaxed, 10'000);
  EXPECT_EQ(refused.code(), Code::kDISK_FULL) << refused.message();
  EXPECT_NE(refused.message().find(db()), std::string::npos) << "does not name the file: " << refused.message();
  EXPECT_EQ(audit_groups(*session), "") << "reading needs no room";
  platform::arm("");
  expect_works_again(*session, 0);
  session->close();
  expect_sound(with({}), **board_, "after the disk was full");
}

TEST_F(FaultTest, NoRoomForTheMergeIsAnErrorAndPasses) {
  txn::DatabaseOptions options = small_options();
  options.overload_timeout_ms = 500;
  Result<Session> session = Session::open(db(), options);
  ASSERT_TRUE(session.ok()) << session.status().message();
  platform::arm("store.commit:errno=28");
  const Status refused = commit_until_refused(*session, 0, txn::Durability::kRelaxed, 20'000);
  EXPECT_TRUE(is_one_of(refused.code(), {Code::kDISK_FULL, Code::kOVERLOADED})) << refused.message();
  EXPECT_EQ(audit_groups(*session), "");
  platform::arm("");
  expect_works_again(*session, 0);
  session->close();
  expect_sound(with({}), **board_, "after the merge had no room");
}

TEST_F(FaultTest, NoRoomToOpen) {
  platform::arm("file.allocate:errno=28");
  Result<Session> session = Session::open(db(), small_options());
  ASSERT_FALSE(session.ok());
  EXPECT_EQ(session.code(), Code::kDISK_FULL) << session.status().message();
  EXPECT_NE(session.status().message().find(db()), std::string::npos) << session.status().message();
  platform::arm("");
  session = Session::open(db(), small_options());
  EXPECT_TRUE(session.ok()) << session.status().message();
}

// One life of a database under a fault: open, commit, merge, leave.
void live(const Arguments& arguments, Board& board) {
  Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
  if (!session.ok()) return;
  (void)work(*session, board, 0, txn::Durability::kDurable, 20).ok();
  (void)work(*session, board, 1, txn::Durability::kRelaxed, 20).ok();
  (void)session->database()->maintain(true).ok();
  (void)work(*session, board, 0, txn::Durability::kDurable, 5).ok();
}

int sweep_role(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  std::string first_wrong;
  int wrong_passes = 0;
  for (std::uint64_t pass = 1; pass <= number_in(arguments, "passes", 10); ++pass) {
    std::filesystem::remove_all(arguments.at("db"));
    for (WorkerRow& row : board->workers) row.tried = row.acked = row.acked_csn = 0;
    const int error = pass % 2 == 0 ? EIO : static_cast<int>(number_in(arguments, "error", EIO));
    const std::string spec = arguments.at("point") + ":errno=" + std::to_string(error) + ":" + std::to_string(pass);
    std::snprintf(board->report, sizeof board->report, "died at %s", spec.c_str());
    platform::arm(spec);
    live(arguments, *board);
    platform::arm("");
    Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
    std::string wrong =
        session.ok() ? audit(*session, *board, Acked::kMustBeThere) : "open: " + session.status().message();
    if (wrong.empty()) {
      const Status status = work(*session, *board, 0, txn::Durability::kDurable, 1);
      if (!status.ok()) wrong = "commit: " + status.message();
    }
    if (wrong.empty()) continue;
    ++wrong_passes;
    if (first_wrong.empty()) first_wrong = "after " + spec + ": " + wrong;
  }
  std::snprintf(board->report, sizeof board->report, "%d passes went wrong, the first %s", wrong_passes,
                first_wrong.c_str());
  return wrong_passes == 0 ? 0 : 4;
}
const Role sweep_registration("sweep", sweep_role);

TEST_F(FaultTest, EveryNthCallFails) {
  const std::string passes = kSanitized ? "4" : "10";
  for (const char* point : {"file.open", "file.read", "file.write", "file.sync", "file.truncate", "file.allocate",
                            "file.sync_directory", "region.map", "region.populate", "store.commit"}) {
    const std::string error = std::to_string(std::string(point) == "file.open" ? EMFILE : ENOSPC);
    EXPECT_EQ(Child("sweep", with({{"point", point}, {"error", error}, {"passes", passes}})).wait(), 0)
        << (*board_)->report;
  }
}

}  // namespace
}  // namespace hf::crash
