// SPDX-License-Identifier: Apache-2.0
// The control region: the one file of shared memory that all processes with the database open have mapped; the twin of
// docs/formats.md, section "Control region". Made by the first opener, under the gate, zero-filled, `ready` stored
// last; removed by the last one to leave. After a crash of all processes only the log ring in it is looked at
// (Log::salvage).
//
//   offset      what
//   0           RegionHeader
//   4096        ProcessSlot[256]      16 KiB   platform/liveness.h
//   ...         PinRow[256]           256 KiB  pins of each process
//   ...         TxnShared             latches, published csn, counters
//   ...         CommitterRow[1024]    64 KiB   who made the last commits
//   ...         OverlayShared, LogShared
//   ...         the log's ring        4 MiB
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/histogram.h"
#include "lock/format.h"
#include "log/format.h"
#include "overlay/format.h"
#include "platform/latch.h"
#include "platform/liveness.h"

namespace hf::txn {

inline constexpr char kRegionMagic[8] = {'H', 'F', 'S', 'H', 'M', '0', '0', '1'};

struct RegionHeader {
  char magic[8];
  std::uint32_t fingerprint;         // kLayoutFingerprint of the build that made it
  std::atomic<std::uint32_t> ready;  // 1 once everything else is initialised (release)
  std::uint64_t database_id;
  char boot_id[40];                 // of the kernel that the memory belongs to
  std::uint64_t overlay_bytes_max;  // the first opener's options, for everybody
  std::uint64_t log_segment_size_max;
  std::uint64_t txn_bytes_max;
  char reserved[4096 - 88];  // zero
};
static_assert(sizeof(RegionHeader) == 4096);

// One base state kept alive by one process. base_plus_one: 0 = unused, else the base's applied csn + 1; 1 while the
// snapshot is being opened, which pins everything. With kPinIdle the owner has no transaction on it, and whoever
// wants to free memory may turn it into kPinRevoked (compare-and-swap); the owner takes the bit away in the same
// manner before it uses the pin again. Else written by the owning process only. Left by a dead process: ignored,
// because PinRow::owner names a life that Liveness knows to be over.
struct Pin {
  std::atomic<std::uint64_t> base_plus_one;
  std::atomic<std::uint64_t> since_ns;  // monotonic clock
};

inline constexpr std::uint32_t kPinsMax = 60;
inline constexpr std::uint64_t kPinIdle = std::uint64_t{1} << 63;
inline constexpr std::uint64_t kPinRevoked = std::uint64_t{1} << 62;

struct alignas(64) PinRow {
  std::atomic<std::uint32_t> owner;  // OwnerId; stored before any pin of that life
  std::uint32_t pad0;                // zero
  std::uint64_t pad1[7];             // zero
  Pin pins[kPinsMax];
};
static_assert(sizeof(PinRow) == 1024);

// Grouped by who writes, a cache line or more for each.
struct alignas(64) TxnShared {
  platform::LatchWord commit_latch;      // protects: log append, overlay insert and rotation, published_csn, system_csn
  platform::LatchWord maintainer_latch;  // the maintainer role: merge, load, sweep, segment upkeep

  // Under the commit latch; read by everybody (acquire).
  alignas(64) std::atomic<std::uint64_t> published_csn;  // everything <= it is whole and visible
  std::atomic<std::uint64_t> system_csn;                 // last commit that wrote the system table
  std::atomic<std::uint64_t> commits;

  // Raised (release) whenever a cached view (base snapshot + list of segments) is no longer the best one.
  alignas(64) std::atomic<std::uint64_t> view_version;
  std::atomic<std::uint64_t> too_old_below;    // transactions whose base is older are asked to end; maintainer
  std::atomic<std::uint64_t> base_generation;  // raised by every change of the base; maintainer

  // Statistics and upkeep.
  alignas(64) std::atomic<std::uint64_t> conflicts;
  std::atomic<std::uint64_t> merges;
  std::atomic<std::uint64_t> rows_swept;
  std::atomic<std::uint64_t> applied_csn;       // copy of the base's, for statistics and recycling
  std::atomic<std::uint64_t> maintained_at_ns;  // when the maintainer was last seen; monotonic
  platform::FutexWord maintain_word;            // raised and woken to ask for upkeep
  platform::FutexWord room_word;                // raised and woken when a segment became ready

