// SPDX-License-Identifier: Apache-2.0
// The shop that runs while a recording is made: sellers, any number of threads in any processes, and one keeper, who
// changes tables. Every commit is told to the recorder with its csn and changes, every answer that promises durability
// as well.
#pragma once

#include <atomic>
#include <random>
#include <string>

#include "torture/power_history.h"
#include "torture/power_recording.h"

namespace torture::power {

hf_bytes bytes_of(std::string_view text);
// Random bytes, or all the same one: both what compresses and what looks like anything.
std::string random_value(std::mt19937_64& random, std::size_t size);

struct SellerPlan {
  std::uint64_t seed = 0;
  int commits = 0;
  bool large_rows = false;  // records that go round the log's ring
};
// One thread's work. Empty, or what went wrong. `id` differs between all sellers of a recording.
std::string sell(hf_db* db, Recorder& recorder, const SellerPlan& plan, std::uint64_t id);

// Commits by one thread, none of which waits for the disk.
std::string sell_relaxed(hf_db* db, Recorder& recorder, std::uint64_t seed, int commits);

// Makes the sellers' tables.
std::string make_tables(hf_db* db, Recorder& recorder);
// Makes, fills, loads and drops tables until `stop`. One thread at a time in all processes: such changes do not tell
// their csn; it is the newest one that nobody else had, of those between before and after. `name` begins their names.
std::string keep(hf_db* db, Recorder& recorder, std::uint64_t seed, const std::string& name,
                 const std::atomic<bool>& stop);

}  // namespace torture::power
