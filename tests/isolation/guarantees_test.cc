// SPDX-License-Identifier: Apache-2.0
// Goal: what docs/isolation.md promises beside the table. Method: interleavings in one thread, as in anomalies.cc, each
// with the case that must be refused beside the one that must not.
#include <chrono>
#include <thread>

#include "isolation/fixture.h"

namespace hf::isolation {
namespace {

constexpr Isolation kAllLevels[] = {Isolation::kReadCommitted, Isolation::kSnapshot, Isolation::kSerializable};

class Guarantees : public ::testing::Test {
 protected:
  Guarantees() : table_(world_.table()) {}

  Actor begin(Isolation level = Isolation::kSerializable) { return Actor(world_, table_, at_level(level)); }
  Actor begin_read_only() { return Actor(world_, table_, at_level(Isolation::kSerializable, true)); }
  Csn put(Bytes key, Bytes value) {
    Actor actor = begin();
    actor.put(key, value);
    EXPECT_EQ(actor.commit(), Code::kOK);
    return actor.txn().commit_csn();
  }
  void erase(Bytes key) {
    Actor actor = begin();
    actor.erase(key);
    EXPECT_EQ(actor.commit(), Code::kOK);
  }
  // How the commit of `actor` ends when it has something to write that nobody else touches.
  Code commit_with_a_write(Actor& actor) {
    actor.put("own row", "1");
    return actor.commit();
  }

