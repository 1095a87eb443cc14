// SPDX-License-Identifier: Apache-2.0
// Goal: a cursor that locks gives the newest commit of each row it locks, holds what it gave and nothing else, and
// depends on no more than it says. Method: interleavings in one thread, another transaction trying the locks; then
// random walks against the cursor that does not lock, and against what is committed.
#include <atomic>
#include <chrono>
#include <map>
#include <random>
#include <thread>
#include <vector>

#include "unit/txn_testing.h"

namespace hf::txn {
namespace {

using lock::Mode;

Range locking(Mode mode = Mode::kExclusive) {
  Range range;
  range.locks = true;
  range.lock.mode = mode;
  range.lock.wait = false;
  return range;
}
Range skipping() {
  Range range = locking();
  range.skip_locked = true;
  return range;
}

class TxnCursorLock : public TxnTest {
 protected:
  void SetUp() override {
    TxnTest::SetUp();
    options_.background_thread = false;
    options_.durability = Durability::kRelaxed;
    open();
    rows_ = &table("rows");
    other_ = &table("other");
    for (const char* key : {"a", "b", "c", "d"}) put(*rows_, key, "0");
  }
  void erase(Bytes key) {
    auto txn = begin();
    ASSERT_TRUE(txn->erase(*rows_, key).ok());
    ASSERT_TRUE(txn->commit(true).ok());
  }
  // "a=0", or the name of the code.
  std::string next(RowCursor& cursor) {
    Bytes key;
    RowView row;
    const Status status = cursor.next(&key, &row);
    if (!status.ok()) return code_name(static_cast<int>(status.code()));
    return std::string(key) + "=" + std::string(row.value);
  }
  // What is left to give, and how it ended.
  std::string rest(RowCursor& cursor) {
    std::string text;
    for (;;) {
      const std::string step = next(cursor);
      text += text.empty() ? step : " " + step;
      if (step.find('=') == std::string::npos) return text;
    }
  }
  // Those of a..f that somebody holds so that the mode is not to be had.
  std::string held(Mode mode = Mode::kExclusive) {
    std::string keys;
    for (const char key : Bytes("abcdef")) {
      auto txn = begin();
      LockRule rule;
      rule.mode = mode;
      rule.wait = false;
      const Status status = txn->lock(*rows_, Bytes(&key, 1), rule);
      EXPECT_TRUE(status.ok() || status.code() == Code::kLOCKED) << status.message();
      if (!status.ok()) keys += key;
    }
    return keys;
  }
  // How a commit with a write that nobody else touches ends.
  Code commit(Transaction& txn) { return commit(txn, *other_); }
  Code commit(Transaction& txn, Table& elsewhere) {
    EXPECT_TRUE(txn.put(elsewhere, "written", "1", 0).ok());
    return txn.commit(true).code();
  }

