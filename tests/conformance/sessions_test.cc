// SPDX-License-Identifier: Apache-2.0
// Goal: locks on names as the header promises them: held over transactions, given back by unlock, close and death, and
// never before a transaction inside of the session has ended; the handle knows who uses it. Method: two sessions of one
// process, one of another.
#include "locks_support.h"

namespace conformance {
namespace {

hf_error error_of(hf_session* session) {
  hf_error error = HF_ERROR_INIT;
  EXPECT_EQ(hf_session_error(session, &error), HF_OK);
  return error;
}
int lock_now(hf_session* session, const char* name, std::uint32_t mode = 0) {
  const hf_lock_options options = lock_options(mode, HF_NO_WAIT);
  return hf_session_lock(session, bytes(name), &options);
}

class Sessions : public DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    ASSERT_EQ(hf_session_open(db_, "one", &one_), HF_OK) << conformance::error_of(db_).message;
    ASSERT_EQ(hf_session_open(db_, nullptr, &two_), HF_OK);
  }
  void TearDown() override {
    EXPECT_EQ(hf_session_close(&one_), HF_OK);
    EXPECT_EQ(hf_session_close(&two_), HF_OK);
    DatabaseTest::TearDown();
  }

  hf_session* one_ = nullptr;
  hf_session* two_ = nullptr;
};

TEST_F(Sessions, LockAndUnlock) {
  ASSERT_EQ(hf_session_lock(one_, bytes("job"), nullptr), HF_OK);
  EXPECT_EQ(hf_session_lock(one_, bytes("job"), nullptr), HF_OK) << "held already";
  EXPECT_EQ(lock_now(two_, "job"), HF_LOCKED);
  const hf_error error = error_of(two_);
  EXPECT_EQ(error.code, HF_LOCKED);
  EXPECT_STREQ(error.table, "");
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(error.key), error.key_size), "job");
  EXPECT_STREQ(error.other_label, "one");
  EXPECT_EQ(error.other_mode_held, std::uint32_t{HF_LOCK_EXCLUSIVE});
  EXPECT_NE(std::string(error.message).find("session"), std::string::npos) << error.message;
  EXPECT_EQ(hf_session_unlock(two_, bytes("job")), HF_NOT_FOUND) << "somebody else's";
  EXPECT_EQ(error_of(two_).code, HF_NOT_FOUND);
  EXPECT_EQ(hf_session_unlock(one_, bytes("job")), HF_OK);
  EXPECT_EQ(hf_session_unlock(one_, bytes("job")), HF_NOT_FOUND) << "one unlock is enough";
  EXPECT_EQ(lock_now(two_, "job"), HF_OK);
}

TEST_F(Sessions, ModesAndTimeouts) {
  ASSERT_EQ(lock_now(one_, "s", HF_LOCK_SHARED), HF_OK);
  ASSERT_EQ(lock_now(two_, "s", HF_LOCK_SHARED), HF_OK);
  EXPECT_EQ(lock_now(two_, "s", HF_LOCK_EXCLUSIVE), HF_LOCKED);
  const hf_lock_options brief = lock_options(HF_LOCK_EXCLUSIVE, HF_WAIT, 40);
  EXPECT_EQ(hf_session_lock(two_, bytes("s"), &brief), HF_LOCK_TIMEOUT);
  EXPECT_GE(error_of(two_).waited_ms, 35u);
  EXPECT_EQ(error_of(two_).mode_held, std::uint32_t{HF_LOCK_SHARED});
  EXPECT_EQ(hf_session_unlock(one_, bytes("s")), HF_OK);
  EXPECT_EQ(hf_session_lock(two_, bytes("s"), &brief), HF_OK);
}

TEST_F(Sessions, NamesAreNoRows) {
  ASSERT_EQ(lock_now(one_, "present"), HF_OK);
  const Txn txn(db_);
  const hf_lock_options now = lock_options(0, HF_NO_WAIT);
  EXPECT_EQ(hf_lock(txn, table_, bytes("present"), &now), HF_OK);
  bool seen = false;
  for (const hf_lock_info& info : list_locks(db_)) {
    if ((info.flags & HF_LOCK_INFO_SESSION) == 0) continue;
    seen = true;
    EXPECT_STREQ(info.table, "");
    EXPECT_STREQ(info.label, "one");
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(info.key), info.key_size), "present");
  }
  EXPECT_TRUE(seen);
}

