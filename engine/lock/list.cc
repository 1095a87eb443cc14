// SPDX-License-Identifier: Apache-2.0
// Who holds and wants what: one request's part for reports, the whole table for listings, figures for statistics.
#include <algorithm>
#include <cstring>
#include <optional>
#include <tuple>
#include <vector>

#include "lock/heat.h"
#include "lock/impl.h"

namespace hf::lock {
namespace {

constexpr std::uint64_t kNsPerMs = 1'000'000;

template <std::size_t size>
std::string text_of(const char (&text)[size]) {
  return {text, strnlen(text, size)};
}

// The slot of that very life; null when it is not known, or somebody else has the slot by now.
const platform::ProcessSlot* slot_of(const LockTable& table, platform::OwnerId process) noexcept {
  const platform::ProcessSlot* slots = Inside::slots(table);
  const std::uint32_t slot = platform::owner_slot(process);
  if (slots == nullptr || slot >= platform::kProcessSlotsMax) return nullptr;
  const std::uint32_t generation = process >> 9;
  return slots[slot].generation.load(std::memory_order_acquire) == generation ? &slots[slot] : nullptr;
}

bool is_request(State state) noexcept {
  return state == State::kWaiting || state == State::kGranted || state == State::kUpgrading;
}

}  // namespace

Party Inside::describe(const LockTable& table, const Unit& unit, std::uint64_t now) {
  const OwnerRef ref = unit.owner.load(std::memory_order_relaxed);
  const std::uint64_t life = unit.life.load(std::memory_order_relaxed);
  const std::uint64_t since = unit.since_ns.load(std::memory_order_relaxed);
  const RequestWord word = unpack(unit.word.load(std::memory_order_relaxed));
  const OwnerRow& owner = table.region_.owner(ref);
  const std::uint64_t status = owner.status.load(std::memory_order_acquire);
  Party party;
  party.table = unit.table;
  party.key = key_of(table, unit);
  party.held = word.held;
  party.wanted = word.wanted;
  party.number = std::uint64_t{ref} << 32 | (life & UINT32_MAX);
  party.thread = owner.thread;
  party.process = owner.process.load(std::memory_order_acquire);
  party.label = text_of(owner.label);
  if (const platform::ProcessSlot* slot = slot_of(table, party.process); slot != nullptr) {
    party.pid = slot->pid;
    if (party.label.empty()) party.label = text_of(slot->label);
  }
  party.since_ms = now > since ? (now - since) / kNsPerMs : 0;  // the clock was read before a wait that began just now
  party.session = unit.table == kNames;
  // Who commits has passed the point where its limits matter.
  party.expired =
      state_of(status) == OwnerState::kExpired ||
      (state_of(status) == OwnerState::kRunning && now >= owner.expires_at_ns.load(std::memory_order_relaxed));
  return party;
}

std::vector<Party> LockTable::list() const {
  std::vector<Party> parties;
  {
    std::vector<std::optional<Latched>> latches(kBuckets);  // made first: no lock waits for that much memory
    for (std::uint32_t bucket = 0; bucket < kBuckets; ++bucket) latches[bucket].emplace(*this, region_.bucket(bucket));
    const std::uint64_t now = monotonic_ns();
    for (std::uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
      for (UnitRef at = region_.bucket(bucket).first.load(std::memory_order_relaxed); at != 0;) {
        const Unit& unit = region_.unit(at);
        at = unit.next.load(std::memory_order_relaxed);
        if (!is_request(unpack(unit.word.load(std::memory_order_relaxed)).state)) continue;
        parties.push_back(Inside::describe(*this, unit, now));
      }
    }
  }
  // Stable: who waits stays in order of arrival.
  std::stable_sort(parties.begin(), parties.end(), [](const Party& a, const Party& b) {
    const bool a_waits = a.held == Mode::kNone;
    const bool b_waits = b.held == Mode::kNone;
    return std::tie(a.table, a.key, a_waits) < std::tie(b.table, b.key, b_waits);
  });
  return parties;
}

LockStats LockTable::stats() const noexcept {
  const LockShared& shared = region_.shared();
  LockStats stats{};
  stats.locks_max = units_max_;
  // Chunks that nobody owns have no blocks, perhaps: they are not touched.
  for (std::uint32_t chunk = 0; chunk < units_max_ / kUnitsPerChunk; ++chunk) {
    if (region_.unit_chunks()[chunk].load(std::memory_order_acquire) == 0) continue;
    for (UnitRef ref = chunk * kUnitsPerChunk + 1; ref <= (chunk + 1) * kUnitsPerChunk; ++ref) {
      const State state = unpack(region_.unit(ref).word.load(std::memory_order_relaxed)).state;
      stats.units_in_use += state != State::kUnused ? 1 : 0;
    }
  }
  for (std::uint32_t chunk = 0; chunk < kOwnerChunks; ++chunk) {
    if (shared.owner_chunks[chunk].load(std::memory_order_acquire) == 0) continue;
    for (OwnerRef ref = chunk * kOwnersPerChunk + 1; ref <= (chunk + 1) * kOwnersPerChunk; ++ref) {
      const OwnerState state = state_of(region_.owner(ref).status.load(std::memory_order_relaxed));
      stats.owners_in_use += state != OwnerState::kIdle ? 1 : 0;
    }
  }
  stats.waits = shared.waits.load(std::memory_order_relaxed);
  stats.timeouts = shared.timeouts.load(std::memory_order_relaxed);
  stats.deadlocks = shared.deadlocks.load(std::memory_order_relaxed);
  stats.handovers = shared.handovers.load(std::memory_order_relaxed);
  stats.expiries = shared.expiries.load(std::memory_order_relaxed);
  stats.takeovers = shared.takeovers.load(std::memory_order_relaxed);
  stats.longest_wait_ns = shared.longest_wait_ns.load(std::memory_order_relaxed);
  stats.waited_ns = shared.waited_ns.load(std::memory_order_relaxed);
  stats.hot_cells = hot_cells(region_);
  stats.wait_times = shared.wait_times.read();
  return stats;
}

}  // namespace hf::lock
