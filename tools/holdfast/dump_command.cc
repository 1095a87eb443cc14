// SPDX-License-Identifier: Apache-2.0
// dump.
#include <memory>
#include <vector>

#include "database.h"
#include "dump_format.h"
#include "reading.h"
#include "units.h"

namespace tool {
namespace {

struct DumpOptions {
  Common common;
  std::vector<std::string> tables;
  bool raw = false;
};

// Above this a dump takes long enough to be in the way of a busy shop, and reads the base alone.
constexpr std::uint64_t kBigRows = 100'000;

struct Selected {
  std::vector<std::string> tables;
  std::uint64_t rows = 0;  // about
};

Selected select(holdfast::Database& database, const DumpOptions& options) {
  Selected selected;
  selected.tables = options.tables.empty() ? must(database.tables()) : options.tables;
  for (const std::string& name : selected.tables) {
    selected.rows += must(database.stats(open_table(database, name))).rows_approximate;
  }
  return selected;
}

int run_dump(const DumpOptions& options) {
  const DumpFormat format = options.raw ? DumpFormat::kRaw : DumpFormat::kJson;
  if (options.raw && out().is_terminal()) fail_usage("bytes are not for a terminal: redirect the output");
  holdfast::Database database = open_database(options.common, "dump", OpenMode::kGuest);
  const Selected selected = select(database, options);
  std::uint64_t rows = 0;
  std::uint64_t csn = 0;
  {
    holdfast::Transaction txn =
        selected.rows > kBigRows ? begin_long_read(database) : must(database.begin({.read_only = true}));
    csn = txn.snapshot();
    const std::unique_ptr<DumpWriter> writer = DumpWriter::make(format);
    for (const std::string& name : selected.tables) {
      writer->begin_table(name);
      const holdfast::Table table = open_table(database, name);
      holdfast::Rows range = txn.range(table);
      for (const holdfast::entry& entry : range) {
        check_interrupted();
        const ShownRow shown = show_row(txn, table, entry.key, entry.row);
        DumpRow row{name, std::string(shown.key), {}, shown.counter, shown.expires_ms};
        if (!shown.counter) row.value = shown.value;
        writer->row(row);
        ++rows;
      }
      check_range(range);
    }
    writer->end();
  }
  close_database(database);
  out().flush();
  if (options.common.verbose) {
    say("dumped " + format_count(rows) + " rows of " + std::to_string(selected.tables.size()) + " tables as of csn " +
        std::to_string(csn));
  }
  return kDone;
}

}  // namespace

void add_dump_command(Commands& commands) {
  auto options = std::make_shared<DumpOptions>();
  CLI::App& app = commands.add({"dump", kRowGroup, "Print all rows of all tables, or of some, as of one moment",
                                "  holdfast dump shop > shop.jsonl\n"
                                "  holdfast dump shop stock prices | holdfast load other\n"
                                "  holdfast dump shop --raw | zstd > shop.hfdump.zst"},
                               [options] { return run_dump(*options); });
  add_common(app, options->common);
  app.add_option("TABLE", options->tables, "Only these tables; default: all");
  app.add_flag("--raw", options->raw, "Bytes with lengths instead of JSON lines");
  add_open_options(app, options->common);
}

}  // namespace tool
