// SPDX-License-Identifier: Apache-2.0
// Three kinds of source are walked side by side: the write set, the overlay's segments, the base. The nearest key
// wins; among equals the newest source does, and the others are passed over. As long as the base alone has the
// nearest key, a step costs one comparison more than an LMDB cursor.
#include "txn/row_cursor.h"

#include <algorithm>

#include "base/hash.h"

namespace hf::txn {

RowCursor::~RowCursor() = default;

Status RowCursor::open(Table& table, const Range& range) {
  Transaction& txn = *txn_;
  if (Status status = txn.enter_statement(); !status.ok()) return status;
  if (std::max({range.low.size(), range.high.size(), range.prefix.size()}) > kKeySizeMax) {
    return Status(Code::kTOO_LARGE, "a bound is longer than the largest key");
  }
  if (Status status = txn.resolve(table, &table_); !status.ok()) return status;
  if (range.locks) {
    if (txn.options_.read_only) return Code::kREAD_ONLY;
    if (range.lock.mode != lock::Mode::kShared && range.lock.mode != lock::Mode::kExclusive) {
      return Status(Code::kINVALID_ARGUMENT, "a cursor locks rows shared or exclusive");
    }
  }
  view_ = txn.view_;
  snapshot_ = txn.snapshot_;
  txn_life_ = txn.life_;
  locks_ = range.locks;
  skip_locked_ = range.locks && range.skip_locked;
  lock_ = range.lock;
  if (skip_locked_) lock_.wait = false;
  tracked_ = txn.tracks_reads() && !skip_locked_;
  reverse_ = range.reverse;
  skip_ = range.skip;
  left_ = range.limit == 0 ? UINT64_MAX : range.limit;
  set_bounds(range);
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
      own_changes_ != txn_->writes_.changes() || (range_ != nullptr && range_->seen_at != snapshot_)) [[unlikely]] {
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
  if (locks_) return next_locked(key, row);
  if (range_ != nullptr && range_->seen_at != snapshot_) {
    if (Status status = follow(); !status.ok()) return status;
  }
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
  walking_ = !txn_->verify_;  // next_of_base() looks at no checksum
  --left_;
  return {};
}

Status RowCursor::verify_base() const {
  const store::Snapshot& base = view_ != nullptr ? view_->base() : *txn_->own_base_;
  return base.verify(table_, base_->key(), row_hash(table_, base_->key()), base_->row());
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
  if (txn_->verify_ && !trusts(source)) [[unlikely]]
    return;
  if (!source.iterator.valid() || source.iterator.table() != table_) return;
  source.key = source.iterator.key();
  if (!reverse_ && source.key.empty()) {  // the marker comes first
    source.iterator.next();
    check_source(source);
    return;
  }
  source.live = inside(source.key);
}

// Whatever table the row seems to be of: a wrong one would end the walk too early.
bool RowCursor::trusts(const Source& source) noexcept {
  const overlay::Iterator& at = source.iterator;
  if (!at.damaged() && (!at.valid() || at.is_whole())) return true;
  damaged_ = at;
  return false;
}

void RowCursor::pick_best() noexcept {
  best_ = -1;
  for (std::size_t i = 0; i < sources_.size(); ++i) {
    if (!sources_[i].live) continue;
    if (best_ < 0 || nearer(sources_[i].key, sources_[static_cast<std::size_t>(best_)].key))
      best_ = static_cast<int>(i);
  }
  if (best_ < 0) return;
  const Bytes key = sources_[static_cast<std::size_t>(best_)].key;
  best_long_ = key.size() >= 8;
  if (best_long_) best_prefix_ = load_be64(key.data());
}

Status RowCursor::step_base() {
  base_taken_ = false;
  Result<bool> there = reverse_ ? base_->prev() : base_->next();
  if (!there.ok()) return std::move(there).status();
  check_base();
  return {};
}

Status RowCursor::advance(Bytes* key, RowView* row) {
  for (;;) {
    if (damaged_.has_value()) [[unlikely]]
      return damaged_->damage();
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
      if (txn_->verify_) [[unlikely]] {
        if (Status status = verify_base(); !status.ok()) return status;
      }
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
  const CounterAdd* add = nullptr;  // decides nothing: it needs the row below
  if (own_live_ && own_->first.key == nearest) {
    const RowWrite& write = own_->second;
    add = write.add;
    decided = add == nullptr;
    *found = decided && write.kind == overlay::VersionKind::kPut;
    if (*found) *row = {write.value, 0, write.expires_ms, write.flags};
    position_own();  // past last_key_
  }
  bool overlay_decided = decided;
  bool overlay_found = false;
  if (Status status = take_overlay(nearest, row, &overlay_decided, &overlay_found); !status.ok()) return status;
  if (!decided && overlay_decided) {
    decided = true;
    *found = overlay_found;
  }
  if (base_live_ && base_->key() == nearest) {
    base_taken_ = true;
    const store::Row& stored = base_->row();
    if (!decided && txn_->verify_) [[unlikely]] {
      if (Status status = verify_base(); !status.ok()) return status;
    }
    if (!decided && !txn_->expired(stored.expires_ms)) {
      *found = true;
      *row = {stored.value, stored.version, stored.expires_ms, stored.flags};
    }
  }
  return add == nullptr ? Status() : txn_->read_through_add(*add, row, found);
}

// Steps every segment past `key`; the newest one with a visible version decides, unless *decided already.
Status RowCursor::take_overlay(Bytes key, RowView* row, bool* decided, bool* found) {
  bool stepped = false;
  for (Source& source : sources_) {
    if (!source.live || source.key != key) continue;
    overlay::Version version;
    bool visible = false;
    if (!*decided && txn_->verify_) [[unlikely]] {
      Result<bool> verified = source.iterator.version_verified(snapshot_, &version);
      if (!verified.ok()) return std::move(verified).status();
      visible = verified.value();
    } else if (!*decided) {
      visible = source.iterator.version(snapshot_, &version);
    }
    if (visible) {
      *decided = true;
      *found = version.kind == overlay::VersionKind::kPut && !txn_->expired(version.expires_ms);
      if (*found) *row = {version.value, version.csn, version.expires_ms, version.flags};
    }
    reverse_ ? source.iterator.prev() : source.iterator.next();
    check_source(source);
    stepped = true;
  }
  if (stepped) pick_best();
  return {};
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
