// SPDX-License-Identifier: Apache-2.0
// Transaction: one snapshot, what was read at it, what is to be written, and the commit of both.
//
//      kRunning --commit--> kCommitted          kRunning --any failure of commit, abort, expiry, too old--> kAborted
//          ^                    |                                                                             |
//          +------ restart -----+-----------------------------------------------------------------------------+
//
// Thread contract: one thread at a time, any thread; only cancel() may come from another one. Nothing here blocks, but
// commit (as the caller asked for), and what is said of wait_for_room.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/status.h"
#include "lock/lock.h"
#include "txn/database.h"
#include "txn/read_set.h"
#include "txn/write_set.h"

namespace hf::txn {

class Session;

struct TxnOptions {
  Isolation isolation = Isolation::kSerializable;
  Durability durability = Durability::kDurable;
  bool read_only = false;
  bool base_only = false;
  bool read_durable = false;
  std::uint64_t deadline_ms = 0;  // 0 = none
  std::uint64_t idle_ms = 0;      // 0 = none
  std::uint64_t lock_timeout_ms = 5'000;
  bool deadlock_search = true;
  bool lock_ordered = false;   // kLOCK_ORDER instead of a wait for a row that comes before one held
  bool heat = true;            // lock at first touch what conflicts often (serializable)
  Session* session = nullptr;  // runs inside of its locks: they stay until this has ended
  std::string label;
};

// How one call locks.
struct LockRule {
  lock::Mode mode = lock::Mode::kExclusive;
  bool wait = true;              // false: kLOCKED at once
  bool strict = false;           // exact order of arrival
  std::uint64_t timeout_ms = 0;  // 0: the transaction's
};

struct LockWanted {
  Table* table;
  Bytes key;
  lock::Mode mode;
};

// A row as a transaction sees it; bytes are valid until the transaction ends.
struct RowView {
  Bytes value;
  Csn version = 0;  // 0: written by this transaction
  std::uint64_t expires_ms = 0;
  std::uint8_t flags = 0;
};

// What stood in the way, for the error report.
struct Obstacle {
  TableId table = 0;  // data id
  std::string key;
  Csn other_csn = 0;
  bool range = false;  // a range that begins at `key`, not that row
  std::string other_label;
  std::uint64_t other_pid = 0;
  std::uint64_t other_age_ms = 0;
};

class RowCursor;

class Transaction {
 public:
  explicit Transaction(std::shared_ptr<Database> database) noexcept;
  ~Transaction();  // aborts
  Transaction(const Transaction&) = delete;

  // Requires: not running.
  Status begin(const TxnOptions& options);
  Status restart();  // begin with the options it had; as old as before in the eyes of a deadlock
  bool running() const noexcept { return state_ == State::kRunning; }

  Status get(Table& table, Bytes key, RowView* row);  // kNOT_FOUND
  // The same at the point of the get() just before, also when read committed: the further rows of one multi-get.
  Status get_more(Table& table, Bytes key, RowView* row) {
    if (Status status = enter(); !status.ok()) return status;
    TableId data_id;
    if (Status status = resolve(table, &data_id); !status.ok()) return status;
    bool found = false;
    Status status = read(data_id, key, Track::kByLevel, Code::kCONFLICT, row, &found);
    return status.ok() && !found ? Status(Code::kNOT_FOUND) : std::move(status);
  }
  Status put(Table& table, Bytes key, Bytes value, std::uint64_t ttl_ms);
  Status insert(Table& table, Bytes key, Bytes value, std::uint64_t ttl_ms);  // kEXISTS
  Status update(Table& table, Bytes key, Bytes value, std::uint64_t ttl_ms);  // kNOT_FOUND
  Status put_if_version(Table& table, Bytes key, Bytes value, Csn version, std::uint64_t ttl_ms);
  Status remove(Table& table, Bytes key);  // kNOT_FOUND
  Status erase(Table& table, Bytes key);
  // Checks that hold now and are validated at commit at every level.
  Status check_version(Table& table, Bytes key, Csn version);  // kVERSION_MISMATCH

