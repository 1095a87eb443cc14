// SPDX-License-Identifier: Apache-2.0
// Layer `catalog`: names of tables. May include `txn` and below; used by `capi` and above.
//
// The catalog is rows of the system table, written by ordinary transactions, so it is versioned, durable and recovered
// like everything else:
//   "n" name            -> schema::TableInfo   which id the name has
//   "i" id, 4 bytes BE  -> data id, 4 bytes BE which table number its rows have now (a bulk load gives a new one)
//   "l" data id, 4 BE   -> mark of the process that loads rows under that number; what a dead one leaves is dropped
//   "s"                 -> next unused number, 4 bytes BE; ids and data ids share it
//
// Table objects are interned by id and live as long as the Catalog. Thread contract: any thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/status.h"
#include "txn/bulk_load.h"
#include "txn/database.h"
#include "txn/transaction.h"

namespace hf::catalog {

struct TableStats {
  TableId id;
  std::uint64_t rows_approximate, rows_base, rows_overlay;
};

class Catalog {
 public:
  // The one catalog of that database in this process.
  static std::shared_ptr<Catalog> of(const std::shared_ptr<txn::Database>& database);
  explicit Catalog(std::shared_ptr<txn::Database> database);

  txn::Database& database() const noexcept { return *database_; }

  // Each is a durable transaction, retried on conflict; blocks for a disk sync.
  Result<txn::Table*> create(const std::string& name, bool* existed);  // the table, made or found
  Status drop(const std::string& name);                                // kNO_TABLE
  Status rename(const std::string& from, const std::string& to);       // kNO_TABLE, kEXISTS
  // These only read.
  Result<txn::Table*> open(const std::string& name);                       // kNO_TABLE
  Status list(const std::function<bool(const std::string& name)>& visit);  // stops when it answers false
  Result<TableStats> stats(txn::Table& table);
  // Name of the table with that data id (as in reports), or "".
  std::string name_of_data(TableId data_id);

  // Bulk load into an empty table: begin, rows through load->add(), finish. kEXISTS when the table has rows.
  Status begin_load(txn::Table& table, txn::BulkLoad* load, Deadline deadline);
  Status finish_load(txn::Table& table, txn::BulkLoad* load);
  void abandon_load(txn::BulkLoad* load);  // before an unfinished one is destroyed

 private:
  txn::Table* intern(TableId id);
  Result<TableId> next_id(txn::Transaction& txn);
  Status check_room(txn::Transaction& txn);
  Status check_empty(txn::Transaction& txn, txn::Table& table);
  void forget_load(TableId data_id);
  Status drop_dead_loads();
  Status count_overlay(const txn::View& view, Csn snapshot, TableId data_id, TableStats* stats);
  Status transact(const std::function<Status(txn::Transaction&)>& body);

  std::shared_ptr<txn::Database> database_;
  txn::Table system_;
  std::mutex mutex_;  // guards tables_ and loads_; leaf
  std::map<TableId, std::unique_ptr<txn::Table>> tables_;
  std::map<txn::BulkLoad*, TableId> loads_;  // data id that each running load fills
};

}  // namespace hf::catalog
