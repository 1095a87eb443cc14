// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <cstdlib>

#include <CLI/CLI.hpp>

namespace flash_sale {

Options parse_options(int argc, char** argv) {
  Options options;
  CLI::App app{
      "A flash sale in one directory of files: many processes and threads give away coupons, sell a small stock and "
      "move "
      "points, durably, and an audit proves that nothing was sold twice or lost."};
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);

  app.add_option("--dir", options.directory,
                 "Where the database goes (DIR/database) and stays; default: a new directory here, removed at the end");
  app.add_option("--processes", options.processes, "Processes that sell")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--threads", options.threads, "Threads of each process")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--buyers", options.buyers, "Buyers in all; every tenth clicks twice")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  app.add_option("--coupons", options.coupons, "First-come coupons, one per buyer")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.add_option("--stock", options.stock, "Items in stock, over five products")
      ->check(CLI::Range(0, 10'000'000))
      ->capture_default_str();
  app.add_option("--points", options.points, "Points of each buyer")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.add_option("--likes", options.likes, "Likes of each buyer, each a commit: the traffic around the sale")
      ->check(CLI::Range(0u, kLikesMax))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Chooses the baskets")->capture_default_str();
  auto* naive =
      app.add_flag("--naive", options.naive,
                   "Read, modify and write without protection, at read committed: shows how much that oversells; "
                   "status 0 when it did");
  auto* kill = app.add_flag("--kill", options.kill, "Kill one process with SIGKILL in the middle, and go on");
  app.add_flag("--json", options.json, "Print the result as JSON, and the progress to stderr");
  naive->excludes(kill);

  try {
    app.parse(argc, argv);
    if (options.kill && options.processes < 2) {
      throw CLI::ValidationError("--kill", "needs a second process that goes on (--processes)");
    }
  } catch (const CLI::ParseError& error) {
    std::exit(app.exit(error) == 0 ? 0 : 2);
  }
  return options;
}

}  // namespace flash_sale
