// SPDX-License-Identifier: Apache-2.0
// Inside of `overlay`: the writing side of one segment. Every function needs the commit latch, which also keeps the
// threads of this process apart; readers may run at any time. See overlay.h for the invariants.
//
// A row's life in the segment, and what a kill after each step leaves (the next latch owner inserts the commit again):
//
//   pending = bytes    nothing allocated; the repeat takes the same bytes
//   used raised        allocated, not referred to; the repeat takes the same bytes
//   filled             the same
//   level 0 linked     scans see it, hash look-ups do not; the repeat finds it in level 0 and links the rest
//   successor's prev   a stale hint costs steps, never a wrong answer
//   hash linked        complete; upper levels may lack it for good, which costs steps only
//   upper levels       complete
//   pending = 0        done; where this is missing, the repeat finds the row and clears it
#pragma once

#include <memory>

#include "overlay/overlay.h"
#include "overlay/skiplist.h"

namespace hf::overlay {

class Writer {
 public:
  // From now on writes to this segment, whose row is `row`.
  void attach(std::shared_ptr<const Segment> segment, SegmentRow& row) noexcept;
  bool is_attached(std::uint32_t index, std::uint32_t generation) const noexcept {
    return segment_ != nullptr && segment_->index() == index && segment_->generation() == generation;
  }

  static std::uint64_t space_of(std::size_t key_size, std::size_t value_size) noexcept;
  // Requires: is_attached(), and room for space_of() bytes. Idempotent for (row, csn).
  void insert(Csn csn, const Change& change) noexcept;

 private:
  void insert_row(Csn csn, const Change& change, const RowKey& row) noexcept;
  void add_version(Csn csn, const Change& change, Offset at) noexcept;
  void complete_row(Offset at, std::uint64_t hash) noexcept;
  // Fills path_ for the levels that a node of `height` needs. Returns the row's node when level 0 has it, else 0.
  Offset find_path(const RowKey& row, unsigned height) noexcept;
  bool path_fits(const RowKey& row, unsigned height) const noexcept;
  void link_hash(Offset at, std::uint64_t hash) noexcept;
  void link_upper(Offset at) noexcept;
  void mark_table(TableId table) noexcept;
  Offset allocate(std::uint64_t size) noexcept;
  void settle(Offset allocation) noexcept;
  void fill_version(Offset at, Csn csn, const Change& change, Offset prev) noexcept;

  std::shared_ptr<const Segment> segment_;
  SegmentRow* row_ = nullptr;
  char* base_ = nullptr;
  // Per level, the node after which the last insert took place: rows of one commit, and rows in ascending order, mostly
  // go right behind it. Stays usable when other processes insert, since nodes never move or vanish.
  Offset path_[kHeightMax] = {};
};

}  // namespace hf::overlay
