// SPDX-License-Identifier: Apache-2.0
// Goal: the process's own limits, on open files and on file size, are met with a documented code, at open and later; no
// signal, no crash, nothing lost, and with the limit raised it works again.
//
// Method: children that lower their soft limits in steps around an open, and under a running workload.
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "base/clock.h"
#include "crash/fixture.h"

namespace hf::crash {
namespace {

void set_soft_limit(decltype(RLIMIT_NOFILE) resource, rlim_t value) {
  rlimit limit;
  getrlimit(resource, &limit);
  limit.rlim_cur = value == RLIM_INFINITY ? limit.rlim_max : value;
  setrlimit(resource, &limit);
}

rlim_t next_descriptor() {
  const int fd = dup(STDERR_FILENO);
  close(fd);
  return static_cast<rlim_t>(fd);
}

int complain(Board& board, const std::string& what) {
  std::snprintf(board.report, sizeof board.report, "%s", what.c_str());
  return 4;
}

std::string text_of(const Status& status) {
  return std::string(code_name(static_cast<int>(status.code()))) + ": " + status.message();
}

// The limit rises one by one until the open goes through.
int descriptors_at_open(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  constexpr rlim_t kEnough = 64;
  const rlim_t used = next_descriptor();
  for (rlim_t more = 0; more <= kEnough; ++more) {
    set_soft_limit(RLIMIT_NOFILE, used + more);
    Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
    set_soft_limit(RLIMIT_NOFILE, RLIM_INFINITY);
    if (session.ok()) {
      session->close();
      session = Session::open(arguments.at("db"), options_in(arguments));
      const std::string wrong =
          session.ok() ? audit(*session, *board, Acked::kMustBeThere) : session.status().message();
      return wrong.empty() ? 0 : complain(*board, wrong);
    }
    if (session.code() != Code::kLIMIT) {
      return complain(*board, "with " + std::to_string(more) + " descriptors: " + text_of(session.status()));
    }
    if (next_descriptor() != used) return complain(*board, "a failed open leaves descriptors open");
  }
  return complain(*board, "64 descriptors are not enough");
}
const Role descriptors_at_open_registration("descriptors_at_open", descriptors_at_open);

Status commit_for(const Session& session, Board& board, std::uint64_t ms) {
  const Deadline deadline = Deadline::after_ms(ms);
  Status status;
  while (status.ok() && !deadline.passed()) {
    status = work(session, board, 0, txn::Durability::kDurable, 20);
    if (status.ok()) status = work(session, board, 1, txn::Durability::kRelaxed, 300);
  }
  return status;
}

// Goes on, in this open; then everything has to be there.
int expect_recovered(Session& session, Board& board, const Arguments& arguments) {
  Status status;
  const bool works = eventually(5'000, [&] {
    status = work(session, board, 0, txn::Durability::kDurable, 10);
    return status.ok();
  });
  if (!works) return complain(board, "with the limit raised: " + text_of(status));
  std::string wrong = audit(session, board, Acked::kMustBeThere);
  session.close();
  Result<Session> again = Session::open(arguments.at("db"), options_in(arguments));
  if (!again.ok()) return complain(board, "reopen: " + text_of(again.status()));
  if (wrong.empty()) wrong = audit(*again, board, Acked::kMustBeThere);
  return wrong.empty() ? 0 : complain(board, wrong);
}

int descriptors_while_running(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
  if (!session.ok()) return complain(*board, text_of(session.status()));
  set_soft_limit(RLIMIT_NOFILE, next_descriptor());
  const Status status = commit_for(*session, *board, 3'000);
  set_soft_limit(RLIMIT_NOFILE, RLIM_INFINITY);
  if (!status.ok() && status.code() != Code::kLIMIT && status.code() != Code::kMAYBE_COMMITTED &&
      status.code() != Code::kOVERLOADED) {
    return complain(*board, "without descriptors: " + text_of(status));
  }
  return expect_recovered(*session, *board, arguments);
}
const Role descriptors_while_running_registration("descriptors_while_running", descriptors_while_running);

int size_at_open(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  bool opened = false;
  for (const rlim_t limit : {rlim_t{0}, rlim_t{39}, rlim_t{4096}, rlim_t{100'000}, rlim_t{1} << 20, rlim_t{3} << 20,
                             rlim_t{5} << 20, rlim_t{16} << 20}) {
    set_soft_limit(RLIMIT_FSIZE, limit);
    Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
    opened = session.ok();
    if (opened) {
      Csn csn = 0;
      const Status status = write_once(*session, 9, limit, txn::Durability::kDurable, &csn);
      board->workers[9].tried = UINT64_MAX;
      if (!status.ok() && status.code() != Code::kDISK_FULL) return complain(*board, "commit: " + text_of(status));
    } else if (session.code() != Code::kDISK_FULL) {
      return complain(*board, "with files of " + std::to_string(limit) + " bytes: " + text_of(session.status()));
    }
  }
  return opened ? 0 : complain(*board, "files of 16 MiB are not enough");
}
const Role size_at_open_registration("size_at_open", size_at_open);

// The log's and the overlay's files stay below the limit; the base does not.
int size_while_running(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
  if (!session.ok()) return complain(*board, text_of(session.status()));
  set_soft_limit(RLIMIT_FSIZE, rlim_t{number_in(arguments, "limit", 3u << 20)});
  const Status status = commit_for(*session, *board, 15'000);
  set_soft_limit(RLIMIT_FSIZE, RLIM_INFINITY);
  if (status.code() != Code::kDISK_FULL && status.code() != Code::kOVERLOADED) {
    return complain(*board, "at the size limit: " + text_of(status));
  }
  return expect_recovered(*session, *board, arguments);
}
const Role size_while_running_registration("size_while_running", size_while_running);

// A limit below what the log's preallocated segment needs anyway: final for this open, as any failed write of the log.
int size_of_the_log(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
  if (!session.ok()) return complain(*board, text_of(session.status()));
  set_soft_limit(RLIMIT_FSIZE, 64u << 10);
  const Status status = commit_for(*session, *board, 15'000);
  set_soft_limit(RLIMIT_FSIZE, RLIM_INFINITY);
  if (status.code() != Code::kDISK_FULL && status.code() != Code::kMAYBE_COMMITTED && status.code() != Code::kFAILED) {
    return complain(*board, "at the size limit: " + text_of(status));
  }
  session->close();
  Result<Session> again = Session::open(arguments.at("db"), options_in(arguments));
  if (!again.ok()) return complain(*board, "reopen: " + text_of(again.status()));
  return expect_recovered(*again, *board, arguments);
}
const Role size_of_the_log_registration("size_of_the_log", size_of_the_log);

class LimitsTest : public CrashTest {
 protected:
  static bool sanitizer_needs_descriptors() {
    return kSanitized;
  }  // it opens pipes to look at memory, and aborts without

  void expect_role(const std::string& role, Arguments more = {}) {
    EXPECT_EQ(Child(role, with(std::move(more))).wait(40'000), 0) << (*board_)->report;
  }
};

TEST_F(LimitsTest, DescriptorsAtTheFirstOpen) {
  if (sanitizer_needs_descriptors()) GTEST_SKIP();
  expect_role("descriptors_at_open");
}

TEST_F(LimitsTest, DescriptorsWhileRecovering) {
  if (sanitizer_needs_descriptors()) GTEST_SKIP();
  Child worker("worker", with({{"threads", "2"}, {"merge_ms", "100000"}}));
  ASSERT_TRUE(eventually(20'000, [&] { return (*board_)->workers[0].acked.load() > 300; }));
  worker.kill_and_wait();
  expect_role("descriptors_at_open");
}

TEST_F(LimitsTest, DescriptorsWhileJoining) {
  if (sanitizer_needs_descriptors()) GTEST_SKIP();
  Child worker("worker", with({{"threads", "1"}, {"count", "10"}, {"stay", "1"}}));
  ASSERT_TRUE(eventually(20'000, [&] { return (*board_)->workers[0].acked.load() == 10; }));
  expect_role("descriptors_at_open");
}

TEST_F(LimitsTest, DescriptorsWhileRunning) {
  if (sanitizer_needs_descriptors()) GTEST_SKIP();
  expect_role("descriptors_while_running", {{"overload_ms", "1000"}});
}
TEST_F(LimitsTest, FileSizeAtOpen) { expect_role("size_at_open"); }
TEST_F(LimitsTest, FileSizeOfTheBase) { expect_role("size_while_running", {{"overload_ms", "1000"}}); }
TEST_F(LimitsTest, FileSizeOfTheLog) { expect_role("size_of_the_log", {{"overload_ms", "1000"}}); }

}  // namespace
}  // namespace hf::crash
