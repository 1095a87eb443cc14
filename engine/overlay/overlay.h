// SPDX-License-Identifier: Apache-2.0
// Layer `overlay`: the newest commits in memory shared by all processes, as versions (table, key, csn) -> value or
// tombstone. May include `base` and `platform`; `txn` uses it.
//
// The overlay is a short list of segments, each a preallocated mapped file: a hash table for point reads, a skip list
// over (table, key) for ordered iteration in both directions, and a bump-allocated arena. One segment is active; the
// others are sealed and wait to be merged into the base, then for the last reader, then to be used again.
//
//      kFree --prepare--> kReady --activate--> kActive --seal--> kSealed --set_merged--> kMerged --free_merged--> kFree
//            [maintainer]        \____ [latch], in one rotate() ____/     [maintainer]           [maintainer]
//
// Thread contract. [latch]: needs the commit latch (one writer in all processes). [maintainer]: needs the maintainer
// role. Everything else: any thread, lock-free.
//
// Invariants
//  1. A segment holds exactly the commits first_csn .. last_csn; segments do not overlap; newer segments have higher
//  ones.
//  2. A reader that knows published csn S (acquire) finds every version <= S whole. Versions > S may be there, half
//  of a
//     commit of them too: readers skip them by csn.
//  3. Level 0 of the skip list is the truth; hash chains and upper levels only find nodes faster. A node is linked into
//     level 0 first, then into its hash chain, then upwards. Before the hash chain is tried, only the commit of a
//     killed
//     writer can be half linked; inserting it again completes it, in the bytes that it took before (idempotent).
//  4. Nothing in a segment is ever moved or freed singly; a version's bytes stay until the segment is used again.
//
// Layouts: overlay/format.h and docs/formats.md.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/status.h"
#include "overlay/format.h"
#include "platform/region.h"

namespace hf::overlay {

// One version of a row, as a reader gets it. `value` points into the segment.
struct Version {
  Csn csn = 0;
  std::uint64_t expires_ms = 0;  // 0 = never
  Bytes value;
  VersionKind kind = VersionKind::kPut;
  std::uint8_t flags = 0;  // kind of row, uninterpreted here
  std::uint32_t checksum = 0;
};

struct SegmentFinding {
  std::uint64_t offset = UINT64_MAX;  // in the segment's file
  TableId table = 0;                  // 0: no row in particular
  std::string key;
  Csn csn = 0;
  std::string text;
};

// A mapped segment. Immutable handle; share it freely. `row` and `region` hold the segment at `generation`; the row
// must outlive the handle.
class Segment {
 public:
  Segment(std::shared_ptr<const platform::Region> region, const SegmentRow& row, std::uint32_t index,
          std::uint32_t generation) noexcept;
  // Newest version of the row with csn <= snapshot. False when there is none here. `hash` is row_hash(table, key).
  bool find(TableId table, Bytes key, std::uint64_t hash, Csn snapshot, Version* out) const noexcept;
  // The same with distrust: bounds of every link on the way, whether every node of the hash chain belongs there, and
  // the checksum of every version passed over. kCORRUPT names row and file. Several times the price.
  Result<bool> find_verified(TableId table, Bytes key, std::uint64_t hash, Csn snapshot, Version* out) const;
  // Csn of the newest version of the row, whatever the snapshot; 0 when there is none here.
  Csn newest(TableId table, Bytes key, std::uint64_t hash) const noexcept;
  // The largest csn of any row in the interval that is > after, or 0. `low` is inclusive. `high` is the end, exclusive,
  // or inclusive when high_inclusive; without has_high: to the end of the table.
  Csn changed_in_range(TableId table, Bytes low, Bytes high, bool has_high, bool high_inclusive,
                       Csn after) const noexcept;
  // Brings into this processor's cache what an insert of the row will look at, so that it need not wait for memory
  // inside the latch. Worth a call for each row of a write set just before the latch is taken.
  void warm(TableId table, Bytes key, std::uint64_t hash) const noexcept;

