// SPDX-License-Identifier: Apache-2.0
#include "txn/write_set.h"

#include <algorithm>
#include <cassert>
#include <new>

namespace hf::txn {

void WriteSet::set(TableId table, Bytes key, const RowWrite& write) {
  ++changes_;
  auto it = map_.lower_bound({table, key});
  if (it == map_.end() || it->first.table != table || it->first.key != key) {
    RowWrite absent{};
    it = map_.emplace_hint(it, RowKey{table, arena_->copy(key)}, absent);
  }
  RowWrite& row = it->second;
  if (!savepoints_.empty()) undo_.push_back({it, row});
  if (row.live) {
    bytes_ -= row.value.size();
  } else {
    ++live_;
    bytes_ += key.size();
  }
  row = write;
  row.live = true;
  row.value = arena_->copy(write.value);
  // A new one each time: a savepoint may remember the one before.
  if (write.add != nullptr) row.add = new (arena_->allocate(sizeof(CounterAdd))) CounterAdd(*write.add);
  bytes_ += row.value.size();
}

std::uint64_t WriteSet::savepoint() {
  savepoints_.push_back({next_savepoint_, undo_.size()});
  return next_savepoint_++;
}

bool WriteSet::has_savepoint(std::uint64_t savepoint) const noexcept {
  return std::any_of(savepoints_.begin(), savepoints_.end(),
                     [savepoint](const Savepoint& s) { return s.id == savepoint; });
}

void WriteSet::rollback_to(std::uint64_t savepoint) {
  assert(has_savepoint(savepoint));
  ++changes_;
  while (savepoints_.back().id != savepoint) savepoints_.pop_back();
  const std::size_t keep = savepoints_.back().undo_size;
  while (undo_.size() > keep) {
    const Undo& undo = undo_.back();
    RowWrite& row = undo.row->second;
    const std::size_t key_size = undo.row->first.key.size();
    if (row.live) {
      bytes_ -= key_size + row.value.size();
      --live_;
    }
    row = undo.before;
    if (row.live) {
      bytes_ += key_size + row.value.size();
      ++live_;
    }
    undo_.pop_back();
  }
}

void WriteSet::release(std::uint64_t savepoint) {
  assert(has_savepoint(savepoint));
  bool found = false;
  while (!found) {
    found = savepoints_.back().id == savepoint;
    savepoints_.pop_back();
  }
  if (savepoints_.empty()) undo_.clear();
}

void WriteSet::clear() noexcept {
  if (!map_.empty()) map_.clear();
  live_ = 0;
  bytes_ = 0;
  savepoints_.clear();
  undo_.clear();
}

}  // namespace hf::txn
