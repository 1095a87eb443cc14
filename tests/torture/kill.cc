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

void print_figures(const Settings& settings, const Figures& figures, const std::string& missing,
                   const std::string& wrong, double seconds) {
  figures.table.print();
  const std::vector<std::uint64_t> still = figures.table.standstills();
  const std::vector<std::uint64_t> slow = figures.table.slowest();
  std::vector<std::uint64_t> recoveries = figures.recoveries;
  std::sort(recoveries.begin(), recoveries.end());
  const auto longest = [](const std::vector<std::uint64_t>& times) { return times.empty() ? 0 : times.back(); };
  if (!missing.empty()) std::printf("\nnot met: %s\n", missing.c_str());
  std::printf(
      "\n%llu kills in %.0f s; %llu commits acknowledged, %llu of them durable; %llu refused; %llu in doubt, "
      "%llu of them there\n",
      static_cast<unsigned long long>(figures.table.kills()), seconds,
      static_cast<unsigned long long>(figures.acknowledged), static_cast<unsigned long long>(figures.durable),
      static_cast<unsigned long long>(figures.refused), static_cast<unsigned long long>(figures.in_doubt),
      static_cast<unsigned long long>(figures.in_doubt_there));
  std::printf(
      "{\"campaign\":\"kill\",\"ok\":%s,\"seed\":%llu,\"processes\":%u,\"threads\":%u,\"seconds\":%.1f,\"kills\":%llu,"
      "\"databases\":%llu,\"audits\":%llu,\"all_killed\":%llu,\"all_left\":%llu,\"recoveries_killed\":%llu,"
      "\"acknowledged\":%llu,\"durable\":%llu,\"refused\":%llu,\"in_doubt\":%llu,\"in_doubt_there\":%llu,"
      "\"standstill_ms\":{\"measured\":%zu,\"median\":%.2f,\"p99\":%.2f,\"max\":%.2f},"
      "\"slowest_ms\":{\"median\":%.2f,\"p99\":%.2f,\"max\":%.2f},\"recovery_ms\":{\"median\":%.2f,\"max\":%.2f},"
      "\"not_met\":\"%s\",\"table\":%s}\n",
      wrong.empty() ? "true" : "false", static_cast<unsigned long long>(settings.seed), settings.processes,
      settings.threads, seconds, static_cast<unsigned long long>(figures.table.kills()),
      static_cast<unsigned long long>(figures.databases), static_cast<unsigned long long>(figures.audits),
      static_cast<unsigned long long>(figures.massacres), static_cast<unsigned long long>(figures.leaves),
      static_cast<unsigned long long>(figures.recoveries_killed), static_cast<unsigned long long>(figures.acknowledged),
      static_cast<unsigned long long>(figures.durable), static_cast<unsigned long long>(figures.refused),
      static_cast<unsigned long long>(figures.in_doubt), static_cast<unsigned long long>(figures.in_doubt_there),
      still.size(), ms(kill::percentile(still, 50)), ms(kill::percentile(still, 99)), ms(longest(still)),
      ms(kill::percentile(slow, 50)), ms(kill::percentile(slow, 99)), ms(longest(slow)),
      ms(kill::percentile(recoveries, 50)), ms(longest(recoveries)), missing.c_str(), figures.table.json().c_str());
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
    settings->seconds_for_all = common->pick<std::uint64_t>(75, 300, 300);
    settings->kills_each = common->pick<std::uint64_t>(110, 250, 250);
    *exit_code = run_campaign(*settings, *common);
  });
}

}  // namespace torture