  Table* rows_ = nullptr;
  Table* other_ = nullptr;
};

TEST_F(TxnCursorLock, LocksWhatItGaveAndNothingElse) {
  auto txn = begin();
  RowCursor cursor(*txn);
  ASSERT_TRUE(cursor.open(*rows_, locking()).ok());
  EXPECT_EQ(held(), "");
  EXPECT_EQ(next(cursor), "a=0");
  EXPECT_EQ(held(), "a");
  EXPECT_EQ(next(cursor), "b=0");
  EXPECT_EQ(held(Mode::kShared), "ab");
  EXPECT_EQ(rest(cursor), "c=0 d=0 END");
  EXPECT_EQ(next(cursor), "END");
  EXPECT_EQ(held(), "abcd");
  EXPECT_EQ(commit(*txn), Code::kOK);
  EXPECT_EQ(held(), "");
}

TEST_F(TxnCursorLock, SharesWithOtherReaders) {
  auto one = begin();
  auto two = begin();
  RowCursor first(*one);
  RowCursor second(*two);
  ASSERT_TRUE(first.open(*rows_, locking(Mode::kShared)).ok());
  ASSERT_TRUE(second.open(*rows_, locking(Mode::kShared)).ok());
  EXPECT_EQ(next(first), "a=0");
  EXPECT_EQ(rest(second), "a=0 b=0 c=0 d=0 END");
  EXPECT_EQ(held(), "abcd");
  EXPECT_EQ(held(Mode::kShared), "");
  two->abort();
  EXPECT_EQ(held(), "a");
}

TEST_F(TxnCursorLock, RefusesWhatMakesNoSense) {
  TxnOptions options;
  options.read_only = true;
  auto reader = begin(options);
  EXPECT_EQ(RowCursor(*reader).open(*rows_, locking()).code(), Code::kREAD_ONLY);
  options.base_only = true;
  auto old_reader = begin(options);
  EXPECT_EQ(RowCursor(*old_reader).open(*rows_, skipping()).code(), Code::kREAD_ONLY);
  auto txn = begin();
  EXPECT_EQ(RowCursor(*txn).open(*rows_, locking(Mode::kIncrement)).code(), Code::kINVALID_ARGUMENT);
  EXPECT_EQ(RowCursor(*txn).open(*rows_, locking(Mode::kNone)).code(), Code::kINVALID_ARGUMENT);
  RowCursor cursor(*txn);
  ASSERT_TRUE(cursor.open(*rows_, locking()).ok());
  txn->abort();
  EXPECT_EQ(next(cursor), "MISUSE");
  ASSERT_TRUE(txn->restart().ok());
  EXPECT_EQ(next(cursor), "MISUSE");
  EXPECT_EQ(held(), "");
}

// --- the newest value
// --------------------------------------------------------------------------------------------------------

TEST_F(TxnCursorLock, MovesOnToTheNewestCommit) {
  for (const bool merged : {false, true}) {
    for (const Isolation level : {Isolation::kSerializable, Isolation::kReadCommitted}) {
      put(*rows_, "c", "0");
      auto txn = begin(level);
      RowView row;
      ASSERT_TRUE(txn->get(*rows_, "a", &row).ok());
      RowCursor cursor(*txn);
      ASSERT_TRUE(cursor.open(*rows_, locking()).ok());
      EXPECT_EQ(next(cursor), "a=0");
      put(*rows_, "c", "1");
      if (merged) {
        ASSERT_TRUE(db_->maintain(true).ok());
      }
      EXPECT_EQ(rest(cursor), "b=0 c=1 d=0 END");
      EXPECT_EQ(row.value, "0") << "bytes handed out before the move";
      EXPECT_EQ(commit(*txn), Code::kOK);
    }
  }
}

TEST_F(TxnCursorLock, LeavesOutWhatIsGoneByNow) {
  auto txn = begin();
  RowCursor cursor(*txn);
  ASSERT_TRUE(cursor.open(*rows_, locking()).ok());
  EXPECT_EQ(next(cursor), "a=0");
  erase("b");
  EXPECT_EQ(next(cursor), "c=0");
  erase("d");
  EXPECT_EQ(next(cursor), "END");
  EXPECT_EQ(held(), "ac") << "the locks of rows that were gone go back";
  EXPECT_EQ(commit(*txn), Code::kOK);
}

TEST_F(TxnCursorLock, GoesBackToWhatComesFirstByNow) {
  for (const bool reverse : {false, true}) {
    auto txn = begin();
    Range range = locking();
    range.reverse = reverse;
    RowCursor cursor(*txn);
    ASSERT_TRUE(cursor.open(*rows_, range).ok());
    EXPECT_EQ(next(cursor), reverse ? "d=0" : "a=0");
    const char* between = reverse ? "cc" : "aa";
    const char* candidate = reverse ? "c" : "b";
    put(*rows_, between, "new");
    put(*rows_, candidate, "1");
    EXPECT_EQ(next(cursor), std::string(between) + "=new");
    EXPECT_EQ(held(), reverse ? "d" : "a") << "the candidate's lock went back";
    EXPECT_EQ(next(cursor), std::string(candidate) + "=1");
    EXPECT_EQ(commit(*txn), Code::kOK);
    erase(between);
    put(*rows_, candidate, "0");
  }
}

TEST_F(TxnCursorLock, GivesALockBackToTheModeHeldBefore) {
  auto txn = begin();
  RowView row;
  ASSERT_EQ(txn->get(*other_, "absent", &row).code(), Code::kNOT_FOUND);
  LockRule rule;
  rule.mode = Mode::kShared;
  ASSERT_TRUE(txn->lock(*rows_, "b", rule).ok());
  put(*rows_, "aa", "new");
  RowCursor cursor(*txn);
  Range range = locking();
  range.low = "aa";
  ASSERT_TRUE(cursor.open(*rows_, range).ok());
  EXPECT_EQ(next(cursor), "aa=new");
  EXPECT_EQ(held(), "b");
  EXPECT_EQ(held(Mode::kShared), "");
  EXPECT_EQ(next(cursor), "b=0");
  EXPECT_EQ(held(Mode::kShared), "b");
}

// Rows that came before the lock on the next one are no phantoms.
TEST_F(TxnCursorLock, SeesGapsAsTheyAreWhenTheRowIsLocked) {
  for (const bool reverse : {false, true}) {
    auto txn = begin();
    RowView row;
    ASSERT_EQ(txn->get(*other_, "absent", &row).code(), Code::kNOT_FOUND);
    Range range = locking();
    range.reverse = reverse;
    RowCursor cursor(*txn);
    ASSERT_TRUE(cursor.open(*rows_, range).ok());
    put(*rows_, reverse ? "e" : "Z", "new");
    EXPECT_EQ(next(cursor), reverse ? "e=new" : "Z=new");
    EXPECT_EQ(next(cursor), reverse ? "d=0" : "a=0");
    put(*rows_, reverse ? "cc" : "aa", "new");
    EXPECT_EQ(rest(cursor), reverse ? "cc=new c=0 b=0 a=0 END" : "aa=new b=0 c=0 d=0 END");
    EXPECT_EQ(commit(*txn), Code::kOK);
    erase(reverse ? "e" : "Z");
    erase(reverse ? "cc" : "aa");

    txn = begin();
    ASSERT_EQ(txn->get(*other_, "absent", &row).code(), Code::kNOT_FOUND);
    RowCursor to_the_end(*txn);
    ASSERT_TRUE(to_the_end.open(*rows_, range).ok());
    for (int i = 0; i < 4; ++i) EXPECT_EQ(next(to_the_end).size(), 3u);
    put(*rows_, reverse ? "Z" : "e", "new");
    EXPECT_EQ(rest(to_the_end), reverse ? "Z=new END" : "e=new END");
    EXPECT_EQ(commit(*txn), Code::kOK);
    erase(reverse ? "Z" : "e");
  }
}

TEST_F(TxnCursorLock, IsAConflictWhenSomethingReadBeforeHasChanged) {
  auto txn = begin();
  RowView row;
  ASSERT_TRUE(txn->get(*rows_, "d", &row).ok());
  RowCursor cursor(*txn);
  ASSERT_TRUE(cursor.open(*rows_, locking()).ok());
  EXPECT_EQ(next(cursor), "a=0");
  put(*rows_, "d", "1");
  EXPECT_EQ(next(cursor), "b=0") << "nothing has to move for it";
  put(*rows_, "c", "1");
  EXPECT_EQ(next(cursor), "CONFLICT");
  EXPECT_FALSE(txn->running());
  EXPECT_EQ(held(), "");
}

// At snapshot level nothing may be seen of two moments: it moves only as long as nothing was seen.
TEST_F(TxnCursorLock, SnapshotLevelRefusesToMixMoments) {
  for (const bool locks : {true, false}) {
    auto txn = begin(Isolation::kSnapshot);
    put(*rows_, "a", "1");
    RowCursor cursor(*txn);
    ASSERT_TRUE(cursor.open(*rows_, locks ? locking() : Range{}).ok());
    EXPECT_EQ(next(cursor), locks ? "a=1" : "a=0");
    put(*rows_, "b", "1");
    RowView row;
    EXPECT_EQ(locks ? next(cursor) : code_name(static_cast<int>(txn->get_locked(*rows_, "b", {}, &row).code())),
              std::string("CONFLICT"));
    EXPECT_FALSE(txn->running());
    put(*rows_, "a", "0");
    put(*rows_, "b", "0");
  }
  auto txn = begin(Isolation::kSnapshot);
  RowCursor cursor(*txn);
  ASSERT_TRUE(cursor.open(*rows_, {}).ok());
  put(*rows_, "a", "1");
  RowView row;
  ASSERT_TRUE(txn->get_locked(*rows_, "a", {}, &row).ok());
  EXPECT_EQ(next(cursor), "a=1") << "a walk that has not begun moves with its transaction";
}

TEST_F(TxnCursorLock, LeavesOutExpiredRows) {
  put(*rows_, "b", "short", 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  auto txn = begin();
  RowCursor cursor(*txn);
  ASSERT_TRUE(cursor.open(*rows_, locking()).ok());
  EXPECT_EQ(rest(cursor), "a=0 c=0 d=0 END");
  EXPECT_EQ(held(), "acd");
}

TEST_F(TxnCursorLock, GivesAndLocksOwnWrites) {
  auto txn = begin();
  ASSERT_TRUE(txn->put(*rows_, "a", "own", 0).ok());
  ASSERT_TRUE(txn->insert(*rows_, "e", "own", 0).ok());
  ASSERT_TRUE(txn->erase(*rows_, "c").ok());
  RowCursor cursor(*txn);
  ASSERT_TRUE(cursor.open(*rows_, locking()).ok());
  EXPECT_EQ(next(cursor), "a=own");
  ASSERT_TRUE(txn->put(*rows_, "bb", "late", 0).ok());
  EXPECT_EQ(next(cursor), "b=0");
  ASSERT_TRUE(txn->erase(*rows_, "d").ok());
  EXPECT_EQ(rest(cursor), "bb=late e=own END");
  EXPECT_EQ(held(), "abe");
  EXPECT_EQ(commit(*txn), Code::kOK);
  EXPECT_EQ(get(*rows_, "bb"), "late");
}

// What is given of the transaction's own is behind the cursor too when it looks anew.
TEST_F(TxnCursorLock, GoesOnBehindOwnWrites) {
  for (const bool reverse : {false, true}) {
    auto txn = begin();
    ASSERT_TRUE(txn->put(*rows_, "b", "own", 0).ok());
    ASSERT_TRUE(txn->put(*rows_, "c", "own", 0).ok());
    Range range = locking();
    range.reverse = reverse;
    RowCursor cursor(*txn);
    ASSERT_TRUE(cursor.open(*rows_, range).ok());
    EXPECT_EQ(next(cursor), reverse ? "d=0" : "a=0");
    EXPECT_EQ(next(cursor), reverse ? "c=own" : "b=own");
    EXPECT_EQ(next(cursor), reverse ? "b=own" : "c=own");
    put(*rows_, reverse ? "a" : "d", "1");
    EXPECT_EQ(rest(cursor), reverse ? "a=1 END" : "d=1 END");
    txn->abort();
    put(*rows_, reverse ? "a" : "d", "0");
  }
}

// --- what is in the way
// ------------------------------------------------------------------------------------------------------

TEST_F(TxnCursorLock, StaysBeforeTheRowThatItCouldNotHave) {
  for (const bool wait : {false, true}) {
    auto holder = begin();
    ASSERT_TRUE(holder->lock(*rows_, "b", {}).ok());
    auto txn = begin();
    Range range = locking();
    range.lock.wait = wait;
    range.lock.timeout_ms = 20;
    RowCursor cursor(*txn);
    ASSERT_TRUE(cursor.open(*rows_, range).ok());
    EXPECT_EQ(next(cursor), "a=0");
    const char* refused = wait ? "LOCK_TIMEOUT" : "LOCKED";
    EXPECT_EQ(next(cursor), refused);
    EXPECT_EQ(next(cursor), refused);
    EXPECT_EQ(txn->lock_report().key, "b");
    EXPECT_TRUE(txn->running());
    ASSERT_TRUE(holder->put(*rows_, "b", "1", 0).ok());
    ASSERT_TRUE(holder->commit(true).ok());
    EXPECT_EQ(rest(cursor), "b=1 c=0 d=0 END");
    EXPECT_EQ(commit(*txn), Code::kOK);
    put(*rows_, "b", "0");
  }
}

TEST_F(TxnCursorLock, WaitsUntilTheHolderCommits) {
  auto holder = begin();
  ASSERT_TRUE(holder->put(*rows_, "b", "1", 0).ok());
  ASSERT_TRUE(holder->lock(*rows_, "b", {}).ok());
  auto txn = begin();
  Range range = locking();
  range.lock.wait = true;
  RowCursor cursor(*txn);
  ASSERT_TRUE(cursor.open(*rows_, range).ok());
  std::thread committer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_TRUE(holder->commit(true).ok());
  });
  EXPECT_EQ(rest(cursor), "a=0 b=1 c=0 d=0 END");
  committer.join();
  EXPECT_EQ(commit(*txn), Code::kOK);
}

TEST_F(TxnCursorLock, CancelAndDeadlineEndTheWait) {
  auto holder = begin();
  ASSERT_TRUE(holder->lock(*rows_, "b", {}).ok());
  for (const bool cancel : {true, false}) {
    TxnOptions options;
    options.deadline_ms = cancel ? 0 : 50;
    auto txn = begin(options);
    Range range = locking();
    range.lock.wait = true;
    RowCursor cursor(*txn);
    ASSERT_TRUE(cursor.open(*rows_, range).ok());
    EXPECT_EQ(next(cursor), "a=0");
    std::thread other([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      if (cancel) txn->cancel();
    });
    const auto before = std::chrono::steady_clock::now();
    EXPECT_EQ(next(cursor), cancel ? "CANCELLED" : "EXPIRED");
    EXPECT_LT(std::chrono::steady_clock::now() - before, std::chrono::seconds(2));
    other.join();
    EXPECT_FALSE(txn->running());
    EXPECT_EQ(held(), "b");
  }
}

TEST_F(TxnCursorLock, SkipsWhatOthersHold) {
  auto holder = begin();
  ASSERT_TRUE(holder->lock(*rows_, "a", {}).ok());
  ASSERT_TRUE(holder->lock(*rows_, "c", {}).ok());
  auto txn = begin();
  RowCursor cursor(*txn);
  Range range = skipping();
  range.lock.wait = true;  // makes no difference
  ASSERT_TRUE(cursor.open(*rows_, range).ok());
  EXPECT_EQ(next(cursor), "b=0");
  holder->abort();
  EXPECT_EQ(rest(cursor), "c=0 d=0 END");
  RowCursor again(*txn);
  ASSERT_TRUE(again.open(*rows_, range).ok());
  EXPECT_EQ(rest(again), "a=0 b=0 c=0 d=0 END") << "what it holds itself is not in its way";
}

TEST_F(TxnCursorLock, SkipAndLimitCountRowsThatAreGiven) {
  auto holder = begin();
  ASSERT_TRUE(holder->lock(*rows_, "a", {}).ok());
  auto txn = begin();
  Range range = skipping();
  range.skip = 1;
  range.limit = 1;
  RowCursor skipped(*txn);
  ASSERT_TRUE(skipped.open(*rows_, range).ok());
  EXPECT_EQ(rest(skipped), "c=0 END");
  EXPECT_EQ(held(), "ac") << "what was skipped is not held";
  holder->abort();
  txn->abort();

  txn = begin();
  range.skip_locked = false;
  RowCursor cursor(*txn);
  ASSERT_TRUE(cursor.open(*rows_, range).ok());
  erase("a");
  put(*rows_, "b", "1");
  EXPECT_EQ(rest(cursor), "c=0 END") << "skipped at the moment of the first lock";
  EXPECT_EQ(held(), "c");
}

// --- what commit looks at
// ----------------------------------------------------------------------------------------------------

TEST_F(TxnCursorLock, PhantomsAreConflictsButWithSkipLocked) {
  for (const bool skip : {false, true}) {
    for (const char* phantom : {"aa", "bb"}) {
      auto txn = begin();
      Range range = skip ? skipping() : locking();
      range.limit = 2;
      RowCursor cursor(*txn);
      ASSERT_TRUE(cursor.open(*rows_, range).ok());
      EXPECT_EQ(rest(cursor), "a=0 b=0 END");
      put(*rows_, phantom, "1");
      const bool between = phantom == std::string("aa");
      EXPECT_EQ(commit(*txn), between && !skip ? Code::kCONFLICT : Code::kOK) << phantom;
      erase(phantom);
    }
    auto txn = begin();
    RowCursor cursor(*txn);
    ASSERT_TRUE(cursor.open(*rows_, skip ? skipping() : locking()).ok());
    EXPECT_EQ(rest(cursor), "a=0 b=0 c=0 d=0 END");
    put(*rows_, "e", "1");  // behind the last row
    EXPECT_EQ(commit(*txn), skip ? Code::kOK : Code::kCONFLICT);
    erase("e");
  }
}

TEST_F(TxnCursorLock, RowsLeftOutAreNoDependency) {
  auto holder = begin();
  ASSERT_TRUE(holder->put(*rows_, "b", "1", 0).ok());
  ASSERT_TRUE(holder->lock(*rows_, "b", {}).ok());
  auto txn = begin();
  RowCursor cursor(*txn);
  ASSERT_TRUE(cursor.open(*rows_, skipping()).ok());
  EXPECT_EQ(rest(cursor), "a=0 c=0 d=0 END");
  ASSERT_TRUE(holder->commit(true).ok());
  EXPECT_EQ(commit(*txn), Code::kOK);
}

// A row that was found, and then could not be had, has not been read.
TEST_F(TxnCursorLock, RowsRefusedAreNoDependency) {
  auto holder = begin();
  ASSERT_TRUE(holder->put(*rows_, "b", "1", 0).ok());
  ASSERT_TRUE(holder->lock(*rows_, "b", {}).ok());
  auto txn = begin();
  RowCursor cursor(*txn);
  ASSERT_TRUE(cursor.open(*rows_, locking()).ok());
  EXPECT_EQ(next(cursor), "a=0");
  EXPECT_EQ(next(cursor), "LOCKED");
  ASSERT_TRUE(holder->commit(true).ok());
  EXPECT_EQ(commit(*txn), Code::kOK);
}

TEST_F(TxnCursorLock, SeeksForwardAndBack) {
  for (const bool reverse : {false, true}) {
    auto txn = begin();
    Range range = locking();
    range.reverse = reverse;
    RowCursor cursor(*txn);
    ASSERT_TRUE(cursor.open(*rows_, range).ok());
    ASSERT_TRUE(cursor.seek("bb").ok());
    EXPECT_EQ(next(cursor), reverse ? "b=0" : "c=0");
    put(*rows_, reverse ? "a" : "d", "1");
    EXPECT_EQ(rest(cursor), reverse ? "a=1 END" : "d=1 END");
    ASSERT_TRUE(cursor.seek(reverse ? "d" : "a").ok());
    EXPECT_EQ(rest(cursor), reverse ? "d=0 c=0 b=0 a=1 END" : "a=0 b=0 c=0 d=1 END");
    EXPECT_EQ(held(), "abcd");
    EXPECT_EQ(commit(*txn), Code::kOK);
    put(*rows_, reverse ? "a" : "d", "0");
  }
}

// --- the cursor that does not lock, beside locked reads
// ------------------------------------------------------------------------

TEST_F(TxnCursorLock, PlainWalksFollowTheSnapshot) {
  for (const bool begun : {true, false}) {
    for (const bool reverse : {false, true}) {
      ASSERT_TRUE(db_->maintain(true).ok());  // where a step is at its shortest
      auto txn = begin();
      Range range;
      range.reverse = reverse;
      RowCursor cursor(*txn);
      ASSERT_TRUE(cursor.open(*rows_, range).ok());
      if (begun) {
        EXPECT_EQ(next(cursor), reverse ? "d=0" : "a=0");
      }
      put(*rows_, "bb", "new");
      put(*other_, "x", "1");
      RowView row;
      ASSERT_TRUE(txn->get_locked(*other_, "x", {}, &row).ok());
      EXPECT_EQ(row.value, "1");
      const std::string all = reverse ? "d=0 c=0 bb=new b=0 a=0 END" : "a=0 b=0 bb=new c=0 d=0 END";
      EXPECT_EQ(rest(cursor), begun ? all.substr(4) : all);
      EXPECT_EQ(commit(*txn), Code::kOK);
      auto cleaner = begin();
      ASSERT_TRUE(cleaner->erase(*other_, "x").ok());
      ASSERT_TRUE(cleaner->commit(true).ok());
      erase("bb");
    }
  }
}

TEST_F(TxnCursorLock, PlainWalksThatMissedSomethingAreRefused) {
  auto txn = begin();
  RowCursor cursor(*txn);
  ASSERT_TRUE(cursor.open(*rows_, {}).ok());
  EXPECT_EQ(next(cursor), "a=0");
  put(*rows_, "a", "1");
  put(*other_, "x", "1");
  RowView row;
  EXPECT_EQ(txn->get_locked(*other_, "x", {}, &row).code(), Code::kCONFLICT);
}

// --- at random
// --------------------------------------------------------------------------------------------------------------

class Walks : public TxnCursorLock {
 protected:
  std::string key(int max = 60) {
    const int number = static_cast<int>(random_() % static_cast<unsigned>(max));
    return {static_cast<char>('A' + number / 8), static_cast<char>('a' + number % 8)};
  }
  Range any_range() {
    Range range = locking();
    range.reverse = random_() % 2 == 0;
    if (random_() % 3 == 0) range.low = bounds_[0] = key();
    if (random_() % 3 == 0) range.high = bounds_[1] = key();
    if (random_() % 5 == 0) range.prefix = bounds_[2] = key().substr(0, 1);
    range.low_exclusive = random_() % 2 == 0;
    range.high_inclusive = random_() % 2 == 0;
    if (random_() % 4 == 0) range.skip = random_() % 5;
    if (random_() % 4 == 0) range.limit = random_() % 8;
    return range;
  }
  void change_something(int count) {
    auto txn = begin();
    for (int i = 0; i < count; ++i) {
      const std::string row = key();
      LockRule rule;
      rule.wait = false;
      if (!txn->lock(*other_, row, rule).ok()) continue;  // the walk has it
      const Status status =
          random_() % 3 == 0 ? txn->erase(*other_, row) : txn->put(*other_, row, std::to_string(++values_), 0);
      EXPECT_TRUE(status.ok());
    }
    EXPECT_TRUE(txn->commit(true).ok());
  }
  void change_own(Transaction& txn) {
    const std::string row = key();
    EXPECT_TRUE((random_() % 3 == 0 ? txn.erase(*other_, row) : txn.put(*other_, row, "own", 0)).ok());
  }
  void maybe_merge(unsigned one_in) {
    if (random_() % one_in != 0) return;
    const Code code = db_->maintain(true).code();
    EXPECT_TRUE(code == Code::kOK || code == Code::kOVERLOADED) << code_name(static_cast<int>(code));
  }
  std::string walk(Transaction& txn, const Range& range, const std::string& start,
                   const std::function<void()>& between = {}) {
    RowCursor cursor(txn);
    EXPECT_TRUE(cursor.open(*other_, range).ok());
    if (!start.empty()) {
      EXPECT_TRUE(cursor.seek(start).ok());
    }
    std::string text;
    for (;;) {
      const std::string step = next(cursor);
      text += step + " ";
      if (step.find('=') == std::string::npos) return text;
      if (between) between();
    }
  }