  TimeHistogram durable_waits;  // of commits, from when they were visible until they were on the device
  TimeHistogram merge_times;    // of merges, from the first row to the end of their commit
};

// Who made a commit, so that a conflict can name the other party: a ring, the commit of csn c in row c % 1024. Written
// under the commit latch just before the csn is published: csn = 0, the rest, csn (release). Read by anybody without a
// latch: csn (acquire), the rest, csn again; a row with another csn before or after says nothing. A kill leaves csn
// 0, or a whole row of a commit that its repairer publishes.
struct alignas(64) CommitterRow {
  std::atomic<std::uint64_t> csn;      // 0: being written, or unused
  std::atomic<std::uint64_t> at_ms;    // wall clock, shortly before the commit
  std::atomic<std::uint32_t> process;  // OwnerId
  std::uint32_t pad0;                  // zero
  // The transaction's label, as much as fits of it, padded with zeros. The first word 0: it has none, and the other
  // words count for nothing.
  std::atomic<std::uint64_t> label[5];
};
static_assert(sizeof(CommitterRow) == 64 && offsetof(CommitterRow, label) == 24);

inline constexpr std::uint32_t kCommittersMax = 1024;  // a power of two

// Byte offsets of the parts.
inline constexpr std::size_t kSlotsOffset = sizeof(RegionHeader);
inline constexpr std::size_t kPinsOffset = kSlotsOffset + platform::kProcessSlotsMax * sizeof(platform::ProcessSlot);
inline constexpr std::size_t kTxnOffset = kPinsOffset + platform::kProcessSlotsMax * sizeof(PinRow);
inline constexpr std::size_t kCommittersOffset = kTxnOffset + sizeof(TxnShared);
inline constexpr std::size_t kOverlayOffset = kCommittersOffset + kCommittersMax * sizeof(CommitterRow);
inline constexpr std::size_t kLogOffset = kOverlayOffset + sizeof(overlay::OverlayShared);
inline constexpr std::size_t kRingOffset = (kLogOffset + sizeof(log::LogShared) + 4095) / 4096 * 4096;
inline constexpr std::size_t kRegionSize = kRingOffset + log::kRingSize;

static_assert(kTxnOffset % 64 == 0 && kCommittersOffset % 64 == 0 && kOverlayOffset % 64 == 0 && kLogOffset % 64 == 0);

// Folds the sizes and offsets of every shared structure: builds that differ refuse to share.
constexpr std::uint32_t layout_fingerprint() {
  std::uint64_t h = 1;
  for (const std::uint64_t part :
       {std::uint64_t{4} /* raise by hand when meaning changes without size */, std::uint64_t{kSlotsOffset},
        std::uint64_t{kPinsOffset}, std::uint64_t{kTxnOffset}, std::uint64_t{kCommittersOffset},
        std::uint64_t{kOverlayOffset}, std::uint64_t{kLogOffset}, std::uint64_t{kRingOffset},
        std::uint64_t{kRegionSize}, std::uint64_t{offsetof(TxnShared, published_csn)},
        std::uint64_t{offsetof(TxnShared, view_version)}, std::uint64_t{offsetof(TxnShared, conflicts)},
        std::uint64_t{sizeof(log::SegmentRow)}, std::uint64_t{sizeof(overlay::SegmentRow)},
        std::uint64_t{lock::kBuckets}, std::uint64_t{lock::kOwnersOffset}, std::uint64_t{lock::kUnitsOffset},
        std::uint64_t{offsetof(lock::Unit, key)}, std::uint64_t{offsetof(lock::OwnerRow, label)}}) {
    h = (h ^ part) * 0x9E3779B97F4A7C15u;
    h ^= h >> 29;
  }
  return static_cast<std::uint32_t>(h);
}

// Typed access to a mapped control region.
struct SharedRegion {
  char* base = nullptr;
  RegionHeader& header() const noexcept { return *reinterpret_cast<RegionHeader*>(base); }
  platform::ProcessSlot* slots() const noexcept {
    return reinterpret_cast<platform::ProcessSlot*>(base + kSlotsOffset);
  }
  PinRow* pins() const noexcept { return reinterpret_cast<PinRow*>(base + kPinsOffset); }
  TxnShared& txn() const noexcept { return *reinterpret_cast<TxnShared*>(base + kTxnOffset); }
  CommitterRow& committer(Csn csn) const noexcept {
    return reinterpret_cast<CommitterRow*>(base + kCommittersOffset)[csn % kCommittersMax];
  }
  overlay::OverlayShared& overlay() const noexcept {
    return *reinterpret_cast<overlay::OverlayShared*>(base + kOverlayOffset);
  }
  log::LogShared& log() const noexcept { return *reinterpret_cast<log::LogShared*>(base + kLogOffset); }
  char* ring() const noexcept { return base + kRingOffset; }
};

}  // namespace hf::txn
