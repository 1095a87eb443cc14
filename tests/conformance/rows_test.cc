// SPDX-License-Identifier: Apache-2.0
// Goal: what the header promises of single calls beyond their codes: hf_get_many is one point at every isolation level,
// bytes stay put until the transaction ends, expiry, and the limits of time. Method: small races and short waits.
#include <poll.h>

#include <atomic>
#include <thread>
#include <vector>

#include "support.h"

namespace conformance {
namespace {

using RowCalls = DatabaseTest;

// A writer keeps two rows equal. Read committed moves to the newest commit with each call, but not inside of one.
TEST_F(RowCalls, GetManyIsOnePoint) {
  put("left", "0");
  put("right", "0");
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    hf_txn_options options = HF_TXN_OPTIONS_INIT;
    options.durability = HF_RELAXED;
    hf_txn* txn = nullptr;
    ASSERT_EQ(hf_begin(db_, &options, &txn), HF_OK);
    for (int i = 1; !stop.load(); ++i) {
      const std::string value = std::to_string(i);
      ASSERT_EQ(hf_put(txn, table_, bytes("left"), bytes(value), 0), HF_OK);
      ASSERT_EQ(hf_put(txn, table_, bytes("right"), bytes(value), 0), HF_OK);
      ASSERT_EQ(hf_commit(txn), HF_OK) << error_of(txn).message;
      ASSERT_EQ(hf_restart(txn), HF_OK);
    }
    hf_txn_end(&txn);
  });
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.isolation = HF_READ_COMMITTED;
  hf_txn* txn = nullptr;
  EXPECT_EQ(hf_begin(db_, &options, &txn), HF_OK);
  const hf_bytes keys[] = {bytes("left"), bytes("absent"), bytes("right")};
  hf_row rows[3];
  std::string last;
  int moves = 0;
  for (int i = 0; i < 20000 || (moves < 10 && i < 5'000'000); ++i) {
    const int code = hf_get_many(txn, table_, keys, 3, rows);
    if (code != HF_OK || text(rows[0].value) != text(rows[2].value) || rows[1].code != HF_NOT_FOUND) {
      ADD_FAILURE() << hf_code_name(code) << ": " << text(rows[0].value) << " beside " << text(rows[2].value);
      break;
    }
    if (text(rows[0].value) != last) ++moves;
    last = text(rows[0].value);
  }
  EXPECT_GE(moves, 10) << "the writer did not write";
  stop.store(true);
  writer.join();
  hf_txn_end(&txn);
}

TEST_F(RowCalls, BytesStayUntilTheTransactionEnds) {
  hf_txn* txn = nullptr;
  hf_row committed{};
  hf_row own{};
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  ASSERT_EQ(hf_get(txn, table_, bytes("present"), &committed), HF_OK);
  ASSERT_EQ(hf_put(txn, table_, bytes("own"), bytes("mine"), 0), HF_OK);
  ASSERT_EQ(hf_get(txn, table_, bytes("own"), &own), HF_OK);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(hf_put(txn, table_, bytes("k" + std::to_string(i)), bytes(std::string(100, 'x')), 0), HF_OK);
  }
  put("present", "changed");
  const int merged = hf_maintain(db_, HF_MAINTAIN_MERGE_ALL);
  EXPECT_TRUE(merged == HF_OK || merged == HF_BUSY);
  EXPECT_EQ(text(committed.value), "value");
  EXPECT_EQ(text(own.value), "mine");
  EXPECT_EQ(hf_commit(txn), HF_CONFLICT);
  hf_txn_end(&txn);
}

TEST_F(RowCalls, Expiry) {
  hf_txn* txn = nullptr;
  hf_row row{};
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  ASSERT_EQ(hf_put(txn, table_, bytes("short"), bytes("v"), 30), HF_OK);
  ASSERT_EQ(hf_put(txn, table_, bytes("long"), bytes("v"), 3'600'000), HF_OK);
  ASSERT_EQ(hf_commit(txn), HF_OK);
  poll(nullptr, 0, 100);
  ASSERT_EQ(hf_restart(txn), HF_OK);
  EXPECT_EQ(hf_get(txn, table_, bytes("short"), &row), HF_NOT_FOUND);
  EXPECT_EQ(hf_get(txn, table_, bytes("long"), &row), HF_OK);
  std::uint64_t count = 0;
  EXPECT_EQ(hf_count(txn, table_, nullptr, &count), HF_OK);
  EXPECT_EQ(count, 2u);
  EXPECT_EQ(hf_insert(txn, table_, bytes("short"), bytes("again"), 0), HF_OK) << "an expired row is absent";
  EXPECT_EQ(hf_commit(txn), HF_OK);
  hf_txn_end(&txn);
}

TEST_F(RowCalls, IdleLimit) {
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.idle_ms = 50;
  hf_txn* txn = nullptr;
  hf_row row{};
  ASSERT_EQ(hf_begin(db_, &options, &txn), HF_OK);
  ASSERT_EQ(hf_put(txn, table_, bytes("k"), bytes("v"), 0), HF_OK);
  poll(nullptr, 0, 150);
  EXPECT_EQ(hf_commit(txn), HF_EXPIRED);
  EXPECT_EQ(error_of(txn).code, HF_EXPIRED);
  EXPECT_EQ(hf_get(txn, table_, bytes("k"), &row), HF_MISUSE) << "it has ended";
  hf_txn_end(&txn);
  EXPECT_EQ(get("k"), "");
}

// The detail is the last failure's, and not an older one's.
TEST_F(RowCalls, DetailIsOfTheLastFailure) {
  hf_txn* txn = nullptr;
  hf_row row{};
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  EXPECT_EQ(error_of(txn).code, HF_OK);
  EXPECT_EQ(hf_get(txn, table_, bytes("one\nline"), &row), HF_NOT_FOUND);
  hf_error error = error_of(txn);
  EXPECT_EQ(error.code, HF_NOT_FOUND);
  EXPECT_EQ(error.key_size, 8u);
  EXPECT_STREQ(error.table, "rows");
  EXPECT_EQ(std::string(error.message).find('\n'), std::string::npos) << error.message;
  EXPECT_EQ(hf_get(txn, table_, bytes("present"), &row), HF_OK);
  EXPECT_EQ(error_of(txn).code, HF_NOT_FOUND) << "success changes nothing";
  put("present", "changed");
  EXPECT_EQ(hf_put(txn, table_, bytes("present"), bytes("mine"), 0), HF_OK);
  EXPECT_EQ(hf_commit(txn), HF_CONFLICT);
  EXPECT_NE(error_of(txn).other_csn, 0u);
  ASSERT_EQ(hf_restart(txn), HF_OK);
  EXPECT_EQ(hf_put_if_version(txn, table_, bytes("x"), bytes("v"), 77, 0), HF_VERSION_MISMATCH);
  error = error_of(txn);
  EXPECT_EQ(error.other_csn, 0u) << "that was the conflict before";
  EXPECT_EQ(error.key_size, 1u);
  hf_txn_end(&txn);
  ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
  EXPECT_EQ(error_of(txn).code, HF_OK) << "a new transaction has no past";
  hf_txn_end(&txn);
}

}  // namespace
}  // namespace conformance
