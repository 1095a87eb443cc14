// SPDX-License-Identifier: Apache-2.0
// Goal: locks, sessions and counters of the C++ face say what the C interface says, and own what they should. Method:
// each part once in the way of its documentation, with the errors.
#include <algorithm>
#include <chrono>
#include <concepts>
#include <optional>
#include <stdexcept>
#include <thread>
#include <vector>

#include "holdfast/holdfast.hpp"
#include "support.h"

namespace conformance {
namespace {

using holdfast::Database;
using holdfast::lock_mode;
using holdfast::lock_wait;
using holdfast::Table;
using holdfast::Transaction;
using std::chrono::milliseconds;

static_assert(!std::copyable<holdfast::Session> && std::movable<holdfast::Session>);

class CppLocks : public testing::Test {
 protected:
  void SetUp() override {
    auto db = Database::open(directory_.path("db"),
                             {.label = "face", .map_size = std::uint64_t{1} << 32, .lock_timeout = milliseconds(200)});
    ASSERT_TRUE(db) << db.error().message();
    db_ = std::move(*db);
    table_ = db_.ensure_table("rows").value();
    auto txn = db_.begin().value();
    for (const char* key : {"a", "b", "c"}) ASSERT_TRUE(txn.put(table_, key, std::string("v-") + key));
    ASSERT_TRUE(txn.commit());
  }
  void TearDown() override { EXPECT_TRUE(db_.close()) << db_.close().error().message(); }

  static constexpr holdfast::lock_options kNow = {.wait = lock_wait::no_wait};
  TempDirectory directory_;
  Database db_;
  Table table_;
};

TEST_F(CppLocks, LocksAndReports) {
  auto one = db_.begin({.label = "one"}).value();
  auto two = db_.begin({.label = "two"}).value();
  EXPECT_TRUE(one.lock(table_, "a", {.mode = lock_mode::shared}));
  EXPECT_TRUE(two.lock(table_, "a", {.mode = lock_mode::shared, .wait = lock_wait::no_wait, .strict = true}));
  const holdfast::status refused = two.lock(table_, "a", kNow);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.code(), HF_LOCKED);
  ASSERT_NE(refused.error().detail(), nullptr);
  EXPECT_STREQ(refused.error().detail()->other_label, "one");
  EXPECT_EQ(refused.error().detail()->other_txn, one.number());
  EXPECT_EQ(two.lock(table_, "a").code(), HF_LOCK_TIMEOUT) << "the database's 200 ms";
  const auto all = db_.locks();
  ASSERT_TRUE(all);
  ASSERT_EQ(all->size(), 2u);
  for (const holdfast::lock_info& info : *all) {
    EXPECT_EQ(info.table, "rows");
    EXPECT_EQ(info.key, "a");
    EXPECT_EQ(info.held, lock_mode::shared);
    EXPECT_EQ(info.wanted, lock_mode::none);
    EXPECT_FALSE(info.session || info.expired);
    EXPECT_TRUE(info.label == "one" || info.label == "two") << info.label;
  }
  EXPECT_TRUE(one.cycle().value().empty());
}

TEST_F(CppLocks, LockedReads) {
  auto one = db_.begin().value();
  auto two = db_.begin().value();
  EXPECT_EQ(one.get_for_update(table_, "a")->value, "v-a");
  EXPECT_EQ(one.get_for_update(table_, "none").code(), HF_NOT_FOUND);
  EXPECT_FALSE(one.find_for_update(table_, "none")->has_value());
  EXPECT_TRUE(one.find_for_share(table_, "b")->has_value());
  EXPECT_EQ(two.get_for_share(table_, "b", kNow)->value, "v-b");
  EXPECT_EQ(two.find_for_share(table_, "a", kNow).code(), HF_LOCKED);
  const holdfast::bytes_view keys[] = {"c", "a", "nothing"};
  const auto many = two.get_many_for_update(table_, keys, {.wait = lock_wait::skip_locked});
  ASSERT_TRUE(many) << many.error().message();
  EXPECT_TRUE((*many)[0].locked && (*many)[0].row->value == "v-c");
  EXPECT_FALSE((*many)[1].locked || (*many)[1].row);
  EXPECT_TRUE((*many)[2].locked && !(*many)[2].row);
  EXPECT_EQ(one.get_many_for_share(table_, keys, kNow).code(), HF_LOCKED);
}

TEST_F(CppLocks, LockMany) {
  auto one = db_.begin().value();
  auto two = db_.begin().value();
  EXPECT_TRUE(one.lock_many({{table_, "b"}, {table_, "a", lock_mode::shared}}));
  EXPECT_EQ(two.lock_many({{table_, "c"}, {table_, "b"}}, kNow).code(), HF_LOCKED);
  const auto some = two.lock_many({{table_, "c"}, {table_, "b"}}, {.wait = lock_wait::skip_locked});
  ASSERT_TRUE(some);
  EXPECT_EQ(*some, (std::vector<bool>{true, false}));
}

TEST_F(CppLocks, LockIf) {
  auto one = db_.begin().value();
  auto two = db_.begin().value();
  const auto is_a = [](const std::optional<holdfast::row>& row) { return row && row->value == "v-a"; };
  auto answer = one.lock_if(table_, "a", is_a);
  ASSERT_TRUE(answer);
  EXPECT_TRUE(answer->locked && answer->row->value == "v-a");
  answer = one.lock_if(table_, "b", is_a);
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->locked);
  EXPECT_EQ(answer->row->value, "v-b");
  answer = one.lock_if(table_, "none", [](const auto& row) { return !row; });
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_TRUE(answer->locked && !answer->row);
  EXPECT_EQ(two.lock_if(table_, "a", is_a, kNow).code(), HF_LOCKED);
  EXPECT_THROW((void)one.lock_if(table_, "c", [](const auto&) -> bool { throw std::runtime_error("out of here"); }),
               std::runtime_error);
  EXPECT_TRUE(two.lock(table_, "c", kNow)) << "nothing was locked";
}

