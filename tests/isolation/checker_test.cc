// SPDX-License-Identifier: Apache-2.0
// Goal: the checker of histories (tests/histories) finds each anomaly where a level forbids it, admits it where the
// level does, and has nothing to say against what is right. Method: small histories written by hand, one for each
// anomaly; and random serial ones, which are right, and wrong as soon as one read is made older.
#include "histories/checker.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "histories/graph.h"

namespace histories {
namespace {

constexpr Key kX = make_key(Space::kRegister, 1), kY = make_key(Space::kRegister, 2),
              kZ = make_key(Space::kRegister, 3);
constexpr Key kList = make_key(Space::kList, 1), kOther = make_key(Space::kList, 2);
constexpr Key kCounter = make_key(Space::kCounter, 1), kStock = make_key(Space::kStock, 1);
constexpr Key row(std::uint64_t range, std::uint64_t position) { return make_key(Space::kRow, range, 0, position); }

// A transaction, call by call. Unless told otherwise all begin at 10, ask to commit at 100 and are answered at 200.
class T {
 public:
  explicit T(Level level = Level::kSerializable) {
    txn_.level = level;
    txn_.outcome = Outcome::kCommitted;
    at(10, 100, 200);
  }
  T& at(std::uint64_t begun, std::uint64_t commit, std::uint64_t ended) {
    txn_.begun_ns = begun * 100;
    txn_.commit_ns = commit * 100;
    txn_.ended_ns = ended * 100;
    return *this;
  }
  T& aborted() {
    txn_.outcome = Outcome::kAborted;
    return *this;
  }
  T& in_doubt() {
    txn_.outcome = Outcome::kUnknown;
    txn_.ended_ns = 0;
    return *this;
  }
  T& read(Key key, Value value) { return op(OpKind::kRead, key, value); }
  T& locked(Key key, Value value) {
    op(OpKind::kRead, key, value);
    txn_.ops.back().holds = true;
    return *this;
  }
  T& list(Key key, const std::vector<Value>& values) {
    op(OpKind::kRead, key, values.empty() ? 0 : values.back());
    for (const Value value : values) txn_.ops.back().items.push_back({0, value});
    return *this;
  }
  T& write(Key key, Value value) { return op(OpKind::kWrite, key, value); }
  T& append(Key key, Value value) { return op(OpKind::kAppend, key, value); }
  T& scan(Key low, Key high, const std::vector<Item>& items) {
    op(OpKind::kScan, low, 0);
    txn_.ops.back().high = high;
    txn_.ops.back().items = items;
    return *this;
  }
  T& add(Key key, std::int64_t delta, std::int64_t after, std::int64_t min = INT64_MIN, std::int64_t max = INT64_MAX) {
    op(OpKind::kAdd, key, static_cast<Value>(delta));
    txn_.ops.back().min = min;
    txn_.ops.back().max = max;
    txn_.after.push_back({key, static_cast<Value>(after)});
    return *this;
  }
  // The last two calls were parts of one.
  T& together() {
    txn_.ops.back().begun_ns = txn_.ops[txn_.ops.size() - 2].begun_ns;
    return *this;
  }
  T& savepoint() { return op(OpKind::kSavepoint, 0, 0); }
  T& rollback() { return op(OpKind::kRollback, 0, 0); }
  operator Txn() const { return txn_; }  // NOLINT(google-explicit-constructor): a history is a list of them

 private:
  T& op(OpKind kind, Key key, Value value) {
    Op op;
    op.kind = kind;
    op.key = key;
    op.value = value;
    op.begun_ns = txn_.begun_ns + txn_.ops.size() + 1;
    txn_.ops.push_back(op);
    return *this;
  }

