// SPDX-License-Identifier: Apache-2.0
// Merge: sealed commits into the base, in one transaction.
//
// Each table that is met keeps one cursor. In sorted input the next key mostly lies on the page where the cursor
// stands, so mdb_cursor_put finds it without going down the tree.
#include <utility>

#include "platform/test_point.h"
#include "store/impl.h"

namespace hf::store {
namespace {

// Values up to this size are composed in a buffer and overwrite the old row where the cursor stands (MDB_CURRENT);
// larger ones are found a second time and written in place (MDB_RESERVE), which saves copying them twice. The two
// flags do not combine in LMDB 0.9.24.
constexpr std::size_t kComposeSizeMax = 2048;

struct TableCursor {
  TableId table = 0;
  std::uint32_t slot = kNoSlot;
  MDB_cursor* cursor = nullptr;
};

std::uint64_t expires_of(const MDB_val& value) noexcept {
  Row row;
  return decode_row(value, &row) ? row.expires_ms : 0;
}

void fill(char* out, const Row& row) noexcept {
  char* const body = encode_head(out, row.version, row.flags, row.expires_ms, row.checksum);
  if (!row.value.empty()) std::memcpy(body, row.value.data(), row.value.size());
}

// Writes the row; `*old_expires_ms` becomes the expiry time of the row that was there, 0 if none.
int put_row(MDB_cursor* cursor, Bytes key, const Row& row, std::uint64_t* old_expires_ms) {
  const std::size_t size = head_size(row.expires_ms) + row.value.size();
  MDB_val name = to_val(key), value{size, nullptr};
  int rc = mdb_cursor_put(cursor, &name, &value, MDB_NOOVERWRITE | MDB_RESERVE);
  if (rc == 0) fill(static_cast<char*>(value.mv_data), row);
  if (rc != MDB_KEYEXIST) return rc;
  *old_expires_ms = expires_of(value);
  if (size <= kComposeSizeMax) {
    char composed[kComposeSizeMax];
    fill(composed, row);
    value = {size, composed};
    return mdb_cursor_put(cursor, &name, &value, MDB_CURRENT);
  }
  value = {size, nullptr};
  rc = mdb_cursor_put(cursor, &name, &value, MDB_RESERVE);
  if (rc == 0) fill(static_cast<char*>(value.mv_data), row);
  return rc;
}

}  // namespace

class Merge::Impl {
 public:
  explicit Impl(std::unique_ptr<Writer> merge_writer) noexcept : writer(std::move(merge_writer)) {}

  // The table's cursor, or null when it has no rows and `make` is false.
  Result<TableCursor*> cursor_of(TableId table, bool make);
  // Remembers the first failure: LMDB refuses to commit after it, and the answer should then still name it.
  Status note(Status status) {
    if (!status.ok() && failure.ok()) failure = status;
    return status;
  }
  Status usable() const {
    if (!failure.ok()) return failure;
    return writer != nullptr ? Status() : Status(Code::kMISUSE, "the merge is over");
  }
  Status lmdb(int rc, const char* call) const {
    return rc == 0 ? Status() : lmdb_write_status(rc, call, writer->store().env);
  }

  Status put(TableId table, Bytes key, const Row& row);
  Status erase(TableId table, Bytes key);
  Status drop(TableId table);

