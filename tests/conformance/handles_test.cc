// SPDX-License-Identifier: Apache-2.0
// Goal: a handle that is ended, of another kind, of another database, or in use by another thread is told from a good
// one, and the good ones are unharmed. Method: use each in the wrong way; races are run many times.
#include <poll.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "support.h"

namespace conformance {
namespace {

using Handles = DatabaseTest;

TEST_F(Handles, EndedTransaction) {
  hf_txn* txn = nullptr;
  hf_row row{};
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  hf_txn* stale = txn;
  EXPECT_EQ(hf_txn_end(&txn), HF_OK);
  EXPECT_EQ(txn, nullptr);
  EXPECT_EQ(hf_txn_end(&txn), HF_OK);
  EXPECT_EQ(hf_get(stale, table_, bytes("present"), &row), HF_MISUSE);
  EXPECT_EQ(hf_commit(stale), HF_MISUSE);
  EXPECT_EQ(hf_restart(stale), HF_MISUSE);
  EXPECT_EQ(hf_cancel(stale), HF_MISUSE);
  EXPECT_EQ(hf_txn_snapshot(stale), 0u);
  EXPECT_EQ(hf_txn_end(&stale), HF_MISUSE);
  EXPECT_EQ(stale, nullptr) << "there is nothing to keep";
}

TEST_F(Handles, EndedLoadAndCursor) {
  hf_table* table = nullptr;
  hf_load* load = nullptr;
  ASSERT_EQ(hf_table_create(db_, "loaded", &table), HF_OK);
  ASSERT_EQ(hf_load_begin(db_, table, &load), HF_OK);
  hf_load* stale_load = load;
  EXPECT_EQ(hf_load_end(&load), HF_OK);
  EXPECT_EQ(hf_load_add(stale_load, bytes("k"), bytes("v"), 0), HF_MISUSE);
  EXPECT_EQ(hf_load_end(&stale_load), HF_MISUSE);
  hf_txn* txn = nullptr;
  hf_cursor* cursor = nullptr;
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  ASSERT_EQ(hf_cursor_open(txn, table_, nullptr, &cursor), HF_OK);
  hf_cursor* stale_cursor = cursor;
  EXPECT_EQ(hf_cursor_close(&cursor), HF_OK);
  EXPECT_EQ(hf_cursor_next(stale_cursor, nullptr, nullptr), HF_MISUSE);
  hf_txn_end(&txn);
}

// Nested begin on one handle.
TEST_F(Handles, RestartWhileRunning) {
  hf_txn* txn = nullptr;
  hf_row row{};
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  ASSERT_EQ(hf_put(txn, table_, bytes("k"), bytes("v"), 0), HF_OK);
  EXPECT_EQ(hf_restart(txn), HF_MISUSE);
  EXPECT_EQ(error_of(txn).code, HF_MISUSE);
  EXPECT_EQ(hf_get(txn, table_, bytes("k"), &row), HF_OK) << "it goes on";
  EXPECT_EQ(hf_commit(txn), HF_OK);
  EXPECT_EQ(hf_commit(txn), HF_MISUSE);
  EXPECT_EQ(hf_put(txn, table_, bytes("k"), bytes("v"), 0), HF_MISUSE);
  EXPECT_EQ(hf_restart(txn), HF_OK);
  hf_txn_end(&txn);
  EXPECT_EQ(get("k"), "v");
}

TEST_F(Handles, OfAnotherKind) {
  hf_txn* txn = nullptr;
  hf_row row{};
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  alignas(64) char zeros[8192] = {};
  alignas(64) static const char read_only[8192] = {1};
  for (const void* foreign :
       {static_cast<const void*>(zeros), static_cast<const void*>(zeros + 1), static_cast<const void*>(db_),
        static_cast<const void*>(table_), static_cast<const void*>(read_only)}) {
    void* const pointer = const_cast<void*>(foreign);
    hf_txn* wrong_txn = static_cast<hf_txn*>(pointer);
    EXPECT_EQ(hf_get(wrong_txn, table_, bytes("present"), &row), HF_MISUSE);
    EXPECT_EQ(hf_txn_end(&wrong_txn), HF_MISUSE);
    hf_cursor* wrong_cursor = static_cast<hf_cursor*>(pointer);
    EXPECT_EQ(hf_cursor_next(wrong_cursor, nullptr, nullptr), HF_MISUSE);
    hf_load* wrong_load = static_cast<hf_load*>(pointer);
    EXPECT_EQ(hf_load_finish(wrong_load), HF_MISUSE);
    if (pointer != table_) {
      EXPECT_EQ(hf_get(txn, static_cast<hf_table*>(pointer), bytes("present"), &row), HF_MISUSE);
    }
    if (pointer != db_) {
      hf_db* wrong_db = static_cast<hf_db*>(pointer);
      EXPECT_EQ(hf_sync(wrong_db, 0), HF_MISUSE);
      EXPECT_EQ(hf_close(&wrong_db), HF_MISUSE);
    }
  }
  EXPECT_EQ(hf_get(txn, table_, bytes("present"), &row), HF_OK);
  hf_txn_end(&txn);
}

TEST_F(Handles, OfAnotherDatabase) {
  hf_db* other = nullptr;
  hf_table* theirs = nullptr;
  ASSERT_EQ(open_small(directory_.path("other"), &other), HF_OK);
  ASSERT_EQ(hf_table_create(other, "theirs", &theirs), HF_OK);
  hf_txn* txn = nullptr;
  hf_row row{};
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  EXPECT_EQ(hf_get(txn, theirs, bytes("k"), &row), HF_MISUSE);
  EXPECT_NE(std::string(error_of(txn).message).find("theirs"), std::string::npos);
  hf_table_stats stats{};
  stats.size = sizeof stats;
  EXPECT_EQ(hf_table_stat(db_, theirs, &stats), HF_MISUSE);
  EXPECT_EQ(hf_close(&other), HF_OK);
  EXPECT_EQ(hf_get(txn, theirs, bytes("k"), &row), HF_MISUSE) << "its database is closed";
  hf_txn_end(&txn);
}

TEST_F(Handles, ClosedDatabase) {
  hf_db* other = nullptr;
  ASSERT_EQ(open_small(directory_.path("other"), &other), HF_OK);
  hf_db* stale = other;
  ASSERT_EQ(hf_close(&other), HF_OK);
  hf_txn* txn = nullptr;
  hf_error error = new_error();
  EXPECT_EQ(hf_begin(stale, nullptr, &txn), HF_MISUSE);
  EXPECT_EQ(hf_sync(stale, 0), HF_MISUSE);
  EXPECT_EQ(hf_db_error(stale, &error), HF_MISUSE);
  EXPECT_EQ(hf_close(&stale), HF_MISUSE);
  EXPECT_EQ(stale, nullptr);
}

TEST_F(Handles, CloseIsRefusedWhileSomethingIsOpen) {
  hf_txn* txn = nullptr;
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  hf_db* same = db_;
  EXPECT_EQ(hf_close(&same), HF_MISUSE);
  EXPECT_EQ(same, db_);
  EXPECT_EQ(error_of(db_).code, HF_MISUSE);
  EXPECT_EQ(hf_abort(txn), HF_OK);
  EXPECT_EQ(hf_close(&same), HF_MISUSE) << "the handle of an ended transaction is still a handle";
  hf_txn_end(&txn);
  hf_table* table = nullptr;
  hf_load* load = nullptr;
  ASSERT_EQ(hf_table_create(db_, "loaded", &table), HF_OK);
  ASSERT_EQ(hf_load_begin(db_, table, &load), HF_OK);
  EXPECT_EQ(hf_close(&same), HF_MISUSE);
  hf_load_end(&load);
  EXPECT_EQ(get("present"), "value");
}

TEST_F(Handles, SameDirectoryTwice) {
  hf_db* again = nullptr;
  hf_table* table = nullptr;
  // Another spelling, and options that the first open did not have.
  const std::string link = directory_.path("link");
  std::filesystem::create_directory_symlink(directory_.path("db"), link);
  hf_open_options options = HF_OPEN_OPTIONS_INIT;
  options.durability = HF_RELAXED;
  options.map_size = std::uint64_t{1} << 31;
  ASSERT_EQ(hf_open((link + "/../db/.").c_str(), &options, &again, nullptr), HF_OK);
  EXPECT_NE(again, db_);
  ASSERT_EQ(hf_table_open(again, "rows", &table), HF_OK);
  hf_stats stats{};
  stats.size = sizeof stats;
  EXPECT_EQ(hf_stat(again, &stats), HF_OK);
  EXPECT_EQ(stats.processes, 1u);
  put("k", "from the first");
  hf_txn* txn = nullptr;
  hf_row row{};
  ASSERT_EQ(hf_begin(again, nullptr, &txn), HF_OK);
  ASSERT_EQ(hf_get(txn, table_, bytes("k"), &row), HF_OK) << "one engine: tables of both handles fit";
  EXPECT_EQ(text(row.value), "from the first");
  ASSERT_EQ(hf_put(txn, table, bytes("k"), bytes("from the second"), 0), HF_OK);
  ASSERT_EQ(hf_commit(txn), HF_OK);
  EXPECT_EQ(hf_close(&again), HF_MISUSE) << "each handle counts its own";
  hf_txn_end(&txn);
  EXPECT_EQ(hf_close(&again), HF_OK);
  EXPECT_EQ(get("k"), "from the second") << "the first handle lives on";
}

// Two threads at once on one transaction: each call is either done or refused, and the commit has what was done.
TEST_F(Handles, OneTransactionTwoThreads) {
  constexpr int kCalls = 20000;
  hf_txn* txn = nullptr;
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  std::atomic<int> refused{0};
  std::atomic<bool> go{false};
  std::vector<int> done(2, 0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      while (!go.load()) std::this_thread::yield();
      for (int i = 0; i < kCalls; ++i) {
        const std::string key = std::to_string(t) + "/" + std::to_string(i % 100);
        const int code = hf_put(txn, table_, bytes(key), bytes("v"), 0);
        if (code == HF_OK) {
          ++done[static_cast<std::size_t>(t)];
        } else {
          EXPECT_EQ(code, HF_MISUSE);
          refused.fetch_add(1);
        }
      }
    });
  }
  go.store(true);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(done[0] + done[1] + refused.load(), 2 * kCalls);
  EXPECT_EQ(hf_commit(txn), HF_OK);
  hf_txn_end(&txn);
}

