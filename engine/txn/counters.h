// SPDX-License-Identifier: Apache-2.0
// Counters: rows with kFlagCounter whose value is eight bytes, a 64-bit integer with sign, little endian. An add is a
// write that says what to do with the row instead of what is in it. It is carried out under the commit latch, on
// whatever the newest commit has left, and the record says what came of it.
//
// One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "overlay/overlay.h"
#include "txn/record.h"

namespace hf::txn {

inline constexpr std::uint8_t kFlagCounter = 1;  // of RowView, RowWrite, overlay::Change and what they are stored as
inline constexpr std::size_t kCounterSize = 8;

using WideInt = __int128;  // where sums of 64-bit integers do not overflow

inline std::int64_t load_counter(const char* in) noexcept {
  std::int64_t value;
  std::memcpy(&value, in, sizeof value);
  return value;
}
inline void store_counter(char* out, std::int64_t value) noexcept { std::memcpy(out, &value, sizeof value); }

// All the adds of one transaction to one counter. Each of them demands that the committed value v, the deltas up to it
// added, stays inside its bounds and in 64 bits: together that v lies in [low, high].
struct CounterAdd {
  std::int64_t low = INT64_MIN;  // <= high
  std::int64_t high = INT64_MAX;
  std::int64_t low_sum = INT64_MIN;  // low + the sum of the deltas; the sum itself may need 65 bits
  std::int64_t after = 0;            // what the commit left

  WideInt delta() const noexcept { return WideInt{low_sum} - low; }
  // One more. False, and nothing is changed: no committed value would do.
  bool fold(std::int64_t delta, std::int64_t min, std::int64_t max) noexcept;
};

// A row as adds see it.
struct CounterRow {
  enum class Kind : std::uint8_t { kAbsent, kCounter, kOther, kDamaged };
  Kind kind = Kind::kAbsent;
  std::int64_t value = 0;        // 0 when absent
  std::uint64_t expires_ms = 0;  // kept by adds
  Csn version = 0;               // commit that wrote it, or took it away if that is known
};
CounterRow counter_row(Bytes value, std::uint8_t flags, std::uint64_t expires_ms, Csn version,
                       std::uint64_t now_ms) noexcept;
CounterRow counter_row(const overlay::Version& version, std::uint64_t now_ms) noexcept;

// One add on its way through the commit.
struct PlannedAdd {
  CounterAdd* add;
  overlay::Change* change;  // its value lies in the record's body
  RecordPlace place;
  CounterRow at_snapshot;
  CounterRow newest;
  bool fits() const noexcept {
    return newest.kind < CounterRow::Kind::kOther && newest.value >= add->low && newest.value <= add->high;
  }
};

// Finds the newest commit of each row. Null, or the first add that it does not allow. `segments`, newest first, hold
// all commits between `snapshot` and `published`. Look-ups only: for use under the commit latch. With `verify`, rows
// that do not match their checksums are not allowed either: the sum would make a right row of a wrong one.
const PlannedAdd* look_up_adds(std::vector<PlannedAdd>& adds, const std::vector<overlay::SegmentRef>& segments,
                               Csn snapshot, Csn published, std::uint64_t now_ms, bool verify) noexcept;
// Carries the adds out on what was found: in the record, the changes, and CounterAdd::after. May be done again.
// Requires: look_up_adds() said null.
void carry_out_adds(std::vector<PlannedAdd>& adds) noexcept;

// "the counter stands at 3; adding -5 leaves [0, 100]"
std::string out_of_range_text(WideInt value, WideInt delta, std::int64_t min, std::int64_t max);

}  // namespace hf::txn
