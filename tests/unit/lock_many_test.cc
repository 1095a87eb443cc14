// SPDX-License-Identifier: Apache-2.0
// Goal: a list of rows is locked whole or not at all, in one order whoever names it in which; keys of every length, and
// rows whose hashes or buckets are the same, are told apart.
// Method: lists that succeed, and lists that fail at each place, with what was held before looked at from outside.
#include <gtest/gtest.h>

#include <random>

#include "lock_testing.h"

namespace hf::lock {
namespace {

constexpr Mode N = Mode::kNone, S = Mode::kShared, X = Mode::kExclusive, I = Mode::kIncrement;

class LockManyTest : public LockTest {
 protected:
  // A row whose key is kept here.
  Row keep(std::string key, TableId table = kTable) {
    keys_.push_back(std::make_unique<std::string>(std::move(key)));
    return row_of(*keys_.back(), table);
  }
  // What others can see to be held of it.
  Mode seen(const Row& row) {
    for (const Mode mode : {I, S, X}) {
      Life other(*second_);
      if (other.lock(row, mode) != Code::kOK) continue;
      if (mode == X) return N;
      Life third(*second_);
      if (third.lock(row, mode == I ? S : I) == Code::kOK) ADD_FAILURE() << "both groups at once";
      other->end();
      Life writer(*second_);
      return writer.lock(row, X) == Code::kOK ? N : mode;
    }
    return X;
  }

