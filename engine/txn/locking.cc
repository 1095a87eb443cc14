// SPDX-License-Identifier: Apache-2.0
// Row locks of a transaction, and the reads that lock.
//
// A lock is had first and the row is read after, at its newest commit. Two things make that newest commit the last one
// until the lock goes: a commit takes no row that somebody else has locked (commit.cc, lock_writes), and a commit that
// had looked before the lock was there is waited for (Database::pass_commits).
#include <algorithm>

#include "base/hash.h"
#include "lock/heat.h"
#include "platform/plant.h"
#include "platform/test_point.h"
#include "txn/session.h"
#include "txn/transaction.h"

namespace hf::txn {
namespace {

// A lock taken because the row is hot is a hint, not a promise: beyond this the transaction goes on without.
constexpr std::uint64_t kHotWaitMs = 100;

Status wrong_key(std::size_t size) {
  return size == 0 ? Status(Code::kINVALID_ARGUMENT, "empty key")
                   : Status(Code::kTOO_LARGE, "key of " + std::to_string(size) + " bytes; at most " +
                                                  std::to_string(kKeySizeMax) + " fit");
}

bool legal_mode(lock::Mode mode) noexcept { return mode != lock::Mode::kNone; }

}  // namespace

Status Transaction::ensure_owner() {
  if (owner_ == nullptr) {
    owner_ = std::make_unique<lock::Owner>(database_->locks());
    owner_ptr_.store(owner_.get(), std::memory_order_release);  // pairs with cancel()
  }
  if (owner_->active()) return {};
  // Kept by what is run again after a conflict or a deadlock: it grows older, and is not the one to give up for ever.
  if (age_ns_ == 0) age_ns_ = monotonic_ns();
  const lock::Owner* session = options_.session != nullptr ? options_.session->owner() : nullptr;
  if (Status status = owner_->begin(options_.label, age_ns_, false, session); !status.ok()) return status;
  if (limited_) announce_limits(true);
  return {};
}

// Tells others when they may take the locks away. A transaction that is inside of a call is not idle.
void Transaction::announce_limits(bool idle_counts) noexcept {
  std::uint64_t at = deadline_.ns();
  if (idle_counts && options_.idle_ms != 0 && options_.idle_ms < UINT64_MAX / 1'000'000u) {
    at = std::min(at, last_call_ns_ + options_.idle_ms * 1'000'000u);
  }
  owner_->set_expiry(at);
}

lock::WaitRule Transaction::wait_rule(const LockRule& rule) const noexcept {
  lock::WaitRule wait;
  wait.wait = rule.wait;
  wait.strict = rule.strict;
  wait.search = options_.deadlock_search;
  wait.ordered = options_.lock_ordered;
  wait.timeout_ms = rule.timeout_ms != 0 ? rule.timeout_ms : options_.lock_timeout_ms;
  wait.cancelled = &cancelled_;
  return wait;
}

// Calls `acquire` with an owner, and does what is due before and after.
template <typename Acquire>
Status Transaction::with_owner(Acquire&& acquire) {
  if (Status status = ensure_owner(); !status.ok()) return status;
  if (lock_report_.waited_ms != 0 || lock_report_.other.number != 0 || !lock_report_.key.empty()) lock_report_ = {};
  if (limited_) announce_limits(false);
  Status status = acquire();
  if (limited_) {
    last_call_ns_ = monotonic_ns();
    announce_limits(true);
  }
  if (status.ok()) {
    if (!platform::planted(platform::Plant::kLockRunsAhead)) status = database_->pass_commits();
    platform::reach("txn.locked");
  }
  return status;
}

Status Transaction::lock_failed(Status status) {
  switch (status.code()) {
    case Code::kEXPIRED:
      return finish_with(expiry());
    case Code::kDEADLOCK:  // the others in the cycle need what it holds
    case Code::kCANCELLED:
      return finish_with(std::move(status));
    default:
      return status;
  }
}

Status Transaction::lock_row(TableId table, Bytes key, std::uint64_t hash, const LockRule& rule) {
  asked_for_locks_ = true;
  Status status = with_owner([&] {
    return database_->locks().acquire(*owner_, {{table, key, hash}, rule.mode}, wait_rule(rule), &lock_report_);
  });
  return status.ok() ? std::move(status) : lock_failed(std::move(status));
}

void Transaction::restore_lock(TableId table, Bytes key, std::uint64_t hash, lock::Mode before) noexcept {
  if (owner_ != nullptr && owner_->active()) database_->locks().restore(*owner_, {table, key, hash}, before);
}

lock::Mode Transaction::held_lock(TableId table, Bytes key, std::uint64_t hash) const noexcept {
  return owner_ != nullptr && owner_->active() ? owner_->held({table, key, hash}) : lock::Mode::kNone;
}

// --- the newest commit -----------------------------------------------------------------------------------------------

Status Transaction::see_newest(TableId table, Bytes key, std::uint64_t hash) {
  if (options_.isolation == Isolation::kReadCommitted) return begin_statement();
  Status status = try_see_newest(table, key, hash);
  // A row whose version was named is one that was read before; whoever begins anew meets it at the call that names it.
  if (status.code() == Code::kVERSION_MISMATCH) status = Status(Code::kCONFLICT, status.message());
  return status.code() == Code::kCONFLICT ? finish_with(std::move(status)) : std::move(status);
}

Status Transaction::try_see_newest(TableId table, Bytes key, std::uint64_t hash) {
  if (database_->shared().txn().published_csn.load(std::memory_order_acquire) == snapshot_) return {};
  Csn newest = 0;
  Result<View*> view = database_->views().acquire(&newest);
  if (!view.ok()) return std::move(view).status();
  bool changed = true;
  if (!reads_.empty() || read_any_) {  // else it costs nothing to move on
    if (view.value()->base_csn() <= snapshot_) {
      changed = newest_after(view.value()->segments(), table, key, hash, snapshot_) != 0;
    } else {
      Result<std::vector<overlay::SegmentRef>> segments = database_->overlay().segments_after(snapshot_);
      changed = !segments.ok() || newest_after(segments.value(), table, key, hash, snapshot_) != 0;
    }
  }
  Status status;
  if (changed && options_.isolation == Isolation::kSnapshot && read_any_) {
    status = Status(Code::kCONFLICT, "the row has changed since the snapshot that other rows were read at");
    obstacle_ = {};
    obstacle_.table = table;
    obstacle_.key.assign(key);
  } else if (changed) {
    return move_snapshot(view.value(), newest, true);
  }
  database_->views().release(view.value());
  return status;
}

// --- calls -----------------------------------------------------------------------------------------------------------

Status Transaction::enter_lock(Table& table, Bytes key, const LockRule& rule, TableId* data_id) {
  if (Status status = enter_statement(); !status.ok()) return status;
  if (options_.read_only) return Status(Code::kREAD_ONLY, "a lock in a read-only transaction");
  if (key.empty() || key.size() > kKeySizeMax) return wrong_key(key.size());
  if (!legal_mode(rule.mode)) return Status(Code::kINVALID_ARGUMENT, "no such lock mode");
  return resolve(table, data_id);
}

Status Transaction::lock(Table& table, Bytes key, const LockRule& rule) {
  TableId data_id = 0;
  if (Status status = enter_lock(table, key, rule, &data_id); !status.ok()) return status;
  const std::uint64_t hash = row_hash(data_id, key);
  if (Status status = lock_row(data_id, key, hash, rule); !status.ok()) return status;
  return see_newest(data_id, key, hash);
}

Status Transaction::lock_rows(std::vector<lock::Request>& requests, const LockRule& rule) {
  if (requests.empty()) return {};
  asked_for_locks_ = true;
  Status status =
      with_owner([&] { return database_->locks().acquire_all(*owner_, requests, wait_rule(rule), &lock_report_); });
  if (!status.ok()) return lock_failed(std::move(status));
  for (const lock::Request& request : requests) {
    if (Status seen = see_newest(request.row.table, request.row.key, request.row.hash); !seen.ok()) return seen;
    if (options_.isolation == Isolation::kReadCommitted) break;
  }
  return {};
}

Status Transaction::lock_many(const std::vector<LockWanted>& wanted, const LockRule& rule) {
  std::vector<lock::Request> requests;
  requests.reserve(wanted.size());
  if (Status status = enter_statement(); !status.ok()) return status;
  if (options_.read_only) return Status(Code::kREAD_ONLY, "a lock in a read-only transaction");
  for (const LockWanted& one : wanted) {
    if (one.key.empty() || one.key.size() > kKeySizeMax) return wrong_key(one.key.size());
    if (!legal_mode(one.mode)) return Status(Code::kINVALID_ARGUMENT, "no such lock mode");
    TableId data_id = 0;
    if (Status status = resolve(*one.table, &data_id); !status.ok()) return status;
    requests.push_back({{data_id, one.key, row_hash(data_id, one.key)}, one.mode});
  }
  return lock_rows(requests, rule);
}

Status Transaction::get_locked(Table& table, Bytes key, const LockRule& rule, RowView* row) {
  TableId data_id = 0;
  if (Status status = enter_lock(table, key, rule, &data_id); !status.ok()) return status;
  const std::uint64_t hash = row_hash(data_id, key);
  if (Status status = lock_row(data_id, key, hash, rule); !status.ok()) return status;
  if (Status status = see_newest(data_id, key, hash); !status.ok()) return status;
  bool found = false;
  Status status = read(data_id, key, Track::kByLevel, Code::kCONFLICT, row, &found);
  return status.ok() && !found ? Status(Code::kNOT_FOUND) : std::move(status);
}

Status Transaction::get_many_locked(Table& table, const std::vector<Bytes>& keys, const LockRule& rule, bool skip,
                                    std::vector<RowView>* rows, std::vector<bool>* found, std::vector<bool>* locked) {
  rows->assign(keys.size(), RowView{});
  found->assign(keys.size(), false);
  locked->assign(keys.size(), true);
  if (keys.empty()) return enter_statement();
  TableId data_id = 0;
  std::vector<lock::Request> requests;
  requests.reserve(keys.size());
  for (const Bytes key : keys) {
    if (Status status = enter_lock(table, key, rule, &data_id); !status.ok()) return status;
    requests.push_back({{data_id, key, row_hash(data_id, key)}, rule.mode});
  }
  if (!skip) {
    std::vector<lock::Request> sorted = requests;
    if (Status status = lock_rows(sorted, rule); !status.ok()) return status;
  } else {
    LockRule now = rule;
    now.wait = false;
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const lock::Row& row = requests[i].row;
      Status status = lock_row(row.table, row.key, row.hash, now);
      if (status.code() == Code::kLOCKED) {
        (*locked)[i] = false;
        continue;
      }
      if (status.ok()) status = see_newest(row.table, row.key, row.hash);
      if (!status.ok()) return status;
    }
  }
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (!(*locked)[i]) continue;
    bool there = false;
    if (Status status = read(data_id, keys[i], Track::kByLevel, Code::kCONFLICT, &(*rows)[i], &there); !status.ok()) {
      return status;
    }
    (*found)[i] = there;
  }
  return {};
}

