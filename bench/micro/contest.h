// SPDX-License-Identifier: Apache-2.0
// Threads of processes that want the same rows, for a fixed time: how many transactions they get done, how long each
// takes and waits, and whether all are served alike. A workload is a class, one object per process:
//
//   Side                       HoldfastSide or LmdbSide
//   kTallyStep                 what one transaction adds to the tally; 0: there is no tally
//   Workload(side, options)    opens its tables; makes its data when they are absent
//   tally()                    a sum over the rows, read while nobody writes
//   Client(workload, worker)   of one thread
//   Client::run(had)           one transaction until it is committed; had.mark() when it has the rows it waits for
//   Client::retries()          attempts that were not the last of their transaction
//
// The tally before and after the run has to differ by exactly what was answered: no update lost, none done twice.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <thread>
#include <vector>

#include "histogram.h"
#include "workers.h"

namespace hf::bench {

inline constexpr unsigned kContendersMax = 256;  // threads of all processes

// One per thread, written by it.
struct alignas(64) WorkerTimes {
  Histogram transaction;  // from its begin to the answer of its commit
  Histogram wait;         // from its begin until it had the rows
};

// What the measuring process and the contenders share. Zero at first.
struct Contest {
  Control control;  // go: a Phase; csn: the tally, by the process that takes it
  std::atomic<std::uint64_t> conflicts, lock_waits, lock_handovers, deadlocks;  // during the run, by process 0
  std::atomic<std::uint64_t> hot_buckets;                                       // at its end, by process 0
  std::array<WorkerTimes, kContendersMax> times;
};

enum Phase : std::uint32_t { kBefore, kWarmUp, kMeasured };

// When a transaction had its rows. Reads no clock in a run that is not timed.
class Moment {
 public:
  explicit Moment(bool timed) : timed_(timed) {}
  void mark() {
    if (timed_) ns_ = now_ns();
  }
  void clear() { ns_ = 0; }
  std::uint64_t ns() const { return ns_; }  // 0: not marked

 private:
  bool timed_;
  std::uint64_t ns_ = 0;
};

// Relaxed commits are a clock's reading or two long: they are counted only.
inline bool is_timed(const Options& options) { return !options.relaxed; }

template <class Workload>
void contend(Workload& workload, const Options& options, unsigned worker, Contest& contest) {
  typename Workload::Client client(workload, worker);
  Control& control = contest.control;
  WorkerSlot& slot = control.slots[worker];
  WorkerTimes& times = contest.times[worker];
  const bool timed = is_timed(options);
  control.ready.fetch_add(1, std::memory_order_release);
  while (control.go.load(std::memory_order_acquire) == kBefore) sleep_ns(100'000);
  Moment had(timed);
  std::uint64_t done = 0;
  std::uint64_t begin_ns = timed ? now_ns() : 0;
  while (control.stop.load(std::memory_order_relaxed) == 0) {
    had.clear();
    client.run(had);
    slot.done.store(++done, std::memory_order_relaxed);
    slot.retries.store(client.retries(), std::memory_order_relaxed);
    if (!timed) continue;
    // One reading ends a transaction and begins the next one. What was under way when the workers were told to stop
    // counts too: a thread that starved until then is not to be missed.
    const std::uint64_t end_ns = now_ns();
    if (control.go.load(std::memory_order_relaxed) == kMeasured) {
      times.transaction.add(end_ns - begin_ns);
      if (had.ns() != 0) times.wait.add(had.ns() - begin_ns);
    }
    begin_ns = end_ns;
  }
}

// By process 0 when its threads have ended.
void publish(const Figures& first, const Figures& last, Contest& contest);

template <class Workload>
void run_contenders(const Options& options, unsigned process, Contest& contest) {
  typename Workload::Side side(options.directory, OpenMode{.relaxed = options.relaxed});
  side.make_table();
  Workload workload(side, options);
  const Figures first = side.figures();
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < options.threads; ++thread) {
    const unsigned worker = process * options.threads + thread;
    threads.emplace_back([&, worker] { contend(workload, options, worker, contest); });
  }
  for (std::thread& thread : threads) thread.join();
  if (process == 0) publish(first, side.figures(), contest);
}

// In a process of its own, because the measuring one forks and so opens nothing.
template <class Workload>
std::uint64_t take_tally(const Options& options, Contest& contest) {
  Children children;
  children.start([&] {
    typename Workload::Side side(options.directory, OpenMode{});
    side.make_table();
    contest.control.csn.store(Workload(side, options).tally(), std::memory_order_relaxed);
  });
  children.wait_all();
  return contest.control.csn.load(std::memory_order_relaxed);
}

// What was counted between two moments.
struct Interval {
  double seconds = 0;
  std::uint64_t operations = 0;
  std::uint64_t retries = 0;
  std::uint64_t operations_min = 0;  // of the thread that was served least
};

// Fails when there are more workers than there is room for, or none.
void check_contenders(const Options& options);
// Lets the workers run, and stops them; `children` have to be ready.
Interval measure_contest(const Options& options, Contest& contest, Children& children);
void print_contest(const Options& options, std::string_view workload, const Interval& interval, const Contest& contest);
// Fails unless the tally grew by `step` for each transaction answered.
void check_tally(const Contest& contest, std::uint64_t before, std::uint64_t after, std::uint64_t step);

template <class Workload>
int run_contest(const Options& options, std::string_view name) {
  check_contenders(options);
  Shared<Contest> contest;
  std::uint64_t before = 0;
  if (Workload::kTallyStep != 0) before = take_tally<Workload>(options, *contest);
  Children children;
  for (unsigned process = 0; process < options.processes; ++process) {
    children.start([&] { run_contenders<Workload>(options, process, *contest); });
  }
  wait_ready(contest->control, children, options.processes * options.threads);
  const Interval interval = measure_contest(options, *contest, children);
  if (Workload::kTallyStep != 0) {
    check_tally(*contest, before, take_tally<Workload>(options, *contest), Workload::kTallyStep);
  }
  print_contest(options, name, interval, *contest);
  return 0;
}

}  // namespace hf::bench
