// SPDX-License-Identifier: Apache-2.0
// Validation: did anything that the transaction depends on change after it was read? The overlay answers, because every
// commit newer than a live transaction's base is still in it (see txn/views.h, pins).
#include <algorithm>
#include <new>

#include "platform/plant.h"
#include "txn/committers.h"
#include "txn/transaction.h"

namespace hf::txn {

Csn Transaction::newest_after(const std::vector<overlay::SegmentRef>& segments, TableId table, Bytes key,
                              std::uint64_t hash, Csn after) {
  for (const overlay::SegmentRef& segment : segments) {
    if (segment->last_csn() <= after) break;
    const Csn newest = segment->newest(table, key, hash);
    if (newest != 0) return newest > after ? newest : 0;
  }
  return 0;
}

Status Transaction::changed(TableId table, Bytes key, Csn other, Code code) {
  obstacle_ = {};
  obstacle_.table = table;
  obstacle_.key.assign(key);
  obstacle_.other_csn = other;
  return Status(code, "commit " + std::to_string(other) + " changed what was read at csn " + std::to_string(snapshot_));
}

// Completes the report by what is known of the other party. Never under the commit latch.
void Transaction::name_other() noexcept {
  if (obstacle_.other_csn == 0 || obstacle_.other_pid != 0) return;
  try {
    Committer other;
    if (!find_committer(database_->shared(), obstacle_.other_csn, &other)) return;
    obstacle_.other_label = std::move(other.label);
    obstacle_.other_pid = other.pid;
    obstacle_.other_age_ms = other.age_ms;
  } catch (const std::bad_alloc&) {  // a report less complete, and nothing worse
  }
}

// Called under the commit latch: look-ups only.
Status Transaction::validate(const std::vector<overlay::SegmentRef>& segments) {
  if (platform::planted(platform::Plant::kValidation)) return {};
  for (const RowRead& row : reads_.rows()) {
    const Csn other = newest_after(segments, row.table, row.key, row.hash, row.seen_at);
    if (other != 0) return changed(row.table, row.key, other, row.on_change);
  }
  for (const RangeRead& range : reads_.ranges()) {
    if (range.empty || platform::planted(platform::Plant::kRangeValidation)) continue;
    for (const overlay::SegmentRef& segment : segments) {
      if (segment->last_csn() <= range.seen_at) break;
      if (!segment->has_table(range.table)) continue;
      const Csn other = segment->changed_in_range(range.table, range.low, range.high, range.has_high,
                                                  range.high_inclusive, range.seen_at);
      if (other == 0) continue;
      Status status = changed(range.table, range.low, other, Code::kCONFLICT);
      obstacle_.range = true;
      return status;
    }
  }
  if (options_.isolation != Isolation::kSnapshot) return {};
  if (platform::planted(platform::Plant::kFirstCommitter)) return {};
  for (const auto& [row, write] : writes_.rows()) {
    // First committer wins, but adds do not overwrite each other.
    if (!write.live || write.add != nullptr) continue;
    const Csn other = newest_after(segments, row.table, row.key, write.hash, snapshot_);
    if (other != 0) return changed(row.table, row.key, other, Code::kCONFLICT);
  }
  return {};
}

}  // namespace hf::txn
