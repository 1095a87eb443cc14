// SPDX-License-Identifier: Apache-2.0
// A process holds a row's lock and is killed while the threads of other processes wait for it: the time from just
// before kill(2) to the moment that the next one has the lock. Then each waiter gets it in turn, and a new holder
// comes.
//
// Between the kill and the grant nothing runs but the waiters: they sleep on futexes, and the queue is counted only
// before.
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "platform/futex.h"
#include "workers.h"
#include "workloads.h"

namespace hf::bench {
namespace {

constexpr std::uint64_t kRow = 1;
constexpr std::uint64_t kWaitMax_ms = 20'000;  // of a lock; as good as for ever, but it ends
constexpr std::uint64_t kPatience_ns = 30'000'000'000;
constexpr std::uint64_t kPoll_ns = 500'000;
constexpr std::uint64_t kFutexBound_ns = 100'000'000;
constexpr std::uint64_t kSettle_ns = 5'000'000;   // a waiter that is counted may still be on its way to sleep
constexpr std::uint64_t kSpread_ns = 20'000'000;  // kills meet waiters at any point of what they do periodically

// Zero at first. Times are of the clock that all processes share.
struct Stage {
  Control control;                                 // ready: waiters; go: number of the round, waited on as a futex
  std::atomic<std::uint32_t> held{0};              // the holder: it has the row
  std::atomic<std::uint32_t> counting{0};          // measuring process: `queued` is to be kept up to date; a futex
  std::atomic<std::uint32_t> queued{0};            // process 0: who waits for a lock now
  std::atomic<std::uint64_t> granted_first_ns{0};  // of this round; whoever was first
  std::atomic<std::uint32_t> granted{0};           // of all rounds; every waiter adds 1 when it has let go again
};

[[noreturn]] void hold(const Options& options, Stage& stage) {
  HoldfastSide side(options.directory, OpenMode{});
  side.make_table();
  hf_txn* txn = nullptr;
  side.check(hf_begin(side.db(), nullptr, &txn), "hf_begin");
  HoldfastSide::check(txn, hf_lock(txn, side.table(), view(Key(kRow)), nullptr), "hf_lock");
  stage.held.store(1, std::memory_order_release);
  for (;;) pause();
}

void wait_for_lock(HoldfastSide& side, Stage& stage) {
  hf_lock_options lock = HF_LOCK_OPTIONS_INIT;
  lock.timeout_ms = kWaitMax_ms;
  hf_txn* txn = nullptr;
  side.check(hf_begin(side.db(), nullptr, &txn), "hf_begin");
  hf_abort(txn);
  stage.control.ready.fetch_add(1, std::memory_order_release);
  for (std::uint32_t round = 1;; ++round) {
    std::uint32_t now;
    while ((now = stage.control.go.load(std::memory_order_acquire)) < round) {
      platform::futex_wait(stage.control.go, now, kFutexBound_ns);
    }
    if (stage.control.stop.load(std::memory_order_relaxed) != 0) break;
    HoldfastSide::check(txn, hf_restart(txn), "hf_restart");
    HoldfastSide::check(txn, hf_lock(txn, side.table(), view(Key(kRow)), &lock), "hf_lock");
    std::uint64_t none = 0;
    stage.granted_first_ns.compare_exchange_strong(none, now_ns(), std::memory_order_relaxed);
    hf_abort(txn);
    stage.granted.fetch_add(1, std::memory_order_release);
  }
  hf_txn_end(&txn);
}

int count_waiter(const hf_lock_info* info, void* count) {
  if (info->mode_wanted != 0) ++*static_cast<std::uint32_t*>(count);
  return HF_OK;
}

void run_waiters(const Options& options, unsigned process, Stage& stage) {
  HoldfastSide side(options.directory, OpenMode{});
  side.make_table();
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < options.threads; ++thread) {
    threads.emplace_back([&] { wait_for_lock(side, stage); });
  }
  while (process == 0 && stage.control.stop.load(std::memory_order_relaxed) == 0) {
    platform::futex_wait(stage.counting, 0, kFutexBound_ns);
    if (stage.counting.load(std::memory_order_relaxed) == 0) continue;
    std::uint32_t queued = 0;
    side.check(hf_locks(side.db(), count_waiter, &queued), "hf_locks");
    stage.queued.store(queued, std::memory_order_relaxed);
    sleep_ns(kPoll_ns);
  }
  for (std::thread& thread : threads) thread.join();
}

template <class Condition>
void wait_until(Children& children, const char* what, Condition condition) {
  const std::uint64_t end_ns = now_ns() + kPatience_ns;
  while (!condition()) {
    children.check_running();
    if (now_ns() > end_ns) fail("it took too long until %s", what);
    sleep_ns(kPoll_ns);
  }
}

void start_round(Stage& stage, std::uint32_t round) {
  stage.control.go.store(round, std::memory_order_release);
  platform::futex_wake(stage.control.go, platform::kWakeAll);
}

void count_queue(Stage& stage, bool on) {
  stage.queued.store(0, std::memory_order_relaxed);
  stage.counting.store(on ? 1 : 0, std::memory_order_relaxed);
  platform::futex_wake(stage.counting, platform::kWakeAll);
}

// From the kill to the next grant.
std::uint64_t run_round(const Options& options, Stage& stage, Children& waiters, std::uint32_t round, Random& random) {
  const std::uint32_t count = options.processes * options.threads;
  stage.held.store(0, std::memory_order_relaxed);
  stage.granted_first_ns.store(0, std::memory_order_relaxed);
  Children holder;
  holder.start([&] { hold(options, stage); });
  wait_until(holder, "a process held the lock", [&] { return stage.held.load(std::memory_order_acquire) != 0; });
  start_round(stage, round);
  count_queue(stage, true);
  wait_until(waiters, "all waited", [&] { return stage.queued.load(std::memory_order_relaxed) == count; });
  count_queue(stage, false);
  sleep_ns(kSettle_ns + random.below(kSpread_ns));
  if (stage.granted_first_ns.load(std::memory_order_relaxed) != 0) fail("a waiter got the lock from a living holder");

  const std::uint64_t kill_ns = now_ns();
  holder.kill_all();
  wait_until(waiters, "all had the lock",
             [&] { return stage.granted.load(std::memory_order_acquire) == round * count; });
  return stage.granted_first_ns.load(std::memory_order_relaxed) - kill_ns;
}

void print(const Options& options, const std::vector<std::uint64_t>& times_us) {
  std::vector<std::uint64_t> sorted = times_us;
  std::sort(sorted.begin(), sorted.end());
  Report report;
  report.text("workload", "killed-holder");
  report.text("engine", options.engine);
  report.count("processes", options.processes);
  report.count("threads", options.threads);
  report.count("kills", sorted.size());
  report.number("median_ms", static_cast<double>(sorted[sorted.size() / 2]) / 1e3);
  report.number("max_ms", static_cast<double>(sorted.back()) / 1e3);
  report.counts("times_us", times_us.data(), times_us.size());
  report.print();
}

}  // namespace

int run_killed_holder(const Options& options) {
  check_holdfast(options);
  const unsigned count = options.processes * options.threads;
  if (count == 0 || count > kWorkersMax || options.processes > kProcessesMax) fail("too many workers, or none");
  if (options.kills == 0) fail("--kills has to be at least 1");
  make_directory(options.directory);
  Shared<Stage> stage;
  Children waiters;
  for (unsigned process = 0; process < options.processes; ++process) {
    waiters.start([&] { run_waiters(options, process, *stage); });
  }
  wait_ready(stage->control, waiters, count);
  Random random(kSeed);
  std::vector<std::uint64_t> times_us;
  for (std::uint32_t round = 1; round <= options.kills; ++round) {
    times_us.push_back(run_round(options, *stage, waiters, round, random) / 1'000);
  }
  stage->control.stop.store(1, std::memory_order_relaxed);
  start_round(*stage, options.kills + 1);
  waiters.wait_all();
  print(options, times_us);
  return 0;
}

}  // namespace hf::bench
