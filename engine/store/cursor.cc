// SPDX-License-Identifier: Apache-2.0
// Walking a table of a snapshot. next() is the engine's scan: one LMDB call and the decoding of a head.
#include <utility>

#include "store/impl.h"

namespace hf::store {
namespace {

MDB_cursor* lmdb_cursor(void* cursor) noexcept { return static_cast<MDB_cursor*>(cursor); }

[[gnu::cold, gnu::noinline]] Result<bool> not_on_row(int rc, MDB_cursor* cursor) {
  if (rc == MDB_NOTFOUND) return false;
  MDB_env* const env = mdb_txn_env(mdb_cursor_txn(cursor));
  if (rc != 0) return lmdb_status(rc, "mdb_cursor_get", env);
  return Status(Code::kCORRUPT, "a row of the base is shorter than its head");
}

// Takes over what mdb_cursor_get answered.
inline Result<bool> settle(int rc, MDB_cursor* cursor, const MDB_val& name, const MDB_val& value, bool* valid,
                           Bytes* key, Row* row) {
  if (rc == 0 && decode_row(value, row)) [[likely]] {
    *key = to_bytes(name);
    *valid = true;
    return true;
  }
  *valid = false;
  return not_on_row(rc, cursor);
}

}  // namespace

Result<Cursor> Cursor::open(const Snapshot& snapshot, TableId table) {
  Cursor cursor;
  const MDB_dbi dbi = snapshot.impl_->dbi_of(table);
  if (dbi != 0) {
    MDB_cursor* opened = nullptr;
    const int rc = mdb_cursor_open(snapshot.impl_->txn, dbi, &opened);
    if (rc != 0) return lmdb_status(rc, "mdb_cursor_open", snapshot.impl_->store->env);
    cursor.cursor_ = opened;
  }
  return cursor;
}

Cursor::Cursor(Cursor&& other) noexcept
    : cursor_(std::exchange(other.cursor_, nullptr)),
      valid_(std::exchange(other.valid_, false)),
      key_(other.key_),
      row_(other.row_) {}

Cursor& Cursor::operator=(Cursor&& other) noexcept {
  if (this == &other) return *this;
  if (cursor_ != nullptr) mdb_cursor_close(lmdb_cursor(cursor_));
  cursor_ = std::exchange(other.cursor_, nullptr);
  valid_ = std::exchange(other.valid_, false);
  key_ = other.key_;
  row_ = other.row_;
  return *this;
}

// Cursors of read transactions are plain memory, so this is right in a forked child too.
Cursor::~Cursor() {
  if (cursor_ != nullptr) mdb_cursor_close(lmdb_cursor(cursor_));
}

bool Cursor::step(bool backward) noexcept {
  failed_ = MDB_NOTFOUND;
  if (!valid_) return false;
  MDB_val name{}, value{};
  const int rc = mdb_cursor_get(lmdb_cursor(cursor_), &name, &value, backward ? MDB_PREV : MDB_NEXT);
  valid_ = rc == 0 && decode_row(value, &row_);
  key_ = to_bytes(name);
  failed_ = rc;
  return valid_;
}

Result<bool> Cursor::outcome() const { return not_on_row(failed_, lmdb_cursor(cursor_)); }

Result<bool> Cursor::next() {
  if (!valid_) return false;
  MDB_val name, value;
  const int rc = mdb_cursor_get(lmdb_cursor(cursor_), &name, &value, MDB_NEXT);
  return settle(rc, lmdb_cursor(cursor_), name, value, &valid_, &key_, &row_);
}

Result<bool> Cursor::prev() {
  if (!valid_) return false;
  MDB_val name, value;
  const int rc = mdb_cursor_get(lmdb_cursor(cursor_), &name, &value, MDB_PREV);
  return settle(rc, lmdb_cursor(cursor_), name, value, &valid_, &key_, &row_);
}

Result<bool> Cursor::first() {
  if (cursor_ == nullptr) return false;
  MDB_val name, value;
  const int rc = mdb_cursor_get(lmdb_cursor(cursor_), &name, &value, MDB_FIRST);
  return settle(rc, lmdb_cursor(cursor_), name, value, &valid_, &key_, &row_);
}

Result<bool> Cursor::last() {
  if (cursor_ == nullptr) return false;
  MDB_val name, value;
  const int rc = mdb_cursor_get(lmdb_cursor(cursor_), &name, &value, MDB_LAST);
  return settle(rc, lmdb_cursor(cursor_), name, value, &valid_, &key_, &row_);
}

Result<bool> Cursor::seek_at_or_after(Bytes key) {
  if (key.empty()) return first();  // LMDB refuses empty keys
  if (cursor_ == nullptr) return false;
  MDB_val name = to_val(key), value;
  const int rc = mdb_cursor_get(lmdb_cursor(cursor_), &name, &value, MDB_SET_RANGE);
  return settle(rc, lmdb_cursor(cursor_), name, value, &valid_, &key_, &row_);
}

Result<bool> Cursor::seek_before(Bytes key) {
  if (cursor_ == nullptr || key.empty()) {
    valid_ = false;
    return false;
  }
  MDB_val name = to_val(key), value;
  int rc = mdb_cursor_get(lmdb_cursor(cursor_), &name, &value, MDB_SET_RANGE);
  if (rc != 0 && rc != MDB_NOTFOUND) return settle(rc, lmdb_cursor(cursor_), name, value, &valid_, &key_, &row_);
  rc = mdb_cursor_get(lmdb_cursor(cursor_), &name, &value, rc == 0 ? MDB_PREV : MDB_LAST);
  return settle(rc, lmdb_cursor(cursor_), name, value, &valid_, &key_, &row_);
}

}  // namespace hf::store
