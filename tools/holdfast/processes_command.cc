// SPDX-License-Identifier: Apache-2.0
// processes.
#include <memory>

#include <nlohmann/json.hpp>

#include "database.h"
#include "process_view.h"
#include "stats.h"
#include "text_table.h"
#include "units.h"

namespace tool {
namespace {

struct ProcessesOptions {
  Common common;
};

std::string role_of(const hf_process_info& process) {
  std::string role = process.is_maintainer != 0 ? "maintainer" : "";
  if (process.is_self != 0) role += role.empty() ? "this command" : ", this command";
  return role;
}

int run_processes(const ProcessesOptions& options) {
  holdfast::Database database = open_database(options.common, "processes", OpenMode::kGuest);
  const std::vector<hf_process_info> processes = processes_of(database);
  close_database(database);
  TextTable text({{"SLOT", Align::kRight},
                  {"PID", Align::kRight},
                  {"LABEL"},
                  {"OPENED"},
                  {"LOCKS", Align::kRight},
                  {"WAITING", Align::kRight},
                  {"PINS", Align::kRight},
                  {"OLDEST PIN", Align::kRight},
                  {"ROLE"}});
  for (const hf_process_info& process : processes) {
    if (options.common.json) {
      out().json(process_json(process));
      continue;
    }
    text.add({std::to_string(process.slot), std::to_string(process.pid), escape(process.label),
              format_time(process.opened_ms), format_count(process.locks_held), format_count(process.locks_waiting),
              format_count(process.pins),
              process.oldest_pin_csn == 0
                  ? "-"
                  : "csn " + std::to_string(process.oldest_pin_csn) + ", " + format_age(process.oldest_pin_age_ms),
              role_of(process)});
  }
  if (!options.common.json) out().write(text.text());
  return kDone;
}

}  // namespace

std::vector<hf_process_info> processes_of(holdfast::Database& database) {
  std::vector<hf_process_info> processes;
  processes.reserve(256);  // as many as there can be, so that the visit does not allocate
  const hf_process_visit take = [](const hf_process_info* info, void* context) {
    static_cast<std::vector<hf_process_info>*>(context)->push_back(*info);
    return 0;
  };
  check(database, hf_processes(database.c_db(), take, &processes), "processes");
  return processes;
}

Json process_json(const hf_process_info& process) {
  Json object;
  object["slot"] = process.slot;
  object["pid"] = process.pid;
  object["label"] = process.label;
  object["opened"] = format_time(process.opened_ms);
  object["opened_ms"] = process.opened_ms;
  object["pins"] = process.pins;
  object["oldest_pin_csn"] = process.oldest_pin_csn;
  object["oldest_pin_age_ms"] = process.oldest_pin_age_ms;
  object["locks_held"] = process.locks_held;
  object["locks_waiting"] = process.locks_waiting;
  object["is_self"] = process.is_self != 0;
  object["is_maintainer"] = process.is_maintainer != 0;
  return object;
}

void add_processes_command(Commands& commands) {
  auto options = std::make_shared<ProcessesOptions>();
  CLI::App& app = commands.add({"processes", kWatchGroup, "List the processes that have the database open",
                                "  holdfast processes shop\n"
                                "  holdfast processes shop --json | jq .label"},
                               [options] { return run_processes(*options); });
  add_common(app, options->common);
  add_open_options(app, options->common);
}

}  // namespace tool
