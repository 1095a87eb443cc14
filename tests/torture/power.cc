// SPDX-License-Identifier: Apache-2.0
// Power cuts by recorded I/O. Goal: whatever a disk shows after the power failed at any moment, the database opens, and
// holds what a prefix of its commits made, every one that was answered durable included; also when the power fails
// again during that recovery, or soon after it.
//
// Method: rounds. Each records a run of a small shop: its writes, syncs and changes of names, its commits and the
// answers it got, in one order (power_recording.h). Cuts are random moments of that order; for each, one of the states
// that the rules of the file system allow (power_disk.h) is made in memory, written to a directory, opened and compared
// (power_recovery.h). Children do that, so that a crash is caught and told.
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>

#include "torture/power_round.h"
#include "torture/torture.h"

namespace torture {
namespace power {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::shared_ptr<Common> common;
  std::int64_t only_cut = -1;
  std::string recording;
  int rounds = 0;
  int cuts = 0;
};

void print_figures(const Options& options, const Tally& tally, int rounds, std::uint64_t commits, double seconds,
                   bool good) {
  std::uint64_t states = 0;
  for (const auto& count : tally.states) states += count;
  std::printf("{\"campaign\":\"power\",\"seed\":%llu,\"ok\":%s,\"rounds\":%d,\"commits_recorded\":%llu,\"states\":%llu",
              static_cast<unsigned long long>(options.common->seed), good ? "true" : "false", rounds,
              static_cast<unsigned long long>(commits), static_cast<unsigned long long>(states));
  std::printf(",\"cuts\":{");
  const char* comma = "";
  for (int kind = 0; kind < kKinds; ++kind) {
    if (tally.by_kind[kind] == 0) continue;
    std::printf("%s\"%s\":%llu", comma, name_of_kind(kind), static_cast<unsigned long long>(tally.by_kind[kind]));
    comma = ",";
  }
  std::printf("},\"cuts_in_a_row\":[");
  for (int depth = 0; depth < kDepthMax; ++depth) {
    std::printf("%s%llu", depth == 0 ? "" : ",", static_cast<unsigned long long>(tally.states[depth]));
  }
  std::printf("],\"cuts_in_recovery\":%llu,\"cuts_after_recovery\":%llu,\"opens\":%llu",
              static_cast<unsigned long long>(tally.in_recovery), static_cast<unsigned long long>(tally.after_recovery),
              static_cast<unsigned long long>(tally.opens));
  std::printf(",\"commits_required\":%llu,\"commits_found\":%llu,\"commits_after\":%llu,\"rows_compared\":%llu",
              static_cast<unsigned long long>(tally.commits_required),
              static_cast<unsigned long long>(tally.commits_found), static_cast<unsigned long long>(tally.commits_made),
              static_cast<unsigned long long>(tally.rows_compared));
  std::printf(",\"seconds\":%.1f}\n", seconds);
}

// Memory when there is room for it: thousands of databases are made and thrown away.
void settle_directory(Common& common) {
  if (!common.directory.empty()) return;
  std::error_code error;
  const fs::space_info room = fs::space("/dev/shm", error);
  if (!error && room.available > (std::uintmax_t{1} << 30) && ::access("/dev/shm", W_OK) == 0) {
    common.directory = "/dev/shm";
  }
}

int run(Options options) {
  settle_seed(*options.common);
  settle_directory(*options.common);
  void* const memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 2;
  auto& shared = *new (memory) Shared{};
  const bool single = options.only_cut >= 0;
  const int rounds = single ? 1 : options.rounds != 0 ? options.rounds : options.common->pick(2, 4, 24);
  const int cuts = options.cuts != 0 ? options.cuts : options.common->pick(250, 400, 400);
  const auto began = std::chrono::steady_clock::now();
  std::uint64_t commits = 0;
  std::string wrong;
  for (int number = 0; number < rounds && wrong.empty(); ++number) {
    const std::string directory = make_directory(*options.common, "power");
    for (int child = 0; child < kChildren; ++child) fs::create_directory(child_directory(directory, child));
    RoundOptions plan;
    plan.seed = options.common->seed + static_cast<std::uint64_t>(number);
    plan.commits_each = options.common->pick(150, 200, 250);
    plan.cuts = cuts;
    plan.only_cut = options.only_cut;
    plan.recording = options.recording;
    Round round(plan, directory, shared);
    wrong = round.run();
    commits += round.commits();
    if (wrong.empty() && !single) {
      fs::remove_all(directory);
    } else {
      std::printf("kept: %s\n", directory.c_str());
    }
  }
  if (!wrong.empty()) std::printf("FAILED: %s\n", wrong.c_str());
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - began;
  print_figures(options, shared.tally, rounds, commits, taken.count(), wrong.empty());
  return wrong.empty() ? 0 : 1;
}

}  // namespace
}  // namespace power

void add_power(CLI::App& app, int* exit_code) {
  CLI::App* command = app.add_subcommand("power", "states that a disk can show after a power failure, recovered");
  auto options = std::make_shared<power::Options>();
  options->common = add_common(*command);
  command->add_option("--cut", options->only_cut, "this cut of the seed's first round only; keeps its directory");
  command->add_option("--recording", options->recording, "cuts this recording, as an earlier failure kept it");
  command->add_option("--rounds", options->rounds, "recorded runs");
  command->add_option("--cuts", options->cuts, "cuts of each run");
  command->callback([options, exit_code] { *exit_code = power::run(*options); });
}

}  // namespace torture
