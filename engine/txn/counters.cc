// SPDX-License-Identifier: Apache-2.0
#include "txn/counters.h"

#include <algorithm>
#include <cassert>

#include "base/hash.h"
#include "base/readable.h"
#include "platform/plant.h"
#include "txn/transaction.h"

namespace hf::txn {
namespace {

constexpr char kZero[kCounterSize] = {};

// |value| < 2^64, as every sum here is.
std::string text_of(WideInt value) {
  const auto size = static_cast<std::uint64_t>(value < 0 ? -value : value);
  return (value < 0 ? "-" : "") + std::to_string(size);
}

// False: the segment has no version of it. A damaged one has its own kind.
bool find_newest_verified(const overlay::Segment& segment, const overlay::Change& row, Csn published,
                          std::uint64_t now_ms, CounterRow* newest) {
  overlay::Version version;
  const Result<bool> found = segment.find_verified(row.table, row.key, row.hash, published, &version);
  if (found.ok() && !found.value()) return false;
  *newest = found.ok() ? counter_row(version, now_ms) : CounterRow();
  if (!found.ok()) newest->kind = CounterRow::Kind::kDamaged;
  return true;
}

Status no_counter() { return Status(Code::kWRONG_TYPE, "the row is there and is not a counter"); }

}  // namespace

bool CounterAdd::fold(std::int64_t delta_more, std::int64_t min, std::int64_t max) noexcept {
  const WideInt sum = delta() + delta_more;
  // min and max are 64 bits wide, so staying between them is not overflowing.
  const WideInt low_new = std::max<WideInt>(low, min - sum);
  const WideInt high_new = std::min<WideInt>(high, max - sum);
  if (low_new > high_new) return false;
  low = static_cast<std::int64_t>(low_new);
  high = static_cast<std::int64_t>(high_new);
  low_sum = static_cast<std::int64_t>(low_new + sum);
  return true;
}

CounterRow counter_row(Bytes value, std::uint8_t flags, std::uint64_t expires_ms, Csn version,
                       std::uint64_t now_ms) noexcept {
  CounterRow row;
  row.version = version;
  if (expires_ms != 0 && expires_ms <= now_ms) return row;
  if ((flags & kFlagCounter) == 0 || value.size() != kCounterSize) {
    row.kind = CounterRow::Kind::kOther;
    return row;
  }
  row.kind = CounterRow::Kind::kCounter;
  row.value = load_counter(value.data());
  row.expires_ms = expires_ms;
  return row;
}

CounterRow counter_row(const overlay::Version& version, std::uint64_t now_ms) noexcept {
  if (version.kind == overlay::VersionKind::kPut) {
    return counter_row(version.value, version.flags, version.expires_ms, version.csn, now_ms);
  }
  CounterRow gone;
  gone.version = version.csn;
  return gone;
}

std::string out_of_range_text(WideInt value, WideInt delta, std::int64_t min, std::int64_t max) {
  return "the counter stands at " + text_of(value) + "; adding " + text_of(delta) + " leaves [" + std::to_string(min) +
         ", " + std::to_string(max) + "]";
}

// --- at the commit -----------------------------------------------------------------------------------------------

const PlannedAdd* look_up_adds(std::vector<PlannedAdd>& adds, const std::vector<overlay::SegmentRef>& segments,
                               Csn snapshot, Csn published, std::uint64_t now_ms, bool verify) noexcept {
  for (PlannedAdd& add : adds) {
    const overlay::Change& row = *add.change;
    add.newest = add.at_snapshot;
    if (published != snapshot) {
      for (const overlay::SegmentRef& segment : segments) {
        if (segment->last_csn() <= snapshot) break;
        overlay::Version version;
        if (verify) [[unlikely]] {
          if (!find_newest_verified(*segment, row, published, now_ms, &add.newest)) continue;
          break;
        }
        if (!segment->find(row.table, row.key, row.hash, published, &version)) continue;
        add.newest = counter_row(version, now_ms);
        break;
      }
    }
    if (!add.fits() && !platform::planted(platform::Plant::kCounterBounds)) return &add;
  }
  return nullptr;
}

void carry_out_adds(std::vector<PlannedAdd>& adds) noexcept {
  for (PlannedAdd& planned : adds) {
    assert(planned.fits() || platform::planted(platform::Plant::kCounterBounds));
    planned.add->after = static_cast<std::int64_t>(planned.newest.value + planned.add->delta());
    store_counter(planned.place.value, planned.add->after);
    if (planned.change->expires_ms != planned.newest.expires_ms) {
      planned.change->expires_ms = planned.newest.expires_ms;
      recode_expiry(planned.place, *planned.change);
    }
    planned.change->content = content_of(*planned.change);  // eight bytes of value: some nanoseconds
  }
}

Status Transaction::refuse_add(const PlannedAdd& refused) {
  const CounterRow& found = refused.newest;
  obstacle_ = {};
  obstacle_.table = refused.change->table;
  obstacle_.key.assign(refused.change->key);
  obstacle_.other_csn = found.version;
  if (found.kind == CounterRow::Kind::kOther) return no_counter();
  if (found.kind == CounterRow::Kind::kDamaged) {
    return Status(Code::kCORRUPT, "counter '" + readable(obstacle_.key) + "' of table #" +
                                      std::to_string(obstacle_.table) +
                                      " in the overlay does not match its checksum: it is not added to");
  }
  const CounterAdd& add = *refused.add;
  const WideInt delta = add.delta();
  // The bounds that the sum of all adds has to meet; where they are those of 64 bits, folding has cut a little off.
  const auto bound = [](WideInt value) {
    return static_cast<std::int64_t>(std::clamp<WideInt>(value, INT64_MIN, INT64_MAX));
  };
  return Status(Code::kOUT_OF_RANGE,
                out_of_range_text(found.value, delta, bound(add.low + delta), bound(add.high + delta)));
}

// The row at the snapshot, expired or not by the given clock.
Status Transaction::read_counter(const View& view, Csn snapshot, TableId table, Bytes key, std::uint64_t hash,
                                 std::uint64_t now_ms, CounterRow* row) {
  for (const overlay::SegmentRef& segment : view.segments()) {
    overlay::Version version;
    bool found = false;
    if (Status status = find_version(*segment, table, key, hash, snapshot, &version, &found); !status.ok()) {
      return status;
    }
    if (!found) continue;
    *row = counter_row(version, now_ms);
    return {};
  }
  store::Row stored;
  Result<bool> there = view.base().get(table, key, &stored);
  if (!there.ok()) return std::move(there).status();
  if (verify_ && there.value()) [[unlikely]] {
    if (Status status = view.base().verify(table, key, hash, stored); !status.ok()) return status;
  }
  *row =
      there.value() ? counter_row(stored.value, stored.flags, stored.expires_ms, stored.version, now_ms) : CounterRow();
  return {};
}

// --- at the call -------------------------------------------------------------------------------------------------

Status Transaction::newest_counter(TableId table, Bytes key, std::uint64_t hash, CounterRow* row) {
  const std::uint64_t now_ms = wall_ms();
  if (database_->shared().txn().published_csn.load(std::memory_order_acquire) == snapshot_) {
    return read_counter(*view_, snapshot_, table, key, hash, now_ms, row);
  }
  Csn newest = 0;
  Result<View*> view = database_->views().acquire(&newest);
  if (!view.ok()) return std::move(view).status();
  Status status = read_counter(*view.value(), newest, table, key, hash, now_ms, row);
  database_->views().release(view.value());
  return status;
}

// An early no: for the report as for one by the commit.
Status Transaction::refuse_now(TableId table, Bytes key, Csn other, Status status) {
  obstacle_ = {};
  obstacle_.table = table;
  obstacle_.key.assign(key);
  obstacle_.other_csn = other;
  name_other();
  return status;
}

Status Transaction::add(Table& table, Bytes key, std::int64_t delta, std::int64_t min, std::int64_t max) {
  TableId data_id;
  if (Status status = enter_write(table, key, Bytes(kZero, kCounterSize), &data_id); !status.ok()) return status;
  if (min > max) {
    return Status(Code::kINVALID_ARGUMENT,
                  "the smallest value, " + std::to_string(min) + ", is above the greatest, " + std::to_string(max));
  }
  const RowWrite* own = writes_.find(data_id, key);
  if (own != nullptr && own->add == nullptr) return add_to_own(data_id, key, *own, delta, min, max);

  RowWrite write{};
  write.hash = row_hash(data_id, key);
  CounterRow newest;
  if (Status status = newest_counter(data_id, key, write.hash, &newest); !status.ok()) return status;
  if (newest.kind == CounterRow::Kind::kOther) return refuse_now(data_id, key, newest.version, no_counter());
  CounterAdd sum;
  if (own != nullptr) sum = *own->add;
  const WideInt before = newest.value + sum.delta();
  if (before + delta < min || before + delta > max || !sum.fold(delta, min, max)) {
    return refuse_now(data_id, key, newest.version,
                      Status(Code::kOUT_OF_RANGE, out_of_range_text(before, delta, min, max)));
  }
  write.kind = overlay::VersionKind::kPut;
  write.flags = kFlagCounter;
  write.value = Bytes(kZero, kCounterSize);
  write.add = &sum;
  note_written(data_id);
  writes_.set(data_id, key, write);
  return {};
}

// What this transaction wrote itself is known: so is the sum.
Status Transaction::add_to_own(TableId table, Bytes key, const RowWrite& own, std::int64_t delta, std::int64_t min,
                               std::int64_t max) {
  const bool there = own.kind == overlay::VersionKind::kPut;
  if (there && (own.flags & kFlagCounter) == 0) return refuse_now(table, key, 0, no_counter());
  const WideInt before = there ? load_counter(own.value.data()) : 0;
  const WideInt after = before + delta;
  if (after < min || after > max) {
    return refuse_now(table, key, 0, Status(Code::kOUT_OF_RANGE, out_of_range_text(before, delta, min, max)));
  }
  char value[kCounterSize];
  store_counter(value, static_cast<std::int64_t>(after));
  RowWrite write = own;
  write.kind = overlay::VersionKind::kPut;
  write.flags = kFlagCounter;
  write.value = Bytes(value, kCounterSize);
  writes_.set(table, key, write);
  return {};
}

Status Transaction::counter_set(Table& table, Bytes key, std::int64_t value) {
  char bytes[kCounterSize];
  store_counter(bytes, value);
  TableId data_id;
  if (Status status = enter_write(table, key, Bytes(bytes, kCounterSize), &data_id); !status.ok()) return status;
  return write(data_id, key, Bytes(bytes, kCounterSize), 0, overlay::VersionKind::kPut, kFlagCounter);
}

Status Transaction::counter_get(Table& table, Bytes key, std::int64_t* value) {
  RowView row;
  if (Status status = get(table, key, &row); !status.ok()) return status;
  if ((row.flags & kFlagCounter) == 0 || row.value.size() != kCounterSize) return no_counter();
  *value = load_counter(row.value.data());
  return {};
}

Status Transaction::counter_after(Table& table, Bytes key, std::int64_t* value) const {
  if (state_ != State::kCommitted) return Status(Code::kMISUSE, "the transaction has not committed");
  for (const Touched& touched : touched_) {
    if (touched.table != &table || !touched.written) continue;
    const RowWrite* own = writes_.find(touched.data_id, key);
    if (own == nullptr || own->kind != overlay::VersionKind::kPut || (own->flags & kFlagCounter) == 0) continue;
    *value = own->add != nullptr ? own->add->after : load_counter(own->value.data());
    return {};
  }
  return Code::kNOT_FOUND;
}

// A read through own adds: `row` is what lies below them. The bytes live as long as the transaction.
Status Transaction::read_through_add(const CounterAdd& add, RowView* row, bool* found) {
  WideInt sum = add.delta();
  if (*found) {
    // It is one in the newest commit: the early answer of add() said so.
    if ((row->flags & kFlagCounter) == 0 || row->value.size() != kCounterSize) {
      return Status(Code::kWRONG_TYPE, "the row that was added to is not a counter at this transaction's snapshot");
    }
    sum += load_counter(row->value.data());
  }
  const auto value = static_cast<std::int64_t>(sum);
  if (value != sum) {
    return Status(Code::kOUT_OF_RANGE, "the value at this transaction's snapshot and its own adds leave 64 bits");
  }
  char bytes[kCounterSize];
  store_counter(bytes, value);
  *row = {arena_.copy(Bytes(bytes, kCounterSize)), 0, *found ? row->expires_ms : 0, kFlagCounter};
  *found = true;
  return {};
}

}  // namespace hf::txn
