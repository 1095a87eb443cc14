// SPDX-License-Identifier: Apache-2.0
#include "platform/latch.h"

#include <cassert>

#include "platform/test_point.h"

namespace hf::platform {
namespace {

// What the latches here protect is held for about a microsecond: a wait of that size costs less than a sleep.
constexpr int kSpins = 100;

void pause_briefly() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

bool take_free(FutexWord& word, std::uint32_t taken) noexcept {
  std::uint32_t expected = 0;
  // Acquire pairs with release(); release: see RobustLatch::acquire().
  return word.compare_exchange_strong(expected, taken, std::memory_order_acq_rel, std::memory_order_relaxed);
}

// Replaces the holder that `seen` names when it is dead. The exact compare makes one of all waiters win, and a dead
// life's id is never stored again, so the value cannot have come back meanwhile.
bool take_from_dead(FutexWord& word, std::atomic<std::uint64_t>& takeovers, const Liveness& liveness,
                    std::uint32_t seen) noexcept {
  if (liveness.alive(seen & ~kLatchWaiters)) return false;
  reach("latch.holder_dead");
  // Others may sleep on the word and nobody knows: the flag stays set, so that release() wakes one.
  if (!word.compare_exchange_strong(seen, liveness.me() | kLatchWaiters, std::memory_order_acq_rel,
                                    std::memory_order_relaxed)) {
    return false;
  }
  takeovers.fetch_add(1, std::memory_order_relaxed);  // a statistic; pairs with nothing
  return true;
}

}  // namespace

Acquired RobustLatch::try_acquire() noexcept {
  assert(liveness_->me() != 0);
  if (take_free(*word_, liveness_->me())) return Acquired::kYes;
  // Acquire: the holder raised its generation before it stored its id here, and alive() has to see that.
  const std::uint32_t seen = word_->load(std::memory_order_acquire);
  if (seen == 0) return take_free(*word_, liveness_->me()) ? Acquired::kYes : Acquired::kNo;
  return take_from_dead(*word_, *takeovers_, *liveness_, seen) ? Acquired::kTakenOver : Acquired::kNo;
}

Acquired RobustLatch::acquire_slow(Deadline deadline) noexcept {
  const OwnerId me = liveness_->me();
  assert(me != 0);
  for (int spin = 0; spin < kSpins; ++spin) {
    // Relaxed: only a hint, take_free() decides.
    if (word_->load(std::memory_order_relaxed) == 0 && take_free(*word_, me)) return Acquired::kYes;
    pause_briefly();
  }

  std::uint32_t taken = me;
  for (;;) {
    std::uint32_t seen = word_->load(std::memory_order_acquire);  // acquire: as in try_acquire()
    if (seen == 0) {
      if (take_free(*word_, taken)) return Acquired::kYes;
      continue;
    }
    const std::uint64_t wait_ns = deadline.remaining_ns(kLookAgainNs);
    if (wait_ns == 0)
      return take_from_dead(*word_, *takeovers_, *liveness_, seen) ? Acquired::kTakenOver : Acquired::kNo;

    if ((seen & kLatchWaiters) == 0) {
      // Relaxed: the flag publishes nothing, and futex_wait() compares the word again inside the kernel.
      if (!word_->compare_exchange_strong(seen, seen | kLatchWaiters, std::memory_order_relaxed)) continue;
      seen |= kLatchWaiters;
    }
    // From now on this thread may have eaten the only wake-up while others sleep on: it takes the word with the flag.
    taken = me | kLatchWaiters;
    futex_wait(*word_, seen, wait_ns);
    // Relaxed: an unchanged word means the wait ended by time, or the same process took the latch again; asking
    // about it is right in both cases, and a stale answer only costs a turn of the loop.
    if (word_->load(std::memory_order_relaxed) == seen && take_from_dead(*word_, *takeovers_, *liveness_, seen)) {
      return Acquired::kTakenOver;
    }
  }
}

}  // namespace hf::platform
