// SPDX-License-Identifier: Apache-2.0
// Goal: no argument of a call on an open database makes the library crash, or do half of something; each wrong one
// gets its documented code and a message that names the thing. Method: one wrong argument at a time; the row that was
// there before is there after. Handles are the matter of handles_test.cc, directories and limits of bad_open_test.cc.
#include <cstddef>
#include <vector>

#include "support.h"

namespace conformance {
namespace {

class BadInput : public DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    ASSERT_EQ(hf_begin(db_, nullptr, &txn_), HF_OK);
  }
  void TearDown() override {
    hf_txn_end(&txn_);
    EXPECT_EQ(get("present"), "value");
    DatabaseTest::TearDown();
  }
  // The call failed with that code, and the transaction's detail says so, and why.
  void expect_failure(int code, int wanted, const std::string& word) {
    EXPECT_EQ(code, wanted) << hf_code_name(code);
    const hf_error error = error_of(txn_);
    EXPECT_EQ(error.code, wanted);
    EXPECT_NE(std::string(error.message).find(word), std::string::npos) << error.message;
  }

  hf_txn* txn_ = nullptr;
  hf_row row_{};
};

// Every function that takes a key, given this one.
std::vector<int> with_key(hf_txn* txn, hf_table* table, hf_bytes key) {
  hf_row row{};
  char buffer[8];
  std::size_t size = 0;
  const hf_bytes value = bytes("v");
  return {hf_get(txn, table, key, &row),
          hf_get_into(txn, table, key, buffer, sizeof buffer, &size),
          hf_get_many(txn, table, &key, 1, &row),
          hf_put(txn, table, key, value, 0),
          hf_insert(txn, table, key, value, 0),
          hf_update(txn, table, key, value, 0),
          hf_put_if_version(txn, table, key, value, 0, 0),
          hf_delete(txn, table, key),
          hf_erase(txn, table, key)};
}

std::vector<int> with_value(hf_txn* txn, hf_table* table, hf_bytes value) {
  const hf_bytes key = bytes("k");
  return {hf_put(txn, table, key, value, 0), hf_insert(txn, table, key, value, 0), hf_update(txn, table, key, value, 0),
          hf_put_if_version(txn, table, key, value, 0, 0)};
}

TEST_F(BadInput, EmptyKey) {
  for (const int code : with_key(txn_, table_, {"", 0})) expect_failure(code, HF_INVALID_ARGUMENT, "empty");
  for (const int code : with_key(txn_, table_, {nullptr, 0})) expect_failure(code, HF_INVALID_ARGUMENT, "empty");
}

TEST_F(BadInput, NullKeyWithSize) {
  for (const int code : with_key(txn_, table_, {nullptr, 3})) expect_failure(code, HF_INVALID_ARGUMENT, "NULL");
}

TEST_F(BadInput, KeySizes) {
  const std::string longest(HF_KEY_SIZE_MAX, 'k');
  const std::string longer(HF_KEY_SIZE_MAX + 1, 'k');
  EXPECT_EQ(hf_put(txn_, table_, bytes(longest), bytes("v"), 0), HF_OK);
  EXPECT_EQ(hf_get(txn_, table_, bytes(longest), &row_), HF_OK);
  for (const int code : with_key(txn_, table_, bytes(longer))) expect_failure(code, HF_TOO_LARGE, "511");
  for (const int code : with_key(txn_, table_, {"k", SIZE_MAX})) expect_failure(code, HF_TOO_LARGE, "511");
  EXPECT_EQ(hf_commit(txn_), HF_OK);
}

