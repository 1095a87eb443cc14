// SPDX-License-Identifier: Apache-2.0
// Workload: the sessions of a shop (power_shop.h) that one recording is made of, and the few commits after a recovery.
#pragma once

#include <random>
#include <string>

#include "torture/power_history.h"
#include "torture/power_recording.h"

namespace torture::power {

// Options with small memory, so that segments, merges and rolls come often. NO_THREAD unless `background`.
hf_open_options small_options(bool background);

struct WorkloadPlan {
  std::uint64_t seed = 0;
  int sessions = 2;      // one after the other
  int dying = 0;         // of them, the first: end without a close
  int threads = 3;       // that sell, in this process
  int commits_each = 0;  // by each of them, per session
  bool second_process = false;
  bool large_rows = false;  // records that go round the log's ring
  bool background = true;
  std::string region_copy;  // where a copy of the shared memory of a session goes; empty: nowhere
};

// Runs the shop at `path` to its end. Empty, or what went wrong.
std::string run_workload(const WorkloadPlan& plan, const std::string& path, Recorder& recorder);

// A few commits by one thread to a database whose newest commit is `csn` and which holds `tables`: rows put and erased,
// relaxed and durable, with a merge now and then. Adds them to the history; the recorder may be null.
std::string run_few(hf_db* db, std::mt19937_64& random, int commits, History* history, Recorder* recorder);

}  // namespace torture::power
