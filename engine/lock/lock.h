// SPDX-License-Identifier: Apache-2.0
// Layer `lock`: row locks between transactions of all processes; waiting, hand-over, deadlocks, reports, heat. May
// include `base` and `platform`; used by `txn`.
//
//   format.h     what lies in shared memory          acquire.cc   admission, upgrade, lists of rows
//   lock.h       this: LockTable, Owner              wait.cc      a wait and its end
//   table.cc     make, attach, pools                 release.cc   release, hand-over, repair
//   owner.cc     lives of owners                     reap.cc      taking back from the dead and the expired
//   deadlock.cc  search for a cycle                  list.cc      who holds and wants what
//   heat.h       which rows conflict often           impl.h, admission.h  inside of the layer
//
// States of a request (docs/locking.md has the picture):
//
//   unused --admitted--> granted --release--> unused
//   unused --conflict--> waiting --hand-over, or woken and free--> granted
//                        waiting --timeout, cancel, deadlock, expiry--> unused
//   granted --upgrade that conflicts--> upgrading --others left--> granted
//
// Lock order: a bucket's latch is a leaf but for the file that a chunk is reserved in; no thread holds two, except
// LockTable::list, which takes all of them in order of number.
//
// Fairness. A free row is taken by who asks (barging). Whoever releases it hands it to the first sleeper instead when
// that one asked for strict order, or has slept for kBargeNs and none was handed to in the last kHandOverEveryNs, or
// has slept for kBargeMaxNs. The pause between hand-overs keeps a hot row from being idle for a wake-up in each turn;
// the last limit bounds the wait. Waiters stand in order of arrival.
//
// Source of the modes and of waiting by hand-over: Gray and Reuter, "Transaction Processing" (1993), chapters 7 and 8.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/status.h"
#include "lock/format.h"
#include "platform/liveness.h"
#include "platform/region.h"

namespace hf::lock {

inline constexpr TableId kNames = 0;  // the "table" of session locks

// A row, by the number of its table's rows.
struct Row {
  TableId table;
  Bytes key;
  std::uint64_t hash;  // row_hash(table, key)
};

struct Request {
  Row row;
  Mode mode;
};

// How a call waits.
struct WaitRule {
  bool wait = true;                              // false: kLOCKED at once
  bool strict = false;                           // exact order of arrival, no barging
  bool search = true;                            // look for deadlocks
  bool ordered = false;                          // a wait for a row that comes before one held is kLOCK_ORDER
  std::uint64_t timeout_ms = 5'000;              // kLOCK_TIMEOUT after it; UINT64_MAX: none
  const std::atomic<bool>* cancelled = nullptr;  // kCANCELLED when it becomes true; Owner::interrupt() makes it seen
};

// One owner's part in a row, for reports and listings.
struct Party {
  TableId table = 0;
  std::string key;
  Mode held = Mode::kNone;
  Mode wanted = Mode::kNone;  // kNone: does not wait
  platform::OwnerId process = 0;
  std::uint64_t number = 0;  // of the transaction or session; unique while the database is open
  std::uint64_t pid = 0;
  std::uint64_t thread = 0;    // Linux thread id that began it
  std::string label;           // its own, or its process's
  std::uint64_t since_ms = 0;  // how long it has held (when it does not wait) or waited
  bool session = false;
  bool expired = false;
};

// Why a lock was not given.
struct Report {
  Request wanted{};  // the row that was refused; the key's bytes are `key`
  std::string key;
  Mode held = Mode::kNone;  // what the caller held of it
  std::uint64_t waited_ms = 0;
  Party other;               // who was in the way; number 0: nobody known
  std::vector<Party> cycle;  // kDEADLOCK: each waits for the next one's row, the last for the first one's
};

struct LockStats {
  std::uint64_t locks_max, units_in_use, owners_in_use;
  std::uint64_t waits, timeouts, deadlocks, handovers, expiries, takeovers, longest_wait_ns, waited_ns;
  std::uint64_t hot_cells;
  Times wait_times;
};

class LockTable;

// A transaction's or session's locks. One thread at a time; interrupt() from any. Memory of its own is kept between
// uses, so that a begin and end without locks costs nothing and one lock no allocation.
class Owner {
 public:
  explicit Owner(LockTable& table) noexcept : table_(&table) {}
  ~Owner();  // ends
  Owner(const Owner&) = delete;

  bool active() const noexcept { return active_; }  // began and did not end
  bool holds_any() const noexcept { return !held_.empty(); }
  std::size_t held_count() const noexcept { return held_.size(); }
  // Of a row; kNone when nothing is held.
  Mode held(const Row& row) const noexcept;
  std::uint64_t number() const noexcept { return number_; }

  // Starts a life. kLIMIT when all owner rows are taken. Requires: not active.
  Status begin(const std::string& label, std::uint64_t began_ns, bool session, const Owner* inside_of);
  // Gives every lock back and ends the life. Never blocks but for latches.
  void end() noexcept;

  // When others may take the locks away; UINT64_MAX: never. Any time while active.
  void set_expiry(std::uint64_t at_ns) noexcept;
  // Whether somebody has. Then nothing is held any more and nothing can be: end().
  bool expired() const noexcept;
  std::uint64_t expired_by_pid() const noexcept;
  // Guards the locks against expiry from here to end(); again is fine. False: expired already.
  bool start_commit() noexcept;

  // Makes a wait look at what ended it. Async-signal-safe, any thread, any time while the object lives.
  void interrupt() noexcept;

 private:
  friend class LockTable;
  friend struct Inside;
  struct Held {
    UnitRef unit;
    TableId table;
    std::uint64_t hash;
    Mode mode;
  };
  static constexpr std::size_t kIndexMin = 16;  // from here on rows are found by an index
  static constexpr std::size_t kSpareMax = 64;  // units kept for the next locks, where the table is not small

