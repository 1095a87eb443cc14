// SPDX-License-Identifier: Apache-2.0
// A request that waits: what it looks at when it is woken and now and then by itself, and how the wait ends.
#include <algorithm>

#include "base/probe.h"
#include "lock/admission.h"
#include "lock/heat.h"
#include "platform/test_point.h"

namespace hf::lock {
namespace {

using platform::reach;

// Those behind the first in a row's queue look rarely.
constexpr std::uint64_t kLookBehindNs = 50'000'000;
constexpr std::uint64_t kSearchAgainNs = 100'000'000;

}  // namespace

// One wait of one request: what it has to look at, and how it ends.
class LockTable::Wait {
 public:
  Wait(LockTable& table, Owner& owner, UnitRef ref, const Request& request, Mode before, const WaitRule& rule,
       Report* report)
      : table_(table),
        owner_(owner),
        row_(table.region_.owner(owner.ref_)),
        unit_(table.region_.unit(ref)),
        bucket_(table.region_.bucket(request.row.hash)),
        ref_(ref),
        request_(request),
        held_before_(before),
        rule_(rule),
        report_(report),
        began_ns_(monotonic_ns()),
        deadline_(rule.timeout_ms > UINT64_MAX / 1'000'000u ? Deadline::never() : Deadline::after_ms(rule.timeout_ms)),
        // Who holds nothing can only be waited for by who stands behind it: that one finds the cycle, and asks us.
        search_first_(rule.search && (owner.holds_any() || row_.session.load(std::memory_order_relaxed) != 0 ||
                                      request.row.table == kNames)),
        searched_at_wake_(row_.wake.load(std::memory_order_relaxed)) {}

  Status run() {
    table_.region_.shared().waits.fetch_add(1, std::memory_order_relaxed);
    note_wait(table_.region_, request_.row.hash, request_.mode);
    HF_PROBE3(lock__wait__begin, request_.row.table, request_.row.hash, static_cast<int>(request_.mode));
    Status status;
    if (rule_.ordered && comes_too_late()) status = Code::kLOCK_ORDER;
    for (bool slept = false; status.ok(); slept = true) {
      // Acquire: what is stored before the word is raised is seen below.
      const std::uint32_t seen = row_.wake.load(std::memory_order_acquire);
      if (settled() || admitted()) break;
      const std::uint64_t now = monotonic_ns();
      status = look(now, slept);
      if (!status.ok() || retry_) continue;
      platform::futex_wait(row_.wake, seen, sleep_ns(now));
    }
    return finish(std::move(status));
  }

 private:
  State state() const noexcept { return unpack(unit_.word.load(std::memory_order_acquire)).state; }
  bool settled() const noexcept { return state() == State::kGranted || state() == State::kDropped; }

  // Takes the row if nothing stands against it now; else finds out who does.
  bool admitted() noexcept {
    WakeList wakes;
    bool granted = false;
    {
      const Latched latched(table_, bucket_);
      const RequestWord word = unpack(unit_.word.load(std::memory_order_relaxed));
      if (word.state == State::kGranted || word.state == State::kDropped) return true;
      const bool strict = (word.flags & kFlagStrict) != 0;
      const Obstacles found = find_obstacles(table_, bucket_, request_.row, owner_.ref_, ref_, request_.mode, strict);
      first_ = found.first;
      const bool upgrading = word.state == State::kUpgrading;
      granted = upgrading ? found.holder == 0 : found.none();
      if (granted) {
        unit_.since_ns.store(coarse_ns(), std::memory_order_relaxed);
        unit_.word.store(pack({State::kGranted, request_.mode, Mode::kNone, 0}), std::memory_order_release);
        if (request_.mode != Mode::kExclusive)
          Inside::pump_unit(table_, bucket_, unit_, wakes);  // the rest of the group
      } else {
        if ((word.flags & kFlagWoken) != 0) {
          searched_at_wake_ = row_.wake.load(std::memory_order_relaxed);  // woken for the row, not to search
          unit_.word.store(pack({word.state, word.held, word.wanted, strict ? kFlagStrict : std::uint8_t{0}}),
                           std::memory_order_release);
        }
        blocker_ = blocker_of(table_, table_.region_.unit(found.holder != 0 ? found.holder : found.queue));
      }
    }
    wakes.flush();
    return granted;
  }

  // What can end the wait, or help it on. Sets retry_ when something was done that may have.
  Status look(std::uint64_t now, bool slept) {
    retry_ = false;
    if (rule_.cancelled != nullptr && rule_.cancelled->load(std::memory_order_acquire)) return Code::kCANCELLED;
    if (now >= row_.expires_at_ns.load(std::memory_order_relaxed)) return Code::kEXPIRED;
    // The dead, and those past their limits, are no reason to give up: once for each of them the deadline can wait.
    const bool late = now >= deadline_.ns();
    const bool asked = blocker_.is(asked_);
    if ((slept || late) && !(late && asked) && is_dead(table_, blocker_)) {
      reach("lock.holder_dead");
      table_.reap();
      asked_ = blocker_;
      retry_ = true;
      return {};
    }
    if (now >= blocker_.expires_ns && !asked) {
      // Committing, perhaps: then it is over in a moment, and not by us.
      Inside::expire(table_, blocker_.owner, blocker_.life);
      asked_ = blocker_;
      retry_ = true;
      return {};
    }
    if (late) return Code::kLOCK_TIMEOUT;
    if (rule_.search && is_search_due(now)) return search(now);
    return {};
  }

  // Who is asked to look for a deadlock is woken; and now and then everybody looks.
  bool is_search_due(std::uint64_t now) const noexcept {
    if (search_first_ && searched_ns_ == 0) return true;
    const bool asked = row_.wake.load(std::memory_order_relaxed) != searched_at_wake_;
    return asked || now - std::max(searched_ns_, began_ns_) >= kSearchAgainNs;
  }