TEST_F(Sessions, WaitIsHandedOverAndCancelled) {
  ASSERT_EQ(lock_now(one_, "job"), HF_OK);
  {
    Later waits([&] { return hf_session_lock(two_, bytes("job"), nullptr); });
    ASSERT_TRUE(somebody_waits(db_));
    hf_session* same = two_;
    EXPECT_EQ(hf_session_unlock(two_, bytes("job")), HF_MISUSE) << "in use by the other thread";
    EXPECT_EQ(hf_session_close(&same), HF_MISUSE);
    EXPECT_EQ(same, two_);
    EXPECT_EQ(hf_session_unlock(one_, bytes("job")), HF_OK);
    EXPECT_EQ(waits.code(), HF_OK);
  }
  const hf_lock_options forever = lock_options(0, HF_WAIT, HF_FOREVER);
  Later waits([&] { return hf_session_lock(one_, bytes("job"), &forever); });
  ASSERT_TRUE(somebody_waits(db_));
  const Stopwatch since;
  EXPECT_EQ(hf_session_cancel(one_), HF_OK);
  EXPECT_EQ(waits.code(), HF_CANCELLED);
  EXPECT_LT(since.ms(), 1'000u);
  EXPECT_EQ(hf_session_cancel(one_), HF_OK) << "nothing waits: nothing happens";
  EXPECT_EQ(hf_session_unlock(two_, bytes("job")), HF_OK);
  EXPECT_EQ(hf_session_lock(one_, bytes("job"), nullptr), HF_OK);
}

TEST_F(Sessions, CloseGivesEverythingBack) {
  for (const char* name : {"a", "b", "c"}) ASSERT_EQ(lock_now(one_, name), HF_OK);
  hf_session* stale = one_;
  EXPECT_EQ(hf_session_close(&one_), HF_OK);
  EXPECT_EQ(one_, nullptr);
  EXPECT_EQ(hf_session_close(&one_), HF_OK);
  EXPECT_EQ(hf_session_close(nullptr), HF_OK);
  for (const char* name : {"a", "b", "c"}) EXPECT_EQ(lock_now(two_, name), HF_OK);
  EXPECT_EQ(lock_now(stale, "a"), HF_MISUSE);
  EXPECT_EQ(hf_session_unlock(stale, bytes("a")), HF_MISUSE);
  EXPECT_EQ(hf_session_cancel(stale), HF_MISUSE);
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.session = stale;
  hf_txn* txn = nullptr;
  EXPECT_EQ(hf_begin(db_, &options, &txn), HF_MISUSE);
  EXPECT_NE(std::string(conformance::error_of(db_).message).find("session"), std::string::npos);
  EXPECT_EQ(hf_session_close(&stale), HF_MISUSE);
  EXPECT_EQ(stale, nullptr);
}

TEST_F(Sessions, TransactionsInside) {
  ASSERT_EQ(lock_now(one_, "job"), HF_OK);
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.session = one_;
  hf_txn* txn = nullptr;
  ASSERT_EQ(hf_begin(db_, &options, &txn), HF_OK) << conformance::error_of(db_).message;
  ASSERT_EQ(hf_put(txn, table_, bytes("k"), bytes("v"), 0), HF_OK);
  EXPECT_EQ(hf_session_unlock(one_, bytes("job")), HF_OK);
  EXPECT_EQ(lock_now(two_, "job"), HF_LOCKED) << "not before the transaction has ended";
  EXPECT_EQ(hf_session_unlock(one_, bytes("job")), HF_NOT_FOUND);
  EXPECT_EQ(hf_commit(txn), HF_OK);
  EXPECT_EQ(lock_now(two_, "job"), HF_OK) << "gone with it";
  hf_session* same = one_;
  EXPECT_EQ(hf_session_close(&same), HF_MISUSE) << "an ended one may restart";
  EXPECT_EQ(same, one_);
  EXPECT_EQ(error_of(one_).code, HF_MISUSE);
  EXPECT_EQ(lock_now(one_, "lives"), HF_OK);
  ASSERT_EQ(hf_restart(txn), HF_OK);
  EXPECT_EQ(hf_session_unlock(one_, bytes("lives")), HF_OK);
  EXPECT_EQ(lock_now(two_, "lives"), HF_LOCKED) << "inside again";
  EXPECT_EQ(hf_txn_end(&txn), HF_OK);
  EXPECT_EQ(lock_now(two_, "lives"), HF_OK);
}

// A handle that was inside of a session and is used again is not.
TEST_F(Sessions, HandlesForgetTheirSession) {
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.session = one_;
  hf_txn* txn = nullptr;
  ASSERT_EQ(hf_begin(db_, &options, &txn), HF_OK);
  ASSERT_EQ(hf_txn_end(&txn), HF_OK);
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  EXPECT_EQ(hf_session_close(&one_), HF_OK);
  EXPECT_EQ(hf_commit(txn), HF_OK);
  EXPECT_EQ(hf_restart(txn), HF_OK);
  EXPECT_EQ(hf_txn_end(&txn), HF_OK);
  // Nor one whose begin failed.
  options.session = two_;
  options.isolation = 99;
  EXPECT_EQ(hf_begin(db_, &options, &txn), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_session_close(&two_), HF_OK);
}

TEST_F(Sessions, TransactAndExecuteInside) {
  ASSERT_EQ(lock_now(one_, "job"), HF_OK);
  struct Context {
    hf_session* one;
    hf_session* two;
    hf_table* table;
    int unlocked, refused, closed;
  } context{one_, two_, table_, -1, -1, -1};
  hf_transact_options options = HF_TRANSACT_OPTIONS_INIT;
  options.txn.size = sizeof options.txn;
  options.txn.session = one_;
  const hf_transact_fn body = [](hf_txn* txn, void* c) {
    auto* inside = static_cast<Context*>(c);
    inside->unlocked = hf_session_unlock(inside->one, bytes("job"));
    inside->refused = lock_now(inside->two, "job");
    hf_session* same = inside->one;
    inside->closed = hf_session_close(&same);
    return hf_put(txn, inside->table, bytes("k"), bytes("v"), 0);
  };
  EXPECT_EQ(hf_transact(db_, &options, body, &context, nullptr), HF_OK);
  EXPECT_EQ(context.unlocked, HF_OK);
  EXPECT_EQ(context.refused, HF_LOCKED);
  EXPECT_EQ(context.closed, HF_MISUSE);
  EXPECT_EQ(lock_now(two_, "job"), HF_OK);
  EXPECT_EQ(hf_execute(db_, &options, nullptr, 0, nullptr, nullptr), HF_OK);
  EXPECT_EQ(hf_session_close(&one_), HF_OK) << "nothing is inside any more";
}

TEST_F(Sessions, DatabasesOfSessions) {
  hf_db* same = db_;
  EXPECT_EQ(hf_close(&same), HF_MISUSE) << "sessions are open";
  EXPECT_EQ(same, db_);
  hf_db* other = nullptr;
  hf_session* theirs = nullptr;
  ASSERT_EQ(open_small(directory_.path("other"), &other), HF_OK);
  ASSERT_EQ(hf_session_open(other, nullptr, &theirs), HF_OK);
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.session = theirs;
  hf_txn* txn = nullptr;
  EXPECT_EQ(hf_begin(db_, &options, &txn), HF_MISUSE);
  EXPECT_EQ(txn, nullptr);
  hf_transact_options transact = HF_TRANSACT_OPTIONS_INIT;
  transact.txn = options;
  EXPECT_EQ(hf_execute(db_, &transact, nullptr, 0, nullptr, nullptr), HF_MISUSE);
  same = other;
  EXPECT_EQ(hf_close(&same), HF_MISUSE);
  EXPECT_EQ(hf_session_close(&theirs), HF_OK);
  EXPECT_EQ(hf_close(&other), HF_OK);
}

TEST_F(Sessions, BadInput) {
  hf_session* session = one_;
  hf_error error = new_error();
  const std::string longer(HF_KEY_SIZE_MAX + 1, 'n');
  const std::string label(HF_LABEL_SIZE_MAX + 1, 'l');
  EXPECT_EQ(hf_session_open(nullptr, nullptr, &session), HF_INVALID_ARGUMENT);
  EXPECT_EQ(session, nullptr);
  EXPECT_EQ(hf_session_open(db_, nullptr, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_session_open(db_, label.c_str(), &session), HF_INVALID_ARGUMENT);
  EXPECT_EQ(session, nullptr);
  EXPECT_EQ(hf_session_lock(nullptr, bytes("n"), nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_session_unlock(nullptr, bytes("n")), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_session_cancel(nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_session_error(nullptr, &error), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_session_error(one_, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_session_lock(one_, {nullptr, 0}, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_session_lock(one_, {nullptr, 2}, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_session_lock(one_, bytes(longer), nullptr), HF_TOO_LARGE);
  EXPECT_EQ(error_of(one_).code, HF_TOO_LARGE);
  EXPECT_EQ(hf_session_unlock(one_, bytes(longer)), HF_TOO_LARGE);
  EXPECT_EQ(hf_session_unlock(one_, {nullptr, 0}), HF_INVALID_ARGUMENT);
  hf_lock_options options = lock_options(4);
  EXPECT_EQ(hf_session_lock(one_, bytes("n"), &options), HF_INVALID_ARGUMENT);
  options = lock_options(0, 3);
  EXPECT_EQ(hf_session_lock(one_, bytes("n"), &options), HF_INVALID_ARGUMENT);
  options = lock_options(0);
  options.flags = 2;
  EXPECT_EQ(hf_session_lock(one_, bytes("n"), &options), HF_INVALID_ARGUMENT);
  EXPECT_TRUE(list_locks(db_).empty()) << "nothing was locked";
  hf_session* wrong = reinterpret_cast<hf_session*>(table_);
  EXPECT_EQ(hf_session_lock(wrong, bytes("n"), nullptr), HF_MISUSE);
  EXPECT_EQ(hf_session_close(&wrong), HF_MISUSE);
}

TEST_F(Sessions, InheritedHandles) {
  ASSERT_EQ(lock_now(one_, "job"), HF_OK);
  const int failed_at = in_child([&] {
    hf_error error = HF_ERROR_INIT;
    if (hf_session_unlock(one_, bytes("job")) != HF_FORKED) return 1;
    if (hf_session_lock(one_, bytes("n"), nullptr) != HF_FORKED) return 2;
    if (hf_session_cancel(one_) != HF_FORKED) return 3;
    if (hf_session_error(one_, &error) != HF_FORKED) return 4;
    if (hf_session_close(&one_) != HF_FORKED || one_ != nullptr) return 5;
    return 0;
  });
  EXPECT_EQ(failed_at, 0);
  EXPECT_EQ(lock_now(two_, "job"), HF_LOCKED) << "the parent's stays";
}

TEST(SessionsOfProcesses, NamesGoWithTheProcess) {
  const TempDirectory directory;
  const std::string path = directory.path("db");
  OtherProcess child([path](const OtherProcess& talk) {
    hf_db* db = nullptr;
    hf_session* session = nullptr;
    if (talk.heard() != 'g' || open_small(path, &db) != HF_OK) return 1;
    if (hf_session_open(db, "child", &session) != HF_OK) return 2;
    if (hf_session_lock(session, bytes("job"), nullptr) != HF_OK) return 3;
    talk.tell('l');
    talk.heard();
    return 4;
  });
  hf_db* db = nullptr;
  hf_session* session = nullptr;
  ASSERT_EQ(open_small(path, &db), HF_OK);
  ASSERT_EQ(hf_session_open(db, nullptr, &session), HF_OK);
  child.say('g');
  ASSERT_EQ(child.hear(), 'l');
  EXPECT_EQ(lock_now(session, "job"), HF_LOCKED);
  EXPECT_EQ(error_of(session).other_pid, static_cast<std::uint64_t>(child.pid()));
  EXPECT_STREQ(error_of(session).other_label, "child");
  {
    Later waits([&] { return hf_session_lock(session, bytes("job"), nullptr); });
    EXPECT_TRUE(somebody_waits(db));
    child.kill();
    EXPECT_EQ(waits.code(), HF_OK);
  }
  EXPECT_EQ(hf_session_close(&session), HF_OK);
  EXPECT_EQ(hf_close(&db), HF_OK);
}

}  // namespace
}  // namespace conformance
