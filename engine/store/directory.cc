// SPDX-License-Identifier: Apache-2.0
#include <cassert>

#include "store/impl.h"

namespace hf::store {
namespace {

// Table numbers below this are found by index (256 KiB at most); numbers are handed out upward from 1.
constexpr TableId kDenseTables = 65536;

Status contradiction(const std::string& what) { return Status(Code::kCORRUPT, "table directory of the base: " + what); }

}  // namespace

std::uint32_t Directory::slot_of_sparse(TableId table) const noexcept {
  const auto found = sparse_.find(table);
  return found == sparse_.end() ? kNoSlot : found->second;
}

void Directory::bind(TableId table, std::uint32_t slot) {
  assert(table != 0 && slot < owners_.size() && owners_[slot] == 0 && slot_of(table) == kNoSlot);
  if (table < kDenseTables) {
    if (table >= dense_.size()) dense_.resize(table + 1, kNoSlot);
    dense_[table] = slot;
  } else {
    sparse_[table] = slot;
  }
  owners_[slot] = table;
  ++tables_;
}

void Directory::unbind(TableId table) {
  const std::uint32_t slot = slot_of(table);
  assert(slot != kNoSlot);
  owners_[slot] = 0;
  --tables_;
  if (table < kDenseTables) {
    dense_[table] = kNoSlot;
  } else {
    sparse_.erase(table);
  }
}

Result<Directory> Directory::read(MDB_txn* txn, MDB_dbi tables, const DirectoryRecord& record) {
  Directory directory;
  directory.generation = record.generation;
  directory.add_slots(record.slots);
  MDB_cursor* cursor = nullptr;
  if (const int rc = mdb_cursor_open(txn, tables, &cursor); rc != 0) {
    return lmdb_status(rc, "mdb_cursor_open", mdb_txn_env(txn));
  }
  MDB_val key, value;
  Status status;
  int rc;
  while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
    std::uint32_t slot;
    if (key.mv_size != sizeof(TableId) || value.mv_size != sizeof slot) {
      status = contradiction("an entry has the wrong size");
      break;
    }
    const TableId table = load_be32(static_cast<const char*>(key.mv_data));
    std::memcpy(&slot, value.mv_data, sizeof slot);
    if (table == 0 || slot >= record.slots || directory.owners_[slot] != 0) {
      status = contradiction("table " + std::to_string(table) + " has slot " + std::to_string(slot));
      break;
    }
    directory.bind(table, slot);
  }
  if (status.ok() && rc != MDB_NOTFOUND) status = lmdb_status(rc, "mdb_cursor_get", mdb_txn_env(txn));
  mdb_cursor_close(cursor);
  if (!status.ok()) return status;
  return directory;
}

}  // namespace hf::store
