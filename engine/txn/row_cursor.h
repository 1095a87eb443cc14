// SPDX-License-Identifier: Apache-2.0
// RowCursor: the rows of a range of one table as a transaction sees them, in either direction: its own writes over the
// overlay's segments, newest first, over the base. One thread at a time, together with its transaction, which
// outlives it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "overlay/overlay.h"
#include "store/store.h"
#include "txn/transaction.h"

namespace hf::txn {

struct Range {
  Bytes low;   // empty: from the first row
  Bytes high;  // empty: to the last row
  Bytes prefix;
  bool low_exclusive = false;
  bool high_inclusive = false;
  bool reverse = false;
  std::uint64_t skip = 0;
  std::uint64_t limit = 0;  // 0 = all
};

class RowCursor {
 public:
  explicit RowCursor(Transaction& txn) noexcept : txn_(&txn) {}
  RowCursor(const RowCursor&) = delete;
  ~RowCursor();

  // Before anything else; copies the bounds.
  Status open(Table& table, const Range& range);
  // Moves to the next row in the cursor's direction: kEND after the last.
  Status next(Bytes* key, RowView* row);
  // The commonest case of next(), for callers that count nanoseconds; false: nothing was done, call next().
  bool next_of_base(Bytes* key, RowView* row) noexcept;
  // Next rows begin at or after `key` in the cursor's direction.
  Status seek(Bytes key);
  Transaction& transaction() const noexcept { return *txn_; }

 private:
  struct Source {
    const overlay::Segment* segment;
    overlay::Iterator iterator;
    Bytes key;
    bool live;  // stands on a row of this table inside the bounds
  };

  void set_bounds(const Range& range);
  Status position();  // puts everything on its first row at or after the start
  Status position_base();
  void position_sources();
  void position_own();
  void start_range();

  Status next_slow(Bytes* key, RowView* row);  // Requires: the transaction was entered
  Status advance(Bytes* key, RowView* row);    // kEND
  Status advance_merged(Bytes* key, RowView* row, bool* found);
  bool take_overlay(Bytes key, RowView* row, bool* decided);
  Status step_base();
  void check_base() noexcept;
  void check_source(Source& source) noexcept;
  void pick_best() noexcept;
  bool base_is_nearest() noexcept;
  bool nearer(Bytes a, Bytes b) const noexcept { return reverse_ ? b < a : a < b; }
  bool inside(Bytes key) const noexcept;  // before the bound that the cursor walks towards
  void note_progress(Bytes key) noexcept;
  void note_end() noexcept;

  Transaction* txn_;
  const View* view_ = nullptr;  // null: base only
  Csn snapshot_ = 0;
  std::uint64_t txn_life_ = 0;  // the transaction's begin that this belongs to
  TableId table_ = 0;
  bool reverse_ = false;
  bool tracked_ = false;

  std::string low_, high_;  // effective bounds
  bool has_high_ = false, low_exclusive_ = false, high_inclusive_ = false;
  bool bounded_ = false;  // there is a bound in the direction of the walk
  bool empty_ = false;    // the bounds admit nothing
  std::uint64_t skip_ = 0;
  std::uint64_t left_ = 0;  // rows still to give

  std::string start_;  // where the walk begins when a seek said so
  bool has_start_ = false;
  bool positioned_ = false;
  bool walking_ = false;  // at least one row was given since the last positioning: next() may be short
  bool ended_ = false;

  std::optional<store::Cursor> base_;
  bool base_live_ = false;
  bool base_ended_ = false;        // its last step stands on no row; why is not looked at yet
  bool base_taken_ = false;        // its row was given: step before looking again
  std::vector<Source> sources_;    // newest first
  std::uint64_t best_prefix_ = 0;  // first bytes of its key as a number, and whether there are eight of them
  bool best_long_ = false;
  int best_ = -1;  // live source with the nearest key, the newest of equals
  WriteSet::Position own_;
  bool own_live_ = false;
  std::uint64_t own_changes_ = 0;  // WriteSet::changes() that own_ was found under
  Bytes last_key_;                 // last row passed over
  bool has_last_ = false;
  RangeRead* range_ = nullptr;  // what to validate of this walk, in the transaction's read set
};

}  // namespace hf::txn
