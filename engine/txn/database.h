// SPDX-License-Identifier: Apache-2.0
// Layer `txn`: snapshots, read and write sets, validation, commit, retry, and the upkeep that keeps commits cheap. May
// include everything below (`base`, `platform`, `log`, `overlay`, `store`, `lock`); used by `catalog` and above.
//
//   database.h     one open engine of this process         transaction.h  begin, read, write, commit
//   open.cc        join or recover, leave                  commit.cc      the commit protocol
//   maintenance.cc merge, sweep, flush of relaxed commits  validate.cc    what changed since the snapshot
//   figures.cc     statistics, who is there, lines for the operator
//   views.h        snapshots and pins                      row_cursor.h   ranges over write set, overlay and base
//   transact.h     retry                                   bulk_load.h    sorted rows past the log
//
// Lock order (docs/locking.md): maintainer role, flush latch, commit latch, then process-local leaves.
//
// A Database is shared by all opens of its directory in a process. Thread contract: everything here may be called by
// any thread, unless a function says otherwise.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/status.h"
#include "lock/lock.h"
#include "log/log.h"
#include "overlay/overlay.h"
#include "platform/latch.h"
#include "platform/liveness.h"
#include "platform/region.h"
#include "store/store.h"
#include "txn/shared.h"
#include "txn/views.h"

namespace hf::txn {

enum class Isolation : std::uint8_t { kSerializable = 1, kSnapshot = 2, kReadCommitted = 3 };
enum class Durability : std::uint8_t { kDurable = 1, kRelaxed = 2 };

// Rows of the system table are the catalog's; `txn` knows only how to turn a table's id into the id of its rows.
inline constexpr TableId kSystemTable = 1;
inline constexpr TableId kFirstUserTable = 16;

// How much a line for the operator matters.
enum class Severity : int { kInfo = 1, kWarning = 2, kError = 3 };
using MessageFunction = void (*)(int severity, const char* text, void* context);

struct DatabaseOptions {
  std::string label;
  std::string memory_directory;  // empty: beside the data
  bool create = true;
  bool join_only = false;  // kBUSY when nobody else has it open: nothing is recovered or made
  bool background_thread = true;
  bool verify_reads = false;  // every row read is held against its checksum
  std::uint64_t map_size = std::uint64_t{1} << 40;
  std::uint64_t overlay_bytes_max = 256u << 20;
  std::uint64_t log_segment_size_max = 64u << 20;
  std::uint64_t log_keep_bytes = 0;  // of log segments that are in the base already
  std::uint64_t txn_bytes_max = 64u << 20;
  std::uint64_t open_timeout_ms = 30'000;
  std::uint64_t overload_timeout_ms = 10'000;
  std::uint64_t flush_interval_ms = 100;
  std::uint64_t merge_interval_ms = 1'000;
  std::uint64_t sweep_interval_ms = 1'000;
  std::uint64_t txn_deadline_ms = 0;  // 0 = none
  std::uint64_t txn_idle_ms = 0;
  std::uint64_t lock_timeout_ms = 5'000;
  std::uint32_t locks_max = 65'536;  // units; rows with keys of more than 80 bytes take several
  bool deadlock_search = true;
  bool lock_ordered = false;
  bool heat = true;
  Isolation isolation = Isolation::kSerializable;
  Durability durability = Durability::kDurable;
  std::uint32_t tables_max = 1000;
  MessageFunction on_message = nullptr;  // called by any thread, one at a time; must not call the engine
  void* message_context = nullptr;
};

// A table as transactions use it. Made by the catalog, lives as long as the Database.
struct Table {
  TableId id = 0;
  // data_id is the table number of its rows as of every snapshot >= valid_csn, as long as TxnShared::system_csn is
  // still valid_csn. valid_csn is stored last (release).
  std::atomic<TableId> data_id{0};
  std::atomic<Csn> valid_csn{kCsnMax};
};

struct DatabaseStats {
  std::uint32_t processes;
  Csn published, durable, applied;
  std::uint64_t commits, conflicts, merges, rows_swept, takeovers;
  std::uint64_t transactions_open, private_bytes;
  Csn oldest_pin;
  std::uint64_t oldest_pin_age_ms, oldest_pin_pid;
  log::LogStats log;
  overlay::OverlayStats overlay;
  store::StoreStats store;
  lock::LockStats locks;
  Times durable_waits, merge_times;
};

// One process that has the database open.
struct ProcessInfo {
  std::uint32_t slot = 0;
  std::uint64_t pid = 0;
  std::uint64_t opened_ms = 0;
  std::string label;
  std::uint64_t pins = 0;  // that transactions hold
  Csn oldest_pin = 0;      // 0: none
  std::uint64_t oldest_pin_age_ms = 0;
  std::uint64_t locks_held = 0, locks_waiting = 0;
  bool is_self = false;
  bool is_maintainer = false;
};

// The pinned party that keeps the overlay from being freed, for reports.
struct OldestPin {
  Csn base = kCsnMax;  // kCsnMax: there is none
  std::uint64_t pid = 0;
  std::uint64_t age_ms = 0;
  std::string label;
};

class Database : public std::enable_shared_from_this<Database> {
 public:
  // Opens or joins; the same directory in one process gives the same object. Blocks on the disk and on other openers.
  static Result<std::shared_ptr<Database>> open(const std::string& path, const DatabaseOptions& options);
  // Runs `body` on the base of a database that is open here, elsewhere or nowhere. It may take snapshots, all of which
  // have to end with it; nothing may be written. Holds the gate where it is not open here, so `body` has to be short.
  static Status with_base(const std::string& path, Deadline deadline, const std::function<Status(store::Store&)>& body);
  ~Database();  // leaves; the last process merges everything and removes the shared memory
  Database(const Database&) = delete;