Status Transaction::lock_if(Table& table, Bytes key, const LockRule& rule,
                            const std::function<bool(const RowView*)>& holds, RowView* row, bool* locked) {
  *locked = false;
  TableId data_id = 0;
  if (Status status = enter_lock(table, key, rule, &data_id); !status.ok()) return status;
  const std::uint64_t hash = row_hash(data_id, key);
  bool found = false;
  // Not tracked yet: a first answer that the lock makes out of date must be no conflict.
  if (Status status = peek(data_id, key, hash, row, &found); !status.ok()) return status;
  if (holds(found ? row : nullptr)) {
    const lock::Mode before = held_lock(data_id, key, hash);
    if (Status status = lock_row(data_id, key, hash, rule); !status.ok()) return status;
    if (Status status = see_newest(data_id, key, hash); !status.ok()) return status;
    if (Status status = peek(data_id, key, hash, row, &found); !status.ok()) return status;
    *locked = holds(found ? row : nullptr);
    if (!*locked) restore_lock(data_id, key, hash, before);
  }
  // Now it is read, and counts.
  Status status = read(data_id, key, Track::kByLevel, Code::kCONFLICT, row, &found);
  return status.ok() && !found ? Status(Code::kNOT_FOUND) : std::move(status);
}

// --- commit ----------------------------------------------------------------------------------------------------------

