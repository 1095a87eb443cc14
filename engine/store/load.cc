// SPDX-License-Identifier: Apache-2.0
// Load: sorted rows appended to a slot that no table owns until finish().
//
// Rows gather in memory and go to LMDB a batch at a time, each batch one transaction that begins and ends within one
// call. So a load may move between threads (LMDB's write transactions may not), and a merge may run between two
// calls. The batch in which the table gets its slot is the last; rows of a load that ended earlier lie in a slot
// that is emptied when somebody takes it.
#include <utility>

#include "platform/test_point.h"
#include "store/impl.h"

namespace hf::store {
namespace {

// Bytes of rows per transaction. Large enough that its two syncs cost little beside writing that much, small enough
// to be held twice, here and in LMDB's dirty pages.
constexpr std::size_t kBatchSize = 32u << 20;

// In the batch, before each row: key, then head and value.
struct BatchRow {
  std::uint32_t key_size;
  std::uint32_t value_size;  // with the head
  std::uint64_t expires_ms;
};

}  // namespace

class Load::Impl {
 public:
  Impl(std::shared_ptr<Store::Impl> base, TableId load_table, Csn load_version)
      : store(std::move(base)), table(load_table), version(load_version) {}
  ~Impl() {
    if (slot != kNoSlot) store->release_slot(slot);
  }

  void remember(Bytes key, Bytes value, std::uint8_t flags, std::uint64_t expires_ms);
  Status flush();   // the batch into the slot; the batch stays when it fails
  Status finish();  // the same, and the slot becomes the table's

  const std::shared_ptr<Store::Impl> store;
  const TableId table;
  const Csn version;
  std::string batch;
  std::string last_key;
  bool finished = false;

 private:
  Result<std::uint32_t> own_slot(Writer& writer) const;
  Result<std::uint32_t> append_batch(Writer& writer);
  Status commit(Writer& writer);
  Status give_slot_to_table(Writer& writer, std::uint32_t filled);
  Status append(Writer& writer, MDB_cursor* cursor, const BatchRow& row, const char* data);

