// SPDX-License-Identifier: Apache-2.0
// The lists of the buckets: linking, unlinking, granting what waits, and the repair after a kill.
#include <cstring>

#include "lock/admission.h"
#include "platform/test_point.h"

namespace hf::lock {
namespace {

using platform::reach;

bool same_row(const LockTable& table, const Unit& a, const Unit& b) noexcept {
  if (a.hash.load(std::memory_order_relaxed) != b.hash.load(std::memory_order_relaxed) || a.table != b.table ||
      a.key_size != b.key_size || std::memcmp(a.key, b.key, std::min<std::size_t>(a.key_size, kUnitKeySize)) != 0) {
    return false;
  }
  const LockRegion region = table.region();
  std::size_t left = a.key_size > kUnitKeySize ? a.key_size - kUnitKeySize : 0;
  for (UnitRef x = a.more, y = b.more; left > 0;) {
    const UnitMore& of_a = region.more(x);
    const UnitMore& of_b = region.more(y);
    observe(&of_a);
    observe(&of_b);
    const std::size_t size = std::min<std::size_t>(left, kUnitMoreSize);
    const bool same = std::memcmp(of_a.key, of_b.key, size) == 0;
    x = of_a.more;
    y = of_b.more;
    announce(&of_a);
    announce(&of_b);
    if (!same) return false;
    left -= size;
  }
  return true;
}

}  // namespace

bool Inside::is_row(const LockTable& table, const Unit& unit, const Row& row) noexcept {
  if (unit.hash.load(std::memory_order_relaxed) != row.hash || unit.table != row.table ||
      unit.key_size != row.key.size() ||
      std::memcmp(unit.key, row.key.data(), std::min<std::size_t>(row.key.size(), kUnitKeySize)) != 0) {
    return false;
  }
  UnitRef more = unit.more;
  for (std::size_t at = kUnitKeySize; at < row.key.size(); at += kUnitMoreSize) {
    const UnitMore& part = table.region_.more(more);
    observe(&part);
    more = part.more;
    const std::size_t size = std::min<std::size_t>(row.key.size() - at, kUnitMoreSize);
    const bool same = std::memcmp(part.key, row.key.data() + at, size) == 0;
    announce(&part);
    if (!same) return false;
  }
  return true;
}

std::string Inside::key_of(const LockTable& table, const Unit& unit) {
  std::string key(unit.key, std::min<std::size_t>(unit.key_size, kUnitKeySize));
  for (UnitRef more = unit.more; key.size() < unit.key_size;) {
    const UnitMore& part = table.region_.more(more);
    observe(&part);
    key.append(part.key, std::min<std::size_t>(unit.key_size - key.size(), kUnitMoreSize));
    more = part.more;
    announce(&part);
  }
  return key;
}

// --- lists -----------------------------------------------------------------------------------------------------------

bool Inside::linked(const LockTable& table, const Bucket& bucket, UnitRef ref) noexcept {
  UnitRef at = bucket.first.load(std::memory_order_relaxed);
  while (at != 0 && at != ref) at = table.region_.unit(at).next.load(std::memory_order_relaxed);
  return at != 0;
}

void Inside::link_front(LockTable& table, Bucket& bucket, UnitRef ref) noexcept {
  const UnitRef first = bucket.first.load(std::memory_order_relaxed);
  table.region_.unit(ref).next.store(first, std::memory_order_release);
  // Release, here and below: the order in which a kill may cut the stores off.
  if (first == 0) bucket.last.store(ref, std::memory_order_release);
  bucket.first.store(ref, std::memory_order_release);
  reach("lock.linked");
}

void Inside::link_last(LockTable& table, Bucket& bucket, UnitRef ref) noexcept {
  const UnitRef last = bucket.last.load(std::memory_order_relaxed);
  table.region_.unit(ref).next.store(0, std::memory_order_release);
  if (bucket.first.load(std::memory_order_relaxed) == 0) {
    bucket.first.store(ref, std::memory_order_release);
  } else {
    Unit& before = table.region_.unit(last);
    observe(&before);
    before.next.store(ref, std::memory_order_release);
    announce(&before);
  }
  reach("lock.linked_last");
  bucket.last.store(ref, std::memory_order_release);
}

bool Inside::unlink(LockTable& table, Bucket& bucket, UnitRef ref) noexcept {
  UnitRef before = 0;
  UnitRef at = bucket.first.load(std::memory_order_relaxed);
  while (at != 0 && at != ref) {
    before = at;
    at = table.region_.unit(at).next.load(std::memory_order_relaxed);
  }
  if (at == 0) return false;
  const UnitRef next = table.region_.unit(ref).next.load(std::memory_order_relaxed);
  if (before == 0) {
    bucket.first.store(next, std::memory_order_release);
  } else {
    Unit& unit = table.region_.unit(before);
    observe(&unit);
    unit.next.store(next, std::memory_order_release);
    announce(&unit);
  }
  reach("lock.unlinked");
  if (next == 0) bucket.last.store(before, std::memory_order_release);
  return true;
}

// --- granting --------------------------------------------------------------------------------------------------------

void Inside::pump_unit(LockTable& table, Bucket& bucket, const Unit& row, WakeList& wakes) noexcept {
  const LockRegion region = table.region_;
  // What is held, and who of the holders wants more.
  Mode group = Mode::kNone;
  std::size_t holders = 0;
  Unit* upgrading = nullptr;
  bool waiters = false;
  for (UnitRef at = bucket.first.load(std::memory_order_relaxed); at != 0;) {
    Unit& unit = region.unit(at);
    at = unit.next.load(std::memory_order_relaxed);
    const RequestWord word = unpack(unit.word.load(std::memory_order_relaxed));
    if (word.state == State::kDropped || !same_row(table, unit, row)) continue;
    if (word.state == State::kWaiting) {
      waiters = true;
      continue;
    }
    group = join(group, word.held);
    ++holders;
    if (word.state == State::kUpgrading && upgrading == nullptr) upgrading = &unit;
  }
  if (upgrading != nullptr) {
    const RequestWord word = unpack(upgrading->word.load(std::memory_order_relaxed));
    if (holders > 1) return;  // modes that need an upgrade are incompatible with everybody else's
    upgrading->word.store(pack({State::kGranted, word.wanted, Mode::kNone, 0}), std::memory_order_release);
    reach("lock.upgraded");
    wakes.add(region.owner(upgrading->owner.load(std::memory_order_relaxed)));
    return;
  }
  if (waiters && group != Mode::kExclusive) pump_waiters(table, bucket, row, group, wakes);
}

// In order of arrival, as far as they are compatible with what is held.
void Inside::pump_waiters(LockTable& table, Bucket& bucket, const Unit& row, Mode group, WakeList& wakes) noexcept {
  const LockRegion region = table.region_;
  const std::uint64_t now = monotonic_ns();
  bool handed = false;
  for (UnitRef at = bucket.first.load(std::memory_order_relaxed); at != 0;) {
    const UnitRef ref = at;
    Unit& unit = region.unit(ref);
    at = unit.next.load(std::memory_order_relaxed);
    const RequestWord word = unpack(unit.word.load(std::memory_order_relaxed));
    if (word.state != State::kWaiting || !same_row(table, unit, row)) continue;
    if (!compatible(group, word.wanted)) return;
    OwnerRow& owner = region.owner(unit.owner.load(std::memory_order_relaxed));
    const std::uint64_t since = unit.since_ns.load(std::memory_order_relaxed);
    const bool old = LockTable::is_due(bucket, since, now);
    if (!handed && !old && (word.flags & kFlagStrict) == 0) {
      // A young one is only told to look, so that who runs already may take the row meanwhile.
      if ((word.flags & kFlagWoken) == 0) {
        unit.word.store(pack({State::kWaiting, Mode::kNone, word.wanted, kFlagWoken}), std::memory_order_release);
        wakes.add(owner);
      }
      return;
    }
    const platform::OwnerId process = owner.process.load(std::memory_order_acquire);
    if (process != table.liveness_->me() && !table.liveness_->alive(process)) {
      // A dead one is dropped at once; its unit goes with its chunk.
      unit.word.store(pack({State::kDropped, Mode::kNone, Mode::kNone, 0}), std::memory_order_release);
      unlink(table, bucket, ref);
      continue;
    }
    observe(&unit);
    unit.since_ns.store(coarse_ns(), std::memory_order_relaxed);
    announce(&unit);
    unit.word.store(pack({State::kGranted, word.wanted, Mode::kNone, 0}), std::memory_order_release);
    reach("lock.handed");
    table.region_.shared().handovers.fetch_add(1, std::memory_order_relaxed);
    bucket.handed_ns.store(now, std::memory_order_relaxed);
    wakes.add(owner);
    group = join(group, word.wanted);
    handed = true;
    if (group == Mode::kExclusive) return;
  }
}

// --- repair ----------------------------------------------------------------------------------------------------------

// See format.h. Everything here may be cut off and done again.
void Inside::repair(LockTable& table, Bucket& bucket) noexcept {
  const LockRegion region = table.region_;
  UnitRef last = 0;
  for (UnitRef at = bucket.first.load(std::memory_order_relaxed); at != 0;) {
    const UnitRef next = region.unit(at).next.load(std::memory_order_relaxed);
    const State state = unpack(region.unit(at).word.load(std::memory_order_relaxed)).state;
    if (state == State::kDropped || state == State::kUnused) {
      unlink(table, bucket, at);
    } else {
      last = at;
    }
    at = next;
  }
  bucket.last.store(last, std::memory_order_release);
  WakeList wakes;
  for (UnitRef at = bucket.first.load(std::memory_order_relaxed); at != 0;) {
    Unit& unit = region.unit(at);
    at = unit.next.load(std::memory_order_relaxed);
    RequestWord word = unpack(unit.word.load(std::memory_order_relaxed));
    if (word.state == State::kWaiting && (word.flags & kFlagWoken) != 0) {
      // Who set the flag may have died before the wake.
      word.flags = static_cast<std::uint8_t>(word.flags & ~kFlagWoken);
      unit.word.store(pack(word), std::memory_order_release);
    }
    if (word.state == State::kWaiting || word.state == State::kUpgrading) pump_unit(table, bucket, unit, wakes);
  }
  wakes.flush();
}

// Who dies inside of LockTable::list leaves all the latches. Were each left to whoever comes there first, the death of
// one would hold up the others for kLookAgainNs again and again; the next list, with latches held, for all of them.
void Inside::take_over(LockTable& table, Bucket& bucket) noexcept {
  repair(table, bucket);
  const platform::Liveness& liveness = *table.liveness_;
  platform::OwnerId alive = liveness.me();  // whom the word named last
  for (std::uint32_t i = 0; i < kBuckets; ++i) {
    Bucket& other = table.region_.bucket(i);
    platform::RobustLatch latch(other.latch, table.region_.shared().takeovers, liveness);
    // Acquire: as in RobustLatch::try_acquire.
    const platform::OwnerId holder = other.latch.load(std::memory_order_acquire) & ~platform::kLatchWaiters;
    if (holder == 0 || holder == liveness.me() || holder == alive) continue;
    if (liveness.alive(holder)) {
      alive = holder;
      continue;
    }
    const platform::Acquired acquired = latch.try_acquire();  // never waits: this thread has a latch
    if (acquired == platform::Acquired::kTakenOver) repair(table, other);
    if (acquired != platform::Acquired::kNo) latch.release();
  }
}

// --- giving back -----------------------------------------------------------------------------------------------------

// Takes the unit out of its list, if it is there still, and back into the owner's hands.
void LockTable::give_back(Owner& owner, const Owner::Held& held) noexcept {
  Unit& unit = region_.unit(held.unit);
  Bucket& bucket = region_.bucket(held.hash);
  WakeList wakes;
  {
    const Latched latched(*this, bucket);
    // Not there: it was taken away from an owner that had passed its limits.
    if (Inside::unlink(*this, bucket, held.unit) && bucket.first.load(std::memory_order_relaxed) != 0) {
      Inside::pump_unit(*this, bucket, unit, wakes);
    }
    unit.word.store(0, std::memory_order_relaxed);
  }
  reach("lock.released");
  wakes.flush();
  Inside::give_unit(*this, owner, held.unit);
}

Status LockTable::release(Owner& owner, const Row& row) {
  const int at = owner.find(row);
  if (at < 0) return Status(Code::kNOT_FOUND, "not held");
  const Owner::Held held = owner.held_[static_cast<std::size_t>(at)];
  // Found by key through its unit: out of the list first.
  owner.remove_held(static_cast<std::size_t>(at));
  give_back(owner, held);
  return {};
}

void LockTable::restore(Owner& owner, const Row& row, Mode before) noexcept {
  const int at = owner.find(row);
  if (at < 0) return;
  Owner::Held& held = owner.held_[static_cast<std::size_t>(at)];
  if (held.mode == before) return;
  if (before == Mode::kNone) {
    (void)release(owner, row).ok();
    return;
  }
  Unit& unit = region_.unit(held.unit);
  Bucket& bucket = region_.bucket(held.hash);
  WakeList wakes;
  {
    const Latched latched(*this, bucket);
    if (unpack(unit.word.load(std::memory_order_relaxed)).state == State::kGranted) {
      unit.word.store(pack({State::kGranted, before, Mode::kNone, 0}), std::memory_order_release);
      Inside::pump_unit(*this, bucket, unit, wakes);
    }
  }
  wakes.flush();
  held.mode = before;
}

}  // namespace hf::lock
