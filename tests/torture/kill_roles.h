// SPDX-License-Identifier: Apache-2.0
// What the processes of the campaign do. Each is this program, executed anew with hidden arguments, so that nothing of
// the supervisor is inherited; it dies with the supervisor.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "torture/kill_board.h"

namespace torture::kill {

// Where a process is to be killed: the n-th pass of a point.
struct Armed {
  std::uint32_t point;  // index into kPoints
  std::uint32_t pass;
};

struct RoleOptions {
  std::string role;       // worker, audit, load, locks
  std::string workspace;  // holds db/, journal/, board
  std::uint64_t seed = 0;
  std::uint32_t process = 0;
  std::uint32_t life = 0;
  std::uint32_t processes = 8;
  std::uint32_t threads = 2;
  bool background = true;          // the engine's thread
  bool fills = false;              // audit: makes the first rows before
  bool alone = false;              // audit: nobody else has the database open, and every lane is dead
  bool quiet = false;              // audit: others have it open and stand still
  bool amnesia = false;            // audit: the shared memory went with the processes
  std::vector<std::string> armed;  // "index:pass"; counted from when the process is at the point's stage

  std::string database() const { return workspace + "/db"; }
  std::string journals() const { return workspace + "/journal"; }
};

// Exit codes.
inline constexpr int kExitFault = 4;  // the board says what
inline constexpr int kExitUsage = 6;

int run_role(const RoleOptions& options);
// Begins that stage: from here on this process is killed at the points of it that it is armed with.
void begin_stage(const RoleOptions& options, Board& board, Phase phase);

int work(const RoleOptions& options, Board& board);
int audit(const RoleOptions& options, Board& board);
int load(const RoleOptions& options, Board& board);
int list_locks(const RoleOptions& options, Board& board);

}  // namespace torture::kill
