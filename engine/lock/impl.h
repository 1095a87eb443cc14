// SPDX-License-Identifier: Apache-2.0
// Inside of `lock`: what its files share. Nobody else includes this.
#pragma once

#include <array>

#include "lock/lock.h"
#include "platform/futex.h"

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace hf::lock {

// For ThreadSanitizer only, which sees the stores of its own process: where an order goes through another process, it
// is told of it here.
// Chunks: who leaves a latch has read units of others; that comes before a chunk is claimed. Who gives a chunk away has
// written to it; that comes before units of others are read, under a latch.
// Units: one of another process is linked here and there, and holds the further bytes of a key in between.
inline void announce([[maybe_unused]] const void* to) noexcept {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(static_cast<char*>(const_cast<void*>(to)) + 1);  // not the address of an atomic, whose stores end it
#endif
}
inline void observe([[maybe_unused]] const void* from) noexcept {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(static_cast<char*>(const_cast<void*>(from)) + 1);
#endif
}
inline void announce_read(const LockRegion& region) noexcept { announce(region.base); }
inline void observe_reads(const LockRegion& region) noexcept { observe(region.base); }
inline void announce_given(const LockRegion& region) noexcept { announce(region.base + 1); }
inline void observe_given(const LockRegion& region) noexcept { observe(region.base + 1); }

// Owners to wake once a latch is left: waking under it would make them run into it.
class WakeList {
 public:
  void add(OwnerRow& owner) noexcept {
    owner.wake.fetch_add(1, std::memory_order_release);
    if (count_ == owners_.size()) flush();
    owners_[count_++] = &owner;
  }
  void flush() noexcept {
    for (std::size_t i = 0; i < count_; ++i) platform::futex_wake(owners_[i]->wake, 1);
    count_ = 0;
  }

 private:
  std::array<OwnerRow*, 16> owners_;
  std::size_t count_ = 0;
};

// The layer's way into LockTable's private parts.
struct Inside {
  static const platform::Liveness& liveness(const LockTable& table) noexcept { return *table.liveness_; }
  static const platform::ProcessSlot* slots(const LockTable& table) noexcept { return table.slots_; }
  static std::uint32_t units_max(const LockTable& table) noexcept { return table.units_max_; }

  // table.cc, reap.cc
  // A unit filled with the request's row and owner, not linked; further ones hold what does not fit of the key.
  static Result<UnitRef> take_unit(LockTable& table, Owner& owner, const Row& row);
  static void give_unit(LockTable& table, Owner& owner, UnitRef ref) noexcept;
  static void drop(LockTable& table, UnitRef ref, OwnerRef owner, std::uint64_t life) noexcept;
  // The owner passed its limits: takes its locks away, whoever it belongs to. Nothing when it has begun to commit.
  static void expire(LockTable& table, OwnerRef ref, std::uint64_t life) noexcept;

  // release.cc. All require the bucket's latch.
  // Grants what can be granted of that row, or tells its first sleeper to look. The unit given counts only if it
  // is linked.
  static void pump_unit(LockTable& table, Bucket& bucket, const Unit& row, WakeList& wakes) noexcept;
  static void pump_waiters(LockTable& table, Bucket& bucket, const Unit& row, Mode group, WakeList& wakes) noexcept;
  static bool linked(const LockTable& table, const Bucket& bucket, UnitRef ref) noexcept;
  static void link_front(LockTable& table, Bucket& bucket, UnitRef ref) noexcept;
  static void link_last(LockTable& table, Bucket& bucket, UnitRef ref) noexcept;
  // False when it is not in the list.
  static bool unlink(LockTable& table, Bucket& bucket, UnitRef ref) noexcept;
  static void repair(LockTable& table, Bucket& bucket) noexcept;
  // For who took the latch from a dead process: repairs the bucket, and every other one that the dead left latched.
  static void take_over(LockTable& table, Bucket& bucket) noexcept;

  // Whether the unit is a request for that row.
  static bool is_row(const LockTable& table, const Unit& unit, const Row& row) noexcept;
  // Copies the key out of its units.
  static std::string key_of(const LockTable& table, const Unit& unit);

  // list.cc. Requires: the latch of the unit's bucket.
  static Party describe(const LockTable& table, const Unit& unit, std::uint64_t now);

  // deadlock.cc. Requires: no latch. Whether `self`, which waits, is part of a cycle; then `cycle` has its parties, the
  // caller first, and *youngest the owner of it that began last.
  static bool find_cycle(const LockTable& table, OwnerRef self, std::vector<Party>* cycle, OwnerRef* youngest);
};

// A bucket, latched.
class Latched {
 public:
  Latched(const LockTable& table, Bucket& bucket) noexcept
      : latch_(bucket.latch, table.shared().takeovers, Inside::liveness(table)), region_(table.region()) {
    // The deadline never passes: latches are held for a microsecond, and a dead holder's is taken over.
    if (latch_.acquire(Deadline::never()) == platform::Acquired::kTakenOver) {
      Inside::take_over(const_cast<LockTable&>(table), bucket);
    }
    observe_given(region_);
  }
  ~Latched() {
    announce_read(region_);
    latch_.release();
  }
  Latched(const Latched&) = delete;

 private:
  platform::RobustLatch latch_;
  const LockRegion region_;
};

}  // namespace hf::lock
