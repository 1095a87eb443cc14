// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include <chrono>
#include <cstdio>
#include <filesystem>

#include "torture/torture.h"

namespace torture {

std::shared_ptr<Common> add_common(CLI::App& command) {
  auto common = std::make_shared<Common>();
  command.add_option("--seed", common->seed, "seed of everything random; 0: from the clock");
  CLI::Option* is_short = command.add_flag("--short", common->is_short, "the form that runs with the tests");
  command.add_flag("--long", common->is_long, "the form whose figures stand in docs/reliability.md")
      ->excludes(is_short);
  command.add_option("--directory", common->directory, "where databases are made");
  return common;
}

std::uint64_t settle_seed(Common& common) {
  if (common.seed == 0) {
    common.seed = static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) % 1000000007u;
  }
  std::printf("seed %llu\n", static_cast<unsigned long long>(common.seed));
  std::fflush(stdout);
  return common.seed;
}

std::string make_directory(const Common& common, const std::string& name) {
  std::string base = common.directory;
  if (base.empty()) {
    const char* from_environment = getenv("TEST_TMPDIR");
    base = from_environment != nullptr ? from_environment : std::filesystem::temp_directory_path().string();
  }
  std::string path = base + "/torture_" + name + "_XXXXXX";
  if (mkdtemp(path.data()) == nullptr) {
    std::perror(path.c_str());
    std::exit(2);
  }
  return path;
}

}  // namespace torture

int main(int argc, char** argv) {
  CLI::App app{"Provokes every row of the failure matrix and checks what must hold."};
  app.require_subcommand(1);
  int exit_code = 0;
  torture::add_power(app, &exit_code);
  torture::add_histories(app, &exit_code);
  torture::add_kill(app, &exit_code);
  torture::add_flips(app, &exit_code);
  CLI11_PARSE(app, argc, argv);
  return exit_code;
}
