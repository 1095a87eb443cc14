// SPDX-License-Identifier: Apache-2.0
// What the sale prints: a line of progress while it runs, a table (or JSON) and a verdict at its end.
#pragma once

#include <cstdint>

#include "board.h"
#include "crowd.h"
#include "options.h"

namespace flash_sale {

class ProgressPrinter {
 public:
  explicit ProgressPrinter(const Options& options) : options_(options) {}
  void print(const Board& board, std::uint64_t elapsed_ns);

 private:
  const Options& options_;
  std::uint64_t commits_before_ = 0;
  std::uint64_t elapsed_before_ns_ = 0;
};

// Prints the result; true when it is as it has to be: every audit exact, or, naive, when it did oversell.
bool print_report(const Options& options, const Board& board, const CrowdResult& crowd);

}  // namespace flash_sale
