// SPDX-License-Identifier: Apache-2.0
// Watches what kills do to the others: how long they stand still, and whether somebody is stuck.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "torture/kill_board.h"
#include "torture/kill_children.h"
#include "torture/kill_report.h"

namespace torture::kill {

inline constexpr std::uint64_t kMsNs = 1'000'000;

struct WatchLimits {
  std::uint64_t stuck_ns = 5'000 * kMsNs;
  std::uint64_t opening_ns = 15'000 * kMsNs;
};

class Watch {
 public:
  Watch(Board& board, std::uint32_t threads, const WatchLimits& limits, KillTable& table)
      : board_(board), threads_(threads), limits_(limits), table_(table) {}

  // A process was killed at that mark; it is counted, and measured once every other worker's lanes have committed.
  // Without `measured`, as when nobody is to go on, it is counted only.
  void killed(std::uint64_t mark, std::uint32_t process, const std::string& role, const std::string& what,
              bool measured, const std::vector<Child>& workers);
  void forget_measures() { pending_.clear(); }
  // Settles what can be settled. "" or who is stuck.
  std::string look(const std::vector<Child>& workers);
  bool settled() const noexcept { return pending_.empty(); }

 private:
  struct Pending {
    std::uint64_t mark;
    std::uint64_t ns;
    std::string role;
    std::string what;
    std::vector<std::uint32_t> lives;  // of the workers; 0: is not waited for
  };
  bool settle(Pending& pending, const std::vector<Child>& workers);
  std::string stuck_worker(const std::vector<Child>& workers) const;

  Board& board_;
  const std::uint32_t threads_;
  const WatchLimits limits_;
  KillTable& table_;
  std::deque<Pending> pending_;
};

}  // namespace torture::kill
