// SPDX-License-Identifier: Apache-2.0
// Campaign `histories`: random concurrent transactions of threads and processes, recorded as the clients saw them and
// checked for isolation by tests/histories/checker.h. With --planted: the same on an engine in which one bug after the
// other is switched on, and each has to be seen.
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "platform/plant.h"
#include "torture/histories_round.h"
#include "torture/torture.h"

namespace torture {
namespace {

struct Options {
  std::shared_ptr<Common> common;
  bool planted = false;
  std::string plant;               // only this one
  std::uint64_t transactions = 0;  // in all; 0: by the form
};

constexpr Mix kAll{4, 3, 3};

// A sanitizer makes all this ten times slower.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t kSlower = 2;
#else
constexpr std::uint64_t kSlower = 1;
#endif

// Each round differs from the one before in what matters; the list is run through as often as it takes.
std::vector<Round> rounds() {
  const auto round = [](const char* name, Mix mix, unsigned processes, unsigned threads, unsigned slots) {
    Round made;
    made.name = name;
    made.load.mix = mix;
    made.load.slots = slots;
    made.processes = processes;
    made.threads = threads;
    return made;
  };
  std::vector<Round> list;
  list.push_back(round("all levels, processes, stops", kAll, 3, 2, 3));
  list.back().stops = true;
  list.push_back(round("serializable, threads, no heat", {1, 0, 0}, 1, 6, 3));
  list.back().load.heat = false;
  list.push_back(round("all levels, kills", kAll, 3, 2, 4));
  list.back().kills = 12;
  list.push_back(round("snapshot, stops", {0, 1, 0}, 2, 3, 3));
  list.back().stops = true;
  list.push_back(round("serializable, heat, hot", {1, 0, 0}, 2, 3, 2));
  list.push_back(round("read committed", {0, 0, 1}, 2, 3, 3));
  list.push_back(round("all levels, kills, durable, no merges asked for", kAll, 2, 4, 4));
  list.back().kills = 8;
  list.back().merges = false;
  list.back().load.durable_percent = 30;
  list.push_back(round("serializable and snapshot, many rows", {1, 1, 0}, 4, 2, 8));
  return list;
}

struct Sums {
  std::uint64_t transactions = 0, committed = 0, in_doubt = 0, in_doubt_seen = 0, ambiguous = 0;
  std::uint64_t write_skews = 0, phantom_skews = 0, lost_updates = 0, kills = 0;
  double seconds = 0, check_seconds = 0;
  std::map<std::string, std::uint64_t> edges;
};

void add_up(const RoundResult& result, Sums& sums) {
  const histories::Report& report = result.report;
  sums.transactions += report.transactions;
  sums.committed += report.committed;
  sums.in_doubt += report.in_doubt;
  sums.in_doubt_seen += report.in_doubt_seen;
  sums.ambiguous += report.absences_ambiguous;
  sums.write_skews += report.write_skews;
  sums.phantom_skews += report.phantom_skews;
  sums.lost_updates += report.lost_updates;
  sums.kills += result.kills;
  sums.seconds += result.seconds;
  sums.check_seconds += result.check_seconds;
  for (const auto& [kind, count] : report.edges) sums.edges[kind] += count;
}

void tell(const Round& round, const RoundResult& result) {
  const histories::Report& report = result.report;
  std::printf(
      "%-48s seed %llu: %llu transactions, %llu committed, %u kills, %llu in doubt (%llu seen), %.1f s + %.1f s\n",
      round.name.c_str(), static_cast<unsigned long long>(round.load.seed),
      static_cast<unsigned long long>(report.transactions), static_cast<unsigned long long>(report.committed),
      result.kills, static_cast<unsigned long long>(report.in_doubt),
      static_cast<unsigned long long>(report.in_doubt_seen), result.seconds, result.check_seconds);
  if (!result.failure.empty()) std::printf("FAILED: %s\n", result.failure.c_str());
  for (const histories::Anomaly& anomaly : report.anomalies) {
    std::printf("%s: %s\n", anomaly.kind.c_str(), anomaly.text.c_str());
  }
  std::fflush(stdout);
}

bool is_right(const RoundResult& result) { return result.failure.empty() && result.report.anomalies.empty(); }

int run_rounds(const Options& options) {
  Common& common = *options.common;
  const std::uint64_t seed = settle_seed(common);
  const std::uint64_t wanted = options.transactions != 0
                                   ? options.transactions
                                   : common.pick<std::uint64_t>(56'000 / kSlower, 200'000, 1'000'000);
  const std::vector<Round> list = rounds();
  const std::uint64_t each = common.pick<std::uint64_t>(7'000 / kSlower, 12'500, 25'000);
  Sums sums;
  bool right = true;
  unsigned done = 0;
  for (; sums.transactions < wanted && right; ++done) {
    Round round = list[done % list.size()];
    round.load.seed = seed + done;
    round.transactions = each;
    const RoundResult result = run_round(round, common);
    tell(round, result);
    add_up(result, sums);
    right = is_right(result);
  }
  // Had nobody met, the verdict would mean nothing: what the lower levels admit has to be there.
  const bool strong = sums.write_skews > 0 && sums.phantom_skews > 0 && sums.lost_updates > 0;
  if (right && !strong)
    std::printf("FAILED: no write skew, or no lost update: the load is too weak to prove anything\n");
  std::string edges;
  for (const auto& [kind, count] : sums.edges) {
    edges += (edges.empty() ? "\"" : ", \"") + kind + "\": " + std::to_string(count);
  }
  std::printf(
      "{\"campaign\": \"histories\", \"seed\": %llu, \"ok\": %s, \"rounds\": %u, \"transactions\": %llu, "
      "\"committed\": %llu, \"levels\": [\"serializable\", \"snapshot\", \"read committed\"], \"kills\": %llu, "
      "\"in_doubt\": %llu, \"in_doubt_seen\": %llu, \"edges\": {%s}, \"absences_ambiguous\": %llu, "
      "\"admitted\": {\"write_skew_at_snapshot\": %llu, \"of_them_phantoms\": %llu, "
      "\"lost_update_at_read_committed\": %llu}, \"seconds\": %.1f, \"check_seconds\": %.1f}\n",
      static_cast<unsigned long long>(seed), right && strong ? "true" : "false", done,
      static_cast<unsigned long long>(sums.transactions), static_cast<unsigned long long>(sums.committed),
      static_cast<unsigned long long>(sums.kills), static_cast<unsigned long long>(sums.in_doubt),
      static_cast<unsigned long long>(sums.in_doubt_seen), edges.c_str(),
      static_cast<unsigned long long>(sums.ambiguous), static_cast<unsigned long long>(sums.write_skews),
      static_cast<unsigned long long>(sums.phantom_skews), static_cast<unsigned long long>(sums.lost_updates),
      sums.seconds, sums.check_seconds);
  return right && strong ? 0 : 1;
}

// --- planted bugs ----------------------------------------------------------------------------------------------------

// One load for all, so that the run without a bug speaks for each.
Round planted_round(const std::string& plant, std::uint64_t seed, std::uint64_t transactions) {
  Round round;
  round.name = plant.empty() ? "no bug" : plant;
  round.load.seed = seed;
  round.load.mix = kAll;
  round.load.slots = 3;
  round.load.durable_percent = 0;
  round.transactions = transactions;
  round.plant = plant;
  return round;
}

int run_planted(const Options& options) {
  Common& common = *options.common;
  const std::uint64_t seed = settle_seed(common);
  if (!hf::platform::kPlantedBugs) {
    std::printf("bugs can not be planted in this build: configure with -DHOLDFAST_PLANTED_BUGS=ON\n");
    return 2;
  }
  const std::uint64_t each = 3'000, limit = common.pick<std::uint64_t>(60'000, 60'000, 200'000);
  bool right = true;
  std::string caught_all;
  for (const hf::platform::PlantName& bug : hf::platform::kPlants) {
    if (!options.plant.empty() && options.plant != bug.name) continue;
    std::uint64_t before = 0, caught = 0;
    std::string kind;
    for (unsigned i = 0; before < limit && caught == 0; ++i) {
      const RoundResult result = run_round(planted_round(bug.name, seed + i, each), common);
      if (!result.failure.empty()) std::printf("%s: %s\n", bug.name, result.failure.c_str());
      if (result.report.anomalies.empty()) {
        before += each;
        continue;
      }
      caught = before + result.caught_after;
      kind = result.report.anomalies.front().kind;
      if (!options.plant.empty()) tell(planted_round(bug.name, seed + i, each), result);
    }
    std::printf("%-28s %s after %llu transactions: %s\n", bug.name, caught != 0 ? "caught" : "NOT CAUGHT",
                static_cast<unsigned long long>(caught != 0 ? caught : before), kind.c_str());
    std::fflush(stdout);
    right = right && caught != 0;
    caught_all += std::string(caught_all.empty() ? "" : ", ") + "\"" + bug.name + "\": " + std::to_string(caught);
  }
  const Round clean = planted_round("", seed, 10 * each);
  const RoundResult result = run_round(clean, common);
  tell(clean, result);
  right = right && is_right(result);
  std::printf(
      "{\"campaign\": \"histories --planted\", \"seed\": %llu, \"ok\": %s, \"caught_after_transactions\": {%s}, "
      "\"clean_without\": %llu}\n",
      static_cast<unsigned long long>(seed), right ? "true" : "false", caught_all.c_str(),
      static_cast<unsigned long long>(result.report.transactions));
  return right ? 0 : 1;
}

}  // namespace

void add_histories(CLI::App& app, int* exit_code) {
  CLI::App* command =
      app.add_subcommand("histories", "recorded histories of random transactions, checked for isolation");
  auto options = std::make_shared<Options>();
  options->common = add_common(*command);
  command->add_option("--transactions", options->transactions, "how many, in all");
  command->add_flag("--planted", options->planted, "switch on each planted bug, and demand that it is seen");
  command->add_option("--plant", options->plant, "with --planted: only the bug of this name, with all that was seen");
  command->callback([=] { *exit_code = options->planted ? run_planted(*options) : run_rounds(*options); });
}

}  // namespace torture
