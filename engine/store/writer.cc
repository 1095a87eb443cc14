// SPDX-License-Identifier: Apache-2.0
// Writer: a write transaction, the slots it takes, and the one place where the base commits.
#include <cassert>
#include <utility>

#include "platform/test_point.h"
#include "store/impl.h"

namespace hf::store {

Result<std::unique_ptr<Writer>> Writer::begin(std::shared_ptr<Store::Impl> store) {
  if (store->writing.exchange(true, std::memory_order_acquire)) {
    return Status(Code::kMISUSE, "the base is being written by another merge or load of this process");
  }
  std::unique_ptr<Writer> writer(new Writer(std::move(store)));
  if (Status status = writer->begin_transaction(); !status.ok()) return status;
  return writer;
}

// Its directory, as of the newest commit; every slot in it has a handle now, and no other is opened until
// thaw_handles().
Result<std::shared_ptr<const Directory>> Writer::sync_and_freeze_handles() {
  std::shared_ptr<const Directory> directory;
  std::unique_lock lock(store_->mutex);
  Result<MDB_txn*> reader = store_->begin_read_synced(lock, &directory);
  if (!reader.ok()) return std::move(reader).status();
  store_->end_read(*reader, lock);
  store_->handles_frozen = true;
  return directory;
}

void Writer::freeze_handles() {
  const std::lock_guard lock(store_->mutex);
  store_->handles_frozen = true;
}

void Writer::thaw_handles() noexcept {
  const std::lock_guard lock(store_->mutex);
  store_->handles_frozen = false;
  store_->thawed.notify_all();
}

Status Writer::begin_transaction() {
  for (;;) {
    Result<std::shared_ptr<const Directory>> directory = sync_and_freeze_handles();
    if (!directory.ok()) return std::move(directory).status();
    const int rc = mdb_txn_begin(store_->env, nullptr, 0, &txn_);
    thaw_handles();
    if (rc != 0) {
      txn_ = nullptr;
      return lmdb_status(rc, "mdb_txn_begin", store_->env);
    }
    const Result<DirectoryRecord> record = store_->read_directory_record(txn_);
    if (record.ok() && record.value().generation == (*directory)->generation) {
      directory_ = **directory;
      opened_ = directory_.slots();
      return Status();
    }
    mdb_txn_abort(txn_);  // the former maintainer committed in between
    txn_ = nullptr;
    if (!record.ok()) return record.status();
  }
}

Writer::~Writer() {
  if (store_->forked()) return;  // the transaction is the parent's
  assert(thread_ == std::this_thread::get_id());
  if (txn_ != nullptr) {
    mdb_txn_abort(txn_);
    publish(false);
  }
  store_->writing.store(false, std::memory_order_release);
}

// --- slots -------------------------------------------------------------------------------------------------------

Result<std::uint32_t> Writer::take_slot() {
  for (std::uint32_t slot = 0; slot < directory_.slots(); ++slot) {
    if (directory_.owner(slot) != 0 || store_->slot_is_reserved(slot)) continue;
    // A load that was abandoned or killed has left rows here.
    MDB_stat stat;
    int rc = mdb_stat(txn_, handle(slot), &stat);
    if (rc == 0 && stat.ms_entries != 0) rc = mdb_drop(txn_, handle(slot), 0);
    if (rc != 0) return lmdb_write_status(rc, "mdb_drop", store_->env);
    return slot;
  }
  if (Status status = create_slot(); !status.ok()) return status;
  return directory_.slots() - 1;
}

Status Writer::create_slot() {
  if (directory_.slots() == store_->handles.capacity()) {
    return Status(Code::kLIMIT, "no slot is free for another table: open with a larger tables_max");
  }
  freeze_handles();
  const std::string name = kSlotPrefix + std::to_string(directory_.slots());
  MDB_dbi dbi = 0;
  const int rc = mdb_dbi_open(txn_, name.c_str(), MDB_CREATE, &dbi);
  if (rc != 0) return lmdb_write_status(rc, "mdb_dbi_open", store_->env);
  created_.push_back(dbi);
  directory_.add_slots(1);
  directory_changed_ = true;
  return Status();
}

Status Writer::bind(TableId table, std::uint32_t slot) {
  if (directory_.tables() >= store_->options.tables_max) {
    return Status(Code::kLIMIT, "the base holds tables_max tables already: open with a larger tables_max");
  }
  char name[sizeof(TableId)];
  store_be32(name, table);
  MDB_val key{sizeof name, name}, value{sizeof slot, &slot};
  if (const int rc = mdb_put(txn_, store_->tables, &key, &value, 0); rc != 0) {
    return lmdb_write_status(rc, "mdb_put", store_->env);
  }
  directory_.bind(table, slot);
  directory_changed_ = true;
  return Status();
}

Status Writer::unbind(TableId table) {
  char name[sizeof(TableId)];
  store_be32(name, table);
  MDB_val key{sizeof name, name};
  int rc = mdb_del(txn_, store_->tables, &key, nullptr);
  if (rc == 0) rc = mdb_drop(txn_, handle(directory_.slot_of(table)), 0);
  if (rc != 0) return lmdb_write_status(rc, "mdb_drop", store_->env);
  directory_.unbind(table);
  directory_changed_ = true;
  return Status();
}

Status Writer::put_meta(Bytes name, Bytes value) {
  MDB_val key = to_val(name), data = to_val(value);
  const int rc = mdb_put(txn_, store_->meta, &key, &data, 0);
  return rc == 0 ? Status() : lmdb_write_status(rc, "mdb_put", store_->env);
}

// --- commit ------------------------------------------------------------------------------------------------------

Status Writer::commit() {
  assert(txn_ != nullptr && thread_ == std::this_thread::get_id());
  Status status;
  if (directory_changed_) {
    const DirectoryRecord record{directory_.generation + 1, directory_.slots(), 0};
    status = put_meta(kDirectoryKey, Bytes(reinterpret_cast<const char*>(&record), sizeof record));
  }
  MDB_txn* const txn = std::exchange(txn_, nullptr);
  if (const int error = platform::fault("store.commit"); error != 0 && status.ok()) {
    status = lmdb_write_status(error, "mdb_txn_commit", store_->env);
  }
  if (!status.ok()) {
    mdb_txn_abort(txn);
  } else if (const int rc = mdb_txn_commit(txn); rc != 0) {
    status = lmdb_write_status(rc, "mdb_txn_commit", store_->env);
  }
  publish(status.ok());
  return status;
}

// LMDB has kept (committed) or closed (not) the handles of created slots; says so to the rest of the process.
void Writer::publish(bool committed) noexcept {
  if (committed) {
    const std::lock_guard lock(store_->mutex);
    store_->handles.insert(store_->handles.end(), created_.begin(), created_.end());  // capacity is reserved
  }
  created_.clear();
  thaw_handles();
}

}  // namespace hf::store
