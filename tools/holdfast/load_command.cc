// SPDX-License-Identifier: Apache-2.0
// load.
#include <memory>

#include <nlohmann/json.hpp>

#include "database.h"
#include "dump_format.h"
#include "loader.h"
#include "progress.h"
#include "units.h"

namespace tool {
namespace {

struct LoadOptions {
  Common common;
  std::string file = "-";
  std::string table;
  std::string into;
  bool go_on = false;
  BulkUse bulk = BulkUse::kAuto;
  std::uint64_t batch_rows = 1000;
  std::uint32_t durability = HF_DURABLE;
};

// A bulk load holds up merging until it ends. Alone that hurts nobody; beside others it has to be over soon, which a
// pipe does not promise.
bool is_bulk_allowed(const LoadOptions& options, holdfast::Database& database, const Input& input) {
  if (options.bulk != BulkUse::kAuto) return options.bulk == BulkUse::kAlways;
  return input.is_file() || must(database.stats()).processes <= 1;
}

void report(const LoadOptions& options, const LoadCounts& counts, std::uint64_t bad) {
  if (options.common.json) {
    Json object;
    object["rows"] = counts.rows;
    object["rows_bulk"] = counts.rows_bulk;
    object["tables_made"] = counts.tables_made;
    object["expired"] = counts.expired;
    object["bad"] = bad;
    out().json(object);
    return;
  }
  std::string line = "loaded " + format_count(counts.rows) + " rows";
  if (counts.tables_made != 0) line += ", made " + std::to_string(counts.tables_made) + " tables";
  if (counts.expired != 0) line += ", left out " + format_count(counts.expired) + " expired";
  if (bad != 0) line += ", refused " + format_count(bad) + " bad lines";
  out().line(line);
}

struct Loading {
  const LoadOptions& options;
  Input& input;
  DumpReader& reader;
  Loader& loader;
  ProgressBar& bar;
  std::uint64_t bad = 0;

  // Of one line or record.
  void refuse(const std::string& why) {
    const std::string message = reader.place() + ": " + why;
    if (!options.go_on) {
      finish_before_failure();
      throw Failure(kUsage, message);
    }
    bar.clear();
    say(message);
    ++bad;
  }

  // What came before the bad place is in the database, whichever way it went.
  void finish_before_failure() {
    bar.clear();
    loader.finish();
  }

  DumpReader::Item next(DumpRow& row, std::string& error) {
    try {
      return reader.next(row, error);
    } catch (const Failure&) {
      if (!interrupted()) finish_before_failure();
      throw;
    }
  }

  void run() {
    DumpRow row;
    for (;;) {
      check_interrupted();
      std::string error;
      const DumpReader::Item item = next(row, error);
      if (item == DumpReader::Item::kEnd) break;
      if (item == DumpReader::Item::kBad) {
        refuse(error);
        continue;
      }
      if (!options.into.empty()) row.table = options.into;
      if (item == DumpReader::Item::kTable) {
        loader.ensure_table(row.table);
        continue;
      }
      if (const std::string why = loader.add(row); !why.empty()) refuse(why);
      bar.show(input.position(), input.size());
    }
    loader.finish();
    bar.clear();
  }
};

int run_load(const LoadOptions& options) {
  Input input(options.file);
  holdfast::Database database = open_database(options.common, "load", OpenMode::kWorker);
  Loader loader(database, patience(options.common, options.durability), options.batch_rows,
                is_bulk_allowed(options, database, input));
  const std::unique_ptr<DumpReader> reader = DumpReader::make(input, options.table);
  ProgressBar bar("load");
  Loading loading{options, input, *reader, loader, bar};
  try {
    loading.run();
  } catch (const Failure& failure) {
    // Whoever goes on from here has to know how far it came. Rows of a bulk load that did not finish are not there.
    throw Failure(failure.exit_code(),
                  failure.message() + "; " + std::to_string(loader.counts().rows) + " rows were loaded before");
  }
  if (options.durability == HF_RELAXED) must(database.sync());
  close_database(database);
  report(options, loader.counts(), loading.bad);
  return loading.bad == 0 ? kDone : kUsage;
}

}  // namespace

void add_load_command(Commands& commands) {
  auto options = std::make_shared<LoadOptions>();
  CLI::App& app = commands.add({"load", kRowGroup, "Read rows as dump prints them, and write them",
                                "  holdfast load shop shop.jsonl\n"
                                "  holdfast dump shop | ssh backup holdfast load shop_copy\n"
                                "  holdfast load shop prices.jsonl --table prices --on-error continue"},
                               [options] { return run_load(*options); });
  add_common(app, options->common);
  app.add_option("FILE", options->file, "JSON lines or raw; default '-': stdin");
  auto* table = app.add_option("--table", options->table, "Table of rows that name none")->type_name("NAME");
  app.add_option("--into", options->into, "Table of all rows, whatever they name")->type_name("NAME")->excludes(table);
  const auto on_error = [options](const std::string& given) { options->go_on = given == "continue"; };
  app.add_option_function<std::string>("--on-error", on_error,
                                       "At a bad line: stop, with all before it loaded (default), or continue")
      ->check(one_of({"stop", "continue"}))
      ->type_name("stop|continue");
  const auto bulk = [options](const std::string& given) {
    options->bulk = given == "always" ? BulkUse::kAlways : given == "never" ? BulkUse::kNever : BulkUse::kAuto;
  };
  app.add_option_function<std::string>("--bulk", bulk,
                                       "Fill empty tables past the log: auto (default: unless a pipe might hold up "
                                       "others), always, never")
      ->check(one_of({"auto", "always", "never"}))
      ->type_name("auto|always|never");
  app.add_option("--batch", options->batch_rows, "Rows of a transaction (default 1000)")
      ->check(CLI::Range(1, 100'000))
      ->type_name("ROWS");
  add_durability(app, options->durability);
  add_open_options(app, options->common);
}

}  // namespace tool
