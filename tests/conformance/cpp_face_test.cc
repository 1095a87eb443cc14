// SPDX-License-Identifier: Apache-2.0
// Goal: the C++ face says what the C interface says, owns what it should, and lets nothing leak. Method: each part
// once in the way of its documentation, with the errors; compile-time properties as static assertions.
#include <poll.h>

#include <algorithm>
#include <array>
#include <concepts>
#include <ranges>
#include <stdexcept>
#include <vector>

#include "holdfast/holdfast.hpp"
#include "support.h"

namespace conformance {
namespace {

using holdfast::Database;
using holdfast::Table;
using holdfast::Transaction;

static_assert(std::ranges::input_range<holdfast::Rows> && std::ranges::view<holdfast::Rows>);
static_assert(!std::copyable<Database> && std::movable<Database>);
static_assert(!std::copyable<Transaction> && std::movable<Transaction>);
static_assert(!std::copyable<holdfast::Cursor> && std::movable<holdfast::Cursor>);
static_assert(!std::copyable<holdfast::Load> && std::movable<holdfast::Load>);
static_assert(std::copyable<Table> && sizeof(Table) == sizeof(void*));

class CppFace : public testing::Test {
 protected:
  void SetUp() override {
    auto db = Database::open(directory_.path("db"), {.label = "face", .map_size = std::uint64_t{1} << 32});
    ASSERT_TRUE(db) << db.error().message();
    db_ = std::move(*db);
    table_ = db_.ensure_table("rows").value();
  }
  void TearDown() override { EXPECT_TRUE(db_.close()) << db_.close().error().message(); }

  TempDirectory directory_;
  Database db_;
  Table table_;
};

TEST_F(CppFace, BytesOfManyKinds) {
  auto txn = db_.begin().value();
  const std::string string = "a string";
  const std::array<std::byte, 2> array = {std::byte{0}, std::byte{255}};
  const std::vector<unsigned char> vector = {1, 2, 3};
  const std::uint64_t number = 42;
  EXPECT_TRUE(txn.put(table_, "literal", string));
  EXPECT_TRUE(txn.put(table_, std::span(array), std::string_view("view")));
  EXPECT_TRUE(txn.put(table_, "vector", std::span(vector)));
  EXPECT_TRUE(txn.put(table_, "number", holdfast::bytes_of(number)));
  EXPECT_EQ(txn.get(table_, "literal").value().value, "a string");
  EXPECT_EQ(txn.get(table_, std::string_view("\0\xff", 2)).value().value, "view");
  EXPECT_EQ(txn.get(table_, "number").value().value.size(), sizeof number);
}

TEST_F(CppFace, ErrorsHaveCodeAndDetail) {
  auto txn = db_.begin().value();
  const auto row = txn.get(table_, "absent");
  ASSERT_FALSE(row);
  EXPECT_TRUE(row.error().is(HF_NOT_FOUND));
  EXPECT_STREQ(row.error().name(), "NOT_FOUND");
  EXPECT_EQ(row.error().detail(), nullptr) << "not asked for on the way that is often taken";
  ASSERT_TRUE(txn.find(table_, "absent"));
  EXPECT_FALSE(txn.find(table_, "absent")->has_value());
  EXPECT_TRUE(txn.insert(table_, "key", "1"));
  const holdfast::status again = txn.insert(table_, "key", "2");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.code(), HF_EXISTS);
  ASSERT_NE(again.error().detail(), nullptr);
  EXPECT_STREQ(again.error().detail()->table, "rows");
  EXPECT_NE(again.error().message().find("key"), std::string::npos);
  EXPECT_FALSE(again.error().is_retryable());
  const auto missing = db_.open_table("missing");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message().find("missing"), std::string::npos);
  const auto nowhere = Database::open(directory_.path("no/db"));
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code(), HF_NOT_FOUND);
}

TEST_F(CppFace, ValueThrowsAndNothingElse) {
  auto txn = db_.begin().value();
  try {
    (void)txn.get(table_, "absent").value();
    FAIL() << "there is no value";
  } catch (const holdfast::exception& e) {
    EXPECT_EQ(e.error().code(), HF_NOT_FOUND);
    EXPECT_NE(std::string(e.what()).find("NOT_FOUND"), std::string::npos);
  }
  EXPECT_THROW(txn.update(table_, "absent", "v").value(), holdfast::exception);
  EXPECT_EQ(db_.open_table("missing").value_or(Table()).c_table(), nullptr);
}

