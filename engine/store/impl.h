// SPDX-License-Identifier: Apache-2.0
// Private to engine/store/*.cc: what the classes of store.h share. The only header that includes lmdb.h.
//
// LMDB's handles (MDB_dbi) are numbers in process-wide tables that LMDB itself does not guard. Rules that make them
// safe here:
//  1. A handle is opened in a read transaction that is committed at once, under Store::Impl::mutex and not while
//     `handles_frozen`; or, for a slot that is created, inside the one write transaction of the process (Writer), which
//     sets `handles_frozen` first and keeps it until it ends.
//  2. Before a Writer begins, every slot that exists has a handle in this process. So while it creates slots nobody
//     else can need a new handle, except one that its own commit has just made visible: that reader waits for
//     the Writer to end, which takes microseconds then. Its first transaction may have begun while LMDB was half-way
//     through exporting the new handles; it is thrown away. An older state has no table in them and never uses them.
//  3. Transactions begin when no handle is being opened, because LMDB copies the handle tables there: read transactions
//     under the mutex (but see 2), write transactions while `handles_frozen`.
//  4. Handles are never closed before the environment is.
//
// Lock order: LMDB's writer mutex, then Store::Impl::mutex, then LMDB's reader mutex. The first is never waited for
// under the second.
#pragma once

#include <lmdb.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/hash.h"
#include "platform/file.h"
#include "store/store.h"

namespace hf::store {

inline constexpr std::uint32_t kNoSlot = UINT32_MAX;
// Slots beyond tables_max: a load replaces the slot of a table whose rows were all erased before the old one is free.
inline constexpr std::uint32_t kSpareSlots = 4;
inline constexpr MDB_dbi kFixedDatabases = 3;  // meta, tables, expiry

// The status for an LMDB error `rc` (not 0) of the function named `call`.
Status lmdb_status(int rc, const char* call, MDB_env* env);
// The same for a call that may have written to the file: tells a full disk, which LMDB can report as a short write
// (EIO), from a broken one.
Status lmdb_write_status(int rc, const char* call, MDB_env* env);

// Frees the reader slots of dead processes.
Status check_readers_of(MDB_env* env);
// All but `tables`, as of `txn`.
Result<StoreStats> collect_stats(MDB_txn* txn);

inline MDB_val to_val(Bytes bytes) noexcept { return {bytes.size(), const_cast<char*>(bytes.data())}; }
inline Bytes to_bytes(const MDB_val& val) noexcept { return {static_cast<const char*>(val.mv_data), val.mv_size}; }

// False: the bytes are no row.
inline bool decode_row(const MDB_val& val, Row* out) noexcept {
  if (val.mv_size < kHeadSizeMin) return false;
  const char* const data = static_cast<const char*>(val.mv_data);
  std::uint64_t word;
  std::memcpy(&word, data, sizeof word);
  out->version = word & kCsnMax;
  const auto flags = static_cast<std::uint8_t>(word >> 56);
  out->flags = flags & kFlagsOfCaller;
  if ((flags & (kFlagExpires | kFlagChecked)) == kFlagChecked && val.mv_size >= kHeadSize) [[likely]] {
    out->expires_ms = 0;
    out->checked = true;
    std::memcpy(&out->checksum, data + kHeadSizeMin, sizeof out->checksum);
    out->value = Bytes(data + kHeadSize, val.mv_size - kHeadSize);
    return true;
  }
  std::size_t at = kHeadSizeMin;
  const bool expires = (flags & kFlagExpires) != 0;
  out->checked = (flags & kFlagChecked) != 0;
  if (val.mv_size < at + (expires ? sizeof out->expires_ms : 0) + (out->checked ? kChecksumSize : 0)) return false;
  out->expires_ms = 0;
  if (expires) {
    std::memcpy(&out->expires_ms, data + at, sizeof out->expires_ms);
    at += sizeof out->expires_ms;
  }
  out->checksum = 0;
  if (out->checked) {
    std::memcpy(&out->checksum, data + at, sizeof out->checksum);
    at += kChecksumSize;
  }
  out->value = Bytes(data + at, val.mv_size - at);
  return true;
}
// Of a row as the base holds it.
inline std::uint32_t checksum_of(std::uint64_t hash, const Row& row) noexcept {
  return row_checksum(row_content(hash, kKindPut, row.flags, row.expires_ms, row.value), row.version);
}

// Which table owns which slot, at one state of the base. A value; shared between threads only as const.
class Directory {
 public:
  std::uint64_t generation = 0;

  // kNoSlot: the table has no rows here.
  std::uint32_t slot_of(TableId table) const noexcept {
    if (table < dense_.size()) return dense_[table];
    return sparse_.empty() ? kNoSlot : slot_of_sparse(table);
  }
  std::uint32_t slots() const noexcept { return static_cast<std::uint32_t>(owners_.size()); }
  std::uint32_t tables() const noexcept { return tables_; }
  TableId owner(std::uint32_t slot) const noexcept { return owners_[slot]; }  // 0: free

  void add_slots(std::uint32_t count) { owners_.resize(owners_.size() + count, 0); }
  void bind(TableId table, std::uint32_t slot);  // Requires: slot < slots(), both free
  void unbind(TableId table);                    // Requires: bound

  // Reads all of it from `txn`. Contradictions are kCORRUPT.
  static Result<Directory> read(MDB_txn* txn, MDB_dbi tables, const DirectoryRecord& record);

 private:
  std::uint32_t slot_of_sparse(TableId table) const noexcept;

