// SPDX-License-Identifier: Apache-2.0
// Validation: did anything that the transaction depends on change after it was read? The overlay answers, because every
// commit newer than a live transaction's base is still in it (see txn/views.h, pins).
#include <algorithm>

#include "txn/transaction.h"

namespace hf::txn {
namespace {

// Csn of the newest commit of that row if it is newer than `after`, else 0. `segments` are newest first.
Csn newest_after(const std::vector<overlay::SegmentRef>& segments, TableId table, Bytes key, std::uint64_t hash,
                 Csn after) {
  for (const overlay::SegmentRef& segment : segments) {
    if (segment->last_csn() <= after) break;
    const Csn newest = segment->newest(table, key, hash);
    if (newest != 0) return newest > after ? newest : 0;
  }
  return 0;
}

}  // namespace

Status Transaction::changed(TableId table, Bytes key, Csn other, Code code) {
  obstacle_ = {};
  obstacle_.table = table;
  obstacle_.key.assign(key);
  obstacle_.other_csn = other;
  return Status(code, "commit " + std::to_string(other) + " changed what was read at csn " + std::to_string(snapshot_));
}

// Called under the commit latch: look-ups only.
Status Transaction::validate(const std::vector<overlay::SegmentRef>& segments) {
  for (const RowRead& row : reads_.rows()) {
    const Csn other = newest_after(segments, row.table, row.key, row.hash, row.seen_at);
    if (other != 0) return changed(row.table, row.key, other, row.on_change);
  }
  for (const RangeRead& range : reads_.ranges()) {
    if (range.empty) continue;
    for (const overlay::SegmentRef& segment : segments) {
      if (segment->last_csn() <= range.seen_at) break;
      if (!segment->has_table(range.table)) continue;
      const Csn other = segment->changed_in_range(range.table, range.low, range.high, range.has_high,
                                                  range.high_inclusive, range.seen_at);
      if (other != 0) return changed(range.table, range.low, other, Code::kCONFLICT);
    }
  }
  if (options_.isolation != Isolation::kSnapshot) return {};
  for (const auto& [row, write] : writes_.rows()) {
    if (!write.live) continue;
    const Csn other = newest_after(segments, row.table, row.key, write.hash, snapshot_);
    if (other != 0) return changed(row.table, row.key, other, Code::kCONFLICT);
  }
  return {};
}

}  // namespace hf::txn
