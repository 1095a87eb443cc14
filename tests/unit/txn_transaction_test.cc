// SPDX-License-Identifier: Apache-2.0
// Transactions on one process: rows, own writes, conditions, savepoints, limits, conflicts, merges underneath,
// reopening.
#include "txn/transaction.h"

#include <chrono>
#include <thread>

#include "txn_testing.h"

namespace hf::txn {
namespace {

TEST_F(TxnTest, CommittedRowsAreReadBackAndSurviveReopening) {
  open();
  Table* items = &table("items");
  put(*items, "a", "1");
  put(*items, "b", "2");
  EXPECT_EQ(get(*items, "a"), "1");
  EXPECT_EQ(get(*items, "z"), "(none)");
  close();
  open();
  Result<Table*> again = catalog_->open("items");
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(get(*again.value(), "a"), "1");
  EXPECT_EQ(get(*again.value(), "b"), "2");
}

TEST_F(TxnTest, ReadsOwnWritesAndNothingOfOthersUntilTheyCommit) {
  open();
  Table& items = table("items");
  put(items, "a", "old");
  auto writer = begin();
  auto reader = begin();
  ASSERT_TRUE(writer->put(items, "a", "new", 0).ok());
  RowView row;
  ASSERT_TRUE(writer->get(items, "a", &row).ok());
  EXPECT_EQ(row.value, "new");
  EXPECT_EQ(row.version, 0u);
  ASSERT_TRUE(reader->get(items, "a", &row).ok());
  EXPECT_EQ(row.value, "old");
  ASSERT_TRUE(writer->commit(true).ok());
  ASSERT_TRUE(reader->get(items, "a", &row).ok());
  EXPECT_EQ(row.value, "old");
  EXPECT_EQ(get(items, "a"), "new");
}

TEST_F(TxnTest, ConditionsOfInsertUpdateDeleteAndVersions) {
  open();
  Table& items = table("items");
  auto txn = begin();
  EXPECT_EQ(txn->update(items, "a", "1", 0).code(), Code::kNOT_FOUND);
  EXPECT_EQ(txn->remove(items, "a").code(), Code::kNOT_FOUND);
  EXPECT_TRUE(txn->insert(items, "a", "1", 0).ok());
  EXPECT_EQ(txn->insert(items, "a", "2", 0).code(), Code::kEXISTS);
  EXPECT_TRUE(txn->commit(true).ok());
  const Csn version = txn->commit_csn();
  ASSERT_TRUE(txn->restart().ok());
  EXPECT_EQ(txn->put_if_version(items, "a", "x", version + 1, 0).code(), Code::kVERSION_MISMATCH);
  EXPECT_EQ(txn->put_if_version(items, "a", "x", 0, 0).code(), Code::kVERSION_MISMATCH);
  EXPECT_TRUE(txn->put_if_version(items, "a", "3", version, 0).ok());
  EXPECT_TRUE(txn->put_if_version(items, "new", "4", 0, 0).ok());
  EXPECT_TRUE(txn->commit(true).ok());
  EXPECT_EQ(get(items, "a"), "3");
  EXPECT_EQ(get(items, "new"), "4");
  ASSERT_TRUE(txn->restart().ok());
  EXPECT_TRUE(txn->erase(items, "absent").ok());
  EXPECT_TRUE(txn->remove(items, "a").ok());
  RowView row;
  EXPECT_EQ(txn->get(items, "a", &row).code(), Code::kNOT_FOUND);
  EXPECT_TRUE(txn->commit(true).ok());
  EXPECT_EQ(get(items, "a"), "(none)");
}

TEST_F(TxnTest, ConflictNamesTheRowAndTheOtherCommit) {
  open();
  Table& items = table("items");
  put(items, "a", "1");
  auto mine = begin();
  RowView row;
  ASSERT_TRUE(mine->get(items, "a", &row).ok());
  auto other = begin();
  ASSERT_TRUE(other->put(items, "a", "2", 0).ok());
  ASSERT_TRUE(other->commit(true).ok());
  ASSERT_TRUE(mine->put(items, "b", "3", 0).ok());
  EXPECT_EQ(mine->commit(true).code(), Code::kCONFLICT);
  EXPECT_EQ(mine->obstacle().key, "a");
  EXPECT_EQ(mine->obstacle().other_csn, other->commit_csn());
  EXPECT_FALSE(mine->running());
  EXPECT_EQ(get(items, "b"), "(none)");
}

TEST_F(TxnTest, SnapshotsStandStillWhileMergesRun) {
  open();
  Table& items = table("items");
  for (int i = 0; i < 100; ++i) put(items, "k" + std::to_string(i), "v0");
  TxnOptions read_only;
  read_only.read_only = true;
  auto reader = begin(read_only);
  const std::string before = scan(*reader, items);
  for (int round = 1; round <= 3; ++round) {
    for (int i = 0; i < 100; i += 7) put(items, "k" + std::to_string(i), "v" + std::to_string(round));
    auto remover = begin();
    ASSERT_TRUE(remover->erase(items, "k" + std::to_string(round)).ok());
    ASSERT_TRUE(remover->commit(true).ok());
    const Status merged = db_->maintain(true);
    ASSERT_TRUE(merged.ok()) << merged.message();
    EXPECT_EQ(scan(*reader, items), before);
  }
  EXPECT_TRUE(reader->commit(true).ok());
  auto fresh = begin();
  EXPECT_NE(scan(*fresh, items), before);
  EXPECT_EQ(get(items, "k0"), "v3");
  EXPECT_EQ(get(items, "k1"), "(none)");
}

TEST_F(TxnTest, CursorsMergeOwnWritesOverlayAndBase) {
  open();
  Table& items = table("items");
  for (const char* key : {"a", "c", "e", "g"}) put(items, key, "base");
  ASSERT_TRUE(db_->maintain(true).ok());
  put(items, "b", "overlay");
  put(items, "c", "overlay");
  auto txn = begin();
  ASSERT_TRUE(txn->remove(items, "e").ok());
  ASSERT_TRUE(txn->put(items, "f", "own", 0).ok());
  ASSERT_TRUE(txn->put(items, "a", "own", 0).ok());
  EXPECT_EQ(scan(*txn, items), "a=own b=overlay c=overlay f=own g=base");
  Range reverse;
  reverse.reverse = true;
  EXPECT_EQ(scan(*txn, items, reverse), "g=base f=own c=overlay b=overlay a=own");
  Range bounded;
  bounded.low = "a";
  bounded.low_exclusive = true;
  bounded.high = "f";
  bounded.high_inclusive = true;
  bounded.skip = 1;
  bounded.limit = 2;
  EXPECT_EQ(scan(*txn, items, bounded), "c=overlay f=own");
  bounded.reverse = true;
  EXPECT_EQ(scan(*txn, items, bounded), "c=overlay b=overlay");
}

TEST_F(TxnTest, PhantomsAreConflicts) {
  open();
  Table& items = table("items");
  put(items, "b", "1");
  auto txn = begin();
  EXPECT_EQ(scan(*txn, items), "b=1");
  put(items, "c", "phantom");
  ASSERT_TRUE(txn->put(items, "sum", "1", 0).ok());
  EXPECT_EQ(txn->commit(true).code(), Code::kCONFLICT);
}

TEST_F(TxnTest, AScanThatStoppedEarlyDependsOnWhatItPassedOnly) {
  open();
  Table& items = table("items");
  for (const char* key : {"a", "b", "c", "d"}) put(items, key, "1");
  auto txn = begin();
  Range first_two;
  first_two.limit = 2;
  EXPECT_EQ(scan(*txn, items, first_two), "a=1 b=1");
  put(items, "c", "2");
  ASSERT_TRUE(txn->put(items, "x", "1", 0).ok());
  EXPECT_TRUE(txn->commit(true).ok());
}

TEST_F(TxnTest, SavepointsUndoWrites) {
  open();
  Table& items = table("items");
  auto txn = begin();
  ASSERT_TRUE(txn->put(items, "a", "1", 0).ok());
  Result<std::uint64_t> outer = txn->savepoint();
  ASSERT_TRUE(outer.ok());
  ASSERT_TRUE(txn->put(items, "a", "2", 0).ok());
  Result<std::uint64_t> inner = txn->savepoint();
  ASSERT_TRUE(inner.ok());
  ASSERT_TRUE(txn->put(items, "b", "3", 0).ok());
  ASSERT_TRUE(txn->rollback_to(inner.value()).ok());
  EXPECT_EQ(scan(*txn, items), "a=2");
  ASSERT_TRUE(txn->rollback_to(outer.value()).ok());
  EXPECT_EQ(scan(*txn, items), "a=1");
  EXPECT_EQ(txn->rollback_to(inner.value()).code(), Code::kINVALID_ARGUMENT);
  ASSERT_TRUE(txn->release(outer.value()).ok());
  ASSERT_TRUE(txn->commit(true).ok());
  EXPECT_EQ(get(items, "a"), "1");
  EXPECT_EQ(get(items, "b"), "(none)");
}

TEST_F(TxnTest, DeadlineAndIdleLimitEndATransaction) {
  open();
  Table& items = table("items");
  TxnOptions options;
  options.deadline_ms = 20;
  auto late = begin(options);
  options.deadline_ms = 0;
  options.idle_ms = 20;
  auto idle = begin(options);
  ASSERT_TRUE(late->put(items, "a", "1", 0).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(40));
  EXPECT_EQ(late->commit(true).code(), Code::kEXPIRED);
  RowView row;
  EXPECT_EQ(idle->get(items, "a", &row).code(), Code::kEXPIRED);
  EXPECT_FALSE(idle->running());
  EXPECT_EQ(get(items, "a"), "(none)");
}

TEST_F(TxnTest, ExpiredRowsAreHiddenThenSwept) {
  options_.sweep_interval_ms = 10;
  open();
  Table& items = table("items");
  put(items, "short", "1", 30);
  put(items, "long", "2", 1'000'000);
  EXPECT_EQ(get(items, "short"), "1");
  ASSERT_TRUE(db_->maintain(true).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  EXPECT_EQ(get(items, "short"), "(none)");
  EXPECT_EQ(get(items, "long"), "2");
  auto txn = begin();
  EXPECT_EQ(scan(*txn, items), "long=2");
  EXPECT_TRUE(txn->insert(items, "short", "3", 0).ok());
  EXPECT_TRUE(txn->commit(true).ok());
  EXPECT_EQ(get(items, "short"), "3");
  put(items, "gone", "4", 1);
  ASSERT_TRUE(db_->maintain(true).ok());
  std::this_thread::sleep_for(std::chrono::milliseconds(40));
  (void)db_->maintain(false).ok();
  std::this_thread::sleep_for(std::chrono::milliseconds(40));
  Result<DatabaseStats> stats = db_->stats();
  ASSERT_TRUE(stats.ok());
  EXPECT_GE(stats.value().rows_swept, 1u);
  EXPECT_EQ(get(items, "short"), "3");
}

TEST_F(TxnTest, ManyTransactionsRotateAndMergeASmallOverlay) {
  options_.overlay_bytes_max = 4u << 20;
  open();
  Table& items = table("items");
  const std::string value(1000, 'x');
  for (int i = 0; i < 20'000; ++i) {
    TxnOptions relaxed;
    relaxed.durability = Durability::kRelaxed;
    auto txn = begin(relaxed);
    ASSERT_TRUE(txn->put(items, "k" + std::to_string(i % 5000), value + std::to_string(i), 0).ok());
    const Status status = txn->commit(true);
    ASSERT_TRUE(status.ok()) << i << ": " << status.message();
  }
  for (int i = 0; i < 5000; i += 97) EXPECT_EQ(get(items, "k" + std::to_string(i)), value + std::to_string(15'000 + i));
  Result<DatabaseStats> stats = db_->stats();
  ASSERT_TRUE(stats.ok());
  EXPECT_GE(stats.value().merges, 3u);
  EXPECT_LE(stats.value().overlay.bytes_mapped, 4u << 20);
  close();
  open();
  Result<Table*> again = catalog_->open("items");
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(get(*again.value(), "k4999"), value + "19999");
}

// A reader that stays, and a trickle of commits that are merged again and again: what the reader pins must stay about
// as large as what was written, not grow by a whole segment with each merge.
TEST_F(TxnTest, MergesUnderAnOldReaderDoNotEatTheOverlay) {
  options_.overlay_bytes_max = 4u << 20;
  options_.background_thread = false;
  open();
  Table& items = table("items");
  put(items, "a", "0");
  TxnOptions read_only;
  read_only.read_only = true;
  auto reader = begin(read_only);
  for (int i = 1; i <= 50; ++i) {
    put(items, "a", std::to_string(i));
    put(items, "b" + std::to_string(i), "1");
    const Status merged = db_->maintain(true);
    ASSERT_TRUE(merged.ok()) << i << ": " << merged.message();
    Result<DatabaseStats> stats = db_->stats();
    ASSERT_TRUE(stats.ok());
    ASSERT_EQ(stats.value().applied, stats.value().published);
  }
  RowView row;
  ASSERT_TRUE(reader->get(items, "a", &row).ok());
  EXPECT_EQ(row.value, "0");
  EXPECT_EQ(scan(*reader, items), "a=0");
  reader->abort();
  EXPECT_EQ(get(items, "a"), "50");
  EXPECT_EQ(get(items, "b50"), "1");
  close();
  open();
  Result<Table*> again = catalog_->open("items");
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(get(*again.value(), "a"), "50");
  EXPECT_EQ(get(*again.value(), "b1"), "1");
}

TEST_F(TxnTest, LargeValuesAndLimits) {
  open();
  Table& items = table("items");
  const std::string large(kValueSizeMax, 'L');
  put(items, std::string(kKeySizeMax, 'k'), large);
  EXPECT_EQ(get(items, std::string(kKeySizeMax, 'k')), large);
  auto txn = begin();
  EXPECT_EQ(txn->put(items, "", "x", 0).code(), Code::kINVALID_ARGUMENT);
  EXPECT_EQ(txn->put(items, std::string(kKeySizeMax + 1, 'k'), "x", 0).code(), Code::kTOO_LARGE);
  EXPECT_EQ(txn->put(items, "a", large + "x", 0).code(), Code::kTOO_LARGE);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(txn->put(items, "large" + std::to_string(i), large, 0).ok());
  EXPECT_EQ(txn->put(items, "large3", large, 0).code(), Code::kTOO_LARGE);
  const Status status = txn->commit(true);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_EQ(get(items, "large2"), large);
  ASSERT_TRUE(db_->maintain(true).ok());
  EXPECT_EQ(get(items, "large1"), large);
}

TEST_F(TxnTest, ThreadsCountExactlyByRetrying) {
  open();
  Table& items = table("items");
  put(items, "counter", "0");
  constexpr int kThreads = 4;
  constexpr int kEach = 200;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      Transaction txn(db_);
      for (int i = 0; i < kEach;) {
        TxnOptions relaxed;
        relaxed.durability = Durability::kRelaxed;
        ASSERT_TRUE(txn.begin(relaxed).ok());
        RowView row;
        ASSERT_TRUE(txn.get(items, "counter", &row).ok());
        const int value = std::stoi(std::string(row.value));
        ASSERT_TRUE(txn.put(items, "counter", std::to_string(value + 1), 0).ok());
        const Status status = txn.commit(true);
        ASSERT_TRUE(status.ok() || status.code() == Code::kCONFLICT) << status.message();
        if (status.ok()) ++i;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(get(items, "counter"), std::to_string(kThreads * kEach));
}

}  // namespace
}  // namespace hf::txn