  std::uint64_t rows_batched = 0;
  std::uint64_t rows_committed = 0;
  std::uint32_t slot = kNoSlot;  // reserved for this load since its first batch was committed
};

void Load::Impl::remember(Bytes key, Bytes value, std::uint8_t flags, std::uint64_t expires_ms) {
  const std::size_t head = head_size(expires_ms);
  const BatchRow row{static_cast<std::uint32_t>(key.size()), static_cast<std::uint32_t>(head + value.size()),
                     expires_ms};
  char bytes[sizeof row + kKeySizeMax + kHeadSizeExpires];
  std::memcpy(bytes, &row, sizeof row);
  std::memcpy(bytes + sizeof row, key.data(), key.size());
  const std::uint8_t own_flags = flags & kFlagsOfCaller;
  const std::uint64_t content = row_content(row_hash(table, key), kKindPut, own_flags, expires_ms, value);
  encode_head(bytes + sizeof row + key.size(), version, own_flags, expires_ms, row_checksum(content, version));
  batch.append(bytes, sizeof row + key.size() + head);
  batch.append(value);
  last_key.assign(key);
  ++rows_batched;
}

// The slot that this load fills: the one of the batches before, which must be as they left it, or a new one.
Result<std::uint32_t> Load::Impl::own_slot(Writer& writer) const {
  if (slot == kNoSlot) return writer.take_slot();
  MDB_stat stat{};
  if (slot < writer.directory().slots()) {
    const int rc = mdb_stat(writer.txn(), writer.handle(slot), &stat);
    if (rc != 0) return lmdb_status(rc, "mdb_stat", store->env);
  }
  if (stat.ms_entries != rows_committed || writer.directory().owner(slot) != 0) {
    return Status(Code::kCONFLICT, "another maintainer took over and emptied what was loaded so far");
  }
  return slot;
}

Status Load::Impl::append(Writer& writer, MDB_cursor* cursor, const BatchRow& row, const char* data) {
  MDB_val key{row.key_size, const_cast<char*>(data)};
  MDB_val value{row.value_size, const_cast<char*>(data + row.key_size)};
  if (const int rc = mdb_cursor_put(cursor, &key, &value, MDB_APPEND); rc != 0) {
    return lmdb_write_status(rc, "mdb_cursor_put", store->env);
  }
  return row.expires_ms == 0 ? Status() : writer.add_expiry(row.expires_ms, table, Bytes(data, row.key_size));
}

Result<std::uint32_t> Load::Impl::append_batch(Writer& writer) {
  Result<std::uint32_t> own = own_slot(writer);
  if (!own.ok()) return own;
  MDB_cursor* cursor = nullptr;  // LMDB frees it with the transaction
  if (const int rc = mdb_cursor_open(writer.txn(), writer.handle(*own), &cursor); rc != 0) {
    return lmdb_status(rc, "mdb_cursor_open", store->env);
  }
  for (std::size_t offset = 0; offset < batch.size();) {
    BatchRow row;
    std::memcpy(&row, batch.data() + offset, sizeof row);
    if (Status status = append(writer, cursor, row, batch.data() + offset + sizeof row); !status.ok()) return status;
    offset += sizeof row + row.key_size + row.value_size;
  }
  return own;
}

Status Load::Impl::commit(Writer& writer) {
  platform::reach("store.load.before_commit");
  Status status = writer.commit();
  if (status.ok()) platform::reach("store.load.committed");
  return status;
}

Status Load::Impl::flush() {
  Result<std::unique_ptr<Writer>> writer = Writer::begin(store);
  if (!writer.ok()) return std::move(writer).status();
  const Result<std::uint32_t> filled = append_batch(**writer);
  if (!filled.ok()) return filled.status();
  if (Status status = commit(**writer); !status.ok()) return status;
  if (slot == kNoSlot) store->reserve_slot(filled.value());  // no other Writer can have begun meanwhile
  slot = filled.value();
  rows_committed += std::exchange(rows_batched, 0);
  batch.clear();
  return Status();
}

Status Load::Impl::give_slot_to_table(Writer& writer, std::uint32_t filled) {
  if (const std::uint32_t old = writer.directory().slot_of(table); old != kNoSlot) {
    MDB_stat stat;
    if (const int rc = mdb_stat(writer.txn(), writer.handle(old), &stat); rc != 0) {
      return lmdb_status(rc, "mdb_stat", store->env);
    }
    if (stat.ms_entries != 0) return Status(Code::kEXISTS, "the table has rows already");
    if (Status status = writer.unbind(table); !status.ok()) return status;
  }
  return writer.bind(table, filled);
}

Status Load::Impl::finish() {
  if (rows_batched + rows_committed == 0) return Status();
  Result<std::unique_ptr<Writer>> writer = Writer::begin(store);
  if (!writer.ok()) return std::move(writer).status();
  const Result<std::uint32_t> filled = append_batch(**writer);
  if (!filled.ok()) return filled.status();
  if (Status status = give_slot_to_table(**writer, filled.value()); !status.ok()) return status;
  return commit(**writer);
}

Load::Load() noexcept = default;
Load::~Load() = default;

Result<std::unique_ptr<Load>> Store::begin_load(TableId table, Csn version) {
  if (table == 0 || version > kCsnMax) return Code::kINVALID_ARGUMENT;
  const Result<std::shared_ptr<const Snapshot>> now = snapshot();
  if (!now.ok()) return now.status();
  if (now.value()->entries(table) != 0) return Status(Code::kEXISTS, "the table has rows already");
  std::unique_ptr<Load> load(new Load());
  load->impl_ = std::make_unique<Load::Impl>(impl_, table, version);
  return load;
}

Status Load::add(Bytes key, Bytes value, std::uint8_t flags, std::uint64_t expires_ms) {
  if (key.empty()) return Code::kINVALID_ARGUMENT;
  if (key.size() > kKeySizeMax || value.size() > kValueSizeMax) return Code::kTOO_LARGE;
  if (impl_->finished) return Status(Code::kMISUSE, "the load is over");
  if (key <= impl_->last_key) return Status(Code::kINVALID_ARGUMENT, "keys of a bulk load must strictly ascend");
  if (impl_->batch.size() >= kBatchSize) {
    if (Status status = impl_->flush(); !status.ok()) return status;
  }
  impl_->remember(key, value, flags, expires_ms);
  return Status();
}

Status Load::finish() {
  if (impl_->finished) return Status(Code::kMISUSE, "the load is over");
  Status status = impl_->finish();
  impl_->finished = status.ok();
  return status;
}

}  // namespace hf::store
