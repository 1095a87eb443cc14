// SPDX-License-Identifier: Apache-2.0
// Goal: row locks as the header promises them: modes, policies, codes, what changed and what did not, and locked reads.
// Method: two transactions of one thread where nothing waits; a thread for what does. Reports, deadlocks and other
// processes are the matter of lock_reports_test.cc, wrong arguments of lock_input_test.cc.
#include <atomic>
#include <set>

#include "locks_support.h"

namespace conformance {
namespace {

constexpr std::uint32_t kModes[] = {HF_LOCK_SHARED, HF_LOCK_EXCLUSIVE, HF_LOCK_INCREMENT};

class Locks : public DatabaseTest {
 protected:
  static int lock(hf_txn* txn, hf_table* table, const char* key, std::uint32_t mode = 0,
                  std::uint32_t wait = HF_NO_WAIT, std::uint64_t timeout_ms = 0) {
    const hf_lock_options options = lock_options(mode, wait, timeout_ms);
    return hf_lock(txn, table, bytes(key), &options);
  }
  int lock(hf_txn* txn, const char* key, std::uint32_t mode = 0, std::uint32_t wait = HF_NO_WAIT,
           std::uint64_t timeout_ms = 0) {
    return lock(txn, table_, key, mode, wait, timeout_ms);
  }
};

TEST_F(Locks, ModesAgainstModes) {
  for (const std::uint32_t held : kModes) {
    for (const std::uint32_t wanted : kModes) {
      const Txn one(db_);
      const Txn two(db_);
      ASSERT_EQ(lock(one, "present", held), HF_OK);
      const bool compatible = held == wanted && held != HF_LOCK_EXCLUSIVE;
      EXPECT_EQ(lock(two, "present", wanted), compatible ? HF_OK : HF_LOCKED) << held << " against " << wanted;
      EXPECT_EQ(lock(two, "other", wanted), HF_OK) << "it runs on";
      EXPECT_EQ(hf_abort(one), HF_OK);
      EXPECT_EQ(lock(two, "present", wanted), HF_OK) << "given back";
    }
  }
}

TEST_F(Locks, OwnLocksAreNeverInTheWay) {
  for (const std::uint32_t first : kModes) {
    for (const std::uint32_t second : kModes) {
      const Txn one(db_);
      const Txn two(db_);
      ASSERT_EQ(lock(one, "k", first), HF_OK);
      ASSERT_EQ(lock(one, "k", second), HF_OK) << first << " then " << second;
      const std::uint32_t joined = first == second ? first : static_cast<std::uint32_t>(HF_LOCK_EXCLUSIVE);
      for (const std::uint32_t wanted : kModes) {
        const bool compatible = joined == wanted && joined != HF_LOCK_EXCLUSIVE;
        const Txn third(db_);
        EXPECT_EQ(lock(third, "k", wanted), compatible ? HF_OK : HF_LOCKED);
      }
      EXPECT_EQ(lock(two, "k\x01"), HF_OK) << "no neighbour";
      EXPECT_EQ(lock(two, "j"), HF_OK);
    }
  }
}

TEST_F(Locks, TablesAreApart) {
  hf_table* other = nullptr;
  ASSERT_EQ(hf_table_create(db_, "other", &other), HF_OK);
  const Txn one(db_);
  const Txn two(db_);
  EXPECT_EQ(lock(one, table_, "k"), HF_OK);
  EXPECT_EQ(lock(two, other, "k"), HF_OK);
  EXPECT_EQ(lock(two, table_, "k"), HF_LOCKED);
}

TEST_F(Locks, UpgradeWaitsUntilAlone) {
  const Txn one(db_);
  const Txn two(db_);
  ASSERT_EQ(lock(one, "k", HF_LOCK_SHARED), HF_OK);
  ASSERT_EQ(lock(two, "k", HF_LOCK_SHARED), HF_OK);
  EXPECT_EQ(lock(one, "k", HF_LOCK_EXCLUSIVE), HF_LOCKED);
  EXPECT_EQ(lock(one, "k", HF_LOCK_EXCLUSIVE, HF_WAIT, 30), HF_LOCK_TIMEOUT);
  const Txn third(db_);
  EXPECT_EQ(lock(third, "k", HF_LOCK_SHARED), HF_OK) << "still shared";
  EXPECT_EQ(hf_abort(third), HF_OK);
  Later upgrade([&] { return lock(one, "k", HF_LOCK_EXCLUSIVE, HF_WAIT, 10'000); });
  ASSERT_TRUE(somebody_waits(db_));
  EXPECT_EQ(hf_abort(two), HF_OK);
  EXPECT_EQ(upgrade.code(), HF_OK);
  EXPECT_EQ(hf_restart(third), HF_OK);
  EXPECT_EQ(lock(third, "k", HF_LOCK_SHARED), HF_LOCKED);
}

TEST_F(Locks, TimeoutsOfCallTransactionAndDatabase) {
  const Txn holder(db_);
  ASSERT_EQ(lock(holder, "k"), HF_OK);
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.lock_timeout_ms = 60;
  const Txn txn(db_, &options);
  ASSERT_EQ(hf_put(txn, table_, bytes("mine"), bytes("1"), 0), HF_OK);
  const Stopwatch own;
  EXPECT_EQ(hf_lock(txn, table_, bytes("k"), nullptr), HF_LOCK_TIMEOUT);
  EXPECT_GE(own.ms(), 55u);
  EXPECT_LT(own.ms(), 4'000u) << "the database's default";
  const Stopwatch call;
  EXPECT_EQ(lock(txn, "k", 0, HF_WAIT, 200), HF_LOCK_TIMEOUT);
  EXPECT_GE(call.ms(), 195u);
  const Stopwatch none;
  EXPECT_EQ(lock(txn, "k", 0, HF_NO_WAIT, 5'000), HF_LOCKED);
  EXPECT_EQ(lock(txn, "k", 0, HF_SKIP_LOCKED, 5'000), HF_LOCKED) << "one row: as no-wait";
  EXPECT_LT(none.ms(), 1'000u);
  EXPECT_EQ(hf_commit(txn), HF_OK) << "nothing changed by any of it";
  EXPECT_EQ(get("mine"), "1");
}

TEST_F(Locks, AbsurdTimeoutsAreForEver) {
  for (const std::uint64_t timeout_ms : {HF_FOREVER, UINT64_MAX - 1, UINT64_MAX / 2, UINT64_MAX / 1000}) {
    const Txn holder(db_);
    ASSERT_EQ(lock(holder, "k"), HF_OK);
    hf_txn_options options = HF_TXN_OPTIONS_INIT;
    options.lock_timeout_ms = timeout_ms;
    const Txn txn(db_, &options);
    Later waits([&] { return hf_lock(txn, table_, bytes("k"), nullptr); });
    ASSERT_TRUE(somebody_waits(db_));
    EXPECT_EQ(hf_abort(holder), HF_OK);
    EXPECT_EQ(waits.code(), HF_OK) << timeout_ms;
    EXPECT_EQ(hf_restart(holder), HF_OK);
    Later again([&] { return lock(holder, "k", 0, HF_WAIT, timeout_ms); });
    ASSERT_TRUE(somebody_waits(db_));
    EXPECT_EQ(hf_abort(txn), HF_OK);
    EXPECT_EQ(again.code(), HF_OK) << timeout_ms;
  }
}

TEST_F(Locks, GoWithCommitAndAbortNotWithSavepoints) {
  const Txn one(db_);
  const Txn two(db_);
  std::uint64_t savepoint = 0;
  ASSERT_EQ(hf_savepoint(one, &savepoint), HF_OK);
  ASSERT_EQ(lock(one, "k"), HF_OK);
  ASSERT_EQ(hf_put(one, table_, bytes("k"), bytes("1"), 0), HF_OK);
  ASSERT_EQ(hf_rollback_to(one, savepoint), HF_OK);
  EXPECT_EQ(lock(two, "k"), HF_LOCKED) << "a rollback gives none back";
  ASSERT_EQ(hf_commit(one), HF_OK);
  EXPECT_EQ(lock(two, "k"), HF_OK);
  hf_txn* third = nullptr;
  ASSERT_EQ(hf_begin(db_, nullptr, &third), HF_OK);
  EXPECT_EQ(lock(third, "k"), HF_LOCKED);
  EXPECT_EQ(hf_abort(two), HF_OK);
  EXPECT_EQ(lock(third, "k"), HF_OK);
  EXPECT_EQ(hf_txn_end(&third), HF_OK);
  EXPECT_EQ(hf_restart(two), HF_OK);
  EXPECT_EQ(lock(two, "k"), HF_OK) << "given back with the handle";
}

TEST_F(Locks, StrictOrderIsServedInOrder) {
  constexpr int kWaiters = 5;
  const Txn holder(db_);
  ASSERT_EQ(lock(holder, "k"), HF_OK);
  std::atomic<int> served{0};
  std::vector<int> places(kWaiters, -1);
  std::vector<std::thread> threads;
  for (int i = 0; i < kWaiters; ++i) {
    threads.emplace_back([&, i] {
      const Txn txn(db_);
      hf_lock_options options = lock_options(0, HF_WAIT, 20'000);
      options.flags = HF_LOCK_STRICT;
      EXPECT_EQ(hf_lock(txn, table_, bytes("k"), &options), HF_OK);
      places[static_cast<std::size_t>(i)] = served.fetch_add(1);
    });
    ASSERT_TRUE(somebody_waits(db_, static_cast<std::size_t>(i) + 1));
  }
  EXPECT_EQ(hf_abort(holder), HF_OK);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(places, (std::vector<int>{0, 1, 2, 3, 4}));
}

// --- locked reads ---------------------------------------------------------------------------------------------------

TEST_F(Locks, ForUpdateReadsTheNewestAndNeverConflicts) {
  const Txn txn(db_);  // its snapshot is older than the change
  put("present", "changed");
  hf_row row{};
  ASSERT_EQ(hf_get_for_update(txn, table_, bytes("present"), nullptr, &row), HF_OK);
  EXPECT_EQ(text(row.value), "changed");
  EXPECT_NE(row.version, 0u);
  EXPECT_EQ(row.code, HF_OK);
  ASSERT_EQ(hf_put(txn, table_, bytes("present"), bytes("mine"), 0), HF_OK);
  EXPECT_EQ(hf_commit(txn), HF_OK) << error_of(txn).message;
  EXPECT_EQ(get("present"), "mine");
}

TEST_F(Locks, PlainReadAfterALockSeesTheNewest) {
  const Txn txn(db_);
  put("present", "changed");
  ASSERT_EQ(hf_lock(txn, table_, bytes("present"), nullptr), HF_OK);
  hf_row row{};
  ASSERT_EQ(hf_get(txn, table_, bytes("present"), &row), HF_OK);
  EXPECT_EQ(text(row.value), "changed");
  EXPECT_EQ(hf_commit(txn), HF_OK);
}

TEST_F(Locks, SnapshotMovesWhenWhatWasReadHasNotChanged) {
  put("read", "old");
  const Txn txn(db_);
  hf_row before{};
  hf_row row{};
  ASSERT_EQ(hf_get(txn, table_, bytes("read"), &before), HF_OK);
  put("present", "changed");
  ASSERT_EQ(hf_get_for_update(txn, table_, bytes("present"), nullptr, &row), HF_OK);
  EXPECT_EQ(text(row.value), "changed");
  EXPECT_EQ(text(before.value), "old") << "bytes stay where they are";
  ASSERT_EQ(hf_put(txn, table_, bytes("present"), bytes("mine"), 0), HF_OK);
  EXPECT_EQ(hf_commit(txn), HF_OK) << error_of(txn).message;
}

TEST_F(Locks, ConflictOfALockedReadEndsTheTransaction) {
  put("read", "old");
  const Txn txn(db_);
  const Txn other(db_);
  hf_row row{};
  ASSERT_EQ(hf_get(txn, table_, bytes("read"), &row), HF_OK);
  ASSERT_EQ(lock(txn, "locked"), HF_OK);
  put("read", "new");
  put("present", "changed");
  ASSERT_EQ(hf_get_for_update(txn, table_, bytes("present"), nullptr, &row), HF_CONFLICT);
  const hf_error error = error_of(txn);
  EXPECT_EQ(error.code, HF_CONFLICT);
  EXPECT_STREQ(error.table, "rows");
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(error.key), error.key_size), "read") << "the row that changed";
  EXPECT_NE(error.other_csn, 0u);
  EXPECT_EQ(hf_get(txn, table_, bytes("read"), &row), HF_MISUSE) << "it has ended";
  EXPECT_EQ(lock(other, "locked"), HF_OK) << "with its locks";
  EXPECT_EQ(lock(other, "present"), HF_OK);
  EXPECT_EQ(hf_abort(other), HF_OK);
  EXPECT_EQ(hf_restart(txn), HF_OK);
  EXPECT_EQ(hf_get_for_update(txn, table_, bytes("present"), nullptr, &row), HF_OK);
}

TEST_F(Locks, AbsentRowsAreLocked) {
  const Txn one(db_);
  const Txn two(db_);
  hf_row row{};
  EXPECT_EQ(hf_get_for_update(one, table_, bytes("absent"), nullptr, &row), HF_NOT_FOUND);
  EXPECT_EQ(lock(two, "absent", HF_LOCK_SHARED), HF_LOCKED);
  EXPECT_EQ(hf_insert(one, table_, bytes("absent"), bytes("mine"), 0), HF_OK);
  EXPECT_EQ(hf_commit(one), HF_OK);
  EXPECT_EQ(hf_get_for_update(two, table_, bytes("absent"), nullptr, nullptr), HF_OK) << "row may be NULL";
}

TEST_F(Locks, ForShare) {
  const Txn one(db_);
  const Txn two(db_);
  const Txn third(db_);
  hf_row row{};
  const hf_lock_options now = lock_options(0, HF_NO_WAIT);
  ASSERT_EQ(hf_get_for_share(one, table_, bytes("present"), nullptr, &row), HF_OK);
  EXPECT_EQ(text(row.value), "value");
  EXPECT_EQ(hf_get_for_share(two, table_, bytes("present"), &now, &row), HF_OK);
  EXPECT_EQ(hf_get_for_update(third, table_, bytes("present"), &now, &row), HF_LOCKED);
  EXPECT_EQ(hf_get(third, table_, bytes("present"), &row), HF_OK) << "plain reads do not look at locks";
}

TEST_F(Locks, ManyForUpdate) {
  put("a", "1");
  put("c", "3");
  const Txn one(db_);
  const Txn two(db_);
  const hf_bytes keys[] = {bytes("c"), bytes("absent"), bytes("a"), bytes("c")};
  hf_row rows[4];
  const hf_lock_options now = lock_options(0, HF_NO_WAIT);
  put("c", "33");
  ASSERT_EQ(hf_get_many_for_update(one, table_, keys, 4, nullptr, rows), HF_OK);
  EXPECT_EQ(text(rows[0].value), "33");
  EXPECT_EQ(rows[1].code, HF_NOT_FOUND);
  EXPECT_EQ(rows[1].value.size, 0u);
  EXPECT_EQ(text(rows[2].value), "1");
  EXPECT_EQ(text(rows[3].value), "33");
  for (const char* key : {"a", "c", "absent"}) EXPECT_EQ(lock(two, key), HF_LOCKED) << key;
  EXPECT_EQ(hf_get_many_for_update(two, table_, keys, 0, &now, nullptr), HF_OK);
  EXPECT_EQ(hf_get_many_for_share(two, table_, keys, 4, &now, rows), HF_LOCKED);
}

TEST_F(Locks, ManyAreLockedAllOrNone) {
  const Txn holder(db_);
  const Txn two(db_);
  const Txn third(db_);
  ASSERT_EQ(lock(holder, "m"), HF_OK);
  ASSERT_EQ(lock(two, "b", HF_LOCK_SHARED), HF_OK);
  const hf_bytes keys[] = {bytes("z"), bytes("m"), bytes("b"), bytes("a")};
  hf_row rows[4];
  for (const hf_lock_options& options : {lock_options(0, HF_NO_WAIT), lock_options(0, HF_WAIT, 30)}) {
    EXPECT_EQ(hf_get_many_for_update(two, table_, keys, 4, &options, rows),
              options.wait == HF_WAIT ? HF_LOCK_TIMEOUT : HF_LOCKED);
    for (const char* key : {"a", "z"}) EXPECT_EQ(lock(third, key), HF_OK) << key << " was left locked";
    EXPECT_EQ(lock(third, "b", HF_LOCK_SHARED), HF_OK) << "what was held before is as it was";
    EXPECT_EQ(lock(third, "b", HF_LOCK_EXCLUSIVE), HF_LOCKED);
    EXPECT_EQ(hf_abort(third), HF_OK);
    EXPECT_EQ(hf_restart(third), HF_OK);
  }
}

TEST_F(Locks, ManySkipLocked) {
  put("a", "1");
  put("b", "2");
  put("c", "3");
  const Txn holder(db_);
  ASSERT_EQ(lock(holder, "b"), HF_OK);
  const Txn two(db_);
  const hf_bytes keys[] = {bytes("c"), bytes("b"), bytes("a"), bytes("d")};
  hf_row rows[4];
  const hf_lock_options skip = lock_options(0, HF_SKIP_LOCKED);
  ASSERT_EQ(hf_get_many_for_update(two, table_, keys, 4, &skip, rows), HF_OK);
  EXPECT_EQ(rows[0].code, HF_OK);
  EXPECT_EQ(rows[1].code, HF_LOCKED);
  EXPECT_EQ(rows[1].value.size, 0u);
  EXPECT_EQ(rows[2].code, HF_OK);
  EXPECT_EQ(rows[3].code, HF_NOT_FOUND);
  const Txn third(db_);
  for (const char* key : {"a", "c", "d"}) EXPECT_EQ(lock(third, key), HF_LOCKED) << key;
}

// --- hf_lock_many ---------------------------------------------------------------------------------------------------

TEST_F(Locks, LockManyOfTwoTables) {
  hf_table* other = nullptr;
  ASSERT_EQ(hf_table_create(db_, "other", &other), HF_OK);
  const Txn one(db_);
  const Txn two(db_);
  hf_lock_request requests[] = {{other, bytes("x"), HF_LOCK_SHARED, -1},
                                {table_, bytes("y"), 0, -1},
                                {table_, bytes("a"), HF_LOCK_INCREMENT, -1},
                                {other, bytes("x"), HF_LOCK_SHARED, -1}};
  ASSERT_EQ(hf_lock_many(one, requests, 4, nullptr), HF_OK) << error_of(one).message;
  for (const hf_lock_request& request : requests) EXPECT_EQ(request.code, HF_OK);
  EXPECT_EQ(lock(two, other, "x", HF_LOCK_SHARED), HF_OK);
  EXPECT_EQ(lock(two, other, "x", HF_LOCK_EXCLUSIVE), HF_LOCKED);
  EXPECT_EQ(lock(two, table_, "y", HF_LOCK_SHARED), HF_LOCKED) << "0: the options' mode, exclusive by default";
  EXPECT_EQ(lock(two, table_, "a", HF_LOCK_INCREMENT), HF_OK);
  EXPECT_EQ(lock(two, table_, "a", HF_LOCK_SHARED), HF_LOCKED);
  EXPECT_EQ(hf_lock_many(two, nullptr, 0, nullptr), HF_OK);
}

TEST_F(Locks, LockManyFoldsModesOfOneRow) {
  const Txn one(db_);
  const Txn two(db_);
  hf_lock_request requests[] = {{table_, bytes("k"), HF_LOCK_SHARED, -1}, {table_, bytes("k"), HF_LOCK_INCREMENT, -1}};
  ASSERT_EQ(hf_lock_many(one, requests, 2, nullptr), HF_OK);
  EXPECT_EQ(lock(two, "k", HF_LOCK_SHARED), HF_LOCKED);
  EXPECT_EQ(lock(two, "k", HF_LOCK_INCREMENT), HF_LOCKED);
}

TEST_F(Locks, LockManySkipLocked) {
  const Txn holder(db_);
  ASSERT_EQ(lock(holder, "b"), HF_OK);
  const Txn one(db_);
  hf_lock_request requests[] = {{table_, bytes("c"), 0, -1}, {table_, bytes("b"), 0, -1}, {table_, bytes("a"), 0, -1}};
  const hf_lock_options skip = lock_options(HF_LOCK_SHARED, HF_SKIP_LOCKED);
  ASSERT_EQ(hf_lock_many(one, requests, 3, &skip), HF_OK);
  EXPECT_EQ(requests[0].code, HF_OK);
  EXPECT_EQ(requests[1].code, HF_LOCKED);
  EXPECT_EQ(requests[2].code, HF_OK);
  EXPECT_EQ(lock(holder, "a"), HF_LOCKED);
  EXPECT_EQ(lock(holder, "a", HF_LOCK_SHARED), HF_OK) << "the options' mode";
}

// Lists in any order never deadlock with each other: threads with opposite orders, for some time.
TEST_F(Locks, LockManyNeverDeadlocks) {
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const std::string names[] = {"a", "b", "c", "d"};
      hf_txn_options options = HF_TXN_OPTIONS_INIT;
      options.flags = HF_TXN_LOCK_ORDERED;
      const Txn txn(db_, &options);
      for (std::size_t i = 0; i < 300; ++i) {
        hf_lock_request requests[4];
        for (std::size_t j = 0; j < 4; ++j) {
          const std::size_t at = t % 2 == 0 ? (i + j) % 4 : (i + 4 - j) % 4;
          requests[j] = {table_, bytes(names[at]), at == i % 4 ? 0u : std::uint32_t{HF_LOCK_SHARED}, 0};
        }
        if (hf_lock_many(txn, requests, 4, nullptr) != HF_OK) wrong.fetch_add(1);
        if (hf_abort(txn) != HF_OK || hf_restart(txn) != HF_OK) wrong.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
}

// --- hf_lock_if -----------------------------------------------------------------------------------------------------

struct Threshold {
  std::string below;
  int asked = 0;
  bool saw_absent = false;
  std::function<void()> between;  // runs after the first answer
};

int is_below(const hf_row* row, void* context) {
  auto& threshold = *static_cast<Threshold*>(context);
  threshold.saw_absent |= row == nullptr;
  const int yes = row == nullptr || text(row->value) < threshold.below ? 1 : 0;
  if (++threshold.asked == 1 && threshold.between) threshold.between();
  return yes;
}

TEST_F(Locks, LockIf) {
  put("stock", "5");
  const Txn one(db_);
  const Txn two(db_);
  hf_row row{};
  int locked = -1;
  Threshold low{"3", 0, false, {}};
  ASSERT_EQ(hf_lock_if(one, table_, bytes("stock"), nullptr, is_below, &low, &row, &locked), HF_OK);
  EXPECT_EQ(locked, 0);
  EXPECT_EQ(text(row.value), "5");
  EXPECT_EQ(low.asked, 1);
  EXPECT_EQ(lock(two, "stock"), HF_OK) << "not locked";
  EXPECT_EQ(hf_abort(two), HF_OK);
  EXPECT_EQ(hf_restart(two), HF_OK);
  Threshold high{"9", 0, false, {}};
  ASSERT_EQ(hf_lock_if(one, table_, bytes("stock"), nullptr, is_below, &high, &row, &locked), HF_OK);
  EXPECT_EQ(locked, 1);
  EXPECT_EQ(high.asked, 2);
  EXPECT_EQ(lock(two, "stock"), HF_LOCKED);
  Threshold absent{"9", 0, false, {}};
  EXPECT_EQ(hf_lock_if(one, table_, bytes("none"), nullptr, is_below, &absent, nullptr, &locked), HF_NOT_FOUND);
  EXPECT_TRUE(absent.saw_absent);
  EXPECT_EQ(locked, 1);
  EXPECT_EQ(lock(two, "none"), HF_LOCKED);
  EXPECT_EQ(hf_lock_if(one, table_, bytes("stock"), nullptr, is_below, &low, nullptr, nullptr), HF_OK);
}

// The answer changes between the look and the lock: the lock is given back.
TEST_F(Locks, LockIfAsksAgainUnderTheLock) {
  put("stock", "1");
  const Txn one(db_);
  const Txn two(db_);
  hf_row row{};
  int locked = -1;
  Threshold low{"3", 0, false, [&] { put("stock", "7"); }};
  ASSERT_EQ(hf_lock_if(one, table_, bytes("stock"), nullptr, is_below, &low, &row, &locked), HF_OK);
  EXPECT_EQ(low.asked, 2);
  EXPECT_EQ(locked, 0);
  EXPECT_EQ(text(row.value), "7");
  EXPECT_EQ(lock(two, "stock"), HF_OK) << "given back";
}

TEST_F(Locks, LockIfIsInsideOfACall) {
  const Txn one(db_);
  struct Context {
    hf_txn* txn;
    hf_table* table;
    int code;
  } context{one, table_, HF_OK};
  const hf_lock_predicate holds = [](const hf_row*, void* c) {
    auto* inside = static_cast<Context*>(c);
    hf_row row{};
    inside->code = hf_get(inside->txn, inside->table, bytes("present"), &row);
    return 1;
  };
  EXPECT_EQ(hf_lock_if(one, table_, bytes("present"), nullptr, holds, &context, nullptr, nullptr), HF_OK);
  EXPECT_EQ(context.code, HF_MISUSE);
}

// --- cursors that lock ----------------------------------------------------------------------------------------------

// The key of the first row that is free, locked; "" when there is none.
std::string first_free(hf_txn* txn, hf_table* table, std::uint32_t wait = HF_SKIP_LOCKED) {
  hf_cursor_options options = HF_CURSOR_OPTIONS_INIT;
  options.prefix = bytes("seat");
  options.lock_mode = HF_LOCK_EXCLUSIVE;
  options.lock_wait = wait;
  hf_cursor* cursor = nullptr;
  EXPECT_EQ(hf_cursor_open(txn, table, &options, &cursor), HF_OK);
  hf_bytes key{};
  hf_row row{};
  const int code = hf_cursor_next(cursor, &key, &row);
  EXPECT_TRUE(code == HF_OK || code == HF_END || code == HF_LOCKED) << hf_code_name(code);
  const std::string found = code == HF_OK ? text(key) : code == HF_LOCKED ? "locked" : "";
  EXPECT_EQ(hf_cursor_close(&cursor), HF_OK);
  return found;
}

TEST_F(Locks, CursorFindsTheFirstFreeSeat) {
  for (const char* key : {"seat1", "seat2", "seat3"}) put(key, "free");
  const Txn one(db_);
  const Txn two(db_);
  const Txn third(db_);
  const Txn last(db_);
  EXPECT_EQ(first_free(one, table_), "seat1");
  EXPECT_EQ(first_free(two, table_), "seat2");
  EXPECT_EQ(first_free(third, table_, HF_NO_WAIT), "locked");
  EXPECT_EQ(first_free(third, table_), "seat3");
  EXPECT_EQ(first_free(last, table_), "");
  // Each takes its own; nobody is in another's way at commit.
  ASSERT_EQ(hf_delete(one, table_, bytes("seat1")), HF_OK);
  ASSERT_EQ(hf_delete(two, table_, bytes("seat2")), HF_OK);
  EXPECT_EQ(hf_commit(two), HF_OK) << error_of(two).message;
  EXPECT_EQ(hf_commit(one), HF_OK) << error_of(one).message;
  EXPECT_EQ(hf_restart(one), HF_OK);
  EXPECT_EQ(first_free(one, table_), "") << "gone, or held";
  EXPECT_EQ(hf_abort(third), HF_OK);
  EXPECT_EQ(first_free(one, table_), "seat3");
}

TEST_F(Locks, CursorLocksWhatItGives) {
  for (const char* key : {"a", "b", "c"}) put(key, key);
  const Txn one(db_);
  const Txn two(db_);
  hf_cursor_options options = HF_CURSOR_OPTIONS_INIT;
  options.lock_mode = HF_LOCK_SHARED;
  hf_cursor* cursor = nullptr;
  ASSERT_EQ(hf_cursor_open(one, table_, &options, &cursor), HF_OK);
  put("a", "newest");
  hf_bytes keys[2];
  hf_row rows[2];
  std::size_t found = 0;
  ASSERT_EQ(hf_cursor_next_many(cursor, 2, keys, rows, &found), HF_OK);
  ASSERT_EQ(found, 2u);
  EXPECT_EQ(text(rows[0].value), "newest");
  EXPECT_EQ(lock(two, "a", HF_LOCK_SHARED), HF_OK);
  EXPECT_EQ(lock(two, "b", HF_LOCK_EXCLUSIVE), HF_LOCKED);
  EXPECT_EQ(lock(two, "c", HF_LOCK_EXCLUSIVE), HF_OK) << "not there yet";
  EXPECT_EQ(hf_cursor_close(&cursor), HF_OK);
}

// --- commits and locks ----------------------------------------------------------------------------------------------

TEST_F(Locks, CommitWaitsForWhoHoldsARow) {
  const Txn holder(db_);
  ASSERT_EQ(lock(holder, "k"), HF_OK);
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.lock_timeout_ms = 80;
  const Txn writer(db_, &options);
  const Stopwatch since;
  ASSERT_EQ(hf_put(writer, table_, bytes("k"), bytes("theirs"), 0), HF_OK) << "a write does not wait";
  ASSERT_EQ(hf_commit(writer), HF_LOCK_TIMEOUT);
  EXPECT_GE(since.ms(), 75u);
  const hf_error error = error_of(writer);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(error.key), error.key_size), "k");
  EXPECT_EQ(error.other_txn, hf_txn_number(holder));
  EXPECT_EQ(error.other_mode_held, std::uint32_t{HF_LOCK_EXCLUSIVE});
  EXPECT_EQ(hf_commit(writer), HF_MISUSE) << "a commit ends it, whatever it answers";
  ASSERT_EQ(hf_restart(writer), HF_OK);
  ASSERT_EQ(hf_put(writer, table_, bytes("k"), bytes("theirs"), 0), HF_OK);
  ASSERT_EQ(hf_put(holder, table_, bytes("k"), bytes("mine"), 0), HF_OK);
  EXPECT_EQ(hf_commit(holder), HF_OK);
  EXPECT_EQ(hf_commit(writer), HF_OK);
  EXPECT_EQ(get("k"), "theirs");
  EXPECT_EQ(get("present"), "value");
}

TEST_F(Locks, ExecuteLocks) {
  hf_operation operations[4] = {};
  for (hf_operation& operation : operations) operation.table = table_;
  operations[0].kind = HF_OP_LOCK;
  operations[0].key = bytes("z");
  operations[1].kind = HF_OP_LOCK;
  operations[1].key = bytes("a");
  operations[2].kind = HF_OP_PUT;
  operations[2].key = bytes("z");
  operations[2].value = bytes("1");
  operations[3].kind = HF_OP_LOCK;
  operations[3].key = bytes("m");
  hf_operation_result results[4];
  ASSERT_EQ(hf_execute(db_, nullptr, operations, 4, results, nullptr), HF_OK) << error_of(db_).message;
  for (const hf_operation_result& result : results) EXPECT_EQ(result.code, HF_OK);
  EXPECT_EQ(get("z"), "1");
  const Txn holder(db_);
  ASSERT_EQ(lock(holder, "a"), HF_OK);
  hf_transact_options options = HF_TRANSACT_OPTIONS_INIT;
  options.attempts_max = 2;
  options.txn.size = sizeof options.txn;
  options.txn.lock_timeout_ms = 30;
  hf_transact_result result{};
  result.size = sizeof result;
  EXPECT_EQ(hf_execute(db_, &options, operations, 4, results, &result), HF_LOCK_TIMEOUT);
  EXPECT_EQ(results[0].code, HF_LOCK_TIMEOUT) << "of those that are locked together";
  EXPECT_EQ(results[2].code, HF_CANCELLED);
  EXPECT_EQ(result.attempts, 2u);
  EXPECT_EQ(result.error.other_txn, hf_txn_number(holder));
  EXPECT_EQ(result.error.key_size, 1u);
  EXPECT_EQ(result.error.key[0], 'a');
}

TEST_F(Locks, Figures) {
  hf_stats before{};
  before.size = sizeof before;
  ASSERT_EQ(hf_stat(db_, &before), HF_OK);
  EXPECT_EQ(before.locks_max, 65'536u);
  const Txn one(db_);
  const Txn two(db_);
  ASSERT_EQ(lock(one, "a"), HF_OK);
  ASSERT_EQ(lock(one, "b"), HF_OK);
  EXPECT_EQ(lock(two, "a", 0, HF_WAIT, 30), HF_LOCK_TIMEOUT);
  hf_stats after{};
  after.size = sizeof after;
  ASSERT_EQ(hf_stat(db_, &after), HF_OK);
  EXPECT_GE(after.locks_held, 2u);
  EXPECT_EQ(after.lock_waits, before.lock_waits + 1);
  EXPECT_EQ(after.lock_timeouts, before.lock_timeouts + 1);
  EXPECT_GE(after.lock_waited_us, before.lock_waited_us + 25'000);
  EXPECT_GE(after.lock_wait_longest_us, 25'000u);
  EXPECT_EQ(after.deadlocks, before.deadlocks);
}

// locks_max of the smallest size: what does not fit is refused with the figures, and nothing is lost.
TEST_F(Locks, TableFull) {
  hf_db* small = nullptr;
  hf_table* table = nullptr;
  hf_open_options options = HF_OPEN_OPTIONS_INIT;
  options.map_size = std::uint64_t{1} << 32;
  options.locks_max = 64;
  ASSERT_EQ(hf_open(directory_.path("small").c_str(), &options, &small, nullptr), HF_OK);
  ASSERT_EQ(hf_table_create(small, "rows", &table), HF_OK);
  {
    const Txn one(small);
    int code = HF_OK;
    int locked = 0;
    for (; code == HF_OK && locked < 1000; ++locked) {
      const std::string key = "k" + std::to_string(locked);
      code = lock(one, table, key.c_str());
    }
    EXPECT_EQ(code, HF_LOCK_TABLE_FULL);
    EXPECT_GE(locked, 60);
    EXPECT_NE(std::string(error_of(one).message).find("64"), std::string::npos) << error_of(one).message;
    EXPECT_EQ(hf_put(one, table, bytes("k0"), bytes("v"), 0), HF_OK) << "it runs on";
    EXPECT_EQ(hf_commit(one), HF_OK);
    const Txn two(small);
    EXPECT_EQ(lock(two, table, "k0"), HF_OK) << "all are back";
  }
  EXPECT_EQ(hf_close(&small), HF_OK);
}

}  // namespace
}  // namespace conformance
