// SPDX-License-Identifier: Apache-2.0
// Opening and leaving. All of it runs under the gate, a kernel lock: one process at a time opens, recovers or leaves.
//
//   nobody else has it open -> first(): salvage the old ring, make new shared memory, replay the log into the overlay
//   somebody has            -> join():  map what is there
//   leaving, nobody else    -> merge everything, mark the base clean, remove the shared memory
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>

#include "platform/test_point.h"
#include "txn/database.h"
#include "txn/fork_guard.h"
#include "txn/identity.h"
#include "txn/record.h"

namespace hf::txn {
namespace {

using platform::DirectoryId;
using platform::reach;

struct DirectoryLess {
  bool operator()(const DirectoryId& a, const DirectoryId& b) const noexcept {
    return a.device != b.device ? a.device < b.device : a.inode < b.inode;
  }
};

// Databases open in this process. An entry stays until its Database has left for good, so that two engines never have
// the same files open at once (LMDB's and our own locks would not bear it).
struct Registry {
  std::mutex mutex;
  std::condition_variable left;
  std::map<DirectoryId, std::weak_ptr<Database>, DirectoryLess> open;
  std::uint64_t fork_generation = 0;
};

// The registry of this process. A forked child starts with an empty one: the parent's may be locked for ever, and what
// is in it is of no use to the child. Never destroyed: databases may outlive static destruction.
Registry& registry() {
  static std::atomic<Registry*> current{new Registry};
  Registry* known = current.load(std::memory_order_acquire);
  while (known->fork_generation != fork_generation()) {
    auto* fresh = new Registry;
    fresh->fork_generation = fork_generation();
    if (current.compare_exchange_strong(known, fresh, std::memory_order_acq_rel)) return *fresh;
    delete fresh;
  }
  return *known;
}

std::string locks_path(const std::string& memory_path) { return memory_path + "/locks"; }

// The engine of that directory in this process, or null; waits while it is leaving. `lock` holds the registry's mutex.
std::shared_ptr<Database> find_open(Registry& known, std::unique_lock<std::mutex>& lock, const std::string& path) {
  for (;;) {
    Result<DirectoryId> there = platform::directory_id(path);
    if (!there.ok()) return nullptr;  // not there yet
    const auto entry = known.open.find(there.value());
    if (entry == known.open.end()) return nullptr;
    if (std::shared_ptr<Database> open = entry->second.lock()) return open;
    known.left.wait(lock);
  }
}

}  // namespace

// The steps of one open, with what they share.
class Opening {
 public:
  explicit Opening(Database& database) : db_(database), options_(database.options_) {}

  Status run() {
    const Deadline deadline = Deadline::after_ms(options_.open_timeout_ms);
    if (Status status = look(); !status.ok()) return status;
    Result<platform::Liveness> liveness = platform::Liveness::open(db_.path_ + "/liveness");
    if (!liveness.ok()) return std::move(liveness).status();
    db_.liveness_ = std::move(liveness).value();
    if (!close_in_child(db_.liveness_.fd()))
      return Status(Code::kLIMIT, "more than 256 databases open in this process");
    if (Status status = db_.liveness_.lock_gate(deadline); !status.ok()) return status;
    Status status = run_gated();
    if (!status.ok()) db_.liveness_.release_slot();
    db_.liveness_.unlock_gate();
    return status;
  }

 private:
  // Before anything is touched: may this directory be ours at all?
  Status look() {
    Result<Identity> identity = read_identity(db_.path_);
    if (identity.ok()) return {};
    if (identity.code() != Code::kNOT_FOUND) return std::move(identity).status();
    if (!options_.create) return Status(Code::kNOT_FOUND, "no database in " + db_.path_);
    if (Status status = platform::make_directory(db_.path_); !status.ok()) return status;
    const std::string parent = std::filesystem::path(db_.path_).parent_path().string();
    return platform::sync_directory(parent.empty() ? "." : parent);
  }

  Status run_gated() {
    Result<bool> others = db_.liveness_.others_alive();
    if (!others.ok()) return std::move(others).status();
    if (others.value()) return join();
    if (options_.join_only) return Status(Code::kBUSY, "nobody has " + db_.path_ + " open any more");
    Status status = first();
    if (!status.ok()) forget();
    return status;
  }

  // --- first ------------------------------------------------------------------------------------------------------