TEST_F(BadInput, ValueSizes) {
  const std::string largest(HF_VALUE_SIZE_MAX, 'v');
  const std::string larger(HF_VALUE_SIZE_MAX + 1, 'v');
  for (const int code : with_value(txn_, table_, bytes(larger))) expect_failure(code, HF_TOO_LARGE, "16777216");
  for (const int code : with_value(txn_, table_, {nullptr, 1})) expect_failure(code, HF_INVALID_ARGUMENT, "NULL");
  for (const int code : with_value(txn_, table_, {"v", SIZE_MAX})) expect_failure(code, HF_TOO_LARGE, "16777216");
  EXPECT_EQ(hf_put(txn_, table_, bytes("empty"), {nullptr, 0}, 0), HF_OK);
  EXPECT_EQ(hf_put(txn_, table_, bytes("large"), bytes(largest), 0), HF_OK);
  ASSERT_EQ(hf_commit(txn_), HF_OK) << error_of(txn_).message;
  ASSERT_EQ(hf_restart(txn_), HF_OK);
  ASSERT_EQ(hf_get(txn_, table_, bytes("large"), &row_), HF_OK);
  EXPECT_TRUE(text(row_.value) == largest);
  ASSERT_EQ(hf_get(txn_, table_, bytes("empty"), &row_), HF_OK);
  EXPECT_EQ(row_.value.size, 0u);
}

TEST_F(BadInput, TransactionTooLarge) {
  const std::string value(HF_VALUE_SIZE_MAX, 'v');
  int code = HF_OK;
  int written = 0;
  for (; code == HF_OK && written < 100; ++written) {
    code = hf_put(txn_, table_, bytes("k" + std::to_string(written)), bytes(value), 0);
  }
  expect_failure(code, HF_TOO_LARGE, "txn_bytes_max");
  EXPECT_EQ(hf_get(txn_, table_, bytes("k0"), &row_), HF_OK) << "it stays usable";
}

