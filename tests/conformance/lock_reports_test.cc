// SPDX-License-Identifier: Apache-2.0
// Goal: whoever is refused a lock learns who was in the way, and every wait ends: by the lock, by time, by cancel, by
// expiry, by a deadlock found, by the holder's death. Method: one refusal of each kind, between threads and between
// processes; the report is compared with what the other party knows of itself.
#include <sys/syscall.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <optional>

#include "locks_support.h"

namespace conformance {
namespace {

std::string key_of(const hf_error& error) {
  return std::string(reinterpret_cast<const char*>(error.key), error.key_size);
}
std::string key_of(const hf_lock_info& info) {
  return std::string(reinterpret_cast<const char*>(info.key), info.key_size);
}
std::uint64_t this_thread() { return static_cast<std::uint64_t>(syscall(SYS_gettid)); }

class LockReports : public DatabaseTest {
 protected:
  int lock(hf_txn* txn, const char* key, std::uint32_t mode = 0, std::uint32_t wait = HF_WAIT,
           std::uint64_t timeout_ms = 20'000) {
    const hf_lock_options options = lock_options(mode, wait, timeout_ms);
    return hf_lock(txn, table_, bytes(key), &options);
  }
  static std::vector<hf_lock_info> cycle_of(hf_txn* txn) {
    std::size_t count = 0;
    EXPECT_EQ(hf_txn_cycle(txn, nullptr, 0, &count), HF_OK);
    std::vector<hf_lock_info> parties(count + 1);
    parties[0].size = sizeof(hf_lock_info);
    EXPECT_EQ(hf_txn_cycle(txn, parties.data(), parties.size(), &count), HF_OK);
    parties.resize(count);
    return parties;
  }
};

TEST_F(LockReports, RefusalNamesTheHolder) {
  const Txn holder(db_, "holder");
  const Txn txn(db_, "asks");
  EXPECT_EQ(hf_txn_number(holder), 0u) << "nothing locked yet";
  ASSERT_EQ(lock(holder, "k", HF_LOCK_SHARED), HF_OK);
  EXPECT_NE(hf_txn_number(holder), 0u);
  poll(nullptr, 0, 50);
  ASSERT_EQ(lock(txn, "k", HF_LOCK_EXCLUSIVE, HF_NO_WAIT), HF_LOCKED);
  hf_error error = error_of(txn);
  EXPECT_EQ(error.code, HF_LOCKED);
  EXPECT_STREQ(error.table, "rows");
  EXPECT_EQ(key_of(error), "k");
  EXPECT_EQ(error.mode_wanted, std::uint32_t{HF_LOCK_EXCLUSIVE});
  EXPECT_EQ(error.mode_held, 0u);
  EXPECT_EQ(error.other_mode_held, std::uint32_t{HF_LOCK_SHARED});
  EXPECT_EQ(error.other_mode_wanted, 0u);
  EXPECT_EQ(error.waited_ms, 0u);
  EXPECT_EQ(error.other_txn, hf_txn_number(holder));
  EXPECT_EQ(error.other_thread, this_thread());
  EXPECT_EQ(error.other_pid, static_cast<std::uint64_t>(getpid()));
  EXPECT_STREQ(error.other_label, "holder");
  EXPECT_GE(error.other_age_ms, 40u);
  EXPECT_LT(error.other_age_ms, 10'000u);
  for (const char* word : {"rows", "\"k\"", "exclusive", "shared", "holder"}) {
    EXPECT_NE(std::string(error.message).find(word), std::string::npos) << word << ": " << error.message;
  }
  ASSERT_EQ(lock(txn, "k", HF_LOCK_SHARED), HF_OK);
  ASSERT_EQ(lock(txn, "k", HF_LOCK_EXCLUSIVE, HF_WAIT, 60), HF_LOCK_TIMEOUT);
  EXPECT_EQ(hf_abort(holder), HF_OK);
  error = error_of(txn);  // kept when the holder has gone
  EXPECT_EQ(error.code, HF_LOCK_TIMEOUT);
  EXPECT_EQ(error.mode_held, std::uint32_t{HF_LOCK_SHARED});
  EXPECT_GE(error.waited_ms, 55u);
  EXPECT_STREQ(error.other_label, "holder");
}

// An older program's struct ends before the locks: the rest of its memory stays as it is.
TEST_F(LockReports, OlderErrorStruct) {
  const Txn holder(db_);
  const Txn txn(db_);
  ASSERT_EQ(lock(holder, "k"), HF_OK);
  ASSERT_EQ(lock(txn, "k", 0, HF_NO_WAIT), HF_LOCKED);
  hf_error error{};
  error.size = offsetof(hf_error, mode_wanted);
  error.mode_wanted = 4711;
  ASSERT_EQ(hf_txn_error(txn, &error), HF_OK);
  EXPECT_EQ(error.code, HF_LOCKED);
  EXPECT_EQ(error.mode_wanted, 4711u);
  EXPECT_EQ(error.size, offsetof(hf_error, mode_wanted));
}

TEST_F(LockReports, UpgradeDeadlockIsToldAtOnce) {
  const Txn one(db_, "one");
  const Txn two(db_, "two");
  ASSERT_EQ(lock(one, "k", HF_LOCK_SHARED), HF_OK);
  ASSERT_EQ(lock(two, "k", HF_LOCK_SHARED), HF_OK);
  Later first([&] { return lock(one, "k", HF_LOCK_EXCLUSIVE); });
  ASSERT_TRUE(somebody_waits(db_));
  const std::uint64_t number = hf_txn_number(two);
  const Stopwatch since;
  EXPECT_EQ(lock(two, "k", HF_LOCK_EXCLUSIVE), HF_DEADLOCK);
  EXPECT_LT(since.ms(), 1'000u);
  EXPECT_EQ(first.code(), HF_OK) << "the other one goes on";
  EXPECT_STREQ(error_of(two).other_label, "one");
  const std::vector<hf_lock_info> cycle = cycle_of(two);
  ASSERT_EQ(cycle.size(), 2u);
  EXPECT_EQ(cycle[0].txn, number);
  EXPECT_STREQ(cycle[0].label, "two");
  EXPECT_STREQ(cycle[1].label, "one");
  for (const hf_lock_info& party : cycle) {
    EXPECT_EQ(key_of(party), "k");
    EXPECT_EQ(party.mode_held, std::uint32_t{HF_LOCK_SHARED});
    EXPECT_EQ(party.mode_wanted, std::uint32_t{HF_LOCK_EXCLUSIVE});
  }
  EXPECT_EQ(lock(two, "k", HF_LOCK_EXCLUSIVE), HF_MISUSE) << "it has ended";
  EXPECT_EQ(hf_restart(two), HF_OK);
  EXPECT_EQ(cycle_of(two).size(), 2u) << "stays over a restart";
}

// A ring of transactions, each in a thread of its own, each holding a row and wanting the next one's.
TEST_F(LockReports, DeadlockOfThree) {
  constexpr std::size_t kParties = 3;
  const std::string rows[kParties] = {"a", "b", "c"};
  const std::string labels[kParties] = {"first", "second", "third"};
  std::vector<hf_txn*> txns(kParties);
  for (std::size_t i = 0; i < kParties; ++i) {
    hf_txn_options options = HF_TXN_OPTIONS_INIT;
    options.label = labels[i].c_str();
    ASSERT_EQ(hf_begin(db_, &options, &txns[i]), HF_OK);
    ASSERT_EQ(lock(txns[i], rows[i].c_str()), HF_OK);
    poll(nullptr, 0, 2);  // so that it is certain who began last
  }
  std::vector<int> codes(kParties, -1);
  std::vector<std::thread> threads;
  const Stopwatch since;
  for (std::size_t i = 0; i < kParties; ++i) {
    threads.emplace_back([&, i] {
      codes[i] = lock(txns[i], rows[(i + 1) % kParties].c_str());
      if (codes[i] == HF_OK) {
        EXPECT_EQ(hf_commit(txns[i]), HF_OK);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LT(since.ms(), 5'000u);
  EXPECT_EQ(codes, (std::vector<int>{HF_OK, HF_OK, HF_DEADLOCK})) << "the youngest gives up";
  const std::vector<hf_lock_info> cycle = cycle_of(txns[2]);
  ASSERT_EQ(cycle.size(), kParties);
  for (std::size_t i = 0; i < kParties; ++i) {
    EXPECT_EQ(cycle[i].label, labels[(i + 2) % kParties]);
    EXPECT_EQ(key_of(cycle[i]), rows[i]) << "what it waits for";
    EXPECT_STREQ(cycle[i].table, "rows");
  }
  const hf_error error = error_of(txns[2]);
  EXPECT_EQ(error.code, HF_DEADLOCK);
  EXPECT_EQ(key_of(error), "a");
  EXPECT_STREQ(error.other_label, "first");
  for (const std::string& label : labels) {
    EXPECT_NE(std::string(error.message).find(label), std::string::npos) << error.message;
  }
  // Room for fewer than there are.
  std::size_t count = 0;
  hf_lock_info one{};
  one.size = sizeof one;
  EXPECT_EQ(hf_txn_cycle(txns[2], &one, 1, &count), HF_OK);
  EXPECT_EQ(count, kParties);
  EXPECT_STREQ(one.label, "third");
  hf_stats stats{};
  stats.size = sizeof stats;
  EXPECT_EQ(hf_stat(db_, &stats), HF_OK);
  EXPECT_EQ(stats.deadlocks, 1u);
  for (hf_txn*& txn : txns) EXPECT_EQ(hf_txn_end(&txn), HF_OK);
}

TEST_F(LockReports, WithoutSearchTheTimeoutEndsIt) {
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.flags = HF_TXN_NO_DEADLOCK_SEARCH;
  options.lock_timeout_ms = 300;
  const Txn one(db_, &options);
  const Txn two(db_, &options);
  ASSERT_EQ(lock(one, "a"), HF_OK);
  ASSERT_EQ(lock(two, "b"), HF_OK);
  Later other([&] { return lock(one, "b", 0, HF_WAIT, 10'000); });
  ASSERT_TRUE(somebody_waits(db_));
  const Stopwatch since;
  EXPECT_EQ(hf_lock(two, table_, bytes("a"), nullptr), HF_LOCK_TIMEOUT);
  EXPECT_GE(since.ms(), 290u);
  EXPECT_EQ(hf_abort(two), HF_OK);
  EXPECT_EQ(other.code(), HF_OK);
}

TEST_F(LockReports, OrderIsDemandedWhereAsked) {
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.flags = HF_TXN_LOCK_ORDERED;
  const Txn holder(db_, "holder");
  const Txn txn(db_, &options);
  ASSERT_EQ(lock(holder, "b"), HF_OK);
  ASSERT_EQ(lock(holder, "x"), HF_OK);
  ASSERT_EQ(lock(txn, "m"), HF_OK);
  EXPECT_EQ(lock(txn, "a"), HF_OK) << "free: any order";
  const Stopwatch since;
  EXPECT_EQ(lock(txn, "b"), HF_LOCK_ORDER);
  EXPECT_LT(since.ms(), 1'000u);
  EXPECT_EQ(key_of(error_of(txn)), "b");
  EXPECT_STREQ(error_of(txn).other_label, "holder");
  EXPECT_EQ(lock(txn, "b", 0, HF_NO_WAIT), HF_LOCKED);
  EXPECT_EQ(lock(txn, "x", 0, HF_WAIT, 30), HF_LOCK_TIMEOUT) << "behind all that it holds";
  EXPECT_EQ(hf_commit(txn), HF_OK);
}

TEST_F(LockReports, TransactRetriesDeadlocks) {
  struct Context {
    hf_table* table;
    std::atomic<int> holding{0};
    std::atomic<int> runs{0};
  } context{table_, {}, {}};
  const auto worker = [&](bool forward) {
    struct Own {
      Context* shared;
      bool forward;
      int runs;
    } own{&context, forward, 0};
    const hf_transact_fn body = [](hf_txn* txn, void* c) -> int {
      auto* mine = static_cast<Own*>(c);
      mine->shared->runs.fetch_add(1);
      if (const int code = hf_lock(txn, mine->shared->table, bytes(mine->forward ? "a" : "b"), nullptr); code != HF_OK)
        return code;
      if (mine->runs++ == 0) {  // only the first time both are certain to hold one
        mine->shared->holding.fetch_add(1);
        for (const Stopwatch since; mine->shared->holding.load() < 2 && since.ms() < 10'000;
             std::this_thread::yield()) {
        }
      }
      if (const int code = hf_lock(txn, mine->shared->table, bytes(mine->forward ? "b" : "a"), nullptr); code != HF_OK)
        return code;
      return hf_put(txn, mine->shared->table, bytes(mine->forward ? "f" : "r"), bytes("1"), 0);
    };
    return hf_transact(db_, nullptr, body, &own, nullptr);
  };
  Later other([&] { return worker(false); });
  EXPECT_EQ(worker(true), HF_OK);
  EXPECT_EQ(other.code(), HF_OK);
  EXPECT_GE(context.runs.load(), 3) << "one of them ran again";
}

// --- the ends of a wait ---------------------------------------------------------------------------------------------

TEST_F(LockReports, CancelEndsAWait) {
  const Txn holder(db_);
  const Txn txn(db_);
  ASSERT_EQ(lock(holder, "k"), HF_OK);
  ASSERT_EQ(lock(txn, "mine"), HF_OK);
  Later waits([&] { return lock(txn, "k", 0, HF_WAIT, HF_FOREVER); });
  ASSERT_TRUE(somebody_waits(db_));
  const Stopwatch since;
  EXPECT_EQ(hf_cancel(txn), HF_OK);
  EXPECT_EQ(waits.code(), HF_CANCELLED);
  EXPECT_LT(since.ms(), 1'000u);
  EXPECT_EQ(lock(holder, "mine", 0, HF_NO_WAIT), HF_OK) << "its locks went with it";
  EXPECT_EQ(hf_cancel(txn), HF_OK) << "an ended transaction on a live handle: fine";
  EXPECT_EQ(hf_restart(txn), HF_OK);
  hf_row row{};
  EXPECT_EQ(hf_get(txn, table_, bytes("present"), &row), HF_OK) << "and without effect on the next one";
}

TEST_F(LockReports, ExpiredHolderLosesItsLocks) {
  for (const bool by_deadline : {true, false}) {
    hf_txn_options options = HF_TXN_OPTIONS_INIT;
    (by_deadline ? options.deadline_ms : options.idle_ms) = 150;
    const Txn holder(db_, &options);
    const Txn txn(db_);
    ASSERT_EQ(lock(holder, "k"), HF_OK);
    ASSERT_EQ(hf_put(holder, table_, bytes("k"), bytes("lost"), 0), HF_OK);
    const Stopwatch since;
    EXPECT_EQ(lock(txn, "k"), HF_OK) << "by itself, although the holder makes no call";
    EXPECT_LT(since.ms(), 3'000u);
    EXPECT_EQ(hf_put(txn, table_, bytes("k"), bytes("kept"), 0), HF_OK);
    EXPECT_EQ(hf_commit(txn), HF_OK);
    EXPECT_EQ(hf_commit(holder), HF_EXPIRED);
    EXPECT_EQ(error_of(holder).code, HF_EXPIRED);
    EXPECT_NE(std::string(error_of(holder).message).find(by_deadline ? "deadline" : "idle"), std::string::npos);
    EXPECT_NE(std::string(error_of(holder).message).find(std::to_string(getpid())), std::string::npos)
        << "who took them: " << error_of(holder).message;
    EXPECT_EQ(get("k"), "kept");
  }
}

TEST_F(LockReports, WaiterExpiresWhileItWaits) {
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.deadline_ms = 120;
  const Txn holder(db_);
  ASSERT_EQ(lock(holder, "k"), HF_OK);
  const Txn txn(db_, &options);
  const Stopwatch since;
  EXPECT_EQ(lock(txn, "k"), HF_EXPIRED);
  EXPECT_LT(since.ms(), 3'000u);
  EXPECT_EQ(lock(txn, "other"), HF_MISUSE) << "it has ended";
  // Waiting is not being idle.
  options = HF_TXN_OPTIONS_INIT;
  options.idle_ms = 80;
  const Txn patient(db_, &options);
  EXPECT_EQ(lock(patient, "k", 0, HF_WAIT, 300), HF_LOCK_TIMEOUT);
}

TEST_F(LockReports, ListIsOneConsistentPicture) {
  const Txn one(db_, "one");
  const Txn two(db_, "two");
  ASSERT_EQ(lock(one, "a"), HF_OK);
  ASSERT_EQ(lock(one, "b", HF_LOCK_SHARED), HF_OK);
  Later waits([&] { return lock(two, "a", HF_LOCK_SHARED); });
  ASSERT_TRUE(somebody_waits(db_));
  std::vector<hf_lock_info> all = list_locks(db_);
  ASSERT_EQ(all.size(), 3u);
  std::sort(all.begin(), all.end(), [](const hf_lock_info& a, const hf_lock_info& b) {
    return std::make_pair(key_of(a), a.mode_wanted) < std::make_pair(key_of(b), b.mode_wanted);
  });
  EXPECT_EQ(key_of(all[0]), "a");
  EXPECT_EQ(all[0].mode_held, std::uint32_t{HF_LOCK_EXCLUSIVE});
  EXPECT_STREQ(all[0].label, "one");
  EXPECT_EQ(all[0].txn, hf_txn_number(one));
  EXPECT_EQ(key_of(all[1]), "a");
  EXPECT_EQ(all[1].mode_held, 0u);
  EXPECT_EQ(all[1].mode_wanted, std::uint32_t{HF_LOCK_SHARED});
  EXPECT_STREQ(all[1].label, "two");
  EXPECT_EQ(key_of(all[2]), "b");
  for (const hf_lock_info& info : all) {
    EXPECT_EQ(info.size, sizeof info);
    EXPECT_STREQ(info.table, "rows");
    EXPECT_EQ(info.pid, static_cast<std::uint64_t>(getpid()));
    EXPECT_EQ(info.flags, 0u);
    EXPECT_EQ(info.reserved, 0u);
  }
  int seen = 0;
  const hf_lock_visit stop = [](const hf_lock_info*, void* context) {
    return ++*static_cast<int*>(context) == 2 ? 77 : 0;
  };
  EXPECT_EQ(hf_locks(db_, stop, &seen), 77);
  EXPECT_EQ(seen, 2);
  EXPECT_EQ(hf_abort(one), HF_OK);
  EXPECT_EQ(waits.code(), HF_OK);
  EXPECT_EQ(hf_abort(two), HF_OK);
  EXPECT_TRUE(list_locks(db_).empty());
}

// --- several processes ----------------------------------------------------------------------------------------------

constexpr int kOpenFailed = 90;

// Opens the database, locks row "theirs" of it, says so, and does as told: 'r' locks row "ours" too, 'e' ends.
int hold_in_child(const std::string& path, const OtherProcess& talk) {
  hf_db* db = nullptr;
  hf_table* table = nullptr;
  hf_txn* txn = nullptr;
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.label = "child";
  if (talk.heard() != 'g' || open_small(path, &db) != HF_OK || hf_table_open(db, "rows", &table) != HF_OK)
    return kOpenFailed;
  if (hf_begin(db, &options, &txn) != HF_OK || hf_lock(txn, table, bytes("theirs"), nullptr) != HF_OK) return 91;
  talk.tell('l');
  int code = HF_OK;
  if (talk.heard() == 'r') code = hf_lock(txn, table, bytes("ours"), nullptr);
  if (code != HF_DEADLOCK && hf_commit(txn) != HF_OK) return 92;
  hf_txn_end(&txn);
  return hf_close(&db) == HF_OK ? code : 93;
}

class LocksOfProcesses : public testing::Test {
 protected:
  void SetUp() override {
    const std::string path = directory_.path("db");
    child_.emplace([path](const OtherProcess& talk) { return hold_in_child(path, talk); });
    ASSERT_EQ(open_small(path, &db_), HF_OK);
    ASSERT_EQ(hf_table_create(db_, "rows", &table_), HF_OK);
    child_->say('g');
    ASSERT_EQ(child_->hear(), 'l') << "the child could not lock";
  }
  void TearDown() override {
    child_.reset();
    EXPECT_EQ(hf_close(&db_), HF_OK);
  }

  TempDirectory directory_;
  std::optional<OtherProcess> child_;
  hf_db* db_ = nullptr;
  hf_table* table_ = nullptr;
};

TEST_F(LocksOfProcesses, ReportNamesTheOtherProcess) {
  const Txn txn(db_);
  const hf_lock_options now = lock_options(HF_LOCK_SHARED, HF_NO_WAIT);
  ASSERT_EQ(hf_lock(txn, table_, bytes("theirs"), &now), HF_LOCKED);
  const hf_error error = error_of(txn);
  EXPECT_EQ(error.other_pid, static_cast<std::uint64_t>(child_->pid()));
  EXPECT_EQ(error.other_thread, static_cast<std::uint64_t>(child_->pid())) << "its first thread";
  EXPECT_STREQ(error.other_label, "child");
  const std::vector<hf_lock_info> all = list_locks(db_);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].pid, error.other_pid);
  EXPECT_EQ(all[0].txn, error.other_txn);
  Later waits([&] { return hf_lock(txn, table_, bytes("theirs"), nullptr); });
  ASSERT_TRUE(somebody_waits(db_));
  child_->say('e');
  EXPECT_EQ(waits.code(), HF_OK) << "handed over by the other process";
  EXPECT_EQ(child_->wait(), 0);
}

TEST_F(LocksOfProcesses, DeadlockOfTwoProcesses) {
  const Txn txn(db_, "parent");  // begins later than the child's
  ASSERT_EQ(hf_lock(txn, table_, bytes("ours"), nullptr), HF_OK);
  child_->say('r');
  ASSERT_TRUE(somebody_waits(db_));
  const Stopwatch since;
  EXPECT_EQ(hf_lock(txn, table_, bytes("theirs"), nullptr), HF_DEADLOCK);
  EXPECT_LT(since.ms(), 4'000u);
  EXPECT_EQ(child_->wait(), HF_OK) << "the older one goes on";
  hf_lock_info parties[4] = {};
  parties[0].size = sizeof parties[0];
  std::size_t count = 0;
  ASSERT_EQ(hf_txn_cycle(txn, parties, 4, &count), HF_OK);
  ASSERT_EQ(count, 2u);
  EXPECT_STREQ(parties[0].label, "parent");
  EXPECT_EQ(key_of(parties[0]), "theirs");
  EXPECT_STREQ(parties[1].label, "child");
  EXPECT_EQ(key_of(parties[1]), "ours");
  EXPECT_NE(parties[0].pid, parties[1].pid);
}

TEST_F(LocksOfProcesses, KilledHolder) {
  const Txn txn(db_);
  Later waits([&] { return hf_lock(txn, table_, bytes("theirs"), nullptr); });
  ASSERT_TRUE(somebody_waits(db_));
  const Stopwatch since;
  child_->kill();
  EXPECT_EQ(waits.code(), HF_OK);
  EXPECT_LT(since.ms(), 1'000u);
}

}  // namespace
}  // namespace conformance
