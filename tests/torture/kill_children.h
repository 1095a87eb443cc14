// SPDX-License-Identifier: Apache-2.0
// The supervisor's processes: starting, killing, burying.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "torture/kill_roles.h"

namespace torture::kill {

struct Child {
  pid_t pid = 0;  // 0: nobody there
  std::uint32_t process = 0;
  std::uint32_t life = 0;
  std::uint64_t spawned_ns = 0;
  int end = 0;                         // once it has ended: exit code, or 128 + the signal
  std::uint64_t kill_mark = 0;         // of the supervisor's own kill, plus one; 0: none
  std::uint64_t told_to_leave_ns = 0;  // by SIGTERM; 0: not
  std::uint64_t kill_at_ns = 0;        // 0: not yet chosen
  std::vector<Armed> armed;

  bool running() const noexcept { return pid != 0; }
};
inline constexpr int kEndKilled = 128 + 9;

// Runs this program anew in that role.
void spawn(Child& child, RoleOptions options);
// Whether it has ended; then `end` says how, and pid is 0.
bool reap(Child& child);
// Waits for its end. False: it runs on after that time.
bool wait_for(Child& child, std::uint64_t timeout_ms);
void kill_and_reap(Child& child);
// Stacks of all threads, where there is a gdb; to standard error.
void print_stacks(const Child& child);

}  // namespace torture::kill
