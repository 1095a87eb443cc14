// SPDX-License-Identifier: Apache-2.0
// Goal: no argument of a call that locks makes the library crash, or lock a part of what was asked for; each wrong one
// gets its documented code and a message that names the thing. Method: one wrong argument at a time; the lock table is
// empty after.
#include <cstddef>

#include "locks_support.h"

namespace conformance {
namespace {

class LockInput : public DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    ASSERT_EQ(hf_begin(db_, nullptr, &txn_), HF_OK);
  }
  void TearDown() override {
    hf_row row{};
    EXPECT_EQ(hf_get(txn_, table_, bytes("present"), &row), HF_OK) << "still running";
    EXPECT_TRUE(list_locks(db_).empty()) << "something was locked";
    hf_txn_end(&txn_);
    DatabaseTest::TearDown();
  }
  void expect_failure(int code, int wanted, const std::string& word) {
    EXPECT_EQ(code, wanted) << hf_code_name(code);
    const hf_error error = error_of(txn_);
    EXPECT_EQ(error.code, wanted);
    EXPECT_NE(std::string(error.message).find(word), std::string::npos) << error.message;
  }

  hf_txn* txn_ = nullptr;
};

int always(const hf_row*, void*) { return 1; }

// Every call that locks one row.
std::vector<int> with_row(hf_txn* txn, hf_table* table, hf_bytes key, const hf_lock_options* options) {
  hf_row row{};
  int locked = 0;
  hf_lock_request request = {table, key, 0, 0};
  return {hf_lock(txn, table, key, options),
          hf_lock_many(txn, &request, 1, options),
          hf_get_for_update(txn, table, key, options, &row),
          hf_get_for_share(txn, table, key, options, &row),
          hf_get_many_for_update(txn, table, &key, 1, options, &row),
          hf_get_many_for_share(txn, table, &key, 1, options, &row),
          hf_lock_if(txn, table, key, options, always, nullptr, &row, &locked)};
}

TEST_F(LockInput, Keys) {
  const std::string longer(HF_KEY_SIZE_MAX + 1, 'k');
  for (const int code : with_row(txn_, table_, {"", 0}, nullptr)) expect_failure(code, HF_INVALID_ARGUMENT, "empty");
  for (const int code : with_row(txn_, table_, {nullptr, 3}, nullptr))
    expect_failure(code, HF_INVALID_ARGUMENT, "NULL");
  for (const int code : with_row(txn_, table_, bytes(longer), nullptr)) expect_failure(code, HF_TOO_LARGE, "511");
  for (const int code : with_row(txn_, table_, {"k", SIZE_MAX}, nullptr)) expect_failure(code, HF_TOO_LARGE, "511");
}

TEST_F(LockInput, LongestKey) {
  const std::string longest(HF_KEY_SIZE_MAX, 'k');
  const std::string sibling = longest.substr(0, HF_KEY_SIZE_MAX - 1) + "l";
  {
    const Txn one(db_);
    const Txn two(db_);
    const hf_lock_options now = lock_options(0, HF_NO_WAIT);
    ASSERT_EQ(hf_lock(one, table_, bytes(longest), nullptr), HF_OK);
    EXPECT_EQ(hf_lock(two, table_, bytes(sibling), &now), HF_OK);
    EXPECT_EQ(hf_lock(two, table_, bytes(longest), &now), HF_LOCKED);
    const hf_error error = error_of(two);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(error.key), error.key_size), longest);
  }
}

TEST_F(LockInput, Options) {
  hf_lock_options options = HF_LOCK_OPTIONS_INIT;
  options.size = 7;
  for (const int code : with_row(txn_, table_, bytes("k"), &options))
    expect_failure(code, HF_INVALID_ARGUMENT, "hf_lock_options");
  options = lock_options(4);
  for (const int code : with_row(txn_, table_, bytes("k"), &options))
    expect_failure(code, HF_INVALID_ARGUMENT, "mode 4");
  options = lock_options(0, 3);
  for (const int code : with_row(txn_, table_, bytes("k"), &options))
    expect_failure(code, HF_INVALID_ARGUMENT, "wait 3");
  options = lock_options(0);
  options.flags = 2;
  for (const int code : with_row(txn_, table_, bytes("k"), &options))
    expect_failure(code, HF_INVALID_ARGUMENT, "flags 2");
}

