// SPDX-License-Identifier: Apache-2.0
// Goal: every deadlock is ended by its youngest member, once, with the right report; nothing else is taken for one.
// Method: cycles are built of known waits with known ages; then threads lock at random, in an order in which no
// deadlock can be, and in one in which they must be. No test waits for a time limit: one that is met is a failure.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/hash.h"
#include "lock/impl.h"
#include "lock/lock.h"
#include "platform/test_point.h"
#include "platform_testing.h"

namespace hf::lock {
namespace {

using platform::eventually;
using platform::sleep_for_ms;

constexpr TableId kTable = 7;
constexpr std::uint64_t kBegan = 1'000'000;

Row row_of(Bytes key, TableId table = kTable) { return {table, key, row_hash(table, key)}; }

struct Slots {
  platform::ProcessSlot rows[platform::kProcessSlotsMax];
};

class DeadlockTest : public testing::Test {
 protected:
  DeadlockTest() : liveness_(join("tests")) {
    table_ = platform::value_of(LockTable::create(directory_ / "locks", liveness_, 16'384));
    table_->set_slots(slots_->rows);
    rule_.timeout_ms = 60'000;
  }

  platform::Liveness join(const std::string& label) {
    Result<platform::Liveness> liveness = platform::Liveness::open(directory_ / "live");
    if (!liveness.ok() || !liveness->lock_gate(Deadline::after_ms(30'000)).ok()) abort();
    if (!liveness->take_slot(slots_->rows, label).ok()) abort();
    liveness->unlock_gate();
    return std::move(liveness).value();
  }

  std::unique_ptr<Owner> begin(std::uint64_t age, const std::string& label = "", const Owner* session = nullptr,
                               bool is_session = false) {
    auto owner = std::make_unique<Owner>(*table_);
    if (!owner->begin(label, kBegan + age, is_session, session).ok()) abort();
    return owner;
  }
  std::unique_ptr<Owner> begin_session(std::uint64_t age) { return begin(age, "", nullptr, true); }

  Status lock(Owner& owner, Bytes key, Mode mode = Mode::kExclusive, TableId table = kTable, Report* report = nullptr) {
    return table_->acquire(owner, {row_of(key, table), mode}, rule_, report);
  }
  std::size_t waiters() const {
    std::size_t count = 0;
    for (const Party& party : table_->list()) count += party.wanted != Mode::kNone ? 1 : 0;
    return count;
  }
  bool becomes_waiting(std::size_t count) const {
    return eventually([this, count] { return waiters() == count; });
  }
  std::uint64_t deadlocks() const { return table_->shared().deadlocks.load(); }
  void expect_nothing_left() const {
    EXPECT_TRUE(table_->list().empty());
    EXPECT_EQ(table_->shared().timeouts.load(), 0u);
  }

  platform::TemporaryDirectory directory_;
  platform::SharedMemory<Slots> slots_;
  platform::Liveness liveness_;
  std::unique_ptr<LockTable> table_;
  WaitRule rule_;
};

// A call that waits in a thread of its own. What the owner holds goes as soon as it has an answer.
class Waiter {
 public:
  Waiter(LockTable& table, Owner& owner, const WaitRule& rule, const std::string& key, Mode mode = Mode::kExclusive,
         TableId row_table = kTable)
      : key_(key), thread_([this, &table, &owner, rule, mode, row_table] {
          status_ = table.acquire(owner, {row_of(key_, row_table), mode}, rule, &report_);
          owner.end();
        }) {}
  ~Waiter() {
    if (thread_.joinable()) thread_.join();
  }
  Waiter(const Waiter&) = delete;

  Code code() {
    if (thread_.joinable()) thread_.join();
    return status_.code();
  }
  const Report& report() const { return report_; }

 private:
  std::string key_;
  Status status_;
  Report report_;
  std::thread thread_;
};

// `report` is of a deadlock in which each waits for the row that the next one holds.
void expect_ring(const Report& report, std::size_t size, std::uint64_t self) {
  ASSERT_EQ(report.cycle.size(), size);
  EXPECT_EQ(report.cycle[0].number, self);
  EXPECT_EQ(report.other.number, report.cycle[1 % size].number);
  for (std::size_t i = 0; i < size; ++i) {
    const Party& party = report.cycle[i];
    EXPECT_EQ(party.wanted, Mode::kExclusive);
    EXPECT_EQ(party.held, Mode::kNone);
    EXPECT_EQ(party.table, kTable);
    EXPECT_EQ(party.pid, static_cast<std::uint64_t>(getpid()));
    // A party's label is the name of the row that it holds.
    EXPECT_EQ(party.key, report.cycle[(i + 1) % size].label);
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(party.number, report.cycle[j].number);
  }
}

class Rings : public DeadlockTest {
 protected:
  // Owner i holds keys[i] and wants keys[i + 1]; they begin to wait in a random order, all at once or one by one.
  void run(const std::vector<std::string>& keys, std::mt19937& random, bool one_by_one) {
    const std::size_t size = keys.size();
    const std::uint64_t before = deadlocks();
    std::vector<std::uint64_t> ages(size);
    std::iota(ages.begin(), ages.end(), 1);
    std::shuffle(ages.begin(), ages.end(), random);
    const auto youngest = static_cast<std::size_t>(std::max_element(ages.begin(), ages.end()) - ages.begin());
    std::vector<std::unique_ptr<Owner>> owners;
    for (std::size_t i = 0; i < size; ++i) {
      owners.push_back(begin(ages[i], keys[i].substr(0, 40)));
      ASSERT_TRUE(lock(*owners[i], keys[i]).ok());
    }
    const std::uint64_t self = owners[youngest]->number();
    std::vector<std::size_t> order(size);
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), random);
    std::vector<std::unique_ptr<Waiter>> waiters(size);
    for (std::size_t i = 0; i < size; ++i) {
      const std::size_t at = order[i];
      waiters[at] = std::make_unique<Waiter>(*table_, *owners[at], rule_, keys[(at + 1) % size]);
      if (one_by_one && i + 1 < size) {
        ASSERT_TRUE(becomes_waiting(i + 1));
      }
    }
    for (std::size_t i = 0; i < size; ++i) {
      EXPECT_EQ(waiters[i]->code(), i == youngest ? Code::kDEADLOCK : Code::kOK) << i << " of " << size;
    }
    expect_ring(waiters[youngest]->report(), size, self);
    EXPECT_EQ(deadlocks(), before + 1);
    expect_nothing_left();
  }

  static std::vector<std::string> short_keys(std::size_t size) {
    std::vector<std::string> keys;
    for (std::size_t i = 0; i < size; ++i) keys.push_back("row " + std::to_string(i));
    return keys;
  }
};

TEST_F(Rings, OfTwoThreeAndTen) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  SCOPED_TRACE("seed " + std::to_string(seed));
  for (const std::size_t size : {2, 3, 10}) {
    for (int round = 0; round < 12 && !HasFailure(); ++round) run(short_keys(size), random, round % 2 == 0);
  }
}

TEST_F(Rings, OfRowsInOneBucket) {
  std::mt19937 random(1);
  std::vector<std::string> keys = {"row"};
  for (int i = 0; keys.size() < 4; ++i) {
    const std::string key = "row " + std::to_string(i);
    if ((row_hash(kTable, key) - row_hash(kTable, keys[0])) % kBuckets == 0) keys.push_back(key);
  }
  for (int round = 0; round < 6 && !HasFailure(); ++round) run(keys, random, round % 2 == 0);
}

TEST_F(Rings, OfRowsWithLongKeys) {
  std::mt19937 random(1);
  std::vector<std::string> keys;
  for (std::size_t i = 0; i < 3; ++i) {
    // Told apart by their last byte only; the report's label is cut, so it is not looked at here.
    keys.push_back(std::string(kKeySizeMax - 1, 'k') + static_cast<char>('a' + i));
  }
  std::vector<std::unique_ptr<Owner>> owners;
  std::vector<std::unique_ptr<Waiter>> waiters;
  for (std::size_t i = 0; i < 3; ++i) {
    owners.push_back(begin(i));
    ASSERT_TRUE(lock(*owners[i], keys[i]).ok());
  }
  for (std::size_t i = 0; i < 3; ++i) {
    waiters.push_back(std::make_unique<Waiter>(*table_, *owners[i], rule_, keys[(i + 1) % 3]));
  }
  EXPECT_EQ(waiters[0]->code(), Code::kOK);
  EXPECT_EQ(waiters[1]->code(), Code::kOK);
  ASSERT_EQ(waiters[2]->code(), Code::kDEADLOCK);
  const Report& report = waiters[2]->report();
  ASSERT_EQ(report.cycle.size(), 3u);
  EXPECT_EQ(report.cycle[0].key, keys[0]);
  EXPECT_EQ(report.cycle[1].key, keys[1]);
  EXPECT_EQ(report.cycle[2].key, keys[2]);
  expect_nothing_left();
}

// Two that began at once have a youngest too, whichever of them blocks last.
TEST_F(DeadlockTest, EqualAgesAreToldApart) {
  for (const bool a_is_first : {true, false}) {
    const auto a = begin(5, "A");
    const auto b = begin(5, "B");
    ASSERT_TRUE(lock(*a, "A").ok());
    ASSERT_TRUE(lock(*b, "B").ok());
    const bool first_is_youngest = a_is_first == (a->number() > b->number());
    Waiter first(*table_, a_is_first ? *a : *b, rule_, a_is_first ? "B" : "A");
    ASSERT_TRUE(becomes_waiting(1));
    Waiter second(*table_, a_is_first ? *b : *a, rule_, a_is_first ? "A" : "B");
    EXPECT_EQ(first.code(), first_is_youngest ? Code::kDEADLOCK : Code::kOK);
    EXPECT_EQ(second.code(), first_is_youngest ? Code::kOK : Code::kDEADLOCK);
  }
  EXPECT_EQ(deadlocks(), 2u);
}

TEST_F(DeadlockTest, TwoUpgradesOfOneRow) {
  const auto a = begin(1, "A");
  const auto b = begin(2, "B");
  ASSERT_TRUE(lock(*a, "row", Mode::kShared).ok());
  ASSERT_TRUE(lock(*b, "row", Mode::kShared).ok());
  Waiter waits_a(*table_, *a, rule_, "row");
  ASSERT_TRUE(becomes_waiting(1));
  Report report;
  EXPECT_EQ(lock(*b, "row", Mode::kExclusive, kTable, &report).code(), Code::kDEADLOCK);
  EXPECT_EQ(report.cycle.size(), 2u);
  EXPECT_EQ(b->held(row_of("row")), Mode::kShared);
  EXPECT_EQ(waiters(), 1u);
  b->end();
  EXPECT_EQ(waits_a.code(), Code::kOK);
  expect_nothing_left();
}

// An upgrade that waits for a holder who waits elsewhere for the one that upgrades.
TEST_F(DeadlockTest, UpgradeInACycle) {
  for (const bool upgrader_is_youngest : {true, false}) {
    const auto a = begin(upgrader_is_youngest ? 9 : 1, "A");
    const auto b = begin(5, "B");
    ASSERT_TRUE(lock(*a, "row", Mode::kShared).ok());
    ASSERT_TRUE(lock(*b, "row", Mode::kShared).ok());
    ASSERT_TRUE(lock(*a, "other").ok());
    Waiter waits_a(*table_, *a, rule_, "row");
    ASSERT_TRUE(becomes_waiting(1));
    Waiter waits_b(*table_, *b, rule_, "other", Mode::kShared);
    EXPECT_EQ(waits_a.code(), upgrader_is_youngest ? Code::kDEADLOCK : Code::kOK);
    EXPECT_EQ(waits_b.code(), upgrader_is_youngest ? Code::kOK : Code::kDEADLOCK);
    const Report& report = upgrader_is_youngest ? waits_a.report() : waits_b.report();
    ASSERT_EQ(report.cycle.size(), 2u);
    const Party& upgrade = report.cycle[upgrader_is_youngest ? 0 : 1];
    EXPECT_EQ(upgrade.held, Mode::kShared);
    EXPECT_EQ(upgrade.wanted, Mode::kExclusive);
    expect_nothing_left();
  }
}

// A reader behind a writer in the queue waits for it, though it goes with the holder; whoever is the youngest.
TEST_F(DeadlockTest, CycleThroughAQueue) {
  for (std::uint64_t youngest = 0; youngest < 3; ++youngest) {
    SCOPED_TRACE(youngest);
    const auto holder = begin(youngest == 0 ? 9 : 1, "holder");
    const auto writer = begin(youngest == 1 ? 9 : 2, "writer");
    const auto reader = begin(youngest == 2 ? 9 : 3, "reader");
    ASSERT_TRUE(lock(*holder, "row", Mode::kShared).ok());
    ASSERT_TRUE(lock(*reader, "other").ok());
    Waiter waits_writer(*table_, *writer, rule_, "row");
    ASSERT_TRUE(becomes_waiting(1));
    sleep_for_ms(5);  // from now on it must not be passed
    Waiter waits_reader(*table_, *reader, rule_, "row", Mode::kShared);
    ASSERT_TRUE(becomes_waiting(2));
    Waiter waits_holder(*table_, *holder, rule_, "other");
    EXPECT_EQ(waits_holder.code(), youngest == 0 ? Code::kDEADLOCK : Code::kOK);
    EXPECT_EQ(waits_writer.code(), youngest == 1 ? Code::kDEADLOCK : Code::kOK);
    EXPECT_EQ(waits_reader.code(), youngest == 2 ? Code::kDEADLOCK : Code::kOK);
    expect_nothing_left();
  }
}

// Who is only queued in front of a member of a cycle is none itself, be it the youngest of all.
TEST_F(DeadlockTest, BystandersInTheQueueAreLeftAlone) {
  for (int round = 0; round < 5; ++round) {
    const std::uint64_t before = deadlocks();
    const auto a = begin(1, "A");
    const auto b = begin(2, "B");
    const auto bystander = begin(9, "C");
    ASSERT_TRUE(lock(*a, "A").ok());
    ASSERT_TRUE(lock(*b, "B").ok());
    ASSERT_TRUE(lock(*bystander, "C").ok());
    Waiter waits_c(*table_, *bystander, rule_, "A");
    ASSERT_TRUE(becomes_waiting(1));
    Waiter waits_a(*table_, *a, rule_, "B");
    ASSERT_TRUE(becomes_waiting(2));
    Waiter waits_b(*table_, *b, rule_, "A");
    EXPECT_EQ(waits_b.code(), Code::kDEADLOCK);
    EXPECT_EQ(waits_a.code(), Code::kOK);
    EXPECT_EQ(waits_c.code(), Code::kOK);
    EXPECT_EQ(deadlocks(), before + 1);
    EXPECT_EQ(waits_b.report().cycle.size(), 2u);
  }
  expect_nothing_left();
}

// The same where the cycle lasts, because its members do not look for it: the bystander looks again and again.
TEST_F(DeadlockTest, BystandersOfALastingCycleAreLeftAlone) {
  std::atomic<bool> cancelled{false};
  WaitRule no_search = rule_;
  no_search.search = false;
  no_search.cancelled = &cancelled;
  const auto a = begin(1, "A");
  const auto b = begin(2, "B");
  const auto bystander = begin(9, "C");
  ASSERT_TRUE(lock(*a, "A").ok());
  ASSERT_TRUE(lock(*b, "B").ok());
  ASSERT_TRUE(lock(*bystander, "C").ok());
  Waiter waits_c(*table_, *bystander, rule_, "A");
  ASSERT_TRUE(becomes_waiting(1));
  Waiter waits_a(*table_, *a, no_search, "B");
  Waiter waits_b(*table_, *b, no_search, "A");
  ASSERT_TRUE(becomes_waiting(3));
  sleep_for_ms(350);
  EXPECT_EQ(waiters(), 3u);
  cancelled = true;
  b->interrupt();
  EXPECT_EQ(waits_b.code(), Code::kCANCELLED);
  EXPECT_EQ(waits_a.code(), Code::kOK);
  EXPECT_EQ(waits_c.code(), Code::kOK);
  EXPECT_EQ(deadlocks(), 0u);
  expect_nothing_left();
}

// Who stands behind in the queue is in nobody's way, in whatever mode.
TEST_F(DeadlockTest, ReadersAndAddersInOneQueue) {
  const auto holder = begin(1, "holder");
  const auto reader = begin(2, "reader");
  const auto adder = begin(3, "adder");
  ASSERT_TRUE(lock(*holder, "row").ok());
  ASSERT_TRUE(lock(*reader, "R").ok());
  ASSERT_TRUE(lock(*adder, "A").ok());
  Waiter waits_reader(*table_, *reader, rule_, "row", Mode::kShared);
  ASSERT_TRUE(becomes_waiting(1));
  Waiter waits_adder(*table_, *adder, rule_, "row", Mode::kIncrement);
  ASSERT_TRUE(becomes_waiting(2));
  sleep_for_ms(250);  // both look again meanwhile
  EXPECT_EQ(waiters(), 2u);
  holder->end();
  EXPECT_EQ(waits_reader.code(), Code::kOK);
  EXPECT_EQ(waits_adder.code(), Code::kOK);
  EXPECT_EQ(deadlocks(), 0u);
}

// Two cycles through one owner, the youngest of one of them: it gives up, though the youngest of the other one does
// not look for deadlocks at all, and whichever cycle is found first.
TEST_F(DeadlockTest, TheYoungestOfOneOfTwoCycles) {
  for (const bool older_holds_first : {true, false}) {
    std::atomic<bool> cancelled{false};
    WaitRule no_search = rule_;
    no_search.search = false;
    no_search.cancelled = &cancelled;
    const auto middle = begin(5, "middle");
    const auto younger = begin(9, "younger");
    const auto older = begin(1, "older");
    ASSERT_TRUE(lock(older_holds_first ? *older : *younger, "row", Mode::kShared).ok());
    ASSERT_TRUE(lock(older_holds_first ? *younger : *older, "row", Mode::kShared).ok());
    ASSERT_TRUE(lock(*middle, "one").ok());
    ASSERT_TRUE(lock(*middle, "two").ok());
    Waiter waits_younger(*table_, *younger, no_search, "one");
    Waiter waits_older(*table_, *older, rule_, "two");
    ASSERT_TRUE(becomes_waiting(2));
    WaitRule short_rule = rule_;
    short_rule.timeout_ms = 5'000;
    Waiter waits_middle(*table_, *middle, short_rule, "row");
    EXPECT_EQ(waits_middle.code(), Code::kDEADLOCK);
    EXPECT_EQ(waits_older.code(), Code::kOK);
    EXPECT_EQ(waits_younger.code(), Code::kOK);
    ASSERT_EQ(waits_middle.report().cycle.size(), 2u);
    EXPECT_EQ(waits_middle.report().cycle[1].label, "older");
    expect_nothing_left();
  }
}

// What was a cycle a moment ago is none. The other member gives up between the two walks, and then gives back
// either all that it holds or the one row.
TEST_F(DeadlockTest, CyclesThatAreGoneAreNotReported) {
  if (!platform::kTestPoints) GTEST_SKIP() << "needs test points";
  for (const bool holder_ends : {true, false}) {
    std::atomic<bool> cancelled{false};
    WaitRule no_search = rule_;
    no_search.search = false;
    no_search.cancelled = &cancelled;
    const auto a = begin(1, "A");
    const auto b = begin(2, "B");
    ASSERT_TRUE(lock(*a, "A").ok());
    ASSERT_TRUE(lock(*b, "B").ok());
    std::atomic<int> passes{0};
    Code a_code = Code::kOK;
    std::thread waits_a([&] {
      a_code = table_->acquire(*a, {row_of("B"), Mode::kExclusive}, no_search, nullptr).code();
      if (holder_ends) {
        a->end();
      } else {
        (void)table_->release(*a, row_of("A"));
      }
      passes = 2;
    });
    ASSERT_TRUE(becomes_waiting(1));
    platform::arm_hook("lock.cycle_found", [&] {
      int none = 0;
      if (!passes.compare_exchange_strong(none, 1)) return;
      cancelled = true;
      a->interrupt();
      EXPECT_TRUE(eventually([&] { return passes == 2; }));
    });
    EXPECT_TRUE(lock(*b, "A").ok());
    platform::arm_hook("lock.cycle_found", {});
    waits_a.join();
    EXPECT_EQ(passes, 2);  // the cycle was found once
    EXPECT_EQ(a_code, Code::kCANCELLED);
    a->end();
    b->end();
    EXPECT_EQ(deadlocks(), 0u);
    expect_nothing_left();
  }
}

// --- sessions --------------------------------------------------------------------------------------------------------

TEST_F(DeadlockTest, TwoSessions) {
  const auto a = begin_session(1);
  const auto b = begin_session(2);
  ASSERT_TRUE(lock(*a, "M", Mode::kExclusive, kNames).ok());
  ASSERT_TRUE(lock(*b, "N", Mode::kExclusive, kNames).ok());
  Waiter waits_a(*table_, *a, rule_, "N", Mode::kExclusive, kNames);
  Waiter waits_b(*table_, *b, rule_, "M", Mode::kExclusive, kNames);
  EXPECT_EQ(waits_b.code(), Code::kDEADLOCK);
  EXPECT_EQ(waits_a.code(), Code::kOK);
  ASSERT_EQ(waits_b.report().cycle.size(), 2u);
  EXPECT_TRUE(waits_b.report().cycle[0].session);
}

// A session's name goes only when the transaction inside of it has ended; that one waits for a row of a transaction
// whose session waits for the name.
TEST_F(DeadlockTest, SessionsAndTransactionsInsideAreOneParty) {
  for (const bool inner_is_youngest : {true, false}) {
    SCOPED_TRACE(inner_is_youngest);
    const auto holder = begin_session(1);
    const auto inner = begin(inner_is_youngest ? 9 : 2, "inner", holder.get());
    const auto wanting = begin_session(5);
    const auto other_inner = begin(3, "other", wanting.get());
    ASSERT_TRUE(lock(*holder, "name", Mode::kExclusive, kNames).ok());
    ASSERT_TRUE(lock(*other_inner, "row").ok());
    const std::uint64_t inner_number = inner->number();
    const std::uint64_t wanting_number = wanting->number();
    Waiter waits_inner(*table_, *inner, rule_, "row");
    ASSERT_TRUE(becomes_waiting(1));
    Waiter waits_session(*table_, *wanting, rule_, "name", Mode::kExclusive, kNames);
    if (inner_is_youngest) {
      ASSERT_EQ(waits_inner.code(), Code::kDEADLOCK);
      holder->end();
      EXPECT_EQ(waits_session.code(), Code::kOK);
    } else {
      ASSERT_EQ(waits_session.code(), Code::kDEADLOCK);
      other_inner->end();
      EXPECT_EQ(waits_inner.code(), Code::kOK);
      holder->end();
    }
    const Report& report = inner_is_youngest ? waits_inner.report() : waits_session.report();
    ASSERT_EQ(report.cycle.size(), 2u);
    EXPECT_EQ(report.cycle[inner_is_youngest ? 0 : 1].number, inner_number);
    EXPECT_EQ(report.cycle[inner_is_youngest ? 1 : 0].number, wanting_number);
    EXPECT_EQ(report.cycle[inner_is_youngest ? 0 : 1].session, false);
    EXPECT_EQ(report.cycle[inner_is_youngest ? 1 : 0].session, true);
    other_inner->end();
    expect_nothing_left();
  }
}

// Transactions of one session in threads of their own: one that runs will end, whatever its sibling waits for.
TEST_F(DeadlockTest, ARunningSiblingIsNoDeadlock) {
  const auto session = begin_session(1);
  const auto running = begin(2, "running", session.get());
  const auto waiting = begin(3, "waiting", session.get());
  const auto stranger = begin(4, "stranger");
  ASSERT_TRUE(lock(*running, "R").ok());
  ASSERT_TRUE(lock(*stranger, "Q").ok());
  Waiter waits_sibling(*table_, *waiting, rule_, "Q");
  ASSERT_TRUE(becomes_waiting(1));
  Waiter waits_stranger(*table_, *stranger, rule_, "R");
  ASSERT_TRUE(becomes_waiting(2));
  sleep_for_ms(250);  // both look again meanwhile
  EXPECT_EQ(waiters(), 2u);
  running->end();
  EXPECT_EQ(waits_stranger.code(), Code::kOK);
  EXPECT_EQ(waits_sibling.code(), Code::kOK);
  EXPECT_EQ(deadlocks(), 0u);
}

TEST_F(DeadlockTest, SiblingsCanDeadlock) {
  const auto session = begin_session(1);
  const auto a = begin(2, "A", session.get());
  const auto b = begin(3, "B", session.get());
  ASSERT_TRUE(lock(*a, "A").ok());
  ASSERT_TRUE(lock(*b, "B").ok());
  Waiter waits_a(*table_, *a, rule_, "B");
  Waiter waits_b(*table_, *b, rule_, "A");
  EXPECT_EQ(waits_b.code(), Code::kDEADLOCK);
  EXPECT_EQ(waits_a.code(), Code::kOK);
}

// --- several processes -----------------------------------------------------------------------------------------------

struct Ring {
  std::atomic<int> holding{0};
  std::atomic<int> codes[10];
  std::atomic<std::uint64_t> parties[10];
  std::atomic<std::uint64_t> pids[10];  // different ones in the cycle reported
};

TEST_F(DeadlockTest, BetweenProcesses) {
  for (const int size : {2, 3, 10}) {
    SCOPED_TRACE(size);
    platform::SharedMemory<Ring> ring;
    std::vector<pid_t> children;
    for (int i = 0; i < size; ++i) {
      children.push_back(platform::fork_child([&, i] {
        platform::Liveness liveness = join("child");
        auto table = LockTable::attach(directory_ / "locks", liveness, slots_->rows);
        if (!table.ok()) return 1;
        Owner owner(**table);
        const int age = (i + size / 2) % size;  // the youngest is in the middle
        if (!owner.begin("", kBegan + static_cast<std::uint64_t>(age), false, nullptr).ok()) return 2;
        const std::string mine = "row " + std::to_string(i);
        const std::string next = "row " + std::to_string((i + 1) % size);
        if (!(*table)->acquire(owner, {row_of(mine), Mode::kExclusive}, rule_, nullptr).ok()) return 3;
        ++ring->holding;
        if (!eventually([&] { return ring->holding == size; })) return 4;
        Report report;
        const Status status = (*table)->acquire(owner, {row_of(next), Mode::kExclusive}, rule_, &report);
        ring->codes[i] = static_cast<int>(status.code());
        ring->parties[i] = report.cycle.size();
        std::vector<std::uint64_t> pids;
        for (const Party& party : report.cycle) {
          if (party.label == "child") pids.push_back(party.pid);
        }
        std::sort(pids.begin(), pids.end());
        ring->pids[i] = static_cast<std::uint64_t>(std::unique(pids.begin(), pids.end()) - pids.begin());
        owner.end();
        return 0;
      }));
    }
    for (const pid_t child : children) EXPECT_EQ(platform::wait_for_child(child), 0);
    for (int i = 0; i < size; ++i) {
      const bool youngest = (i + size / 2) % size == size - 1;
      EXPECT_EQ(ring->codes[i], static_cast<int>(youngest ? Code::kDEADLOCK : Code::kOK)) << i;
      EXPECT_EQ(ring->parties[i], youngest ? static_cast<unsigned>(size) : 0u) << i;
      EXPECT_EQ(ring->pids[i], youngest ? static_cast<unsigned>(size) : 0u) << i;
    }
    expect_nothing_left();
  }
}

// --- at random -------------------------------------------------------------------------------------------------------

class RandomLocking : public DeadlockTest {
 protected:
  static constexpr int kThreads = 8;
  static constexpr int kRows = 12;

  struct Figures {
    std::uint64_t done = 0, deadlocks = 0, others = 0, faults = 0;
  };

  // Each transaction locks some rows in random modes, and sees that nobody else has what excludes it.
  Figures run(bool in_order, bool upgrades, std::uint64_t for_ms) {
    std::atomic<std::uint64_t> done{0}, deadlocks{0}, others{0}, faults{0}, clock{0};
    std::atomic<int> readers[kRows]{}, writers[kRows]{};
    const std::uint64_t until = monotonic_ns() + for_ms * 1'000'000;
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        std::mt19937 random(static_cast<unsigned>(thread) + 1);
        Owner owner(*table_);
        while (monotonic_ns() < until) {
          if (!owner.begin("", ++clock, false, nullptr).ok()) abort();
          std::vector<int> rows(2 + random() % 3);
          for (int& row : rows) row = static_cast<int>(random() % kRows);
          std::sort(rows.begin(), rows.end());
          rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
          if (!in_order) std::shuffle(rows.begin(), rows.end(), random);
          if (upgrades) rows.insert(rows.end(), rows.front());
          std::vector<Mode> held(kRows, Mode::kNone);
          bool ok = true;
          for (const int row : rows) {
            const Mode mode = random() % 2 == 0 ? Mode::kExclusive : Mode::kShared;
            const std::string key = "row " + std::to_string(100 + row);
            const Status status = lock(owner, key, mode);
            ok = status.ok();
            if (!ok) {
              ++(status.code() == Code::kDEADLOCK ? deadlocks : others);
              break;
            }
            Mode& before = held[static_cast<std::size_t>(row)];
            const Mode after = lock::join(before, mode);
            if (before == Mode::kShared && after == Mode::kExclusive) --readers[row];
            if (before == Mode::kNone && after == Mode::kShared) ++readers[row];
            if (before != Mode::kExclusive && after == Mode::kExclusive) ++writers[row];
            before = after;
            if (writers[row] > 1 || (writers[row] == 1 && readers[row] != 0)) ++faults;
            if (random() % 4 == 0) std::this_thread::yield();
          }
          for (int row = 0; row < kRows; ++row) {
            if (held[static_cast<std::size_t>(row)] == Mode::kExclusive) --writers[row];
            if (held[static_cast<std::size_t>(row)] == Mode::kShared) --readers[row];
          }
          owner.end();
          done += ok ? 1 : 0;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return {done, deadlocks, others, faults};
  }
};

TEST_F(RandomLocking, InCanonicalOrderNothingIsADeadlock) {
  const Figures figures = run(true, false, 2'000);
  EXPECT_GT(figures.done, 100u);
  EXPECT_EQ(figures.deadlocks, 0u);
  EXPECT_EQ(figures.others, 0u);
  EXPECT_EQ(figures.faults, 0u);
  EXPECT_EQ(deadlocks(), 0u);
  expect_nothing_left();
}

// Everything that blocks for good is found: no wait ends by its time limit.
TEST_F(RandomLocking, InAnyOrderEveryDeadlockIsFound) {
  rule_.timeout_ms = 10'000;
  const Figures figures = run(false, true, 2'000);
  EXPECT_GT(figures.done, 100u);
  EXPECT_GT(figures.deadlocks, 0u);
  EXPECT_EQ(figures.others, 0u);
  EXPECT_EQ(figures.faults, 0u);
  EXPECT_EQ(deadlocks(), figures.deadlocks);
  expect_nothing_left();
}

// --- listing ---------------------------------------------------------------------------------------------------------

TEST_F(DeadlockTest, ListsHoldersThenWaitersInOrder) {
  const auto holder = begin(1, "holder");
  const auto first = begin(2, "");
  const auto second = begin(3, "second");
  const auto session = begin_session(4);
  ASSERT_TRUE(lock(*holder, "b", Mode::kShared).ok());
  ASSERT_TRUE(lock(*holder, "a").ok());
  ASSERT_TRUE(lock(*holder, std::string(300, 'z')).ok());
  ASSERT_TRUE(lock(*session, "name", Mode::kShared, kNames).ok());
  holder->set_expiry(1);  // passed long ago, as soon as somebody looks
  const std::vector<Party> alone = table_->list();
  ASSERT_EQ(alone.size(), 4u);
  EXPECT_EQ(alone[0].key, "name");
  EXPECT_TRUE(alone[0].session);
  EXPECT_FALSE(alone[0].expired);
  EXPECT_EQ(alone[1].key, "a");
  EXPECT_TRUE(alone[1].expired);
  EXPECT_EQ(alone[3].key, std::string(300, 'z'));
  EXPECT_EQ(alone[3].held, Mode::kExclusive);
  holder->set_expiry(UINT64_MAX);

  const std::uint64_t first_number = first->number();
  const std::uint64_t second_number = second->number();
  Waiter waits_first(*table_, *first, rule_, "b");
  ASSERT_TRUE(becomes_waiting(1));
  Waiter waits_second(*table_, *second, rule_, "b");
  ASSERT_TRUE(becomes_waiting(2));
  sleep_for_ms(20);
  const std::vector<Party> parties = table_->list();
  ASSERT_EQ(parties.size(), 6u);
  EXPECT_EQ(parties[2].number, holder->number());
  EXPECT_EQ(parties[2].held, Mode::kShared);
  EXPECT_EQ(parties[2].wanted, Mode::kNone);
  EXPECT_EQ(parties[2].label, "holder");
  EXPECT_EQ(parties[2].thread, static_cast<std::uint64_t>(gettid()));
  EXPECT_EQ(parties[3].number, first_number);
  EXPECT_EQ(parties[3].label, "tests");  // its process's
  EXPECT_EQ(parties[3].wanted, Mode::kExclusive);
  EXPECT_EQ(parties[3].held, Mode::kNone);
  EXPECT_GE(parties[3].since_ms, 20u);
  EXPECT_LT(parties[3].since_ms, 30'000u);
  EXPECT_EQ(parties[4].number, second_number);
  EXPECT_EQ(parties[4].pid, static_cast<std::uint64_t>(getpid()));

  const LockStats stats = table_->stats();
  EXPECT_EQ(stats.locks_max, 16'384u);
  EXPECT_EQ(stats.units_in_use, 6u + 2u);  // the long key takes two more
  EXPECT_EQ(stats.owners_in_use, 4u);
  EXPECT_EQ(stats.waits, 2u);
  EXPECT_EQ(stats.hot_cells, 0u);

  // Without slots nothing is known of processes.
  table_->set_slots(nullptr);
  EXPECT_EQ(table_->list()[3].pid, 0u);
  EXPECT_EQ(table_->list()[3].label, "");
  table_->set_slots(slots_->rows);
  holder->end();
  EXPECT_EQ(waits_first.code(), Code::kOK);
  EXPECT_EQ(waits_second.code(), Code::kOK);
  session->end();
  EXPECT_EQ(table_->stats().units_in_use, 0u);
  EXPECT_EQ(table_->stats().owners_in_use, 0u);
}

// Locks that move together are listed together: each listing is of one moment.
TEST_F(DeadlockTest, ListsAConsistentPicture) {
  std::atomic<bool> stop{false};
  std::atomic<int> started{0};
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 2; ++thread) {
    threads.emplace_back([&, thread] {
      Owner owner(*table_);
      const std::string keys[3] = {"a" + std::to_string(thread), "b" + std::to_string(thread),
                                   "c" + std::to_string(thread)};
      // A row is given back only when the next one is held.
      if (!owner.begin("", 1, false, nullptr).ok() || !lock(owner, keys[0]).ok()) abort();
      ++started;
      for (int at = 0; !stop; at = (at + 1) % 3) {
        if (!lock(owner, keys[(at + 1) % 3]).ok() || !table_->release(owner, row_of(keys[at])).ok()) abort();
      }
      owner.end();
    });
  }
  EXPECT_TRUE(eventually([&] { return started == 2; }));
  for (int i = 0; i < 50; ++i) {
    int held[2] = {0, 0};
    for (const Party& party : table_->list()) ++held[party.key[1] - '0'];
    for (const int count : held) {
      EXPECT_GE(count, 1);
      EXPECT_LE(count, 2);
    }
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  expect_nothing_left();
}

}  // namespace
}  // namespace hf::lock
