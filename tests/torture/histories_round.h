// SPDX-License-Identifier: Apache-2.0
// A round: a fresh database, some processes with some threads that work on it, kills, a last look at everything, and
// the verdict of the checker.
#pragma once

#include <cstdint>
#include <string>

#include "histories/checker.h"
#include "torture/histories_worker.h"
#include "torture/torture.h"

namespace torture {

struct Round {
  std::string name;
  Load load;
  unsigned processes = 2;
  unsigned threads = 3;  // of each
  std::uint64_t transactions = 10'000;
  unsigned kills = 0;  // of one process, or (each fourth) of all at once
  bool stops = false;  // processes are stopped for some milliseconds now and then
  bool merges = true;  // the base is brought up to date all the time
  std::string plant;   // the bug to switch on, see platform/plant.h
};

struct RoundResult {
  histories::Report report;
  std::string failure;  // not of isolation: an answer that no honest run gives, a standstill
  std::uint64_t committed = 0;
  std::uint64_t refused = 0;
  unsigned kills = 0;
  double seconds = 0;  // of work, without the checker
  double check_seconds = 0;
  // Of the first anomaly: how many transactions had begun when the last of its own had ended.
  std::uint64_t caught_after = 0;
};

RoundResult run_round(const Round& round, const Common& common);

}  // namespace torture