// One thread commits and waits for the disk in there; the other one asks until it has been refused for it.
TEST_F(Handles, OneTransactionInUse) {
  hf_txn* txn = nullptr;
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  std::atomic<bool> refused{false};
  std::thread other([&] {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!refused.load() && std::chrono::steady_clock::now() < end) {
      // Legal at any moment of a transaction, so that only the other thread's call can be in the way.
      hf_error error = HF_ERROR_INIT;
      const int code = hf_txn_error(txn, &error);
      if (code == HF_MISUSE) refused.store(true);
      EXPECT_TRUE(code == HF_OK || code == HF_MISUSE) << hf_code_name(code);
    }
    if (!refused.load()) ADD_FAILURE() << "never met the other thread";
    refused.store(true);
  });
  // Here too, as long as the other thread may be inside.
  const auto insist = [](auto call) {
    int code;
    while ((code = call()) == HF_MISUSE) {
    }
    return code;
  };
  int commits = 0;
  while (!refused.load()) {
    ASSERT_EQ(insist([&] { return hf_put(txn, table_, bytes("k"), bytes("v"), 0); }), HF_OK);
    ASSERT_EQ(insist([&] { return hf_commit(txn); }), HF_OK);
    ASSERT_EQ(insist([&] { return hf_restart(txn); }), HF_OK);
    ++commits;
  }
  other.join();
  EXPECT_EQ(hf_put(txn, table_, bytes("k"), bytes("v"), 0), HF_OK) << "unharmed after " << commits << " commits";
  EXPECT_EQ(hf_commit(txn), HF_OK);
  hf_txn_end(&txn);
}

