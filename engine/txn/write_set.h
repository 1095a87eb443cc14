// SPDX-License-Identifier: Apache-2.0
// WriteSet: the rows a transaction will write, ordered by (table, key), with savepoints. Keys and values are copied
// into the arena that the owner gives. One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <memory_resource>
#include <vector>

#include "base/arena.h"
#include "base/bytes.h"
#include "overlay/overlay.h"
#include "txn/counters.h"

namespace hf::txn {

struct RowKey {
  TableId table;
  Bytes key;
  bool operator<(const RowKey& other) const noexcept {
    return table != other.table ? table < other.table : key < other.key;
  }
};

struct RowWrite {
  overlay::VersionKind kind;
  std::uint8_t flags;
  bool live;  // false: undone by a savepoint, as if it were not there
  std::uint64_t hash;
  std::uint64_t expires_ms;
  Bytes value;
  // Not null: no definite value but something to add to what is committed; kind, flags and value's size are those of
  // the row to come.
  CounterAdd* add;
};

class WriteSet {
 public:
  using Map = std::pmr::map<RowKey, RowWrite>;
  using Position = Map::const_iterator;

  explicit WriteSet(Arena& arena) noexcept : arena_(&arena), resource_(arena), map_(&resource_) {}

  // The write of that row, or null.
  const RowWrite* find(TableId table, Bytes key) const {
    if (live_ == 0) return nullptr;
    const auto it = map_.find({table, key});
    return it != map_.end() && it->second.live ? &it->second : nullptr;
  }
  // Copies key, value and add.
  void set(TableId table, Bytes key, const RowWrite& write);

  bool empty() const noexcept { return live_ == 0; }
  std::size_t size() const noexcept { return live_; }          // rows
  std::uint64_t bytes() const noexcept { return bytes_; }      // keys and values of live rows
  std::uint64_t changes() const noexcept { return changes_; }  // grows with every set and rollback

  const Map& rows() const noexcept { return map_; }  // skip those that are not live

  std::uint64_t savepoint();
  bool has_savepoint(std::uint64_t savepoint) const noexcept;
  void rollback_to(std::uint64_t savepoint);  // Requires: has_savepoint
  void release(std::uint64_t savepoint);      // Requires: has_savepoint

  // The arena must not be cleared before.
  void clear() noexcept;

 private:
  // Nodes come from the arena; giving back is done by clearing it.
  class Resource : public std::pmr::memory_resource {
   public:
    explicit Resource(Arena& arena) noexcept : arena_(&arena) {}

   private:
    void* do_allocate(std::size_t bytes, std::size_t) override { return arena_->allocate(bytes); }
    void do_deallocate(void*, std::size_t, std::size_t) override {}
    bool do_is_equal(const memory_resource& other) const noexcept override { return this == &other; }
    Arena* arena_;
  };
  struct Undo {
    Map::iterator row;
    RowWrite before;
  };
  struct Savepoint {
    std::uint64_t id;
    std::size_t undo_size;
  };

  Arena* arena_;
  Resource resource_;
  Map map_;
  std::size_t live_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t changes_ = 0;
  std::uint64_t next_savepoint_ = 1;
  std::vector<Savepoint> savepoints_;
  std::vector<Undo> undo_;  // only while there is a savepoint
};

}  // namespace hf::txn
