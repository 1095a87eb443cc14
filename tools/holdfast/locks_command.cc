// SPDX-License-Identifier: Apache-2.0
// locks.
#include <memory>

#include <nlohmann/json.hpp>

#include "database.h"
#include "lock_view.h"
#include "text_table.h"
#include "units.h"

namespace tool {
namespace {

struct LocksOptions {
  Common common;
  bool waiting = false;
  std::string table;
};

bool is_wanted(const LocksOptions& options, const LockedRow& row) {
  if (options.waiting && row.waiters.empty()) return false;
  return options.table.empty() || (!row.is_name && row.table == options.table);
}

int run_locks(const LocksOptions& options) {
  holdfast::Database database = open_database(options.common, "locks", OpenMode::kGuest);
  const std::vector<LockedRow> rows = locked_rows(must(database.locks()));
  close_database(database);
  TextTable text({{"ROW"},
                  {"HELD"},
                  {"WANTED"},
                  {"AGE", Align::kRight},
                  {"PID", Align::kRight},
                  {"THREAD", Align::kRight},
                  {"TXN", Align::kRight},
                  {"LABEL"}});
  const auto show = [&](const LockedRow& row, const holdfast::lock_info& party) {
    if (options.common.json) {
      out().json(lock_json(party));
      return;
    }
    text.add({row_text(row), std::string(mode_text(party.held)) + (party.expired ? " (expired)" : ""),
              mode_text(party.wanted), format_age(static_cast<std::uint64_t>(party.age.count())),
              std::to_string(party.pid), std::to_string(party.thread), std::to_string(party.txn), escape(party.label)});
  };
  for (const LockedRow& row : rows) {
    if (!is_wanted(options, row)) continue;
    for (const holdfast::lock_info& party : row.holders) show(row, party);
    for (const holdfast::lock_info& party : row.waiters) show(row, party);
  }
  if (!options.common.json && !text.empty()) out().write(text.text());
  return kDone;
}

}  // namespace

void add_locks_command(Commands& commands) {
  auto options = std::make_shared<LocksOptions>();
  CLI::App& app = commands.add({"locks", kWatchGroup, "List who holds rows and names, and who waits for them",
                                "  holdfast locks shop\n"
                                "  holdfast locks shop --waiting\n"
                                "  holdfast locks shop --table stock --json"},
                               [options] { return run_locks(*options); });
  add_common(app, options->common);
  app.add_flag("--waiting", options->waiting, "Only rows that somebody waits for");
  app.add_option("--table", options->table, "Only rows of this table")->type_name("NAME");
  add_open_options(app, options->common);
}

}  // namespace tool
