// SPDX-License-Identifier: Apache-2.0
#include "lock/heat.h"

#include <algorithm>

namespace hf::lock {
namespace {

constexpr std::uint64_t kStepsMax = 32;  // a quarter off that often leaves nothing of 255

std::uint8_t raised(std::uint8_t heat, std::uint8_t by) noexcept {
  return static_cast<std::uint8_t>(std::min(heat + by, 255));
}

// Rounded up, so that the last bit goes too.
constexpr std::uint8_t cooled(std::uint8_t heat, std::uint64_t steps) noexcept {
  for (; steps != 0 && heat != 0; --steps) heat = static_cast<std::uint8_t>(heat - (heat + 3) / 4);
  return heat;
}
static_assert(cooled(255, kStepsMax) == 0);

// A saturated cell is not written again: a hot row's cell stays in every core's cache.
void update(const LockRegion& region, HeatCell& cell, std::uint16_t before, std::uint16_t after) noexcept {
  if (after != before) cell.store(after, std::memory_order_relaxed);
  std::atomic<std::uint64_t>& hot = region.shared().hot;
  if (is_hot(after) && hot.load(std::memory_order_relaxed) == 0) hot.store(1, std::memory_order_relaxed);
}

}  // namespace

void note_conflict(const LockRegion& region, std::uint64_t hash, bool written_too) noexcept {
  HeatCell& cell = region.heat(hash);
  const std::uint16_t before = cell.load(std::memory_order_relaxed);
  const std::uint8_t read = read_heat(before);
  const std::uint8_t written = written_heat(before);
  update(
      region, cell, before,
      written_too ? make_heat(read, raised(written, kConflictHeat)) : make_heat(raised(read, kConflictHeat), written));
}

void note_wait(const LockRegion& region, std::uint64_t hash, Mode wanted) noexcept {
  if (wanted != Mode::kShared && wanted != Mode::kExclusive) return;  // increments never conflict: no heat of theirs
  HeatCell& cell = region.heat(hash);
  const std::uint16_t before = cell.load(std::memory_order_relaxed);
  const std::uint8_t read = read_heat(before);
  const std::uint8_t written = written_heat(before);
  // A writer that waits for the readers of a row keeps it hot for them, as readers that wait for the writer do.
  if (wanted == Mode::kExclusive && written != 0) {
    update(region, cell, before, make_heat(read, raised(written, kWaitHeat)));
  } else if (read != 0) {
    update(region, cell, before, make_heat(raised(read, kWaitHeat), written));
  }
}

void cool(const LockRegion& region, std::uint64_t now_ns) noexcept {
  LockShared& shared = region.shared();
  std::uint64_t cooled_at_ns = shared.cooled_at_ns.load(std::memory_order_relaxed);
  // Callers' clocks were read a while ago: one may be behind the last turn.
  if (now_ns < cooled_at_ns || now_ns - cooled_at_ns < kCoolEveryNs) return;
  const std::uint64_t passed_ns = now_ns - cooled_at_ns;
  // What is left of the period counts for the next turn, so that the rate does not depend on who calls how often.
  if (!shared.cooled_at_ns.compare_exchange_strong(cooled_at_ns, now_ns - passed_ns % kCoolEveryNs,
                                                   std::memory_order_relaxed)) {
    return;  // somebody else's turn
  }
  const std::uint64_t steps = std::min(passed_ns / kCoolEveryNs, kStepsMax);
  std::uint64_t hot = 0;
  for (std::uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
    HeatCell& cell = region.heat(bucket);
    const std::uint16_t before = cell.load(std::memory_order_relaxed);
    if (before == 0) continue;
    const std::uint16_t after = make_heat(cooled(read_heat(before), steps), cooled(written_heat(before), steps));
    cell.store(after, std::memory_order_relaxed);
    hot += is_hot(after) ? 1 : 0;
  }
  if (shared.hot.load(std::memory_order_relaxed) != hot) shared.hot.store(hot, std::memory_order_relaxed);
}

std::uint64_t hot_cells(const LockRegion& region) noexcept {
  std::uint64_t count = 0;
  for (std::uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
    count += is_hot(region.heat(bucket).load(std::memory_order_relaxed)) ? 1 : 0;
  }
  return count;
}

std::vector<HotCell> list_hot_cells(const LockRegion& region) {
  std::vector<HotCell> cells;
  for (std::uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
    const std::uint16_t cell = region.heat(bucket).load(std::memory_order_relaxed);
    if (is_hot(cell)) cells.push_back({bucket, read_heat(cell), written_heat(cell)});
  }
  return cells;
}

}  // namespace hf::lock
