// SPDX-License-Identifier: Apache-2.0
// A database in a directory of its own, for tests of the layers txn and catalog.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "catalog/catalog.h"
#include "txn/database.h"
#include "txn/row_cursor.h"
#include "txn/transaction.h"

namespace hf::txn {

class TxnTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "hf-txn-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    options_.map_size = std::uint64_t{1} << 32;
    options_.label = "test";
  }
  void TearDown() override {
    close();
    std::filesystem::remove_all(directory_);
  }

  void open() {
    Result<std::shared_ptr<Database>> opened = Database::open(directory_ + "/db", options_);
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    db_ = opened.value();
    catalog_ = catalog::Catalog::of(db_);
  }
  void close() {
    catalog_.reset();
    db_.reset();
  }
  Table& table(const std::string& name) {
    bool existed = false;
    Result<Table*> made = catalog_->create(name, &existed);
    EXPECT_TRUE(made.ok()) << made.status().message();
    return *made.value();
  }
  std::unique_ptr<Transaction> begin(TxnOptions options = {}) {
    auto txn = std::make_unique<Transaction>(db_);
    const Status status = txn->begin(options);
    EXPECT_TRUE(status.ok()) << status.message();
    return txn;
  }
  std::unique_ptr<Transaction> begin(Isolation isolation) {
    TxnOptions options;
    options.isolation = isolation;
    return begin(options);
  }
  // One durable commit of one row.
  void put(Table& table, Bytes key, Bytes value, std::uint64_t ttl_ms = 0) {
    auto txn = begin();
    ASSERT_TRUE(txn->put(table, key, value, ttl_ms).ok());
    const Status status = txn->commit(true);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  // The committed value, or "(none)".
  std::string get(Table& table, Bytes key) {
    auto txn = begin();
    RowView row;
    const Status status = txn->get(table, key, &row);
    if (status.code() == Code::kNOT_FOUND) return "(none)";
    EXPECT_TRUE(status.ok()) << status.message();
    return std::string(row.value);
  }
  // "key=value key=value ..." of a range.
  std::string scan(Transaction& txn, Table& table, const Range& range = {}) {
    RowCursor cursor(txn);
    EXPECT_TRUE(cursor.open(table, range).ok());
    std::string text;
    Bytes key;
    RowView row;
    for (;;) {
      const Status status = cursor.next(&key, &row);
      if (!status.ok()) {
        EXPECT_EQ(status.code(), Code::kEND) << status.message();
        return text;
      }
      if (!text.empty()) text += ' ';
      text += std::string(key) + "=" + std::string(row.value);
    }
  }

  std::string directory_;
  DatabaseOptions options_;
  std::shared_ptr<Database> db_;
  std::shared_ptr<catalog::Catalog> catalog_;
};

}  // namespace hf::txn