// The call that is certainly under way is this thread's own.
TEST_F(Handles, CloseDuringACall) {
  struct Context {
    hf_db* db;
    int code = HF_OK;
  } context{db_, HF_OK};
  EXPECT_EQ(hf_table_list(
                db_,
                [](const char*, void* c) {
                  auto* inside = static_cast<Context*>(c);
                  hf_db* same = inside->db;
                  inside->code = hf_close(&same);
                  return 0;
                },
                &context),
            HF_OK);
  EXPECT_EQ(context.code, HF_MISUSE);
}

// Handles of a database come and go on many threads while another thread tries to close it.
TEST_F(Handles, ManyThreadsBeginAndEnd) {
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      hf_txn* open[6] = {};
      while (!stop.load()) {
        for (hf_txn*& txn : open) {
          const int code = hf_begin(db_, nullptr, &txn);
          if (code != HF_OK && code != HF_MISUSE) wrong.fetch_add(1);  // MISUSE: met the other thread's try to close
        }
        for (hf_txn*& txn : open) {
          hf_row row{};
          if (txn != nullptr && hf_get(txn, table_, bytes("present"), &row) != HF_OK) wrong.fetch_add(1);
          if (hf_txn_end(&txn) != HF_OK) wrong.fetch_add(1);
        }
      }
    });
  }
  hf_txn* holds_it_open = nullptr;
  int code;
  while ((code = hf_begin(db_, nullptr, &holds_it_open)) == HF_MISUSE) {
  }
  ASSERT_EQ(code, HF_OK);
  for (int i = 0; i < 20000; ++i) {
    hf_db* same = db_;
    if (hf_close(&same) != HF_MISUSE || same != db_) wrong.fetch_add(1);
  }
  stop.store(true);
  for (std::thread& thread : threads) thread.join();
  hf_txn_end(&holds_it_open);
  EXPECT_EQ(wrong.load(), 0);
}

