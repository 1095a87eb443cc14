// SPDX-License-Identifier: Apache-2.0
// What a lock costs that is free: locks of a transaction on random rows, given back by its end, and session locks on
// one name, by 1 and by 2 threads that never want the same. Times are per lock and unlock. Locks need no rows to
// be there.
#include <benchmark/benchmark.h>

#include <string>

#include "workloads.h"

namespace hf::bench {
namespace {

constexpr int kLocks = 16;  // of one transaction: its begin and end are shared by a few, as by a basket's rows

// Threads lock rows of ranges of their own.
void txn_lock(benchmark::State& state, HoldfastSide& side, std::uint64_t rows) {
  const auto threads = static_cast<std::uint64_t>(state.threads());
  const auto thread = static_cast<std::uint64_t>(state.thread_index());
  const std::uint64_t rows_own = rows / threads;
  Random random(kSeed + thread);
  hf_txn* txn = nullptr;
  side.check(hf_begin(side.db(), nullptr, &txn), "hf_begin");
  hf_abort(txn);
  for (auto _ : state) {
    HoldfastSide::check(txn, hf_restart(txn), "hf_restart");
    for (int i = 0; i < kLocks; ++i) {
      const Key key(thread * rows_own + random.below(rows_own));
      const int code = hf_lock(txn, side.table(), view(key), nullptr);
      if (code != HF_OK) HoldfastSide::check(txn, code, "hf_lock");
    }
    hf_abort(txn);
  }
  hf_txn_end(&txn);
  state.SetItemsProcessed(state.iterations() * kLocks);
}

void check_session(hf_session* session, int code, const char* call) {
  if (code == HF_OK) return;
  hf_error error = HF_ERROR_INIT;
  hf_session_error(session, &error);
  fail("holdfast: %s: %s: %s", call, hf_code_name(code), error.message);
}

void session_lock(benchmark::State& state, HoldfastSide& side, std::uint64_t) {
  const std::string name = "nightly report " + std::to_string(state.thread_index());
  const hf_bytes bytes{name.data(), name.size()};
  hf_session* session = nullptr;
  side.check(hf_session_open(side.db(), nullptr, &session), "hf_session_open");
  for (auto _ : state) {
    check_session(session, hf_session_lock(session, bytes, nullptr), "hf_session_lock");
    check_session(session, hf_session_unlock(session, bytes), "hf_session_unlock");
  }
  check_session(session, hf_session_close(&session), "hf_session_close");
  state.SetItemsProcessed(state.iterations());
}

using Workload = void (*)(benchmark::State&, HoldfastSide&, std::uint64_t rows);

void add(const char* name, Workload workload, HoldfastSide& side, const Options& options) {
  for (const int threads : {1, 2}) {
    benchmark::RegisterBenchmark(
        name, [workload, &side, &options](benchmark::State& state) { workload(state, side, options.rows); })
        ->UseRealTime()
        ->Threads(threads);
  }
}

}  // namespace

int run_lock(const Options& options, int argc, char** argv) {
  check_holdfast(options);
  if (options.rows < 2) fail("--rows has to be at least 2");
  make_directory(options.directory);
  HoldfastSide side(options.directory, OpenMode{});
  side.make_table();
  add("txn_lock", txn_lock, side, options);
  add("session_lock", session_lock, side, options);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  if (benchmark::RunSpecifiedBenchmarks() == 0) fail("no benchmark has such a name");
  benchmark::Shutdown();
  return 0;
}

}  // namespace hf::bench