  Csn first_csn() const noexcept;
  Csn last_csn() const noexcept;  // kCsnMax while the segment is active
  std::uint32_t index() const noexcept { return index_; }
  std::uint32_t generation() const noexcept { return generation_; }
  // Nodes; grows; each kill may leave it one short. A walk that begins after it meets at least that many.
  std::uint64_t rows() const noexcept;
  bool has_table(TableId table) const noexcept;  // false: certainly no row of it here (small per-segment filter)
  std::string file() const;                      // plain name, for reports
  // Every link and every version, whatever the bytes are; counts the versions. Others may insert meanwhile. `found`
  // answers false to stop.
  std::uint64_t check(const std::function<bool(const SegmentFinding& finding)>& found) const;

 private:
  friend class Overlay;
  friend class Iterator;
  friend class Writer;
  char* base_;                 // of the mapping
  std::uint64_t bucket_mask_;  // copy of the header's, kept near
  std::uint32_t index_;
  std::uint32_t generation_;
  const SegmentRow* row_;
  std::shared_ptr<const platform::Region> region_;  // kept when the row uses the same file again
};
using SegmentRef = std::shared_ptr<const Segment>;

// Walks the rows of a segment in (table, key) order. Rows appear even when no version is visible at a snapshot; the
// caller asks version(). Lock-free against the writer; rows inserted meanwhile may or may not appear, but those with a
// version <= a csn published before the walk always do.
class Iterator {
 public:
  // With distrust, as Segment::find_verified(): where a link cannot be right the walk ends and damaged() is true.
  explicit Iterator(const Segment& segment, bool distrust = false) noexcept : segment_(&segment), distrust_(distrust) {}
  bool valid() const noexcept { return node_ != 0; }
  bool damaged() const noexcept { return damaged_; }
  // Whether the row's key is what was written, by the checksum of its newest version: a key that is another one would
  // hide its row in a walk over several sources before anybody looks at the version. Requires: valid(), distrust
  bool is_whole() const noexcept { return is_whole(static_cast<Offset>(node_)); }
  // What is wrong: kCORRUPT, names the row if it can. Requires: damaged(), or valid() and not is_whole()
  Status damage() const;
  void seek_at_or_after(TableId table, Bytes key) noexcept;   // first row >= (table, key)
  void seek_before(TableId table, Bytes key) noexcept;        // last row < (table, key)
  void seek_at_or_before(TableId table, Bytes key) noexcept;  // last row <= (table, key)
  void next() noexcept;                                       // Requires: valid()
  void prev() noexcept;                                       // Requires: valid()
  TableId table() const noexcept;                             // Requires: valid()
  Bytes key() const noexcept;                                 // Requires: valid(); points into the segment
  bool version(Csn snapshot, Version* out) const noexcept;    // newest <= snapshot. Requires: valid()
  // The same, as Segment::find_verified(). Requires: valid()
  Result<bool> version_verified(Csn snapshot, Version* out) const;
  Csn newest() const noexcept;  // Requires: valid()

 private:
  friend class Segment;
  // verify.cc
  Offset after_verified(Offset from) noexcept;
  Offset descend_verified(TableId table, Bytes key, bool inclusive) noexcept;
  Offset give_up(Offset culprit = 0) noexcept;
  bool is_whole(Offset offset) const noexcept;
  void seek_at_or_after_verified(TableId table, Bytes key) noexcept;
  void prev_verified() noexcept;

  const Segment* segment_;
  std::uint64_t node_ = 0;  // its Offset; 0 = no row
  bool distrust_;
  bool damaged_ = false;
  Offset culprit_ = 0;  // the row whose key is wrong, if that is known
};

struct OverlayOptions {
  std::string directory;                      // holds the segment files; exists
  std::uint64_t bytes_max = 256u << 20;       // budget of all segments together
  std::uint64_t segment_size_min = 1u << 20;  // the first segment; each new one doubles up to a quarter of the budget
};

struct OverlayStats {
  std::uint64_t bytes_mapped;  // size of all segments that exist
  std::uint64_t bytes_max;
  std::uint64_t bytes_used;                     // allocated in active and sealed segments
  std::uint32_t active, sealed, merged, ready;  // counts
};

// One row change of a commit.
struct Change {
  TableId table;
  Bytes key;
  std::uint64_t hash;  // row_hash(table, key)
  VersionKind kind;
  std::uint8_t flags;
  std::uint64_t expires_ms;
  Bytes value;
  std::uint64_t content = 0;  // row_content() of all that: taken before the latch, because it reads the whole value
};
inline std::uint64_t content_of(const Change& change) noexcept {
  return row_content(change.hash, static_cast<std::uint8_t>(change.kind), change.flags, change.expires_ms,
                     change.value);
}

class Overlay {
 public:
  // First opener, under the gate: removes old segment files, makes the first active segment whose commits start at
  // `first_csn`. `shared` is zero-filled.
  static Result<std::unique_ptr<Overlay>> create(OverlayShared& shared, OverlayOptions options, Csn first_csn);
  static Result<std::unique_ptr<Overlay>> attach(OverlayShared& shared, OverlayOptions options);
  // Removes every segment file in the directory (the last process leaves, or nobody is there).
  static Status remove_files(const std::string& directory);

