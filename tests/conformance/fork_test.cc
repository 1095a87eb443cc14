// SPDX-License-Identifier: Apache-2.0
// Goal: in a child made by fork, handles of the parent answer HF_FORKED and harm nobody; the child may open the
// database anew. Method: fork with everything open; the child reports by its exit code; the parent goes on after it.
#include <signal.h>

#include <atomic>
#include <thread>

#include "support.h"

namespace conformance {
namespace {

// The thread sanitizer cannot bear a thread started in a child of a process with threads.
#if defined(__SANITIZE_THREAD__)
constexpr std::uint32_t kChildFlags = HF_OPEN_NO_THREAD;
#else
constexpr std::uint32_t kChildFlags = 0;
#endif

class Fork : public DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    ASSERT_EQ(hf_begin(db_, nullptr, &txn_), HF_OK);
    ASSERT_EQ(hf_put(txn_, table_, bytes("mine"), bytes("1"), 0), HF_OK);
    ASSERT_EQ(hf_cursor_open(txn_, table_, nullptr, &cursor_), HF_OK);
    ASSERT_EQ(hf_cursor_next(cursor_, nullptr, nullptr), HF_OK);
  }
  void TearDown() override {
    hf_txn_end(&txn_);
    DatabaseTest::TearDown();
  }

  hf_txn* txn_ = nullptr;
  hf_cursor* cursor_ = nullptr;
};

TEST_F(Fork, InheritedHandles) {
  const int failed_at = in_child([&] {
    hf_row row{};
    hf_txn* fresh = nullptr;
    hf_table* table = nullptr;
    hf_error error = HF_ERROR_INIT;
    if (hf_get(txn_, table_, bytes("present"), &row) != HF_FORKED) return 1;
    if (hf_commit(txn_) != HF_FORKED) return 2;
    if (hf_cursor_next(cursor_, nullptr, nullptr) != HF_FORKED) return 3;
    if (hf_begin(db_, nullptr, &fresh) != HF_FORKED || fresh != nullptr) return 4;
    if (hf_table_open(db_, "rows", &table) != HF_FORKED) return 5;
    if (hf_db_error(db_, &error) != HF_FORKED) return 6;
    if (hf_cancel(txn_) != HF_FORKED) return 7;
    if (hf_cursor_close(&cursor_) != HF_FORKED || cursor_ != nullptr) return 8;
    if (hf_txn_end(&txn_) != HF_FORKED || txn_ != nullptr) return 9;
    if (hf_close(&db_) != HF_FORKED || db_ != nullptr) return 10;
    return 0;
  });
  EXPECT_EQ(failed_at, 0);
  EXPECT_EQ(hf_cursor_next(cursor_, nullptr, nullptr), HF_OK) << "the parent's cursor goes on";
  EXPECT_EQ(hf_commit(txn_), HF_OK);
  EXPECT_EQ(get("mine"), "1");
}

TEST_F(Fork, ChildOpensAnew) {
  const int failed_at = in_child([&] {
    hf_db* db = nullptr;
    hf_table* table = nullptr;
    hf_txn* txn = nullptr;
    hf_row row{};
    if (open_small(directory_.path("db"), &db, nullptr, kChildFlags) != HF_OK) return 1;
    if (hf_table_open(db, "rows", &table) != HF_OK) return 2;
    if (hf_begin(db, nullptr, &txn) != HF_OK) return 3;
    if (hf_get(txn, table, bytes("present"), &row) != HF_OK || text(row.value) != "value") return 4;
    if (hf_get(txn, table_, bytes("present"), &row) != HF_FORKED) return 5;  // the parent's table
    // Behind what the parent's transaction has read, so that it does not conflict.
    if (hf_put(txn, table, bytes("zebra"), bytes("was here"), 0) != HF_OK) return 6;
    if (hf_commit(txn) != HF_OK) return 7;
    if (hf_txn_end(&txn) != HF_OK) return 8;
    if (hf_get(txn_, table, bytes("present"), &row) != HF_FORKED) return 9;  // still
    if (hf_close(&db) != HF_OK) return 10;
    return 0;
  });
  EXPECT_EQ(failed_at, 0);
  EXPECT_EQ(hf_commit(txn_), HF_OK);
  EXPECT_EQ(get("zebra"), "was here");
  EXPECT_EQ(get("mine"), "1");
}

// The child of a process whose other threads are inside of calls at the moment of the fork.
TEST_F(Fork, WhileOthersAreInCalls) {
  std::atomic<bool> stop{false};
  std::atomic<hf_txn*> shared{nullptr};
  std::thread busy([&] {
    hf_txn* txn = nullptr;
    ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
    shared.store(txn);
    hf_row row{};
    while (!stop.load()) {
      hf_txn* other = nullptr;
      EXPECT_EQ(hf_get(txn, table_, bytes("present"), &row), HF_OK);
      EXPECT_EQ(hf_begin(db_, nullptr, &other), HF_OK);
      EXPECT_EQ(hf_txn_end(&other), HF_OK);
    }
    hf_txn_end(&txn);
  });
  while (shared.load() == nullptr) std::this_thread::yield();
  for (int i = 0; i < 20; ++i) {
    const int failed_at = in_child([&] {
      hf_row row{};
      hf_db* db = nullptr;
      hf_txn* txn = nullptr;
      if (hf_get(shared.load(), table_, bytes("present"), &row) != HF_FORKED) return 1;  // and not "in use"
      if (open_small(directory_.path("db"), &db, nullptr, kChildFlags) != HF_OK) return 2;
      if (hf_begin(db, nullptr, &txn) != HF_OK) return 3;
      if (hf_txn_end(&txn) != HF_OK) return 4;
      if (hf_close(&db) != HF_OK) return 5;
      return 0;
    });
    EXPECT_EQ(failed_at, 0);
  }
  stop.store(true);
  busy.join();
}

// A child that just exits, and one that is killed: the parent's pins, locks and commits are none of its business.
TEST_F(Fork, ChildDies) {
  EXPECT_EQ(in_child([] { return 0; }), 0);
  EXPECT_EQ(in_child([]() -> int {
              raise(SIGKILL);
              return 0;
            }),
            1000 + SIGKILL);
  EXPECT_EQ(hf_commit(txn_), HF_OK);
  put("after", "all");
  EXPECT_EQ(get("after"), "all");
  EXPECT_EQ(get("mine"), "1");
}

}  // namespace
}  // namespace conformance
