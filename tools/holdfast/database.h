// SPDX-License-Identifier: Apache-2.0
// How a command opens the database: as one more process of the shop, under a name of its own in every report, without a
// background thread unless it has much to write, and never making a database unless that is what the command is for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "commands.h"
#include "failure.h"
#include "holdfast/holdfast.hpp"
#include "signals.h"

namespace tool {

enum class OpenMode {
  kGuest,   // looks, or writes a row: leaves the background work to others
  kWorker,  // writes much
  kMaker,   // makes the database
};

// Ends the command when it cannot. `command` is its name in reports, behind "holdfast ".
holdfast::Database open_database(const Common& common, const std::string& command, OpenMode mode);
// The last one to leave merges: that may fail, and is worth an answer.
void close_database(holdfast::Database& database);

holdfast::Table open_table(holdfast::Database& database, const std::string& name);
// The command's patience for transactions that write.
holdfast::transact_options patience(const Common& common, std::uint32_t durability);
// A function as a transaction that a signal may end. Ends the command when it fails.
template <typename Fn>
holdfast::transact_report run_transaction(holdfast::Database& database, const holdfast::transact_options& options,
                                          const std::string& what, Fn&& fn);

// A row as the commands show it.
struct ShownRow {
  std::string_view key;
  std::string_view value;
  std::uint64_t version = 0;
  std::uint64_t expires_ms = 0;
  std::optional<std::int64_t> counter;
};
// Finds out whether it is a counter.
ShownRow show_row(holdfast::Transaction& txn, holdfast::Table table, std::string_view key, const holdfast::row& row);
// The value, or a counter's number in decimal.
std::string value_text(const ShownRow& row, Encoding encoding);
// {"key", "value" or "counter", "version", "expires_ms"}
Json row_json(const ShownRow& row, Encoding encoding);

template <typename Fn>
holdfast::transact_report run_transaction(holdfast::Database& database, const holdfast::transact_options& options,
                                          const std::string& what, Fn&& fn) {
  CancelOnSignal cancel;
  holdfast::transact_report report;
  const auto run = [&](holdfast::Transaction& txn) -> holdfast::status {
    cancel.watch(txn.c_txn());
    if (interrupted()) return holdfast::error(HF_CANCELLED);
    return fn(txn);
  };
  must(database.transact(run, options, &report), what);
  return report;
}

}  // namespace tool
