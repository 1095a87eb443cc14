// SPDX-License-Identifier: Apache-2.0
// Goal: counters as the header promises them: adds that never conflict, bounds at the call and at the commit, own adds
// seen, the value after the commit, set and reset, errors that leave everything as it was. Method: two transactions of
// one thread; threads for the race of many.
#include <atomic>

#include "locks_support.h"

namespace conformance {
namespace {

class Counters : public DatabaseTest {
 protected:
  // -1 with an expectation failed when it is none.
  std::int64_t value_of(const char* key) {
    const Txn txn(db_);
    std::int64_t value = -1;
    EXPECT_EQ(hf_counter_get(txn, table_, bytes(key), &value), HF_OK) << key;
    return value;
  }
  int add(hf_txn* txn, const char* key, std::int64_t delta, std::int64_t min = INT64_MIN,
          std::int64_t max = INT64_MAX) {
    return hf_add(txn, table_, bytes(key), delta, min, max);
  }
  void set(const char* key, std::int64_t value) {
    const Txn txn(db_);
    ASSERT_EQ(hf_counter_set(txn, table_, bytes(key), value), HF_OK);
    ASSERT_EQ(hf_commit(txn), HF_OK);
  }
};

TEST_F(Counters, AbsentIsZero) {
  const Txn txn(db_);
  std::int64_t value = 77;
  EXPECT_EQ(hf_counter_get(txn, table_, bytes("c"), &value), HF_NOT_FOUND);
  EXPECT_EQ(value, 0);
  EXPECT_EQ(add(txn, "c", 5), HF_OK);
  EXPECT_EQ(hf_counter_get(txn, table_, bytes("c"), &value), HF_OK);
  EXPECT_EQ(value, 5) << "own adds are seen";
  EXPECT_EQ(add(txn, "c", -7), HF_OK);
  EXPECT_EQ(hf_counter_get(txn, table_, bytes("c"), &value), HF_OK);
  EXPECT_EQ(value, -2);
  EXPECT_EQ(hf_commit(txn), HF_OK);
  EXPECT_EQ(value_of("c"), -2);
}

TEST_F(Counters, AddsNeverConflict) {
  set("c", 10);
  const Txn one(db_);
  const Txn two(db_);
  ASSERT_EQ(add(one, "c", 1), HF_OK);
  ASSERT_EQ(add(two, "c", 2), HF_OK);
  EXPECT_EQ(hf_commit(two), HF_OK);
  EXPECT_EQ(hf_commit(one), HF_OK) << error_of(one).message;
  EXPECT_EQ(value_of("c"), 13);
  std::int64_t after = 0;
  EXPECT_EQ(hf_counter_after(two, table_, bytes("c"), &after), HF_OK);
  EXPECT_EQ(after, 12);
  EXPECT_EQ(hf_counter_after(one, table_, bytes("c"), &after), HF_OK);
  EXPECT_EQ(after, 13);
}

TEST_F(Counters, ReadingOneIsADependency) {
  set("c", 10);
  const Txn one(db_);
  const Txn two(db_);
  std::int64_t value = 0;
  ASSERT_EQ(hf_counter_get(one, table_, bytes("c"), &value), HF_OK);
  ASSERT_EQ(add(one, "c", 1), HF_OK);
  ASSERT_EQ(add(two, "c", 1), HF_OK);
  EXPECT_EQ(hf_commit(two), HF_OK);
  EXPECT_EQ(hf_commit(one), HF_CONFLICT);
  EXPECT_EQ(value_of("c"), 11);
}

TEST_F(Counters, AfterTheCommitOnly) {
  const Txn txn(db_);
  std::int64_t after = 77;
  ASSERT_EQ(add(txn, "c", 3), HF_OK);
  EXPECT_EQ(hf_counter_after(txn, table_, bytes("c"), &after), HF_MISUSE) << "it runs";
  EXPECT_EQ(hf_abort(txn), HF_OK);
  EXPECT_EQ(hf_counter_after(txn, table_, bytes("c"), &after), HF_MISUSE) << "it did not commit";
  EXPECT_EQ(hf_restart(txn), HF_OK);
  ASSERT_EQ(add(txn, "c", 3), HF_OK);
  ASSERT_EQ(add(txn, "c", 4), HF_OK);
  ASSERT_EQ(hf_put(txn, table_, bytes("row"), bytes("v"), 0), HF_OK);
  EXPECT_EQ(hf_commit(txn), HF_OK);
  EXPECT_EQ(hf_counter_after(txn, table_, bytes("c"), &after), HF_OK);
  EXPECT_EQ(after, 7);
  EXPECT_EQ(hf_counter_after(txn, table_, bytes("row"), &after), HF_NOT_FOUND);
  EXPECT_EQ(hf_counter_after(txn, table_, bytes("other"), &after), HF_NOT_FOUND);
  EXPECT_EQ(hf_restart(txn), HF_OK);
  EXPECT_EQ(hf_counter_after(txn, table_, bytes("c"), &after), HF_MISUSE);
}

TEST_F(Counters, BoundsAtTheCall) {
  set("stock", 2);
  const Txn txn(db_);
  EXPECT_EQ(add(txn, "stock", -3, 0, 100), HF_OUT_OF_RANGE);
  const hf_error error = error_of(txn);
  EXPECT_EQ(error.code, HF_OUT_OF_RANGE);
  EXPECT_STREQ(error.table, "rows");
  EXPECT_EQ(error.key_size, 5u);
  EXPECT_NE(std::string(error.message).find("stands at 2"), std::string::npos) << error.message;
  EXPECT_EQ(add(txn, "stock", 99, 0, 100), HF_OUT_OF_RANGE);
  EXPECT_EQ(add(txn, "stock", -2, 0, 100), HF_OK) << "it runs on, and nothing was added";
  EXPECT_EQ(add(txn, "stock", -1, 0, 100), HF_OUT_OF_RANGE) << "own adds count";
  EXPECT_EQ(hf_commit(txn), HF_OK);
  EXPECT_EQ(value_of("stock"), 0);
}

TEST_F(Counters, BoundsAtTheCommit) {
  set("stock", 1);
  const Txn one(db_);
  const Txn two(db_);
  ASSERT_EQ(add(one, "stock", -1, 0, 100), HF_OK);
  ASSERT_EQ(hf_put(one, table_, bytes("order"), bytes("1"), 0), HF_OK);
  ASSERT_EQ(add(two, "stock", -1, 0, 100), HF_OK) << "as far as one can see";
  EXPECT_EQ(hf_commit(two), HF_OK);
  EXPECT_EQ(hf_commit(one), HF_OUT_OF_RANGE);
  const hf_error error = error_of(one);
  EXPECT_EQ(error.code, HF_OUT_OF_RANGE);
  EXPECT_STREQ(error.table, "rows");
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(error.key), error.key_size), "stock");
  EXPECT_EQ(value_of("stock"), 0);
  EXPECT_EQ(get("order"), "") << "nothing of it happened";
  EXPECT_EQ(hf_is_retryable(HF_OUT_OF_RANGE), 0);
}