  Txn txn_;
};

void expect_right(const History& history) {
  for (const Anomaly& anomaly : check(history).anomalies) ADD_FAILURE() << anomaly.kind << ": " << anomaly.text;
}

void expect_anomaly(const History& history, const std::string& kind) {
  const Report report = check(history);
  ASSERT_FALSE(report.anomalies.empty()) << "not noticed: " << kind;
  EXPECT_EQ(report.anomalies[0].kind, kind) << report.anomalies[0].text;
  EXPECT_FALSE(report.anomalies[0].text.empty());
}

constexpr Level kLevels[] = {Level::kSerializable, Level::kSnapshot, Level::kReadCommitted};

// --- what is right ---------------------------------------------------------------------------------------------------

TEST(HistoriesChecker, HasNothingAgainstAnEmptyHistory) { expect_right({}); }

TEST(HistoriesChecker, HasNothingAgainstASerialHistoryOfEveryKind) {
  for (const Level level : kLevels) {
    expect_right({
        T(level).at(1, 2, 3).list(kList, {}).append(kList, 11).read(kX, 0).write(kX, 12),
        T(level).at(4, 5, 6).list(kList, {11}).append(kList, 21).append(kList, 22).list(kList, {11, 21, 22}),
        T(level).at(7, 8, 9).read(row(1, 1), 0).write(row(1, 1), 31).scan(row(1, 0), row(1, 9), {{row(1, 1), 31}}),
        T(level).at(10, 11, 12).read(row(1, 1), 31).write(row(1, 1), 0).scan(row(1, 0), row(1, 9), {}),
        T(level).at(13, 14, 15).scan(row(1, 0), row(1, 9), {}).read(row(1, 1), 0).write(row(1, 1), 51),
        T(level).at(16, 17, 18).list(kList, {11, 21, 22}).read(kX, 12).scan(row(1, 0), row(1, 9), {{row(1, 1), 51}}),
        T(level).at(19, 20, 21).add(kCounter, 3, 3).add(kStock, 5, 5, 0, 9),
        T(level).at(22, 23, 24).read(kCounter, 3).add(kCounter, 2, 5).read(kCounter, 5).add(kStock, -5, 0, 0, 9),
        T(level).at(25, 26, 27).savepoint().write(kX, 91).read(kX, 91).rollback().read(kX, 12).read(kStock, 0),
    });
  }
}

TEST(HistoriesChecker, LetsConcurrentTransactionsComeInAnyOrder) {
  expect_right({T().write(kX, 1), T().read(kX, 1).read(kY, 2), T().write(kY, 2), T().read(kX, 1).read(kY, 0),
                T().read(kX, 0).read(kY, 0)});
}

// --- what a single transaction shows ---------------------------------------------------------------------------------

TEST(HistoriesChecker, FindsAnAbortedRead) {
  for (const Level level : kLevels) expect_anomaly({T(level).write(kX, 1).aborted(), T(level).read(kX, 1)}, "G1a");
}

TEST(HistoriesChecker, FindsAnIntermediateRead) {
  for (const Level level : kLevels) {
    expect_anomaly({T(level).write(kX, 1).write(kX, 2), T(level).read(kX, 1)}, "G1b");
    expect_anomaly({T(level).savepoint().write(kX, 1).rollback(), T(level).read(kX, 1)}, "G1b");
    expect_anomaly({T(level).list(kList, {}).append(kList, 1).append(kList, 2), T(level).list(kList, {1})}, "G1b");
  }
}

TEST(HistoriesChecker, FindsAValueThatNobodyWrote) { expect_anomaly({T().read(kX, 77)}, "garbage read"); }

TEST(HistoriesChecker, FindsThatATransactionDoesNotSeeItsOwnWrites) {
  expect_anomaly({T().write(kX, 1).read(kX, 0)}, "internal");
  expect_anomaly({T().write(row(1, 1), 1).scan(row(1, 0), row(1, 9), {})}, "internal");
  expect_anomaly({T().list(kList, {}).append(kList, 1).list(kList, {})}, "internal");
}

TEST(HistoriesChecker, FindsRowsOutOfOrder) {
  expect_anomaly({T().at(1, 2, 3).write(row(1, 1), 1).write(row(1, 2), 2),
                  T().at(4, 5, 6).scan(row(1, 0), row(1, 9), {{row(1, 2), 2}, {row(1, 1), 1}})},
                 "internal");
}

TEST(HistoriesChecker, RefusesValuesThatAreNotUnique) {
  expect_anomaly({T().write(kX, 1), T().write(kX, 1)}, "not unique");
}

TEST(HistoriesChecker, FindsListsOfDifferentOrder) {
  expect_anomaly({T().list(kList, {}).append(kList, 1), T().list(kList, {1}).append(kList, 2), T().list(kList, {2, 1})},
                 "incompatible order");
}

// --- cycles ----------------------------------------------------------------------------------------------------------

TEST(HistoriesChecker, FindsACycleOfWrites) {
  for (const Level level : kLevels) {
    expect_anomaly({T(level).list(kList, {}).append(kList, 1).list(kOther, {2}).append(kOther, 3),
                    T(level).list(kList, {1}).append(kList, 4).list(kOther, {}).append(kOther, 2)},
                   "G0");
  }
}

TEST(HistoriesChecker, FindsCircularInformationFlow) {
  expect_anomaly({T().write(kX, 1).read(kY, 2), T().write(kY, 2).read(kX, 1)}, "G1c");
  const Level level = Level::kSnapshot;
  expect_anomaly({T(level).write(kX, 1).read(kY, 2), T(level).write(kY, 2).read(kX, 1)}, "G1c");
}

TEST(HistoriesChecker, FindsReadSkew) {
  for (const Level level : {Level::kSerializable, Level::kSnapshot}) {
    expect_anomaly({T(level).write(kX, 1).write(kY, 2), T(level).read(kX, 1).read(kY, 0)}, "G-single");
  }
  expect_right({T().write(kX, 1).write(kY, 2), T(Level::kReadCommitted).read(kY, 0).read(kX, 1)});
}

TEST(HistoriesChecker, FindsReadSkewOfAnAbortedTransaction) {
  expect_anomaly({T().write(kX, 1).write(kY, 2), T().read(kX, 1).read(kY, 0).aborted()}, "G-single");
}

TEST(HistoriesChecker, FindsAStatementThatSeesHalfOfACommit) {
  expect_anomaly({T().write(row(1, 1), 1).write(row(1, 2), 2),
                  T(Level::kReadCommitted).scan(row(1, 0), row(1, 9), {{row(1, 1), 1}})},
                 "G-single (phantom)");
  expect_anomaly({T().write(kX, 1).write(kY, 2), T(Level::kReadCommitted).read(kY, 0).read(kX, 1).together()},
                 "G-single");
}

TEST(HistoriesChecker, FindsALostUpdateWhereTheLevelForbidsIt) {
  for (const Level level : {Level::kSerializable, Level::kSnapshot}) {
    expect_anomaly({T(level).read(kX, 0).write(kX, 1), T(level).read(kX, 0).write(kX, 2)}, "lost update");
  }
  const Level level = Level::kReadCommitted;
  const History history{T(level).read(kX, 0).write(kX, 1), T(level).read(kX, 0).write(kX, 2)};
  expect_right(history);
  EXPECT_EQ(check(history).lost_updates, 1u);
  expect_anomaly({T(level).locked(kX, 0).write(kX, 1), T(level).locked(kX, 0).write(kX, 2)}, "lost update");
}

TEST(HistoriesChecker, FindsWriteSkewAndAdmitsItAtSnapshotLevel) {
  const auto history = [](Level level) {
    return History{T(level).read(kX, 0).read(kY, 0).write(kX, 1), T(level).read(kX, 0).read(kY, 0).write(kY, 2)};
  };
  expect_anomaly(history(Level::kSerializable), "G2-item");
  expect_right(history(Level::kSnapshot));
  EXPECT_EQ(check(history(Level::kSnapshot)).write_skews, 1u);
  EXPECT_EQ(check(history(Level::kSnapshot)).phantom_skews, 0u);
  expect_right(history(Level::kReadCommitted));
}

TEST(HistoriesChecker, FindsWriteSkewOverRanges) {
  const auto history = [](Level level) {
    return History{T(level).scan(row(1, 0), row(1, 9), {}).write(row(2, 5), 1),
                   T(level).scan(row(2, 0), row(2, 9), {}).write(row(1, 5), 2)};
  };
  expect_anomaly(history(Level::kSerializable), "G2");
  expect_right(history(Level::kSnapshot));
  EXPECT_EQ(check(history(Level::kSnapshot)).phantom_skews, 1u);
}

TEST(HistoriesChecker, MixesLevels) {
  // The serializable one of a write skew was to be refused; that it met a snapshot one does not matter to it.
  expect_right({T().read(kX, 0).write(kY, 1), T(Level::kSnapshot).read(kY, 0).write(kX, 2)});
  expect_anomaly(
      {T().read(kX, 0).write(kY, 1), T().read(kY, 1).read(kX, 2), T(Level::kSnapshot).read(kY, 0).write(kX, 2),
       T().at(300, 400, 500).read(kX, 2), T().at(300, 400, 500).read(kY, 1), T().read(kX, 2).read(kY, 0)},
      "G2-item");
}

TEST(HistoriesChecker, FindsAPhantom) {
  expect_anomaly({T().write(row(1, 5), 1).write(kX, 2), T().read(kX, 2).scan(row(1, 0), row(1, 9), {})},
                 "G-single (phantom)");
}

TEST(HistoriesChecker, FindsALongForkAtSnapshotLevel) {
  const Level level = Level::kSnapshot;
  expect_anomaly({T(level).write(kX, 1), T(level).write(kY, 2), T(level).read(kX, 1).read(kY, 0),
                  T(level).read(kX, 0).read(kY, 2)},
                 "G2-item");
}

TEST(HistoriesChecker, FindsThatTheFirstCommitterDidNotWin) {
  const Level level = Level::kSnapshot;
  expect_anomaly({T(level).at(20, 25, 30).write(kX, 1).write(kY, 2), T(level).at(10, 40, 50).read(kY, 0).write(kX, 3)},
                 "G-single");
  expect_right({T().at(20, 25, 30).write(kX, 1), T().at(10, 40, 50).read(kY, 0).write(kX, 3)});
}

TEST(HistoriesChecker, FindsThatALockDidNotHold) {
  const Level level = Level::kReadCommitted;
  const History history{T(level).at(10, 100, 110).locked(kX, 0).write(kY, 1), T(level).at(20, 30, 40).write(kX, 2)};
  expect_anomaly(history, "G-single, real time violated");
  expect_right({T(level).at(10, 100, 110).read(kX, 0).write(kY, 1), T(level).at(20, 30, 40).write(kX, 2)});
}

// --- time ------------------------------------------------------------------------------------------------------------

TEST(HistoriesChecker, FindsAReadOfThePast) {
  for (const Level level : kLevels) {
    expect_anomaly({T(level).at(1, 2, 3).write(kX, 1), T(level).at(4, 5, 6).read(kX, 0)},
                   "G-single, real time violated");
    expect_anomaly({T(level).at(1, 2, 3).write(row(1, 1), 1), T(level).at(4, 5, 6).scan(row(1, 0), row(1, 9), {})},
                   "G-single (phantom), real time violated");
  }
}

TEST(HistoriesChecker, FindsAReadOfTheFuture) {
  expect_anomaly({T().at(1, 2, 3).read(kX, 1), T().at(4, 5, 6).write(kX, 1)}, "G1c, real time violated");
}

TEST(HistoriesChecker, FindsADeletedRowThatIsStillThere) {
  expect_anomaly({T().at(1, 2, 3).read(row(1, 1), 0).write(row(1, 1), 1),
                  T().at(4, 5, 6).read(row(1, 1), 1).write(row(1, 1), 0), T().at(7, 8, 9).read(row(1, 1), 1)},
                 "G-single, real time violated");
}

TEST(HistoriesChecker, FindsAnUpdateThatCommittedOnAnOldRead) {
  const History history{T().at(10, 40, 50).read(kX, 0).write(kY, 1), T().at(20, 25, 30).write(kX, 2)};
  expect_anomaly(history, "G-single, commit order violated");
  const Level level = Level::kSnapshot;
  expect_right({T(level).at(10, 40, 50).read(kX, 0).write(kY, 1), T(level).at(20, 25, 30).write(kX, 2)});
}

// --- doubt -----------------------------------------------------------------------------------------------------------

TEST(HistoriesChecker, CountsWhatIsInDoubtWhenSomebodySawIt) {
  const History unseen{T().write(kX, 1).write(kY, 2).in_doubt(), T().read(kX, 0)};
  expect_right(unseen);
  EXPECT_EQ(check(unseen).in_doubt_seen, 0u);
  const History seen{T().write(kX, 1).write(kY, 2).in_doubt(), T().read(kX, 1).read(kY, 2)};
  expect_right(seen);
  EXPECT_EQ(check(seen).in_doubt_seen, 1u);
  expect_anomaly({T().write(kX, 1).write(kY, 2).in_doubt(), T().read(kX, 1).read(kY, 0)}, "G-single");
}

TEST(HistoriesChecker, DoesNotGuessWhichAbsenceWasSeen) {
  const History history{T().read(row(1, 1), 0).write(row(1, 1), 1), T().read(row(1, 1), 1).write(row(1, 1), 0),
                        T().at(10, 150, 200).scan(row(1, 0), row(1, 9), {})};
  expect_right(history);
  EXPECT_GT(check(history).absences_ambiguous, 0u);
}

// --- counters --------------------------------------------------------------------------------------------------------

TEST(HistoriesChecker, FindsALostAdd) {
  expect_anomaly({T().add(kCounter, 2, 2), T().add(kCounter, 2, 2)}, "lost update");
  expect_anomaly({T().add(kCounter, 2, 2), T().add(kCounter, 3, 3)}, "lost update");
  expect_anomaly({T().add(kStock, 2, 2, 0, 9), T().add(kStock, 3, 3, 0, 9)}, "lost update");
}

TEST(HistoriesChecker, FindsAddsFromNowhere) {
  expect_anomaly({T().add(kCounter, 2, 7)}, "garbage read");
  expect_right({T().add(kCounter, 2, 7), T().add(kCounter, 5, 0).in_doubt()});
  expect_anomaly({T().add(kStock, 2, 7, 0, 9)}, "lost update");
  expect_anomaly({T().add(kStock, 2, 2, 0, 9), T().read(kStock, 4)}, "garbage read");
}

TEST(HistoriesChecker, FindsACounterOutOfItsBounds) {
  expect_anomaly({T().add(kStock, 7, 7, 0, 9), T().add(kStock, 4, 11, 0, 9)}, "out of bounds");
}

TEST(HistoriesChecker, FindsASkewOverACounter) {
  expect_anomaly({T().add(kCounter, 2, 2).write(kX, 1), T().read(kCounter, 0).read(kX, 1)}, "G-single");
  expect_right({T(Level::kSnapshot).add(kCounter, 2, 2), T(Level::kSnapshot).add(kCounter, 2, 4)});
}

// --- at random -------------------------------------------------------------------------------------------------------

// A serial history over few rows; `spoiled` gets the value before the last of one register in place of the last.
History serial(std::uint64_t seed, bool spoil, bool* spoiled) {
  std::mt19937_64 random(seed);
  std::map<Key, Value> rows;
  std::map<Key, Value> before;
  History history;
  Value fresh = 0;
  for (std::uint64_t i = 0; i < 60; ++i) {
    T txn(kLevels[random() % 3]);
    txn.at(10 * i + 1, 10 * i + 5, 10 * i + 9);
    const std::map<Key, Value> was = rows, was_before = before;
    for (int step = 0; step < 4; ++step) {
      const Key key = random() % 2 == 0 ? make_key(Space::kRegister, random() % 3) : row(1, random() % 4);
      const Value value = rows.contains(key) ? rows[key] : 0;
      const bool own = was.contains(key) != rows.contains(key) || (was.contains(key) && was.at(key) != value);
      if (spoil && !*spoiled && i > 40 && !own && before.contains(key) && space_of(key) == Space::kRegister) {
        txn.read(key, before[key]);
        *spoiled = true;
      } else {
        txn.read(key, value);
      }
      if (random() % 3 != 0) continue;
      const bool erase = value != 0 && space_of(key) == Space::kRow && random() % 2 == 0;
      const Value written = erase ? 0 : ++fresh;
      if (!own && value != 0) before[key] = value;
      txn.write(key, written);
      if (erase)
        rows.erase(key);
      else
        rows[key] = written;
    }
    if (random() % 8 == 0) {
      txn.aborted();
      rows = was;
      before = was_before;
    }
    history.push_back(txn);
  }
  return history;
}

TEST(HistoriesChecker, HasNothingAgainstSerialHistoriesAndSeesOneOldRead) {
  int spoiled_count = 0;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    bool spoiled = false;
    expect_right(serial(seed, false, &spoiled));
    const History wrong = serial(seed, true, &spoiled);
    if (!spoiled) continue;
    ++spoiled_count;
    EXPECT_FALSE(check(wrong).anomalies.empty());
  }
  EXPECT_GT(spoiled_count, 200);
}

// --- the graph -------------------------------------------------------------------------------------------------------

TEST(HistoriesGraph, FindsComponentsAndTheShortestCycleOfAMask) {
  Graph graph;
  for (int i = 0; i < 7; ++i) graph.add_node();
  const auto edge = [&graph](Node from, Node to, std::uint8_t kind, std::uint8_t length = 1) {
    graph.add_edge({from, to, kind, length, 0});
  };
  edge(0, 1, 0), edge(1, 2, 0), edge(2, 3, 0), edge(3, 0, 1);  // a ring that needs kind 1
  edge(2, 0, 2);                                               // a short cut of kind 2
  edge(4, 5, 0), edge(5, 4, 0);                                // another ring
  edge(3, 6, 0);                                               // a dead end
  graph.finish();
  EXPECT_EQ(graph.components(0b001).size(), 1u);
  EXPECT_EQ(graph.components(0b011).size(), 2u);
  const std::vector<Node> ring{0, 1, 2, 3};
  EXPECT_EQ(graph.shortest_cycle(ring, 0b001).size(), 0u);
  EXPECT_EQ(graph.shortest_cycle(ring, 0b011).size(), 4u);
  EXPECT_EQ(graph.shortest_cycle(ring, 0b111).size(), 3u);
  EXPECT_EQ(graph.shortest_cycle(ring, 0b001, 0b100).size(), 3u);
}

}  // namespace
}  // namespace histories