  // locking.cc. Blocks as the rule says. Locks stay until the transaction is visible or aborted. kLOCKED,
  // kLOCK_TIMEOUT, kLOCK_ORDER, kLOCK_TABLE_FULL: nothing changed; kDEADLOCK, kEXPIRED, kCANCELLED: it has ended.
  // lock_report() tells who was in the way.
  Status lock(Table& table, Bytes key, const LockRule& rule);
  // In canonical order, all or none; the rule's mode is not used.
  Status lock_many(const std::vector<LockWanted>& wanted, const LockRule& rule);
  // Locks, then reads the newest commit of the row: moves the snapshot forward where that is needed. kCONFLICT, and the
  // transaction has ended, when something it read before has changed. An absent row is locked too: kNOT_FOUND.
  Status get_locked(Table& table, Bytes key, const LockRule& rule, RowView* row);
  // The same for rows of one table, locked in canonical order, all or none. rows[i].version 0 and found[i] false:
  // absent. With `skip`, rows that others hold are left out instead: locked[i] false.
  Status get_many_locked(Table& table, const std::vector<Bytes>& keys, const LockRule& rule, bool skip,
                         std::vector<RowView>* rows, std::vector<bool>* found, std::vector<bool>* locked);
  // Reads the newest commit of the row; where `holds` says so of it (null: absent), locks it and asks again. *locked
  // says whether both answers were yes; else the row is as read at the snapshot. kNOT_FOUND as get().
  Status lock_if(Table& table, Bytes key, const LockRule& rule, const std::function<bool(const RowView*)>& holds,
                 RowView* row, bool* locked);
  const lock::Report& lock_report() const noexcept { return lock_report_; }
  // Locks rows, by the numbers of their tables' rows, that an earlier attempt met a conflict in. Requires: nothing was
  // read yet.
  Status lock_ahead(const std::vector<std::pair<TableId, std::string>>& rows);
  std::uint64_t number() const noexcept { return owner_ != nullptr && owner_->active() ? owner_->number() : 0; }

  // counters.cc. A counter is a row with kFlagCounter and eight bytes. Absent: 0.
  // Adds at commit, to whatever it is then; the sum has to stay in [min, max]: kOUT_OF_RANGE, now (nothing changed) or
  // at commit. kWRONG_TYPE: the row is no counter.
  Status add(Table& table, Bytes key, std::int64_t delta, std::int64_t min, std::int64_t max);
  Status counter_set(Table& table, Bytes key, std::int64_t value);
  // At the snapshot, with own adds; a dependency as any read. kNOT_FOUND.
  Status counter_get(Table& table, Bytes key, std::int64_t* value);
  // What the counter stood at right after this transaction's commit. Requires: committed. kNOT_FOUND: it did not add.
  Status counter_after(Table& table, Bytes key, std::int64_t* value) const;
  // Drops all rows with that data id; the catalog's own use.
  Status drop_rows(TableId data_id);

  Result<std::uint64_t> savepoint();
  Status rollback_to(std::uint64_t savepoint);
  Status release(std::uint64_t savepoint);

  // Ends the transaction. With `wait`, blocks until durable if the options ask for it; without, ticket() tells what
  // to wait for.
  Status commit(bool wait);
  void abort() noexcept;
  // Any thread, any time while the object lives.
  void cancel() noexcept {
    cancelled_.store(true, std::memory_order_release);
    if (lock::Owner* owner = owner_ptr_.load(std::memory_order_acquire); owner != nullptr) owner->interrupt();
  }
  bool cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }

  Csn snapshot_csn() const noexcept { return snapshot_; }
  Csn commit_csn() const noexcept { return commit_csn_; }  // 0: none or nothing written
  // Csn whose durability makes all that this transaction wrote, or saw, durable.
  Csn ticket() const noexcept { return commit_csn_ != 0 ? commit_csn_ : snapshot_; }
  const Obstacle& obstacle() const noexcept { return obstacle_; }
  const TxnOptions& options() const noexcept { return options_; }
  Database& database() const noexcept { return *database_; }

 private:
  friend class RowCursor;
  enum class State : std::uint8_t { kIdle, kRunning, kCommitted, kAborted };

  enum class Track : std::uint8_t { kByLevel, kAlways };

