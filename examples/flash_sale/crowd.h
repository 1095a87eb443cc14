// SPDX-License-Identifier: Apache-2.0
// The processes of the sale. The parent never opens the database: every process that does is a fresh child of it, so
// that no handle crosses a fork, and a killed child takes nothing of the parent with it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "board.h"
#include "options.h"

namespace flash_sale {

// Runs `work` in a child process and waits for it. False when it did not end well; it has said why on stderr.
bool run_in_child(const std::function<void()>& work);

struct CrowdResult {
  bool ended_well = false;
  std::int64_t killed_pid = 0;  // 0: none
  double killed_at_s = 0;       // after the start
};

// Runs the workers to the end of the sale, shows progress, and kills one of them if asked to: when a third of the
// stock is sold (that is the middle of the race for it), or a third of the visits are over, whichever comes first.
CrowdResult run_crowd(const std::string& database_path, const Options& options, Board& board);

}  // namespace flash_sale
