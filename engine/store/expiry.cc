// SPDX-License-Identifier: Apache-2.0
// The index of rows that expire, and the sweep that removes them. Layout of an entry: store/format.h.
#include <algorithm>

#include "base/hash.h"
#include "store/impl.h"

namespace hf::store {
namespace {

constexpr unsigned kCollisionsMax = 255;  // what one byte can count

// Entries looked at for each row that may be removed: those of dropped tables are discarded on the way, but a sweep
// stays a bounded piece of work.
constexpr std::uint64_t kVisitsPerRow = 4;

struct ExpiryKey {
  char bytes[kExpiryKeySize + 1];

  ExpiryKey(std::uint64_t expires_ms, TableId table, Bytes key) noexcept {
    store_be64(bytes, expires_ms);
    store_be32(bytes + 8, table);
    store_be64(bytes + 12, checksum(key.data(), key.size(), table));
  }
  Bytes prefix() const noexcept { return Bytes(bytes, kExpiryKeySize); }
  Bytes with_count(unsigned count) noexcept {
    bytes[kExpiryKeySize] = static_cast<char>(count);
    return Bytes(bytes, count == 0 ? kExpiryKeySize : kExpiryKeySize + 1);
  }
};

struct Found {
  int rc;           // 0: the cursor stands on the row's entry; MDB_NOTFOUND; or an error
  unsigned unused;  // first count that no entry with this prefix has
};

// Looks for the entry of `key` among those that share its prefix. Nearly always there is at most one.
Found find_entry(MDB_cursor* cursor, const ExpiryKey& expiry_key, Bytes key) {
  MDB_val name = to_val(expiry_key.prefix()), value;
  unsigned unused = 0;
  int rc = mdb_cursor_get(cursor, &name, &value, MDB_SET_RANGE);
  for (; rc == 0 && to_bytes(name).substr(0, kExpiryKeySize) == expiry_key.prefix();
       rc = mdb_cursor_get(cursor, &name, &value, MDB_NEXT)) {
    if (to_bytes(value) == key) return {0, unused};
    const Bytes entry = to_bytes(name);
    const unsigned count = entry.size() == kExpiryKeySize ? 0 : static_cast<unsigned char>(entry[kExpiryKeySize]);
    if (count == unused) ++unused;
  }
  return {rc == 0 ? MDB_NOTFOUND : rc, unused};
}

struct Due {
  std::uint64_t expires_ms;
  TableId table;
  std::string key;
};

// The earliest entry when it is before `now_ms`: 0; MDB_NOTFOUND when there is none.
int first_due(MDB_cursor* cursor, std::uint64_t now_ms, Due* due) {
  MDB_val name, value;
  if (const int rc = mdb_cursor_get(cursor, &name, &value, MDB_FIRST); rc != 0) return rc;
  if (name.mv_size < kExpiryKeySize) return MDB_CORRUPTED;
  const char* const bytes = static_cast<const char*>(name.mv_data);
  due->expires_ms = load_be64(bytes);
  if (due->expires_ms >= now_ms) return MDB_NOTFOUND;
  due->table = load_be32(bytes + 8);
  due->key = to_bytes(value);
  return 0;
}

// Deletes the row that `due` speaks of, if it is still that row. Returns 1 when it did.
Result<std::uint64_t> remove_row(const Writer& writer, const Due& due) {
  const std::uint32_t slot = writer.directory().slot_of(due.table);
  if (slot == kNoSlot) return std::uint64_t{0};
  MDB_val name = to_val(due.key), value;
  int rc = mdb_get(writer.txn(), writer.handle(slot), &name, &value);
  Row row;
  if (rc == 0 && decode_row(value, &row) && row.expires_ms == due.expires_ms) {
    rc = mdb_del(writer.txn(), writer.handle(slot), &name, nullptr);
    if (rc == 0) return std::uint64_t{1};
  }
  if (rc == 0 || rc == MDB_NOTFOUND || rc == MDB_BAD_VALSIZE) return std::uint64_t{0};
  return lmdb_write_status(rc, "mdb_del", writer.store().env);
}

Result<std::uint64_t> sweep(Writer& writer, std::uint64_t now_ms, std::uint64_t limit) {
  MDB_env* const env = writer.store().env;
  MDB_cursor* cursor = nullptr;  // LMDB frees it with the transaction
  if (const int rc = mdb_cursor_open(writer.txn(), writer.store().expiry, &cursor); rc != 0) {
    return lmdb_status(rc, "mdb_cursor_open", env);
  }
  std::uint64_t removed = 0;
  std::uint64_t visits = limit > UINT64_MAX / kVisitsPerRow ? UINT64_MAX : limit * kVisitsPerRow;
  Due due;
  for (; removed < limit && visits > 0; --visits) {
    int rc = first_due(cursor, now_ms, &due);
    if (rc == MDB_NOTFOUND) break;
    if (rc == 0) {
      Result<std::uint64_t> row = remove_row(writer, due);
      if (!row.ok()) return row;
      removed += *row;
      rc = mdb_cursor_del(cursor, 0);
    }
    if (rc != 0) return lmdb_write_status(rc, "mdb_cursor_del", env);
  }
  return removed;
}

}  // namespace

Status Writer::open_expiry_cursor() {
  if (expiry_cursor_ != nullptr) return Status();
  const int rc = mdb_cursor_open(txn_, store_->expiry, &expiry_cursor_);
  return rc == 0 ? Status() : lmdb_status(rc, "mdb_cursor_open", store_->env);
}

Status Writer::add_expiry(std::uint64_t expires_ms, TableId table, Bytes key) {
  if (Status status = open_expiry_cursor(); !status.ok()) return status;
  ExpiryKey expiry_key(expires_ms, table, key);
  const Found found = find_entry(expiry_cursor_, expiry_key, key);
  if (found.rc == 0) return Status();
  if (found.rc != MDB_NOTFOUND) return lmdb_status(found.rc, "mdb_cursor_get", store_->env);
  // Only keys made to collide get here. Such a row expires all the same; it just is never swept.
  if (found.unused > kCollisionsMax) return Status();
  MDB_val name = to_val(expiry_key.with_count(found.unused)), value = to_val(key);
  const int rc = mdb_cursor_put(expiry_cursor_, &name, &value, 0);
  return rc == 0 ? Status() : lmdb_write_status(rc, "mdb_cursor_put", store_->env);
}

Status Writer::remove_expiry(std::uint64_t expires_ms, TableId table, Bytes key) {
  if (Status status = open_expiry_cursor(); !status.ok()) return status;
  const Found found = find_entry(expiry_cursor_, ExpiryKey(expires_ms, table, key), key);
  if (found.rc == MDB_NOTFOUND) return Status();
  const int rc = found.rc == 0 ? mdb_cursor_del(expiry_cursor_, 0) : found.rc;
  return rc == 0 ? Status() : lmdb_write_status(rc, "mdb_cursor_del", store_->env);
}

Result<std::uint64_t> Store::sweep_expired(std::uint64_t now_ms, std::uint64_t limit) {
  {
    // Mostly there is nothing to do, and finding that out should not cost a write transaction.
    std::unique_lock lock(impl_->mutex);
    Result<MDB_txn*> txn = impl_->begin_read(lock);
    if (!txn.ok()) return std::move(txn).status();
    MDB_cursor* cursor = nullptr;
    int rc = mdb_cursor_open(*txn, impl_->expiry, &cursor);
    Due due;
    if (rc == 0) rc = first_due(cursor, now_ms, &due);
    if (cursor != nullptr) mdb_cursor_close(cursor);
    impl_->end_read(*txn, lock);
    if (rc == MDB_NOTFOUND || limit == 0) return std::uint64_t{0};
    if (rc != 0) return lmdb_status(rc, "mdb_cursor_get", impl_->env);
  }
  Result<std::unique_ptr<Writer>> writer = Writer::begin(impl_);
  if (!writer.ok()) return std::move(writer).status();
  Result<std::uint64_t> removed = sweep(**writer, now_ms, limit);
  if (!removed.ok()) return removed;
  if (Status status = (*writer)->commit(); !status.ok()) return status;
  return removed;
}

}  // namespace hf::store
