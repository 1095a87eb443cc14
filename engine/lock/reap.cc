// SPDX-License-Identifier: Apache-2.0
// Taking back what expired owners and dead processes hold.
#include "lock/impl.h"
#include "platform/test_point.h"

namespace hf::lock {
namespace {

using platform::OwnerId;
using platform::reach;

}  // namespace

// Takes the unit out of its row's list, if it is that owner's in that life. Nothing when it is not linked.
void Inside::drop(LockTable& table, UnitRef ref, OwnerRef owner, std::uint64_t life) noexcept {
  Unit& unit = table.region_.unit(ref);
  // Not under the latch yet: a unit that is used anew meanwhile has another life, and is not found in this bucket or
  // found to be another's.
  Bucket& bucket = table.region_.bucket(unit.hash.load(std::memory_order_relaxed));
  WakeList wakes;
  {
    const Latched latched(table, bucket);
    if (unit.owner.load(std::memory_order_relaxed) != owner) return;
    if (unit.life.load(std::memory_order_relaxed) != life) return;
    // Order: a unit that is dropped and linked is passed over by everybody and unlinked by repair().
    if (!linked(table, bucket, ref)) return;
    unit.word.store(pack({State::kDropped, Mode::kNone, Mode::kNone, 0}), std::memory_order_release);
    reach("lock.dropped");
    unlink(table, bucket, ref);
    pump_unit(table, bucket, unit, wakes);
  }
  wakes.flush();
}

void Inside::expire(LockTable& table, OwnerRef ref, std::uint64_t life) noexcept {
  OwnerRow& row = table.region_.owner(ref);
  std::uint64_t status = make_status(life, OwnerState::kRunning);
  if (row.status.compare_exchange_strong(status, make_status(life, OwnerState::kExpired), std::memory_order_seq_cst)) {
    row.expired_by.store(table.liveness_->me(), std::memory_order_release);
    table.region_.shared().expiries.fetch_add(1, std::memory_order_relaxed);
  } else if (status != make_status(life, OwnerState::kExpired)) {
    return;  // committing, or over
  }
  // Pairs with the fence of an owner that has just linked a request: one of the two sees the other.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  reach("lock.expired");
  const OwnerId process = row.process.load(std::memory_order_acquire);
  for (std::uint32_t chunk = 0; chunk < table.units_max_ / kUnitsPerChunk; ++chunk) {
    if (table.region_.unit_chunks()[chunk].load(std::memory_order_acquire) != process) continue;
    for (std::uint32_t i = 0; i < kUnitsPerChunk; ++i) {
      const UnitRef unit_ref = chunk * kUnitsPerChunk + i + 1;
      const Unit& unit = table.region_.unit(unit_ref);
      const State state = unpack(unit.word.load(std::memory_order_acquire)).state;
      if (state == State::kUnused || state == State::kMore) continue;
      if (unit.owner.load(std::memory_order_relaxed) != ref || unit.life.load(std::memory_order_relaxed) != life) {
        continue;
      }
      drop(table, unit_ref, ref, life);
    }
  }
  row.wake.fetch_add(1, std::memory_order_release);
  platform::futex_wake(row.wake, 1);
}

// Everything that a dead process had. All its requests leave their lists before the first of its chunks is free: they
// refer to its other chunks, for the further bytes of keys, and to its owner rows. Requires: the reaper latch.
void LockTable::reap_process(OwnerId process) noexcept {
  std::atomic<std::uint32_t>* const unit_chunks = region_.unit_chunks();
  const std::uint32_t count = units_max_ / kUnitsPerChunk;
  for (std::uint32_t chunk = 0; chunk < count; ++chunk) {
    if (unit_chunks[chunk].load(std::memory_order_acquire) != process) continue;
    for (UnitRef ref = chunk * kUnitsPerChunk + 1; ref <= (chunk + 1) * kUnitsPerChunk; ++ref) {
      const Unit& unit = region_.unit(ref);
      const State state = unpack(unit.word.load(std::memory_order_acquire)).state;
      if (state == State::kUnused || state == State::kMore) continue;
      Inside::drop(*this, ref, unit.owner.load(std::memory_order_relaxed), unit.life.load(std::memory_order_relaxed));
      reach("lock.reaping");
    }
  }
  for (std::uint32_t chunk = 0; chunk < count; ++chunk) {
    if (unit_chunks[chunk].load(std::memory_order_acquire) != process) continue;
    for (UnitRef ref = chunk * kUnitsPerChunk + 1; ref <= (chunk + 1) * kUnitsPerChunk; ++ref) {
      region_.unit(ref).word.store(0, std::memory_order_relaxed);
    }
    unit_chunks[chunk].store(0, std::memory_order_release);
    reach("lock.reaped");
  }
  for (std::uint32_t chunk = 0; chunk < kOwnerChunks; ++chunk) {
    std::atomic<std::uint32_t>& word = region_.shared().owner_chunks[chunk];
    if (word.load(std::memory_order_acquire) != process) continue;
    for (std::uint32_t i = 0; i < kOwnersPerChunk; ++i) {
      OwnerRow& row = region_.owner(chunk * kOwnersPerChunk + i + 1);
      row.waiting.store(0, std::memory_order_relaxed);
      row.status.store(make_status(life_of(row.status.load(std::memory_order_relaxed)), OwnerState::kIdle),
                       std::memory_order_release);
    }
    word.store(0, std::memory_order_release);
  }
}

void LockTable::reap() noexcept {
  // Only a live, stopped reaper can make this fail; whoever needs the answer asks again.
  platform::RobustLatch latch(region_.shared().reaper_latch, *liveness_);
  if (latch.acquire(Deadline::after_ms(100)) == platform::Acquired::kNo) return;
  OwnerId alive = liveness_->me();  // who was asked about last
  const auto look_at = [&](const std::atomic<std::uint32_t>& chunk) {
    const OwnerId process = chunk.load(std::memory_order_acquire);
    if (process == 0 || process == alive || process == liveness_->me()) return;
    if (liveness_->alive(process)) {
      alive = process;
    } else {
      reap_process(process);
    }
  };
  for (std::uint32_t i = 0; i < units_max_ / kUnitsPerChunk; ++i) look_at(region_.unit_chunks()[i]);
  for (std::uint32_t i = 0; i < kOwnerChunks; ++i) look_at(region_.shared().owner_chunks[i]);
  latch.release();
}

}  // namespace hf::lock
