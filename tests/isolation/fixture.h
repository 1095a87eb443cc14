// SPDX-License-Identifier: Apache-2.0
// What the tests of isolation and the model tests share: a database in a directory of its own, and transactions that
// are driven step by step. They stand on the engine's inside and not on the C interface, so that they can force
// merges, see csns, and name what stood in the way.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "catalog/catalog.h"
#include "txn/database.h"
#include "txn/row_cursor.h"
#include "txn/transaction.h"

namespace hf {

inline void PrintTo(const Status& status, std::ostream* out) {
  *out << code_name(static_cast<int>(status.code())) << " (" << status.message() << ")";
}
inline void PrintTo(Code code, std::ostream* out) { *out << code_name(static_cast<int>(code)); }

}  // namespace hf

namespace hf::isolation {

using txn::Durability;
using txn::Isolation;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// How much work a test does: all of it, a part of it under a sanitizer, or HOLDFAST_TEST_SCALE percent.
inline int scaled(int count) {
  const char* const wanted = std::getenv("HOLDFAST_TEST_SCALE");
  const int percent = wanted != nullptr ? std::atoi(wanted) : (kSanitized ? 25 : 100);
  return std::max(1, count * percent / 100);
}

inline std::string text_of(const Status& status) {
  return std::string(code_name(static_cast<int>(status.code()))) + " " + status.message();
}

#define ASSERT_OK(expression)                                 \
  do {                                                        \
    const auto asserted = (expression);                       \
    ASSERT_EQ(asserted.code(), hf::Code::kOK) << #expression; \
  } while (false)

class Directory {
 public:
  Directory() {
    std::string name = ::testing::TempDir() + "hf_isolation_XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Directory(const Directory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// No thread of the engine's own unless a test asks for it: merges happen where the test says so. Nothing here is about
// durability, so commits are relaxed.
inline txn::DatabaseOptions default_options() {
  txn::DatabaseOptions options;
  options.background_thread = false;
  options.durability = Durability::kRelaxed;
  options.map_size = std::uint64_t{1} << 32;  // modest: thread sanitizer has little address space to give
  options.overlay_bytes_max = 16u << 20;
  options.log_segment_size_max = 16u << 20;
  return options;
}

// A database with a directory of its own, or of somebody else's.
class World {
 public:
  explicit World(const txn::DatabaseOptions& options = default_options(), std::string path = {}) : options_(options) {
    if (path.empty()) {
      directory_ = std::make_unique<Directory>();
      path = directory_->path();
    }
    path_ = std::move(path);
    open();
  }

  std::shared_ptr<txn::Database> database() const { return database_; }
  catalog::Catalog& catalog() const { return *catalog_; }
  txn::Table& table(const std::string& name = "rows") {
    bool existed = false;
    Result<txn::Table*> made = catalog_->create(name, &existed);
    if (!made.ok()) {
      ADD_FAILURE() << text_of(made.status());
      std::abort();  // nothing after this could make sense
    }
    return *made.value();
  }
  // Moves all that was committed into the base. kOVERLOADED, with nothing lost, when transactions that are still open
  // keep all the segments that the overlay may have: every merge seals one, however little is in it.
  Code merge() {
    const Status status = database_->maintain(true);
    EXPECT_TRUE(status.ok() || status.code() == Code::kOVERLOADED) << text_of(status);
    return status.code();
  }
  std::uint64_t merges() {
    Result<txn::DatabaseStats> stats = database_->stats();
    return stats.ok() ? stats->merges : 0;
  }
  // Requires: no transaction of it lives.
  void reopen() {
    catalog_.reset();
    database_.reset();
    open();
  }

 private:
  void open() {
    Result<std::shared_ptr<txn::Database>> opened = txn::Database::open(path_, options_);
    if (!opened.ok()) {
      ADD_FAILURE() << text_of(opened.status());
      std::abort();
    }
    database_ = std::move(opened).value();
    catalog_ = catalog::Catalog::of(database_);
  }

  txn::DatabaseOptions options_;
  std::unique_ptr<Directory> directory_;
  std::string path_;
  std::shared_ptr<txn::Database> database_;
  std::shared_ptr<catalog::Catalog> catalog_;
};

inline txn::TxnOptions at_level(Isolation level, bool read_only = false) {
  txn::TxnOptions options;
  options.isolation = level;
  options.durability = Durability::kRelaxed;
  options.read_only = read_only;
  return options;
}

using Rows = std::vector<std::pair<std::string, std::string>>;

// One transaction on one table, in words short enough that an interleaving reads as a list. `between` runs after each
// step: a test puts a merge there to see that it makes no difference.
class Actor {
 public:
  Actor(World& world, txn::Table& table, const txn::TxnOptions& options, std::function<void()> between = {})
      : table_(&table), between_(std::move(between)), txn_(world.database()) {
    const Status status = txn_.begin(options);
    EXPECT_TRUE(status.ok()) << text_of(status);
  }

  // The value, or "-" where there is no row.
  std::string get(Bytes key) {
    txn::RowView row;
    const Status status = txn_.get(*table_, key, &row);
    EXPECT_TRUE(status.ok() || status.code() == Code::kNOT_FOUND) << text_of(status);
    std::string value = status.ok() ? std::string(row.value) : "-";
    step();
    return value;
  }
  int number(Bytes key) { return std::atoi(get(key).c_str()); }
  Csn version(Bytes key) {
    txn::RowView row;
    return txn_.get(*table_, key, &row).ok() ? row.version : 0;
  }
  Rows scan(const txn::Range& range = {}) {
    Rows rows;
    txn::RowCursor cursor(txn_);
    Status status = cursor.open(*table_, range);
    Bytes key;
    txn::RowView row;
    while (status.ok() && (status = cursor.next(&key, &row)).ok()) rows.emplace_back(key, row.value);
    EXPECT_EQ(status.code(), Code::kEND) << text_of(status);
    step();
    return rows;
  }
  void put(Bytes key, Bytes value) { must(txn_.put(*table_, key, value, 0)); }
  void put(Bytes key, int value) { put(key, std::to_string(value)); }
  void erase(Bytes key) { must(txn_.erase(*table_, key)); }
  Code insert(Bytes key, Bytes value) { return stepped(txn_.insert(*table_, key, value, 0)); }
  Code update(Bytes key, Bytes value) { return stepped(txn_.update(*table_, key, value, 0)); }
  Code put_if_version(Bytes key, Bytes value, Csn version) {
    return stepped(txn_.put_if_version(*table_, key, value, version, 0));
  }
  Code commit() { return stepped(txn_.commit(true)); }
  void abort() {
    txn_.abort();
    step();
  }
  txn::Transaction& txn() { return txn_; }

 private:
  void must(const Status& status) {
    EXPECT_TRUE(status.ok()) << text_of(status);
    step();
  }
  Code stepped(const Status& status) {
    step();
    return status.code();
  }
  void step() {
    if (between_) between_();
  }

  txn::Table* table_;
  std::function<void()> between_;
  txn::Transaction txn_;
};

}  // namespace hf::isolation
