// SPDX-License-Identifier: Apache-2.0
// Round: one recorded run of the shop, and its cuts, handed to child processes, so that a crash or a hang is caught,
// and told with what makes it again.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "torture/power_recovery.h"

namespace torture::power {

inline constexpr int kChildren = 2;

struct RoundOptions {
  std::uint64_t seed = 0;
  int commits_each = 0;  // by each seller in each session
  int cuts = 0;
  std::int64_t only_cut = -1;  // this one of them; -1: all. The recording is kept then
  std::string recording;       // of an earlier round, instead of a new one
};

// What a child is at, and what it found; shared with it.
struct Slot {
  std::int64_t cut;
  std::uint64_t point;
  std::atomic<int> failed;
  char text[2048];
};
struct Shared {
  Tally tally;
  Slot slots[kChildren];
};

// A cut's point and state follow from the recording, the seed and this number.
struct Cut {
  std::uint64_t point;
  std::int64_t number;
};

std::string child_directory(const std::string& directory, int child);

class Round {
 public:
  // `directory` exists and holds one directory per child, named as child_directory() says.
  Round(const RoundOptions& options, std::string directory, Shared& shared);

  // Records, then cuts. Empty: all held.
  std::string run();
  std::uint64_t commits() const noexcept { return commits_; }

 private:
  std::string record(const std::string& root);
  std::vector<Cut> plan_cuts(const std::vector<const Event*>& events, std::uint64_t last) const;
  std::string cut_all(Disk& disk, const std::vector<Cut>& plan);
  [[noreturn]] void run_child(int slot_number, Disk& disk, const std::vector<Cut>& plan, std::size_t next,
                              std::size_t end);
  std::string report(int slot_number, int status) const;

  const RoundOptions options_;
  const std::string directory_;
  Shared& shared_;
  std::unique_ptr<Arena> arena_;
  std::shared_ptr<const History> history_;
  std::unique_ptr<Promises> promises_;
  std::uint64_t commits_ = 0;
};

}  // namespace torture::power
