// SPDX-License-Identifier: Apache-2.0
// Three kinds of source are walked side by side: the write set, the overlay's segments, the base. The nearest key
// wins; among equals the newest source does, and the others are passed over. As long as the base alone has the
// nearest key, a step costs one comparison more than an LMDB cursor.
#include "txn/row_cursor.h"

#include <algorithm>

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

RowCursor::~RowCursor() = default;

Status RowCursor::open(Table& table, const Range& range) {
  Transaction& txn = *txn_;
  if (Status status = txn.enter_statement(); !status.ok()) return status;
  if (std::max({range.low.size(), range.high.size(), range.prefix.size()}) > kKeySizeMax) {
    return Status(Code::kTOO_LARGE, "a bound is longer than the largest key");
  }
  if (Status status = txn.resolve(table, &table_); !status.ok()) return status;
  view_ = txn.view_;
  snapshot_ = txn.snapshot_;
  txn_life_ = txn.life_;
  tracked_ = txn.tracks_reads();
  reverse_ = range.reverse;
  skip_ = range.skip;
  left_ = range.limit == 0 ? UINT64_MAX : range.limit;
  set_bounds(range);
  return {};
}

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
  positioned_ = false;
  ended_ = false;
  has_last_ = false;
  walking_ = false;
  range_ = nullptr;
  return {};
}

Status RowCursor::next(Bytes* key, RowView* row) {
  if (next_of_base(key, row)) return {};
  if (Status status = txn_->enter(); !status.ok()) return status;
  return next_slow(key, row);
}

// The common step, kept short: the base alone has the nearest row, and it counts. Else nothing that matters has
// happened and next_slow() takes over.
bool RowCursor::next_of_base(Bytes* key, RowView* row) noexcept {
  if (!walking_ || left_ == 0 || !txn_->may_go_on() || txn_life_ != txn_->life_ ||
      own_changes_ != txn_->writes_.changes()) [[unlikely]] {
    return false;
  }
  if (base_taken_) [[likely]] {
    base_taken_ = false;
    base_ended_ = !base_->step(reverse_);
    base_live_ = !base_ended_ && (!bounded_ || inside(base_->key()));
  }
  const store::Row& stored = base_->row();
  if (!base_is_nearest() || stored.expires_ms != 0) [[unlikely]]
    return false;
  base_taken_ = true;
  // Field by field, as they were stored (see CMakeLists.txt on pairs).
  const Bytes& found = base_->key();
  *key = Bytes(found.data(), found.size());
  row->value = Bytes(stored.value.data(), stored.value.size());
  row->version = stored.version;
  row->expires_ms = 0;
  row->flags = stored.flags;
  note_progress(*key);
  --left_;
  return true;
}

Status RowCursor::next_slow(Bytes* key, RowView* row) {
  if (txn_life_ != txn_->life_) return Status(Code::kMISUSE, "the cursor belongs to a transaction that has ended");
  if (ended_ || left_ == 0) return Code::kEND;
  if (base_ended_) {  // at the table's end, or by a failure?
    base_ended_ = false;
    if (Result<bool> outcome = base_->outcome(); !outcome.ok()) return std::move(outcome).status();
  }
  if (!positioned_) {
    if (Status status = position(); !status.ok()) return status;
  }
  for (;;) {
    Status status = advance(key, row);
    if (!status.ok()) {
      if (status.code() == Code::kEND) {
        ended_ = true;
        walking_ = false;
        note_end();
      }
      return status;
    }
    note_progress(*key);
    if (skip_ == 0) break;
    --skip_;
  }
  walking_ = true;
  --left_;
  return {};
}

// Whether the base's row comes before every other source's. Compares numbers where both keys have eight bytes.
bool RowCursor::base_is_nearest() noexcept {
  if (!base_live_ || own_live_) return false;
  if (best_ < 0) return true;
  const Bytes base_key = base_->key();
  if (best_long_ && base_key.size() >= 8) [[likely]] {
    const std::uint64_t prefix = load_be64(base_key.data());
    if (prefix != best_prefix_) return reverse_ ? prefix > best_prefix_ : prefix < best_prefix_;
  }
  return nearer(base_key, sources_[static_cast<std::size_t>(best_)].key);
}

// --- positioning
// ------------------------------------------------------------------------------------------------------

