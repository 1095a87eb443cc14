// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "overlay/overlay.h"
#include "overlay/skiplist.h"

namespace hf::overlay {

Segment::Segment(std::shared_ptr<const platform::Region> region, const SegmentRow& row, std::uint32_t index,
                 std::uint32_t generation) noexcept
    : base_(region->data()),
      bucket_mask_(bucket_count(region->size()) - 1),
      index_(index),
      generation_(generation),
      row_(&row),
      region_(std::move(region)) {}

bool Segment::find(TableId table, Bytes key, std::uint64_t hash, Csn snapshot, Version* out) const noexcept {
  const Offset offset = find_node(base_, bucket_mask_, RowKey(table, key), hash);
  if (offset == 0) return false;
  const VersionRecord* record = visible_version(base_, node_at(base_, offset), snapshot);
  if (record == nullptr) return false;
  load_version(record, out);
  return true;
}

Csn Segment::newest(TableId table, Bytes key, std::uint64_t hash) const noexcept {
  const Offset offset = find_node(base_, bucket_mask_, RowKey(table, key), hash);
  return offset == 0 ? 0 : newest_csn(base_, node_at(base_, offset));
}

Csn Segment::changed_in_range(TableId table, Bytes low, Bytes high, bool has_high, bool high_inclusive,
                              Csn after) const noexcept {
  if (!has_table(table)) return 0;
  const RowKey end(table, high);
  Csn largest = 0;
  Iterator row(*this);
  for (row.seek_at_or_after(table, low); row.valid(); row.next()) {
    const Node* node = node_at(base_, static_cast<Offset>(row.node_));
    if (node->table != table) break;
    if (has_high && !(high_inclusive ? precedes<true>(node, end) : precedes<false>(node, end))) break;
    largest = std::max(largest, newest_csn(base_, node));
  }
  return largest > after ? largest : 0;
}

void Segment::warm(TableId table, Bytes key, std::uint64_t hash) const noexcept {
  const RowKey row(table, key);
  const Offset found = find_node(base_, bucket_mask_, row, hash);
  if (found != 0) {
    prefetch(version_at(base_, node_at(base_, found)->newest.load(std::memory_order_relaxed)));
  } else {
    prefetch(node_at(base_, descend<false>(base_, row, nullptr)));
  }
}

Csn Segment::first_csn() const noexcept { return row_->first_csn.load(std::memory_order_acquire); }
Csn Segment::last_csn() const noexcept { return row_->last_csn.load(std::memory_order_acquire); }
std::uint64_t Segment::rows() const noexcept { return row_->rows.load(std::memory_order_acquire); }

bool Segment::has_table(TableId table) const noexcept {
  // Relaxed: the bit is set before the commit is published, and the reader knows the published csn.
  const auto* header = reinterpret_cast<const SegmentHeader*>(base_);
  const std::uint64_t word = header->tables[table / 64 % kTableWords].load(std::memory_order_relaxed);
  return (word >> (table % 64) & 1) != 0;
}

}  // namespace hf::overlay