TEST_F(CppFace, HandlesEndWithTheirObjects) {
  {
    auto txn = db_.begin().value();
    EXPECT_TRUE(txn.put(table_, "lost", "v"));
    Transaction moved = std::move(txn);
    EXPECT_EQ(moved.get(table_, "lost").value().value, "v");
    auto cursor = moved.cursor(table_).value();
    EXPECT_TRUE(cursor.next());
    holdfast::Cursor other = std::move(cursor);
    EXPECT_EQ(other.next().code(), HF_END);
    EXPECT_EQ(db_.close().code(), HF_MISUSE);
    moved = db_.begin().value();  // ends the first
    EXPECT_FALSE(moved.find(table_, "lost")->has_value());
  }
  EXPECT_EQ(db_.stats().value().transactions_open, 0u);
}

TEST_F(CppFace, Ranges) {
  auto txn = db_.begin().value();
  for (const char* key : {"apple", "apricot", "pear", "plum"})
    EXPECT_TRUE(txn.put(table_, key, std::string("v-") + key));
  std::string found;
  auto rows = txn.range(table_, {.prefix = "p"});
  for (auto [key, row] : rows) found += std::string(key) + "=" + std::string(row.value) + ";";
  EXPECT_TRUE(rows.status());
  EXPECT_EQ(found, "pear=v-pear;plum=v-plum;");

  std::vector<std::string> last;
  for (const auto& entry : txn.range(table_, {.reverse = true}) | std::views::take(2)) last.emplace_back(entry.key);
  EXPECT_EQ(last, (std::vector<std::string>{"plum", "pear"}));

  int count = 0;
  for ([[maybe_unused]] const auto& entry :
       txn.range(table_, {.low = "apricot", .high = "pear", .high_inclusive = true})) {
    ++count;
  }
  EXPECT_EQ(count, 2);
  EXPECT_EQ(txn.count(table_, {.limit = 3}).value(), 3u);
  auto none = txn.range(table_, {.prefix = "x"});
  EXPECT_TRUE(none.begin() == none.end());
  EXPECT_TRUE(none.status());
}

TEST_F(CppFace, RangesTellTheirErrors) {
  auto txn = db_.begin().value();
  for (const char* key : {"a", "b", "c"}) EXPECT_TRUE(txn.put(table_, key, "v"));
  int seen = 0;
  auto rows = txn.range(table_);
  for (auto it = rows.begin(); it != rows.end(); ++it) {
    if (++seen == 2) txn.cancel();
  }
  EXPECT_EQ(seen, 2);
  EXPECT_EQ(rows.status().code(), HF_CANCELLED);
  auto refused = txn.range(Table());
  EXPECT_TRUE(refused.begin() == refused.end());
  EXPECT_FALSE(refused.status());
}

TEST_F(CppFace, ReadsAndWrites) {
  auto txn = db_.begin({.isolation = holdfast::isolation::snapshot, .label = "writer"}).value();
  EXPECT_TRUE(txn.put(table_, "a", "1"));
  EXPECT_TRUE(txn.put(table_, "b", "22", std::chrono::hours(1)));
  EXPECT_TRUE(txn.commit());
  const std::uint64_t version = txn.csn();
  EXPECT_NE(version, 0u);
  EXPECT_TRUE(txn.restart());
  EXPECT_EQ(txn.get(table_, "a")->version, version);
  EXPECT_NE(txn.get(table_, "b")->expires_ms, 0u);
  std::array<std::byte, 1> small{};
  EXPECT_EQ(txn.get_into(table_, "a", small).value(), 1u);
  EXPECT_EQ(txn.get_into(table_, "b", small).code(), HF_TOO_LARGE);
  const holdfast::bytes_view keys[] = {"b", "absent", "a"};
  const auto many = txn.get_many(table_, keys).value();
  EXPECT_EQ(many[0]->value, "22");
  EXPECT_FALSE(many[1].has_value());
  EXPECT_EQ(many[2]->value, "1");
  const std::uint64_t savepoint = txn.savepoint().value();
  EXPECT_TRUE(txn.remove(table_, "a"));
  EXPECT_EQ(txn.remove(table_, "a").code(), HF_NOT_FOUND);
  EXPECT_TRUE(txn.erase(table_, "a"));
  EXPECT_TRUE(txn.rollback_to(savepoint));
  EXPECT_TRUE(txn.release(savepoint));
  EXPECT_TRUE(txn.put_if_version(table_, "a", "2", version));
  EXPECT_EQ(txn.put_if_version(table_, "b", "2", version + 1).code(), HF_VERSION_MISMATCH);
  EXPECT_TRUE(txn.commit());
  auto reader = db_.begin({.read_only = true}).value();
  EXPECT_EQ(reader.put(table_, "a", "3").code(), HF_READ_ONLY);
}