// hf_cancel from another thread ends the retries of hf_transact.
TEST_F(Handles, CancelInsideTransact) {
  struct Context {
    std::atomic<hf_txn*> txn{nullptr};
  } context;
  std::thread other([&] {
    hf_txn* txn;
    while ((txn = context.txn.load()) == nullptr) std::this_thread::yield();
    EXPECT_EQ(hf_cancel(txn), HF_OK);
  });
  hf_transact_options options = HF_TRANSACT_OPTIONS_INIT;
  options.attempts_max = 1'000'000;
  options.total_timeout_ms = 60'000;
  hf_transact_result result{};
  result.size = sizeof result;
  const int code = hf_transact(
      db_, &options,
      [](hf_txn* txn, void* c) {
        static_cast<Context*>(c)->txn.store(txn);
        return static_cast<int>(HF_CONFLICT);
      },
      &context, &result);
  other.join();
  EXPECT_EQ(code, HF_CANCELLED);
  EXPECT_EQ(result.error.code, HF_CANCELLED);
  EXPECT_LT(result.elapsed_us, 30'000'000u);
}

// Many threads make tables at once: none of them sees the conflicts of the catalog's own rows.
TEST_F(Handles, TablesFromManyThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        hf_table* table = nullptr;
        const std::string name = "t" + std::to_string(t) + "-" + std::to_string(i);
        const int code = hf_table_create(db_, name.c_str(), &table);
        EXPECT_EQ(code, HF_OK) << hf_code_name(code);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  int count = 0;
  EXPECT_EQ(hf_table_list(
                db_,
                [](const char*, void* c) {
                  ++*static_cast<int*>(c);
                  return 0;
                },
                &count),
            HF_OK);
  EXPECT_EQ(count, 41);
}

}  // namespace
}  // namespace conformance