TEST_F(Counters, SixtyFourBitsNeverWrap) {
  set("c", INT64_MAX - 1);
  const Txn txn(db_);
  EXPECT_EQ(add(txn, "c", 2), HF_OUT_OF_RANGE);
  EXPECT_EQ(add(txn, "c", INT64_MAX), HF_OUT_OF_RANGE);
  EXPECT_EQ(add(txn, "c", 1), HF_OK);
  EXPECT_EQ(add(txn, "c", 1), HF_OUT_OF_RANGE);
  EXPECT_EQ(add(txn, "low", INT64_MIN), HF_OK);
  EXPECT_EQ(add(txn, "low", -1), HF_OUT_OF_RANGE);
  EXPECT_EQ(add(txn, "low", INT64_MAX), HF_OK);
  EXPECT_EQ(hf_commit(txn), HF_OK);
  EXPECT_EQ(value_of("c"), INT64_MAX);
  EXPECT_EQ(value_of("low"), -1);
}

TEST_F(Counters, RowsThatAreNone) {
  const Txn txn(db_);
  std::int64_t value = 0;
  EXPECT_EQ(add(txn, "present", 1), HF_WRONG_TYPE);
  EXPECT_EQ(error_of(txn).code, HF_WRONG_TYPE);
  EXPECT_EQ(error_of(txn).key_size, 7u);
  EXPECT_EQ(hf_counter_get(txn, table_, bytes("present"), &value), HF_WRONG_TYPE);
  EXPECT_EQ(hf_commit(txn), HF_OK);
  EXPECT_EQ(get("present"), "value");
  // Eight bytes do not make one either.
  put("eight", "12345678");
  EXPECT_EQ(hf_restart(txn), HF_OK);
  EXPECT_EQ(add(txn, "eight", 1), HF_WRONG_TYPE);
  // Between the call and the commit it is overwritten by a plain row.
  EXPECT_EQ(add(txn, "c", 1), HF_OK);
  put("c", "plain");
  EXPECT_EQ(hf_commit(txn), HF_WRONG_TYPE);
  EXPECT_EQ(error_of(txn).key_size, 1u);
  EXPECT_EQ(get("c"), "plain");
}