  Status first() {
    if (Status status = identify(); !status.ok()) return status;
    if (Status status = salvage(); !status.ok()) return status;
    if (Status status = make_region(); !status.ok()) return status;
    if (Status status = open_store(); !status.ok()) return status;
    if (Status status = recover(); !status.ok()) return status;
    reach("open.recovered");
    // Nothing of the base is changed before the log was found sound.
    if (Status status = db_.store_->demand_checksums(); !status.ok()) return status;
    if (Status status = db_.store_->set_meta(kCleanKey, "0"); !status.ok()) return status;
    if (!identity_.complete) {
      identity_.complete = true;
      if (Status status = write_identity(db_.path_, identity_); !status.ok()) return status;
    }
    if (Status status = write_session(db_.path_, db_.memory_path_); !status.ok()) return status;
    db_.shared_.header().ready.store(1, std::memory_order_release);
    tell_recovered();
    return {};
  }

  void tell_recovered() {
    const std::string csn = "opened " + db_.path_ + " at csn " + std::to_string(recovered_.last_csn);
    if (recovered_.records == 0 && recovered_.bytes_cut == 0) return db_.tell(Severity::kInfo, csn);
    db_.tell(Severity::kWarning, csn + ", after a crash: " + std::to_string(recovered_.records) +
                                     " commits taken from the log, " + std::to_string(recovered_.bytes_cut) +
                                     " bytes of a torn tail cut off");
  }

  Status identify() {
    Result<Identity> identity = read_identity(db_.path_);
    const std::string base = db_.path_ + "/base/data.mdb";
    if (identity.ok()) {
      identity_ = identity.value();
    } else if (identity.code() == Code::kNOT_FOUND) {
      // The mark is on the device before anything else is made.
      if (platform::file_exists(base)) return Status(Code::kWRONG_FORMAT, base + " is there, but HOLDFAST is missing");
      identity_ = {random_database_id(), false};
      if (Status status = write_identity(db_.path_, identity_); !status.ok()) return status;
    } else {
      return std::move(identity).status();
    }
    if (identity_.complete && !platform::file_exists(base)) return Status(Code::kCORRUPT, base + " is missing");
    // LMDB writes its first pages without a sync, and refuses what a power failure during the first open leaves of
    // them. Nothing of the file is needed, as there was no commit yet.
    if (!identity_.complete) {
      if (Status status = platform::remove_file(base); !status.ok()) return status;
    }
    if (Status status = platform::remove_file(db_.path_ + "/" + kCompactName); !status.ok()) return status;
    if (Status status = platform::make_directory(db_.path_ + "/log"); !status.ok()) return status;
    if (Status status = platform::make_directory(db_.path_ + "/base"); !status.ok()) return status;
    return platform::sync_directory(db_.path_);
  }

  log::LogOptions log_options() const {
    log::LogOptions log;
    log.directory = db_.path_ + "/log";
    log.database_id = identity_.database_id;
    log.segment_size_max = std::max<std::uint64_t>(options_.log_segment_size_max, log.segment_size_min);
    log.keep_bytes = options_.log_keep_bytes;
    return log;
  }

  overlay::OverlayOptions overlay_options(std::uint64_t bytes_max) const {
    overlay::OverlayOptions overlay;
    overlay.directory = db_.memory_path_;
    overlay.bytes_max = bytes_max;
    return overlay;
  }

  std::string memory_path() const {
    if (options_.memory_directory.empty()) return db_.path_ + "/memory";
    // Others may be in another working directory.
    return std::filesystem::absolute(options_.memory_directory).string() + "/holdfast-" + hex(identity_.database_id);
  }

  // The shared memory of a session that ended by the death of all its processes may hold commits that never reached the
  // log's files. After a reboot it is older than they are.
  Status salvage() {
    Result<std::string> old_path = read_session(db_.path_);
    if (old_path.code() == Code::kNOT_FOUND) return {};
    if (!old_path.ok()) return std::move(old_path).status();
    Result<platform::Region> region = platform::Region::open(control_path(old_path.value()), kRegionSize);
    // Whoever mends the log, or has the build that made the memory, is to find it as it was.
    if (Status status = log::Log::look(log_options()); !status.ok()) return status;
    if (region.ok()) {
      const SharedRegion old{region->data()};
      const RegionHeader& header = old.header();
      const std::string boot = boot_id();
      const bool ours =
          std::memcmp(header.magic, kRegionMagic, sizeof kRegionMagic) == 0 &&
          header.fingerprint == layout_fingerprint() && header.database_id == identity_.database_id &&
          header.ready.load(std::memory_order_acquire) == 1 &&
          boot.compare(0, boot.size(), header.boot_id, strnlen(header.boot_id, sizeof header.boot_id)) == 0;
      if (ours) {
        if (Status status = log::Log::salvage(old.log(), old.ring(), log_options()); !status.ok()) return status;
      }
    }
    if (Status status = remove_memory(old_path.value()); !status.ok()) return status;
    return remove_session(db_.path_);
  }