  // --- reading ------------------------------------------------------------------------------------------------
  // Raised (release) by every rotate(), set_merged() and free_merged(): while it stands still, a cached list of
  // segments is complete. It may hold more than a reader with a newer base has pinned: such a reader has to leave out
  // segments with last_csn() <= its base, for they may be freed and used again under it.
  std::uint64_t layout_version() const noexcept;
  // The segments that hold commits newer than `base_csn`, newest first, all mapped. Retries inside until consistent.
  // The caller's pin must already keep them from being freed (see txn/views.h).
  Result<std::vector<SegmentRef>> segments_after(Csn base_csn);

  // --- writing ------------------------------------------------------------------------------------------------
  // Upper bound of what a change takes in a segment, bytes.
  static std::uint64_t space_of(std::size_t key_size, std::size_t value_size) noexcept;
  // Not under the latch: maps the active segment in this process if it is not yet, and populates the pages that the
  // next `bytes` will use, so that insert() meets no page fault. Cheap when there is nothing to do.
  Status touch_ahead(std::uint64_t bytes);
  // [latch] Whether the active segment is mapped here and has room for `bytes` (a sum of space_of). A repair needs no
  // reserve: it takes the bytes again that the killed writer took.
  bool has_room(std::uint64_t bytes) const noexcept;
  // [latch] Whether a ready segment with that much room is there for rotate(). Once true, it stays so until rotate().
  bool can_rotate(std::uint64_t bytes) const noexcept;
  // [latch] Seals the active segment at `last_csn` and makes the ready one active from last_csn + 1 on. It need not be
  // mapped here: has_room() tells, and touch_ahead() maps it. A killed owner leaves a half rotation that
  // finish_rotation() completes. Requires: can_rotate().
  void rotate(Csn last_csn) noexcept;
  void finish_rotation() noexcept;  // [latch] first act of a latch owner after a takeover
  // [latch] Maps the active segment if needed. Only the repair of a takeover may do this inside the latch.
  Status map_active();
  // [latch] Inserts one change. Requires: has_room(). Idempotent for (row, csn). Cannot fail.
  void insert(Csn csn, const Change& change) noexcept;

  // --- upkeep -------------------------------------------------------------------------------------------------
  // [maintainer] Makes sure that a ready segment with room for `bytes` exists: reuses a freed one or makes a file,
  // within the budget. kOVERLOADED when the budget forbids it, kTOO_LARGE when `bytes` can never fit (a segment takes
  // at most 3/8 of the budget, so that the next one always fits beside it), kDISK_FULL.
  Status prepare(std::uint64_t bytes);
  bool has_ready() const noexcept;
  // How full the active segment is, 0..1.
  double fullness() const noexcept;
  // [maintainer] Oldest sealed segment that is not merged yet, or null.
  Result<SegmentRef> oldest_sealed();
  // [maintainer] Its commits are in the base.
  void set_merged(const Segment& segment) noexcept;
  // [maintainer] Frees merged segments with last_csn <= oldest_pin; their files are kept for reuse, or removed when
  // too many or too small.
  Status free_merged(Csn oldest_pin);
  OverlayStats stats() const noexcept;

 private:
  class Impl;
  explicit Overlay(std::unique_ptr<Impl> impl) noexcept;

 public:
  ~Overlay();

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace hf::overlay
