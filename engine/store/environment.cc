// SPDX-License-Identifier: Apache-2.0
// Store and what it shares: opening, handles, pooled read transactions, small records.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "store/impl.h"

namespace hf::store {
namespace {

constexpr mode_t kFilePermissions = 0666;        // the umask decides
constexpr std::size_t kIdleTransactionsMax = 8;  // each keeps one reader slot and some 50 bytes per table of tables_max

// No MDB_WRITEMAP (a kill can leave a broken live file, a full disk is a SIGBUS), no MDB_NOSYNC. MDB_NORDAHEAD stays
// off: it would turn every page of a cold scan into a read of its own, and LMDB's pages lie in key order after a load.
constexpr unsigned kEnvironmentFlags = MDB_NOTLS;

Result<std::string> get_record(MDB_txn* txn, MDB_dbi dbi, Bytes name) {
  MDB_val key = to_val(name), value;
  const int rc = mdb_get(txn, dbi, &key, &value);
  if (rc == MDB_NOTFOUND) return Status(Code::kNOT_FOUND, "the base has no record '" + std::string(name) + "'");
  if (rc != 0) return lmdb_status(rc, "mdb_get", mdb_txn_env(txn));
  return std::string(to_bytes(value));
}

Status put_record(MDB_txn* txn, MDB_dbi dbi, Bytes name, Bytes bytes) {
  MDB_val key = to_val(name), value = to_val(bytes);
  const int rc = mdb_put(txn, dbi, &key, &value, 0);
  return rc == 0 ? Status() : lmdb_write_status(rc, "mdb_put", mdb_txn_env(txn));
}

Bytes bytes_of(const auto& record) noexcept { return {reinterpret_cast<const char*>(&record), sizeof record}; }

std::uint64_t system_page_size() noexcept { return static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

// --- opening -----------------------------------------------------------------------------------------------------

Store::Impl::Impl(StoreOptions store_options) : options(std::move(store_options)) {
  // With room to spare, so that giving a transaction back never allocates.
  idle.reserve(kIdleTransactionsMax);
  handles.reserve(options.tables_max + kSpareSlots);
}

// In a forked child nothing is closed: closing would touch the parent's reader slots, and the file locks of whoever
// opens the same directory anew in the child.
Store::Impl::~Impl() {
  if (env == nullptr || forked()) return;
  for (MDB_txn* txn : idle) mdb_txn_abort(txn);
  mdb_env_close(env);
}

Status Store::Impl::open() {
  if (Status status = open_environment(); !status.ok()) return status;
  if (Status status = check_readers_of(env); !status.ok()) return status;
  return open_fixed_databases();
}

// LMDB maps the file whatever its length; a page beyond the end would be a SIGBUS at its first reader. A sound file may
// end early, because LMDB leaves out the last pages of a transaction that it took and gave back: then they are all
// free.
Status Store::Impl::check_length(const std::string& file) const {
  MDB_envinfo info;
  MDB_stat stat_of_main;
  if (mdb_env_info(env, &info) != 0 || mdb_env_stat(env, &stat_of_main) != 0) return Code::kINTERNAL;
  struct stat on_disk {};
  if (::stat(file.c_str(), &on_disk) != 0) return Status::from_errno(errno, "stat", file);
  const std::uint64_t page_size = stat_of_main.ms_psize;
  const std::uint64_t length = static_cast<std::uint64_t>(on_disk.st_size);
  const std::uint64_t pages = static_cast<std::uint64_t>(info.me_last_pgno) + 1;
  if (length >= pages * page_size) return {};

  // With a hole at the end nothing can be a SIGBUS while the list of free pages is read.
  if (::truncate(file.c_str(), static_cast<off_t>(pages * page_size)) != 0) {
    return Status::from_errno(errno, "truncate", file);
  }
  const std::uint64_t missing_from = length / page_size;
  if (count_free_pages(missing_from) == pages - missing_from) return {};
  if (::truncate(file.c_str(), on_disk.st_size) != 0) return Status::from_errno(errno, "truncate", file);
  return Status(Code::kCORRUPT, file + " at offset " + std::to_string(length) +
                                    ": the file ends here, but its pages take " + std::to_string(pages * page_size) +
                                    " bytes");
}

// Pages >= `from` in LMDB's list of free pages; 0 when it cannot be read.
std::uint64_t Store::Impl::count_free_pages(std::uint64_t from) const {
  constexpr MDB_dbi kFreeList = 0;  // as mdb_stat(1) reads it: each value is a count, then that many page numbers
  MDB_txn* txn = nullptr;
  MDB_cursor* cursor = nullptr;
  std::uint64_t free_pages = 0;
  if (mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn) != 0) return 0;
  int rc = mdb_cursor_open(txn, kFreeList, &cursor);
  MDB_val key, value;
  while (rc == 0 && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
    std::vector<std::size_t> numbers(value.mv_size / sizeof(std::size_t));
    std::memcpy(numbers.data(), value.mv_data, numbers.size() * sizeof(std::size_t));
    if (numbers.empty() || numbers[0] >= numbers.size()) break;
    free_pages += static_cast<std::uint64_t>(std::count_if(numbers.begin() + 1, numbers.begin() + 1 + numbers[0],
                                                           [from](std::size_t page) { return page >= from; }));
  }
  if (cursor != nullptr) mdb_cursor_close(cursor);
  mdb_txn_abort(txn);
  return rc == MDB_NOTFOUND ? free_pages : 0;
}

Status Store::Impl::open_environment() {
  if (const int rc = mdb_env_create(&env); rc != 0) return lmdb_status(rc, "mdb_env_create", nullptr);
  int rc = mdb_env_set_mapsize(env, align_up(options.map_size, system_page_size()));
  if (rc == 0) rc = mdb_env_set_maxdbs(env, options.tables_max + kSpareSlots + kFixedDatabases);
  if (rc == 0) rc = mdb_env_set_maxreaders(env, options.readers_max);
  if (rc != 0) return Status(Code::kINVALID_ARGUMENT, "map_size, tables_max or readers_max is out of range");
  const platform::SizeLimitGuard guard;
  rc = mdb_env_open(env, options.directory.c_str(), kEnvironmentFlags, kFilePermissions);
  const std::string file = options.directory + "/data.mdb";
  if (rc == 0) return check_length(file);
  switch (rc) {
    case ENOENT:
    case ENOTDIR:
      return Status(Code::kNOT_FOUND, "the directory " + options.directory + " does not exist");
    case ENOMEM:
      return Status(Code::kLIMIT, "no address space for a map of " + std::to_string(options.map_size) + " bytes over " +
                                      file + ": open with a smaller map_size, or raise the limit (ulimit -v)");
    default: {
      // Not from `env`: a failed open has freed its path and closed its file.
      Status status = lmdb_status(rc, "mdb_env_open", nullptr);
      const Code code = status.code() == Code::kINTERNAL ? Code::kIO_ERROR : status.code();
      return Status(code, file + ": " + status.message());
    }
  }
}

Status Store::Impl::open_fixed_databases() {
  for (bool made = false;; made = true) {
    MDB_txn* txn = nullptr;
    if (const int rc = mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn); rc != 0) {
      return lmdb_status(rc, "mdb_txn_begin", env);
    }
    int rc = mdb_dbi_open(txn, kMetaDatabase, 0, &meta);
    if (rc == 0) rc = mdb_dbi_open(txn, kTablesDatabase, 0, &tables);
    if (rc == 0) rc = mdb_dbi_open(txn, kExpiryDatabase, 0, &expiry);
    Status status = rc == 0 ? check_format(txn) : Status();
    if (rc == 0 && status.ok()) status = read_checked_since(txn);
    MDB_stat root;
    if (rc == MDB_NOTFOUND && (made || mdb_stat(txn, 1, &root) != 0 || root.ms_entries != 0)) {
      status = Status(Code::kWRONG_FORMAT, options.directory + "/data.mdb is an LMDB file, but not Holdfast's");
    } else if (rc != 0 && rc != MDB_NOTFOUND) {
      status = rc == MDB_INCOMPATIBLE
                   ? Status(Code::kWRONG_FORMAT, options.directory + "/data.mdb is an LMDB file, but not Holdfast's")
                   : lmdb_status(rc, "mdb_dbi_open", env);
    }
    if (rc == 0 && status.ok()) {
      mdb_txn_commit(txn);  // keeps the handles
      return status;
    }
    mdb_txn_abort(txn);
    if (!status.ok()) return status;
    // The names must be durable before anything inside is: whoever finds the databases made need not sync again.
    if (status = platform::sync_directory(options.directory); !status.ok()) return status;
    if (status = create_fixed_databases(); !status.ok()) return status;
  }
}

Status Store::Impl::create_fixed_databases() {
  const platform::SizeLimitGuard guard;
  MDB_txn* txn = nullptr;
  int rc = mdb_txn_begin(env, nullptr, 0, &txn);
  if (rc != 0) return lmdb_status(rc, "mdb_txn_begin", env);
  MDB_dbi made_meta = 0, other = 0;
  rc = mdb_dbi_open(txn, kMetaDatabase, MDB_CREATE, &made_meta);
  if (rc == 0) rc = mdb_dbi_open(txn, kTablesDatabase, MDB_CREATE, &other);
  if (rc == 0) rc = mdb_dbi_open(txn, kExpiryDatabase, MDB_CREATE, &other);
  Status status = rc == 0 ? Status() : lmdb_write_status(rc, "mdb_dbi_open", env);
  FormatRecord format{};
  std::memcpy(format.magic, kFormatMagic, sizeof format.magic);
  format.version = kFormatVersion;
  format.byte_order = kByteOrder;
  if (status.ok()) status = put_record(txn, made_meta, kFormatKey, bytes_of(format));
  if (status.ok()) status = put_record(txn, made_meta, kDirectoryKey, bytes_of(DirectoryRecord{1, 0, 0}));
  const Csn applied = 0;
  if (status.ok()) status = put_record(txn, made_meta, kAppliedCsnKey, bytes_of(applied));
  if (status.ok()) status = put_record(txn, made_meta, kCheckedSinceKey, bytes_of(applied));
  if (!status.ok()) {
    mdb_txn_abort(txn);
    return status;
  }
  rc = mdb_txn_commit(txn);
  return rc == 0 ? Status() : lmdb_write_status(rc, "mdb_txn_commit", env);
}

Status Store::Impl::check_format(MDB_txn* txn) {
  const std::string file = options.directory + "/data.mdb";
  const Result<std::string> record = get_record(txn, meta, kFormatKey);
  if (!record.ok() && record.code() != Code::kNOT_FOUND) return record.status();
  FormatRecord format{};
  if (record.ok() && record.value().size() == sizeof format) std::memcpy(&format, record.value().data(), sizeof format);
  if (std::memcmp(format.magic, kFormatMagic, sizeof format.magic) != 0) {
    return Status(Code::kWRONG_FORMAT, file + " is an LMDB file, but not Holdfast's");
  }
  if (format.version != kFormatVersion || format.byte_order != kByteOrder) {
    return Status(Code::kWRONG_FORMAT, file + " has format " + std::to_string(format.version) + ", this is " +
                                           std::to_string(kFormatVersion) + ", or another byte order");
  }
  return Status();
}

Status Store::Impl::read_checked_since(MDB_txn* txn) {
  const Result<std::string> record = get_record(txn, meta, kCheckedSinceKey);
  if (record.code() == Code::kNOT_FOUND) return {};
  if (!record.ok()) return record.status();
  Csn since;
  if (record.value().size() != sizeof since) {
    return Status(Code::kCORRUPT,
                  options.directory + "/data.mdb: the record '" + kCheckedSinceKey + "' has the wrong size");
  }
  std::memcpy(&since, record.value().data(), sizeof since);
  checked_since.store(since, std::memory_order_relaxed);
  return {};
}

Result<std::unique_ptr<Store>> Store::open(const StoreOptions& options) {
  auto impl = std::make_shared<Impl>(options);
  if (Status status = impl->open(); !status.ok()) return status;
  return std::unique_ptr<Store>(new Store(std::move(impl)));
}

Result<std::unique_ptr<Store>> Store::open_any(const std::string& directory) {
  constexpr std::uint64_t kSmallMap = std::uint64_t{4} << 30;  // where address space is scarce, beside a sanitizer's
  StoreOptions options;
  options.directory = directory;
  options.tables_max = 20'000;
  Result<std::unique_ptr<Store>> opened = open(options);
  if (opened.ok() || opened.code() != Code::kLIMIT) return opened;
  struct stat file {};
  (void)::stat((directory + "/data.mdb").c_str(), &file);
  options.map_size = std::max(kSmallMap, 2 * static_cast<std::uint64_t>(file.st_size));
  return open(options);
}

Store::Store(std::shared_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}

// What still lives keeps the environment open; opening the directory again in this process would then break the locks
// of lock.mdb, which is why it is a requirement and not a service.
Store::~Store() { assert(impl_.use_count() == 1); }

// --- transactions for reading ------------------------------------------------------------------------------------

Result<MDB_txn*> Store::Impl::begin_read(std::unique_lock<std::mutex>& lock) {
  assert(lock.owns_lock());
  (void)lock;
  MDB_txn* txn = nullptr;
  int rc;
  if (!idle.empty()) {
    txn = idle.back();
    idle.pop_back();
    rc = mdb_txn_renew(txn);
    if (rc != 0) mdb_txn_abort(txn);
  } else {
    rc = mdb_txn_begin(env, nullptr, MDB_RDONLY, &txn);
  }
  if (rc != 0) return lmdb_status(rc, "mdb_txn_begin", env);
  return txn;
}

void Store::Impl::end_read(MDB_txn* txn) noexcept {
  if (forked()) return;
  std::unique_lock lock(mutex);
  end_read(txn, lock);
}

void Store::Impl::end_read(MDB_txn* txn, std::unique_lock<std::mutex>& lock) noexcept {
  assert(lock.owns_lock());
  (void)lock;
  if (idle.size() == kIdleTransactionsMax) return mdb_txn_abort(txn);
  mdb_txn_reset(txn);
  idle.push_back(txn);
}

Result<DirectoryRecord> Store::Impl::read_directory_record(MDB_txn* txn) const {
  MDB_val key = to_val(kDirectoryKey), value;
  const int rc = mdb_get(txn, meta, &key, &value);
  if (rc != 0 && rc != MDB_NOTFOUND) return lmdb_status(rc, "mdb_get", env);
  DirectoryRecord record;
  if (rc == MDB_NOTFOUND || value.mv_size != sizeof record) {
    return Status(Code::kCORRUPT, "the base's directory record is missing or has the wrong size");
  }
  std::memcpy(&record, value.mv_data, sizeof record);
  if (record.slots > handles.capacity()) {
    return Status(Code::kLIMIT, "the base has room for more tables (" + std::to_string(record.slots) +
                                    ") than this process: open with a larger tables_max");
  }
  return record;
}

// Requires: `txn` is a read transaction, mutex held. Ends `txn`.
Status Store::Impl::open_handles(MDB_txn* txn, std::uint32_t slots) {
  std::vector<MDB_dbi> opened;
  for (std::uint32_t slot = static_cast<std::uint32_t>(handles.size()); slot < slots; ++slot) {
    MDB_dbi dbi = 0;
    const std::string name = kSlotPrefix + std::to_string(slot);
    if (const int rc = mdb_dbi_open(txn, name.c_str(), 0, &dbi); rc != 0) {
      mdb_txn_abort(txn);
      if (rc == MDB_NOTFOUND) return Status(Code::kCORRUPT, "the base lacks its database '" + name + "'");
      return lmdb_status(rc, "mdb_dbi_open", env);
    }
    opened.push_back(dbi);
  }
  if (const int rc = mdb_txn_commit(txn); rc != 0) return lmdb_status(rc, "mdb_txn_commit", env);
  handles.insert(handles.end(), opened.begin(), opened.end());  // within the reserved capacity: does not move
  return Status();
}

Result<MDB_txn*> Store::Impl::begin_read_synced(std::unique_lock<std::mutex>& lock,
                                                std::shared_ptr<const Directory>* view) {
  for (;;) {
    Result<MDB_txn*> begun = begin_read(lock);
    if (!begun.ok()) return begun;
    MDB_txn* const txn = *begun;
    const Result<DirectoryRecord> record = read_directory_record(txn);
    if (!record.ok()) {
      end_read(txn, lock);
      return record.status();
    }
    const std::uint32_t slots = record.value().slots;
    if (slots > handles.size()) {
      if (handles_frozen) {  // the Writer is about to let go (impl.h, rule 2)
        end_read(txn, lock);
        thawed.wait(lock, [this] { return !handles_frozen; });
      } else if (Status status = open_handles(txn, slots); !status.ok()) {
        return status;
      }
      continue;
    }
    if (directory == nullptr || directory->generation != record.value().generation) {
      Result<Directory> read = Directory::read(txn, tables, record.value());
      if (!read.ok()) {
        end_read(txn, lock);
        return std::move(read).status();
      }
      directory = std::make_shared<const Directory>(std::move(read).value());
    }
    *view = directory;
    return txn;
  }
}

void Store::Impl::reserve_slot(std::uint32_t slot) {
  const std::lock_guard lock(mutex);
  reserved.push_back(slot);
}

void Store::Impl::release_slot(std::uint32_t slot) noexcept {
  const std::lock_guard lock(mutex);
  std::erase(reserved, slot);
}

bool Store::Impl::slot_is_reserved(std::uint32_t slot) {
  const std::lock_guard lock(mutex);
  return std::find(reserved.begin(), reserved.end(), slot) != reserved.end();
}

// --- small records, numbers --------------------------------------------------------------------------------------

Result<std::string> Store::get_meta(Bytes name) {
  std::unique_lock lock(impl_->mutex);
  Result<MDB_txn*> txn = impl_->begin_read(lock);
  if (!txn.ok()) return std::move(txn).status();
  Result<std::string> record = get_record(*txn, impl_->meta, name);
  impl_->end_read(*txn, lock);
  return record;
}

Status Store::set_meta(Bytes name, Bytes value) {
  Result<std::unique_ptr<Writer>> writer = Writer::begin(impl_);
  if (!writer.ok()) return std::move(writer).status();
  if (Status status = (*writer)->put_meta(name, value); !status.ok()) return status;
  return (*writer)->commit();
}

Status Store::demand_checksums() {
  if (impl_->checked_since.load(std::memory_order_relaxed) != kCsnMax) return {};
  Csn applied = 0;
  {
    const Result<std::shared_ptr<const Snapshot>> now = snapshot();
    if (!now.ok()) return now.status();
    applied = now.value()->applied_csn();
  }
  if (Status status = set_meta(kCheckedSinceKey, bytes_of(applied)); !status.ok()) return status;
  impl_->checked_since.store(applied, std::memory_order_relaxed);
  return {};
}

Status Store::check_readers() { return check_readers_of(impl_->env); }

Result<StoreStats> Store::stats() {
  std::shared_ptr<const Directory> directory;
  std::unique_lock lock(impl_->mutex);
  Result<MDB_txn*> txn = impl_->begin_read_synced(lock, &directory);
  if (!txn.ok()) return std::move(txn).status();
  Result<StoreStats> stats = collect_stats(*txn);
  impl_->end_read(*txn, lock);
  if (stats.ok()) stats->tables = directory->tables();
  return stats;
}

}  // namespace hf::store