  std::mt19937 random_{20240117};
  std::string bounds_[3];
  int values_ = 0;
};

// Nobody else is there: locks make no difference to what is seen.
TEST_F(Walks, SeeWhatTheUnlockedWalkSees) {
  for (int i = 0; i < 500; ++i) {
    change_something(4);
    maybe_merge(16);
    auto txn = begin(random_() % 2 == 0 ? Isolation::kSerializable : Isolation::kReadCommitted);
    for (int own = static_cast<int>(random_() % 4); own > 0; --own) change_own(*txn);
    Range range = any_range();
    range.skip_locked = random_() % 2 == 0;
    const std::string start = random_() % 3 == 0 ? key() : "";
    const std::string locked = walk(*txn, range, start);
    range.locks = false;
    ASSERT_EQ(locked, walk(*txn, range, start)) << i;
  }
}

// Others commit between any two steps. What a walk saw must be what is there at its commit, if that is let through.
TEST_F(Walks, SeeWhatIsThereAtTheCommit) {
  int committed = 0, refused = 0, moves = 0;
  for (int i = 0; i < 500; ++i) {
    change_something(3);
    maybe_merge(16);
    auto txn = begin();
    const Csn begun = txn->snapshot_csn();
    Range range = any_range();
    const std::string start = random_() % 3 == 0 ? key() : "";
    const int changes = static_cast<int>(random_() % 3);
    if (changes != 0) change_something(changes);
    const std::string seen = walk(*txn, range, start, [&] {
      if (random_() % 8 == 0) change_something(1);
      maybe_merge(100);
    });
    moves += txn->snapshot_csn() != begun ? 1 : 0;
    const Code code = txn->running() ? commit(*txn, *rows_) : Code::kCONFLICT;
    ASSERT_TRUE(code == Code::kOK || code == Code::kCONFLICT) << code_name(static_cast<int>(code));
    (code == Code::kOK ? committed : refused) += 1;
    if (code != Code::kOK) continue;
    range.locks = false;
    auto now = begin();
    ASSERT_EQ(seen, walk(*now, range, start)) << i;
  }
  EXPECT_GT(committed, 200);
  EXPECT_GT(refused, 30);
  EXPECT_GT(moves, 150);
}

}  // namespace
}  // namespace hf::txn
