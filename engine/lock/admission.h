// SPDX-License-Identifier: Apache-2.0
// Inside of `lock`: what stands against a request. Shared by acquire.cc and wait.cc.
#pragma once

#include <ctime>

#include "lock/impl.h"

namespace hf::lock {

// The first in a row's queue looks this often whether what it waits for is still alive.
inline constexpr std::uint64_t kLookFirstNs = 5'000'000;

// The clock of a few milliseconds' grain: a fifth of the price, and good enough for how long a lock is held.
inline std::uint64_t coarse_ns() noexcept {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

// What stands against a request. At most one of the two is looked for further than the first.
struct Obstacles {
  UnitRef holder = 0;  // holds the row in an incompatible mode
  UnitRef queue = 0;   // waits for it, and must not be passed
  bool first = true;   // nobody waits in front
  bool none() const noexcept { return holder == 0 && queue == 0; }
};

// Requires: the bucket's latch. `self` is the request's unit when it is linked. For a request that waits, those behind
// it do not count; for one that is new, everybody who waits stands in front.
Obstacles find_obstacles(const LockTable& table, const Bucket& bucket, const Row& row, OwnerRef me, UnitRef self,
                         Mode wanted, bool strict) noexcept;

// Who stands against a request, with what tells whether he still counts.
struct Blocker {
  OwnerRef owner = 0;
  std::uint64_t life = 0;
  std::uint64_t since_ns = 0;
  platform::OwnerId process = 0;
  std::uint64_t expires_ns = UINT64_MAX;
  bool is(const Blocker& other) const noexcept { return owner == other.owner && life == other.life; }
};

// Requires: the latch of the unit's bucket.
Blocker blocker_of(const LockTable& table, const Unit& unit) noexcept;
bool is_dead(const LockTable& table, const Blocker& blocker) noexcept;

}  // namespace hf::lock
