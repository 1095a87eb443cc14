// SPDX-License-Identifier: Apache-2.0
// RowCursor, the walk that locks as it goes. A row is found at the transaction's snapshot, locked, and looked at again:
//
//      find ---none---> the rest of the range is looked at again, and noted
//       |
//       v        held by somebody else, skip_locked
//      lock -------------------------------------------> passed over, find the next one
//       |
//       v            the row, or the gap before it, has a newer commit: the snapshot moves
//      see newest -----------------------------------------> find again, from behind the last row given
//       |                                                     |    |
//       |  nothing has                       the same row     |    |   another one, or none
//       +-----------------------------------> give it <-------+    +--> give the lock back, go on with that one
//
// Nothing is noted as read before its row is locked, so that moving the snapshot can fail only for what the
// transaction read before. The gap before a row is noted together with the row: whoever inserts into it from then on
// is a conflict at commit. A walk that skips what is locked notes the rows given and nothing else.
#include "base/hash.h"
#include "txn/row_cursor.h"

namespace hf::txn {

Status RowCursor::next_locked(Bytes* key, RowView* row) {
  Status status;
  if (!positioned_) {
    status = position();
  } else if (stale_ || moved()) {
    status = follow();
  }
  stale_ = true;  // until all went well
  if (status.ok()) status = find_candidate(key, row);
  bool given = false;
  while (!given) {
    if (status.ok()) {
      status = settle_candidate(key, row, &given);
    } else if (status.code() == Code::kEND) {
      status = see_gap(nullptr);
      if (!status.ok()) return status;
      if (!moved()) break;
      status = follow();
      if (status.ok()) status = find_candidate(key, row);
    } else {
      return status;
    }
  }
  stale_ = false;
  if (given) return {};
  ended_ = true;
  note_locked([this] { note_end(); });
  return Code::kEND;
}

// The row that would be given if nobody held or changed it. Rows to skip are found anew as long as none was given; a
// walk that leaves rows out cannot know them before it has tried to lock them.
Status RowCursor::find_candidate(Bytes* key, RowView* row) {
  for (std::uint64_t skip = skip_locked_ ? 0 : skip_;; --skip) {
    if (Status status = advance(key, row); !status.ok() || skip == 0) return status;
    last_key_ = *key;  // a row of the base alone leaves that to its caller
    has_last_ = true;
  }
}

// Locks the candidate and gives it, or puts the next candidate in its place.
Status RowCursor::settle_candidate(Bytes* key, RowView* row, bool* given) {
  const Bytes candidate = *key;
  const std::uint64_t hash = row_hash(table_, candidate);
  const lock::Mode before = txn_->held_lock(table_, candidate, hash);
  Status status = txn_->lock_row(table_, candidate, hash, lock_);
  if (status.code() == Code::kLOCKED && skip_locked_) {
    pass(candidate);
    return find_candidate(key, row);
  }
  if (!status.ok()) return status;

  bool same = true;
  status = txn_->see_newest(table_, candidate, hash);
  if (status.ok() && !moved()) status = see_gap(&candidate);
  if (status.ok() && moved()) {
    status = follow();
    if (status.ok()) status = find_candidate(key, row);
    same = *key == candidate;
  }
  const bool skipped = skip_locked_ && skip_ != 0;
  if (status.ok() && same && !skipped) {
    give(*key, hash);
    *given = true;
    return status;
  }
  if (txn_->running()) txn_->restore_lock(table_, candidate, hash, before);
  if (!status.ok() || !same) return status;  // kEND too: the row was the last one, and is gone
  --skip_;
  pass(candidate);
  return find_candidate(key, row);
}

// Moves the snapshot forward if the rows between the last one given and `candidate`, or the end, have changed since:
// read as they were they could only be a conflict later. Where it cannot move, that is left to the commit.
Status RowCursor::see_gap(const Bytes* candidate) {
  Database& database = *txn_->database_;
  if (!tracked_ || empty_ || database.shared().txn().published_csn.load(std::memory_order_acquire) == snapshot_) {
    return {};
  }
  Csn newest = 0;
  Result<View*> view = database.views().acquire(&newest);
  if (!view.ok()) return std::move(view).status();
  Status status;
  bool changed = false;
  if (view.value()->base_csn() <= snapshot_) {
    changed = gap_changed(view.value()->segments(), candidate);
  } else {
    Result<std::vector<overlay::SegmentRef>> segments = database.overlay().segments_after(snapshot_);
    if (segments.ok()) {
      changed = gap_changed(segments.value(), candidate);
    } else {
      status = std::move(segments).status();
    }
  }
  if (!changed) {
    database.views().release(view.value());
    return status;
  }
  status = txn_->move_snapshot(view.value(), newest, true);
  return status.code() == Code::kCONFLICT ? Status() : std::move(status);
}

bool RowCursor::gap_changed(const std::vector<overlay::SegmentRef>& segments, const Bytes* candidate) const {
  const Bytes from = has_passed_ ? passed_ : has_start_ ? Bytes(start_) : reverse_ ? Bytes(high_) : Bytes(low_);
  const Bytes to = candidate != nullptr ? *candidate : reverse_ ? Bytes(low_) : Bytes(high_);
  // A row at the near end was given, or does not matter much; one at the far end was seen.
  const bool has_high = reverse_ ? has_passed_ || has_start_ || has_high_ : candidate != nullptr || has_high_;
  for (const overlay::SegmentRef& segment : segments) {
    if (segment->last_csn() <= snapshot_) break;
    if (!segment->has_table(table_)) continue;
    if (segment->changed_in_range(table_, reverse_ ? to : from, reverse_ ? from : to, has_high, true, snapshot_) != 0) {
      return true;
    }
  }
  return false;
}

void RowCursor::pass(Bytes key) noexcept {
  passed_ = last_key_ = key;
  has_passed_ = has_last_ = true;
}

void RowCursor::give(Bytes key, std::uint64_t hash) {
  if (tracked_) {
    note_locked([this, key] { note_progress(key); });
  } else if (txn_->tracks_reads()) {
    txn_->reads_.add_row(table_, key, hash, snapshot_, Code::kCONFLICT);
  }
  txn_->read_any_ = true;
  pass(key);
  skip_ = 0;
  --left_;
}

// The range of a walk that locks is out of sight while it looks for rows, and begins with the first one had: as long
// as the transaction has read nothing, its snapshot moves freely.
template <typename Note>
void RowCursor::note_locked(Note&& note) {
  if (!tracked_) return;
  range_ = locked_range_;
  if (range_ == nullptr) start_range();
  note();
  locked_range_ = range_;
  range_ = nullptr;
}

}  // namespace hf::txn