  std::unique_ptr<Writer> writer;
  Status failure;
  std::unordered_map<TableId, TableCursor> cursors;
  TableCursor* current = nullptr;  // of the last call; elements of `cursors` do not move
};

Result<TableCursor*> Merge::Impl::cursor_of(TableId table, bool make) {
  if (current != nullptr && current->table == table) return current;
  if (const auto found = cursors.find(table); found != cursors.end()) return current = &found->second;
  TableCursor opened;
  opened.table = table;
  opened.slot = writer->directory().slot_of(table);
  if (opened.slot == kNoSlot) {
    if (!make) return static_cast<TableCursor*>(nullptr);
    Result<std::uint32_t> slot = writer->take_slot();
    if (!slot.ok()) return std::move(slot).status();
    opened.slot = *slot;
    if (Status status = writer->bind(table, opened.slot); !status.ok()) return status;
  }
  const int rc = mdb_cursor_open(writer->txn(), writer->handle(opened.slot), &opened.cursor);
  if (rc != 0) return lmdb(rc, "mdb_cursor_open");
  return current = &cursors.emplace(table, opened).first->second;
}

Status Merge::Impl::put(TableId table, Bytes key, const Row& row) {
  Result<TableCursor*> cursor = cursor_of(table, true);
  if (!cursor.ok()) return std::move(cursor).status();
  std::uint64_t old_expires_ms = 0;
  const int rc = put_row((*cursor)->cursor, key, row, &old_expires_ms);
  if (rc != 0) return lmdb(rc, "mdb_cursor_put");
  if (old_expires_ms == row.expires_ms) return Status();
  if (old_expires_ms != 0) {
    if (Status status = writer->remove_expiry(old_expires_ms, table, key); !status.ok()) return status;
  }
  return row.expires_ms == 0 ? Status() : writer->add_expiry(row.expires_ms, table, key);
}

Status Merge::Impl::erase(TableId table, Bytes key) {
  Result<TableCursor*> cursor = cursor_of(table, false);
  if (!cursor.ok()) return std::move(cursor).status();
  if (*cursor == nullptr) return Status();
  MDB_val name = to_val(key), value;
  int rc = mdb_cursor_get((*cursor)->cursor, &name, &value, MDB_SET);
  if (rc == MDB_NOTFOUND) return Status();
  const std::uint64_t expires_ms = rc == 0 ? expires_of(value) : 0;
  if (rc == 0) rc = mdb_cursor_del((*cursor)->cursor, 0);
  if (rc != 0) return lmdb(rc, "mdb_cursor_del");
  return expires_ms == 0 ? Status() : writer->remove_expiry(expires_ms, table, key);
}

Status Merge::Impl::drop(TableId table) {
  if (writer->directory().slot_of(table) == kNoSlot) return Status();
  if (const auto found = cursors.find(table); found != cursors.end()) {
    mdb_cursor_close(found->second.cursor);
    cursors.erase(found);
    current = nullptr;
  }
  return writer->unbind(table);
}

Merge::Merge() noexcept = default;
Merge::~Merge() = default;

Result<std::unique_ptr<Merge>> Store::begin_merge() {
  Result<std::unique_ptr<Writer>> writer = Writer::begin(impl_);
  if (!writer.ok()) return std::move(writer).status();
  std::unique_ptr<Merge> merge(new Merge());
  merge->impl_ = std::make_unique<Merge::Impl>(std::move(writer).value());
  return merge;
}

Status Merge::put(TableId table, Bytes key, const Row& row) {
  if (table == 0 || key.empty() || row.version > kCsnMax) return Code::kINVALID_ARGUMENT;
  if (key.size() > kKeySizeMax || row.value.size() > kValueSizeMax) return Code::kTOO_LARGE;
  if (Status status = impl_->usable(); !status.ok()) return status;
  if (row.checked) return impl_->note(impl_->put(table, key, row));
  Row checked = row;
  checked.flags = row.flags & kFlagsOfCaller;
  checked.checksum = checksum_of(row_hash(table, key), checked);
  return impl_->note(impl_->put(table, key, checked));
}

Status Merge::erase(TableId table, Bytes key) {
  if (table == 0 || key.empty()) return Code::kINVALID_ARGUMENT;
  if (key.size() > kKeySizeMax) return Code::kTOO_LARGE;
  if (Status status = impl_->usable(); !status.ok()) return status;
  return impl_->note(impl_->erase(table, key));
}

Status Merge::drop_table(TableId table) {
  if (Status status = impl_->usable(); !status.ok()) return status;
  return impl_->note(impl_->drop(table));
}

Status Merge::commit(Csn applied_csn) {
  if (Status status = impl_->usable(); !status.ok()) return status;
  Status status =
      impl_->writer->put_meta(kAppliedCsnKey, Bytes(reinterpret_cast<const char*>(&applied_csn), sizeof applied_csn));
  if (!status.ok()) return impl_->note(std::move(status));
  platform::reach("store.merge.before_commit");
  status = impl_->note(impl_->writer->commit());
  if (status.ok()) platform::reach("store.merge.committed");
  impl_->cursors.clear();  // LMDB has freed what they pointed to
  impl_->current = nullptr;
  impl_->writer.reset();
  return status;
}

}  // namespace hf::store