  Member first_ = create();
  Member second_ = attach();
  std::vector<std::unique_ptr<std::string>> keys_;
};

TEST_F(LockManyTest, TakesAllInCanonicalOrder) {
  std::vector<Request> requests = {
      {row_of("c"), X}, {row_of("a", kTable + 1), S}, {row_of("a"), I}, {row_of("b"), S}, {row_of("\xff"), X},
      {row_of(""), X},  {row_of("z", kTable - 1), X}};
  Life owner(*first_);
  ASSERT_TRUE(first_->acquire_all(*owner, requests, Life::no_wait(), nullptr).ok());
  ASSERT_EQ(requests.size(), 7u);
  const std::pair<TableId, Bytes> order[] = {{kTable - 1, "z"}, {kTable, ""},     {kTable, "a"},    {kTable, "b"},
                                             {kTable, "c"},     {kTable, "\xff"}, {kTable + 1, "a"}};
  for (std::size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(requests[i].row.table, order[i].first);
    EXPECT_EQ(requests[i].row.key, order[i].second);
    EXPECT_EQ(owner->held(requests[i].row), requests[i].mode);
    EXPECT_EQ(seen(requests[i].row), requests[i].mode);
  }
  EXPECT_EQ(owner->held_count(), 7u);
}

TEST_F(LockManyTest, FoldsRowsNamedTwice) {
  Life owner(*first_);
  std::vector<Request> requests = {{row_of("a"), S}, {row_of("b"), I}, {row_of("a"), X},
                                   {row_of("c"), S}, {row_of("b"), S}, {row_of("c"), S},
                                   {row_of("a"), S}, {row_of("d"), I}, {row_of("d"), I}};
  ASSERT_TRUE(first_->acquire_all(*owner, requests, Life::no_wait(), nullptr).ok());
  EXPECT_EQ(owner->held_count(), 4u);
  EXPECT_EQ(seen(row_of("a")), X);
  EXPECT_EQ(seen(row_of("b")), X);  // to increment and to read: nobody else may do either
  EXPECT_EQ(seen(row_of("c")), S);
  EXPECT_EQ(seen(row_of("d")), I);
  EXPECT_EQ(first_->stats().units_in_use, 4u);
  owner->end();
  expect_clean(first_, {row_of("a"), row_of("b"), row_of("c"), row_of("d")});
}

TEST_F(LockManyTest, EmptyAndSingleLists) {
  Life owner(*first_);
  EXPECT_EQ(owner.lock_all({}), Code::kOK);
  EXPECT_EQ(owner->held_count(), 0u);
  EXPECT_EQ(owner.lock_all({{row_of("a"), S}}), Code::kOK);
  EXPECT_EQ(owner->held(row_of("a")), S);
  EXPECT_EQ(owner.lock_all({{row_of("a"), S}, {row_of("a"), S}}), Code::kOK);
  EXPECT_EQ(owner->held_count(), 1u);
}

// The row that cannot be had stands at each place of the list in turn; before the call the owner holds some rows, of
// which the list names a few in stronger modes.
TEST_F(LockManyTest, AllOrNothingWhereverItFails) {
  const Bytes keys[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
  for (std::size_t refused = 0; refused < 8; ++refused) {
    for (const bool wait : {false, true}) {
      Life obstacle(*second_, "obstacle");
      const Mode held_before[8] = {S, N, X, I, N, S, N, I};
      ASSERT_EQ(obstacle.lock(row_of(keys[refused]), held_before[refused] == X   ? X
                                                     : held_before[refused] == N ? X
                                                                                 : held_before[refused]),
                Code::kOK);
      Life owner(*first_);
      for (std::size_t i = 0; i < 8; ++i) {
        if (held_before[i] == N || (i == refused && held_before[i] == X)) continue;
        ASSERT_EQ(owner.lock(row_of(keys[i]), held_before[i]), Code::kOK) << keys[i];
      }
      std::vector<Mode> before;
      for (const Bytes key : keys) before.push_back(owner->held(row_of(key)));
      const std::uint64_t units = first_->stats().units_in_use;

      std::vector<Request> requests;
      for (const Bytes key : keys) requests.push_back({row_of(key), X});
      std::swap(requests[0], requests[7]);
      std::swap(requests[2], requests[5]);
      Report report;
      const Status status = first_->acquire_all(*owner, requests, wait ? wait_ms(5) : Life::no_wait(), &report);
      EXPECT_EQ(status.code(), wait ? Code::kLOCK_TIMEOUT : Code::kLOCKED) << keys[refused];
      EXPECT_EQ(report.key, keys[refused]);
      EXPECT_EQ(report.other.label, "obstacle");
      EXPECT_EQ(first_->stats().units_in_use, units);
      obstacle->end();
      for (std::size_t i = 0; i < 8; ++i) {
        EXPECT_EQ(owner->held(row_of(keys[i])), before[i]) << keys[i] << " when " << keys[refused] << " was refused";
        EXPECT_EQ(seen(row_of(keys[i])), before[i]) << keys[i] << " when " << keys[refused] << " was refused";
      }
    }
  }
  expect_clean(first_, {});
}

// While it waits in the middle of a list, nothing of the rest is held; when it gives up, who waited for the first row
// gets it.
TEST_F(LockManyTest, GivingUpGrantsWhatWaitedForTheRowsTaken) {
  Life obstacle(*second_);
  ASSERT_EQ(obstacle.lock(row_of("b"), X), Code::kOK);
  std::thread taker([&] {
    Life owner(*first_);
    EXPECT_EQ(owner.lock_all({{row_of("c"), X}, {row_of("b"), X}, {row_of("a"), X}}, wait_ms(100)),
              Code::kLOCK_TIMEOUT);
    EXPECT_EQ(owner->held_count(), 0u);
    sleep_for_ms(200);
  });
  ASSERT_TRUE(eventually_waiting(*first_, row_of("b"), 1));
  Life other(*second_);
  EXPECT_EQ(other.lock(row_of("c"), X), Code::kOK) << "comes after the one waited for";
  EXPECT_EQ(other.lock(row_of("a"), X), Code::kLOCKED);
  EXPECT_EQ(other.lock(row_of("a"), X, wait_ms(10'000)), Code::kOK);
  taker.join();
}

// The timeout is one for the whole list, not one for each row.
TEST_F(LockManyTest, OneTimeoutForTheWholeList) {
  Life slow[3] = {Life(*second_), Life(*second_), Life(*second_)};
  const Bytes keys[] = {"a", "b", "c"};
  for (int i = 0; i < 3; ++i) ASSERT_EQ(slow[i].lock(row_of(keys[i]), X), Code::kOK);
  std::thread releaser([&] {
    for (int i = 0; i < 2; ++i) {
      sleep_for_ms(70);
      slow[i]->end();
    }
  });
  Life owner(*first_);
  const std::uint64_t start = monotonic_ns();
  EXPECT_EQ(owner.lock_all({{row_of("a"), X}, {row_of("b"), X}, {row_of("c"), X}}, wait_ms(100)), Code::kLOCK_TIMEOUT);
  EXPECT_LT(monotonic_ns() - start, (kSanitized ? 1'000u : 220u) * 1'000'000u);
  releaser.join();
}

TEST_F(LockManyTest, TwoThatTakeTheSameRowsNeverDeadlock) {
  std::vector<Row> rows;
  for (int i = 0; i < 6; ++i) rows.push_back(keep("row" + std::to_string(i)));
  const int rounds = kSanitized ? 300 : 2'000;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      std::mt19937 random(static_cast<unsigned>(i));
      LockTable& table = i % 2 == 0 ? *first_ : *second_;
      WaitRule rule = wait_ms(UINT64_MAX);
      rule.search = false;
      rule.ordered = i == 1;
      for (int round = 0; round < rounds; ++round) {
        std::vector<Request> requests;
        for (const Row& row : rows) requests.push_back({row, random() % 2 == 0 ? X : S});
        std::shuffle(requests.begin(), requests.end(), random);
        requests.resize(3);
        Life owner(table);
        ASSERT_EQ(owner.lock_all(requests, rule), Code::kOK);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(first_->stats().deadlocks, 0u);
  expect_clean(first_, rows);
}

TEST_F(LockManyTest, ThousandsOfRows) {
  std::vector<Request> requests;
  for (int i = 0; i < 2'000; ++i) requests.push_back({keep("row" + std::to_string(i)), i % 3 == 0 ? X : S});
  Life owner(*first_);
  ASSERT_EQ(owner.lock_all(requests), Code::kOK);
  EXPECT_EQ(owner->held_count(), 2'000u);
  EXPECT_EQ(first_->stats().units_in_use, 2'000u);
  for (int i = 0; i < 2'000; i += 100) EXPECT_EQ(owner->held(requests[i].row), i % 3 == 0 ? X : S);
  // Released one by one from the middle, the rest is still found.
  for (int i = 0; i < 2'000; i += 2) ASSERT_EQ(owner.unlock(requests[i].row), Code::kOK);
  for (int i = 0; i < 2'000; ++i) ASSERT_EQ(owner->held(requests[i].row), i % 2 == 0 ? N : requests[i].mode) << i;
  EXPECT_EQ(first_->stats().units_in_use, 1'000u);
  owner->end();
  EXPECT_EQ(owner->held_count(), 0u);
  expect_clean(first_, {requests[1].row});
}

// --- keys ----------------------------------------------------------------------------------------------------------

TEST_F(LockManyTest, KeysOfEveryLength) {
  struct Border {
    std::size_t key_size;
    std::uint64_t units;
  };
  for (const Border& border : {Border{0, 1}, Border{1, 1}, Border{79, 1}, Border{80, 1}, Border{81, 2}, Border{199, 2},
                               Border{200, 2}, Border{201, 3}, Border{320, 3}, Border{321, 4}, Border{440, 4},
                               Border{441, 5}, Border{510, 5}, Border{511, 5}}) {
    std::string key(border.key_size, '\0');
    for (std::size_t i = 0; i < key.size(); ++i) key[i] = static_cast<char>(i * 7 + 1);
    const Row row = keep(key);
    Life owner(*first_);
    ASSERT_EQ(owner.lock(row, X), Code::kOK);
    EXPECT_EQ(first_->stats().units_in_use, border.units) << border.key_size;
    EXPECT_EQ(owner->held(row), X);
    Life other(*second_);
    Report report;
    EXPECT_EQ(other.lock(row, S, Life::no_wait(), &report), Code::kLOCKED) << border.key_size;
    EXPECT_EQ(report.key, key);
    EXPECT_EQ(report.other.key, key);
    // The last byte counts, and so does the length.
    if (!key.empty()) {
      std::string changed = key;
      changed.back() ^= 1;
      EXPECT_EQ(other.lock({kTable, Bytes(changed), row.hash}, X), Code::kOK) << border.key_size;
      EXPECT_EQ(other.lock({kTable, Bytes(key).substr(0, key.size() - 1), row.hash}, X), Code::kOK);
    }
    const std::vector<Party> parties = first_->list();
    EXPECT_TRUE(std::any_of(parties.begin(), parties.end(), [&](const Party& party) { return party.key == key; }));
    other->end();
    ASSERT_EQ(owner.unlock(row), Code::kOK);
    EXPECT_EQ(first_->stats().units_in_use, 0u) << border.key_size;
  }
  expect_clean(first_, {});
}

// Keys that differ in one byte anywhere, of all of which the hash is the same.
TEST_F(LockManyTest, RowsWithOneHashAreToldApart) {
  const std::string base(511, 'k');
  std::vector<Row> rows;
  for (const std::size_t at : {0, 1, 79, 80, 81, 199, 200, 201, 319, 320, 321, 439, 440, 441, 509, 510}) {
    std::string key = base;
    key[at] = 'x';
    Row row = keep(key);
    row.hash = 42;
    rows.push_back(row);
  }
  for (const std::size_t size : {0, 1, 79, 80, 81, 200, 201, 511}) {
    Row row = keep(base.substr(0, size));
    row.hash = 42;
    rows.push_back(row);
    row.table = kTable + 1;
    rows.push_back(row);
  }
  // Different owners, same owner.
  std::vector<std::unique_ptr<Life>> owners;
  for (const Row& row : rows) {
    owners.push_back(std::make_unique<Life>(owners.size() % 2 == 0 ? *first_ : *second_));
    ASSERT_EQ(owners.back()->lock(row, X), Code::kOK) << row.key.size();
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    Life other(*first_);
    Report report;
    EXPECT_EQ(other.lock(rows[i], S, Life::no_wait(), &report), Code::kLOCKED);
    EXPECT_EQ(report.other.number, (*owners[i])->number());
    EXPECT_EQ(first_->probe(nullptr, rows[i], S), LockTable::Probe::kMaybeLocked);
  }
  // Each is given back alone, and only to who waits for it.
  for (std::size_t i = 0; i < rows.size(); ++i) {
    owners[i]->operator->()->end();
    EXPECT_EQ(first_->probe(nullptr, rows[i], S), LockTable::Probe::kFree);
    Life other(*first_);
    EXPECT_EQ(other.lock(rows[i], X), Code::kOK);
    if (i + 1 < rows.size()) {
      EXPECT_EQ(other.lock(rows[i + 1], X), Code::kLOCKED);
    }
  }
  Life all(*first_);
  std::vector<Request> requests;
  for (const Row& row : rows) requests.push_back({row, X});
  EXPECT_EQ(all.lock_all(requests), Code::kOK);
  EXPECT_EQ(all->held_count(), rows.size());
  for (std::size_t i = 0; i < rows.size(); i += 2) EXPECT_EQ(all.unlock(rows[i]), Code::kOK);
  for (std::size_t i = 0; i < rows.size(); ++i) EXPECT_EQ(all->held(rows[i]), i % 2 == 0 ? N : X);
}

// Rows of one bucket, of different hashes: waiters of one are not granted, passed or dropped by what happens to
// another.
TEST_F(LockManyTest, RowsInOneBucketDoNotDisturbEachOther) {
  constexpr int kRows = 5;
  std::vector<Row> rows;
  for (int i = 0; i < kRows; ++i) {
    Row row = keep("row" + std::to_string(i));
    row.hash = 7 + static_cast<std::uint64_t>(i) * kBuckets * 1000;
    rows.push_back(row);
  }
  std::vector<std::unique_ptr<Life>> holders;
  std::vector<std::unique_ptr<Waiter>> waiters;
  for (int turn = 0; turn < 2; ++turn) {
    for (int i = 0; i < kRows; ++i) {
      if (turn == 0) {
        holders.push_back(std::make_unique<Life>(*first_));
        ASSERT_EQ(holders.back()->lock(rows[i], X), Code::kOK);
      }
      waiters.push_back(std::make_unique<Waiter>(*second_, rows[i], turn == 0 ? X : S, wait_strictly()));
      waiters.back()->start();
      ASSERT_TRUE(eventually_waiting(*first_, rows[i], static_cast<std::size_t>(turn) + 1));
    }
  }
  for (const int i : {2, 0, 4, 1, 3}) {
    holders[i]->operator->()->end();
    EXPECT_EQ(waiters[i]->answer(), Code::kOK);
    sleep_for_ms(2);
    EXPECT_FALSE(waiters[kRows + i]->answered());
    EXPECT_EQ(waiting(*first_, rows[i]), 1u);
  }
  for (const int i : {3, 4, 0, 2, 1}) {
    waiters[i]->finish();
    EXPECT_EQ(waiters[kRows + i]->answer(), Code::kOK);
  }
  waiters.clear();
  expect_clean(first_, rows);
}

}  // namespace
}  // namespace hf::lock
