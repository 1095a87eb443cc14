// SPDX-License-Identifier: Apache-2.0
// Heat: which rows conflict often, so that they are locked before they conflict again.
//
// One cell for each lock bucket, in shared memory (format.h): a score of conflicts among rows that were only read, and
// one among rows that were read and written. Rows of one bucket share it: a stranger beside a hot row is locked at
// first touch too, which costs it a lock and never correctness.
//
//   conflict: + kConflictHeat       wait for a warm row: + kWaitHeat       each kCoolEveryNs: - a quarter, at least 1
//
// At kHotAt a score is hot. So a row becomes hot by its second conflict within about 200 ms; while hot, everybody locks
// it up front and nothing conflicts any more, so the waits for it are what keeps it hot; left alone it cools from the
// very top in 600 ms. Waits never warm a cold row: who locks of his own accord makes nobody else lock.
//
// Thread contract: any thread of any process, no lock. Cells and `hot` are written by anybody with a relaxed load and a
// relaxed store. An update that is lost between the two makes a row hot one conflict later, or cool 100 ms later;
// `hot` is counted anew by each cool(), so it is wrong for 100 ms at most. A process killed anywhere leaves valid
// scores; if it took a turn at cooling and died, the next one comes 100 ms later.
#pragma once

#include <cstdint>
#include <vector>

#include "lock/format.h"

namespace hf::lock {

inline constexpr std::uint8_t kConflictHeat = 32;
inline constexpr std::uint8_t kWaitHeat = 16;  // one wait in 100 ms holds a score at 64 at least: hot
inline constexpr std::uint8_t kHotAt = 48;     // 32, cooled twice, and 32 again make 50; cooled three times, 45
inline constexpr std::uint64_t kCoolEveryNs = 100'000'000;

constexpr std::uint8_t read_heat(std::uint16_t cell) noexcept { return static_cast<std::uint8_t>(cell & 255); }
constexpr std::uint8_t written_heat(std::uint16_t cell) noexcept { return static_cast<std::uint8_t>(cell >> 8); }
constexpr std::uint16_t make_heat(std::uint8_t read, std::uint8_t written) noexcept {
  return static_cast<std::uint16_t>(written << 8 | read);
}
constexpr bool is_hot(std::uint16_t cell) noexcept { return read_heat(cell) >= kHotAt || written_heat(cell) >= kHotAt; }

// A transaction failed because of that row, which it had read, and written too or not.
void note_conflict(const LockRegion& region, std::uint64_t hash, bool written_too) noexcept;
// Somebody had to wait for the row in that mode.
void note_wait(const LockRegion& region, std::uint64_t hash, Mode wanted) noexcept;

// In which mode to lock a row at its first touch; kNone: not at all. While nothing at all is hot, one load of a line
// that nobody writes.
inline Mode lock_at_first_touch(const LockRegion& region, std::uint64_t hash) noexcept {
  if (region.shared().hot.load(std::memory_order_relaxed) == 0) return Mode::kNone;
  const std::uint16_t cell = region.heat(hash).load(std::memory_order_relaxed);
  if (written_heat(cell) >= kHotAt) return Mode::kExclusive;
  return read_heat(cell) >= kHotAt ? Mode::kShared : Mode::kNone;
}

// Lets the heat decay when it is time, for all the time that has passed. Cheap when it is not: call it on slow paths.
void cool(const LockRegion& region, std::uint64_t now_ns) noexcept;

// For statistics.
struct HotCell {
  std::uint32_t bucket;
  std::uint8_t read;
  std::uint8_t written;
};
std::uint64_t hot_cells(const LockRegion& region) noexcept;
std::vector<HotCell> list_hot_cells(const LockRegion& region);

}  // namespace hf::lock