  std::vector<TableId> owners_;                        // by slot
  std::vector<std::uint32_t> dense_;                   // by table, up to kDenseTables
  std::unordered_map<TableId, std::uint32_t> sparse_;  // the tables beyond
  std::uint32_t tables_ = 0;
};

class Store::Impl {
 public:
  explicit Impl(StoreOptions store_options);
  ~Impl();
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  Status open();

  // A child made by fork must leave everything alone: LMDB's reader slots belong to the parent.
  bool forked() const noexcept { return getpid() != pid; }

  // Begins a read transaction; `lock` holds mutex. From the pool of idle ones where possible: those keep their reader
  // slot, so LMDB's reader mutex, on which a thread could sleep beside a killed process, is hardly ever taken.
  Result<MDB_txn*> begin_read(std::unique_lock<std::mutex>& lock);
  // The same, and every slot that it sees has a handle; `*view` is its directory.
  Result<MDB_txn*> begin_read_synced(std::unique_lock<std::mutex>& lock, std::shared_ptr<const Directory>* view);
  void end_read(MDB_txn* txn) noexcept;                                      // takes mutex
  void end_read(MDB_txn* txn, std::unique_lock<std::mutex>& lock) noexcept;  // `lock` holds it

  Result<DirectoryRecord> read_directory_record(MDB_txn* txn) const;

  // Slots of loads under way, which no table owns yet; each takes mutex.
  void reserve_slot(std::uint32_t slot);
  void release_slot(std::uint32_t slot) noexcept;
  bool slot_is_reserved(std::uint32_t slot);

  const StoreOptions options;
  const pid_t pid = getpid();
  MDB_env* env = nullptr;
  MDB_dbi meta = 0;
  MDB_dbi tables = 0;
  MDB_dbi expiry = 0;

  std::mutex mutex;
  std::condition_variable thawed;  // handles_frozen became false
  bool handles_frozen = false;     // guarded by mutex; the Writer alone may open handles
  // By slot; grows under mutex and never moves, because the whole capacity is reserved at open: a snapshot reads the
  // elements below its own slot count without the mutex, and those were written before it began.
  std::vector<MDB_dbi> handles;
  std::shared_ptr<const Directory> directory;  // newest one seen; guarded by mutex
  std::vector<MDB_txn*> idle;                  // read transactions that were reset; guarded by mutex
  std::vector<std::uint32_t> reserved;         // slots that loads under way are filling; guarded by mutex
  std::atomic<bool> writing{false};            // a Writer lives
  std::atomic<Csn> checked_since{kCsnMax};     // rows of newer versions must have a checksum; kCsnMax: none must

 private:
  Status open_environment();
  Status check_length(const std::string& file) const;
  std::uint64_t count_free_pages(std::uint64_t from) const;
  Status open_fixed_databases();
  Status create_fixed_databases();
  Status check_format(MDB_txn* txn);
  Status read_checked_since(MDB_txn* txn);
  Status open_handles(MDB_txn* txn, std::uint32_t slots);
};

// One LMDB write transaction with the directory's working copy. Lives and ends on the thread that began it, because
// LMDB's writer mutex belongs to a thread. SIGXFSZ is blocked in that thread meanwhile: any put may spill pages.
class Writer {
 public:
  // Begun while another Writer of this process lives: kMISUSE instead of a wait for ever.
  static Result<std::unique_ptr<Writer>> begin(std::shared_ptr<Store::Impl> store);
  ~Writer();  // aborts what was not committed
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  MDB_txn* txn() const noexcept { return txn_; }
  Store::Impl& store() const noexcept { return *store_; }
  const Directory& directory() const noexcept { return directory_; }
  MDB_dbi handle(std::uint32_t slot) const noexcept {
    return slot < opened_ ? store_->handles[slot] : created_[slot - opened_];
  }

  // An empty slot that no table owns.
  Result<std::uint32_t> take_slot();
  Status bind(TableId table, std::uint32_t slot);
  // Empties and frees the table's slot. Requires: bound.
  Status unbind(TableId table);
  Status put_meta(Bytes name, Bytes value);

  // Index entries of rows with an expiry time.
  Status add_expiry(std::uint64_t expires_ms, TableId table, Bytes key);
  Status remove_expiry(std::uint64_t expires_ms, TableId table, Bytes key);

  // Blocks on the disk. Ends the transaction, whatever the answer.
  Status commit();

 private:
  explicit Writer(std::shared_ptr<Store::Impl> store) noexcept : store_(std::move(store)) {}
  Status begin_transaction();
  Status create_slot();
  Status open_expiry_cursor();
  Result<std::shared_ptr<const Directory>> sync_and_freeze_handles();
  void freeze_handles();
  void thaw_handles() noexcept;
  void publish(bool committed) noexcept;

  std::shared_ptr<Store::Impl> store_;
  platform::SizeLimitGuard size_limit_guard_;
  const std::thread::id thread_ = std::this_thread::get_id();
  MDB_txn* txn_ = nullptr;
  Directory directory_;
  bool directory_changed_ = false;
  std::uint32_t opened_ = 0;      // slots with a handle in store_->handles
  std::vector<MDB_dbi> created_;  // handles of the slots that this transaction created
  MDB_cursor* expiry_cursor_ = nullptr;
};

class Snapshot::Impl {
 public:
  std::shared_ptr<Store::Impl> store;
  MDB_txn* txn = nullptr;
  std::shared_ptr<const Directory> directory;
  const MDB_dbi* handles = nullptr;  // store->handles.data()

  // 0: the table has no rows here.
  MDB_dbi dbi_of(TableId table) const noexcept {
    const std::uint32_t slot = directory->slot_of(table);
    return slot == kNoSlot ? 0 : handles[slot];
  }
};

}  // namespace hf::store
