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
#include <memory>
#include <string>
#include <vector>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/status.h"
#include "txn/database.h"
#include "txn/read_set.h"
#include "txn/write_set.h"

namespace hf::txn {

struct TxnOptions {
  Isolation isolation = Isolation::kSerializable;
  Durability durability = Durability::kDurable;
  bool read_only = false;
  bool base_only = false;
  bool read_durable = false;
  std::uint64_t deadline_ms = 0;  // 0 = none
  std::uint64_t idle_ms = 0;      // 0 = none
  std::string label;
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
  Status restart() { return begin(options_); }
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
  void cancel() noexcept { cancelled_.store(true, std::memory_order_relaxed); }
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
  Status read_base(const store::Snapshot& base, TableId table, Bytes key, RowView* row, bool* found);
  // The row with own writes; notes it in the read set, always or as the level demands.
  Status read(TableId table, Bytes key, Track track, Code on_change, RowView* row, bool* found);
  Status match_version(TableId data_id, Bytes key, Csn version);
  bool expired(std::uint64_t expires_ms) noexcept;
  std::uint64_t now_ms() noexcept;
  bool tracks_reads() const noexcept { return !options_.read_only && options_.isolation == Isolation::kSerializable; }
  Status write(TableId table, Bytes key, Bytes value, std::uint64_t ttl_ms, overlay::VersionKind kind);

  // commit.cc, validate.cc
  struct CommitPlan;
  Status commit_writes();
  Status plan_commit(CommitPlan& plan);
  Status prepare_attempt(CommitPlan& plan);
  enum class Outcome : std::uint8_t { kDone, kOutdated, kOverlayFull, kLogFull };
  Result<Outcome> attempt_commit(CommitPlan& plan);
  Result<Outcome> commit_in_latch(CommitPlan& plan);
  Status publish(CommitPlan& plan);
  Status forward_snapshot();
  Status check_tables(CommitPlan& plan);
  Status validate(const std::vector<overlay::SegmentRef>& segments);
  Status changed(TableId table, Bytes key, Csn other, Code code);
  Status wait_until_durable(Csn csn);
  void end(State state) noexcept;
  Status finish_with(Status status) noexcept;  // aborts and passes the status on

  std::shared_ptr<Database> database_;
  TxnOptions options_;
  State state_ = State::kIdle;
  std::atomic<bool> cancelled_{false};
  std::uint64_t life_ = 0;  // counts begins; cursors of an earlier one are void
  bool limited_ = false;    // a deadline or idle limit is set
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
};

}  // namespace hf::txn