  // Start of every call: state, cancel, deadline, idle limit, too old. Ends the transaction when it says no.
  Status enter() { return may_go_on() ? Status() : enter_slow(); }
  // True: enter() would say yes. False: it has to look closer.
  bool may_go_on() const noexcept {
    return running() && !cancelled() && !limited_ &&
           (view_ == nullptr ||
            database_->shared().txn().too_old_below.load(std::memory_order_relaxed) <= view_->base_csn());
  }
  Status enter_slow();
  // Read committed: moves to the newest snapshot.
  Status begin_statement();
  Status enter_statement() {
    if (Status status = enter(); !status.ok()) return status;
    return options_.isolation == Isolation::kReadCommitted && view_ != nullptr ? begin_statement() : Status();
  }
  Status enter_write(Table& table, Bytes key, Bytes value, TableId* data_id);

  // Turns the table into the number of its rows at this snapshot. kNO_TABLE.
  Status resolve(Table& table, TableId* data_id) {
    if (&table == last_table_) {
      *data_id = last_data_id_;
      return {};
    }
    return resolve_slow(table, data_id);
  }
  Status resolve_slow(Table& table, TableId* data_id);
  Status resolve_at(const View& view, Csn snapshot, TableId id, TableId* data_id);
  Status resolve_in_base(TableId id, TableId* data_id);

  // Newest committed row at the snapshot. *found is false when it is absent or expired.
  Status read_row(const View& view, Csn snapshot, TableId table, Bytes key, std::uint64_t hash, RowView* row,
                  bool* found);
  Status read_base(const store::Snapshot& base, TableId table, Bytes key, std::uint64_t hash, RowView* row,
                   bool* found);
  // The version of the row that `segment` shows at `snapshot`, checked if reads are; *found: there is one.
  Status find_version(const overlay::Segment& segment, TableId table, Bytes key, std::uint64_t hash, Csn snapshot,
                      overlay::Version* version, bool* found) const {
    if (verify_) [[unlikely]]
      return find_verified(segment, table, key, hash, snapshot, version, found);
    *found = segment.find(table, key, hash, snapshot, version);
    return {};
  }
  static Status find_verified(const overlay::Segment& segment, TableId table, Bytes key, std::uint64_t hash,
                              Csn snapshot, overlay::Version* version, bool* found);
  // The row with own writes; notes it in the read set, always or as the level demands.
  Status read(TableId table, Bytes key, Track track, Code on_change, RowView* row, bool* found);
  Status match_version(TableId data_id, Bytes key, Csn version);
  bool expired(std::uint64_t expires_ms) noexcept;
  std::uint64_t now_ms() noexcept;
  bool tracks_reads() const noexcept { return !options_.read_only && options_.isolation == Isolation::kSerializable; }
  // `flags` is all that the row will have of them: what was there before adds nothing.
  Status write(TableId table, Bytes key, Bytes value, std::uint64_t ttl_ms, overlay::VersionKind kind,
               std::uint8_t flags = 0);
  void note_written(TableId table) noexcept;

  // counters.cc
  Status newest_counter(TableId table, Bytes key, std::uint64_t hash, CounterRow* row);
  Status read_counter(const View& view, Csn snapshot, TableId table, Bytes key, std::uint64_t hash,
                      std::uint64_t now_ms, CounterRow* row);
  Status add_to_own(TableId table, Bytes key, const RowWrite& own, std::int64_t delta, std::int64_t min,
                    std::int64_t max);
  Status read_through_add(const CounterAdd& add, RowView* row, bool* found);
  Status refuse_now(TableId table, Bytes key, Csn other, Status status);
  Status refuse_add(const PlannedAdd& refused);

  // locking.cc
  Status ensure_owner();
  void announce_limits(bool idle_counts) noexcept;
  lock::WaitRule wait_rule(const LockRule& rule) const noexcept;
  template <typename Acquire>
  Status with_owner(Acquire&& acquire);
  Status lock_failed(Status status);
  Status enter_lock(Table& table, Bytes key, const LockRule& rule, TableId* data_id);
  // Locks a row by the number of its table's rows. Reads nothing.
  Status lock_row(TableId table, Bytes key, std::uint64_t hash, const LockRule& rule);
  Status lock_rows(std::vector<lock::Request>& requests, const LockRule& rule);
  // Back to what was held before the last lock_row of that row.
  void restore_lock(TableId table, Bytes key, std::uint64_t hash, lock::Mode before) noexcept;
  lock::Mode held_lock(TableId table, Bytes key, std::uint64_t hash) const noexcept;
  // Requires: the row is locked. Makes the snapshot see the newest commit of it; see get_locked(). With try_ a
  // kCONFLICT does not end the transaction: its snapshot stays.
  Status see_newest(TableId table, Bytes key, std::uint64_t hash);
  Status try_see_newest(TableId table, Bytes key, std::uint64_t hash);
  Status lock_writes();
  bool writes_are_free() const noexcept;
  static lock::Mode write_mode(const RowWrite& write) noexcept {
    return write.add != nullptr ? lock::Mode::kIncrement : lock::Mode::kExclusive;
  }
  // As read(), without a trace in the read set.
  Status peek(TableId table, Bytes key, std::uint64_t hash, RowView* row, bool* found);
  void touch_hot(TableId table, Bytes key, std::uint64_t hash, lock::Mode mode);
  void note_conflict();
  // The answer of a transaction that passed its limits.
  Status expiry();