TEST_F(Counters, SetAndReset) {
  set("c", 41);
  const Txn one(db_);
  const Txn two(db_);
  ASSERT_EQ(add(one, "c", 1), HF_OK);
  ASSERT_EQ(hf_counter_set(one, table_, bytes("c"), 100), HF_OK);
  ASSERT_EQ(add(one, "c", 5, 0, 105), HF_OK);
  EXPECT_EQ(add(one, "c", 1, 0, 105), HF_OUT_OF_RANGE);
  ASSERT_EQ(add(two, "c", 1), HF_OK);
  EXPECT_EQ(hf_commit(two), HF_OK);
  EXPECT_EQ(hf_commit(one), HF_OK) << "a set is blind";
  EXPECT_EQ(value_of("c"), 105);
  ASSERT_EQ(hf_restart(one), HF_OK);
  ASSERT_EQ(hf_counter_reset(one, table_, bytes("c")), HF_OK);
  ASSERT_EQ(hf_counter_set(one, table_, bytes("present"), -1), HF_OK) << "makes a counter of a plain row";
  EXPECT_EQ(hf_commit(one), HF_OK);
  EXPECT_EQ(value_of("c"), 0);
  EXPECT_EQ(value_of("present"), -1);
  put("present", "value");
}

TEST_F(Counters, PlainCallsSeeEightBytes) {
  set("c", 258);
  const Txn txn(db_);
  hf_row row{};
  ASSERT_EQ(hf_get(txn, table_, bytes("c"), &row), HF_OK);
  ASSERT_EQ(row.value.size, 8u);
  const auto* least_first = static_cast<const unsigned char*>(row.value.data);
  EXPECT_EQ(least_first[0], 2u);
  EXPECT_EQ(least_first[1], 1u);
  EXPECT_EQ(hf_delete(txn, table_, bytes("c")), HF_OK);
  EXPECT_EQ(add(txn, "c", 1), HF_OK) << "from nothing again";
  EXPECT_EQ(hf_commit(txn), HF_OK);
  EXPECT_EQ(value_of("c"), 1);
}

TEST_F(Counters, SavepointsUndoAdds) {
  const Txn txn(db_);
  std::uint64_t savepoint = 0;
  ASSERT_EQ(add(txn, "c", 1), HF_OK);
  ASSERT_EQ(hf_savepoint(txn, &savepoint), HF_OK);
  ASSERT_EQ(add(txn, "c", 10), HF_OK);
  ASSERT_EQ(add(txn, "d", 10), HF_OK);
  ASSERT_EQ(hf_rollback_to(txn, savepoint), HF_OK);
  EXPECT_EQ(hf_commit(txn), HF_OK);
  EXPECT_EQ(value_of("c"), 1);
  const Txn reader(db_);
  std::int64_t value = 0;
  EXPECT_EQ(hf_counter_get(reader, table_, bytes("d"), &value), HF_NOT_FOUND);
}

// An add takes the row in increment mode: it waits for who holds it otherwise, and not for who adds.
TEST_F(Counters, AddsAndLocks) {
  set("c", 1);
  const Txn adder(db_);
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.lock_timeout_ms = 50;
  const Txn late(db_, &options);
  const hf_lock_options increment = lock_options(HF_LOCK_INCREMENT);
  ASSERT_EQ(hf_lock(adder, table_, bytes("c"), &increment), HF_OK);
  ASSERT_EQ(add(late, "c", 1), HF_OK);
  EXPECT_EQ(hf_commit(late), HF_OK) << "beside another one that adds";
  ASSERT_EQ(hf_restart(late), HF_OK);
  ASSERT_EQ(hf_counter_set(late, table_, bytes("c"), 9), HF_OK);
  EXPECT_EQ(hf_commit(late), HF_LOCK_TIMEOUT) << "a set is a write";
  EXPECT_EQ(hf_abort(adder), HF_OK);
  ASSERT_EQ(hf_restart(adder), HF_OK);
  const hf_lock_options shared = lock_options(HF_LOCK_SHARED);
  ASSERT_EQ(hf_lock(adder, table_, bytes("c"), &shared), HF_OK);
  ASSERT_EQ(hf_restart(late), HF_OK);
  ASSERT_EQ(add(late, "c", 1), HF_OK);
  EXPECT_EQ(hf_commit(late), HF_LOCK_TIMEOUT);
  EXPECT_EQ(error_of(late).mode_wanted, std::uint32_t{HF_LOCK_INCREMENT});
  EXPECT_EQ(value_of("c"), 2);
}

