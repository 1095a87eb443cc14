// SPDX-License-Identifier: Apache-2.0
// Commits of one put each on random rows while the database is backed up to a directory on the same disk, and without:
// in turn, in the same run, so that a change in the disk's mood hits both. The backup is made by a process of its own,
// which also takes the counts.
#include <filesystem>
#include <thread>
#include <vector>

#include <holdfast/admin.h>

#include "workers.h"
#include "workloads.h"

namespace hf::bench {
namespace {

constexpr std::uint64_t kSecond_ns = 1'000'000'000;

// Sums over all windows of a kind. Written by the process that makes the backups.
struct Windows {
  std::uint64_t ns = 0;
  std::uint64_t done = 0;
  double rate() const { return ns == 0 ? 0 : static_cast<double>(done) * 1e9 / static_cast<double>(ns); }
};

struct Stage {
  Control control;
  Windows quiet, busy;
  std::uint64_t backups = 0;
  std::uint64_t backup_bytes = 0;
  std::uint64_t backup_ns_max = 0;
};

void work(HoldfastSide& side, const Options& options, unsigned worker, Control& control) {
  HoldfastSide::Writer writer(side);
  Random random(kSeed + worker);
  Value value;
  WorkerSlot& slot = control.slots[worker];
  control.ready.fetch_add(1, std::memory_order_release);
  while (control.go.load(std::memory_order_acquire) == 0) sleep_ns(100'000);
  std::uint64_t done = 0;
  while (control.stop.load(std::memory_order_relaxed) == 0) {
    const std::uint64_t row = random.below(options.rows);
    value.stamp(row, done);
    writer.put(Key(row), value);
    slot.done.store(++done, std::memory_order_relaxed);
  }
}

void run_writers(const Options& options, unsigned process, Control& control) {
  HoldfastSide side(options.directory, OpenMode{});
  side.make_table();
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < options.threads; ++thread) {
    threads.emplace_back([&, worker = process * options.threads + thread] { work(side, options, worker, control); });
  }
  for (std::thread& thread : threads) thread.join();
}

template <class Body>
void measure(Stage& stage, unsigned workers, Windows& windows, Body body) {
  const Sample first = take_sample(stage.control, workers);
  body();
  const Sample last = take_sample(stage.control, workers);
  windows.ns += last.ns - first.ns;
  windows.done += last.done - first.done;
}

// A quiet window as long as the backup before it, in turn, until both have lasted for the time wanted.
void run_backups(const Options& options, unsigned workers, Stage& stage) {
  HoldfastSide side(options.directory, OpenMode{});
  side.make_table();
  Control& control = stage.control;
  control.ready.fetch_add(1, std::memory_order_release);
  while (control.go.load(std::memory_order_acquire) == 0) sleep_ns(100'000);
  sleep_ns(static_cast<std::uint64_t>(options.warmup_seconds * 1e9));
  const std::string destination = options.directory + "-copy";
  const auto wanted_ns = static_cast<std::uint64_t>(options.seconds * 1e9);
  std::uint64_t last_ns = kSecond_ns;
  while (stage.busy.ns < wanted_ns) {
    measure(stage, workers, stage.quiet, [&] { sleep_ns(last_ns); });
    hf_backup_result result{};
    result.size = sizeof result;
    const std::uint64_t before_ns = now_ns();
    measure(stage, workers, stage.busy,
            [&] { side.check(hf_backup(side.db(), destination.c_str(), nullptr, &result), "hf_backup"); });
    last_ns = now_ns() - before_ns;
    stage.backup_ns_max = std::max(stage.backup_ns_max, last_ns);
    stage.backup_bytes = result.bytes;
    ++stage.backups;
    std::filesystem::remove_all(destination);
  }
  control.stop.store(1, std::memory_order_relaxed);
}

void print(const Options& options, const Stage& stage) {
  Report report;
  report.text("engine", options.engine);
  report.count("processes", options.processes);
  report.count("threads", options.threads);
  report.count("rows", options.rows);
  report.number("rate", stage.busy.rate());
  report.number("quiet_rate", stage.quiet.rate());
  report.number("ratio", stage.busy.rate() / stage.quiet.rate());
  report.count("backups", stage.backups);
  report.count("backup_bytes", stage.backup_bytes);
  report.number("backup_seconds", static_cast<double>(stage.busy.ns) / 1e9 / static_cast<double>(stage.backups));
  report.number("backup_seconds_max", static_cast<double>(stage.backup_ns_max) / 1e9);
  report.print();
}

}  // namespace

int run_backup(const Options& options) {
  if (options.engine != "holdfast") fail("backup measures holdfast only");
  const unsigned workers = options.processes * options.threads;
  if (workers == 0 || workers > kWorkersMax || options.processes > kProcessesMax) fail("too many workers, or none");
  Shared<Stage> stage;
  Children children;
  for (unsigned process = 0; process < options.processes; ++process) {
    children.start([&] { run_writers(options, process, stage->control); });
  }
  children.start([&] { run_backups(options, workers, *stage); });
  wait_ready(stage->control, children, workers + 1);
  stage->control.go.store(1, std::memory_order_release);
  children.wait_all();
  print(options, *stage);
  return 0;
}

}  // namespace hf::bench
