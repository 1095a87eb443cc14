// SPDX-License-Identifier: Apache-2.0
// The overlay's shared layouts; the twin of docs/formats.md, section "Overlay". Nothing here is ever read after the
// last process has left: recovery rebuilds it from the log. Offsets inside a segment count units of 8 bytes from the
// segment's start; 0 means none. All integers are in the machine's order (little endian).
//
//   segment file   | SegmentHeader | Bucket x buckets | arena: nodes and versions ...  used -> |   free   |
//
//   bucket --newest--> Node --chain--> Node        hash chains, newest node first
//                       |  \--next[0..height-1]--> Node, Node ...   skip list, ascending (table, key)
//                     newest
//                       v
//                    Version --prev--> Version --prev--> ...        csn descending
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace hf::overlay {

enum class VersionKind : std::uint8_t {
  kPut = 1,
  kDelete = 2,
  kDropTable = 3,  // on the row with the empty key: every older row of the table is gone
};

inline constexpr std::uint32_t kSegmentsMax = 64;
inline constexpr std::uint32_t kHeightMax = 14;  // levels of the skip list; 4^14 rows at a branching of 4

// --- in shared memory ------------------------------------------------------------------------------------------

enum class SegmentState : std::uint32_t { kFree = 0, kReady = 1, kActive = 2, kSealed = 3, kMerged = 4 };

// One segment. First line: under the commit latch for kReady -> kActive -> kSealed, else the maintainer.
// Second line, written at each insert and so kept away from what readers read: the latch owner, alone.
struct alignas(64) SegmentRow {
  std::atomic<std::uint32_t> state;       // SegmentState; stored last (release)
  std::atomic<std::uint32_t> generation;  // raised at each use of the row, so that a cached mapping knows it is old
  std::atomic<std::uint64_t> size;        // bytes of the file, 0 = no file
  std::atomic<std::uint64_t> first_csn;
  std::atomic<std::uint64_t> last_csn;  // kCsnMax while active
  std::atomic<std::uint32_t> file_no;   // names the file: overlay-<file_no>.hfo
  std::uint32_t pad0[7];                // zero

  std::atomic<std::uint64_t> used;  // bytes from the segment's start that are allocated
  // units << 32 | offset of an allocation that nothing refers to yet, else 0. Stored before `used` is raised, so that a
  // repeated insert takes the same bytes again.
  std::atomic<std::uint64_t> pending;
  std::atomic<std::uint64_t> rows;  // nodes; each kill may leave it one short
  std::uint64_t pad1[5];            // zero
};
static_assert(sizeof(SegmentRow) == 128 && alignof(SegmentRow) == 64);
static_assert(offsetof(SegmentRow, state) == 0 && offsetof(SegmentRow, generation) == 4);
static_assert(offsetof(SegmentRow, size) == 8 && offsetof(SegmentRow, first_csn) == 16);
static_assert(offsetof(SegmentRow, last_csn) == 24 && offsetof(SegmentRow, file_no) == 32);
static_assert(offsetof(SegmentRow, used) == 64 && offsetof(SegmentRow, pending) == 72);
static_assert(offsetof(SegmentRow, rows) == 80);

// `ready` names the one segment that rotate() takes next. The maintainer replaces an untaken name by compare-and-swap,
// only ever by a roomier one; the latch owner sets kReadyTaken, which is also the mark of a rotation under way.
inline constexpr std::uint32_t kReadyTaken = 0x80000000u;

struct alignas(64) OverlayShared {
  std::atomic<std::uint64_t> layout_version;
  std::atomic<std::uint32_t> active;  // row
  std::atomic<std::uint32_t> ready;   // row + 1 of the ready segment, 0 = none; | kReadyTaken while rotating to it
  std::atomic<std::uint64_t> rotating_csn;  // last csn of the segment being sealed; valid while kReadyTaken is set
  std::uint64_t bytes_max;                  // the creator's options, for all; constant afterwards
  std::uint64_t segment_size_min;
  std::atomic<std::uint32_t> files_made;  // the last file_no given away; maintainer
  std::uint32_t pad0;                     // zero
  std::uint64_t pad1[2];                  // zero
  SegmentRow segments[kSegmentsMax];
};
static_assert(offsetof(OverlayShared, layout_version) == 0 && offsetof(OverlayShared, active) == 8);
static_assert(offsetof(OverlayShared, ready) == 12 && offsetof(OverlayShared, rotating_csn) == 16);
static_assert(offsetof(OverlayShared, bytes_max) == 24 && offsetof(OverlayShared, segment_size_min) == 32);
static_assert(offsetof(OverlayShared, files_made) == 40 && offsetof(OverlayShared, segments) == 64);
static_assert(sizeof(OverlayShared) == 64 + kSegmentsMax * sizeof(SegmentRow));

// --- in a segment ----------------------------------------------------------------------------------------------

using Offset = std::uint32_t;                    // in units of kOffsetUnit; 0 = none
inline constexpr std::uint64_t kOffsetUnit = 8;  // so that 32 bits reach 32 GiB
inline constexpr std::uint64_t kSegmentSizeMax = (std::uint64_t{1} << 32) * kOffsetUnit;
inline constexpr char kSegmentMagic[8] = {'H', 'F', 'O', 'V', 'L', '0', '0', '1'};

using AtomicOffset = std::atomic<Offset>;

// A row. Filled whole before it is linked; `newest`, `chain`, `prev` and `next` only change by the latch owner
// (release), readers load them with acquire. After next[height] come the key's bytes, then, 8-byte aligned, the row's
// first version, so that a hit meets one or two cache lines.
struct Node {
  std::uint64_t prefix;  // first 8 key bytes as a big-endian number, zero padded: most comparisons end here
  TableId table;
  std::uint16_t key_size;
  std::uint8_t height;   // 1..kHeightMax
  std::uint8_t pad;      // zero
  AtomicOffset newest;   // newest version
  AtomicOffset chain;    // next node of the hash bucket
  AtomicOffset prev;     // level 0, a hint: this node's predecessor, or one before it; kHeadOffset for the first
  AtomicOffset next[1];  // `height` of them
};
static_assert(sizeof(Node) == 32 && alignof(Node) == 8);
static_assert(offsetof(Node, prefix) == 0 && offsetof(Node, table) == 8 && offsetof(Node, key_size) == 12);
static_assert(offsetof(Node, height) == 14 && offsetof(Node, newest) == 16 && offsetof(Node, chain) == 20);
static_assert(offsetof(Node, prev) == 24 && offsetof(Node, next) == 28);

// One version of a row; immutable once linked. The value starts at value_offset, 8-byte aligned.
struct VersionRecord {
  std::uint64_t csn;
  Offset prev;  // next older version
  std::uint32_t value_size;
  VersionKind kind;
  std::uint8_t flags;
  std::uint8_t value_offset;  // from the record's start: 24, or 32 when expires_ms (8 bytes) lies between
  // The four bytes of `prev`, xored. It is no part of the row, so the checksum says nothing about it.
  std::uint8_t prev_check;
  std::uint32_t checksum;  // row_checksum() of the row (base/hash.h)
};
static_assert(sizeof(VersionRecord) == 24 && alignof(VersionRecord) == 8);
static_assert(offsetof(VersionRecord, csn) == 0 && offsetof(VersionRecord, prev) == 8);
static_assert(offsetof(VersionRecord, value_size) == 12 && offsetof(VersionRecord, kind) == 16);
static_assert(offsetof(VersionRecord, flags) == 17 && offsetof(VersionRecord, value_offset) == 18);
static_assert(offsetof(VersionRecord, prev_check) == 19 && offsetof(VersionRecord, checksum) == 20);

constexpr std::uint8_t fold_offset(Offset offset) noexcept {
  offset ^= offset >> 16;
  return static_cast<std::uint8_t>(offset ^ offset >> 8);
}

// A hash bucket: bloom << 32 | offset of the newest node. The bloom has bit (hash >> 59) set for every node of the
// chain, so most absent rows cost this one line. Written by the latch owner (release), read with acquire.
using Bucket = std::atomic<std::uint64_t>;
static_assert(sizeof(Bucket) == 8 && Bucket::is_always_lock_free);

inline constexpr std::size_t kTableWords = 64;  // has_table() is exact for the first 4,096 table numbers
inline constexpr std::size_t kHeadSize = 128;   // a Node of height kHeightMax, padded

// Start of a segment file. The first 64 bytes but `generation` are constant once a row names the file; the rest, like
// the buckets, is zeroed by the maintainer at each use, before the row becomes kReady, then written by the latch owner.
struct SegmentHeader {
  char magic[8];
  std::uint64_t fingerprint;                       // of the layouts here; processes of another build refuse to attach
  std::uint64_t size;                              // bytes of the file
  std::atomic<std::uint32_t> generation;           // of the row at this use
  std::uint32_t bucket_mask;                       // buckets - 1; their number is a power of two
  std::uint64_t pad[4];                            // zero
  std::atomic<std::uint64_t> tables[kTableWords];  // bit (table & 4095): a row of the table may be here
  char head[kHeadSize];                            // the list's head: a Node of height kHeightMax before every row
};
static_assert(sizeof(SegmentHeader) == 704 && sizeof(SegmentHeader) % 64 == 0);
static_assert(offsetof(SegmentHeader, fingerprint) == 8 && offsetof(SegmentHeader, size) == 16);
static_assert(offsetof(SegmentHeader, generation) == 24 && offsetof(SegmentHeader, bucket_mask) == 28);
static_assert(offsetof(SegmentHeader, tables) == 64 && offsetof(SegmentHeader, head) == 576);
static_assert(offsetof(Node, next) + kHeightMax * sizeof(AtomicOffset) <= kHeadSize);
static_assert(AtomicOffset::is_always_lock_free && sizeof(AtomicOffset) == 4);

inline constexpr Offset kHeadOffset = offsetof(SegmentHeader, head) / kOffsetUnit;

// About one bucket per 192 bytes: near one row per bucket in a full segment of small rows.
constexpr std::uint64_t bucket_count(std::uint64_t segment_size) noexcept { return std::bit_ceil(segment_size / 192); }
// Where the arena starts, and how much it takes.
constexpr std::uint64_t arena_start(std::uint64_t segment_size) noexcept {
  return sizeof(SegmentHeader) + bucket_count(segment_size) * sizeof(Bucket);
}
constexpr std::uint64_t arena_size(std::uint64_t segment_size) noexcept {
  return segment_size - arena_start(segment_size);
}

// Changes with any size, place or rule above that two processes must agree on.
constexpr std::uint64_t layout_fingerprint() noexcept {
  constexpr std::uint64_t kFacts[] = {2,  // version; raise it when a meaning changes without a size
                                      sizeof(OverlayShared),
                                      sizeof(SegmentRow),
                                      sizeof(SegmentHeader),
                                      sizeof(Node),
                                      sizeof(VersionRecord),
                                      offsetof(SegmentRow, used),
                                      offsetof(SegmentRow, pending),
                                      offsetof(SegmentHeader, tables),
                                      offsetof(SegmentHeader, head),
                                      offsetof(Node, newest),
                                      offsetof(Node, chain),
                                      offsetof(Node, prev),
                                      offsetof(Node, next),
                                      offsetof(VersionRecord, prev),
                                      offsetof(VersionRecord, value_offset),
                                      offsetof(VersionRecord, checksum),
                                      kSegmentsMax,
                                      kHeightMax,
                                      kOffsetUnit,
                                      kTableWords,
                                      bucket_count(std::uint64_t{64} << 20)};
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::uint64_t fact : kFacts) hash = (hash ^ fact) * 0x100000001b3u;
  return hash;
}

}  // namespace hf::overlay
