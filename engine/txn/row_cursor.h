// SPDX-License-Identifier: Apache-2.0
// RowCursor: the rows of a range of one table as a transaction sees them, in either direction: its own writes over the
// overlay's segments, newest first, over the base. One thread at a time, together with its transaction, which
// outlives it.
//
//   row_cursor_position.cc   bounds, seek, where a walk begins and goes on      row_cursor.cc   stepping
//   row_cursor_locked.cc     the walk that locks as it goes
//
// A walk without locks sees the snapshot of its open; where the transaction's reads count, it goes along when a locked
// read moves the transaction's snapshot, for nothing that was passed over has changed then.
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

  // Locks each row that is given, as the rule says, in mode shared or exclusive, and gives its newest commit.
  LockRule lock;
  bool locks = false;
  // Passes over rows that cannot be locked at once; they count for neither skip nor limit. What such a walk says about
  // rows it did not give is no dependency of the transaction: neither gaps nor rows left out are looked at by commit.
  bool skip_locked = false;
};

class RowCursor {
 public:
  explicit RowCursor(Transaction& txn) noexcept : txn_(&txn) {}
  RowCursor(const RowCursor&) = delete;
  ~RowCursor();

  // Before anything else; copies the bounds.
  Status open(Table& table, const Range& range);
  // Moves to the next row in the cursor's direction: kEND after the last. With Range::locks also what
  // Transaction::get_locked() answers, and blocks as that does; after kLOCKED, kLOCK_TIMEOUT, kLOCK_ORDER and
  // kLOCK_TABLE_FULL the cursor stands before the row that it was about, to try again.
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
  Status position();  // begins the walk
  Status follow();    // goes on where it was, in the transaction's snapshot of now
  Status place();     // puts every source on its first row at or after the start
  void take_snapshot() noexcept;
  bool moved() const noexcept { return snapshot_ != txn_->snapshot_ || view_ != txn_->view_; }
  Status position_base();
  void position_sources();
  void position_own();
  void start_range();

  Status next_slow(Bytes* key, RowView* row);  // Requires: the transaction was entered
  Status next_locked(Bytes* key, RowView* row);
  Status find_candidate(Bytes* key, RowView* row);
  Status settle_candidate(Bytes* key, RowView* row, bool* given);
  Status see_gap(const Bytes* candidate);
  bool gap_changed(const std::vector<overlay::SegmentRef>& segments, const Bytes* candidate) const;
  void pass(Bytes key) noexcept;  // the walk goes on behind it
  void give(Bytes key, std::uint64_t hash);
  template <typename Note>
  void note_locked(Note&& note);
  Status advance(Bytes* key, RowView* row);  // kEND
  Status advance_merged(Bytes* key, RowView* row, bool* found);
  Status take_overlay(Bytes key, RowView* row, bool* decided, bool* found);
  Status verify_base() const;  // the row that the base's cursor stands on
  Status step_base();
  void check_base() noexcept;
  void check_source(Source& source) noexcept;
  bool trusts(const Source& source) noexcept;
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
  bool start_exclusive_ = false;  // the walk went past it already
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

  LockRule lock_;
  bool locks_ = false;
  bool skip_locked_ = false;
  std::optional<overlay::Iterator> damaged_;  // reads are verified, and what stands there cannot be right
  bool stale_ = false;                        // the sources went on past a row that was not given
  RangeRead* locked_range_ = nullptr;         // range_ of a walk that locks, between two rows
  Bytes passed_;                              // the last row given or left out
  bool has_passed_ = false;
};

}  // namespace hf::txn
