// SPDX-License-Identifier: Apache-2.0
// RobustLatch: mutual exclusion between threads of all processes that survives the SIGKILL of its holder.
//
// The word holds the OwnerId of the holding process, and a flag in the top bit when somebody may sleep on it:
//
//      0 --try/acquire--> owner --slow acquire--> owner|waiters --release--> 0 (and one sleeper is woken)
//                           \___________ holder dies ____________/
//                                          | a waiter finds the owner dead (Liveness::alive) within kLookAgainNs
//                                          v
//                              owner'|waiters, taken over: acquire answers kTakenOver
//
// Who may write: anybody, by compare-and-swap from a value just read. After a kill: the word names a dead life, any
// later acquire takes it over and MUST repair what the latch protects before releasing. Every sleep is bounded by
// kLookAgainNs, so a lost wake-up costs that much and no more (glibc's robust mutexes can lose one for good).
// Test point: latch.holder_dead (a waiter is about to take over).
// Not recursive: a process must never acquire twice in one thread. Fairness: none promised.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/clock.h"
#include "platform/futex.h"
#include "platform/liveness.h"

namespace hf::platform {

// The shared part. 64 bytes, so that the word never shares its cache line.
struct alignas(64) LatchWord {
  FutexWord word;                        // OwnerId | kLatchWaiters, 0 = free
  std::uint32_t pad0;                    // zero
  std::atomic<std::uint64_t> takeovers;  // how often a dead holder was replaced; statistics
  char pad1[48];                         // zero
};
static_assert(sizeof(LatchWord) == 64);

inline constexpr std::uint32_t kLatchWaiters = 0x80000000u;
inline constexpr std::uint64_t kLookAgainNs = 5'000'000;  // 5 ms: well under the second that a kill may cost

enum class Acquired { kNo, kYes, kTakenOver };

class RobustLatch {
 public:
  RobustLatch(LatchWord& shared, const Liveness& liveness) noexcept
      : RobustLatch(shared.word, shared.takeovers, liveness) {}
  // For structures that have many latches, and a line for each with what it protects.
  RobustLatch(FutexWord& word, std::atomic<std::uint64_t>& takeovers, const Liveness& liveness) noexcept
      : word_(&word), takeovers_(&takeovers), liveness_(&liveness) {}

  // Blocks until the latch is held or the deadline passes (kNo).
  [[nodiscard]] Acquired acquire(Deadline deadline) noexcept {
    std::uint32_t expected = 0;
    // Acquire pairs with release(): what the last holder wrote is visible. Release pairs with the waiters' acquire
    // load: whoever sees this id sees its generation too, and cannot take a live holder for an older, dead life.
    if (word_->compare_exchange_strong(expected, liveness_->me(), std::memory_order_acq_rel,
                                       std::memory_order_relaxed)) {
      return Acquired::kYes;
    }
    return acquire_slow(deadline);
  }

  // Takes a free latch, or one of a dead holder; never sleeps.
  [[nodiscard]] Acquired try_acquire() noexcept;

  // Requires: held by this thread.
  void release() noexcept {
    if ((word_->exchange(0, std::memory_order_release) & kLatchWaiters) != 0) futex_wake(*word_, 1);
  }

  // Whether a live process holds it now; a guess as soon as it is answered.
  // Acquire: who sees it free sees what the last holder wrote.
  OwnerId holder() const noexcept { return word_->load(std::memory_order_acquire) & ~kLatchWaiters; }

 private:
  Acquired acquire_slow(Deadline deadline) noexcept;

  FutexWord* word_;
  std::atomic<std::uint64_t>* takeovers_;
  const Liveness* liveness_;
};

}  // namespace hf::platform