  static Status remove_memory(const std::string& memory_path) {
    if (!platform::file_exists(memory_path)) return {};
    if (Status status = overlay::Overlay::remove_files(memory_path); !status.ok()) return status;
    if (Status status = platform::remove_file(locks_path(memory_path)); !status.ok()) return status;
    return platform::remove_file(control_path(memory_path));
  }

  Status make_region() {
    db_.memory_path_ = memory_path();
    if (Status status = platform::make_directory(db_.memory_path_); !status.ok()) return status;
    if (Status status = remove_memory(db_.memory_path_); !status.ok()) return status;
    Result<platform::Region> region = platform::Region::create(control_path(db_.memory_path_), kRegionSize);
    if (!region.ok()) return std::move(region).status();
    db_.region_ = std::move(region).value();
    db_.shared_ = SharedRegion{db_.region_.data()};
    RegionHeader& header = db_.shared_.header();
    std::memcpy(header.magic, kRegionMagic, sizeof kRegionMagic);
    header.fingerprint = layout_fingerprint();
    header.database_id = identity_.database_id;
    const std::string boot = boot_id();
    std::memcpy(header.boot_id, boot.data(), std::min(boot.size(), sizeof header.boot_id - 1));
    header.overlay_bytes_max = options_.overlay_bytes_max;
    header.log_segment_size_max = options_.log_segment_size_max;
    header.txn_bytes_max = std::min(options_.txn_bytes_max, options_.overlay_bytes_max / 4);
    if (Status status = db_.liveness_.take_slot(db_.shared_.slots(), options_.label); !status.ok()) return status;
    make_latches();
    Result<std::unique_ptr<lock::LockTable>> locks =
        lock::LockTable::create(locks_path(db_.memory_path_), db_.liveness_, options_.locks_max);
    if (!locks.ok()) return std::move(locks).status();
    db_.locks_ = std::move(locks).value();
    db_.locks_->set_slots(db_.shared_.slots());
    return {};
  }

  void make_latches() {
    // Written under the commit latch, where a page fault would hold everybody up.
    db_.region_.populate(kCommittersOffset, kCommittersMax * sizeof(CommitterRow));
    TxnShared& shared = db_.shared_.txn();
    db_.commit_latch_ = std::make_unique<platform::RobustLatch>(shared.commit_latch, db_.liveness_);
    db_.role_latch_ = std::make_unique<platform::RobustLatch>(shared.maintainer_latch, db_.liveness_);
  }

  Status open_store() {
    store::StoreOptions store;
    store.directory = db_.path_ + "/base";
    store.map_size = options_.map_size;
    store.tables_max = options_.tables_max;
    Result<std::unique_ptr<store::Store>> opened = store::Store::open(store);
    if (!opened.ok()) return std::move(opened).status();
    db_.store_ = std::move(opened).value();
    return {};
  }

  Status recover() {
    Result<std::string> id = db_.store_->get_meta(kDatabaseIdKey);
    const std::string ours = hex(identity_.database_id);
    if (id.code() == Code::kNOT_FOUND && !identity_.complete) {
      if (Status status = db_.store_->set_meta(kDatabaseIdKey, ours); !status.ok()) return status;
    } else if (!id.ok()) {
      return id.code() == Code::kNOT_FOUND ? Status(Code::kCORRUPT, db_.path_ + "/base/data.mdb holds no database id")
                                           : std::move(id).status();
    } else if (id.value() != ours) {
      return Status(Code::kWRONG_FORMAT, db_.path_ + "/base/data.mdb belongs to another database");
    }
    Result<std::string> clean = db_.store_->get_meta(kCleanKey);
    if (!clean.ok() && clean.code() != Code::kNOT_FOUND) return std::move(clean).status();

    Csn applied = 0;
    {
      Result<std::shared_ptr<const store::Snapshot>> base = db_.store_->snapshot();
      if (!base.ok()) return std::move(base).status();
      applied = base.value()->applied_csn();
    }
    TxnShared& shared = db_.shared_.txn();
    shared.applied_csn.store(applied, std::memory_order_relaxed);
    shared.published_csn.store(applied, std::memory_order_relaxed);
    shared.view_version.store(1, std::memory_order_relaxed);
    Result<std::unique_ptr<overlay::Overlay>> overlay =
        overlay::Overlay::create(db_.shared_.overlay(), overlay_options(options_.overlay_bytes_max), applied + 1);
    if (!overlay.ok()) return std::move(overlay).status();
    db_.overlay_ = std::move(overlay).value();

    Result<std::unique_ptr<log::Log>> log = log::Log::recover(
        db_.shared_.log(), db_.shared_.ring(), db_.liveness_, log_options(), applied,
        !identity_.complete || (clean.ok() && clean.value() == "1"),
        [this](Csn csn, Bytes body) { return replay(csn, body); }, &recovered_);
    if (!log.ok()) return std::move(log).status();
    db_.log_ = std::move(log).value();
    shared.published_csn.store(recovered_.last_csn, std::memory_order_release);
    shared.system_csn.store(recovered_.last_csn, std::memory_order_release);
    make_views();
    return {};
  }