TEST_F(Counters, Execute) {
  set("stock", 3);
  hf_operation operations[3] = {};
  for (hf_operation& operation : operations) operation.table = table_;
  operations[0].kind = HF_OP_ADD;
  operations[0].key = bytes("stock");
  operations[0].delta = -1;
  operations[0].max = 1000;
  operations[1].kind = HF_OP_COUNTER_SET;
  operations[1].key = bytes("points");
  operations[1].delta = 42;
  operations[2].kind = HF_OP_ADD;
  operations[2].key = bytes("sold");
  operations[2].delta = 1;
  operations[2].min = INT64_MIN;
  operations[2].max = INT64_MAX;
  hf_operation_result results[3];
  for (int i = 1; i <= 3; ++i) {
    ASSERT_EQ(hf_execute(db_, nullptr, operations, 3, results, nullptr), HF_OK) << error_of(db_).message;
    EXPECT_EQ(results[0].counter, 3 - i);
    EXPECT_EQ(results[1].counter, 0);
    EXPECT_EQ(results[2].counter, i);
  }
  hf_transact_result result{};
  result.size = sizeof result;
  EXPECT_EQ(hf_execute(db_, nullptr, operations, 3, results, &result), HF_OUT_OF_RANGE) << "sold out";
  EXPECT_EQ(results[0].code, HF_OUT_OF_RANGE);
  EXPECT_EQ(results[1].code, HF_CANCELLED);
  EXPECT_EQ(result.attempts, 1u);
  EXPECT_EQ(value_of("points"), 42);
  EXPECT_EQ(value_of("sold"), 3);
}

// A hundred pieces, more buyers than that: each piece is sold once, each buyer knows which.
TEST_F(Counters, SoldOutExactly) {
  constexpr std::int64_t kPieces = 100;
  set("stock", kPieces);
  std::atomic<int> wrong{0};
  std::vector<std::atomic<int>> sold(kPieces);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      hf_txn_options options = HF_TXN_OPTIONS_INIT;
      options.durability = HF_RELAXED;
      const Txn txn(db_, &options);
      for (int i = 0; i < 50; ++i) {
        int code = add(txn, "stock", -1, 0, kPieces);
        if (code == HF_OK) code = hf_commit(txn);
        std::int64_t left = -1;
        if (code == HF_OK && (hf_counter_after(txn, table_, bytes("stock"), &left) != HF_OK || left < 0 ||
                              left >= kPieces || sold[static_cast<std::size_t>(left)].fetch_add(1) != 0)) {
          wrong.fetch_add(1);
        }
        if (code != HF_OK && code != HF_OUT_OF_RANGE) wrong.fetch_add(1);
        if (hf_abort(txn) != HF_OK || hf_restart(txn) != HF_OK) wrong.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  for (const std::atomic<int>& piece : sold) EXPECT_EQ(piece.load(), 1);
  EXPECT_EQ(value_of("stock"), 0);
}

TEST_F(Counters, BadInput) {
  const Txn txn(db_);
  EXPECT_EQ(add(txn, "c", 1, 5, 4), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_counter_get(txn, table_, bytes("c"), nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_counter_after(txn, table_, bytes("c"), nullptr), HF_INVALID_ARGUMENT);
  std::int64_t value = 0;
  const std::string longer(HF_KEY_SIZE_MAX + 1, 'k');
  const struct {
    hf_bytes key;
    int wanted;
  } wrong_keys[] = {
      {bytes(longer), HF_TOO_LARGE}, {{nullptr, 0}, HF_INVALID_ARGUMENT}, {{nullptr, 1}, HF_INVALID_ARGUMENT}};
  for (const auto& [key, wanted] : wrong_keys) {
    EXPECT_EQ(hf_add(txn, table_, key, 1, 0, 1), wanted);
    EXPECT_EQ(hf_counter_get(txn, table_, key, &value), wanted);
    EXPECT_EQ(hf_counter_set(txn, table_, key, 1), wanted);
    EXPECT_EQ(hf_counter_reset(txn, table_, key), wanted);
    EXPECT_EQ(hf_counter_after(txn, table_, key, &value), wanted);
  }
  EXPECT_EQ(hf_add(nullptr, table_, bytes("c"), 1, 0, 1), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_add(txn, nullptr, bytes("c"), 1, 0, 1), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_counter_get(nullptr, table_, bytes("c"), &value), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_counter_set(nullptr, table_, bytes("c"), 1), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_counter_reset(nullptr, table_, bytes("c")), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_counter_after(nullptr, table_, bytes("c"), &value), HF_INVALID_ARGUMENT);
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.flags = HF_TXN_READ_ONLY;
  const Txn reader(db_, &options);
  EXPECT_EQ(add(reader, "c", 1), HF_READ_ONLY);
  EXPECT_EQ(hf_counter_set(reader, table_, bytes("c"), 1), HF_READ_ONLY);
  EXPECT_EQ(hf_abort(reader), HF_OK);
  EXPECT_EQ(add(reader, "c", 1), HF_MISUSE) << "ended";
  hf_operation operation{};
  operation.kind = HF_OP_ADD;
  operation.table = table_;
  operation.key = bytes("c");
  operation.min = 1;
  EXPECT_EQ(hf_execute(db_, nullptr, &operation, 1, nullptr, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_commit(txn), HF_OK);
  EXPECT_EQ(get("c"), "") << "nothing was written";
}

}  // namespace
}  // namespace conformance
