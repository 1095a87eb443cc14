// SPDX-License-Identifier: Apache-2.0
// The workloads; each prints one line of JSON. A function that takes a side name measures that side.
#pragma once

#include "harness.h"
#include "holdfast_side.h"
#include "lmdb_side.h"

namespace hf::bench {

// fdatasync after each overwrite of 200 bytes in a zero-filled file: the least that a durable commit can cost.
int run_sync(const Options& options);
// The data set into a new database in options.directory, which stays there for the workloads below.
int run_load(const Options& options);
// One-put transactions on random rows, by threads of processes, for a fixed time.
int run_put(const Options& options);
// Making a database, and joining one that another process has open.
int run_open(const Options& options);
// Opening after a SIGKILL, with a log of options.log_mib that no merge has seen.
int run_recovery(const Options& options);
// Point reads, begin + read + end, scans: Google Benchmark, both sides in one process, repetitions interleaved.
int run_read(const Options& options, int argc, char** argv);

// Locking and unlocking that nobody else is in the way of: Google Benchmark, in a new database. Holdfast only.
int run_lock(const Options& options, int argc, char** argv);
// One row, locked, read, written, committed by everybody; or through hf_transact, with options.optimistic.
int run_hot_row(const Options& options);
// One counter that everybody adds to.
int run_hot_counter(const Options& options);
// Two random rows read, one of them written. Holdfast only.
int run_pairs(const Options& options);
// Orders of five products each, the popular ones more often, in a new database.
int run_basket(const Options& options);
// From the SIGKILL of a lock's holder to the lock in other hands, options.kills times, in a new database. Holdfast
// only.
int run_killed_holder(const Options& options);
// Commits while the database is backed up, and without. Holdfast only.
int run_backup(const Options& options);

// Calls `function.template operator()<Side>()` for the side that the options name.
template <class Function>
int with_side(const Options& options, Function function) {
  if (options.engine == HoldfastSide::kName) return function.template operator()<HoldfastSide>();
  if (options.engine == LmdbSide::kName) return function.template operator()<LmdbSide>();
  fail("no engine is named %s (there are: %s, %s)", options.engine.c_str(), HoldfastSide::kName, LmdbSide::kName);
}

// For what has no other side.
inline void check_holdfast(const Options& options) {
  if (options.engine != HoldfastSide::kName) fail("only %s is measured by this command", HoldfastSide::kName);
}

}  // namespace hf::bench