  Status search(std::uint64_t now) {
    searched_ns_ = now;
    searched_at_wake_ = row_.wake.load(std::memory_order_relaxed);
    std::vector<Party> cycle;
    OwnerRef youngest = 0;
    if (!Inside::find_cycle(table_, owner_.ref_, &cycle, &youngest)) return {};
    if (youngest != owner_.ref_) {
      OwnerRow& other = table_.region_.owner(youngest);
      other.wake.fetch_add(1, std::memory_order_release);
      platform::futex_wake(other.wake, 1);
      return {};
    }
    table_.region_.shared().deadlocks.fetch_add(1, std::memory_order_relaxed);
    if (report_ != nullptr) {
      if (cycle.size() > 1) report_->other = cycle[1];
      report_->cycle = std::move(cycle);
    }
    return Status(Code::kDEADLOCK, "waiting would never have ended");
  }

  std::uint64_t sleep_ns(std::uint64_t now) const noexcept {
    std::uint64_t bound = first_ ? kLookFirstNs : kLookBehindNs;
    const auto until = [&](std::uint64_t at) {
      if (at > now && at - now < bound) bound = at - now;
    };
    until(deadline_.ns());
    until(row_.expires_at_ns.load(std::memory_order_relaxed));
    until(blocker_.expires_ns);
    return bound;
  }

  // Whether a row that the owner holds comes after the one it wants.
  bool comes_too_late() const {
    for (const Owner::Held& held : owner_.held_) {
      if (held.unit == ref_) continue;
      if (held.table > request_.row.table) return true;
      if (held.table == request_.row.table &&
          Inside::key_of(table_, table_.region_.unit(held.unit)) > request_.row.key) {
        return true;
      }
    }
    return false;
  }

  // The request is granted, or out of the list (or, for an upgrade, what it was).
  Status finish(Status status) {
    const std::uint64_t waited = monotonic_ns() - began_ns_;
    LockShared& shared = table_.region_.shared();
    shared.waited_ns.fetch_add(waited, std::memory_order_relaxed);
    shared.wait_times.add(waited);
    std::uint64_t longest = shared.longest_wait_ns.load(std::memory_order_relaxed);
    while (waited > longest &&
           !shared.longest_wait_ns.compare_exchange_weak(longest, waited, std::memory_order_relaxed)) {
    }
    WakeList wakes;
    {
      const Latched latched(table_, bucket_);
      const RequestWord word = unpack(unit_.word.load(std::memory_order_relaxed));
      if (word.state == State::kDropped) {
        status = Code::kEXPIRED;
      } else if (word.state == State::kGranted) {
        // Had in the end, a moment before the time was over; but who was cancelled wants it no more.
        if (status.code() == Code::kLOCK_TIMEOUT) status = Status();
        if (!status.ok()) undo(wakes);
      } else {
        if (report_ != nullptr && report_->other.number == 0) describe_obstacle(word);
        undo(wakes);
      }
      row_.waiting.store(0, std::memory_order_release);
    }
    wakes.flush();
    HF_PROBE3(lock__wait__end, request_.row.table, request_.row.hash, waited);
    if (report_ != nullptr) report_->waited_ms = waited / 1'000'000u;
    if (status.code() == Code::kLOCK_TIMEOUT) {
      shared.timeouts.fetch_add(1, std::memory_order_relaxed);
      return Status(Code::kLOCK_TIMEOUT,
                    "the lock was not to be had within " + std::to_string(rule_.timeout_ms) + " ms");
    }
    if (status.code() == Code::kLOCK_ORDER) {
      return Status(Code::kLOCK_ORDER, "would have waited for a row that comes before one it holds");
    }
    return status;
  }

  // Requires: the latch. Back to what was before the wait.
  void undo(WakeList& wakes) noexcept {
    if (held_before_ != Mode::kNone) {
      unit_.since_ns.store(coarse_ns(), std::memory_order_relaxed);
      unit_.word.store(pack({State::kGranted, held_before_, Mode::kNone, 0}), std::memory_order_release);
    } else {
      Inside::unlink(table_, bucket_, ref_);
    }
    Inside::pump_unit(table_, bucket_, unit_, wakes);
  }

  void describe_obstacle(const RequestWord& word) {
    const Obstacles found = find_obstacles(table_, bucket_, request_.row, owner_.ref_, ref_, request_.mode,
                                           (word.flags & kFlagStrict) != 0);
    const UnitRef other = found.holder != 0 ? found.holder : found.queue;
    if (other != 0) report_->other = Inside::describe(table_, table_.region_.unit(other), monotonic_ns());
  }

  LockTable& table_;
  Owner& owner_;
  OwnerRow& row_;
  Unit& unit_;
  Bucket& bucket_;
  const UnitRef ref_;
  const Request request_;
  const Mode held_before_;  // not kNone: an upgrade
  const WaitRule& rule_;
  Report* report_;
  const std::uint64_t began_ns_;
  const Deadline deadline_;
  const bool search_first_;  // before it sleeps

  bool first_ = true;
  bool retry_ = false;
  std::uint64_t searched_ns_ = 0;
  std::uint32_t searched_at_wake_;
  Blocker blocker_;  // the first, when it looked last
  Blocker asked_;    // who was dead or past its limits, and was dealt with
};

Status LockTable::wait(Owner& owner, UnitRef ref, const Request& request, Mode before, const WaitRule& rule,
                       Report* report) {
  reach("lock.waiting");
  return Wait(*this, owner, ref, request, before, rule, report).run();
}

}  // namespace hf::lock
