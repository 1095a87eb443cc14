// SPDX-License-Identifier: Apache-2.0
// Goal: a session's lock on a name keeps what runs inside of it apart, also when a holder is killed in the middle of a
// commit: who has the name next sees that commit, or it never was.
//
// Method: a child reads a row and writes it one higher, at read committed, inside of its session's lock, and is killed
// at each point of the commit. The test, which has the database open all the time and does no upkeep, takes the name
// over and does the same. Nothing but the name keeps the two apart.
#include <string>

#include "crash/fixture.h"
#include "txn/session.h"

namespace hf::crash {
namespace {

txn::LockRule patient() {
  txn::LockRule rule;
  rule.timeout_ms = 10'000;
  return rule;
}

Result<std::uint64_t> read_till(const Session& session) {
  txn::Transaction txn(session.database());
  if (Status status = txn.begin({}); !status.ok()) return status;
  txn::RowView row;
  const Status status = txn.get(session.table(), "till", &row);
  if (status.code() == Code::kNOT_FOUND) return std::uint64_t{0};
  if (!status.ok()) return status;
  return std::stoull(std::string(row.value));
}

Status add_one(const Session& session, txn::Session& cashier) {
  if (Status status = cashier.lock("till", patient()); !status.ok()) return status;
  Result<std::uint64_t> before = read_till(session);
  if (!before.ok()) return before.status();
  Status status;
  {
    txn::Transaction txn(session.database());
    txn::TxnOptions options;
    options.isolation = txn::Isolation::kReadCommitted;
    options.session = &cashier;
    status = txn.begin(options);
    if (status.ok()) status = txn.put(session.table(), "till", std::to_string(before.value() + 1), 0);
    if (status.ok()) status = txn.commit(true);
  }
  return status.ok() ? cashier.unlock("till") : status;
}

// Opens and adds until it is killed.
int cashier_role(const Arguments& arguments) {
  Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
  if (!session.ok()) return 3;
  txn::Session cashier(session->database(), "child");
  if (!cashier.open().ok()) return 4;
  SharedBoard board(arguments.at("board"));
  for (WorkerRow& row = board->workers[0];;) {
    if (!add_one(*session, cashier).ok()) return 5;
    row.acked.fetch_add(1);
  }
}
const Role cashier_registration("cashier", cashier_role);

class SessionKillTest : public CrashTest {};

struct Cut {
  const char* point;
  bool is_there;  // the commit that was under way: the log has all of it
};
constexpr Cut kCuts[] = {
    {"commit.validated", false}, {"log.append.before_publish", false}, {"log.append.published", true},
    {"commit.appended", true},   {"overlay.insert.linked", true},      {"commit.inserted", true},
    {"commit.published", true},
};

TEST_F(SessionKillTest, WhoHasTheNameNextSeesTheDeadHoldersCommit) {
  txn::DatabaseOptions options = small_options();
  options.background_thread = false;
  Result<Session> session = Session::open(db(), options);
  ASSERT_TRUE(session.ok()) << session.status().message();
  txn::Session cashier(session->database(), "test");
  ASSERT_TRUE(cashier.open().ok());
  std::uint64_t expected = 0;
  for (const Cut& cut : kCuts) {
    (*board_)->workers[0].acked = 0;
    const std::string spec = std::string(cut.point) + ":kill:3";
    EXPECT_EQ(Child("cashier", with({{"background", "0"}}), spec).wait(), kKilled) << spec;
    expected += (*board_)->workers[0].acked.load() + (cut.is_there ? 1 : 0);
    ASSERT_TRUE(cashier.lock("till", patient()).ok()) << spec;
    Result<std::uint64_t> seen = read_till(*session);
    ASSERT_TRUE(seen.ok()) << seen.status().message();
    EXPECT_EQ(seen.value(), expected) << spec;
    ASSERT_TRUE(cashier.unlock("till").ok());
    ASSERT_TRUE(add_one(*session, cashier).ok()) << spec;
    ++expected;
    EXPECT_EQ(read_till(*session).value(), expected) << spec;
  }
}

}  // namespace
}  // namespace hf::crash