Status RowCursor::position() {
  positioned_ = true;
  if (tracked_) start_range();
  base_live_ = false;
  base_taken_ = false;
  own_live_ = false;
  sources_.clear();
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
    there = start.empty() ? base_->first() : base_->seek_at_or_after(start);
    if (there.ok() && there.value() && !has_start_ && low_exclusive_ && base_->key() == Bytes(low_))
      there = base_->next();
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
    if (!segment->has_table(table_) || segment->first_csn() > snapshot_) continue;
    Source source{segment.get(), overlay::Iterator(*segment), {}, false};
    if (!reverse_) {
      const std::string& start = has_start_ ? start_ : low_;
      source.iterator.seek_at_or_after(table_, start);
      check_source(source);
      if (source.live && !has_start_ && low_exclusive_ && source.key == Bytes(low_)) {
        source.iterator.next();
        check_source(source);
      }
    } else {
      if (has_start_) {
        source.iterator.seek_at_or_before(table_, start_);
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
    if (has_last_) {
      own_ = rows.upper_bound({table_, last_key_});
    } else if (has_start_ || !low_exclusive_) {
      own_ = rows.lower_bound({table_, has_start_ ? Bytes(start_) : Bytes(low_)});
    } else {
      own_ = rows.upper_bound({table_, low_});
    }
    while (own_ != rows.end() && !own_->second.live) ++own_;
    own_live_ = own_ != rows.end() && own_->first.table == table_ && inside(own_->first.key);
    return;
  }
  if (has_last_) {
    own_ = rows.lower_bound({table_, last_key_});
  } else if (has_start_) {
    own_ = rows.upper_bound({table_, start_});
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

bool RowCursor::inside(Bytes key) const noexcept {
  if (key.empty()) return false;  // the marker of a dropped table
  if (!reverse_) {
    if (!has_high_) return true;
    const int order = key.compare(high_);
    return order < 0 || (order == 0 && high_inclusive_);
  }
  const int order = key.compare(low_);
  return order > 0 || (order == 0 && !low_exclusive_);
}

void RowCursor::check_base() noexcept { base_live_ = base_->valid() && (!bounded_ || inside(base_->key())); }

void RowCursor::check_source(Source& source) noexcept {
  source.live = false;
  if (!source.iterator.valid() || source.iterator.table() != table_) return;
  source.key = source.iterator.key();
  if (!reverse_ && source.key.empty()) {  // the marker comes first
    source.iterator.next();
    check_source(source);
    return;
  }
  source.live = inside(source.key);
}

void RowCursor::pick_best() noexcept {
  best_ = -1;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (!sources_[i].live) continue;
    if (best_ < 0 || nearer(sources_[i].key, sources_[static_cast<std::size_t>(best_)].key))
      best_ = static_cast<int>(i);
  }
}

// --- walking
// ----------------------------------------------------------------------------------------------------------

Status RowCursor::step_base() {
  base_taken_ = false;
  Result<bool> there = reverse_ ? base_->prev() : base_->next();
  if (!there.ok()) return std::move(there).status();
  check_base();
  return {};
}

Status RowCursor::advance(Bytes* key, RowView* row) {
  for (;;) {
    if (base_taken_) {
      if (Status status = step_base(); !status.ok()) return status;
    }
    if (own_changes_ != txn_->writes_.changes()) position_own();
    const bool base_alone =
        base_live_ && !own_live_ && (best_ < 0 || nearer(base_->key(), sources_[static_cast<std::size_t>(best_)].key));
    if (base_alone) {
      base_taken_ = true;
      const store::Row& stored = base_->row();
      *key = base_->key();
      if (stored.expires_ms != 0 && txn_->expired(stored.expires_ms)) {
        note_progress(*key);
        continue;
      }
      *row = {stored.value, stored.version, stored.expires_ms, stored.flags};
      return {};
    }
    if (!base_live_ && !own_live_ && best_ < 0) return Code::kEND;
    bool found = false;
    if (Status status = advance_merged(key, row, &found); !status.ok()) return status;
    if (found) return {};
    note_progress(*key);
  }
}

// One step where more than the base has something to say.
Status RowCursor::advance_merged(Bytes* key, RowView* row, bool* found) {
  Bytes nearest;
  bool any = false;
  const auto consider = [&](bool live, Bytes candidate) {
    if (live && (!any || nearer(candidate, nearest))) nearest = candidate;
    any |= live;
  };
  consider(own_live_, own_live_ ? own_->first.key : Bytes());
  consider(best_ >= 0, best_ >= 0 ? sources_[static_cast<std::size_t>(best_)].key : Bytes());
  consider(base_live_, base_live_ ? base_->key() : Bytes());
  *key = nearest;
  last_key_ = nearest;
  has_last_ = true;

  bool decided = false;
  if (own_live_ && own_->first.key == nearest) {
    const RowWrite& write = own_->second;
    decided = true;
    *found = write.kind == overlay::VersionKind::kPut;
    if (*found) *row = {write.value, 0, write.expires_ms, write.flags};
    position_own();  // past last_key_
  }
  bool overlay_decided = decided;
  const bool overlay_found = take_overlay(nearest, row, &overlay_decided);
  if (!decided && overlay_decided) {
    decided = true;
    *found = overlay_found;
  }
  if (base_live_ && base_->key() == nearest) {
    base_taken_ = true;
    const store::Row& stored = base_->row();
    if (!decided && !txn_->expired(stored.expires_ms)) {
      *found = true;
      *row = {stored.value, stored.version, stored.expires_ms, stored.flags};
    }
  }
  return {};
}

// Steps every segment past `key`; the newest one with a visible version decides, unless *decided already.
bool RowCursor::take_overlay(Bytes key, RowView* row, bool* decided) {
  bool found = false;
  bool stepped = false;
  for (Source& source : sources_) {
    if (!source.live || source.key != key) continue;
    overlay::Version version;
    if (!*decided && source.iterator.version(snapshot_, &version)) {
      *decided = true;
      found = version.kind == overlay::VersionKind::kPut && !txn_->expired(version.expires_ms);
      if (found) *row = {version.value, version.csn, version.expires_ms, version.flags};
    }
    reverse_ ? source.iterator.prev() : source.iterator.next();
    check_source(source);
    stepped = true;
  }
  if (stepped) pick_best();
  return found;
}

// --- what to validate
// -------------------------------------------------------------------------------------------------

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

void RowCursor::note_progress(Bytes key) noexcept {
  last_key_ = Bytes(key.data(), key.size());
  has_last_ = true;
  if (range_ == nullptr) return;
  range_->empty = false;
  if (reverse_) {
    range_->low = key;
  } else {
    range_->high = key;
    range_->has_high = true;
    range_->high_inclusive = true;
  }
}

void RowCursor::note_end() noexcept {
  if (range_ == nullptr || empty_) return;
  range_->empty = false;
  if (reverse_) {
    range_->low = txn_->arena_.copy(low_);
  } else {
    range_->high = txn_->arena_.copy(high_);
    range_->has_high = has_high_;
    range_->high_inclusive = high_inclusive_;
  }
}

}  // namespace hf::txn