  // One record of the log into the overlay, which is emptied into the base when it is full.
  Status replay(Csn csn, Bytes body) {
    overlay::Overlay& overlay = *db_.overlay_;
    const std::uint64_t space = space_of_record(body);
    if (Status status = overlay.touch_ahead(space); !status.ok()) return status;
    if (!overlay.has_room(space)) {
      if (!overlay.can_rotate(space)) {
        Status status = overlay.prepare(space);
        if (status.code() == Code::kOVERLOADED) {
          if (status = db_.merge_sealed(); !status.ok()) return status;
          status = overlay.prepare(space);
        }
        if (!status.ok()) return status;
      }
      overlay.rotate(csn - 1);
      if (Status status = overlay.touch_ahead(space); !status.ok()) return status;
      if (!overlay.has_room(space)) return Status(Code::kINTERNAL, "no room in a fresh overlay segment");
    }
    db_.shared_.txn().published_csn.store(csn, std::memory_order_relaxed);
    return decode_record(body, [&](const overlay::Change& change) { overlay.insert(csn, change); });
  }

  void make_views() {
    db_.views_ =
        std::make_unique<Views>(db_.shared_, db_.liveness_, *db_.overlay_, *db_.store_, !options_.background_thread);
  }

  // A first open that failed leaves no shared memory behind that a later one could take for a session's.
  void forget() {
    db_.locks_.reset();
    db_.views_.reset();
    db_.log_.reset();
    db_.overlay_.reset();
    db_.store_.reset();
    if (!db_.memory_path_.empty()) (void)remove_memory(db_.memory_path_).ok();
  }

  // --- join -------------------------------------------------------------------------------------------------------

  Status join() {
    Result<Identity> identity = read_identity(db_.path_);
    if (!identity.ok()) return std::move(identity).status();
    identity_ = identity.value();
    Result<std::string> path = read_session(db_.path_);
    if (!path.ok()) return std::move(path).status();
    db_.memory_path_ = path.value();
    if (!options_.memory_directory.empty() && memory_path() != db_.memory_path_) {
      return Status(Code::kINVALID_ARGUMENT,
                    "the database is open with its shared memory in " + db_.memory_path_ + ", not in " + memory_path());
    }
    Result<platform::Region> region = platform::Region::open(control_path(db_.memory_path_), kRegionSize);
    if (!region.ok()) return std::move(region).status();
    db_.region_ = std::move(region).value();
    db_.shared_ = SharedRegion{db_.region_.data()};
    const RegionHeader& header = db_.shared_.header();
    if (std::memcmp(header.magic, kRegionMagic, sizeof kRegionMagic) != 0 ||
        header.fingerprint != layout_fingerprint()) {
      return Status(Code::kWRONG_FORMAT, control_path(db_.memory_path_) + ": made by another build of this library");
    }
    if (header.ready.load(std::memory_order_acquire) != 1 || header.database_id != identity_.database_id) {
      return Status(Code::kCORRUPT, control_path(db_.memory_path_) + ": not this database's shared memory");
    }
    if (Status status = db_.liveness_.take_slot(db_.shared_.slots(), options_.label); !status.ok()) return status;
    make_latches();
    Result<std::unique_ptr<lock::LockTable>> locks =
        lock::LockTable::attach(locks_path(db_.memory_path_), db_.liveness_, db_.shared_.slots());
    if (!locks.ok()) return std::move(locks).status();
    db_.locks_ = std::move(locks).value();
    if (Status status = open_store(); !status.ok()) return status;
    Result<std::unique_ptr<overlay::Overlay>> overlay =
        overlay::Overlay::attach(db_.shared_.overlay(), overlay_options(header.overlay_bytes_max));
    if (!overlay.ok()) return std::move(overlay).status();
    db_.overlay_ = std::move(overlay).value();
    log::LogOptions log_settings = log_options();
    log_settings.segment_size_max = header.log_segment_size_max;
    Result<std::unique_ptr<log::Log>> log =
        log::Log::attach(db_.shared_.log(), db_.shared_.ring(), db_.liveness_, log_settings);
    if (!log.ok()) return std::move(log).status();
    db_.log_ = std::move(log).value();
    make_views();
    db_.tell(Severity::kInfo, "joined the processes that have " + db_.path_ + " open");
    return {};
  }