  const DatabaseOptions& options() const noexcept { return options_; }
  const std::string& path() const noexcept { return path_; }
  const std::string& memory_path() const noexcept { return memory_path_; }  // directory of the shared memory

  // Whether this process is a fork of the one that opened.
  bool forked() const noexcept;

  // --- used by transactions -----------------------------------------------------------------------------------
  SharedRegion shared() const noexcept { return shared_; }
  log::Log& log() const noexcept { return *log_; }
  overlay::Overlay& overlay() const noexcept { return *overlay_; }
  store::Store& store() const noexcept { return *store_; }
  lock::LockTable& locks() const noexcept { return *locks_; }
  Views& views() const noexcept { return *views_; }
  std::uint64_t txn_bytes_max() const noexcept { return shared_.header().txn_bytes_max; }

  // Takes the commit latch, and finishes what a killed owner left. kFAILED when the log has failed.
  Status enter_commit(Deadline deadline);
  void leave_commit() noexcept { commit_latch_->release(); }
  // After a lock was taken: commits that looked at the lock table before are over when this returns. Two loads, but for
  // the microsecond that somebody is in the commit latch. Codes as enter_commit().
  Status pass_commits();

  // Waits until the overlay may have room for `bytes`: wakes the maintainer or does its work. Calls `between` before
  // each short sleep and gives up when it fails. kOVERLOADED at the deadline, naming the oldest pin.
  Status wait_for_room(std::uint64_t bytes, Deadline deadline, const std::function<Status()>& between);
  // Asks for upkeep soon; cheap.
  void request_maintenance() noexcept;
  // Called when a transaction ended, by processes without a thread of their own.
  void transaction_ended() noexcept;
  // Names this life of this process in a row, and tells whether such a life still runs.
  std::string process_mark() const;
  platform::OwnerId me() const noexcept { return liveness_.me(); }
  bool mark_alive(Bytes mark) const noexcept;
  void count_conflict() noexcept { shared_.txn().conflicts.fetch_add(1, std::memory_order_relaxed); }

