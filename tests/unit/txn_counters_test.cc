// SPDX-License-Identifier: Apache-2.0
// Goal: counters hold what docs say of them: adds never conflict, never leave their bounds or 64 bits, are seen by
// their own transaction, undone by savepoints and kept over merges, rotations and recovery; and a refused commit
// names who was in the way. Method: small histories, with the other party's commit put exactly where it hurts (before
// the call, between call and commit, between the last look and the latch); folding of bounds against adding one by
// one; threads.
#include "txn/counters.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "base/clock.h"
#include "platform/test_point.h"
#include "txn/committers.h"
#include "txn_testing.h"

namespace hf::txn {
namespace {

constexpr std::int64_t kMin = INT64_MIN;
constexpr std::int64_t kMax = INT64_MAX;
constexpr Isolation kLevels[] = {Isolation::kSerializable, Isolation::kSnapshot, Isolation::kReadCommitted};

std::uint64_t test_seed() {
  static const std::uint64_t seed = [] {
    const char* text = std::getenv("HOLDFAST_TEST_SEED");
    const std::uint64_t chosen = text != nullptr ? std::strtoull(text, nullptr, 10) : monotonic_ns();
    std::fprintf(stderr, "HOLDFAST_TEST_SEED=%llu\n", static_cast<unsigned long long>(chosen));
    return chosen;
  }();
  return seed;
}

std::string bytes_of(std::int64_t value) {
  std::string bytes(kCounterSize, '\0');
  store_counter(bytes.data(), value);
  return bytes;
}

class CounterTest : public TxnTest {
 protected:
  void SetUp() override {
    TxnTest::SetUp();
    options_.background_thread = false;
    open_counters();
  }
  void open_counters() {
    open();
    counters_ = &table("counters");
  }
  void reopen() {
    close();
    open_counters();
  }
  // One thread plays all parts here: no locks of hot rows, for which it would wait for ever.
  std::unique_ptr<Transaction> begin(TxnOptions options = {}) {
    options.heat = false;
    return TxnTest::begin(options);
  }
  std::unique_ptr<Transaction> begin(Isolation isolation) {
    TxnOptions options;
    options.isolation = isolation;
    return begin(options);
  }
  void add(Bytes key, std::int64_t delta, std::int64_t min = kMin, std::int64_t max = kMax) {
    auto txn = begin();
    const Status status = txn->add(*counters_, key, delta, min, max);
    ASSERT_TRUE(status.ok()) << status.message();
    commit(*txn);
  }
  void set(Bytes key, std::int64_t value) {
    auto txn = begin();
    ASSERT_TRUE(txn->counter_set(*counters_, key, value).ok());
    commit(*txn);
  }
  static void commit(Transaction& txn) {
    const Status status = txn.commit(true);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  // The committed value as text, or "(none)", or "(other)".
  std::string value(Bytes key) {
    auto txn = begin();
    return value(*txn, key);
  }
  std::string value(Transaction& txn, Bytes key) {
    std::int64_t found = 0;
    const Status status = txn.counter_get(*counters_, key, &found);
    if (status.code() == Code::kNOT_FOUND) return "(none)";
    if (status.code() == Code::kWRONG_TYPE) return "(other)";
    EXPECT_TRUE(status.ok()) << status.message();
    return std::to_string(found);
  }
  RowView row(Bytes key) {
    reader_ = begin();
    RowView view;
    EXPECT_TRUE(reader_->get(*counters_, key, &view).ok()) << key;
    return view;
  }
  // Runs between the last look outside of the latch and the latch, once, in a thread of its own: the commit under way
  // has things that belong to its thread.
  void before_latch(const std::function<void()>& act) {
    platform::arm_hook("commit.prepared", [this, act] {
      if (std::this_thread::get_id() != owner_thread_ || hooked_) return;
      hooked_ = true;
      std::thread(act).join();
    });
  }
  void TearDown() override {
    platform::arm_hook("commit.prepared", {});
    reader_.reset();
    TxnTest::TearDown();
  }

  Table* counters_ = nullptr;
  std::unique_ptr<Transaction> reader_;
  const std::thread::id owner_thread_ = std::this_thread::get_id();
  bool hooked_ = false;
};

// --- values ------------------------------------------------------------------------------------------------------

TEST_F(CounterTest, CountsFromAbsentAndKeepsItsValueOverMergeAndReopening) {
  EXPECT_EQ(value("c"), "(none)");
  add("c", 5);
  EXPECT_EQ(value("c"), "5");
  add("c", -7);
  EXPECT_EQ(value("c"), "-2");
  EXPECT_EQ(row("c").value, bytes_of(-2));
  EXPECT_EQ(row("c").flags, kFlagCounter);
  EXPECT_EQ(row("c").expires_ms, 0u);
  reader_.reset();
  ASSERT_TRUE(db_->maintain(true).ok());
  EXPECT_EQ(value("c"), "-2");
  EXPECT_EQ(row("c").flags, kFlagCounter);
  add("c", 10);  // on a row that only the base has
  EXPECT_EQ(value("c"), "8");
  add("zero", 0);
  EXPECT_EQ(value("zero"), "0");
  reader_.reset();
  reopen();
  EXPECT_EQ(value("c"), "8");
  add("c", 1);
  EXPECT_EQ(value("c"), "9");
}

TEST_F(CounterTest, SetAndReset) {
  set("c", 41);
  EXPECT_EQ(value("c"), "41");
  add("c", 1, 0, 42);
  EXPECT_EQ(value("c"), "42");
  set("c", kMin);
  EXPECT_EQ(value("c"), std::to_string(kMin));
  auto txn = begin();
  ASSERT_TRUE(txn->remove(*counters_, "c").ok());
  commit(*txn);
  EXPECT_EQ(value("c"), "(none)");
  add("c", 3);  // on a tombstone
  EXPECT_EQ(value("c"), "3");
}

TEST_F(CounterTest, NewValueAfterCommit) {
  set("c", 10);
  auto txn = begin();
  std::int64_t after = 0;
  ASSERT_TRUE(txn->add(*counters_, "c", 1, kMin, kMax).ok());
  ASSERT_TRUE(txn->add(*counters_, "new", -4, kMin, kMax).ok());
  ASSERT_TRUE(txn->counter_set(*counters_, "set", 7).ok());
  ASSERT_TRUE(txn->add(*counters_, "set", 1, kMin, kMax).ok());
  ASSERT_TRUE(txn->put(*counters_, "plain", "12345678", 0).ok());
  EXPECT_EQ(txn->counter_after(*counters_, "c", &after).code(), Code::kMISUSE);
  add("c", 100);  // another one, meanwhile
  commit(*txn);
  ASSERT_TRUE(txn->counter_after(*counters_, "c", &after).ok());
  EXPECT_EQ(after, 111);
  ASSERT_TRUE(txn->counter_after(*counters_, "new", &after).ok());
  EXPECT_EQ(after, -4);
  ASSERT_TRUE(txn->counter_after(*counters_, "set", &after).ok());
  EXPECT_EQ(after, 8);
  EXPECT_EQ(txn->counter_after(*counters_, "plain", &after).code(), Code::kNOT_FOUND);
  EXPECT_EQ(txn->counter_after(*counters_, "unknown", &after).code(), Code::kNOT_FOUND);
  EXPECT_EQ(txn->counter_after(table("others"), "c", &after).code(), Code::kNOT_FOUND);
  add("c", 1000);
  ASSERT_TRUE(txn->counter_after(*counters_, "c", &after).ok());
  EXPECT_EQ(after, 111);
  ASSERT_TRUE(txn->restart().ok());
  EXPECT_EQ(txn->counter_after(*counters_, "c", &after).code(), Code::kMISUSE);
}

// --- arguments ---------------------------------------------------------------------------------------------------

TEST_F(CounterTest, BadArguments) {
  auto txn = begin();
  EXPECT_EQ(txn->add(*counters_, "c", 1, 1, 0).code(), Code::kINVALID_ARGUMENT);
  EXPECT_EQ(txn->add(*counters_, "", 1, 0, 1).code(), Code::kINVALID_ARGUMENT);
  EXPECT_EQ(txn->counter_set(*counters_, "", 1).code(), Code::kINVALID_ARGUMENT);
  EXPECT_EQ(txn->add(*counters_, std::string(kKeySizeMax + 1, 'k'), 1, 0, 1).code(), Code::kTOO_LARGE);
  EXPECT_TRUE(txn->running());
  commit(*txn);
  EXPECT_EQ(txn->add(*counters_, "c", 1, 0, 1).code(), Code::kMISUSE);
  EXPECT_EQ(txn->counter_set(*counters_, "c", 1).code(), Code::kMISUSE);
  std::int64_t any = 0;
  EXPECT_EQ(txn->counter_get(*counters_, "c", &any).code(), Code::kMISUSE);
  TxnOptions read_only;
  read_only.read_only = true;
  auto reader = begin(read_only);
  EXPECT_EQ(reader->add(*counters_, "c", 1, 0, 1).code(), Code::kREAD_ONLY);
  EXPECT_EQ(reader->counter_set(*counters_, "c", 1).code(), Code::kREAD_ONLY);
  EXPECT_EQ(reader->counter_get(*counters_, "c", &any).code(), Code::kNOT_FOUND);
  EXPECT_EQ(value("c"), "(none)");
}

TEST_F(CounterTest, OverflowIsAnErrorAndNeverAWrap) {
  set("top", kMax - 1);
  set("bottom", kMin + 1);
  auto txn = begin();
  EXPECT_TRUE(txn->add(*counters_, "top", 1, kMin, kMax).ok());
  EXPECT_EQ(txn->add(*counters_, "top", 1, kMin, kMax).code(), Code::kOUT_OF_RANGE);
  EXPECT_EQ(txn->add(*counters_, "top", kMax, kMin, kMax).code(), Code::kOUT_OF_RANGE);
  EXPECT_TRUE(txn->add(*counters_, "bottom", -1, kMin, kMax).ok());
  EXPECT_EQ(txn->add(*counters_, "bottom", -1, kMin, kMax).code(), Code::kOUT_OF_RANGE);
  EXPECT_EQ(txn->add(*counters_, "bottom", kMin, kMin, kMax).code(), Code::kOUT_OF_RANGE);
  commit(*txn);
  EXPECT_EQ(value("top"), std::to_string(kMax));
  EXPECT_EQ(value("bottom"), std::to_string(kMin));
  // Deltas whose sum needs more than 64 bits, all the way up and down again.
  ASSERT_TRUE(txn->restart().ok());
  EXPECT_TRUE(txn->add(*counters_, "bottom", kMax, kMin, kMax).ok());
  EXPECT_TRUE(txn->add(*counters_, "bottom", kMax, kMin, kMax).ok());
  EXPECT_TRUE(txn->add(*counters_, "bottom", 1, kMin, kMax).ok());
  EXPECT_EQ(value(*txn, "bottom"), std::to_string(kMax));
  EXPECT_TRUE(txn->add(*counters_, "top", kMin, kMin, kMax).ok());
  EXPECT_TRUE(txn->add(*counters_, "top", kMin + 1, kMin, kMax).ok());
  commit(*txn);
  EXPECT_EQ(value("bottom"), std::to_string(kMax));
  EXPECT_EQ(value("top"), std::to_string(kMin + 0));
}

// --- bounds ------------------------------------------------------------------------------------------------------

TEST_F(CounterTest, EarlyAnswerIsGivenByTheNewestCommitAndChangesNothing) {
  set("stock", 1);
  auto txn = begin();
  add("stock", -1, 0, 10);  // sold out, after our snapshot
  EXPECT_EQ(value(*txn, "other"), "(none)");
  const Status status = txn->add(*counters_, "stock", -1, 0, 10);
  EXPECT_EQ(status.code(), Code::kOUT_OF_RANGE);
  EXPECT_EQ(status.message(), "the counter stands at 0; adding -1 leaves [0, 10]");
  EXPECT_EQ(txn->obstacle().key, "stock");
  EXPECT_NE(txn->obstacle().other_csn, 0u);
  EXPECT_TRUE(txn->running());
  // The other way round: what the snapshot would refuse, and the newest commit allows.
  set("stock", 5);
  EXPECT_TRUE(txn->add(*counters_, "stock", -5, 0, 10).ok());
  EXPECT_EQ(txn->add(*counters_, "stock", -1, 0, 10).message(), "the counter stands at 0; adding -1 leaves [0, 10]");
  EXPECT_EQ(txn->add(*counters_, "stock", 11, 0, 10).code(), Code::kOUT_OF_RANGE);
  EXPECT_TRUE(txn->add(*counters_, "stock", 2, 0, 10).ok());
  commit(*txn);
  EXPECT_EQ(value("stock"), "2");
}

TEST_F(CounterTest, BoundsOfEachAddHoldOnItsWay) {
  set("c", 5);
  auto txn = begin();
  EXPECT_TRUE(txn->add(*counters_, "c", 3, 0, 8).ok());
  EXPECT_TRUE(txn->add(*counters_, "c", -8, 0, 8).ok());
  // Meanwhile it grows: 5 + 1 + 3 is above 8, although the sum in the end would not be.
  add("c", 1);
  const Status status = txn->commit(true);
  EXPECT_EQ(status.code(), Code::kOUT_OF_RANGE);
  EXPECT_EQ(status.message(), "the counter stands at 6; adding -5 leaves [0, 0]");
  EXPECT_FALSE(txn->running());
  EXPECT_EQ(value("c"), "6");
  // Two that no value can bear together.
  ASSERT_TRUE(txn->restart().ok());
  EXPECT_TRUE(txn->add(*counters_, "c", 1, kMin, 10).ok());
  set("c", 50);
  EXPECT_EQ(txn->add(*counters_, "c", -1, 20, kMax).code(), Code::kOUT_OF_RANGE);
  EXPECT_TRUE(txn->running());
  set("c", 9);
  commit(*txn);
  EXPECT_EQ(value("c"), "10");
}

// Folding, against adding one by one to a value that others changed in between.
TEST_F(CounterTest, FoldedBoundsSayWhatAddingOneByOneSays) {
  std::mt19937_64 random(test_seed());
  const auto pick = [&random](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(random);
  };
  int refused = 0, accepted = 0;
  for (int round = 0; round < 300'000; ++round) {
    const bool large = round % 4 == 0;  // near the ends of 64 bits
    const std::int64_t around = large ? (pick(0, 1) == 0 ? kMin + 20 : kMax - 20) : 0;
    CounterAdd add;
    WideInt sum = 0;
    std::vector<std::pair<std::pair<std::int64_t, std::int64_t>, WideInt>> steps;  // bounds, sum so far
    for (std::int64_t i = pick(1, 4); i > 0; --i) {
      const std::int64_t delta = large && pick(0, 3) == 0 ? pick(kMin, kMax) : pick(-10, 10);
      std::int64_t min = pick(0, 4) == 0 ? kMin : around + pick(-20, 20);
      std::int64_t max = pick(0, 4) == 0 ? kMax : around + pick(-20, 20);
      if (min > max) std::swap(min, max);
      if (!add.fold(delta, min, max)) continue;
      sum += delta;
      steps.push_back({{min, max}, sum});
      ASSERT_LE(add.low, add.high);
      ASSERT_EQ(static_cast<std::int64_t>(add.delta() - sum), 0);
    }
    for (int i = 0; i < 6; ++i) {
      const std::int64_t value = i == 0 ? add.low : i == 1 ? add.high : around + pick(-20, 20);
      bool fits = true;
      for (const auto& [bounds, total] : steps) {
        fits = fits && value + total >= bounds.first && value + total <= bounds.second;
      }
      ASSERT_EQ(value >= add.low && value <= add.high, fits) << "round " << round << ", value " << value;
      ++(fits ? accepted : refused);
    }
  }
  EXPECT_GT(refused, 10'000);
  EXPECT_GT(accepted, 10'000);
}

// --- the truth at commit -----------------------------------------------------------------------------------------

TEST_F(CounterTest, AddsNeverConflict) {
  for (const Isolation level : kLevels) {
    set("c", 0);
    std::vector<std::unique_ptr<Transaction>> open;
    for (int i = 0; i < 8; ++i) {
      open.push_back(begin(level));
      ASSERT_TRUE(open.back()->add(*counters_, "c", 1 << i, kMin, kMax).ok());
      if (i == 3) {
        ASSERT_TRUE(db_->maintain(true).ok());
      }
    }
    for (auto& txn : open) commit(*txn);
    EXPECT_EQ(value("c"), "255");
  }
}

TEST_F(CounterTest, CommitRefusesWholeAndNamesTheRow) {
  for (const Isolation level : kLevels) {
    set("a", 1);
    set("b", 1);
    TxnOptions options;
    options.isolation = level;
    auto loser = begin(options);
    options.label = "winner";
    auto winner = begin(options);
    ASSERT_TRUE(loser->add(*counters_, "a", -1, 0, 10).ok());
    ASSERT_TRUE(loser->add(*counters_, "b", -1, 0, 10).ok());
    ASSERT_TRUE(loser->put(*counters_, "row", "half", 0).ok());
    ASSERT_TRUE(winner->add(*counters_, "b", -1, 0, 10).ok());
    commit(*winner);
    const Status status = loser->commit(true);
    EXPECT_EQ(status.code(), Code::kOUT_OF_RANGE);
    EXPECT_EQ(status.message(), "the counter stands at 0; adding -1 leaves [0, 10]");
    EXPECT_EQ(loser->obstacle().key, "b");
    EXPECT_EQ(loser->obstacle().table, counters_->data_id.load());
    EXPECT_EQ(loser->obstacle().other_csn, winner->commit_csn());
    EXPECT_EQ(loser->obstacle().other_label, "winner");
    EXPECT_EQ(loser->obstacle().other_pid, static_cast<std::uint64_t>(getpid()));
    EXPECT_FALSE(loser->running());
    EXPECT_EQ(loser->commit_csn(), 0u);
    std::int64_t after = 0;
    EXPECT_EQ(loser->counter_after(*counters_, "a", &after).code(), Code::kMISUSE);
    EXPECT_EQ(value("a"), "1");
    EXPECT_EQ(value("b"), "0");
    EXPECT_EQ(get(*counters_, "row"), "(none)");
  }
}

// What happens after the last look outside of the latch is met by the look inside.
TEST_F(CounterTest, TheLatchHasTheLastWord) {
  set("c", 1);
  auto txn = begin();
  ASSERT_TRUE(txn->add(*counters_, "c", -1, 0, 10).ok());
  before_latch([this] { add("c", -1, 0, 10); });
  EXPECT_EQ(txn->commit(true).code(), Code::kOUT_OF_RANGE);
  EXPECT_TRUE(hooked_);
  EXPECT_EQ(value("c"), "0");

  ASSERT_TRUE(txn->restart().ok());
  ASSERT_TRUE(txn->add(*counters_, "c", 1, 0, 10).ok());
  hooked_ = false;
  before_latch([this] { set("c", 5); });
  commit(*txn);
  EXPECT_EQ(value("c"), "6");

  ASSERT_TRUE(txn->restart().ok());
  ASSERT_TRUE(txn->add(*counters_, "c", 1, 0, 10).ok());
  hooked_ = false;
  before_latch([this] { put(*counters_, "c", "plain"); });
  EXPECT_EQ(txn->commit(true).code(), Code::kWRONG_TYPE);
  EXPECT_EQ(txn->obstacle().key, "c");
  EXPECT_EQ(get(*counters_, "c"), "plain");

  ASSERT_TRUE(db_->maintain(true).ok());
  set("c", 3);
  ASSERT_TRUE(txn->restart().ok());
  ASSERT_TRUE(txn->add(*counters_, "c", 1, 0, 10).ok());
  hooked_ = false;
  before_latch([this] {  // with a merge and a new layout of segments on top
    auto other = begin();
    ASSERT_TRUE(other->remove(*counters_, "c").ok());
    commit(*other);
    ASSERT_TRUE(db_->maintain(true).ok());
  });
  commit(*txn);
  EXPECT_EQ(value("c"), "1");
}

// Nothing was read, so validation alone would need no segments.
TEST_F(CounterTest, CommitsOfOthersCountAlsoWhenTheyWereMergedMeanwhile) {
  for (const Isolation level : kLevels) {
    set("c", 0);
    auto txn = begin(level);
    if (level == Isolation::kReadCommitted) {
      EXPECT_EQ(value(*txn, "c"), "0");
    }
    ASSERT_TRUE(txn->add(*counters_, "c", 1, 0, 1000).ok());
    for (int i = 0; i < 3; ++i) {
      add("c", 10);
      ASSERT_TRUE(db_->maintain(true).ok());
      if (level == Isolation::kReadCommitted) {
        EXPECT_EQ(value(*txn, "c"), std::to_string(10 * (i + 1) + 1));
      }
    }
    add("c", 100);
    commit(*txn);
    EXPECT_EQ(value("c"), "131");
  }
}

TEST_F(CounterTest, SurvivesRotationsOfASmallOverlay) {
  close();
  options_.overlay_bytes_max = 4u << 20;
  options_.log_segment_size_max = 1u << 20;
  open_counters();
  const std::string filler(3'000, 'f');
  for (int i = 1; i <= 3'000; ++i) {
    auto txn = begin();
    ASSERT_TRUE(txn->add(*counters_, "c", 1, 0, 3'000).ok());
    ASSERT_TRUE(txn->put(*counters_, "filler" + std::to_string(i % 50), filler, 0).ok());
    const Status status = txn->commit(false);
    ASSERT_TRUE(status.ok()) << status.message();
    std::int64_t after = 0;
    ASSERT_TRUE(txn->counter_after(*counters_, "c", &after).ok());
    ASSERT_EQ(after, i);
  }
  EXPECT_EQ(value("c"), "3000");
  auto txn = begin();
  EXPECT_EQ(txn->add(*counters_, "c", 1, 0, 3'000).code(), Code::kOUT_OF_RANGE);
  txn.reset();
  reopen();
  EXPECT_EQ(value("c"), "3000");
}

// A record too large for the ring takes another way into the log. Recovery reads it there.
TEST_F(CounterTest, LargeRecords) {
  set("c", 1);
  auto txn = begin();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(txn->put(*counters_, "big" + std::to_string(i), std::string(900'000, 'x'), 0).ok());
  }
  ASSERT_TRUE(txn->add(*counters_, "c", 2, 0, 100).ok());
  ASSERT_TRUE(txn->add(*counters_, "b", 5, 0, 100).ok());
  ASSERT_TRUE(txn->add(*counters_, "z", 6, 0, 100).ok());
  add("c", 4);
  before_latch([this] { add("c", 20); });
  commit(*txn);
  EXPECT_EQ(value("c"), "27");
  txn.reset();

  // The log alone: a copy without the shared memory of this session.
  const std::string copy = directory_ + "/copy";
  std::filesystem::copy(directory_ + "/db", copy, std::filesystem::copy_options::recursive);
  std::filesystem::remove(copy + "/session");
  std::filesystem::remove_all(copy + "/memory");
  close();
  std::filesystem::remove_all(directory_ + "/db");
  std::filesystem::rename(copy, directory_ + "/db");
  open_counters();
  EXPECT_EQ(value("c"), "27");
  EXPECT_EQ(value("b"), "5");
  EXPECT_EQ(value("z"), "6");
  EXPECT_EQ(row("z").flags, kFlagCounter);
  EXPECT_EQ(get(*counters_, "big2").size(), 900'000u);
}

// --- other kinds of rows -----------------------------------------------------------------------------------------

TEST_F(CounterTest, PlainRowsAreNoCounters) {
  put(*counters_, "plain", "12345678");  // eight bytes do not make a counter
  auto txn = begin();
  std::int64_t any = 0;
  EXPECT_EQ(txn->add(*counters_, "plain", 1, kMin, kMax).code(), Code::kWRONG_TYPE);
  EXPECT_EQ(txn->counter_get(*counters_, "plain", &any).code(), Code::kWRONG_TYPE);
  EXPECT_TRUE(txn->running());
  commit(*txn);
  set("plain", 3);  // set makes one of it
  add("plain", 1);
  EXPECT_EQ(value("plain"), "4");
  // It becomes plain between the call and the commit.
  ASSERT_TRUE(txn->restart().ok());
  ASSERT_TRUE(txn->add(*counters_, "plain", 1, kMin, kMax).ok());
  put(*counters_, "plain", "x");
  EXPECT_EQ(txn->commit(true).code(), Code::kWRONG_TYPE);
  EXPECT_EQ(txn->obstacle().key, "plain");
  EXPECT_EQ(get(*counters_, "plain"), "x");
}

TEST_F(CounterTest, NoPutOfBytesMakesOrKeepsACounter) {
  const auto write = [this](const std::function<Status(Transaction&, Bytes)>& put_bytes, Bytes key) {
    set(key, 7);
    auto txn = begin();
    const Status status = put_bytes(*txn, key);
    ASSERT_TRUE(status.ok()) << status.message();
    commit(*txn);
    EXPECT_EQ(row(key).flags, 0) << key;
    EXPECT_EQ(value(key), "(other)") << key;
    reader_.reset();
    ASSERT_TRUE(db_->maintain(true).ok());
    EXPECT_EQ(row(key).flags, 0) << key;
  };
  const std::string bytes = bytes_of(9);
  write([&](Transaction& txn, Bytes key) { return txn.put(*counters_, key, bytes, 0); }, "put");
  write([&](Transaction& txn, Bytes key) { return txn.put(*counters_, key, bytes, 60'000); }, "put with a limit");
  write([&](Transaction& txn, Bytes key) { return txn.update(*counters_, key, bytes, 0); }, "update");
  write(
      [&](Transaction& txn, Bytes key) {
        return txn.put_if_version(*counters_, key, bytes, db_->shared().txn().published_csn.load(), 0);
      },
      "put_if_version");
  write(
      [&](Transaction& txn, Bytes key) {
        const Status removed = txn.remove(*counters_, key);
        return removed.ok() ? txn.insert(*counters_, key, bytes, 0) : removed;
      },
      "insert");
  write(
      [&](Transaction& txn, Bytes key) {
        const Status added = txn.add(*counters_, key, 1, kMin, kMax);
        return added.ok() ? txn.put(*counters_, key, bytes, 0) : added;
      },
      "put after add");
  write(
      [&](Transaction& txn, Bytes key) {
        const Status was_set = txn.counter_set(*counters_, key, 1);
        return was_set.ok() ? txn.put(*counters_, key, bytes, 0) : was_set;
      },
      "put after set");
}

TEST_F(CounterTest, OwnWritesAndAdds) {
  set("c", 10);
  auto txn = begin();
  // An add after what is known is known, and is checked at once.
  ASSERT_TRUE(txn->put(*counters_, "plain", "12345678", 0).ok());
  EXPECT_EQ(txn->add(*counters_, "plain", 1, kMin, kMax).code(), Code::kWRONG_TYPE);
  ASSERT_TRUE(txn->counter_set(*counters_, "set", 5).ok());
  EXPECT_EQ(txn->add(*counters_, "set", 6, 0, 10).message(), "the counter stands at 5; adding 6 leaves [0, 10]");
  EXPECT_TRUE(txn->add(*counters_, "set", -5, 0, 10).ok());
  EXPECT_EQ(value(*txn, "set"), "0");
  ASSERT_TRUE(txn->remove(*counters_, "c").ok());
  EXPECT_EQ(txn->add(*counters_, "c", -1, 0, 10).code(), Code::kOUT_OF_RANGE);
  EXPECT_EQ(value(*txn, "c"), "(none)");
  EXPECT_TRUE(txn->add(*counters_, "c", 2, 0, 10).ok());
  EXPECT_EQ(value(*txn, "c"), "2");
  commit(*txn);
  EXPECT_EQ(value("c"), "2");
  EXPECT_EQ(value("set"), "0");
  EXPECT_EQ(get(*counters_, "plain"), "12345678");

  // What is put, deleted or set after adds takes their place, and their bounds are forgotten.
  for (const char* key : {"put", "delete", "remove", "set"}) set(key, 10);
  ASSERT_TRUE(txn->restart().ok());
  for (const char* key : {"put", "delete", "remove", "set"}) {
    ASSERT_TRUE(txn->add(*counters_, key, 1, 0, 11).ok());
  }
  ASSERT_TRUE(txn->add(*counters_, "fresh", 1, 0, 11).ok());
  EXPECT_EQ(txn->insert(*counters_, "fresh", "x", 0).code(), Code::kEXISTS);
  ASSERT_TRUE(txn->put(*counters_, "put", "x", 0).ok());
  ASSERT_TRUE(txn->erase(*counters_, "delete").ok());
  ASSERT_TRUE(txn->remove(*counters_, "fresh").ok());
  ASSERT_TRUE(txn->counter_set(*counters_, "set", 99).ok());
  add("put", 1);
  add("delete", 1);
  add("set", 1);
  commit(*txn);
  EXPECT_EQ(get(*counters_, "put"), "x");
  EXPECT_EQ(value("delete"), "(none)");
  EXPECT_EQ(value("remove"), "11");
  EXPECT_EQ(value("fresh"), "(none)");
  EXPECT_EQ(value("set"), "99");
}

TEST_F(CounterTest, SavepointsUndoAdds) {
  set("c", 10);
  auto txn = begin(Isolation::kSnapshot);  // which has no reads to validate
  const std::uint64_t first = txn->savepoint().value();
  ASSERT_TRUE(txn->add(*counters_, "c", -8, 0, 20).ok());
  ASSERT_TRUE(txn->add(*counters_, "new", 1, 0, 20).ok());
  const std::uint64_t second = txn->savepoint().value();
  ASSERT_TRUE(txn->add(*counters_, "c", 2, 0, 4).ok());
  ASSERT_TRUE(txn->add(*counters_, "c", -4, 0, 20).ok());
  EXPECT_EQ(txn->add(*counters_, "c", -1, 0, 20).code(), Code::kOUT_OF_RANGE);
  EXPECT_EQ(value(*txn, "c"), "0");
  ASSERT_TRUE(txn->rollback_to(second).ok());
  EXPECT_EQ(value(*txn, "c"), "2");
  ASSERT_TRUE(txn->counter_set(*counters_, "c", 100).ok());
  ASSERT_TRUE(txn->rollback_to(second).ok());
  EXPECT_TRUE(txn->add(*counters_, "c", 1, 0, 20).ok());  // the add it was, not what was set
  EXPECT_EQ(value(*txn, "c"), "3");
  ASSERT_TRUE(txn->rollback_to(first).ok());
  EXPECT_EQ(value(*txn, "new"), "(none)");
  EXPECT_EQ(value(*txn, "c"), "10");
  ASSERT_TRUE(txn->add(*counters_, "c", 5, 0, 20).ok());
  ASSERT_TRUE(txn->release(first).ok());
  add("new", 1);
  auto free = begin();  // all of it undone: there is nothing to commit, and nothing to check
  const std::uint64_t all = free->savepoint().value();
  ASSERT_TRUE(free->add(*counters_, "c", -10, 0, 20).ok());
  ASSERT_TRUE(free->rollback_to(all).ok());
  set("c", 1);
  commit(*free);
  EXPECT_EQ(free->commit_csn(), 0u);
  EXPECT_EQ(value("c"), "1");
  commit(*txn);
  EXPECT_EQ(value("c"), "6");
}

// --- reads -------------------------------------------------------------------------------------------------------

TEST_F(CounterTest, ReadsSeeOwnAdds) {
  set("base", 1);
  put(*counters_, "bytes", "plain");
  ASSERT_TRUE(db_->maintain(true).ok());
  set("overlay", 10);
  set("gone", 1);
  set("base2", 5);
  auto remover = begin();
  ASSERT_TRUE(remover->remove(*counters_, "gone").ok());
  commit(*remover);
  for (const Isolation level : kLevels) {
    auto txn = begin(level);
    for (const char* key : {"absent", "base", "gone", "overlay"}) {
      ASSERT_TRUE(txn->add(*counters_, key, 1, kMin, kMax).ok()) << key;
      ASSERT_TRUE(txn->add(*counters_, key, 2, kMin, kMax).ok()) << key;
    }
    EXPECT_EQ(value(*txn, "absent"), "3");
    EXPECT_EQ(value(*txn, "base"), "4");
    EXPECT_EQ(value(*txn, "gone"), "3");
    EXPECT_EQ(value(*txn, "overlay"), "13");
    RowView view;
    ASSERT_TRUE(txn->get(*counters_, "base", &view).ok());
    EXPECT_EQ(view.value, bytes_of(4));
    EXPECT_EQ(view.version, 0u);
    EXPECT_EQ(view.flags, kFlagCounter);
    ASSERT_TRUE(txn->get_more(*counters_, "absent", &view).ok());
    EXPECT_EQ(view.value, bytes_of(3));
    const std::string absent = "absent=" + bytes_of(3), base = "base=" + bytes_of(4), base2 = "base2=" + bytes_of(5),
                      gone = "gone=" + bytes_of(3), overlay = "overlay=" + bytes_of(13);
    EXPECT_EQ(scan(*txn, *counters_), absent + " " + base + " " + base2 + " bytes=plain " + gone + " " + overlay);
    Range reverse;
    reverse.reverse = true;
    EXPECT_EQ(scan(*txn, *counters_, reverse),
              overlay + " " + gone + " bytes=plain " + base2 + " " + base + " " + absent);
    // Adds of others are seen as the level says, with one's own on top.
    add("overlay", 100);
    EXPECT_EQ(value(*txn, "overlay"), level == Isolation::kReadCommitted ? "113" : "13");
    add("overlay", -100);
    txn->abort();
  }
}

TEST_F(CounterTest, ReadsAreDependenciesAndAddsAreNot) {
  for (const Isolation level : kLevels) {
    set("c", 10);
    auto reader = begin(level);
    EXPECT_EQ(value(*reader, "c"), "10");
    ASSERT_TRUE(reader->add(*counters_, "c", 1, kMin, kMax).ok());
    add("c", 5);
    const Status status = reader->commit(true);
    EXPECT_EQ(status.code(), level == Isolation::kSerializable ? Code::kCONFLICT : Code::kOK);
    EXPECT_EQ(value("c"), level == Isolation::kSerializable ? "15" : "16");

    auto after_add = begin(level);  // own adds make it no less of a read
    ASSERT_TRUE(after_add->add(*counters_, "c", 1, kMin, kMax).ok());
    scan(*after_add, *counters_);
    add("c", 5);
    EXPECT_EQ(after_add->commit(true).code(), level == Isolation::kSerializable ? Code::kCONFLICT : Code::kOK);
  }
  // A set is a write like any other.
  auto loser = begin(Isolation::kSnapshot);
  ASSERT_TRUE(loser->counter_set(*counters_, "c", 1).ok());
  add("c", 1);
  EXPECT_EQ(loser->commit(true).code(), Code::kCONFLICT);
}

TEST_F(CounterTest, SnapshotsThatKnowTheRowOtherwise) {
  put(*counters_, "was plain", "text");
  set("low", kMin);
  auto txn = begin(Isolation::kSnapshot);
  set("was plain", 1);
  set("low", kMax - 5);
  ASSERT_TRUE(txn->add(*counters_, "was plain", 1, kMin, kMax).ok());
  ASSERT_TRUE(txn->add(*counters_, "low", -10, kMin, kMax).ok());
  RowView view;
  EXPECT_EQ(txn->get(*counters_, "was plain", &view).code(), Code::kWRONG_TYPE);
  EXPECT_EQ(txn->get(*counters_, "low", &view).code(), Code::kOUT_OF_RANGE);
  EXPECT_TRUE(txn->running());
  commit(*txn);
  EXPECT_EQ(value("was plain"), "2");
  EXPECT_EQ(value("low"), std::to_string(kMax - 15));
}

// --- expiry ------------------------------------------------------------------------------------------------------

// Nothing of the interface gives a counter an expiry yet; the base can have one.
class ExpiringCounterTest : public CounterTest {
 protected:
  void load(Bytes key, std::int64_t value, std::uint64_t expires_ms) {
    EXPECT_EQ(this->value("any"), "(none)");  // makes the table's number known
    ASSERT_TRUE(db_->take_role(Deadline::after_ms(5'000)).ok());
    auto load = db_->store().begin_load(counters_->data_id.load(), db_->shared().txn().published_csn.load());
    ASSERT_TRUE(load.ok()) << load.status().message();
    ASSERT_TRUE(load.value()->add(key, bytes_of(value), kFlagCounter, expires_ms).ok());
    ASSERT_TRUE(load.value()->finish().ok());
    db_->base_changed();
    db_->leave_role();
  }
  static void sleep_past(std::uint64_t at_ms) {
    while (wall_ms() <= at_ms) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
};

TEST_F(ExpiringCounterTest, AddsKeepTheExpiryAndStartAnewAfterIt) {
  const std::uint64_t at_ms = wall_ms() + 1'500;
  load("c", 7, at_ms);
  EXPECT_EQ(value("c"), "7");
  add("c", 1);  // from the base
  EXPECT_EQ(value("c"), "8");
  EXPECT_EQ(row("c").expires_ms, at_ms);
  add("c", 1);  // from the overlay
  EXPECT_EQ(row("c").expires_ms, at_ms);
  auto own = begin();
  ASSERT_TRUE(own->add(*counters_, "c", 1, kMin, kMax).ok());
  RowView view;
  ASSERT_TRUE(own->get(*counters_, "c", &view).ok());
  EXPECT_EQ(view.expires_ms, at_ms);
  own.reset();
  reader_.reset();

  // The log says the same as the overlay: a copy without this session's memory has only the log.
  const std::string copy = directory_ + "/copy";
  std::filesystem::copy(directory_ + "/db", copy, std::filesystem::copy_options::recursive);
  std::filesystem::remove(copy + "/session");
  std::filesystem::remove_all(copy + "/memory");

  auto late = begin();
  ASSERT_TRUE(late->add(*counters_, "c", 1, 5, kMax).ok());  // 9 + 1
  auto later = begin();
  ASSERT_TRUE(later->add(*counters_, "c", 1, 0, kMax).ok());
  auto latest = begin();
  sleep_past(at_ms);
  EXPECT_EQ(value("c"), "(none)");
  EXPECT_EQ(late->commit(true).code(), Code::kOUT_OF_RANGE);  // it is 0 by now
  commit(*later);
  EXPECT_EQ(value("c"), "1");
  EXPECT_EQ(row("c").expires_ms, 0u);
  ASSERT_TRUE(latest->add(*counters_, "c", 1, 0, kMax).ok());
  commit(*latest);
  EXPECT_EQ(value("c"), "2");
  reader_.reset();
  late.reset();
  later.reset();
  latest.reset();

  close();
  std::filesystem::remove_all(directory_ + "/db");
  std::filesystem::rename(copy, directory_ + "/db");
  open_counters();
  EXPECT_EQ(value("c"), "(none)");  // expired
  const TableId data_id = counters_->data_id.load();
  Result<std::vector<overlay::SegmentRef>> segments = db_->overlay().segments_after(0);
  ASSERT_TRUE(segments.ok());
  overlay::Version version;
  bool found = false;
  for (const overlay::SegmentRef& segment : segments.value()) {
    overlay::Iterator at(*segment);
    at.seek_at_or_after(data_id, "c");
    found = found || (at.valid() && at.key() == "c" && at.version(kCsnMax, &version));
  }
  ASSERT_TRUE(found);
  EXPECT_EQ(version.expires_ms, at_ms);
  EXPECT_EQ(version.value, bytes_of(9));
  EXPECT_EQ(version.flags, kFlagCounter);
}

// --- threads -----------------------------------------------------------------------------------------------------

// Each commit's new value is its place in the order: all of 1 .. n come, each once.
TEST_F(CounterTest, ManyThreads) {
  constexpr int kThreads = 8;
  constexpr int kEach = 400;
  constexpr int kStock = 2'000;  // less than what they want
  close();
  options_.background_thread = true;
  options_.merge_interval_ms = 2;
  options_.overlay_bytes_max = 8u << 20;
  open_counters();
  std::vector<std::set<std::int64_t>> seen(kThreads);
  std::vector<int> refused(kThreads, 0);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        TxnOptions options;
        options.isolation = kLevels[(t + static_cast<std::size_t>(i)) % 3];
        options.durability = Durability::kRelaxed;
        Transaction txn(db_);
        ASSERT_TRUE(txn.begin(options).ok());
        Status status = txn.add(*counters_, "sold", 1, 0, kStock);
        if (status.ok()) status = txn.put(*counters_, "r" + std::to_string(t) + "." + std::to_string(i), "x", 0);
        if (status.ok()) status = txn.commit(true);
        if (status.code() == Code::kOUT_OF_RANGE) {
          ++refused[t];
          continue;
        }
        ASSERT_TRUE(status.ok()) << status.message();
        std::int64_t after = 0;
        ASSERT_TRUE(txn.counter_after(*counters_, "sold", &after).ok());
        ASSERT_TRUE(seen[t].insert(after).second);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<std::int64_t> all;
  int refusals = 0;
  for (std::size_t t = 0; t < kThreads; ++t) {
    refusals += refused[t];
    for (const std::int64_t after : seen[t]) EXPECT_TRUE(all.insert(after).second) << after << " twice";
  }
  ASSERT_EQ(all.size(), static_cast<std::size_t>(kStock));
  EXPECT_EQ(*all.begin(), 1);
  EXPECT_EQ(*all.rbegin(), kStock);
  EXPECT_EQ(refusals, kThreads * kEach - kStock);
  EXPECT_EQ(value("sold"), std::to_string(kStock));
  auto txn = begin();
  int rows = 0;
  RowCursor cursor(*txn);
  Range range;
  range.prefix = "r";
  ASSERT_TRUE(cursor.open(*counters_, range).ok());
  Bytes key;
  RowView view;
  while (cursor.next(&key, &view).ok()) ++rows;
  EXPECT_EQ(rows, kStock);
}

// --- who committed -----------------------------------------------------------------------------------------------

class WhoTest : public CounterTest {
 protected:
  // Reads the row, lets another transaction with that label write it, and commits in vain.
  Obstacle conflict(const std::string& label, int commits_after = 0) {
    auto mine = begin();
    EXPECT_EQ(value(*mine, "c"), value("c"));
    TxnOptions options;
    options.label = label;
    auto other = begin(options);
    EXPECT_TRUE(other->add(*counters_, "c", 1, kMin, kMax).ok());
    commit(*other);
    last_csn_ = other->commit_csn();
    for (int i = 0; i < commits_after; ++i) {
      auto txn = begin();
      EXPECT_TRUE(txn->put(*counters_, "filler", "x", 0).ok());
      EXPECT_TRUE(txn->commit(false).ok());
    }
    EXPECT_TRUE(mine->put(*counters_, "mine", "x", 0).ok());
    EXPECT_EQ(mine->commit(true).code(), Code::kCONFLICT);
    EXPECT_EQ(mine->obstacle().other_csn, last_csn_);
    EXPECT_EQ(mine->obstacle().key, "c");
    return mine->obstacle();
  }
  Csn last_csn_ = 0;
};

TEST_F(WhoTest, ConflictsNameTheOtherParty) {
  Obstacle found = conflict("checkout 17");
  EXPECT_EQ(found.other_label, "checkout 17");
  EXPECT_EQ(found.other_pid, static_cast<std::uint64_t>(getpid()));
  EXPECT_LT(found.other_age_ms, 10'000u);
  // Without a label the process's is said, also where the row had one before.
  found = conflict("", 500);
  EXPECT_EQ(found.other_label, "test");
  for (int i = 0; i < 2; ++i) {
    found = conflict(std::string("a label that is longer than forty bytes ") + "are");
    EXPECT_EQ(found.other_label, "a label that is longer than forty bytes ");
  }
  // No part of a character: 39 bytes and one of two.
  found = conflict(std::string(39, 'x') + "\xC3\xA9");
  EXPECT_EQ(found.other_label, std::string(39, 'x'));
  found = conflict(std::string(38, 'x') + "\xC3\xA9");
  EXPECT_EQ(found.other_label, std::string(38, 'x') + "\xC3\xA9");
}

TEST_F(WhoTest, AgeIsThatOfTheCommit) {
  auto mine = begin();
  value(*mine, "c");
  add("c", 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  ASSERT_TRUE(mine->put(*counters_, "mine", "x", 0).ok());
  EXPECT_EQ(mine->commit(true).code(), Code::kCONFLICT);
  EXPECT_GE(mine->obstacle().other_age_ms, 100u);
  EXPECT_LT(mine->obstacle().other_age_ms, 10'000u);
}

TEST_F(WhoTest, TheRingForgets) {
  EXPECT_EQ(conflict("still known", static_cast<int>(kCommittersMax) - 1).other_label, "still known");
  const Obstacle found = conflict("forgotten", static_cast<int>(kCommittersMax));
  EXPECT_EQ(found.other_label, "");
  EXPECT_EQ(found.other_pid, 0u);
}

TEST_F(WhoTest, TornRowsAndLeftProcessesSayNothing) {
  const SharedRegion shared = db_->shared();
  Committer who;
  EXPECT_FALSE(find_committer(shared, 5'000, &who));
  note_committer(shared.committer(5'000), 5'000, db_->me(), wall_ms(), committer_label("somebody"));
  ASSERT_TRUE(find_committer(shared, 5'000, &who));
  EXPECT_EQ(who.label, "somebody");
  EXPECT_EQ(who.pid, static_cast<std::uint64_t>(getpid()));
  EXPECT_FALSE(find_committer(shared, 5'000 + kCommittersMax, &who));
  shared.committer(5'000).csn.store(0);  // a writer was killed in the middle
  EXPECT_FALSE(find_committer(shared, 5'000, &who));
  // The slot belongs to another life by now: the transaction's own label stays, the process is not mistaken.
  const platform::OwnerId gone = db_->me() + (1u << 9);
  note_committer(shared.committer(5'001), 5'001, gone, wall_ms(), committer_label("somebody"));
  ASSERT_TRUE(find_committer(shared, 5'001, &who));
  EXPECT_EQ(who.label, "somebody");
  EXPECT_EQ(who.pid, 0u);
  note_committer(shared.committer(5'001), 5'001, gone, wall_ms(), committer_label(""));
  ASSERT_TRUE(find_committer(shared, 5'001, &who));
  EXPECT_EQ(who.label, "");
}

}  // namespace
}  // namespace hf::txn
