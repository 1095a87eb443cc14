// SPDX-License-Identifier: Apache-2.0
// ReadSet: what a transaction depends on, for validation at commit: rows (present or absent) and ranges.
// Keys are copied into the arena that the owner gives. One thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/status.h"

namespace hf::txn {

// A row that must not have changed after `seen_at`.
struct RowRead {
  Bytes key;
  std::uint64_t hash;
  Csn seen_at;
  TableId table;
  Code on_change;  // kCONFLICT, or kVERSION_MISMATCH where the caller named a version
};

// A range in which no row may have changed after `seen_at`. The cursor that walks it moves the ends; their bytes live
// as long as the transaction.
struct RangeRead {
  TableId table;
  Csn seen_at;
  Bytes low;  // inclusive (the byte after it when it was exclusive makes no difference to safety)
  Bytes high;
  bool has_high;  // false: to the end of the table
  bool high_inclusive;
  bool empty = true;  // nothing was passed over yet
};

class ReadSet {
 public:
  explicit ReadSet(Arena& arena) noexcept : arena_(&arena) {}

  void add_row(TableId table, Bytes key, std::uint64_t hash, Csn seen_at, Code on_change) {
    if (!rows_.empty()) {  // the same row again, as in get then put: once is enough
      const RowRead& last = rows_.back();
      if (last.hash == hash && last.table == table && last.seen_at == seen_at && last.on_change == on_change &&
          last.key == key) {
        return;
      }
    }
    rows_.push_back({arena_->copy(key), hash, seen_at, table, on_change});
  }
  // The element stays where it is until clear().
  RangeRead* add_range(const RangeRead& range) { return &ranges_.emplace_back(range); }

  // Everything has been found unchanged up to `csn`. Copies what still points into memory that an older snapshot pins.
  void move_to(Csn csn) {
    for (RowRead& row : rows_) row.seen_at = csn;
    for (RangeRead& range : ranges_) {
      range.seen_at = csn;
      range.low = arena_->copy(range.low);
      range.high = arena_->copy(range.high);
    }
  }

  const std::vector<RowRead>& rows() const noexcept { return rows_; }
  const std::deque<RangeRead>& ranges() const noexcept { return ranges_; }
  bool empty() const noexcept { return rows_.empty() && ranges_.empty(); }
  void clear() noexcept {
    constexpr std::size_t kKeepMax = 4096;  // what a huge read set took is not kept for small ones
    if (rows_.capacity() > kKeepMax) std::vector<RowRead>().swap(rows_);
    rows_.clear();
    if (!ranges_.empty()) ranges_.clear();
  }

 private:
  Arena* arena_;
  std::vector<RowRead> rows_;
  std::deque<RangeRead> ranges_;
};

}  // namespace hf::txn