  int find(const Row& row) const noexcept;  // index into held_, or -1
  void add_held(const Held& held);
  void remove_held(std::size_t position) noexcept;
  void rebuild_index();
  void index_held(std::size_t position) noexcept;

  LockTable* table_;
  std::atomic<OwnerRow*> row_{nullptr};  // kept from the first begin on
  OwnerRef ref_ = 0;
  std::uint64_t life_ = 0;
  std::uint64_t number_ = 0;
  bool active_ = false;
  bool limited_ = false;  // others may take the locks away
  std::vector<Held> held_;
  std::vector<std::uint32_t> index_;  // open addressing over held_, positions plus one; empty while held_ is small
  std::vector<UnitRef> spare_;
};

class LockTable {
 public:
  // See "Fairness" above.
  static constexpr std::uint64_t kBargeNs = 600'000;
  static constexpr std::uint64_t kHandOverEveryNs = 60'000;
  static constexpr std::uint64_t kBargeMaxNs = 1'300'000;
  // Whether a sleeper must not be passed now.
  static bool is_due(const Bucket& bucket, std::uint64_t since_ns, std::uint64_t now) noexcept {
    const std::uint64_t waited = now > since_ns ? now - since_ns : 0;
    if (waited <= kBargeNs) return false;
    const std::uint64_t handed = bucket.handed_ns.load(std::memory_order_relaxed);
    return waited > kBargeMaxNs || now > handed + kHandOverEveryNs;
  }

  // The first opener's: makes the file. locks_max is rounded up to whole chunks. Requires: the gate.
  static Result<std::unique_ptr<LockTable>> create(const std::string& path, const platform::Liveness& liveness,
                                                   std::uint32_t locks_max);
  static Result<std::unique_ptr<LockTable>> attach(const std::string& path, const platform::Liveness& liveness,
                                                   const platform::ProcessSlot* slots);
  void set_slots(const platform::ProcessSlot* slots) noexcept { slots_ = slots; }
  ~LockTable();  // gives this process's chunks back. Requires: no Owner lives.

  // Locks a row, or upgrades what the owner holds of it. Blocks as the rule says.
  //   kLOCKED         the rule says not to wait
  //   kLOCK_TIMEOUT   not had in time
  //   kDEADLOCK       waiting would never have ended; of all in the cycle the owner began last
  //   kLOCK_ORDER     the rule forbids this wait
  //   kCANCELLED, kEXPIRED (the owner passed its limits)
  //   kLOCK_TABLE_FULL, kDISK_FULL
  // On failure the owner holds what it held before. `report` may be null. Requires: active.
  Status acquire(Owner& owner, const Request& request, const WaitRule& rule, Report* report);
  // All of them or none. `requests` are brought into canonical order (table, key), rows named twice are folded.
  Status acquire_all(Owner& owner, std::vector<Request>& requests, const WaitRule& rule, Report* report);
  // Gives one row back, with what waits granted. kNOT_FOUND when it is not held.
  Status release(Owner& owner, const Row& row);
  // Back to what was held before an acquire: kNone releases.
  void restore(Owner& owner, const Row& row, Mode before) noexcept;

  // Whether `owner` (null: nobody) could write the row now without waiting: nobody else holds it in an incompatible
  // mode. Never blocks; kMaybeLocked also when it could not be told. Whoever locks from now on is not seen: see
  // docs/locking.md, "Writes without a lock".
  enum class Probe : std::uint8_t { kFree, kMaybeLocked };
  Probe probe(const Owner* owner, const Row& row, Mode mode) const noexcept;
  void prefetch(std::uint64_t hash) const noexcept { __builtin_prefetch(&region_.bucket(hash)); }

  // Takes back everything that dead processes hold. Blocks but for latches; cheap when nobody died.
  void reap() noexcept;
  // Everybody who holds or waits, as of one moment: stops the table for about a millisecond.
  std::vector<Party> list() const;
  // Whether the lists hold together; `offset` is in the file. Takes no latch and changes nothing. `found` answers false
  // to stop.
  void check(const std::function<bool(std::uint64_t offset, const std::string& text)>& found) const;
  LockStats stats() const noexcept;
  LockShared& shared() const noexcept { return region_.shared(); }
  LockRegion region() const noexcept { return region_; }

 private:
  friend class Owner;
  friend struct Inside;  // impl.h
  // table.cc
  Status grow_units();
  Status take_units(std::vector<UnitRef>& units, std::size_t count);
  void give_units(std::vector<UnitRef>& units, std::size_t keep) noexcept;
  void give_chunks() noexcept;
  Status take_owner_row(OwnerRef* ref);
  void reap_process(platform::OwnerId process) noexcept;
  // acquire.cc, release.cc
  Status lock_row(Owner& owner, const Request& request, const WaitRule& rule, Report* report);
  Status upgrade(Owner& owner, std::size_t position, const Request& request, const WaitRule& rule, Report* report);
  class Wait;
  Status wait(Owner& owner, UnitRef ref, const Request& request, Mode before, const WaitRule& rule, Report* report);
  void give_back(Owner& owner, const Owner::Held& held) noexcept;
  LockTable(platform::Region region, std::string path, const platform::Liveness& liveness);

  platform::Region mapped_;
  LockRegion region_;
  std::string path_;
  const platform::Liveness* liveness_;
  const platform::ProcessSlot* slots_ = nullptr;
  std::uint32_t units_max_ = 0;
  std::size_t spare_max_ = 0;  // units that each owner keeps

  mutable std::mutex pool_mutex_;  // guards the two below; leaf
  std::vector<UnitRef> free_units_;
  std::vector<OwnerRef> free_owners_;
};

}  // namespace hf::lock