  // --- upkeep -------------------------------------------------------------------------------------------------
  // One pass of what is due; with merge_all, everything committed so far is in the base afterwards. kBUSY: somebody
  // else is at it.
  Status maintain(bool merge_all);
  // The maintainer role, for bulk loads: may be held across calls and threads.
  Status take_role(Deadline deadline);
  void leave_role() noexcept { role_latch_->release(); }
  // Requires: the role. The base changed: new views have to see it.
  void base_changed() noexcept;
  // Requires: the role. Merges every sealed segment.
  Status merge_sealed();
  OldestPin oldest_pin() const;
  Result<DatabaseStats> stats();
  // Everybody who has it open, by slot. Stops the lock table for about a millisecond.
  std::vector<ProcessInfo> processes() const;
  // A line for the operator, when somebody asked for them. Never under the commit latch.
  void tell(Severity severity, const std::string& text) noexcept;
  void tell_trouble(const Status& status) noexcept;
  // An eventfd that is written when commits of this process became durable; starts the thread that flushes for it.
  Result<int> event_fd();
  // Tells the event thread that a ticket waits for `csn`.
  void ticket_issued(Csn csn) noexcept;

 private:
  friend class Opening;
  Database(std::string path, DatabaseOptions options);

  // maintenance.cc; all require the role unless said otherwise
  Status pass(bool merge_all);
  Status seal_active();
  bool merged_segments_wait() const noexcept;
  Status merge_active();
  Status merge_segment(const overlay::Segment& segment);
  Status merge_rows(const overlay::Segment& segment, Csn last);
  static Status put_rows(const overlay::Segment& segment, Csn applied, Csn last, store::Merge& merge);
  Status free_segments();
  Status sweep_if_due();
  Status prepare_segments(std::uint64_t bytes);
  void ask_old_pins_to_leave() noexcept;
  void flush_relaxed();     // needs no role
  void maintenance_loop();  // needs no role
  void event_loop();
  Status repair_commit();  // requires: the commit latch
  void stop_threads() noexcept;
  void leave() noexcept;
  void close_event_fd() noexcept;

  std::string path_;
  DatabaseOptions options_;
  std::uint64_t fork_generation_;
  std::string memory_path_;  // where the shared memory files are
  platform::DirectoryId directory_id_{};
  bool failed_open_ = false;

  platform::Liveness liveness_;
  platform::Region region_;
  SharedRegion shared_;
  std::unique_ptr<platform::RobustLatch> commit_latch_;
  std::unique_ptr<platform::RobustLatch> role_latch_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<overlay::Overlay> overlay_;
  std::unique_ptr<log::Log> log_;
  std::unique_ptr<lock::LockTable> locks_;
  std::unique_ptr<Views> views_;

  // Upkeep state of this process; touched with the role held only, whose latch orders the accesses.
  std::uint64_t merge_due_since_ns_ = 0;  // unmerged commits were first seen then; 0 = there are none
  std::uint64_t quiet_since_ns_ = 0;      // no commit since
  Csn merge_seen_csn_ = 0;
  std::uint64_t swept_at_ns_ = 0;
  std::uint64_t readers_checked_at_ns_ = 0;

  std::mutex message_mutex_;                    // one line at a time; leaf
  std::atomic<std::uint64_t> repairs_{0};       // commit latches taken over from killed processes
  std::atomic<std::uint32_t> trouble_told_{0};  // code of the failure that was told last

  std::atomic<bool> stopping_{false};
  std::thread maintenance_thread_;

  std::mutex event_mutex_;  // guards the fields below; leaf
  std::condition_variable event_wanted_;
  std::thread event_thread_;
  int event_fd_ = -1;
  std::atomic<Csn> ticket_csn_{0};  // newest ticket given out
};

}  // namespace hf::txn
