// SPDX-License-Identifier: Apache-2.0
// The kill campaign: processes that trade in one database are killed at random instants and at every test point of the
// engine. What was acknowledged has to be there, nothing else may be half there, and the others have to go on.
//
// A run is repeated by its seed as far as the operations, the choice of points and the order of kills go; the instants
// are the scheduler's.
#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "platform/test_point.h"
#include "torture/kill_campaign.h"
#include "torture/kill_roles.h"
#include "torture/torture.h"

namespace torture {
namespace {

using kill::Figures;
using kill::KillTable;
using kill::Settings;

constexpr std::uint64_t kMedianMaxNs = 20'000'000;
constexpr std::uint64_t kStandstillMaxNs = 1'000'000'000;

double ms(std::uint64_t ns) { return static_cast<double>(ns) / 1e6; }

std::string names_of(const std::vector<const kill::Point*>& points) {
  std::string names;
  for (const kill::Point* point : points) {
    names += std::string(names.empty() ? "" : ", ") + name_of(point->stage) + " " + point->name;
  }
  return names;
}

// One object of JSON, on one line.
class Json {
 public:
  Json& add(const char* name, const std::string& value) {
    text_ += std::string(text_.empty() ? "{\"" : ",\"") + name + "\":" + value;
    return *this;
  }
  Json& add(const char* name, std::uint64_t value) { return add(name, std::to_string(value)); }
  Json& add_text(const char* name, const std::string& value) { return add(name, '"' + value + '"'); }
  // Median, 99 of 100, longest.
  Json& add_times(const char* name, std::vector<std::uint64_t> times) {
    std::sort(times.begin(), times.end());
    char text[120];
    std::snprintf(text, sizeof text, "{\"measured\":%zu,\"median\":%.2f,\"p99\":%.2f,\"max\":%.2f}", times.size(),
                  ms(kill::percentile(times, 50)), ms(kill::percentile(times, 99)), ms(kill::percentile(times, 100)));
    return add(name, text);
  }
  std::string text() const { return text_ + "}"; }

 private:
  std::string text_;
};

void print_figures(const Settings& settings, const Figures& figures, const std::string& missing,
                   const std::string& wrong, double seconds) {
  figures.table.print();
  if (!missing.empty()) std::printf("\nnot met: %s\n", missing.c_str());
  Json json;
  json.add_text("campaign", "kill").add("ok", wrong.empty() ? "true" : "false").add("seed", settings.seed);
  json.add("processes", settings.processes).add("threads", settings.threads);
  json.add("seconds", static_cast<std::uint64_t>(seconds)).add("kills", figures.table.kills());
  json.add("databases", figures.databases).add("audits", figures.audits).add("all_killed", figures.massacres);
  json.add("memory_lost", figures.amnesias).add("all_left", figures.leaves);
  json.add("recoveries_killed", figures.recoveries_killed).add("acknowledged", figures.acknowledged);
  json.add("durable", figures.durable).add("refused", figures.refused).add("lost_not_durable", figures.lost);
  json.add("in_doubt", figures.in_doubt).add("in_doubt_there", figures.in_doubt_there);
  json.add_times("standstill_ms", figures.table.standstills()).add_times("slowest_ms", figures.table.slowest());
  json.add_times("recovery_ms", figures.recoveries).add_text("not_met", missing);
  json.add("table", figures.table.json());
  std::printf("\n%s\n", json.text().c_str());
}

std::string judge_standstill(const KillTable& table) {
  const std::vector<std::uint64_t> still = table.standstills();
  if (still.empty()) return "";
  if (still.back() > kStandstillMaxNs) return "the others stood still for " + std::to_string(ms(still.back())) + " ms";
  const std::uint64_t median = kill::percentile(still, 50);
  return median > kMedianMaxNs ? "the median standstill is " + std::to_string(ms(median)) + " ms" : "";
}

int run_campaign(Settings settings, Common& common) {
  if (!hf::platform::kTestPoints) {
    std::fprintf(stderr, "built without test points: configure with -DHOLDFAST_TEST_POINTS=ON\n");
    return 2;
  }
  settings.seed = settle_seed(common);
  settings.directory = make_directory(common, "kill");
  kill::Campaign campaign(settings);
  const std::uint64_t began = kill::now_ns();
  std::string wrong = campaign.run();
  if (wrong.empty()) wrong = judge_standstill(campaign.figures().table);
  const std::string missing = names_of(campaign.unmet());
  if (wrong.empty() && settings.seconds_max == 0 && !missing.empty()) wrong = "nobody was killed at " + missing;
  if (!wrong.empty()) {
    std::fprintf(stderr, "FAILED: %s\nseed %llu\n", wrong.c_str(), static_cast<unsigned long long>(settings.seed));
  }
  print_figures(settings, campaign.figures(), missing, wrong, static_cast<double>(kill::now_ns() - began) / 1e9);
  if (!wrong.empty()) return 1;
  std::error_code ignored;
  if (!settings.keep) std::filesystem::remove_all(settings.directory, ignored);
  return 0;
}

// What the campaign's own processes are started with.
void add_role_options(CLI::App& command, kill::RoleOptions& role) {
  command.add_option("--role", role.role)->group("");
  command.add_option("--workspace", role.workspace)->group("");
  command.add_option("--process", role.process)->group("");
  command.add_option("--life", role.life)->group("");
  command.add_option("--armed", role.armed)->group("");
  command.add_flag("!--no-thread", role.background)->group("");
  command.add_flag("--fills", role.fills)->group("");
  command.add_flag("--alone", role.alone)->group("");
  command.add_flag("--amnesia", role.amnesia)->group("");
  command.add_flag("--quiet", role.quiet)->group("");
}

}  // namespace

void add_kill(CLI::App& app, int* exit_code) {
  CLI::App* command = app.add_subcommand("kill", "processes killed at random instants and at every test point");
  auto common = add_common(*command);
  auto settings = std::make_shared<Settings>();
  auto role = std::make_shared<kill::RoleOptions>();
  command->add_option("--processes", settings->processes, "worker processes")->check(CLI::Range(2, 16));
  command->add_option("--threads", settings->threads, "lanes of each")->check(CLI::Range(1u, kill::kThreadsMax));
  command->add_option("--kills", settings->kills, "how many; default 300, 2,000 or 10,000");
  command->add_option("--seconds", settings->seconds_max, "ends after that time, with fewer kills; 0: no limit");
  command->add_flag("--keep", settings->keep, "leave the databases and journals behind");
  add_role_options(*command, *role);
  command->callback([=] {
    if (!role->role.empty()) {
      role->seed = common->seed;
      role->processes = settings->processes;
      role->threads = settings->threads;
      *exit_code = kill::run_role(*role);
      return;
    }
    if (settings->kills == 0) settings->kills = common->pick<std::uint64_t>(300, 2'000, 10'000);
    settings->seconds_for_all = common->pick<std::uint64_t>(150, 300, 300);
    settings->kills_each = common->pick<std::uint64_t>(110, 250, 250);
    *exit_code = run_campaign(*settings, *common);
  });
}

}  // namespace torture
