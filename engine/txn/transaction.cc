// SPDX-License-Identifier: Apache-2.0
#include "txn/transaction.h"

#include <algorithm>
#include <mutex>

#include "base/hash.h"
#include "lock/heat.h"
#include "platform/plant.h"
#include "txn/session.h"

namespace hf::txn {
namespace {

// Serialises updates of Table's cached data id; leaf.
std::mutex table_cache_mutex;

void cache_data_id(Table& table, TableId data_id, Csn system_csn) {
  const std::lock_guard lock(table_cache_mutex);
  const Csn valid = table.valid_csn.load(std::memory_order_relaxed);
  if (valid != kCsnMax && valid >= system_csn) return;
  // A reader that meets the middle of this sees kCsnMax or two different values, and looks the table up.
  table.valid_csn.store(kCsnMax, std::memory_order_seq_cst);
  table.data_id.store(data_id, std::memory_order_seq_cst);
  table.valid_csn.store(system_csn, std::memory_order_seq_cst);
}

bool cached_data_id(const Table& table, Csn system_csn, TableId* data_id) noexcept {
  if (table.valid_csn.load(std::memory_order_seq_cst) != system_csn) return false;
  *data_id = table.data_id.load(std::memory_order_seq_cst);
  return table.valid_csn.load(std::memory_order_seq_cst) == system_csn;
}

Status wrong_key(std::size_t size) {
  return size == 0 ? Status(Code::kINVALID_ARGUMENT, "empty key")
                   : Status(Code::kTOO_LARGE, "key of " + std::to_string(size) + " bytes; at most " +
                                                  std::to_string(kKeySizeMax) + " fit");
}

}  // namespace

Transaction::Transaction(std::shared_ptr<Database> database) noexcept
    : database_(std::move(database)), verify_(database_->options().verify_reads) {}

Transaction::~Transaction() { abort(); }

Status Transaction::restart() {
  const std::uint64_t age_ns = age_ns_;
  Status status = begin(options_);
  age_ns_ = age_ns;
  return status;
}

Status Transaction::begin(const TxnOptions& options) {
  if (running()) return Status(Code::kMISUSE, "the transaction is running already");
  if (&options != &options_) options_ = options;
  age_ns_ = 0;
  asked_for_locks_ = false;
  read_any_ = false;
  if (options_.base_only) options_.read_only = true;
  cancelled_.store(false, std::memory_order_relaxed);
  commit_csn_ = 0;
  now_ms_ = 0;
  last_table_ = nullptr;
  touched_.clear();
  if (obstacle_.table != 0) obstacle_ = {};
  if (!writes_.rows().empty() || !reads_.empty() || arena_.bytes_held() != 0) {
    reads_.clear();
    writes_.clear();
    arena_.clear();
  }
  heat_ = options_.heat && !options_.read_only && options_.isolation == Isolation::kSerializable;
  limited_ = options_.deadline_ms != 0 || options_.idle_ms != 0;
  if (limited_) {
    deadline_ = options_.deadline_ms != 0 ? Deadline::after_ms(options_.deadline_ms) : Deadline::never();
    last_call_ns_ = monotonic_ns();
  }
  if (options_.base_only) {
    Result<std::shared_ptr<const store::Snapshot>> base = database_->store().snapshot();
    if (!base.ok()) return std::move(base).status();
    own_base_ = std::move(base).value();
    snapshot_ = own_base_->applied_csn();
  } else {
    Result<View*> view = database_->views().acquire(&snapshot_);
    if (!view.ok()) return std::move(view).status();
    view_ = view.value();
  }
  if (platform::planted(platform::Plant::kStaleSnapshot) && view_ != nullptr) {
    snapshot_ -= std::min<Csn>(snapshot_ - view_->base_csn(), 3);
  }
  first_snapshot_ = resolved_at_ = snapshot_;
  ++life_;
  if (options_.session != nullptr) options_.session->enter();
  state_ = State::kRunning;
  return {};
}

void Transaction::end(State state) noexcept {
  // First of all: others wait for them.
  if (owner_ != nullptr && owner_->active()) owner_->end();
  if (options_.session != nullptr) options_.session->leave();
  if (state == State::kCommitted) age_ns_ = 0;
  if (view_ != nullptr) database_->views().release(view_);
  view_ = nullptr;
  for (View* view : older_views_) database_->views().release(view);
  older_views_.clear();
  own_base_.reset();
  state_ = state;
  database_->transaction_ended();
}

void Transaction::abort() noexcept {
  if (platform::planted(platform::Plant::kAbortPublishes) && running() && !writes_.empty()) (void)commit_writes().ok();
  if (running()) end(State::kAborted);
}

Status Transaction::finish_with(Status status) noexcept {
  if (running()) end(State::kAborted);
  name_other();
  return status;
}

Status Transaction::enter_slow() {
  if (!running()) return Status(Code::kMISUSE, "the transaction has ended");
  if (cancelled()) return finish_with(Code::kCANCELLED);
  if (limited_) {
    const std::uint64_t now = monotonic_ns();
    const bool idle = options_.idle_ms != 0 && (now - last_call_ns_) / 1'000'000u > options_.idle_ms;
    const bool locked = owner_ != nullptr && owner_->active();
    if (now >= deadline_.ns() || idle || (locked && owner_->expired())) return finish_with(expiry());
    last_call_ns_ = now;
    if (locked) announce_limits(true);
  }
  if (view_ != nullptr && database_->shared().txn().too_old_below.load(std::memory_order_relaxed) > view_->base_csn()) {
    return finish_with(Status(
        Code::kSNAPSHOT_TOO_OLD,
        "the overlay needs the memory that this transaction's snapshot, csn " + std::to_string(snapshot_) + ", keeps"));
  }
  return {};
}

Status Transaction::expiry() {
  const bool deadline = monotonic_ns() >= deadline_.ns();
  std::string text = deadline ? "the transaction passed its deadline of " + std::to_string(options_.deadline_ms) + " ms"
                              : "the transaction was idle for more than " + std::to_string(options_.idle_ms) + " ms";
  if (owner_ != nullptr && owner_->expired()) {
    lock_report_ = {};
    lock_report_.other.pid = owner_->expired_by_pid();
    text += "; its locks were given to others by process " + std::to_string(owner_->expired_by_pid());
  }
  return Status(Code::kEXPIRED, std::move(text));
}

Status Transaction::begin_statement() {
  Csn snapshot = 0;
  Result<View*> view = database_->views().acquire(&snapshot);
  if (!view.ok()) return std::move(view).status();
  if (view.value() == view_) {
    database_->views().release(view_);
  } else {
    older_views_.push_back(view_);
    view_ = view.value();
  }
  if (database_->shared().txn().system_csn.load(std::memory_order_acquire) > snapshot_) {
    // Tables may have new rows behind them; what was written stays noted for the check at commit.
    last_table_ = nullptr;
    std::erase_if(touched_, [](const Touched& touched) { return !touched.written; });
    for (Touched& touched : touched_) touched.known = false;
  }
  snapshot_ = snapshot;
  now_ms_ = 0;
  return {};
}

std::uint64_t Transaction::now_ms() noexcept {
  if (now_ms_ == 0) now_ms_ = wall_ms();
  return now_ms_;
}

Status Transaction::resolve_at(const View& view, Csn snapshot, TableId id, TableId* data_id) {
  char key[5] = {'i'};
  store_be32(key + 1, id);
  const Bytes name(key, sizeof key);
  RowView row;
  bool found = false;
  if (Status status = read_row(view, snapshot, kSystemTable, name, row_hash(kSystemTable, name), &row, &found);
      !status.ok()) {
    return status;
  }
  if (!found || row.value.size() != 4) return Code::kNO_TABLE;
  *data_id = load_be32(row.value.data());
  return {};
}

Status Transaction::resolve_slow(Table& table, TableId* data_id) {
  for (const Touched& touched : touched_) {
    if (touched.table == &table && touched.known) {
      last_table_ = &table;
      *data_id = last_data_id_ = touched.data_id;
      return {};
    }
  }
  const Csn system = database_->shared().txn().system_csn.load(std::memory_order_acquire);
  if (table.id == kSystemTable) {
    *data_id = kSystemTable;
  } else if (options_.base_only || snapshot_ < system || !cached_data_id(table, system, data_id)) {
    Status status =
        options_.base_only ? resolve_in_base(table.id, data_id) : resolve_at(*view_, snapshot_, table.id, data_id);
    if (status.ok() && !options_.base_only && snapshot_ >= system) {
      cache_data_id(table, *data_id, system);
    } else if (status.code() == Code::kNO_TABLE) {
      // Made after this snapshot: empty as far as this transaction can see, but there.
      Csn newest = 0;
      Result<View*> view = database_->views().acquire(&newest);
      if (!view.ok()) return std::move(view).status();
      status = resolve_at(*view.value(), newest, table.id, data_id);
      database_->views().release(view.value());
    }
    if (!status.ok()) return status;
  }
  touched_.push_back({&table, *data_id, false, true});
  last_table_ = &table;
  last_data_id_ = *data_id;
  return {};
}

Status Transaction::resolve_in_base(TableId id, TableId* data_id) {
  char key[5] = {'i'};
  store_be32(key + 1, id);
  const Bytes name(key, sizeof key);
  RowView row;
  bool found = false;
  Status status = read_base(*own_base_, kSystemTable, name, row_hash(kSystemTable, name), &row, &found);
  if (!status.ok()) return status;
  if (!found || row.value.size() != 4) return Code::kNO_TABLE;
  *data_id = load_be32(row.value.data());
  return {};
}

bool Transaction::expired(std::uint64_t expires_ms) noexcept { return expires_ms != 0 && expires_ms <= now_ms(); }

Status Transaction::read_row(const View& view, Csn snapshot, TableId table, Bytes key, std::uint64_t hash, RowView* row,
                             bool* found) {
  for (const overlay::SegmentRef& segment : view.segments()) {
    overlay::Version version;
    bool there = false;
    if (Status status = find_version(*segment, table, key, hash, snapshot, &version, &there); !status.ok()) {
      return status;
    }
    if (!there) continue;
    *found = version.kind == overlay::VersionKind::kPut && !expired(version.expires_ms);
    if (*found) *row = {version.value, version.csn, version.expires_ms, version.flags};
    return {};
  }
  return read_base(view.base(), table, key, hash, row, found);
}

Status Transaction::find_verified(const overlay::Segment& segment, TableId table, Bytes key, std::uint64_t hash,
                                  Csn snapshot, overlay::Version* version, bool* found) {
  Result<bool> there = segment.find_verified(table, key, hash, snapshot, version);
  if (!there.ok()) return std::move(there).status();
  *found = there.value();
  return {};
}

Status Transaction::read_base(const store::Snapshot& base, TableId table, Bytes key, std::uint64_t hash, RowView* row,
                              bool* found) {
  store::Row stored;
  Result<bool> there = base.get(table, key, &stored);
  if (!there.ok()) return std::move(there).status();
  if (verify_ && there.value()) [[unlikely]] {
    if (Status status = base.verify(table, key, hash, stored); !status.ok()) return status;
  }
  *found = there.value() && !expired(stored.expires_ms);
  if (*found) *row = {stored.value, stored.version, stored.expires_ms, stored.flags};
  return {};
}

Status Transaction::read(TableId table, Bytes key, Track track, Code on_change, RowView* row, bool* found) {
  const CounterAdd* add = nullptr;
  if (!writes_.empty()) {
    const RowWrite* own = writes_.find(table, key);
    if (own != nullptr) add = own->add;
    if (own != nullptr && add == nullptr) {
      *found = own->kind == overlay::VersionKind::kPut;
      if (*found) *row = {own->value, 0, own->expires_ms, own->flags};
      return {};
    }
  }
  const std::uint64_t hash = row_hash(table, key);
  if (options_.base_only) return read_base(*own_base_, table, key, hash, row, found);
  read_any_ = true;
  if (heat_) {
    const lock::Mode mode = lock::lock_at_first_touch(database_->locks().region(), hash);
    if (mode != lock::Mode::kNone) [[unlikely]]
      touch_hot(table, key, hash, mode);
  }
  if (platform::planted(platform::Plant::kAbsence) && read_row(*view_, snapshot_, table, key, hash, row, found).ok() &&
      !*found) {
    return {};
  }
  if (track == Track::kAlways || tracks_reads()) reads_.add_row(table, key, hash, snapshot_, on_change);
  if (add == nullptr) [[likely]]
    return read_row(*view_, snapshot_, table, key, hash, row, found);
  Status status = read_row(*view_, snapshot_, table, key, hash, row, found);
  return status.ok() ? read_through_add(*add, row, found) : std::move(status);
}

Status Transaction::peek(TableId table, Bytes key, std::uint64_t hash, RowView* row, bool* found) {
  const RowWrite* own = writes_.empty() ? nullptr : writes_.find(table, key);
  if (own != nullptr && own->add == nullptr) {
    *found = own->kind == overlay::VersionKind::kPut;
    if (*found) *row = {own->value, 0, own->expires_ms, own->flags};
    return {};
  }
  Status status = read_row(*view_, snapshot_, table, key, hash, row, found);
  return status.ok() && own != nullptr ? read_through_add(*own->add, row, found) : std::move(status);
}

Status Transaction::get(Table& table, Bytes key, RowView* row) {
  if (Status status = enter_statement(); !status.ok()) return status;
  if (key.empty() || key.size() > kKeySizeMax) return wrong_key(key.size());
  TableId data_id;
  if (Status status = resolve(table, &data_id); !status.ok()) return status;
  bool found = false;
  if (Status status = read(data_id, key, Track::kByLevel, Code::kCONFLICT, row, &found); !status.ok()) return status;
  return found ? Code::kOK : Code::kNOT_FOUND;
}

Status Transaction::enter_write(Table& table, Bytes key, Bytes value, TableId* data_id) {
  if (Status status = enter_statement(); !status.ok()) return status;
  if (options_.read_only) return Code::kREAD_ONLY;
  if (key.empty() || key.size() > kKeySizeMax) return wrong_key(key.size());
  if (value.size() > kValueSizeMax) {
    return Status(Code::kTOO_LARGE, "value of " + std::to_string(value.size()) + " bytes; at most " +
                                        std::to_string(kValueSizeMax) + " fit");
  }
  const std::uint64_t bytes = writes_.bytes() + key.size() + value.size();
  if (bytes > database_->txn_bytes_max()) {
    return Status(Code::kTOO_LARGE, "write set of " + std::to_string(bytes) + " bytes; txn_bytes_max is " +
                                        std::to_string(database_->txn_bytes_max()));
  }
  return resolve(table, data_id);
}

void Transaction::note_written(TableId table) noexcept {
  for (auto touched = touched_.rbegin(); touched != touched_.rend(); ++touched) {
    if (touched->data_id != table) continue;
    touched->written = true;
    break;
  }
}

Status Transaction::write(TableId table, Bytes key, Bytes value, std::uint64_t ttl_ms, overlay::VersionKind kind,
                          std::uint8_t flags) {
  note_written(table);
  RowWrite row{};
  row.kind = kind;
  row.flags = flags;
  row.hash = row_hash(table, key);
  if (ttl_ms != 0) {
    const std::uint64_t now = wall_ms();
    row.expires_ms = ttl_ms > UINT64_MAX - now ? UINT64_MAX : now + ttl_ms;
  }
  row.value = value;
  writes_.set(table, key, row);
  return {};
}

Status Transaction::put(Table& table, Bytes key, Bytes value, std::uint64_t ttl_ms) {
  TableId data_id;
  if (Status status = enter_write(table, key, value, &data_id); !status.ok()) return status;
  return write(data_id, key, value, ttl_ms, overlay::VersionKind::kPut);
}

Status Transaction::insert(Table& table, Bytes key, Bytes value, std::uint64_t ttl_ms) {
  TableId data_id;
  if (Status status = enter_write(table, key, value, &data_id); !status.ok()) return status;
  RowView row;
  bool found = false;
  // At every level: the absence that the caller was promised has to hold at the commit.
  if (Status status = read(data_id, key, Track::kAlways, Code::kCONFLICT, &row, &found); !status.ok()) return status;
  if (found) return Code::kEXISTS;
  return write(data_id, key, value, ttl_ms, overlay::VersionKind::kPut);
}

Status Transaction::update(Table& table, Bytes key, Bytes value, std::uint64_t ttl_ms) {
  TableId data_id;
  if (Status status = enter_write(table, key, value, &data_id); !status.ok()) return status;
  RowView row;
  bool found = false;
  if (Status status = read(data_id, key, Track::kByLevel, Code::kCONFLICT, &row, &found); !status.ok()) return status;
  if (!found) return Code::kNOT_FOUND;
  return write(data_id, key, value, ttl_ms, overlay::VersionKind::kPut);
}

Status Transaction::match_version(TableId data_id, Bytes key, Csn version) {
  RowView row;
  bool found = false;
  const bool own = writes_.find(data_id, key) != nullptr;
  const Track track = platform::planted(platform::Plant::kNamedVersion) ? Track::kByLevel : Track::kAlways;
  if (Status status = read(data_id, key, track, Code::kVERSION_MISMATCH, &row, &found); !status.ok()) return status;
  // A row that this transaction wrote itself has no version yet: only "absent" can be named for it.
  const bool match = found ? !own && row.version == version : version == 0;
  if (match) return {};
  return Status(Code::kVERSION_MISMATCH, "the row has version " + std::to_string(found ? row.version : 0) +
                                             ", the caller named " + std::to_string(version));
}

Status Transaction::put_if_version(Table& table, Bytes key, Bytes value, Csn version, std::uint64_t ttl_ms) {
  TableId data_id;
  if (Status status = enter_write(table, key, value, &data_id); !status.ok()) return status;
  if (Status status = match_version(data_id, key, version); !status.ok()) return status;
  return write(data_id, key, value, ttl_ms, overlay::VersionKind::kPut);
}

Status Transaction::check_version(Table& table, Bytes key, Csn version) {
  if (Status status = enter_statement(); !status.ok()) return status;
  if (key.empty() || key.size() > kKeySizeMax) return wrong_key(key.size());
  TableId data_id;
  if (Status status = resolve(table, &data_id); !status.ok()) return status;
  return match_version(data_id, key, version);
}

Status Transaction::remove(Table& table, Bytes key) {
  TableId data_id;
  if (Status status = enter_write(table, key, {}, &data_id); !status.ok()) return status;
  RowView row;
  bool found = false;
  if (Status status = read(data_id, key, Track::kByLevel, Code::kCONFLICT, &row, &found); !status.ok()) return status;
  if (!found) return Code::kNOT_FOUND;
  return write(data_id, key, {}, 0, overlay::VersionKind::kDelete);
}

Status Transaction::erase(Table& table, Bytes key) {
  TableId data_id;
  if (Status status = enter_write(table, key, {}, &data_id); !status.ok()) return status;
  return write(data_id, key, {}, 0, overlay::VersionKind::kDelete);
}

Status Transaction::drop_rows(TableId data_id) {
  if (Status status = enter_statement(); !status.ok()) return status;
  return write(data_id, {}, {}, 0, overlay::VersionKind::kDropTable);
}

Result<std::uint64_t> Transaction::savepoint() {
  if (Status status = enter(); !status.ok()) return status;
  if (options_.read_only) return Code::kREAD_ONLY;
  return writes_.savepoint();
}

Status Transaction::rollback_to(std::uint64_t savepoint) {
  if (Status status = enter(); !status.ok()) return status;
  if (!writes_.has_savepoint(savepoint)) return Status(Code::kINVALID_ARGUMENT, "no such savepoint");
  if (!platform::planted(platform::Plant::kRollbackKeepsWrites)) writes_.rollback_to(savepoint);
  return {};
}

Status Transaction::release(std::uint64_t savepoint) {
  if (Status status = enter(); !status.ok()) return status;
  if (!writes_.has_savepoint(savepoint)) return Status(Code::kINVALID_ARGUMENT, "no such savepoint");
  writes_.release(savepoint);
  return {};
}

}  // namespace hf::txn
