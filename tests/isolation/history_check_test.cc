// SPDX-License-Identifier: Apache-2.0
// Goal: the check of histories sees what it is there for. Method: a small right history, and one planted wrong in
// each way that a broken engine could go wrong.
#include "isolation/history.h"

namespace hf::isolation {
namespace {

// csn 11: key 1 = 100. csn 12: read key 1, key 2 = 200. csn 13: scanned 1..3, erased key 1.
class HistoryCheck : public ::testing::Test {
 protected:
  HistoryCheck() {
    history_.push_back(record(10, 11, 1, {}, {{1, 100}}));
    history_.push_back(record(11, 12, 3, {{1, 11, 100}}, {{2, 200}}));
    history_.push_back(record(12, 13, 5, {}, {{1, 0}}));
    history_[2].scans.push_back({1, 3, {{1, 11, 100}, {2, 12, 200}}});
    Record reader = record(13, 0, 7, {{1, 0, 0}, {2, 12, 200}}, {});
    reader.read_only = true;
    history_.push_back(reader);
  }
  static Record record(Csn snapshot, Csn commit, std::uint64_t ns, std::vector<Seen> reads, std::vector<Write> writes) {
    Record made;
    made.committed = true;
    made.snapshot = snapshot;
    made.commit = commit;
    made.begun_ns = ns;
    made.answered_ns = ns + 1;
    made.reads = std::move(reads);
    made.writes = std::move(writes);
    return made;
  }
  void expect_complaint(const std::string& part) {
    const std::vector<std::string> complaints = explain(history_, 10);
    ASSERT_FALSE(complaints.empty()) << "not noticed: " << part;
    EXPECT_NE(complaints[0].find(part), std::string::npos) << complaints[0];
  }

  History history_;
};

TEST_F(HistoryCheck, ExplainsARightHistory) { EXPECT_EQ(explain(history_, 10), std::vector<std::string>()); }

TEST_F(HistoryCheck, SurvivesTheWayBetweenProcesses) {
  const History copy = decode(encode(history_));
  EXPECT_EQ(encode(copy), encode(history_));
  EXPECT_EQ(copy.size(), history_.size());
}

TEST_F(HistoryCheck, SeesAReadOverwrittenBeforeTheCommit) {
  history_.push_back(record(11, 14, 9, {{1, 11, 100}}, {{3, 300}}));  // key 1 is gone since 13
  expect_complaint("read key 1: saw 100 of csn 11, at csn 13 it was absent");
}

TEST_F(HistoryCheck, LetsTheSameReadPassAtSnapshotLevel) {
  history_.push_back(record(13, 14, 9, {{1, 0, 0}}, {{3, 300}}));
  Record late = record(11, 15, 1, {{1, 11, 100}, {2, 0, 0}}, {{4, 400}});
  late.answered_ns = 20;
  late.level = Isolation::kSnapshot;
  history_.push_back(late);
  EXPECT_EQ(explain(history_, 10), std::vector<std::string>());
}

TEST_F(HistoryCheck, SeesAnAbsenceThatDidNotHold) {
  history_[1].reads = {{1, 0, 0}};
  expect_complaint("read key 1: saw absent");
}

TEST_F(HistoryCheck, SeesAPhantom) {
  history_[2].scans[0].rows.pop_back();
  expect_complaint("scan of key 2: saw absent");
}

TEST_F(HistoryCheck, SeesARowThatAScanMadeUp) {
  history_[2].scans[0].rows.push_back({3, 12, 7});
  expect_complaint("scan of key 3: saw 7");
}

TEST_F(HistoryCheck, SeesARowOutOfOrder) {
  std::swap(history_[2].scans[0].rows[0], history_[2].scans[0].rows[1]);
  expect_complaint("scan of key 1");
}

TEST_F(HistoryCheck, SeesAWrongValueOfTheRightVersion) {
  history_[3].reads[1].value = 201;
  expect_complaint("read key 2: saw 201");
}

TEST_F(HistoryCheck, SeesALostCommit) {
  history_.erase(history_.begin() + 1);
  expect_complaint("the next csn was to be 12");
}

TEST_F(HistoryCheck, SeesOneCsnTwice) {
  history_.push_back(record(12, 13, 5, {}, {{9, 900}}));
  expect_complaint("the next csn was to be 14");
}

TEST_F(HistoryCheck, SeesASecondCommitterAtSnapshotLevel) {
  Record late = record(12, 14, 5, {}, {{1, 500}});
  late.level = Isolation::kSnapshot;
  history_.push_back(late);
  expect_complaint("wrote key 1, which csn 13 wrote first");
}

TEST_F(HistoryCheck, SeesASnapshotThatMissesAnAnsweredCommit) {
  Record stale = record(12, 0, 9, {{1, 11, 100}}, {});
  history_.push_back(stale);
  expect_complaint("began after commit 13 was answered");
}

}  // namespace
}  // namespace hf::isolation