  World world_;
  txn::Table& table_;
};

// --- order
// ------------------------------------------------------------------------------------------------------------

TEST_F(Guarantees, TransactionSeesEveryCommitAnsweredBeforeItBegan) {
  for (int i = 0; i < 200; ++i) {
    const Csn csn = put("x", std::to_string(i));
    if (i % 50 == 49) world_.merge();
    for (const Isolation level : kAllLevels) {
      Actor later = begin(level);
      EXPECT_GE(later.txn().snapshot_csn(), csn);
      EXPECT_EQ(later.number("x"), i);
      EXPECT_EQ(later.version("x"), csn);
    }
  }
}

TEST_F(Guarantees, CsnsAreDenseAndInOrder) {
  Csn last = put("x", "0");
  for (int i = 0; i < 20; ++i) {
    Actor reader = begin_read_only();
    reader.get("x");
    EXPECT_EQ(reader.commit(), Code::kOK);
    EXPECT_EQ(reader.txn().commit_csn(), 0u) << "a transaction that wrote nothing takes no csn";
    const Csn csn = put("x", "1");
    EXPECT_EQ(csn, last + 1);
    last = csn;
  }
}

TEST_F(Guarantees, ReadOnlyTransactionSeesOnePointWhileMergesRunUnderneath) {
  for (int i = 0; i < 100; ++i) put("k" + std::to_string(100 + i), "0");
  Actor half_merged = begin_read_only();
  world_.merge();
  put("k150", "1");
  Actor merged = begin_read_only();
  const Rows old_rows = half_merged.scan(), new_rows = merged.scan();
  const std::uint64_t merges_before = world_.merges();
  for (int round = 1; round <= 20; ++round) {
    put("k" + std::to_string(100 + round), std::to_string(round));
    erase("k" + std::to_string(199 - round));
    put("new" + std::to_string(round), "1");
    world_.merge();
    EXPECT_EQ(half_merged.scan(), old_rows);
    EXPECT_EQ(merged.scan(), new_rows);
    EXPECT_EQ(half_merged.get("k150"), "0");
    EXPECT_EQ(merged.get("k150"), "1");
    EXPECT_EQ(merged.get("new1"), "-");
  }
  EXPECT_GE(world_.merges(), merges_before + 2) << "nothing was merged underneath";
  EXPECT_EQ(half_merged.commit(), Code::kOK);
  EXPECT_EQ(merged.commit(), Code::kOK);
  EXPECT_EQ(world_.merge(), Code::kOK) << "with nobody in its way, a merge is never refused";
  EXPECT_EQ(begin_read_only().scan().size(), 100u);
}

TEST_F(Guarantees, CursorHeldAcrossMergesGoesOnWhereItWas) {
  for (int i = 0; i < 30; ++i) put("k" + std::to_string(10 + i), std::to_string(i));
  Actor reader = begin_read_only();
  txn::RowCursor cursor(reader.txn());
  ASSERT_OK(cursor.open(table_, {}));
  for (int i = 0; i < 30; ++i) {
    if (i % 7 == 3) {
      for (int j = 0; j < 30; j += 2) erase("k" + std::to_string(10 + j));
      put("k" + std::to_string(10 + i), "changed");
      world_.merge();
    }
    Bytes key;
    txn::RowView row;
    ASSERT_OK(cursor.next(&key, &row));
    EXPECT_EQ(key, "k" + std::to_string(10 + i));
    EXPECT_EQ(row.value, std::to_string(i));
  }
}

TEST_F(Guarantees, ReadCommittedMovesItsSnapshotForwardWithEachStatement) {
  put("x", "0");
  Actor follower = begin(Isolation::kReadCommitted);
  txn::RowView first;
  ASSERT_OK(follower.txn().get(table_, "x", &first));
  Csn last = follower.txn().snapshot_csn();
  for (int i = 1; i <= 8; ++i) {
    const Csn csn = put("x", std::to_string(i));
    world_.merge();
    EXPECT_EQ(follower.number("x"), i);
    EXPECT_GE(follower.txn().snapshot_csn(), csn);
    EXPECT_GT(follower.txn().snapshot_csn(), last);
    last = follower.txn().snapshot_csn();
    EXPECT_EQ(first.value, "0") << "bytes handed out stay valid until the transaction ends";
  }
  EXPECT_EQ(commit_with_a_write(follower), Code::kOK);
}

TEST_F(Guarantees, OtherLevelsKeepTheirSnapshotAndRestartTakesANewOne) {
  put("x", "0");
  for (const Isolation level : {Isolation::kSnapshot, Isolation::kSerializable}) {
    Actor keeper = begin(level);
    const Csn snapshot = keeper.txn().snapshot_csn();
    const std::string before = keeper.get("x");
    const Csn csn = put("x", before + "1");
    EXPECT_EQ(keeper.get("x"), before);
    EXPECT_EQ(keeper.txn().snapshot_csn(), snapshot);
    keeper.abort();
    ASSERT_OK(keeper.txn().restart());
    EXPECT_EQ(keeper.txn().snapshot_csn(), csn);
    EXPECT_EQ(keeper.get("x"), before + "1");
  }
}

// --- what a conflict is, and what is none
// -----------------------------------------------------------------------------

TEST_F(Guarantees, AbsenceIsValidated) {
  Actor refused = begin(), other = begin();
  EXPECT_EQ(refused.get("gone"), "-");
  EXPECT_EQ(other.get("gone too"), "-");
  put("gone", "1");
  EXPECT_EQ(commit_with_a_write(refused), Code::kCONFLICT);
  EXPECT_EQ(commit_with_a_write(other), Code::kOK);

  Actor outlived = begin();  // there and gone again is a change all the same
  EXPECT_EQ(outlived.get("short"), "-");
  put("short", "1");
  erase("short");
  EXPECT_EQ(commit_with_a_write(outlived), Code::kCONFLICT);
}

TEST_F(Guarantees, BlindWritesNeverConflict) {
  put("x", "0");
  for (const Isolation level : {Isolation::kReadCommitted, Isolation::kSerializable}) {
    Actor first = begin(level), second = begin(level), third = begin(level);
    first.put("x", 1);
    second.put("x", 2);
    third.erase("x");
    EXPECT_EQ(first.commit(), Code::kOK);
    EXPECT_EQ(third.commit(), Code::kOK);
    EXPECT_EQ(second.commit(), Code::kOK);
    EXPECT_EQ(begin_read_only().get("x"), "2") << "the order of the commits decides";
  }
}

TEST_F(Guarantees, ReadingItsOwnWriteIsNoDependency) {
  put("x", "0");
  Actor writer = begin();
  writer.put("x", 1);
  EXPECT_EQ(writer.number("x"), 1);
  put("x", "2");
  EXPECT_EQ(writer.commit(), Code::kOK);
}

TEST_F(Guarantees, CommitWithoutWritesNeverFails) {
  put("x", "0");
  for (const Isolation level : kAllLevels) {
    Actor reader = begin(level);
    reader.get("x");
    reader.scan();
    EXPECT_EQ(reader.insert("x", "1"), Code::kEXISTS);
    put("x", "1");
    EXPECT_EQ(reader.commit(), Code::kOK);
  }
}

TEST_F(Guarantees, RowsThatExpireConflictWithNobody) {
  Actor setup = begin();
  ASSERT_OK(setup.txn().put(table_, "short", "1", 40));
  ASSERT_EQ(setup.commit(), Code::kOK);
  Actor reader = begin();
  EXPECT_EQ(reader.get("short"), "1");
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  EXPECT_EQ(reader.get("short"), "1") << "one instant for the whole transaction";
  EXPECT_EQ(begin().get("short"), "-");
  Actor inserter = begin();
  EXPECT_EQ(inserter.insert("short", "2"), Code::kOK);
  inserter.abort();
  EXPECT_EQ(commit_with_a_write(reader), Code::kOK);
}

// --- savepoints
// -------------------------------------------------------------------------------------------------------

TEST_F(Guarantees, RollingBackUndoesWritesButNotReads) {
  put("x", "0");
  Actor actor = begin();
  actor.put("y", 1);
  Result<std::uint64_t> savepoint = actor.txn().savepoint();
  ASSERT_TRUE(savepoint.ok());
  EXPECT_EQ(actor.number("x"), 0);
  actor.put("y", 2);
  actor.put("z", 2);
  ASSERT_OK(actor.txn().rollback_to(*savepoint));
  EXPECT_EQ(actor.scan(), (Rows{{"x", "0"}, {"y", "1"}}));
  put("x", "1");
  EXPECT_EQ(actor.commit(), Code::kCONFLICT) << "the read of x was made, and acted upon";
}

TEST_F(Guarantees, WritesRolledBackConflictWithNobody) {
  put("x", "0");
  for (const Isolation level : kAllLevels) {
    Actor actor = begin(level);
    actor.put("y", 1);
    Result<std::uint64_t> savepoint = actor.txn().savepoint();
    ASSERT_TRUE(savepoint.ok());
    actor.put("x", 5);
    ASSERT_OK(actor.txn().rollback_to(*savepoint));
    const Csn csn = put("x", "1");
    EXPECT_EQ(actor.commit(), Code::kOK);
    EXPECT_EQ(begin().version("x"), csn);
  }
}

// --- reports
// ----------------------------------------------------------------------------------------------------------

TEST_F(Guarantees, ConflictReportNamesTableKeyAndCommit) {
  txn::Table& other_table = world_.table("other");
  put("x", "0");
  Actor reader = begin();
  reader.get("a");
  reader.get("x");
  txn::RowView row;
  EXPECT_EQ(reader.txn().get(other_table, "x", &row).code(), Code::kNOT_FOUND);
  const Csn csn = put("x", "1");
  ASSERT_EQ(commit_with_a_write(reader), Code::kCONFLICT);
  const txn::Obstacle& obstacle = reader.txn().obstacle();
  EXPECT_EQ(world_.catalog().name_of_data(obstacle.table), "rows");
  EXPECT_EQ(obstacle.key, "x");
  EXPECT_EQ(obstacle.other_csn, csn);
}

TEST_F(Guarantees, ConflictReportOfARangeNamesTableAndCommit) {
  txn::Table& other_table = world_.table("other");
  Actor reader = begin();
  reader.scan();
  txn::RowCursor cursor(reader.txn());
  ASSERT_OK(cursor.open(other_table, {}));
  Bytes key;
  txn::RowView row;
  ASSERT_EQ(cursor.next(&key, &row).code(), Code::kEND);
  Actor writer(world_, other_table, at_level(Isolation::kSerializable));
  writer.put("p", 1);
  ASSERT_EQ(writer.commit(), Code::kOK);
  ASSERT_EQ(commit_with_a_write(reader), Code::kCONFLICT);
  EXPECT_EQ(world_.catalog().name_of_data(reader.txn().obstacle().table), "other");
  EXPECT_EQ(reader.txn().obstacle().other_csn, writer.txn().commit_csn());
}

TEST_F(Guarantees, ConflictReportOfFirstCommitterWinsNamesTheRow) {
  Actor loser = begin(Isolation::kSnapshot);
  loser.put("w", 1);
  const Csn csn = put("w", "2");
  ASSERT_EQ(loser.commit(), Code::kCONFLICT);
  EXPECT_EQ(loser.txn().obstacle().key, "w");
  EXPECT_EQ(loser.txn().obstacle().other_csn, csn);
  EXPECT_EQ(world_.catalog().name_of_data(loser.txn().obstacle().table), "rows");
}

}  // namespace
}  // namespace hf::isolation