// Modes that the call is not for.
TEST_F(LockInput, ModesOfReads) {
  hf_row row{};
  const hf_bytes key = bytes("k");
  const hf_lock_options shared = lock_options(HF_LOCK_SHARED);
  const hf_lock_options exclusive = lock_options(HF_LOCK_EXCLUSIVE);
  const hf_lock_options increment = lock_options(HF_LOCK_INCREMENT);
  expect_failure(hf_get_for_update(txn_, table_, key, &shared, &row), HF_INVALID_ARGUMENT, "mode");
  expect_failure(hf_get_for_update(txn_, table_, key, &increment, &row), HF_INVALID_ARGUMENT, "mode");
  expect_failure(hf_get_for_share(txn_, table_, key, &exclusive, &row), HF_INVALID_ARGUMENT, "mode");
  expect_failure(hf_get_many_for_update(txn_, table_, &key, 1, &shared, &row), HF_INVALID_ARGUMENT, "mode");
  expect_failure(hf_get_many_for_share(txn_, table_, &key, 1, &increment, &row), HF_INVALID_ARGUMENT, "mode");
  expect_failure(hf_lock_if(txn_, table_, key, &increment, always, nullptr, &row, nullptr), HF_INVALID_ARGUMENT,
                 "mode");
  hf_cursor* cursor = nullptr;
  hf_cursor_options options = HF_CURSOR_OPTIONS_INIT;
  options.lock_mode = HF_LOCK_INCREMENT;
  expect_failure(hf_cursor_open(txn_, table_, &options, &cursor), HF_INVALID_ARGUMENT, "mode");
  options.lock_mode = HF_LOCK_SHARED;
  options.lock_wait = 3;
  expect_failure(hf_cursor_open(txn_, table_, &options, &cursor), HF_INVALID_ARGUMENT, "lock_wait");
  options.lock_wait = HF_WAIT;
  std::uint64_t count = 0;
  expect_failure(hf_count(txn_, table_, &options, &count), HF_INVALID_ARGUMENT, "lock_mode");
  EXPECT_EQ(cursor, nullptr);
}

