// SPDX-License-Identifier: Apache-2.0
// create, tables.
#include <memory>
#include <vector>

#include <nlohmann/json.hpp>

#include "database.h"
#include "text_table.h"
#include "units.h"

namespace tool {
namespace {

struct CreateOptions {
  Common common;
  std::vector<std::string> tables;
};

int run_create(const CreateOptions& options) {
  Common looking = options.common;
  {
    // Whether it is there already is asked first: making one leaves no trace of having been too late.
    hf_open_options probe = HF_OPEN_OPTIONS_INIT;
    probe.flags = HF_OPEN_NO_CREATE | HF_OPEN_NO_THREAD;
    probe.log_keep_bytes = UINT64_MAX;
    probe.map_size = looking.map_size;
    probe.open_timeout_ms = looking.timeout_ms;
    if (!looking.memory_directory.empty()) probe.memory_directory = looking.memory_directory.c_str();
    hf_db* db = nullptr;
    hf_error info = HF_ERROR_INIT;
    const int code = hf_open(looking.directory.c_str(), &probe, &db, &info);
    hf_close(&db);
    if (code == HF_OK) throw Failure(kNothing, looking.directory + " is a database already");
    if (code != HF_NOT_FOUND) fail("cannot create " + looking.directory, to_error(code, info));
  }
  holdfast::Database database = open_database(options.common, "create", OpenMode::kMaker);
  for (const std::string& name : options.tables) must(database.create_table(name));
  close_database(database);
  if (options.common.json) {
    Json object;
    object["directory"] = options.common.directory;
    object["tables"] = options.tables;
    out().json(object);
  }
  return kDone;
}

struct TablesOptions {
  Common common;
  std::vector<std::string> create;
  std::vector<std::string> drop;
  std::vector<std::string> rename;  // from, to
};

void list_tables(holdfast::Database& database, bool json) {
  TextTable text({{"TABLE"}, {"ROWS", Align::kRight}, {"NOT MERGED", Align::kRight}});
  for (const std::string& name : must(database.tables())) {
    const auto table = database.open_table(name);
    if (table.code() == HF_NO_TABLE) continue;  // dropped since
    const hf_table_stats stats = must(database.stats(must(table)));
    if (json) {
      Json object;
      object["table"] = name;
      object["id"] = stats.table_id;
      object["rows"] = stats.rows_approximate;
      object["rows_base"] = stats.rows_base;
      object["rows_overlay"] = stats.rows_overlay;
      out().json(object);
    } else {
      text.add({escape(name), std::to_string(stats.rows_approximate), std::to_string(stats.rows_overlay)});
    }
  }
  if (!json && !text.empty()) out().write(text.text());
}

int run_tables(const TablesOptions& options) {
  holdfast::Database database = open_database(options.common, "tables", OpenMode::kGuest);
  for (const std::string& name : options.create) must(database.create_table(name));
  for (const std::string& name : options.drop) must(database.drop_table(name));
  if (!options.rename.empty()) must(database.rename_table(options.rename[0], options.rename[1]));
  if (options.create.empty() && options.drop.empty() && options.rename.empty()) {
    list_tables(database, options.common.json);
  }
  close_database(database);
  return kDone;
}

}  // namespace

void add_table_commands(Commands& commands) {
  {
    auto options = std::make_shared<CreateOptions>();
    CLI::App& app = commands.add({"create", kRowGroup, "Make a database",
                                  "  holdfast create shop\n"
                                  "  holdfast create shop --table stock --table orders"},
                                 [options] { return run_create(*options); });
    add_common(app, options->common, "Directory to make; its parent has to exist");
    add_open_options(app, options->common);
    app.add_option("--table", options->tables, "Make this table too; may be given several times")
        ->type_name("NAME")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->expected(1);
  }
  auto options = std::make_shared<TablesOptions>();
  CLI::App& app = commands.add({"tables", kRowGroup, "List tables, or make, drop and rename them",
                                "  holdfast tables shop\n"
                                "  holdfast tables shop --create stock\n"
                                "  holdfast tables shop --rename stock stock_2026\n"
                                "  holdfast tables shop --drop stock_2025"},
                               [options] { return run_tables(*options); });
  add_common(app, options->common);
  add_open_options(app, options->common);
  const auto add_names = [&app](const char* option, std::vector<std::string>& names, const char* text) {
    return app.add_option(option, names, text)
        ->type_name("NAME")
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
        ->expected(1);
  };
  add_names("--create", options->create, "Make a table");
  add_names("--drop", options->drop, "Drop a table with all its rows");
  app.add_option("--rename", options->rename, "Give a table another name")->type_name("FROM TO")->expected(2);
}

}  // namespace tool
