// SPDX-License-Identifier: Apache-2.0
// The two sides of every comparison. HoldfastSide and LmdbSide have the same shape, so a workload is one template and
// does the same to both; nothing is virtual, because a point read is shorter than a few indirect calls.
//
//   Side(directory, mode)        opens, and makes the database when absent
//   make_table()                 the one table of the data set, made when absent
//   load(rows)                   the data set into the empty table, sorted, by the engine's fastest way; durable after
//   write_batch(rows, n, gen)    changes n rows in one transaction, not durable
//   Writer                       one thread's one-put transactions
//   Reader                       one thread's snapshot
//   merge_all()                  until rows_unmerged() is 0
//   rows_unmerged()              rows of the table changed since the last merge
//   figures()                    sizes and counters that the engine knows of itself
//
// Transactions of more than one put differ in shape, and each workload writes them out for both sides: with Runner and
// Transactor on the one, with Change on the other.
#pragma once

#include <cstdint>
#include <string>

#include "harness.h"

namespace hf::bench {

struct OpenMode {
  bool relaxed = false;                 // commits do not wait for the disk
  bool keep_unmerged = false;           // no background work at all: commits stay in log and overlay
  std::uint64_t overlay_bytes_max = 0;  // 0: the engine's default
};

// Zero where an engine has no such thing.
struct Figures {
  std::uint64_t syncs = 0;
  std::uint64_t commits = 0;
  std::uint64_t csn = 0;  // newest visible commit
  std::uint64_t conflicts = 0;
  std::uint64_t lock_waits = 0;
  std::uint64_t lock_handovers = 0;
  std::uint64_t deadlocks = 0;
  std::uint64_t hot_buckets = 0;
  std::uint64_t log_bytes = 0;
  std::uint64_t overlay_bytes = 0;
  std::uint64_t overlay_bytes_max = 0;
  std::uint64_t base_bytes = 0;
  std::uint64_t engine_private_bytes = 0;
};

}  // namespace hf::bench