TEST_F(CppFace, TransactRetries) {
  int runs = 0;
  holdfast::transact_report report;
  const auto sold = db_.transact(
      [&](Transaction& txn) -> holdfast::result<int> {
        // Another row each time: those of earlier conflicts are locked by then.
        const std::string contested = "stock" + std::to_string(++runs);
        const auto row = txn.find(table_, contested);
        if (!row) return row.error();
        if (runs < 3) {  // somebody else is faster
          auto other = db_.begin().value();
          EXPECT_TRUE(other.put(table_, contested, "7"));
          EXPECT_TRUE(other.commit());
        }
        if (auto put = txn.put(table_, "stock", "6"); !put) return put.error();
        return runs;
      },
      {.backoff_min = holdfast::microseconds(1)}, &report);
  ASSERT_TRUE(sold) << sold.error().message();
  EXPECT_EQ(*sold, 3);
  EXPECT_EQ(report.attempts, 3u);
  EXPECT_NE(report.csn, 0u);
}

TEST_F(CppFace, TransactAnswersTheFunctionsOwnError) {
  const holdfast::status refused = db_.transact([&](Transaction& txn) -> holdfast::status {
    if (auto put = txn.put(table_, "half", "done"); !put) return put;
    return holdfast::error(1001, "sold out");
  });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), 1001);
  EXPECT_EQ(refused.error().message(), "sold out");
  EXPECT_FALSE(db_.begin().value().find(table_, "half")->has_value());
}

TEST_F(CppFace, TransactLetsExceptionsThrough) {
  int runs = 0;
  EXPECT_THROW((void)db_.transact([&](Transaction& txn) -> holdfast::status {
    ++runs;
    (void)txn.put(table_, "half", "done");
    throw std::runtime_error("out of here");
  }),
               std::runtime_error);
  EXPECT_EQ(runs, 1);
  EXPECT_FALSE(db_.begin().value().find(table_, "half")->has_value());
}

TEST_F(CppFace, TransactGivesUp) {
  const holdfast::status status =
      db_.transact([&](Transaction&) -> holdfast::status { return holdfast::error(HF_CONFLICT); }, {.attempts_max = 4});
  ASSERT_FALSE(status);
  EXPECT_TRUE(status.error().is_retryable());
  ASSERT_NE(status.error().detail(), nullptr);
  EXPECT_EQ(status.error().detail()->attempts, 4u);
}

TEST_F(CppFace, Execute) {
  holdfast::Operations operations;
  std::array<std::byte, 8> buffer{};
  operations.check_absent(table_, "k").put(table_, "k", "value").get(table_, "k", buffer);
  auto results = db_.execute(operations);
  ASSERT_TRUE(results) << results.error().message();
  EXPECT_EQ((*results)[2].size, 5u);
  EXPECT_EQ(static_cast<char>(buffer[0]), 'v');
  std::vector<hf_operation_result> each;
  const auto refused = db_.execute(operations, {}, nullptr, &each);
  EXPECT_EQ(refused.code(), HF_EXISTS);
  EXPECT_EQ(each[0].code, HF_EXISTS);
  EXPECT_EQ(each[1].code, HF_CANCELLED);
  operations.clear();
  operations.check_exists(table_, "k").check_value(table_, "k", "value").update(table_, "k", "other");
  operations.insert(table_, "n", "1").remove(table_, "n").erase(table_, "n").put_if_version(table_, "z", "1", 0);
  operations.check_version(table_, "never", 0);
  EXPECT_TRUE(db_.execute(operations));
}

TEST_F(CppFace, Tickets) {
  const int fd = db_.event_fd().value();
  auto txn = db_.begin().value();
  EXPECT_TRUE(txn.put(table_, "k", "v"));
  const auto ticket = txn.commit_ticket();
  ASSERT_TRUE(ticket);
  pollfd ready = {fd, POLLIN, 0};
  EXPECT_EQ(poll(&ready, 1, 10'000), 1);
  EXPECT_TRUE(db_.is_durable(*ticket));
  EXPECT_TRUE(db_.wait(*ticket));
  EXPECT_TRUE(db_.sync());
}

TEST_F(CppFace, LoadAndFigures) {
  const Table table = db_.create_table("loaded").value();
  {
    auto load = db_.load(table).value();
    EXPECT_TRUE(load.add("a", "1"));
    EXPECT_EQ(load.add("a", "2").code(), HF_INVALID_ARGUMENT);
    EXPECT_TRUE(load.add("b", "2"));
    EXPECT_TRUE(load.finish());
  }
  EXPECT_EQ(db_.stats(table).value().rows_approximate, 2u);
  EXPECT_EQ(db_.stats().value().processes, 1u);
  EXPECT_EQ(db_.tables().value(), (std::vector<std::string>{"loaded", "rows"}));
  EXPECT_TRUE(db_.rename_table("loaded", "renamed"));
  EXPECT_TRUE(db_.drop_table("renamed"));
  const holdfast::status maintained = db_.maintain(/*merge_all=*/true);
  EXPECT_TRUE(maintained || maintained.error().is(HF_BUSY));
}

}  // namespace
}  // namespace conformance