TEST_F(BadInput, NullOutputs) {
  const hf_bytes key = bytes("present");
  std::size_t size = 0;
  char buffer[8];
  expect_failure(hf_get(txn_, table_, key, nullptr), HF_INVALID_ARGUMENT, "row");
  expect_failure(hf_get_into(txn_, table_, key, buffer, sizeof buffer, nullptr), HF_INVALID_ARGUMENT, "size");
  expect_failure(hf_get_into(txn_, table_, key, nullptr, 8, &size), HF_INVALID_ARGUMENT, "buffer");
  expect_failure(hf_get_many(txn_, table_, nullptr, 1, &row_), HF_INVALID_ARGUMENT, "keys");
  expect_failure(hf_get_many(txn_, table_, &key, 1, nullptr), HF_INVALID_ARGUMENT, "rows");
  expect_failure(hf_cursor_open(txn_, table_, nullptr, nullptr), HF_INVALID_ARGUMENT, "cursor");
  expect_failure(hf_count(txn_, table_, nullptr, nullptr), HF_INVALID_ARGUMENT, "count");
  expect_failure(hf_savepoint(txn_, nullptr), HF_INVALID_ARGUMENT, "savepoint");
  expect_failure(hf_commit_ticket(txn_, nullptr), HF_INVALID_ARGUMENT, "ticket");
  EXPECT_EQ(hf_get(txn_, table_, key, &row_), HF_OK) << "still running";
  EXPECT_EQ(hf_begin(db_, nullptr, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_txn_error(txn_, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_db_error(db_, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_table_open(db_, "rows", nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_table_list(db_, nullptr, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_table_stat(db_, table_, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_stat(db_, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_event_fd(db_, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_load_begin(db_, table_, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_transact(db_, nullptr, nullptr, nullptr, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_NE(std::string(error_of(db_).message).find("fn"), std::string::npos);
}

TEST_F(BadInput, NullHandles) {
  hf_error error = new_error();
  hf_cursor* cursor = nullptr;
  hf_table* table = table_;
  std::uint64_t number = 0;
  std::size_t found = 0;
  int fd = 0;
  hf_stats stats{};
  stats.size = sizeof stats;
  hf_table_stats table_stats{};
  table_stats.size = sizeof table_stats;
  hf_txn* txn = txn_;
  hf_load* load = nullptr;
  for (const int code : with_key(nullptr, table_, bytes("k"))) EXPECT_EQ(code, HF_INVALID_ARGUMENT);
  for (const int code : with_key(txn_, nullptr, bytes("k"))) expect_failure(code, HF_INVALID_ARGUMENT, "table");
  const std::vector<int> codes = {
      hf_begin(nullptr, nullptr, &txn),
      hf_db_error(nullptr, &error),
      hf_table_create(nullptr, "t", &table),
      hf_table_open(nullptr, "t", &table),
      hf_table_ensure(nullptr, "t", &table),
      hf_table_drop(nullptr, "t"),
      hf_table_rename(nullptr, "t", "u"),
      hf_table_list(
          nullptr, [](const char*, void*) { return 0; }, nullptr),
      hf_table_stat(nullptr, table_, &table_stats),
      hf_table_stat(db_, nullptr, &table_stats),
      hf_commit(nullptr),
      hf_commit_ticket(nullptr, &number),
      hf_abort(nullptr),
      hf_restart(nullptr),
      hf_cancel(nullptr),
      hf_txn_error(nullptr, &error),
      hf_savepoint(nullptr, &number),
      hf_rollback_to(nullptr, 1),
      hf_release(nullptr, 1),
      hf_ticket_wait(nullptr, 0, 0),
      hf_sync(nullptr, 0),
      hf_event_fd(nullptr, &fd),
      hf_cursor_open(nullptr, table_, nullptr, &cursor),
      hf_cursor_open(txn_, nullptr, nullptr, &cursor),
      hf_cursor_next(nullptr, nullptr, nullptr),
      hf_cursor_next_many(nullptr, 1, nullptr, nullptr, &found),
      hf_cursor_seek(nullptr, bytes("k")),
      hf_count(nullptr, table_, nullptr, &number),
      hf_count(txn_, nullptr, nullptr, &number),
      hf_transact(
          nullptr, nullptr, [](hf_txn*, void*) { return 0; }, nullptr, nullptr),
      hf_execute(nullptr, nullptr, nullptr, 0, nullptr, nullptr),
      hf_load_begin(nullptr, table_, &load),
      hf_load_begin(db_, nullptr, &load),
      hf_load_add(nullptr, bytes("k"), bytes("v"), 0),
      hf_load_finish(nullptr),
      hf_load_error(nullptr, &error),
      hf_maintain(nullptr, 0),
      hf_stat(nullptr, &stats),
  };
  for (std::size_t i = 0; i < codes.size(); ++i) EXPECT_EQ(codes[i], HF_INVALID_ARGUMENT) << "call " << i;
  EXPECT_EQ(txn, nullptr);
  EXPECT_EQ(table, nullptr);
  EXPECT_EQ(hf_txn_snapshot(nullptr), 0u);
  EXPECT_EQ(hf_txn_csn(nullptr), 0u);
}

TEST_F(BadInput, TableNames) {
  const std::string longest(HF_TABLE_NAME_SIZE_MAX, 'n');
  hf_table* table = nullptr;
  const std::vector<std::string> wrong = {"",         longest + "n", "a\nb",     "\x7f",         "\xff",
                                          "\xc0\xaf", "\xe2\x82",    "\xc2\x85", "\xed\xa0\x80", "\xf4\x90\x80\x80"};
  for (const std::string& name : wrong) {
    EXPECT_EQ(hf_table_create(db_, name.c_str(), &table), HF_INVALID_ARGUMENT) << name;
    EXPECT_NE(std::string(error_of(db_).message).find("table name"), std::string::npos);
    EXPECT_EQ(hf_table_open(db_, name.c_str(), &table), HF_INVALID_ARGUMENT) << name;
    EXPECT_EQ(hf_table_rename(db_, "rows", name.c_str()), HF_INVALID_ARGUMENT) << name;
    EXPECT_EQ(hf_table_drop(db_, name.c_str()), HF_INVALID_ARGUMENT) << name;
  }
  EXPECT_EQ(hf_table_create(db_, nullptr, &table), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_table_create(db_, longest.c_str(), &table), HF_OK);
  EXPECT_EQ(hf_table_create(db_, "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x8d\x90", &table), HF_OK);
}

TEST_F(BadInput, UnknownTable) {
  hf_table* table = table_;
  EXPECT_EQ(hf_table_open(db_, "nowhere", &table), HF_NO_TABLE);
  EXPECT_EQ(table, nullptr);
  const hf_error error = error_of(db_);
  EXPECT_STREQ(error.table, "nowhere");
  EXPECT_NE(std::string(error.message).find("nowhere"), std::string::npos);
}

TEST_F(BadInput, DroppedTable) {
  hf_table* table = nullptr;
  ASSERT_EQ(hf_table_create(db_, "gone", &table), HF_OK);
  ASSERT_EQ(hf_table_drop(db_, "gone"), HF_OK);
  hf_txn_end(&txn_);
  ASSERT_EQ(hf_begin(db_, nullptr, &txn_), HF_OK);
  for (const int code : with_key(txn_, table, bytes("k"))) EXPECT_EQ(code, HF_NO_TABLE) << hf_code_name(code);
  EXPECT_STREQ(error_of(txn_).table, "gone");
}

// --- option structs -------------------------------------------------------------------------------------------------

// Larger than any version of it is.
template <typename Options>
struct Larger {
  Options options{};
  char more[16] = {};
};

TEST_F(BadInput, OptionSizes) {
  hf_txn* txn = nullptr;
  for (const std::uint32_t size : {0u, 4u, 7u, 70000u, UINT32_MAX}) {
    hf_txn_options options = HF_TXN_OPTIONS_INIT;
    options.size = size;
    EXPECT_EQ(hf_begin(db_, &options, &txn), HF_INVALID_ARGUMENT) << size;
    EXPECT_EQ(txn, nullptr);
    const std::string message = error_of(db_).message;
    EXPECT_NE(message.find("hf_txn_options"), std::string::npos) << message;
  }
}

TEST_F(BadInput, SmallerOptionsLackFields) {
  hf_txn* txn = nullptr;
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.size = offsetof(hf_txn_options, isolation);
  options.flags = HF_TXN_READ_ONLY;
  options.isolation = 99;  // is not there
  ASSERT_EQ(hf_begin(db_, &options, &txn), HF_OK);
  EXPECT_EQ(hf_put(txn, table_, bytes("k"), bytes("v"), 0), HF_READ_ONLY);
  hf_txn_end(&txn);
}

TEST_F(BadInput, LargerOptionsHaveToBeZero) {
  hf_txn* txn = nullptr;
  Larger<hf_txn_options> larger;
  larger.options.size = sizeof larger;
  EXPECT_EQ(hf_begin(db_, &larger.options, &txn), HF_OK);
  hf_txn_end(&txn);
  larger.more[15] = 1;
  EXPECT_EQ(hf_begin(db_, &larger.options, &txn), HF_INVALID_ARGUMENT);
}

TEST_F(BadInput, OptionValues) {
  hf_txn* txn = nullptr;
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.flags = 64;
  EXPECT_EQ(hf_begin(db_, &options, &txn), HF_INVALID_ARGUMENT);
  options = HF_TXN_OPTIONS_INIT;
  options.isolation = 4;
  EXPECT_EQ(hf_begin(db_, &options, &txn), HF_INVALID_ARGUMENT);
  EXPECT_NE(std::string(error_of(db_).message).find("isolation 4"), std::string::npos);
  options = HF_TXN_OPTIONS_INIT;
  options.durability = 3;
  EXPECT_EQ(hf_begin(db_, &options, &txn), HF_INVALID_ARGUMENT);
  options = HF_TXN_OPTIONS_INIT;
  const std::string label(HF_LABEL_SIZE_MAX + 1, 'l');
  options.label = label.c_str();
  EXPECT_EQ(hf_begin(db_, &options, &txn), HF_INVALID_ARGUMENT);
  options.label = label.c_str() + 1;
  options.deadline_ms = UINT64_MAX - 1;
  options.idle_ms = UINT64_MAX - 1;
  ASSERT_EQ(hf_begin(db_, &options, &txn), HF_OK);
  EXPECT_EQ(hf_get(txn, table_, bytes("present"), &row_), HF_OK) << "huge limits do not wrap";
  hf_txn_end(&txn);
  EXPECT_EQ(hf_maintain(db_, 2), HF_INVALID_ARGUMENT);
}

TEST_F(BadInput, CursorOptions) {
  hf_cursor* cursor = nullptr;
  hf_cursor_options options = HF_CURSOR_OPTIONS_INIT;
  options.size = 3;
  expect_failure(hf_cursor_open(txn_, table_, &options, &cursor), HF_INVALID_ARGUMENT, "hf_cursor_options");
  options = HF_CURSOR_OPTIONS_INIT;
  options.flags = 8;
  expect_failure(hf_cursor_open(txn_, table_, &options, &cursor), HF_INVALID_ARGUMENT, "flags");
  options = HF_CURSOR_OPTIONS_INIT;
  options.low = {nullptr, 1};
  expect_failure(hf_cursor_open(txn_, table_, &options, &cursor), HF_INVALID_ARGUMENT, "low");
  const std::string longer(HF_KEY_SIZE_MAX + 1, 'k');
  options = HF_CURSOR_OPTIONS_INIT;
  options.prefix = bytes(longer);
  std::uint64_t count = 0;
  expect_failure(hf_count(txn_, table_, &options, &count), HF_TOO_LARGE, "prefix");
  options = HF_CURSOR_OPTIONS_INIT;
  options.low = bytes("z");
  options.high = bytes("a");
  ASSERT_EQ(hf_cursor_open(txn_, table_, &options, &cursor), HF_OK) << "an empty range is a range";
  EXPECT_EQ(hf_cursor_next(cursor, nullptr, nullptr), HF_END);
  std::size_t found = 0;
  expect_failure(hf_cursor_next_many(cursor, 0, nullptr, nullptr, &found), HF_INVALID_ARGUMENT, "count");
  expect_failure(hf_cursor_next_many(cursor, 1, nullptr, nullptr, nullptr), HF_INVALID_ARGUMENT, "found");
  expect_failure(hf_cursor_seek(cursor, {nullptr, 0}), HF_INVALID_ARGUMENT, "empty");
  expect_failure(hf_cursor_seek(cursor, {nullptr, 5}), HF_INVALID_ARGUMENT, "NULL");
  expect_failure(hf_cursor_seek(cursor, bytes(longer)), HF_TOO_LARGE, "511");
}

TEST_F(BadInput, OutputSizes) {
  hf_stats stats{};
  EXPECT_EQ(hf_stat(db_, &stats), HF_INVALID_ARGUMENT);
  stats.size = 8;
  stats.csn_published = 4711;
  EXPECT_EQ(hf_stat(db_, &stats), HF_OK);
  EXPECT_EQ(stats.processes, 1u);
  EXPECT_EQ(stats.csn_published, 4711u) << "written past the size that the caller has";
  hf_error error{};
  EXPECT_EQ(hf_txn_error(txn_, &error), HF_INVALID_ARGUMENT);
  Larger<hf_error> larger;
  larger.options.size = sizeof larger;
  larger.more[3] = 1;
  EXPECT_EQ(hf_txn_error(txn_, &larger.options), HF_OK);
  EXPECT_EQ(larger.options.size, sizeof larger);
  EXPECT_EQ(larger.more[3], 0);
  hf_transact_result result{};
  EXPECT_EQ(hf_execute(db_, nullptr, nullptr, 0, nullptr, &result), HF_INVALID_ARGUMENT);
}

// --- hf_transact and hf_execute -------------------------------------------------------------------------------------

TEST_F(BadInput, TransactOptions) {
  const hf_transact_fn nothing = [](hf_txn*, void*) { return static_cast<int>(HF_OK); };
  hf_transact_options options = HF_TRANSACT_OPTIONS_INIT;
  options.backoff_min_us = 10;
  options.backoff_max_us = 9;
  EXPECT_EQ(hf_transact(db_, &options, nothing, nullptr, nullptr), HF_INVALID_ARGUMENT);
  options = HF_TRANSACT_OPTIONS_INIT;
  options.txn.flags = HF_TXN_READ_ONLY;  // without a size
  EXPECT_EQ(hf_transact(db_, &options, nothing, nullptr, nullptr), HF_INVALID_ARGUMENT);
  options.txn.size = sizeof options.txn;
  options.total_timeout_ms = HF_FOREVER;
  options.backoff_max_us = UINT64_MAX;
  EXPECT_EQ(hf_transact(db_, &options, nothing, nullptr, nullptr), HF_OK);
}

TEST_F(BadInput, Operations) {
  hf_operation good{};
  good.kind = HF_OP_PUT;
  good.table = table_;
  good.key = bytes("present");
  good.value = bytes("changed");
  const auto refused = [&](const hf_operation& bad, int wanted) {
    const hf_operation both[] = {good, bad};
    hf_operation_result results[2];
    hf_transact_result result{};
    result.size = sizeof result;
    EXPECT_EQ(hf_execute(db_, nullptr, both, 2, results, &result), wanted);
    EXPECT_EQ(results[0].code, HF_CANCELLED);
    EXPECT_EQ(results[1].code, wanted);
    EXPECT_EQ(result.error.code, wanted);
    EXPECT_NE(std::string(result.error.message).find("operation 1"), std::string::npos) << result.error.message;
  };
  for (const std::uint32_t kind : {0u, 15u, UINT32_MAX}) {
    hf_operation bad = good;
    bad.kind = kind;
    refused(bad, HF_INVALID_ARGUMENT);
  }
  hf_operation bad = good;
  bad.reserved = 1;
  refused(bad, HF_INVALID_ARGUMENT);
  bad = good;
  bad.table = nullptr;
  refused(bad, HF_INVALID_ARGUMENT);
  bad = good;
  bad.table = reinterpret_cast<hf_table*>(txn_);
  refused(bad, HF_MISUSE);
  bad = good;
  bad.key = {nullptr, 0};
  refused(bad, HF_INVALID_ARGUMENT);
  bad = good;
  bad.value = {nullptr, 1};
  refused(bad, HF_INVALID_ARGUMENT);
  bad = good;
  bad.value.size = SIZE_MAX;
  refused(bad, HF_TOO_LARGE);
  bad = good;
  bad.kind = HF_OP_GET;
  bad.capacity = 1;
  refused(bad, HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_execute(db_, nullptr, nullptr, 1, nullptr, nullptr), HF_INVALID_ARGUMENT);
}

TEST_F(BadInput, LoadArguments) {
  hf_table* table = nullptr;
  ASSERT_EQ(hf_table_create(db_, "loaded", &table), HF_OK);
  hf_load* load = nullptr;
  EXPECT_EQ(hf_load_begin(db_, table_, &load), HF_EXISTS) << "the table has a row";
  ASSERT_EQ(hf_load_begin(db_, table, &load), HF_OK) << error_of(db_).message;
  const std::string longer(HF_KEY_SIZE_MAX + 1, 'k');
  EXPECT_EQ(hf_load_add(load, {nullptr, 0}, bytes("v"), 0), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_load_add(load, {nullptr, 3}, bytes("v"), 0), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_load_add(load, bytes(longer), bytes("v"), 0), HF_TOO_LARGE);
  EXPECT_EQ(hf_load_add(load, bytes("k"), {nullptr, 3}, 0), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_load_add(load, bytes("k"), {"v", SIZE_MAX}, 0), HF_TOO_LARGE);
  EXPECT_EQ(hf_load_add(load, bytes("k"), bytes("v"), 0), HF_OK);
  EXPECT_EQ(hf_load_add(load, bytes("k"), bytes("v"), 0), HF_INVALID_ARGUMENT) << "the same key again";
  EXPECT_EQ(hf_load_error(load, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_load_finish(load), HF_OK);
  hf_load_end(&load);
}

TEST_F(BadInput, TimesToLive) {
  for (const std::uint64_t ttl : {UINT64_MAX - 1, UINT64_MAX / 2}) {
    ASSERT_EQ(hf_put(txn_, table_, bytes("k"), bytes("v"), ttl), HF_OK);
    ASSERT_EQ(hf_get(txn_, table_, bytes("k"), &row_), HF_OK) << "wrapped into the past";
    EXPECT_NE(row_.expires_ms, 0u);
  }
  ASSERT_EQ(hf_put(txn_, table_, bytes("k"), bytes("v"), HF_FOREVER), HF_OK);
  ASSERT_EQ(hf_get(txn_, table_, bytes("k"), &row_), HF_OK);
  EXPECT_EQ(row_.expires_ms, 0u);
}

TEST_F(BadInput, Savepoints) {
  expect_failure(hf_rollback_to(txn_, 0), HF_INVALID_ARGUMENT, "savepoint");
  expect_failure(hf_release(txn_, UINT64_MAX), HF_INVALID_ARGUMENT, "savepoint");
}

}  // namespace
}  // namespace conformance
