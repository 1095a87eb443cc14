// SPDX-License-Identifier: Apache-2.0
// scan.
#include <memory>
#include <optional>

#include <nlohmann/json.hpp>

#include "database.h"
#include "reading.h"

namespace tool {
namespace {

struct ScanOptions {
  Common common;
  std::string table;
  std::optional<std::string> from;
  std::optional<std::string> to;
  std::optional<std::string> prefix;
  bool reverse = false;
  bool count = false;
  bool keys_only = false;
  bool values = false;
  bool snapshot_of_base = false;
  std::uint64_t limit = 0;
  std::uint64_t skip = 0;
  Encoding encoding = Encoding::kText;
};

void print_row(const ScanOptions& options, holdfast::Transaction& txn, holdfast::Table table,
               const holdfast::entry& entry) {
  if (options.keys_only) {
    if (options.common.json) {
      Json object;
      set_bytes(object, "key", entry.key, options.encoding);
      out().json(object);
    } else {
      out().line(encode(entry.key, options.encoding));
    }
    return;
  }
  const ShownRow row = show_row(txn, table, entry.key, entry.row);
  if (options.common.json) {
    Json object = row_json(row, options.encoding);
    if (options.values) {
      for (const char* name : {"key", "key_base64", "key_hex", "version"}) object.erase(name);
    }
    out().json(object);
  } else if (options.values) {
    out().line(value_text(row, options.encoding));
  } else {
    out().line(encode(row.key, options.encoding) + '\t' + value_text(row, options.encoding));
  }
}

int run_scan(const ScanOptions& options) {
  const auto bound = [&](const std::optional<std::string>& given, const char* name) {
    return given ? decode(*given, options.encoding, name) : std::string();
  };
  const std::string low = bound(options.from, "--from");
  const std::string high = bound(options.to, "--to");
  const std::string prefix = bound(options.prefix, "--prefix");
  // To the library an empty bound is none; to the user '--to ""' is a range without rows.
  const bool is_empty = options.to && high.empty();

  holdfast::Database database = open_database(options.common, "scan", OpenMode::kGuest);
  const holdfast::Table table = open_table(database, options.table);
  holdfast::bounds where;
  where.low = low;
  where.high = high;
  where.prefix = prefix;
  where.reverse = options.reverse;
  where.skip = options.skip;
  where.limit = options.limit;
  std::uint64_t rows = 0;
  if (!is_empty) {
    holdfast::Transaction txn =
        options.snapshot_of_base ? begin_long_read(database) : must(database.begin({.read_only = true}));
    CancelOnSignal cancel(txn.c_txn());
    if (options.count) {
      rows = must(txn.count(table, where));
    } else {
      holdfast::Rows range = txn.range(table, where);
      for (const holdfast::entry& entry : range) {
        check_interrupted();
        print_row(options, txn, table, entry);
        ++rows;
      }
      check_range(range);
    }
  }
  close_database(database);
  if (options.count) {
    if (options.common.json) {
      Json object;
      object["count"] = rows;
      out().json(object);
    } else {
      out().line(std::to_string(rows));
    }
  }
  return rows > 0 ? kDone : kNothing;
}

}  // namespace

void add_scan_command(Commands& commands) {
  auto options = std::make_shared<ScanOptions>();
  CLI::App& app = commands.add({"scan", kRowGroup, "Print the rows of a range, or count them",
                                "  holdfast scan shop stock\n"
                                "  holdfast scan shop orders --prefix 2026-05- --count\n"
                                "  holdfast scan shop orders --from 2026-05-01 --to 2026-06-01 --limit 20 --json\n"
                                "  holdfast scan shop prices --reverse --limit 1"},
                               [options] { return run_scan(*options); });
  add_common(app, options->common);
  app.add_option("TABLE", options->table, "Its name")->required();
  app.add_option("--from", options->from, "First key")->type_name("KEY");
  app.add_option("--to", options->to, "Key behind the last one")->type_name("KEY");
  app.add_option("--prefix", options->prefix, "Only keys that begin with it")->type_name("BYTES");
  app.add_flag("--reverse", options->reverse, "From the last key to the first");
  app.add_option("--limit", options->limit, "At most so many rows")->check(CLI::NonNegativeNumber)->type_name("ROWS");
  app.add_option("--skip", options->skip, "Pass over so many rows first")
      ->check(CLI::NonNegativeNumber)
      ->type_name("ROWS");
  auto* count = app.add_flag("--count", options->count, "Print only how many there are");
  auto* keys = app.add_flag("--keys-only", options->keys_only, "Print only the keys")->excludes(count);
  app.add_flag("--values", options->values, "Print only the values")->excludes(count)->excludes(keys);
  app.add_flag("--base-only", options->snapshot_of_base,
               "Merge first, then read without pinning shared memory: for long scans beside a busy shop");
  add_encoding(app, options->encoding, /*with_raw=*/true);
  add_open_options(app, options->common);
}

}  // namespace tool