  Database& db_;
  const DatabaseOptions& options_;
  Identity identity_;
  log::Recovered recovered_;
};

Database::Database(std::string path, DatabaseOptions options)
    : path_(std::move(path)), options_(std::move(options)), fork_generation_(fork_generation()) {}

Result<std::shared_ptr<Database>> Database::open(const std::string& path, const DatabaseOptions& options) {
  Registry& known = registry();
  std::unique_lock lock(known.mutex);
  if (std::shared_ptr<Database> open = find_open(known, lock, path)) return open;
  std::shared_ptr<Database> database(new Database(path, options));
  database->failed_open_ = true;  // until it is in the registry, it leaves without a word to it
  if (Status status = Opening(*database).run(); !status.ok()) return status;
  Result<DirectoryId> id = platform::directory_id(path);
  if (!id.ok()) return std::move(id).status();
  database->directory_id_ = id.value();
  if (options.background_thread) {
    database->maintenance_thread_ = std::thread([raw = database.get()] { raw->maintenance_loop(); });
  }
  known.open[id.value()] = database;
  database->failed_open_ = false;
  return database;
}

// LMDB's locks do not bear two environments on one file in a process: the registry's mutex keeps out who would open
// here, and the gate who would be the first to open elsewhere.
Status Database::with_base(const std::string& path, Deadline deadline,
                           const std::function<Status(store::Store&)>& body) {
  Registry& known = registry();
  std::unique_lock lock(known.mutex);
  if (std::shared_ptr<Database> open = find_open(known, lock, path)) {
    lock.unlock();
    return body(open->store());
  }
  Result<platform::Liveness> liveness = platform::Liveness::open(path + "/liveness");
  if (!liveness.ok()) return std::move(liveness).status();
  if (Status status = liveness->lock_gate(deadline); !status.ok()) return status;
  Result<Identity> identity = read_identity(path);
  if (!identity.ok()) return std::move(identity).status();
  if (!identity->complete || !platform::file_exists(path + "/base/data.mdb")) {
    return Status(Code::kNOT_FOUND, "no database in " + path);
  }
  Result<std::unique_ptr<store::Store>> base = store::Store::open_any(path + "/base");
  return base.ok() ? body(*base.value()) : std::move(base).status();
}

Database::~Database() {
  if (!failed_open_) stop_threads();
  if (!failed_open_) leave();
  locks_.reset();
  views_.reset();
  log_.reset();
  overlay_.reset();
  store_.reset();
  if (liveness_.fd() >= 0) {
    keep_in_child(liveness_.fd());
    liveness_.release_slot();
    liveness_.unlock_gate();
  }
  if (event_fd_ >= 0) close_event_fd();
  if (failed_open_) return;
  Registry& known = registry();
  const std::lock_guard lock(known.mutex);
  known.open.erase(directory_id_);
  known.left.notify_all();
}

// The last one out merges everything and removes the shared memory. What fails here loses nothing: the next open
// recovers.
void Database::leave() noexcept {
  views_->drop_idle(true);
  if (!liveness_.lock_gate(Deadline::after_ms(options_.open_timeout_ms)).ok()) return;
  Result<bool> others = liveness_.others_alive();
  if (!others.ok() || others.value()) return;
  if (!maintain(true).ok()) return;
  views_->drop_idle(true);
  const Csn published = shared_.txn().published_csn.load(std::memory_order_acquire);
  if (shared_.txn().applied_csn.load(std::memory_order_acquire) != published) return;
  if (!store_->set_meta(kCleanKey, "1").ok()) return;
  reach("close.clean");
  if (!remove_session(path_).ok()) return;
  if (!overlay::Overlay::remove_files(memory_path_).ok()) return;
  (void)platform::remove_file(locks_path(memory_path_)).ok();
  (void)platform::remove_file(control_path(memory_path_)).ok();
  tell(Severity::kInfo, "closed " + path_ + " as its last process, everything merged");
}

}  // namespace hf::txn
