// SPDX-License-Identifier: Apache-2.0
// One LMDB read transaction for any number of threads.
//
// LMDB forbids sharing a read transaction because a handle's first use in it writes: mdb_txn_begin marks each named
// database DB_STALE, and whoever uses it first (mdb_cursor_init) copies its root record into the transaction and
// clears the mark. Here snapshot() does that first use for every database that a table of this snapshot owns, before
// anybody else sees the transaction. After that mdb_get, mdb_cursor_open and mdb_cursor_get only read what belongs to
// the transaction: mdb_get keeps its cursor on the stack, cursors of read transactions are not linked to it, pages come
// straight from the map, and a database opened later lies beyond the transaction's mt_numdbs and has no table here.
// (The one write left is the error mark of a transaction that met a page number beyond the file: every later call
// answers MDB_BAD_TXN, which is what a corrupt file deserves.)
#include "base/readable.h"
#include "store/impl.h"

namespace hf::store {
namespace {

// First use of every database of a table, see above. In a corrupt file mdb_stat may fail to refresh one and say
// nothing; the mark then stays, and every use tries again, fails before it writes, and answers the error.
Status touch_tables(MDB_txn* txn, const Store::Impl& store, const Directory& directory) {
  for (std::uint32_t slot = 0; slot < directory.slots(); ++slot) {
    if (directory.owner(slot) == 0) continue;
    MDB_stat unused;
    if (const int rc = mdb_stat(txn, store.handles[slot], &unused); rc != 0) {
      return lmdb_status(rc, "mdb_stat", store.env);
    }
  }
  return Status();
}

Result<Csn> read_applied(MDB_txn* txn, const Store::Impl& store) {
  MDB_val key = to_val(kAppliedCsnKey), value;
  Csn applied;
  const int rc = mdb_get(txn, store.meta, &key, &value);
  if (rc != 0 && rc != MDB_NOTFOUND) return lmdb_status(rc, "mdb_get", store.env);
  if (rc == MDB_NOTFOUND || value.mv_size != sizeof applied) {
    return Status(Code::kCORRUPT, "the base's applied_csn record is missing or has the wrong size");
  }
  std::memcpy(&applied, value.mv_data, sizeof applied);
  if (applied > kCsnMax) return Status(Code::kCORRUPT, "the base's applied_csn record is out of range");
  return applied;
}

}  // namespace

Snapshot::Snapshot() noexcept = default;

Snapshot::~Snapshot() {
  if (impl_ != nullptr && impl_->txn != nullptr) impl_->store->end_read(impl_->txn);
}

Result<std::shared_ptr<const Snapshot>> Store::snapshot() {
  std::shared_ptr<Snapshot> snapshot(new Snapshot());
  snapshot->impl_ = std::make_unique<Snapshot::Impl>();
  Snapshot::Impl& impl = *snapshot->impl_;
  impl.store = impl_;
  {
    std::unique_lock lock(impl_->mutex);
    Result<MDB_txn*> txn = impl_->begin_read_synced(lock, &impl.directory);
    if (!txn.ok()) return std::move(txn).status();
    impl.txn = *txn;
    impl.handles = impl_->handles.data();
  }
  if (Status status = touch_tables(impl.txn, *impl_, *impl.directory); !status.ok()) return status;
  Result<Csn> applied = read_applied(impl.txn, *impl_);
  if (!applied.ok()) return std::move(applied).status();
  snapshot->applied_csn_ = *applied;
  return std::shared_ptr<const Snapshot>(std::move(snapshot));
}

Result<bool> Snapshot::get(TableId table, Bytes key, Row* out) const {
  const MDB_dbi dbi = impl_->dbi_of(table);
  if (dbi == 0) return false;
  MDB_val name = to_val(key), value;
  const int rc = mdb_get(impl_->txn, dbi, &name, &value);
  if (rc == 0 && decode_row(value, out)) [[likely]]
    return true;
  if (rc == MDB_NOTFOUND || rc == MDB_BAD_VALSIZE) return false;  // an empty key is in no table
  if (rc != 0) return lmdb_status(rc, "mdb_get", impl_->store->env);
  return Status(Code::kCORRUPT, "a row of table " + std::to_string(table) + " in the base is shorter than its head");
}

Status Snapshot::verify(TableId table, Bytes key, std::uint64_t hash, const Row& row) const {
  const Store::Impl& store = *impl_->store;
  const char* what = nullptr;
  if (!row.checked) {
    // The mark that says "with a checksum" is one bit; what version the row has tells whether it may lack it.
    if (row.version <= store.checked_since.load(std::memory_order_relaxed)) return {};
    what = "has no checksum, but is too new to have none";
  } else if (checksum_of(hash, row) != row.checksum) {
    what = "does not match its checksum";
  } else {
    return {};
  }
  return Status(Code::kCORRUPT, store.options.directory + "/data.mdb: row '" + readable(key) + "' of table #" +
                                    std::to_string(table) + ", version " + std::to_string(row.version) + ", " + what);
}

std::uint64_t Snapshot::transaction() const noexcept { return mdb_txn_id(impl_->txn); }

std::uint64_t Snapshot::entries(TableId table) const noexcept {
  const MDB_dbi dbi = impl_->dbi_of(table);
  MDB_stat stat;
  return dbi != 0 && mdb_stat(impl_->txn, dbi, &stat) == 0 ? stat.ms_entries : 0;
}

}  // namespace hf::store
