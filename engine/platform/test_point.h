// SPDX-License-Identifier: Apache-2.0
// Test points: named places in the engine where a test can pause, kill or fail a process. Compiled to nothing unless
// HOLDFAST_TEST_POINTS is defined to 1 (tests and sanitizer builds; never benchmarks or installed builds).
//
//   reach("commit.appended");                          a race or a kill can be forced here
//   if (int e = fault("file.sync")) return errno...;   an error number can be injected here
//
// Arm them by code (arm) or by environment, for child processes: HOLDFAST_TEST_POINT="name:action[:n]" with action
// kill (SIGKILL at the n-th pass, 1 is the first), stop (SIGSTOP, likewise), sleep_ms=N or errno=N (both at the n-th
// pass and every later). Without n it is 1. Several points are parted by commas; a name has one action, the last given.
// A malformed text aborts: a test with a misspelled point must not pass.
#pragma once

#include <functional>
#include <string>

#ifndef HOLDFAST_TEST_POINTS
#define HOLDFAST_TEST_POINTS 0
#endif

namespace hf::platform {

inline constexpr bool kTestPoints = HOLDFAST_TEST_POINTS != 0;

namespace detail {
void reach_armed(const char* name) noexcept;
int fault_armed(const char* name) noexcept;
bool any_armed() noexcept;  // one relaxed load
}  // namespace detail

inline void reach(const char* name) noexcept {
  if constexpr (kTestPoints) {
    if (detail::any_armed()) detail::reach_armed(name);
  }
}

// 0, or the error number that the test wants this call to fail with.
inline int fault(const char* name) noexcept {
  if constexpr (kTestPoints) {
    if (detail::any_armed()) return detail::fault_armed(name);
  }
  return 0;
}

// For tests. `spec` as in the environment; its points are added to those armed before, and count from zero; an empty
// one disarms all. Thread-safe. Passing a point takes no lock, so a process may fork at any moment.
void arm(const std::string& spec);
// Calls `hook` at every pass of the point `name` (any thread); an empty hook disarms it. A pass that began before
// the disarming may still be inside the hook: join its thread before what the hook refers to goes away.
void arm_hook(const std::string& name, std::function<void()> hook);

}  // namespace hf::platform
