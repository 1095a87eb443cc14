// SPDX-License-Identifier: Apache-2.0
// Goal: when a reader keeps the overlay from being freed, writers are told who it is instead of waiting for ever; the
// reader is told to begin anew; then writers go on. A reader that dies is no longer in the way.
//
// Method: an overlay of 4 MiB, a process that holds a snapshot and does nothing, a writer until it is refused.
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "crash/fixture.h"

namespace hf::crash {
namespace {

constexpr std::uint64_t kOverloadMs = 600;

class OverloadTest : public CrashTest, public testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    txn::DatabaseOptions options = small_options();
    options.overlay_bytes_max = 4u << 20;
    options.overload_timeout_ms = kOverloadMs;
    Result<Session> session = Session::open(db(), options);
    ASSERT_TRUE(session.ok()) << session.status().message();
    session_ = std::move(session).value();
    // The reader's own background thread must make no difference.
    reader_ = Child("holder", with({{"pin", "1"}, {"label", "stuck reader"}, {"background", GetParam()}}));
    ASSERT_TRUE(eventually(20'000, [&] { return (*board_)->step.load() == 1; }));
  }

  Status commit_until_refused() {
    const Deadline deadline = Deadline::after_ms(20'000);
    Status status;
    while (status.ok() && !deadline.passed()) status = work(session_, **board_, 0, txn::Durability::kRelaxed, 100);
    return status;
  }

  void expect_refused_with_name() {
    const std::uint64_t pid = static_cast<std::uint64_t>(reader_.pid());
    const Status refused = commit_until_refused();
    EXPECT_EQ(refused.code(), Code::kOVERLOADED) << refused.message();
    EXPECT_NE(refused.message().find("process " + std::to_string(pid)), std::string::npos) << refused.message();
    EXPECT_NE(refused.message().find("stuck reader"), std::string::npos) << refused.message();
    EXPECT_GE((*board_)->workers[0].acked.load(), 1'000u) << "refused long before the overlay can have been full";
    EXPECT_EQ(audit_groups(session_), "");
    // It was not only that once.
    const std::uint64_t began = monotonic_ns();
    EXPECT_EQ(commit_until_refused().code(), Code::kOVERLOADED);
    EXPECT_LT(monotonic_ns() - began, (kOverloadMs + kStallMaxNs / 1'000'000) * 1'000'000) << "refused too late";
  }

  void expect_works_again() {
    Status status;
    EXPECT_TRUE(eventually(3 * kStallMaxNs / 1'000'000, [&] {
      status = work(session_, **board_, 0, txn::Durability::kRelaxed, 3'000);
      return status.ok();
    })) << status.message();
    EXPECT_EQ(audit(session_, **board_, Acked::kMustBeThere), "");
  }

  Session session_;
  Child reader_;
};

TEST_P(OverloadTest, TheStuckReaderIsNamedAndToldToBeginAnew) {
  expect_refused_with_name();
  (*board_)->go = 1;
  ASSERT_TRUE(eventually(10'000, [&] { return (*board_)->step.load() == 2; }));
  EXPECT_EQ((*board_)->code.load(), static_cast<std::uint32_t>(Code::kSNAPSHOT_TOO_OLD));
  expect_works_again();
  (*board_)->stop = 1;
  EXPECT_EQ(reader_.wait(), 0);
}

TEST_P(OverloadTest, ADeadReaderIsNotInTheWay) {
  expect_refused_with_name();
  EXPECT_EQ(reader_.kill_and_wait(), kKilled);
  expect_works_again();
}

TEST_P(OverloadTest, AStoppedReaderIsNamedToo) {
  reader_.signal(SIGSTOP);
  expect_refused_with_name();
  reader_.signal(SIGCONT);
  (*board_)->go = 1;
  ASSERT_TRUE(eventually(10'000, [&] { return (*board_)->step.load() == 2; }));
  EXPECT_EQ((*board_)->code.load(), static_cast<std::uint32_t>(Code::kSNAPSHOT_TOO_OLD));
  expect_works_again();
}

INSTANTIATE_TEST_SUITE_P(ReaderBackground, OverloadTest, testing::Values("1", "0"));

}  // namespace
}  // namespace hf::crash
