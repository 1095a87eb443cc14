// SPDX-License-Identifier: Apache-2.0
// Goal: snapshots may be shared by threads, and taken while merges make tables. Method: readers check that what a
// snapshot shows fits its applied_csn; run it under the thread sanitizer (which does not see inside LMDB, but sees
// ours).
#include <atomic>
#include <thread>
#include <vector>

#include "store_testing.h"

namespace hf::store {
namespace {

using namespace testing;

constexpr TableId kTables = 30;

// At csn C every table 1..min(C, kTables) has the row "csn" = C and "row<i>" for i in 0..99.
void merge_all(Store& store, Csn csn) {
  auto merge = store.begin_merge();
  ASSERT_OK(merge);
  for (TableId table = 1; table <= std::min<Csn>(csn, kTables); ++table) {
    ASSERT_OK((*merge)->put(table, "csn", row_of(std::to_string(csn), csn)));
    for (int i = 0; i < 100; ++i) {
      if (csn == table || i % 7 == static_cast<int>(csn % 7)) {
        ASSERT_OK((*merge)->put(table, "row" + std::to_string(i), row_of(std::to_string(csn), csn)));
      }
    }
  }
  ASSERT_OK((*merge)->commit(csn));
}

// Reads without test macros per row: they are slow in many threads. Answers whether all is as it must be.
bool is_right(const Snapshot& snapshot, unsigned start) {
  const Csn csn = snapshot.applied_csn();
  for (TableId step = 0; step < kTables; ++step) {
    const TableId table = 1 + (start + step) % kTables;
    Row row;
    const Result<bool> found = snapshot.get(table, "csn", &row);
    if (!found.ok() || found.value() != (table <= csn)) return false;
    if (snapshot.entries(table) != (table <= csn ? 101u : 0u)) return false;
    if (table > csn) continue;
    if (row.value != std::to_string(csn) || row.version != csn) return false;
    if (step % 10 != 0) continue;
    Result<Cursor> cursor = Cursor::open(snapshot, table);
    if (!cursor.ok()) return false;
    std::uint64_t rows = 0;
    for (Result<bool> on = cursor->first(); on.ok() && *on; on = cursor->next()) {
      ++rows;
      if (cursor->row().version > csn) return false;
    }
    if (rows != 101) return false;
  }
  return true;
}

TEST(StoreThreads, ShareSnapshotsWhileMergesGoOn) {
  Directory directory;
  auto store = Store::open(options_for(directory));
  ASSERT_OK(store);
  std::mutex mutex;
  std::shared_ptr<const Snapshot> shared = snapshot_of(**store);
  std::atomic<bool> done{false};
  std::atomic<bool> wrong{false};
  std::atomic<std::uint64_t> checked{0};
  std::vector<std::thread> readers;
  for (unsigned i = 0; i < 6; ++i) {
    readers.emplace_back([&, i] {
      while (!done && !wrong) {
        std::shared_ptr<const Snapshot> snapshot;
        if (i % 3 == 0) {  // some take their own, also in the middle of a commit that makes tables
          Result<std::shared_ptr<const Snapshot>> own = (*store)->snapshot();
          if (own.ok()) snapshot = *own;
        } else {
          const std::lock_guard lock(mutex);
          snapshot = shared;
        }
        if (snapshot == nullptr || !is_right(*snapshot, i * 5)) wrong = true;
        ++checked;
      }
    });
  }
  for (Csn csn = 1; csn <= (kSanitized ? 60u : 300u) && !wrong; ++csn) {
    merge_all(**store, csn);
    auto snapshot = snapshot_of(**store);
    const std::lock_guard lock(mutex);
    shared = snapshot;  // the last reader, of any thread, ends the old one
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_FALSE(wrong);
  EXPECT_GT(checked.load(), 20u);
  shared.reset();
}

// One fresh snapshot of many tables, first used by all threads at the same moment.
TEST(StoreThreads, FirstUseOfASnapshotTogether) {
  Directory directory;
  auto store = Store::open(options_for(directory));
  ASSERT_OK(store);
  for (Csn csn = 1; csn <= kTables; ++csn) merge_all(**store, csn);
  for (int round = 0; round < 50; ++round) {
    auto snapshot = snapshot_of(**store);
    std::atomic<int> waiting{4};
    std::atomic<bool> wrong{false};
    std::vector<std::thread> readers;
    for (unsigned i = 0; i < 4; ++i) {
      readers.emplace_back([&] {
        --waiting;
        while (waiting > 0) std::this_thread::yield();
        if (!is_right(*snapshot, 0)) wrong = true;
      });
    }
    for (std::thread& reader : readers) reader.join();
    ASSERT_FALSE(wrong);
  }
}

// A merge in one thread that makes 300 tables must neither hold up nor confuse snapshots taken meanwhile.
TEST(StoreThreads, SnapshotsWhileTablesAreMade) {
  Directory directory;
  auto store = Store::open(options_for(directory));
  ASSERT_OK(store);
  std::atomic<bool> done{false};
  std::atomic<bool> wrong{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!done) {
        Result<std::shared_ptr<const Snapshot>> snapshot = (*store)->snapshot();
        if (!snapshot.ok()) {
          wrong = true;
          return;
        }
        const Csn csn = (*snapshot)->applied_csn();
        for (TableId table : {TableId{1}, static_cast<TableId>(csn * 30), static_cast<TableId>(csn * 30 + 1)}) {
          const bool there = table != 0 && table <= csn * 30;
          if ((*snapshot)->entries(table) != (there ? 1u : 0u)) wrong = true;
        }
      }
    });
  }
  for (Csn csn = 1; csn <= 10; ++csn) {
    auto merge = (*store)->begin_merge();
    ASSERT_OK(merge);
    for (TableId i = 1; i <= 30; ++i) {
      ASSERT_OK((*merge)->put(static_cast<TableId>((csn - 1) * 30 + i), "key", row_of("v", csn)));
    }
    ASSERT_OK((*merge)->commit(csn));
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_FALSE(wrong);
}

}  // namespace
}  // namespace hf::store
