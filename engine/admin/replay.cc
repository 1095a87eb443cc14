// SPDX-License-Identifier: Apache-2.0
#include "admin/replay.h"

#include <algorithm>
#include <vector>

#include "catalog/names.h"
#include "platform/test_point.h"

namespace hf::admin {
namespace {

constexpr std::uint64_t kBatchBytes = 32u << 20;  // kept in memory; large beside the two syncs of a transaction
constexpr std::uint64_t kRowOverhead = 128;       // of the map, about

}  // namespace

// A commit that gives a table the rows of a bulk load is all that the log has of them. They are there if the backup was
// made between the end of the load and this commit.
Status Replay::check_loads(const Commit& commit) {
  std::vector<TableId> ended, given;
  for (const overlay::Change& change : commit.changes) {
    if (const TableId id = catalog::ended_load(change); id != 0) ended.push_back(id);
    if (const TableId id = catalog::given_data_id(change); id != 0) given.push_back(id);
  }
  for (const TableId id : ended) {
    if (std::find(given.begin(), given.end(), id) == given.end()) continue;
    Result<std::shared_ptr<const store::Snapshot>> snapshot = base_.snapshot();
    if (!snapshot.ok()) return std::move(snapshot).status();
    if (snapshot.value()->entries(id) != 0) continue;
    return Status(Code::kSNAPSHOT_TOO_OLD,
                  "commit " + std::to_string(commit.record.csn) +
                      " ended a bulk load, whose rows are not in the log: restore up to commit " +
                      std::to_string(commit.record.csn - 1) + ", or from a backup made later");
  }
  return {};
}

void Replay::note(Csn csn, const overlay::Change& change) {
  if (change.kind == overlay::VersionKind::kDropTable) {
    // No row comes after it: the number is never used again.
    rows_.erase(rows_.lower_bound({change.table, ""}), rows_.lower_bound({change.table + 1, ""}));
    dropped_.insert(change.table);
    return;
  }
  Row& row = rows_[{change.table, std::string(change.key)}];
  row.present = change.kind == overlay::VersionKind::kPut;
  row.value.assign(change.value);
  row.row = {csn, change.expires_ms, {}, change.flags};
  bytes_ += change.key.size() + change.value.size() + kRowOverhead;
}

Status Replay::add(const Commit& commit) {
  if (Status status = check_loads(commit); !status.ok()) return status;
  for (const overlay::Change& change : commit.changes) note(commit.record.csn, change);
  last_ = commit.record.csn;
  return bytes_ < kBatchBytes ? Status() : finish();
}

Status Replay::finish() {
  if (last_ == 0) return {};
  Result<std::unique_ptr<store::Merge>> merge = base_.begin_merge();
  if (!merge.ok()) return std::move(merge).status();
  for (const TableId table : dropped_) {
    if (Status status = merge.value()->drop_table(table); !status.ok()) return status;
  }
  for (auto& [key, row] : rows_) {
    row.row.value = row.value;
    Status status =
        row.present ? merge.value()->put(key.first, key.second, row.row) : merge.value()->erase(key.first, key.second);
    if (!status.ok()) return status;
  }
  if (Status status = merge.value()->commit(last_); !status.ok()) return status;
  platform::reach("restore.replayed");
  rows_.clear();
  dropped_.clear();
  bytes_ = 0;
  last_ = 0;
  return {};
}

}  // namespace hf::admin
