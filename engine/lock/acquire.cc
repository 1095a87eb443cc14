// SPDX-License-Identifier: Apache-2.0
// Locking a row: admission and upgrade. What cannot be had at once waits: wait.cc.
//
//   admit       nobody holds it in another mode, and nobody waits who must not be passed: linked in front, granted
//   spin        a moment, while the holder may be about to commit; a nap, in case it does not run; spin
//   wait        linked last; sleeps on its owner's word; looks again when woken, and now and then by itself
#include <algorithm>
#include <cassert>

#include "lock/admission.h"
#include "platform/plant.h"
#include "platform/test_point.h"

namespace hf::lock {

Obstacles find_obstacles(const LockTable& table, const Bucket& bucket, const Row& row, OwnerRef me, UnitRef self,
                         Mode wanted, bool strict) noexcept {
  const LockRegion region = table.region();
  Obstacles found;
  std::uint64_t now = 0;
  bool passed_self = false;
  for (UnitRef at = bucket.first.load(std::memory_order_relaxed); at != 0;) {
    const UnitRef ref = at;
    const Unit& unit = region.unit(ref);
    at = unit.next.load(std::memory_order_relaxed);
    if (ref == self) {
      passed_self = true;
      continue;
    }
    const RequestWord word = unpack(unit.word.load(std::memory_order_relaxed));
    if (word.state == State::kDropped || !Inside::is_row(table, unit, row)) continue;
    if (word.state == State::kWaiting) {
      if (passed_self) continue;
      found.first = false;
      if (found.queue != 0 || compatible(word.wanted, wanted)) {
        if (!strict) continue;
      }
      const std::uint64_t since = unit.since_ns.load(std::memory_order_relaxed);
      if (!strict && (word.flags & kFlagStrict) == 0) {
        if (now == 0) now = monotonic_ns();
        if (!LockTable::is_due(bucket, since, now)) continue;
      }
      if (found.queue == 0) found.queue = ref;
      continue;
    }
    if (unit.owner.load(std::memory_order_relaxed) == me) continue;
    if (!compatible(word.held, wanted)) {
      if (platform::planted(platform::Plant::kLockShared) && (word.held == Mode::kShared || wanted == Mode::kShared)) {
        continue;
      }
      if (found.holder == 0) found.holder = ref;
    } else if (word.state == State::kUpgrading && found.queue == 0) {
      found.queue = ref;  // who joins the group now would make it wait longer
    }
  }
  return found;
}

// Requires: the bucket's latch.
Blocker blocker_of(const LockTable& table, const Unit& unit) noexcept {
  Blocker blocker;
  blocker.owner = unit.owner.load(std::memory_order_relaxed);
  blocker.life = unit.life.load(std::memory_order_relaxed);
  blocker.since_ns = unit.since_ns.load(std::memory_order_relaxed);
  const OwnerRow& row = table.region().owner(blocker.owner);
  blocker.process = row.process.load(std::memory_order_acquire);
  blocker.expires_ns = row.expires_at_ns.load(std::memory_order_acquire);
  return blocker;
}

bool is_dead(const LockTable& table, const Blocker& blocker) noexcept {
  const platform::Liveness& liveness = Inside::liveness(table);
  return blocker.process != liveness.me() && !liveness.alive(blocker.process);
}

namespace {

using platform::reach;

// How long a request spins before it sleeps: about what a short transaction on one row takes.
constexpr int kSpinPauses = 100;
// Between two spins it lies down for a moment without joining the queue: a holder that is not running gets its
// processor back, and nobody has to wake anybody. Lining up at once made queues that then only hand-over could empty:
// half the throughput of a hot row. (sched_yield gave a fifth more, and waits of 20 ms.)
constexpr long kNapNs = 20'000;
constexpr int kSpinRounds = 2;

void pause_briefly() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Another request for that row that waits for its upgrade, or 0. Requires: the bucket's latch.
UnitRef upgrading(const LockTable& table, const Bucket& bucket, const Row& row, UnitRef self) noexcept {
  const LockRegion region = table.region();
  for (UnitRef at = bucket.first.load(std::memory_order_relaxed); at != 0;) {
    const Unit& unit = region.unit(at);
    if (at != self && unpack(unit.word.load(std::memory_order_relaxed)).state == State::kUpgrading &&
        Inside::is_row(table, unit, row)) {
      return at;
    }
    at = unit.next.load(std::memory_order_relaxed);
  }
  return 0;
}

// For who does not wait: the dead, and those past their limits, are no obstacle. Answers whether something was taken
// from them. `before` is who that was last time: once is enough. Requires: no latch.
bool take_away(LockTable& table, const Blocker& blocker, Blocker* before) noexcept {
  if (blocker.is(*before)) return false;
  *before = blocker;
  const std::uint64_t now = monotonic_ns();
  if (now >= blocker.expires_ns) {
    Inside::expire(table, blocker.owner, blocker.life);
    return true;
  }
  // Whether a process is alive is a system call: not asked about who came a moment ago.
  if (now < blocker.since_ns + kLookFirstNs || !is_dead(table, blocker)) return false;
  table.reap();
  return true;
}

}  // namespace

LockTable::Probe LockTable::probe(const Owner* owner, const Row& row, Mode mode) const noexcept {
  Bucket& bucket = region_.bucket(row.hash);
  // Acquire: pairs with the store that linked it. Who links after this load is the caller's care (see lock.h).
  if (bucket.first.load(std::memory_order_acquire) == 0) return Probe::kFree;
  constexpr int kTries = 20;
  platform::RobustLatch latch(bucket.latch, region_.shared().takeovers, *liveness_);
  for (int i = 0; i < kTries; ++i) {
    const platform::Acquired acquired = latch.try_acquire();
    if (acquired == platform::Acquired::kNo) {
      pause_briefly();
      continue;
    }
    if (acquired == platform::Acquired::kTakenOver) Inside::take_over(const_cast<LockTable&>(*this), bucket);
    observe_given(region_);
    const OwnerRef me = owner != nullptr && owner->active_ ? owner->ref_ : 0;
    const bool free = find_obstacles(*this, bucket, row, me, 0, mode, false).holder == 0;
    announce_read(region_);
    latch.release();
    return free ? Probe::kFree : Probe::kMaybeLocked;
  }
  return Probe::kMaybeLocked;
}

Status LockTable::acquire(Owner& owner, const Request& request, const WaitRule& rule, Report* report) {
  assert(owner.active_);
  const int at = owner.find(request.row);
  if (at < 0) return lock_row(owner, request, rule, report);
  const Mode held = owner.held_[static_cast<std::size_t>(at)].mode;
  if (covers(held, request.mode)) return owner.expired() ? Status(Code::kEXPIRED) : Status();
  return upgrade(owner, static_cast<std::size_t>(at), request, rule, report);
}

Status LockTable::lock_row(Owner& owner, const Request& request, const WaitRule& rule, Report* report) {
  if (owner.held_.size() == owner.held_.capacity()) {  // nothing may fail once the lock is there
    owner.held_.reserve(std::max<std::size_t>(16, owner.held_.size() * 2));
  }
  Result<UnitRef> taken = Inside::take_unit(*this, owner, request.row);
  if (!taken.ok()) return std::move(taken).status();
  const UnitRef ref = taken.value();
  Unit& unit = region_.unit(ref);
  Bucket& bucket = region_.bucket(request.row.hash);
  bool granted = false;
  Blocker asked;
  for (int round = 0; !granted; ++round) {
    std::uint32_t holder_word = 0;
    UnitRef holder = 0;
    Blocker blocker;
    {
      const Latched latched(*this, bucket);
      // Nobody at all: most locks end here.
      const Obstacles found =
          bucket.first.load(std::memory_order_relaxed) == 0
              ? Obstacles{}
              : find_obstacles(*this, bucket, request.row, owner.ref_, 0, request.mode, rule.strict);
      if (found.none()) {
        unit.since_ns.store(coarse_ns(), std::memory_order_relaxed);
        unit.word.store(pack({State::kGranted, request.mode, Mode::kNone, 0}), std::memory_order_relaxed);
        reach("lock.filled");
        Inside::link_front(*this, bucket, ref);
        granted = true;
        break;
      }
      const UnitRef in_the_way = found.holder != 0 ? found.holder : found.queue;
      if (!rule.wait) {
        if (report != nullptr) report->other = Inside::describe(*this, region_.unit(in_the_way), monotonic_ns());
        blocker = blocker_of(*this, region_.unit(in_the_way));
      } else if (rule.strict || found.holder == 0 || round == kSpinRounds) {
        unit.since_ns.store(monotonic_ns(), std::memory_order_relaxed);
        unit.word.store(pack({State::kWaiting, Mode::kNone, request.mode, rule.strict ? kFlagStrict : std::uint8_t{0}}),
                        std::memory_order_relaxed);
        region_.owner(owner.ref_).waiting.store(ref, std::memory_order_seq_cst);
        Inside::link_last(*this, bucket, ref);
        break;
      } else {
        holder = found.holder;
        holder_word = region_.unit(holder).word.load(std::memory_order_relaxed);
      }
    }
    if (!rule.wait) {
      if (take_away(*this, blocker, &asked)) continue;
      break;
    }
    // Spin on the holder's word, not on the latch that it needs for its release.
    bool changed = false;
    for (int i = 0; i < kSpinPauses && !changed; ++i) {
      changed = region_.unit(holder).word.load(std::memory_order_relaxed) != holder_word;
      pause_briefly();
    }
    if (!changed && round == 0) {
      const timespec moment{0, kNapNs};
      nanosleep(&moment, nullptr);
    }
  }
  Status status;
  if (!granted) {
    const bool waits = unpack(unit.word.load(std::memory_order_acquire)).state != State::kUnused;
    status =
        waits ? wait(owner, ref, request, Mode::kNone, rule, report) : Status(Code::kLOCKED, "somebody holds the lock");
  } else if (owner.limited_) {
    // Either who takes our locks away sees this one, or we see that they are being taken away.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (owner.expired()) status = Code::kEXPIRED;
  }
  const Owner::Held held{ref, request.row.table, request.row.hash, request.mode};
  if (status.ok()) {
    owner.add_held(held);
  } else if (granted) {
    give_back(owner, held);
  } else {
    Inside::give_unit(*this, owner, ref);
  }
  if (!status.ok() && report != nullptr) {
    report->wanted = {{request.row.table, {}, request.row.hash}, request.mode};
    report->key.assign(request.row.key);
    report->held = Mode::kNone;
  }
  return status;
}

Status LockTable::upgrade(Owner& owner, std::size_t position, const Request& request, const WaitRule& rule,
                          Report* report) {
  Owner::Held& held = owner.held_[position];
  const Mode before = held.mode;
  const Mode wanted = join(before, request.mode);
  Unit& unit = region_.unit(held.unit);
  Bucket& bucket = region_.bucket(held.hash);
  Status status;
  Blocker asked;
  for (bool again = true; again;) {
    Blocker blocker;
    {
      const Latched latched(*this, bucket);
      if (unpack(unit.word.load(std::memory_order_relaxed)).state != State::kGranted) {
        return Code::kEXPIRED;  // taken away
      }
      const Obstacles found = find_obstacles(*this, bucket, request.row, owner.ref_, held.unit, wanted, false);
      if (found.holder == 0) {
        unit.word.store(pack({State::kGranted, wanted, Mode::kNone, 0}), std::memory_order_release);
        held.mode = wanted;
        return {};
      }
      // Whoever else upgrades this row waits for us as we would for him.
      const UnitRef rival = rule.wait ? upgrading(*this, bucket, request.row, held.unit) : 0;
      const Unit& other = region_.unit(rival != 0 ? rival : found.holder);
      status = Status();
      if (rival != 0) status = Status(Code::kDEADLOCK, "another owner waits for the same upgrade of this row");
      if (!rule.wait) status = Status(Code::kLOCKED, "somebody else holds the lock too");
      if (status.ok()) {
        unit.since_ns.store(monotonic_ns(), std::memory_order_relaxed);
        region_.owner(owner.ref_).waiting.store(held.unit, std::memory_order_seq_cst);
        unit.word.store(pack({State::kUpgrading, before, wanted, 0}), std::memory_order_release);
      } else {
        blocker = blocker_of(*this, other);
        if (report != nullptr) {
          const std::uint64_t now = monotonic_ns();
          report->other = Inside::describe(*this, other, now);
          Party self = Inside::describe(*this, unit, now);
          self.wanted = wanted;
          self.since_ms = 0;
          report->cycle.clear();
          if (rival != 0) report->cycle = {std::move(self), report->other};
        }
      }
    }
    again = !status.ok() && take_away(*this, blocker, &asked);
  }
  if (status.code() == Code::kDEADLOCK) region_.shared().deadlocks.fetch_add(1, std::memory_order_relaxed);
  reach("lock.upgrading");
  if (status.ok()) status = wait(owner, held.unit, {request.row, wanted}, before, rule, report);
  if (status.ok()) {
    held.mode = wanted;
  } else if (report != nullptr) {
    report->wanted = {{request.row.table, {}, request.row.hash}, wanted};
    report->key.assign(request.row.key);
    report->held = before;
  }
  return status;
}

Status LockTable::acquire_all(Owner& owner, std::vector<Request>& requests, const WaitRule& rule, Report* report) {
  std::sort(requests.begin(), requests.end(), [](const Request& a, const Request& b) {
    return a.row.table != b.row.table ? a.row.table < b.row.table : a.row.key < b.row.key;
  });
  std::size_t kept = 0;
  for (const Request& request : requests) {
    if (kept > 0 && requests[kept - 1].row.table == request.row.table &&
        requests[kept - 1].row.key == request.row.key) {
      requests[kept - 1].mode = join(requests[kept - 1].mode, request.mode);
    } else {
      requests[kept++] = request;
    }
  }
  requests.resize(kept);
  std::vector<Mode> before(kept);
  const std::uint64_t timeout_ms = rule.timeout_ms;
  const std::uint64_t began = monotonic_ns();
  WaitRule rest = rule;
  for (std::size_t i = 0; i < kept; ++i) {
    before[i] = owner.held(requests[i].row);
    Status status = acquire(owner, requests[i], rest, report);
    if (!status.ok()) {
      while (i-- > 0) restore(owner, requests[i].row, before[i]);
      return status;
    }
    if (timeout_ms <= UINT64_MAX / 1'000'000u && i + 1 < kept) {  // one time limit for all of them
      const std::uint64_t spent_ms = (monotonic_ns() - began) / 1'000'000u;
      rest.timeout_ms = timeout_ms > spent_ms ? timeout_ms - spent_ms : 0;
    }
  }
  return {};
}

}  // namespace hf::lock