TEST_F(CppLocks, RangesThatLock) {
  auto one = db_.begin().value();
  auto two = db_.begin().value();
  const holdfast::bounds first_free = {.limit = 1, .lock = lock_mode::exclusive, .wait = lock_wait::skip_locked};
  for (const auto& [txn, wanted] : {std::pair<Transaction*, const char*>{&one, "a"}, {&two, "b"}}) {
    auto rows = txn->range(table_, first_free);
    auto it = rows.begin();
    ASSERT_TRUE(it != rows.end());
    EXPECT_EQ(it->key, wanted);
    EXPECT_TRUE(rows.status());
  }
}

TEST_F(CppLocks, Sessions) {
  auto session = db_.open_session("nightly").value();
  auto other = db_.open_session().value();
  EXPECT_TRUE(session.lock("job"));
  EXPECT_EQ(other.lock("job", kNow).code(), HF_LOCKED);
  EXPECT_EQ(other.unlock("job").code(), HF_NOT_FOUND);
  {
    auto txn = db_.begin({.session = &session}).value();
    EXPECT_EQ(session.close().code(), HF_MISUSE);
    EXPECT_TRUE(session.unlock("job"));
    EXPECT_EQ(other.lock("job", kNow).code(), HF_LOCKED);
    EXPECT_TRUE(txn.commit());
    EXPECT_TRUE(other.lock("job", kNow));
  }
  holdfast::Session moved = std::move(other);
  EXPECT_EQ(session.lock("job", kNow).code(), HF_LOCKED);
  moved = db_.open_session().value();  // ends the first
  EXPECT_TRUE(session.lock("job", kNow));
  session.cancel();
  EXPECT_TRUE(session.close());
}

TEST_F(CppLocks, Counters) {
  auto txn = db_.begin().value();
  EXPECT_EQ(txn.counter_get(table_, "stock").code(), HF_NOT_FOUND);
  EXPECT_TRUE(txn.counter_set(table_, "stock", 10));
  EXPECT_TRUE(txn.add(table_, "stock", -3, {.min = 0}));
  EXPECT_EQ(txn.add(table_, "stock", -8, {.min = 0}).code(), HF_OUT_OF_RANGE);
  EXPECT_EQ(txn.add(table_, "a", 1).code(), HF_WRONG_TYPE);
  EXPECT_EQ(txn.counter_get(table_, "stock").value(), 7);
  EXPECT_TRUE(txn.commit());
  EXPECT_EQ(txn.counter_after(table_, "stock").value(), 7);
  holdfast::Operations operations;
  operations.lock(table_, "b").lock(table_, "a").add(table_, "stock", -1, {.min = 0}).counter_set(table_, "points", 5);
  const auto results = db_.execute(operations);
  ASSERT_TRUE(results) << results.error().message();
  EXPECT_EQ((*results)[2].counter, 6);
  EXPECT_TRUE(txn.restart());
  EXPECT_EQ(txn.counter_get(table_, "points").value(), 5);
  EXPECT_TRUE(txn.counter_reset(table_, "points"));
  EXPECT_EQ(txn.counter_get(table_, "points").value(), 0);
}

TEST_F(CppLocks, DeadlockAndItsCycle) {
  auto one = db_.begin({.label = "one"}).value();
  auto two = db_.begin({.label = "two", .lock_timeout = std::chrono::seconds(20)}).value();
  ASSERT_TRUE(one.lock(table_, "a", {.mode = lock_mode::shared}));
  ASSERT_TRUE(two.lock(table_, "a", {.mode = lock_mode::shared}));
  std::thread waits([&] { EXPECT_TRUE(two.lock(table_, "a")); });
  while (db_.stats()->lock_waits == 0) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(one.lock(table_, "a").code(), HF_DEADLOCK);
  waits.join();
  const auto cycle = one.cycle();
  ASSERT_TRUE(cycle);
  ASSERT_EQ(cycle->size(), 2u);
  EXPECT_EQ((*cycle)[0].label, "one");
  EXPECT_EQ((*cycle)[1].label, "two");
  EXPECT_EQ((*cycle)[1].wanted, lock_mode::exclusive);
}

}  // namespace
}  // namespace conformance
