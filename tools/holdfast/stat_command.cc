// SPDX-License-Identifier: Apache-2.0
// stat.
#include <memory>

#include <nlohmann/json.hpp>

#include "database.h"
#include "holdfast/admin.h"
#include "stats.h"
#include "text_table.h"
#include "units.h"

namespace tool {
namespace {

struct StatOptions {
  Common common;
  bool tables = false;
  bool metrics = false;
};

std::string metrics_text(holdfast::Database& database) {
  std::string text;
  std::size_t size = 0;
  int code = HF_TOO_LARGE;
  // What there is to say may grow between asking and telling.
  for (int i = 0; i < 4 && code == HF_TOO_LARGE; ++i) {
    text.resize(size + size / 4 + 4096);
    code = hf_metrics(database.c_db(), text.data(), text.size(), &size);
  }
  check(database, code, "metrics");
  text.resize(size);
  return text;
}

struct TableFigures {
  std::string name;
  hf_table_stats stats;
};

std::vector<TableFigures> table_figures(holdfast::Database& database) {
  std::vector<TableFigures> figures;
  for (const std::string& name : must(database.tables())) {
    const auto table = database.open_table(name);
    if (table.code() == HF_NO_TABLE) continue;  // dropped since
    figures.push_back({name, must(database.stats(must(table)))});
  }
  return figures;
}

int run_stat(const StatOptions& options) {
  holdfast::Database database = open_database(options.common, "stat", OpenMode::kGuest);
  if (options.metrics) {
    out().write(metrics_text(database));
    close_database(database);
    return kDone;
  }
  const hf_stats stats = must(database.stats());
  std::vector<TableFigures> tables;
  if (options.tables) tables = table_figures(database);
  close_database(database);

  if (options.common.json) {
    Json object = stats_json(stats);
    if (options.tables) object["tables"] = Json::array();
    for (const TableFigures& table : tables) {
      object["tables"].push_back({{"table", table.name},
                                  {"id", table.stats.table_id},
                                  {"rows", table.stats.rows_approximate},
                                  {"rows_base", table.stats.rows_base},
                                  {"rows_overlay", table.stats.rows_overlay}});
    }
    out().json(object);
    return kDone;
  }
  out().write(stats_text(stats));
  if (!options.tables) return kDone;
  TextTable text({{"TABLE"}, {"ROWS", Align::kRight}, {"IN BASE", Align::kRight}, {"NOT MERGED", Align::kRight}});
  for (const TableFigures& table : tables) {
    text.add({escape(table.name), format_count(table.stats.rows_approximate), format_count(table.stats.rows_base),
              format_count(table.stats.rows_overlay)});
  }
  out().write("\n" + text.text());
  return kDone;
}

}  // namespace

void add_stat_command(Commands& commands) {
  auto options = std::make_shared<StatOptions>();
  CLI::App& app = commands.add({"stat", kWatchGroup, "Print the database's figures",
                                "  holdfast stat shop\n"
                                "  holdfast stat shop --tables --json\n"
                                "  holdfast stat shop --metrics > /var/lib/node_exporter/holdfast.prom"},
                               [options] { return run_stat(*options); });
  add_common(app, options->common);
  auto* tables = app.add_flag("--tables", options->tables, "And those of each table");
  app.add_flag("--metrics", options->metrics, "As Prometheus text")->excludes(tables)->excludes("--json");
  add_open_options(app, options->common);
}

}  // namespace tool
