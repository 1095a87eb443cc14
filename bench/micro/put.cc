// SPDX-License-Identifier: Apache-2.0
// Commits of one put each on uniformly random rows. Counts per second, sizes and memory are taken while it runs, so the
// same workload serves short rates, the long sustained run, and the memory row.
#include <algorithm>
#include <thread>
#include <vector>

#include "workers.h"
#include "workloads.h"

namespace hf::bench {
namespace {

constexpr std::uint64_t kSecond_ns = 1'000'000'000;
constexpr std::uint64_t kFiguresInterval_ns = 200'000'000;

template <class Side>
void work(Side& side, const Options& options, unsigned worker, Control& control) {
  typename Side::Writer writer(side);
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
  slot.retries.store(writer.retries(), std::memory_order_relaxed);
}

void publish(const Figures& first, const Figures& now, Control& control) {
  control.syncs.store(now.syncs - first.syncs, std::memory_order_relaxed);
  control.commits.store(now.commits - first.commits, std::memory_order_relaxed);
  raise(control.log_bytes_max, now.log_bytes);
  raise(control.overlay_bytes_seen, now.overlay_bytes);
  raise(control.overlay_bytes_max, now.overlay_bytes_max);
  raise(control.base_bytes_max, now.base_bytes);
  raise(control.engine_private_bytes, now.engine_private_bytes);
}

template <class Side>
void run_process(const Options& options, unsigned process, Control& control) {
  Side side(options.directory, OpenMode{.relaxed = options.relaxed});
  side.make_table();
  const Figures first = side.figures();
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < options.threads; ++thread) {
    threads.emplace_back([&, worker = process * options.threads + thread] { work(side, options, worker, control); });
  }
  while (control.stop.load(std::memory_order_relaxed) == 0) {
    if (process == 0) publish(first, side.figures(), control);
    if (options.memory) raise(control.private_bytes[process], private_bytes());
    sleep_ns(kFiguresInterval_ns);
  }
  for (std::thread& thread : threads) thread.join();
  if (process == 0) publish(first, side.figures(), control);
}

struct Run {
  Sample first, last;
  std::vector<std::uint64_t> per_second;
  std::uint64_t directory_bytes_max = 0;
};

Run measure(const Options& options, const Control& control, Children& children) {
  const unsigned workers = options.processes * options.threads;
  Run run;
  sleep_ns(static_cast<std::uint64_t>(options.warmup_seconds * 1e9));
  run.first = run.last = take_sample(control, workers);
  const std::uint64_t end_ns = run.first.ns + static_cast<std::uint64_t>(options.seconds * 1e9);
  while (run.last.ns < end_ns) {
    const std::uint64_t tick_ns = std::min(end_ns, run.first.ns + (run.per_second.size() + 1) * kSecond_ns);
    sleep_ns(tick_ns - std::min(tick_ns, now_ns()));
    const Sample sample = take_sample(control, workers);
    const std::uint64_t elapsed_ns = sample.ns - run.last.ns;
    // Normalized, because a sleep may end late; a rest of less than half a second says nothing.
    if (elapsed_ns > kSecond_ns / 2) {
      run.per_second.push_back((sample.done - run.last.done) * kSecond_ns / elapsed_ns);
    }
    run.last = sample;
    run.directory_bytes_max = std::max(run.directory_bytes_max, disk_use(options.directory).allocated);
    children.check_running();
  }
  return run;
}

void print(const Options& options, const Run& run, const Control& control) {
  const double seconds = static_cast<double>(run.last.ns - run.first.ns) / 1e9;
  const std::uint64_t operations = run.last.done - run.first.done;
  std::uint64_t retries = 0;
  for (const WorkerSlot& slot : control.slots) retries += slot.retries.load();
  std::uint64_t private_bytes_max = 0;
  for (const auto& bytes : control.private_bytes) private_bytes_max = std::max(private_bytes_max, bytes.load());

  Report report;
  report.text("engine", options.engine);
  report.text("sync", options.relaxed ? "relaxed" : "durable");
  report.count("processes", options.processes);
  report.count("threads", options.threads);
  report.count("rows", options.rows);
  report.number("seconds", seconds);
  report.count("operations", operations);
  report.number("rate", static_cast<double>(operations) / seconds);
  report.counts("per_second", run.per_second.data(), run.per_second.size());
  report.count("retries", retries);
  report.count("directory_bytes_max", run.directory_bytes_max);
  report.count("engine_commits", control.commits);
  report.count("engine_syncs", control.syncs);
  report.count("log_bytes_max", control.log_bytes_max);
  report.count("overlay_bytes_max", control.overlay_bytes_seen);
  report.count("overlay_bytes_budget", control.overlay_bytes_max);
  report.count("base_bytes_max", control.base_bytes_max);
  if (options.memory) {
    report.count("private_bytes_max", private_bytes_max);
    report.count("engine_private_bytes", control.engine_private_bytes);
  }
  report.print();
}

}  // namespace

int run_put(const Options& options) {
  return with_side(options, [&]<class Side>() {
    const unsigned workers = options.processes * options.threads;
    if (workers == 0 || workers > kWorkersMax || options.processes > kProcessesMax) fail("too many workers, or none");
    SharedControl control;
    Children children;
    for (unsigned process = 0; process < options.processes; ++process) {
      children.start([&] { run_process<Side>(options, process, *control); });
    }
    wait_ready(*control, children, workers);
    control->go.store(1, std::memory_order_release);
    const Run run = measure(options, *control, children);
    control->stop.store(1, std::memory_order_relaxed);
    children.wait_all();
    print(options, run, *control);
    return 0;
  });
}

}  // namespace hf::bench
