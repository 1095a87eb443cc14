// SPDX-License-Identifier: Apache-2.0
// bench: a flash sale on the user's own disk, and an audit of it.
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include <nlohmann/json.hpp>

#include "bench_crowd.h"
#include "commands.h"
#include "database.h"
#include "files.h"
#include "text_table.h"
#include "units.h"

namespace tool {
namespace {

struct BenchOptions {
  std::string directory;
  bench::Plan plan;
  bool keep = false;
  bool json = false;
};

// Where the run's database lies; made by us, so it is ours to take away.
class RunDirectory {
 public:
  RunDirectory(const std::string& parent, bool keep) : path_(parent + "/holdfast-bench.XXXXXX"), keep_(keep) {
    if (mkdtemp(path_.data()) == nullptr) fail_system("cannot make a directory in " + parent, errno);
  }
  ~RunDirectory() {
    std::error_code ignored;
    if (!keep_) std::filesystem::remove_all(path_, ignored);
  }
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;
  const std::string& path() const noexcept { return path_; }

 private:
  std::string path_;
  bool keep_;
};

// What the disk takes for the smallest durable write: the measure of everything else. The median, in microseconds.
std::uint64_t sync_time_us(const std::string& directory) {
  constexpr int kSyncs = 50;
  const std::string path = directory + "/sync";
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) fail_system("cannot make " + path, errno);
  std::vector<std::uint64_t> times;
  const std::string block(4096, 'x');
  int error_number = 0;
  for (int i = 0; i < kSyncs && error_number == 0; ++i) {
    const std::uint64_t begin = monotonic_ns();
    error_number = write_all(fd, block);
    if (error_number == 0 && fdatasync(fd) != 0) error_number = errno;
    times.push_back((monotonic_ns() - begin) / 1000);
  }
  close(fd);
  unlink(path.c_str());
  if (error_number != 0) fail_system("cannot write " + path, error_number);
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void audit(const std::string& path, const bench::Plan& plan, bench::Board& board) {
  holdfast::Database database = bench::open_for(path, "audit", /*make=*/false);
  bench::Shop shop(database, plan);
  const auto wrong = shop.audit(board.orders.load());
  for (std::size_t i = 0; i < wrong.size() && i < bench::Board::kFailuresShownMax; ++i) {
    std::snprintf(board.failure_texts[i], sizeof board.failure_texts[i], "%s", wrong[i].c_str());
  }
  board.failures.store(static_cast<std::uint32_t>(wrong.size()));
  close_database(database);
  board.audited.store(1);
}

struct Result {
  double seconds = 0;
  std::uint64_t orders = 0;
  std::uint64_t commits = 0;
  std::uint64_t syncs = 0;
  std::uint64_t sync_time_us = 0;
};

double per_second(std::uint64_t count, const Result& result) {
  return result.seconds > 0 ? static_cast<double>(count) / result.seconds : 0;
}

Json report_json(const BenchOptions& options, const Result& result, const bench::Board& board) {
  Json object;
  object["processes"] = options.plan.processes;
  object["threads"] = options.plan.threads;
  object["durability"] = options.plan.durability == HF_RELAXED ? "relaxed" : "full";
  object["seed"] = options.plan.seed;
  object["seconds"] = result.seconds;
  object["orders"] = result.orders;
  object["orders_per_s"] = per_second(result.orders, result);
  object["sold_out"] = board.sold_out.load();
  object["attempts"] = board.attempts.load();
  for (const auto& [name, share] : {std::pair{"p50_us", 0.5}, {"p90_us", 0.9}, {"p99_us", 0.99}, {"p999_us", 0.999}}) {
    object[name] = board.latency.quantile_us(share);
  }
  object["max_us"] = board.latency.max_us();
  object["commits"] = result.commits;
  object["syncs"] = result.syncs;
  object["disk_sync_us"] = result.sync_time_us;
  object["lock_waits"] = board.after.lock_waits - board.before.lock_waits;
  object["lock_waited_us"] = board.after.lock_waited_us - board.before.lock_waited_us;
  object["deadlocks"] = board.after.deadlocks - board.before.deadlocks;
  object["conflicts"] = board.after.conflicts - board.before.conflicts;
  object["audit"] = board.failures.load() == 0 ? "exact" : "wrong";
  object["failures"] = Json::array();
  const std::uint32_t shown = std::min(board.failures.load(), bench::Board::kFailuresShownMax);
  for (std::uint32_t i = 0; i < shown; ++i) object["failures"].push_back(board.failure_texts[i]);
  return object;
}

std::string report_text(const BenchOptions& options, const Result& result, const bench::Board& board) {
  const auto ms = [](std::uint64_t us) { return format_fixed(static_cast<double>(us) / 1e3, 2) + " ms"; };
  const std::uint64_t waits = board.after.lock_waits - board.before.lock_waits;
  const std::uint64_t waited_us = board.after.lock_waited_us - board.before.lock_waited_us;
  const std::uint64_t served = result.orders + board.sold_out.load();
  TextTable text({{""}, {""}});
  const auto line = [&](const char* name, std::string value) { text.add({name, std::move(value)}); };
  line("sale", std::to_string(options.plan.processes) + " processes x " + std::to_string(options.plan.threads) +
                   " threads, " + format_fixed(result.seconds, 1) + " s, " +
                   (options.plan.durability == HF_RELAXED ? "relaxed" : "every order on the disk before its answer"));
  line("orders/s", format_rate(per_second(result.orders, result)) + " (" + format_count(result.orders) + " orders, " +
                       format_count(board.sold_out.load()) + " sold out)");
  line("latency", "p50 " + ms(board.latency.quantile_us(0.5)) + ", p90 " + ms(board.latency.quantile_us(0.9)) +
                      ", p99 " + ms(board.latency.quantile_us(0.99)) + ", p99.9 " +
                      ms(board.latency.quantile_us(0.999)) + ", max " + ms(board.latency.max_us()));
  line("syncs/s",
       format_rate(per_second(result.syncs, result)) + ", " +
           format_fixed(result.syncs == 0 ? 0 : static_cast<double>(result.commits) / static_cast<double>(result.syncs),
                        1) +
           " commits per sync; one sync of this disk takes " + ms(result.sync_time_us));
  line("lock waits/s",
       format_rate(per_second(waits, result)) + ", " + ms(waits == 0 ? 0 : waited_us / waits) + " each");
  line("attempts",
       format_fixed(served == 0 ? 0 : static_cast<double>(board.attempts.load()) / static_cast<double>(served), 3) +
           " per customer, " + format_count(board.after.deadlocks - board.before.deadlocks) + " deadlocks");
  line("audit", board.failures.load() == 0 ? "exact: stock, money, numbers and answers agree"
                                           : format_count(board.failures.load()) + " FAILURES");
  std::string all = text.text(false);
  const std::uint32_t shown = std::min(board.failures.load(), bench::Board::kFailuresShownMax);
  for (std::uint32_t i = 0; i < shown; ++i) all += std::string("  ") + board.failure_texts[i] + "\n";
  return all;
}

int run_bench(const BenchOptions& options) {
  const RunDirectory directory(options.directory, options.keep);
  const std::string path = directory.path() + "/database";
  bench::Board& board = *bench::Board::make();
  Result result;
  result.sync_time_us = sync_time_us(directory.path());
  bench::run_in_child([&] {
    holdfast::Database database = bench::open_for(path, "set-up", /*make=*/true);
    bench::Shop(database, options.plan).fill();
    close_database(database);
  });
  check_interrupted();
  bench::run_crowd(path, options.plan, board);
  if (board.open.load() == 0) check_interrupted();
  bench::run_in_child([&] {
    forget_interrupt();
    audit(path, options.plan, board);
  });
  if (board.audited.load() == 0) throw Failure(kBug, "the audit did not come to its end");

  result.seconds = static_cast<double>(board.ended_ns.load() - board.started_ns.load()) / 1e9;
  result.orders = board.orders.load();
  result.commits = board.after.commits - board.before.commits;
  result.syncs = board.after.syncs - board.before.syncs;
  if (options.json) {
    out().json(report_json(options, result, board));
  } else {
    out().write(report_text(options, result, board));
    if (options.keep) out().line("kept   " + path);
  }
  out().flush();
  if (board.failures.load() != 0) return kDamaged;
  check_interrupted();
  return kDone;
}

}  // namespace

void add_bench_command(Commands& commands) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App& app = commands.add({"bench", kOtherGroup, "Hold a flash sale on this disk, measure it, and audit its books",
                                "  holdfast bench /var/lib/shops\n"
                                "  holdfast bench . --processes 8 --threads 8 --duration 30s\n"
                                "  holdfast bench . --durability relaxed --json"},
                               [options] { return run_bench(*options); });
  bench::Plan& plan = options->plan;
  app.add_option("DIR", options->directory, "Directory on the disk to measure; the sale makes one of its own in it")
      ->required();
  app.add_flag("--json", options->json, "Print JSON");
  app.add_option("--processes", plan.processes, "Processes that sell (default 4)")->check(CLI::Range(1, 64));
  app.add_option("--threads", plan.threads, "Threads of each (default 4)")->check(CLI::Range(1, 256));
  add_duration(app, "--duration", plan.duration_ms, "How long they sell (default 5s)");
  app.add_option("--products", plan.products, "Products in the warehouse (default 100)")->check(CLI::Range(1, 100'000));
  app.add_option("--stations", plan.stations, "Packing stations, each a row that orders lock in turn (default 8)")
      ->check(CLI::Range(1, 100'000));
  app.add_option("--stock", plan.stock, "Items of each product (default 1000000)")
      ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{1} << 40));
  app.add_option("--seed", plan.seed, "Chooses the baskets (default 1)")->check(CLI::NonNegativeNumber);
  add_durability(app, plan.durability);
  app.add_flag("--keep", options->keep, "Leave the database of the sale behind");
}

}  // namespace tool
