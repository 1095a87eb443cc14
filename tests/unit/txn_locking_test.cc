// SPDX-License-Identifier: Apache-2.0
// Goal: what a transaction has locked does not change before it is visible, though commits take no locks on rows that
// nobody had locked when they looked. Method: each of the two races is forced by a pause at a test point.
#include <chrono>
#include <thread>

#include "platform/test_point.h"
#include "unit/txn_testing.h"

namespace hf::txn {
namespace {

using std::chrono::milliseconds;

class TxnLocking : public TxnTest {
 protected:
  void SetUp() override {
    if (!platform::kTestPoints) GTEST_SKIP() << "built without test points";
    TxnTest::SetUp();
    options_.durability = Durability::kRelaxed;
    open();
    rows_ = &table("rows");
    put(*rows_, "row", "old");
  }
  void TearDown() override {
    platform::arm("");
    TxnTest::TearDown();
  }
  static void pause(int ms) { std::this_thread::sleep_for(milliseconds(ms)); }

  Table* rows_ = nullptr;
};

// The commit stands in the latch and has looked; the lock comes after its look. The locker has to wait for it.
TEST_F(TxnLocking, ALockWaitsForTheCommitThatLookedBefore) {
  platform::arm("commit.validated:sleep_ms=200");
  std::thread committer([&] {
    auto txn = begin();
    ASSERT_TRUE(txn->put(*rows_, "row", "new", 0).ok());
    const Status status = txn->commit(true);
    EXPECT_TRUE(status.ok()) << status.message();
  });
  pause(80);
  auto txn = begin();
  RowView row;
  const Status status = txn->get_locked(*rows_, "row", {}, &row);
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(row.value, "new");
  platform::arm("");
  committer.join();
  ASSERT_TRUE(txn->put(*rows_, "row", "newer", 0).ok());
  const Status committed = txn->commit(true);
  EXPECT_TRUE(committed.ok()) << committed.message();
  txn.reset();
  EXPECT_EQ(get(*rows_, "row"), "newer");
}

// A lock moves the snapshot on, which a row whose version was named forbids once it has changed: a conflict that ends
// the transaction, with nothing left locked.
TEST_F(TxnLocking, ALockAfterANamedVersionHasChanged) {
  RowView row;
  {
    auto reader = begin();
    ASSERT_TRUE(reader->get(*rows_, "row", &row).ok());
  }
  auto txn = begin();  // has not read the row but by naming its version
  ASSERT_TRUE(txn->put_if_version(*rows_, "row", "mine", row.version, 0).ok());
  {
    auto other = begin();
    ASSERT_TRUE(other->put(*rows_, "row", "theirs", 0).ok());
    ASSERT_TRUE(other->put(*rows_, "second", "theirs", 0).ok());
    ASSERT_TRUE(other->commit(true).ok());
  }
  for (const bool is_again : {false, true}) {
    SCOPED_TRACE(is_again);
    EXPECT_EQ(txn->lock(*rows_, "second", {}).code(), is_again ? Code::kMISUSE : Code::kCONFLICT);
    EXPECT_FALSE(txn->running());
  }
  auto next = begin();
  LockRule at_once;
  at_once.wait = false;
  EXPECT_EQ(next->lock(*rows_, "second", at_once).code(), Code::kOK);
}

// The lock is there before the look: the commit has to leave the latch and wait.
TEST_F(TxnLocking, ACommitWaitsForTheLockThatWasThereBefore) {
  auto holder = begin();
  RowView row;
  ASSERT_TRUE(holder->get_locked(*rows_, "row", {}, &row).ok());
  std::atomic<bool> committed{false};
  std::thread committer([&] {
    auto txn = begin();
    ASSERT_TRUE(txn->put(*rows_, "row", "blind", 0).ok());
    const Status status = txn->commit(true);
    EXPECT_TRUE(status.ok()) << status.message();
    committed = true;
  });
  pause(100);
  EXPECT_FALSE(committed);
  EXPECT_EQ(get(*rows_, "row"), "old");
  ASSERT_TRUE(holder->put(*rows_, "row", "mine", 0).ok());
  const Status status = holder->commit(true);
  EXPECT_TRUE(status.ok()) << status.message();
  committer.join();
  EXPECT_EQ(get(*rows_, "row"), "blind");
}

// A transaction with a time limit and without locks gets them in its commit. From then on its limit cannot take them
// away: else it would change a row under the next holder.
TEST_F(TxnLocking, LocksOfACommitDoNotExpireInTheMiddle) {
  auto holder = begin();
  RowView row;
  ASSERT_TRUE(holder->get_locked(*rows_, "row", {}, &row).ok());
  Code answer = Code::kINTERNAL;
  std::thread committer([&] {
    TxnOptions limited;
    limited.deadline_ms = 250;
    auto txn = begin(limited);
    ASSERT_TRUE(txn->put(*rows_, "row", "limited", 0).ok());
    answer = txn->commit(true).code();
  });
  pause(80);
  platform::arm("txn.locked:sleep_ms=400");  // the committer has its lock, and passes its limit in the middle
  holder->abort();
  pause(300);
  platform::arm("");
  auto next = begin();
  const Status status = next->get_locked(*rows_, "row", {}, &row);
  ASSERT_TRUE(status.ok()) << status.message();
  const std::string seen(row.value);
  committer.join();
  EXPECT_EQ(seen, answer == Code::kOK ? "limited" : "old");
  EXPECT_EQ(get(*rows_, "row"), seen);  // nothing changed under the lock
}

}  // namespace
}  // namespace hf::txn
