// SPDX-License-Identifier: Apache-2.0
// Goal: a process that does nothing, because it is idle, reads for long or was stopped by a signal, does not hold the
// others up, as far as it holds nothing that they need; and when it goes on, it goes on rightly.
//
// Method: real processes beside others that commit all the time; SIGSTOP, also at named points inside the commit.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash/survivors.h"

namespace hf::crash {
namespace {

class StandstillTest : public SurvivorsTest {};

// Opens; with pin=1 begins a transaction and reads. Tells (step = 1), waits for `go`, reads, tells the answer.
int holder_role(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
  if (!session.ok()) return 3;
  txn::Transaction txn(session->database());
  txn::TxnOptions options;
  options.read_only = true;
  txn::RowView row;
  if (number_in(arguments, "pin", 0) != 0 && !txn.begin(options).ok()) return 4;
  board->step.fetch_add(1);
  while (board->go.load() == 0) usleep(500);
  if (!txn.running() && !txn.begin(options).ok()) return 5;
  Status status = txn.get(session->table(), "no such row", &row);
  board->code = static_cast<std::uint32_t>(status.code());
  board->step.fetch_add(1);
  txn.abort();
  while (board->stop.load() == 0) usleep(500);
  return 0;
}
const Role holder_registration("holder", holder_role);

TEST_F(StandstillTest, AStoppedProcessHoldsNobodyUp) {
  for (const char* pin : {"0", "1"}) {
    (*board_)->stop = (*board_)->step = (*board_)->go = 0;
    // Room for what commits while the pin keeps the overlay from being freed.
    start_survivors(2, {{"overlay", "268435456"}, {"merge_ms", "1000"}});
    // Without a thread for upkeep, which might hold the maintainer role when the signal comes.
    Child holder("holder", with({{"pin", pin}, {"label", "holder"}, {"background", "0"}}));
    ASSERT_TRUE(eventually(20'000, [&] { return (*board_)->step.load() == 1; }));
    holder.signal(SIGSTOP);
    forget_waits();
    sleep_ms(kSanitized ? 500 : 2'000);
    expect_all_go_on(4, "while a process is stopped");
    expect_nobody_waited(4, "while a process is stopped");
    holder.signal(SIGCONT);
    (*board_)->go = 1;
    EXPECT_TRUE(eventually(10'000, [&] { return (*board_)->step.load() == 2; })) << "it did not go on itself";
    const auto code = static_cast<Code>((*board_)->code.load());
    EXPECT_TRUE(code == Code::kNOT_FOUND || code == Code::kSNAPSHOT_TOO_OLD) << code_name(static_cast<int>(code));
    expect_all_go_on(4, "after it continued");
    stop_survivors();
    EXPECT_EQ(holder.wait(), 0);
  }
  expect_clean_directory();
}

// What others free is never held up by a process in which nothing runs: neither a transaction nor a thread of the
// engine.
TEST_F(StandstillTest, AnIdleProcessWithoutAThreadPinsNothing) {
  Session::open(db(), small_options())->close();  // makes the table
  Child idle("holder", with({{"pin", "0"}, {"label", "idle"}, {"background", "0"}}));
  ASSERT_TRUE(eventually(20'000, [&] { return (*board_)->step.load() == 1; }));
  start_survivors(1, {{"overload_ms", "500"}});
  for (int look = 0; look < (kSanitized ? 2 : 4) && !HasFailure(); ++look) {
    sleep_ms(1'000);
    expect_all_go_on(2, "beside an idle process");
    expect_nobody_waited(2, "beside an idle process");
  }
  (*board_)->go = 1;
  (*board_)->stop = 1;
  EXPECT_EQ(idle.wait(), 0);
}

// What a pin costs is the bytes of the commits since; that many merges happened meanwhile must not matter.
TEST_F(StandstillTest, APinMayOutliveManyMerges) {
  start_survivors(1, {{"overlay", "268435456"}, {"overload_ms", "500"}});
  Child holder("holder", with({{"pin", "1"}, {"label", "long reader"}}));
  ASSERT_TRUE(eventually(20'000, [&] { return (*board_)->step.load() == 1; }));
  for (int look = 0; look < 5 && !HasFailure(); ++look) {
    sleep_ms(1'000);
    expect_all_go_on(2, "beside a long reader, with next to nothing in the overlay");
    expect_nobody_waited(2, "beside a long reader, with next to nothing in the overlay");
  }
  (*board_)->go = 1;
  EXPECT_TRUE(eventually(10'000, [&] { return (*board_)->step.load() == 2; }));
  (*board_)->stop = 1;
  EXPECT_EQ(holder.wait(), 0);
}

// Stopped with the commit latch or in a flush: the others wait, nobody takes anything from it, and then all go on.
TEST_F(StandstillTest, AStoppedHolderOfALatchIsWaitedFor) {
  start_survivors(2);
  for (const char* point : {"commit.appended:stop:30", "log.flush.written:stop:10", "merge.before_commit:stop:1"}) {
    Child holder("worker", with({{"first", "8"}, {"threads", "2"}, {"count", "0"}, {"label", "stopped"}}), point);
    int status = 0;
    ASSERT_TRUE(eventually(10'000, [&] { return waitpid(holder.pid(), &status, WNOHANG | WUNTRACED) == holder.pid(); }))
        << point;
    ASSERT_TRUE(WIFSTOPPED(status)) << point << ": ended";
    sleep_ms(400);
    holder.signal(SIGCONT);
    const std::uint64_t before = (*board_)->workers[8].acked.load();
    expect_all_go_on(4, point);
    EXPECT_TRUE(eventually(5'000, [&] { return (*board_)->workers[8].acked.load() > before + 2; }))
        << point << ": it did not go on";
    EXPECT_EQ(holder.kill_and_wait(), kKilled);
    expect_all_go_on(4, std::string(point) + ", then killed");
  }
  for (std::uint32_t i = 0; i < 4; ++i)
    EXPECT_EQ((*board_)->workers[i].code.load(), 0u) << (*board_)->workers[i].message;
  stop_survivors();
  expect_clean_directory();
}

}  // namespace
}  // namespace hf::crash
