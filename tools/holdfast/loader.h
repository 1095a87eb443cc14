// SPDX-License-Identifier: Apache-2.0
// Puts rows into tables: past the log while a table is empty and the rows come in order, else in transactions of many.
//
//   nothing --first row of a table--> bulk  (the table is empty, and bulk is allowed)
//                                \--> batch (otherwise)
//   bulk    --a row that is out of order, expires, or is a counter--> batch (the bulk load is finished before)
//   either  --a row of another table, or the end--> finished, and nothing again
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "database.h"
#include "dump_format.h"

namespace tool {

enum class BulkUse { kAuto, kAlways, kNever };

struct LoadCounts {
  std::uint64_t rows = 0;       // that are in the database now
  std::uint64_t rows_bulk = 0;  // of them, by bulk load
  std::uint64_t expired = 0;    // left out: their time was over
  std::uint64_t tables_made = 0;
};

class Loader {
 public:
  Loader(holdfast::Database& database, holdfast::transact_options patience, std::uint64_t batch_rows,
         bool bulk_allowed);

  void ensure_table(const std::string& name);
  // Empty, or why the row cannot be stored. The command ends when the database refuses.
  std::string add(const DumpRow& row);
  // Brings everything given so far into the database.
  void finish();
  const LoadCounts& counts() const noexcept { return counts_; }

 private:
  void choose_table(const std::string& name);
  bool fits_bulk(const DumpRow& row) const;
  void add_bulk(const DumpRow& row);
  void finish_bulk();
  void write_batch();

  holdfast::Database& database_;
  const holdfast::transact_options patience_;
  const std::uint64_t batch_rows_;
  const bool bulk_allowed_;
  std::map<std::string, holdfast::Table> tables_;
  std::string table_name_;
  holdfast::Table table_;
  bool bulk_ = false;  // `load_` is under way
  holdfast::Load load_;
  std::string key_before_;
  std::uint64_t load_rows_ = 0;
  std::vector<DumpRow> batch_;
  std::uint64_t batch_size_ = 0;  // bytes
  LoadCounts counts_;
};

}  // namespace tool
