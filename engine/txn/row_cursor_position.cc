// SPDX-License-Identifier: Apache-2.0
// RowCursor, where a walk begins, and where it goes on when it has to look anew: bounds, seek, and every source put on
// its first row.
#include "txn/row_cursor.h"

namespace hf::txn {
namespace {

// Smallest key greater than every key that begins with `prefix`; false when there is none.
bool end_of_prefix(Bytes prefix, std::string* end) {
  end->assign(prefix);
  while (!end->empty() && static_cast<unsigned char>(end->back()) == 0xff) end->pop_back();
  if (end->empty()) return false;
  end->back() = static_cast<char>(static_cast<unsigned char>(end->back()) + 1);
  return true;
}

}  // namespace

void RowCursor::set_bounds(const Range& range) {
  low_.assign(range.low);
  low_exclusive_ = range.low_exclusive && !range.low.empty();
  high_.assign(range.high);
  has_high_ = !range.high.empty();
  high_inclusive_ = range.high_inclusive;
  if (!range.prefix.empty()) {
    if (Bytes(low_) < range.prefix) {
      low_.assign(range.prefix);
      low_exclusive_ = false;
    }
    std::string end;
    if (end_of_prefix(range.prefix, &end) && (!has_high_ || end <= high_)) {
      high_ = end;
      has_high_ = true;
      high_inclusive_ = false;
    }
  }
  bounded_ = reverse_ ? !low_.empty() : has_high_;
  empty_ = has_high_ && (high_ < low_ || (high_ == low_ && (low_exclusive_ || !high_inclusive_)));
}

Status RowCursor::seek(Bytes key) {
  if (Status status = txn_->enter(); !status.ok()) return status;
  if (txn_life_ != txn_->life_) return Status(Code::kMISUSE, "the cursor belongs to a transaction that has ended");
  if (key.size() > kKeySizeMax) return Status(Code::kTOO_LARGE, "the key is longer than the largest key");
  has_start_ = !key.empty();
  start_.assign(key);
  if (has_start_ && !reverse_ && key <= Bytes(low_)) has_start_ = false;
  if (has_start_ && reverse_ && has_high_ && key >= Bytes(high_)) has_start_ = false;
  start_exclusive_ = false;
  positioned_ = false;
  ended_ = false;
  has_last_ = false;
  has_passed_ = false;
  walking_ = false;
  range_ = nullptr;
  locked_range_ = nullptr;
  return {};
}

Status RowCursor::position() {
  positioned_ = true;
  // Without locks, a walk that reads what is committed is one statement: it stays where it was opened.
  if ((locks_ || txn_->options_.isolation != Isolation::kReadCommitted) && moved()) take_snapshot();
  if (!locks_) {
    txn_->read_any_ = true;
    if (tracked_) start_range();
  }
  return place();
}

void RowCursor::take_snapshot() noexcept {
  if (&view_->base() != &txn_->view_->base()) base_.reset();
  view_ = txn_->view_;
  snapshot_ = txn_->snapshot_;
}

Status RowCursor::follow() {
  if (moved()) take_snapshot();
  const bool has_left = locks_ ? has_passed_ : has_last_;
  if (has_left) {  // else still from the start
    start_.assign(locks_ ? passed_ : last_key_);
    has_start_ = start_exclusive_ = true;
  }
  has_last_ = false;
  return place();
}

Status RowCursor::place() {
  stale_ = false;
  base_ended_ = false;
  base_live_ = false;
  base_taken_ = false;
  own_live_ = false;
  sources_.clear();
  damaged_.reset();
  best_ = -1;
  if (empty_) return {};
  if (Status status = position_base(); !status.ok()) return status;
  if (view_ != nullptr) position_sources();
  position_own();
  return {};
}

Status RowCursor::position_base() {
  if (!base_.has_value()) {
    const store::Snapshot& snapshot = view_ != nullptr ? view_->base() : *txn_->own_base_;
    Result<store::Cursor> cursor = store::Cursor::open(snapshot, table_);
    if (!cursor.ok()) return std::move(cursor).status();
    base_.emplace(std::move(cursor).value());
  }
  Result<bool> there = false;
  if (!reverse_) {
    const std::string& start = has_start_ ? start_ : low_;
    const bool exclusive = has_start_ ? start_exclusive_ : low_exclusive_;
    there = start.empty() ? base_->first() : base_->seek_at_or_after(start);
    if (there.ok() && there.value() && exclusive && base_->key() == Bytes(start)) there = base_->next();
  } else if (has_start_ && start_exclusive_) {
    there = base_->seek_before(start_);
  } else if (has_start_ || (has_high_ && high_inclusive_)) {
    // The last key <= k is the last key < k followed by a zero byte, which may be longer than any key can be.
    const std::string& start = has_start_ ? start_ : high_;
    there = base_->seek_at_or_after(start);
    if (there.ok() && !there.value()) {
      there = base_->last();
    } else if (there.ok() && base_->key() != Bytes(start)) {
      there = base_->prev();
    }
  } else {
    there = has_high_ ? base_->seek_before(high_) : base_->last();
  }
  if (!there.ok()) return std::move(there).status();
  check_base();
  return {};
}

void RowCursor::position_sources() {
  for (const overlay::SegmentRef& segment : view_->segments()) {
    // What would spare the look may be damaged itself.
    if (!txn_->verify_ && (!segment->has_table(table_) || segment->first_csn() > snapshot_)) continue;
    Source source{segment.get(), overlay::Iterator(*segment, txn_->verify_), {}, false};
    if (!reverse_) {
      const std::string& start = has_start_ ? start_ : low_;
      const bool exclusive = has_start_ ? start_exclusive_ : low_exclusive_;
      source.iterator.seek_at_or_after(table_, start);
      check_source(source);
      if (source.live && exclusive && source.key == Bytes(start)) {
        source.iterator.next();
        check_source(source);
      }
    } else {
      if (has_start_) {
        start_exclusive_ ? source.iterator.seek_before(table_, start_)
                         : source.iterator.seek_at_or_before(table_, start_);
      } else if (!has_high_) {
        source.iterator.seek_before(table_ + 1, {});
      } else if (high_inclusive_) {
        source.iterator.seek_at_or_before(table_, high_);
      } else {
        source.iterator.seek_before(table_, high_);
      }
      check_source(source);
    }
    if (source.live) sources_.push_back(source);
  }
  pick_best();
}

// Puts own_ on the first write past the last row given, or past the start.
void RowCursor::position_own() {
  const WriteSet& writes = txn_->writes_;
  own_changes_ = writes.changes();
  own_live_ = false;
  if (writes.empty()) return;
  const WriteSet::Map& rows = writes.rows();
  if (!reverse_) {
    const Bytes start = has_last_ ? last_key_ : has_start_ ? Bytes(start_) : Bytes(low_);
    const bool exclusive = has_last_ || (has_start_ ? start_exclusive_ : low_exclusive_);
    own_ = exclusive ? rows.upper_bound({table_, start}) : rows.lower_bound({table_, start});
    while (own_ != rows.end() && !own_->second.live) ++own_;
    own_live_ = own_ != rows.end() && own_->first.table == table_ && inside(own_->first.key);
    return;
  }
  if (has_last_) {
    own_ = rows.lower_bound({table_, last_key_});
  } else if (has_start_) {
    own_ = start_exclusive_ ? rows.lower_bound({table_, start_}) : rows.upper_bound({table_, start_});
  } else if (!has_high_) {
    own_ = rows.lower_bound({table_ + 1, {}});
  } else {
    own_ = high_inclusive_ ? rows.upper_bound({table_, high_}) : rows.lower_bound({table_, high_});
  }
  do {
    if (own_ == rows.begin()) return;
    --own_;
  } while (!own_->second.live);
  own_live_ = own_->first.table == table_ && inside(own_->first.key);
}

void RowCursor::start_range() {
  RangeRead range{};
  range.table = table_;
  range.seen_at = snapshot_;
  if (!reverse_) {
    range.low = txn_->arena_.copy(has_start_ ? start_ : low_);
  } else if (has_start_ || has_high_) {
    range.high = txn_->arena_.copy(has_start_ ? start_ : high_);
    range.has_high = true;
    range.high_inclusive = has_start_ || high_inclusive_;
  }
  range_ = txn_->reads_.add_range(range);
}

}  // namespace hf::txn
