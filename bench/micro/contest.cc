// SPDX-License-Identifier: Apache-2.0
#include "contest.h"

#include <algorithm>
#include <memory>

namespace hf::bench {
namespace {

struct Counts {
  std::uint64_t ns = 0;
  std::vector<std::uint64_t> done, retries;  // by worker
};

Counts take_counts(const Control& control, unsigned workers) {
  Counts counts;
  for (unsigned i = 0; i < workers; ++i) {
    counts.done.push_back(control.slots[i].done.load(std::memory_order_relaxed));
    counts.retries.push_back(control.slots[i].retries.load(std::memory_order_relaxed));
  }
  counts.ns = now_ns();
  return counts;
}

Interval between(const Counts& first, const Counts& last) {
  Interval interval;
  interval.seconds = static_cast<double>(last.ns - first.ns) / 1e9;
  interval.operations_min = ~std::uint64_t{0};
  for (std::size_t i = 0; i < first.done.size(); ++i) {
    const std::uint64_t operations = last.done[i] - first.done[i];
    interval.operations += operations;
    interval.operations_min = std::min(interval.operations_min, operations);
    interval.retries += last.retries[i] - first.retries[i];
  }
  return interval;
}

void print_times(Report& report, const char* name, const Histogram& times) {
  if (times.count() == 0) return;
  const std::string prefix = name;
  report.number(prefix + "_p50_us", times.quantile_us(0.50));
  report.number(prefix + "_p99_us", times.quantile_us(0.99));
  report.number(prefix + "_max_us", times.max_us());
}

}  // namespace

void check_contenders(const Options& options) {
  const std::uint64_t workers = std::uint64_t{options.processes} * options.threads;
  if (workers == 0 || workers > kContendersMax || options.processes > kProcessesMax) fail("too many workers, or none");
}

void publish(const Figures& first, const Figures& last, Contest& contest) {
  contest.control.syncs = last.syncs - first.syncs;
  contest.control.commits = last.commits - first.commits;
  contest.conflicts = last.conflicts - first.conflicts;
  contest.lock_waits = last.lock_waits - first.lock_waits;
  contest.lock_handovers = last.lock_handovers - first.lock_handovers;
  contest.deadlocks = last.deadlocks - first.deadlocks;
  contest.hot_buckets = last.hot_buckets;
}

Interval measure_contest(const Options& options, Contest& contest, Children& children) {
  const unsigned workers = options.processes * options.threads;
  contest.control.go.store(kWarmUp, std::memory_order_release);
  sleep_ns(static_cast<std::uint64_t>(options.warmup_seconds * 1e9));
  const Counts first = take_counts(contest.control, workers);
  contest.control.go.store(kMeasured, std::memory_order_relaxed);
  sleep_ns(static_cast<std::uint64_t>(options.seconds * 1e9));
  const Counts last = take_counts(contest.control, workers);
  children.check_running();
  contest.control.stop.store(1, std::memory_order_relaxed);
  children.wait_all();
  return between(first, last);
}

void print_contest(const Options& options, std::string_view workload, const Interval& interval,
                   const Contest& contest) {
  const unsigned workers = options.processes * options.threads;
  const auto operations = static_cast<double>(interval.operations);
  const auto merged = std::make_unique<WorkerTimes>();
  for (unsigned i = 0; i < workers; ++i) {
    merged->transaction.merge(contest.times[i].transaction);
    merged->wait.merge(contest.times[i].wait);
  }

  Report report;
  report.text("workload", workload);
  report.text("engine", options.engine);
  report.text("sync", options.relaxed ? "relaxed" : "durable");
  report.count("processes", options.processes);
  report.count("threads", options.threads);
  report.number("seconds", interval.seconds);
  report.count("operations", interval.operations);
  report.number("rate", operations / interval.seconds);
  report.count("retries", interval.retries);
  if (interval.operations > 0) {
    const double attempts = operations + static_cast<double>(interval.retries);
    report.number("attempts_mean", attempts / operations);
    report.number("aborts_percent", 100 * static_cast<double>(interval.retries) / attempts);
  }
  report.number("thread_mean", operations / workers);
  report.count("thread_min", interval.operations_min);
  print_times(report, "transaction", merged->transaction);
  print_times(report, "wait", merged->wait);
  report.count("engine_commits", contest.control.commits);
  report.count("engine_syncs", contest.control.syncs);
  report.count("engine_conflicts", contest.conflicts);
  report.count("engine_lock_waits", contest.lock_waits);
  report.count("engine_lock_handovers", contest.lock_handovers);
  report.count("engine_deadlocks", contest.deadlocks);
  report.count("engine_hot_buckets", contest.hot_buckets);
  report.print();
}

void check_tally(const Contest& contest, std::uint64_t before, std::uint64_t after, std::uint64_t step) {
  std::uint64_t done = 0;
  for (const WorkerSlot& slot : contest.control.slots) done += slot.done.load(std::memory_order_relaxed);
  // Unsigned: a tally that shrinks shows as one that grew too much.
  if (after - before != done * step) {
    fail("%llu transactions were answered, but the rows show %llu by %llu", static_cast<unsigned long long>(done),
         static_cast<unsigned long long>(after - before), static_cast<unsigned long long>(step));
  }
}

}  // namespace hf::bench