TEST_F(LockInput, Nulls) {
  hf_row row{};
  std::size_t count = 0;
  const hf_bytes key = bytes("k");
  for (const int code : with_row(nullptr, table_, key, nullptr)) EXPECT_EQ(code, HF_INVALID_ARGUMENT);
  for (const int code : with_row(txn_, nullptr, key, nullptr)) expect_failure(code, HF_INVALID_ARGUMENT, "table");
  expect_failure(hf_lock_many(txn_, nullptr, 1, nullptr), HF_INVALID_ARGUMENT, "requests");
  expect_failure(hf_get_many_for_update(txn_, table_, nullptr, 1, nullptr, &row), HF_INVALID_ARGUMENT, "keys");
  expect_failure(hf_get_many_for_share(txn_, table_, &key, 1, nullptr, nullptr), HF_INVALID_ARGUMENT, "rows");
  expect_failure(hf_lock_if(txn_, table_, key, nullptr, nullptr, nullptr, &row, nullptr), HF_INVALID_ARGUMENT, "holds");
  expect_failure(hf_txn_cycle(txn_, nullptr, 0, nullptr), HF_INVALID_ARGUMENT, "count");
  expect_failure(hf_txn_cycle(txn_, nullptr, 1, &count), HF_INVALID_ARGUMENT, "parties");
  hf_lock_info unset{};
  expect_failure(hf_txn_cycle(txn_, &unset, 1, &count), HF_INVALID_ARGUMENT, "hf_lock_info");
  unset.size = sizeof unset + 4;
  expect_failure(hf_txn_cycle(txn_, &unset, 1, &count), HF_INVALID_ARGUMENT, "hf_lock_info");
  EXPECT_EQ(hf_txn_cycle(nullptr, &unset, 1, &count), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_locks(
                nullptr, [](const hf_lock_info*, void*) { return 0; }, nullptr),
            HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_locks(db_, nullptr, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_txn_number(nullptr), 0u);
  EXPECT_EQ(hf_txn_cycle(txn_, nullptr, 0, &count), HF_OK);
  EXPECT_EQ(count, 0u);
}

TEST_F(LockInput, ReadOnlyAndEnded) {
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  for (const std::uint32_t flags : {HF_TXN_READ_ONLY, HF_TXN_BASE_ONLY}) {
    options.flags = flags;
    const Txn reader(db_, &options);
    for (const int code : with_row(reader, table_, bytes("k"), nullptr)) EXPECT_EQ(code, HF_READ_ONLY);
    EXPECT_EQ(error_of(reader).code, HF_READ_ONLY);
    hf_cursor_options range = HF_CURSOR_OPTIONS_INIT;
    range.lock_mode = HF_LOCK_SHARED;
    hf_cursor* cursor = nullptr;
    EXPECT_EQ(hf_cursor_open(reader, table_, &range, &cursor), HF_READ_ONLY);
    EXPECT_EQ(hf_abort(reader), HF_OK);
    for (const int code : with_row(reader, table_, bytes("k"), nullptr)) EXPECT_EQ(code, HF_MISUSE) << "ended";
    EXPECT_EQ(hf_txn_number(reader), 0u);
  }
  hf_txn* stale = nullptr;
  ASSERT_EQ(hf_begin(db_, nullptr, &stale), HF_OK);
  hf_txn* const copy = stale;
  EXPECT_EQ(hf_txn_end(&stale), HF_OK);
  for (const int code : with_row(copy, table_, bytes("k"), nullptr)) EXPECT_EQ(code, HF_MISUSE);
  EXPECT_EQ(hf_txn_number(copy), 0u);
  std::size_t count = 0;
  EXPECT_EQ(hf_txn_cycle(copy, nullptr, 0, &count), HF_MISUSE);
}

// One wrong entry, last in the list and first in canonical order: nothing is locked, with each policy.
TEST_F(LockInput, ListsWithAWrongEntry) {
  hf_db* other = nullptr;
  hf_table* theirs = nullptr;
  hf_table* dropped = nullptr;
  ASSERT_EQ(open_small(directory_.path("other"), &other), HF_OK);
  ASSERT_EQ(hf_table_create(other, "theirs", &theirs), HF_OK);
  ASSERT_EQ(hf_table_create(db_, "dropped", &dropped), HF_OK);
  ASSERT_EQ(hf_table_drop(db_, "dropped"), HF_OK);
  hf_txn_end(&txn_);
  ASSERT_EQ(hf_begin(db_, nullptr, &txn_), HF_OK);
  const std::string longer(HF_KEY_SIZE_MAX + 1, 'k');
  const struct {
    hf_lock_request request;
    int wanted;
    bool is_named;
  } wrong[] = {
      {{nullptr, bytes("k"), 0, 0}, HF_INVALID_ARGUMENT, true},
      {{reinterpret_cast<hf_table*>(txn_), bytes("k"), 0, 0}, HF_MISUSE, true},
      {{theirs, bytes("k"), 0, 0}, HF_MISUSE, true},
      {{dropped, bytes("k"), 0, 0}, HF_NO_TABLE, false},
      {{table_, bytes(longer), 0, 0}, HF_TOO_LARGE, true},
      {{table_, {nullptr, 0}, 0, 0}, HF_INVALID_ARGUMENT, true},
      {{table_, {nullptr, 1}, 0, 0}, HF_INVALID_ARGUMENT, true},
      {{table_, bytes("k"), 4, 0}, HF_INVALID_ARGUMENT, true},
  };
  for (const std::uint32_t wait : {HF_WAIT, HF_NO_WAIT, HF_SKIP_LOCKED}) {
    const hf_lock_options options = lock_options(0, wait);
    for (const auto& [request, wanted, is_named] : wrong) {
      hf_lock_request list[] = {{table_, bytes("x"), 0, 0}, {table_, bytes("y"), 0, 0}, request};
      expect_failure(hf_lock_many(txn_, list, 3, &options), wanted, is_named ? "request 2" : "");
      EXPECT_TRUE(list_locks(db_).empty()) << wanted;
    }
  }
  for (const int code : with_row(txn_, dropped, bytes("k"), nullptr)) EXPECT_EQ(code, HF_NO_TABLE);
  for (const int code : with_row(txn_, theirs, bytes("k"), nullptr)) EXPECT_EQ(code, HF_MISUSE);
  EXPECT_EQ(hf_close(&other), HF_OK);
  for (const int code : with_row(txn_, theirs, bytes("k"), nullptr))
    EXPECT_EQ(code, HF_MISUSE) << "its database is closed";
}

// --- versions of structs --------------------------------------------------------------------------------------------

// What was compiled before there were locks hands over less, and gets less.
TEST_F(LockInput, OlderStructs) {
  hf_db* db = nullptr;
  hf_open_options open = HF_OPEN_OPTIONS_INIT;
  open.size = offsetof(hf_open_options, lock_timeout_ms);
  open.map_size = std::uint64_t{1} << 32;
  open.lock_timeout_ms = 1;  // is not there
  open.locks_max = UINT32_MAX;
  open.lock_reserved = 1;
  ASSERT_EQ(hf_open(directory_.path("older").c_str(), &open, &db, nullptr), HF_OK);
  hf_stats stats{};
  stats.size = offsetof(hf_stats, locks_max);
  stats.locks_max = 4711;
  EXPECT_EQ(hf_stat(db, &stats), HF_OK);
  EXPECT_EQ(stats.locks_max, 4711u);
  hf_txn_options begin = HF_TXN_OPTIONS_INIT;
  begin.size = offsetof(hf_txn_options, lock_timeout_ms);
  begin.session = reinterpret_cast<hf_session*>(db);
  hf_txn* txn = nullptr;
  ASSERT_EQ(hf_begin(db, &begin, &txn), HF_OK);
  hf_table* table = nullptr;
  ASSERT_EQ(hf_table_create(db, "rows", &table), HF_OK);
  EXPECT_EQ(hf_restart(txn), HF_MISUSE);
  hf_cursor_options range = HF_CURSOR_OPTIONS_INIT;
  range.size = offsetof(hf_cursor_options, lock_mode);
  range.lock_mode = 99;
  std::uint64_t count = 1;
  EXPECT_EQ(hf_count(txn, table, &range, &count), HF_OK);
  EXPECT_EQ(count, 0u);
  EXPECT_EQ(hf_txn_end(&txn), HF_OK);
  // The options of a transaction stand at the end of those of transact, and grow with them.
  hf_transact_options transact = HF_TRANSACT_OPTIONS_INIT;
  transact.size = offsetof(hf_transact_options, txn) + begin.size;
  transact.txn = begin;
  hf_transact_result result{};
  result.size = offsetof(hf_transact_result, error) + offsetof(hf_error, mode_wanted);
  result.error.mode_wanted = 4711;
  EXPECT_EQ(hf_execute(db, &transact, nullptr, 0, nullptr, &result), HF_OK);
  EXPECT_EQ(result.error.size, offsetof(hf_error, mode_wanted)) << "what there is room for";
  EXPECT_EQ(result.error.mode_wanted, 4711u);
  EXPECT_EQ(hf_close(&db), HF_OK);
}

TEST_F(LockInput, NewerStructs) {
  struct {
    hf_transact_options options = HF_TRANSACT_OPTIONS_INIT;
    char more[16] = {};
  } newer;
  newer.options.size = sizeof newer;
  newer.options.txn.size = sizeof newer.options.txn + sizeof newer.more;
  EXPECT_EQ(hf_execute(db_, &newer.options, nullptr, 0, nullptr, nullptr), HF_OK);
  newer.more[7] = 1;
  EXPECT_EQ(hf_execute(db_, &newer.options, nullptr, 0, nullptr, nullptr), HF_INVALID_ARGUMENT);
  newer.more[7] = 0;
  newer.options.txn.size += 8;  // beyond the struct that it is part of
  EXPECT_EQ(hf_execute(db_, &newer.options, nullptr, 0, nullptr, nullptr), HF_INVALID_ARGUMENT);
  hf_transact_options options = HF_TRANSACT_OPTIONS_INIT;
  options.txn.size = 60'000;
  EXPECT_EQ(hf_execute(db_, &options, nullptr, 0, nullptr, nullptr), HF_INVALID_ARGUMENT);
  options.txn.size = UINT32_MAX;
  EXPECT_EQ(hf_execute(db_, &options, nullptr, 0, nullptr, nullptr), HF_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace conformance