  // commit.cc, validate.cc
  struct CommitPlan;
  Status commit_writes();
  Status plan_commit(CommitPlan& plan);
  Status prepare_attempt(CommitPlan& plan);
  enum class Outcome : std::uint8_t { kDone, kOutdated, kLocked, kOverlayFull, kLogFull, kRefused };
  Result<Outcome> attempt_commit(CommitPlan& plan);
  Result<Outcome> commit_in_latch(CommitPlan& plan);
  Status publish(CommitPlan& plan);
  Status forward_snapshot();
  // Takes `view` for its own when nothing that was read has changed up to `newest`, which the view sees; else gives it
  // back. With keep_bytes, what was handed out before stays valid.
  Status move_snapshot(View* view, Csn newest, bool keep_bytes);
  // Csn of the newest commit of that row if it is newer than `after`, else 0. `segments` are newest first.
  static Csn newest_after(const std::vector<overlay::SegmentRef>& segments, TableId table, Bytes key,
                          std::uint64_t hash, Csn after);
  Status check_tables(CommitPlan& plan);
  Status validate(const std::vector<overlay::SegmentRef>& segments);
  Status prepare_adds(CommitPlan& plan);
  void name_other() noexcept;
  Status changed(TableId table, Bytes key, Csn other, Code code);
  Status wait_until_durable(Csn csn);
  Status wait_until_durable_or_cancelled(Csn csn);
  void end(State state) noexcept;
  Status finish_with(Status status) noexcept;  // aborts and passes the status on

  std::shared_ptr<Database> database_;
  TxnOptions options_;
  State state_ = State::kIdle;
  std::atomic<bool> cancelled_{false};
  std::uint64_t life_ = 0;        // counts begins; cursors of an earlier one are void
  const bool verify_;             // rows that are read are held against their checksums
  bool limited_ = false;          // a deadline or idle limit is set
  bool heat_ = false;             // rows that are hot are locked before they are read
  bool asked_for_locks_ = false;  // else what it holds, it holds by heat
  bool read_any_ = false;         // snapshot level: something was handed out that the snapshot must go on showing
  std::uint64_t age_ns_ = 0;      // when the first attempt took its first lock; 0: not yet
  View* view_ = nullptr;
  std::vector<View*> older_views_;  // read committed: earlier statements' views, kept for the bytes handed out
  std::shared_ptr<const store::Snapshot> own_base_;  // base_only
  Csn snapshot_ = 0;
  Csn commit_csn_ = 0;
  Csn first_snapshot_ = 0;    // oldest csn that anything here was read at
  Csn resolved_at_ = 0;       // the tables in touched_ were looked up at this csn or later
  std::uint64_t now_ms_ = 0;  // instant that decides expiry; 0 = not needed yet
  Deadline deadline_ = Deadline::never();
  std::uint64_t last_call_ns_ = 0;

  struct Touched {
    Table* table;
    TableId data_id;
    bool written;
    bool known;  // data_id holds at the snapshot; else it is kept for the check at commit only
  };
  Table* last_table_ = nullptr;
  TableId last_data_id_ = 0;
  std::vector<Touched> touched_;

  Arena arena_;  // keys and values of both sets
  ReadSet reads_{arena_};
  WriteSet writes_{arena_};
  Obstacle obstacle_;
  std::unique_ptr<lock::Owner> owner_;            // made by the first lock, kept
  std::atomic<lock::Owner*> owner_ptr_{nullptr};  // the same, for cancel()
  lock::Report lock_report_;
};

}  // namespace hf::txn