// Somebody else holds a row of the write set: all of them are locked now, in canonical order, as a commit without the
// short cut would have done from the start (docs/locking.md, "Writes without a lock").
Status Transaction::lock_writes() {
  std::vector<lock::Request> requests;
  requests.reserve(writes_.size());
  for (const auto& [row, write] : writes_.rows()) {
    if (!write.live || row.key.empty()) continue;
    requests.push_back({{row.table, row.key, write.hash}, write_mode(write)});
  }
  const auto acquire = [&] {
    // The owner may have been made only now, and its limits must not take away what a commit relies on.
    if (limited_ && !owner_->start_commit()) return expiry();
    return database_->locks().acquire_all(*owner_, requests, wait_rule({}), &lock_report_);
  };
  Status status = with_owner(acquire);
  // All that it holds it holds by heat, which promised nobody anything: again with empty hands, in order. Others may
  // still hold what they hold by heat, so once is not always enough; but each time somebody else goes on.
  constexpr int kRoundsMax = 1'000;
  for (int round = 0; status.code() == Code::kDEADLOCK && !asked_for_locks_ && round < kRoundsMax; ++round) {
    owner_->end();
    status = with_owner(acquire);
  }
  return status;
}

// --- heat ------------------------------------------------------------------------------------------------------------

// Rows that conflict often are locked before they are first read. Nothing here makes a call fail: where the lock cannot
// be had, or not without a deadlock, the transaction goes on without.
void Transaction::touch_hot(TableId table, Bytes key, std::uint64_t hash, lock::Mode mode) {
  if (!ensure_owner().ok() || lock::covers(owner_->held({table, key, hash}), mode)) return;
  LockRule rule;
  rule.mode = mode;
  rule.timeout_ms = std::min<std::uint64_t>(options_.lock_timeout_ms, kHotWaitMs);
  lock::WaitRule wait = wait_rule(rule);
  wait.ordered = true;  // no cycle among those who lock by heat alone
  const Status status = with_owner([&] {
    return database_->locks().acquire(*owner_, {{table, key, hash}, mode}, wait, nullptr);
  });
  // What was read before may have changed: the commit will say so.
  if (status.ok()) (void)try_see_newest(table, key, hash).ok();
}

void Transaction::note_conflict() {
  if (obstacle_.table == 0 || obstacle_.range || !options_.heat) return;
  const std::uint64_t hash = row_hash(obstacle_.table, obstacle_.key);
  lock::note_conflict(database_->locks().region(), hash, writes_.find(obstacle_.table, obstacle_.key) != nullptr);
}

Status Transaction::lock_ahead(const std::vector<std::pair<TableId, std::string>>& rows) {
  if (options_.read_only || rows.empty()) return {};
  std::vector<lock::Request> requests;
  requests.reserve(rows.size());
  for (const auto& [table, key] : rows)
    requests.push_back({{table, key, row_hash(table, key)}, lock::Mode::kExclusive});
  LockRule rule;
  Status status =
      with_owner([&] { return database_->locks().acquire_all(*owner_, requests, wait_rule(rule), &lock_report_); });
  if (!status.ok()) return lock_failed(std::move(status));
  // Nothing was read yet: the snapshot moves freely.
  Csn newest = 0;
  Result<View*> view = database_->views().acquire(&newest);
  return view.ok() ? move_snapshot(view.value(), newest, true) : std::move(view).status();
}

}  // namespace hf::txn
