// SPDX-License-Identifier: Apache-2.0
// The commit protocol; its steps are those of docs/architecture.md, "Commit".
//
//   plan      code the changes into a log record, sum up the space they need           no latch
//   prepare   tables still there? segments to validate in, room in overlay and log     no latch; may wait
//   attempt   under the commit latch: validate, append, insert, publish                no wait, no page fault, no
//   failure
//   wait      until the record is on the device                                        no latch
//
// An attempt that finds its preparation outdated (a rotation, a full ring, a changed catalog) leaves the latch and
// starts over at `prepare`. So does one that finds a row of its write set locked by somebody else, after it has locked
// all of them in canonical order. Rows that nobody has locked are not locked for the moment in the latch: who locks
// them then waits for that moment to end (Database::pass_commits; docs/locking.md, "Writes without a lock").
#include <cassert>

#include "base/probe.h"
#include "platform/plant.h"
#include "platform/test_point.h"
#include "txn/committers.h"
#include "txn/record.h"
#include "txn/transaction.h"

namespace hf::txn {
namespace {

using platform::reach;

// More reads than this are validated once before the latch is taken, so that doomed commits never take it.
constexpr std::size_t kPrevalidateMin = 32;

}  // namespace

struct Transaction::CommitPlan {
  std::vector<overlay::Change> changes;
  Bytes body;
  std::uint64_t space = 0;
  bool system = false;                    // writes the system table
  Deadline deadline = Deadline::never();  // for room

  std::uint64_t view_version = 0;
  Csn system_csn = 0;  // tables were checked under this one
  const std::vector<overlay::SegmentRef>* segments = nullptr;
  std::vector<overlay::SegmentRef> own_segments;
  bool direct = false;

  bool locked = false;  // all rows of the write set

  std::vector<PlannedAdd> adds;         // to counters
  const PlannedAdd* refused = nullptr;  // the one that cannot be carried out
  std::uint64_t now_ms = 0;             // decides, for one attempt, which counters have expired
  CommitterLabel label{};
};

Status Transaction::commit(bool wait) {
  if (Status status = enter(); !status.ok()) return status;
  if (writes_.empty()) {
    const Csn seen = snapshot_;
    end(State::kCommitted);
    return options_.read_durable && wait ? wait_until_durable(seen) : Status();
  }
  // From here on its limits cannot take its locks away any more.
  if (limited_ && owner_ != nullptr && owner_->active() && !owner_->start_commit()) return finish_with(expiry());
  if (platform::planted(platform::Plant::kLockReleasedEarly) && owner_ != nullptr && owner_->active()) owner_->end();
  if (Status status = commit_writes(); !status.ok()) {
    // Nothing is visible yet; a wait for room that ended is one thing to the caller, whatever was full.
    if (status.code() == Code::kTIMEOUT) status = Status(Code::kOVERLOADED, status.message());
    if (status.code() == Code::kCONFLICT) note_conflict();
    return finish_with(std::move(status));
  }
  end(State::kCommitted);  // visible; what it pinned is not needed while the disk works
  return wait && options_.durability == Durability::kDurable ? wait_until_durable(commit_csn_) : Status();
}

Status Transaction::commit_writes() {
  CommitPlan plan;
  if (Status status = plan_commit(plan); !status.ok()) return status;
  for (;;) {
    if (cancelled()) return Code::kCANCELLED;
    if (Status status = prepare_attempt(plan); !status.ok()) return status;
    reach("commit.prepared");
    Result<Outcome> outcome = attempt_commit(plan);
    if (!outcome.ok()) return std::move(outcome).status();
    Status status;
    switch (outcome.value()) {
      case Outcome::kDone:
        return {};
      case Outcome::kOutdated:
        break;
      case Outcome::kLocked:
        status = lock_writes();
        plan.locked = true;
        break;
      case Outcome::kRefused:
        return refuse_add(*plan.refused);
      case Outcome::kOverlayFull:
        // What this transaction pins may be just what has to be freed: keep moving its snapshot up while waiting.
        status = database_->wait_for_room(plan.space, plan.deadline, [this] {
          const Status forwarded = forward_snapshot();
          return forwarded.ok() ? enter() : forwarded;  // cancelled or past its deadline meanwhile?
        });
        break;
      case Outcome::kLogFull:
        status = database_->log().make_room(plan.body.size(), plan.deadline);
        break;
    }
    if (!status.ok()) return status;
  }
}

Result<Transaction::Outcome> Transaction::attempt_commit(CommitPlan& plan) {
  log::Log& log = database_->log();
  if (plan.direct) {
    if (Status status = log.lock_direct(plan.body.size(), plan.deadline); !status.ok()) return status;
  }
  Result<Outcome> outcome = Outcome::kOutdated;
  if (Status status = database_->enter_commit(plan.deadline); status.ok()) {
    outcome = commit_in_latch(plan);
    database_->leave_commit();
  } else {
    outcome = std::move(status);
  }
  if (plan.direct) log.unlock_direct();
  return outcome;
}

Status Transaction::plan_commit(CommitPlan& plan) {
  plan.deadline = Deadline::after_ms(database_->options().overload_timeout_ms);
  plan.changes.reserve(writes_.size());
  for (const auto& [row, write] : writes_.rows()) {
    if (!write.live) continue;
    plan.changes.push_back({row.table, row.key, write.hash, write.kind, write.flags, write.expires_ms, write.value});
    if (write.add == nullptr) plan.changes.back().content = content_of(plan.changes.back());
    plan.space += overlay::Overlay::space_of(row.key.size(), write.value.size());
    plan.system |= row.table == kSystemTable;
    if (write.add != nullptr) plan.adds.push_back({write.add, &plan.changes.back(), {}, {}, {}});
  }
  std::vector<RecordPlace> places;
  plan.body = encode_record(plan.changes, wall_ms(), plan.adds.empty() ? nullptr : &places);
  for (PlannedAdd& add : plan.adds) {
    add.place = places[static_cast<std::size_t>(add.change - plan.changes.data())];
    add.change->value = Bytes(add.place.value, add.change->value.size());
  }
  plan.label = committer_label(options_.label);
  plan.direct = plan.body.size() > log::kDirectSizeMin;
  return {};
}

Status Transaction::prepare_attempt(CommitPlan& plan) {
  if (Status status = check_tables(plan); !status.ok()) return status;
  const TxnShared& shared = database_->shared().txn();
  plan.view_version = shared.view_version.load(std::memory_order_acquire);
  if (plan.view_version == view_->version() && older_views_.empty()) {
    plan.segments = &view_->segments();
  } else if (!reads_.empty() || !plan.adds.empty() || options_.isolation == Isolation::kSnapshot) {
    // Segments came or went since the snapshot. All with commits after it are still there: the view pins them.
    Result<std::vector<overlay::SegmentRef>> segments = database_->overlay().segments_after(first_snapshot_);
    if (!segments.ok()) return std::move(segments).status();
    plan.own_segments = std::move(segments).value();
    plan.segments = &plan.own_segments;
  } else {
    plan.segments = &plan.own_segments;  // nothing to validate
  }
  if (reads_.rows().size() + reads_.ranges().size() >= kPrevalidateMin) {
    if (Status status = validate(*plan.segments); !status.ok()) {
      database_->count_conflict();
      return status;
    }
  }
  plan.now_ms = wall_ms();
  if (!plan.adds.empty()) {
    if (Status status = prepare_adds(plan); !status.ok()) return status;
  }
  return database_->overlay().touch_ahead(plan.space);
}

// What the latch has no time for: the rows that only the base has. The look-up is done here as well, so that the one
// inside finds everything in the cache, and adds that cannot be carried out never take the latch.
Status Transaction::prepare_adds(CommitPlan& plan) {
  for (PlannedAdd& add : plan.adds) {
    const overlay::Change& row = *add.change;
    Status status = read_counter(*view_, snapshot_, row.table, row.key, row.hash, plan.now_ms, &add.at_snapshot);
    if (!status.ok()) return status;
  }
  const Csn published = database_->shared().txn().published_csn.load(std::memory_order_acquire);
  const PlannedAdd* refused = look_up_adds(plan.adds, *plan.segments, snapshot_, published, plan.now_ms, verify_);
  if (refused == nullptr) return {};
  // A conflict goes first: it may be the reason, and can be mended by a new attempt.
  if (Status status = validate(*plan.segments); !status.ok()) {
    database_->count_conflict();
    return status;
  }
  return refuse_add(*refused);
}

// Moves the snapshot to the newest commit, which is allowed when nothing that was read has changed since: the
// transaction is then the same as one that had begun only now. Bytes handed out before are void afterwards.
Status Transaction::forward_snapshot() {
  Csn newest = 0;
  Result<View*> view = database_->views().acquire(&newest);
  return view.ok() ? move_snapshot(view.value(), newest, false) : std::move(view).status();
}

Status Transaction::move_snapshot(View* view, Csn newest, bool keep_bytes) {
  Status status;
  if (!reads_.empty() || options_.isolation == Isolation::kSnapshot) {
    Result<std::vector<overlay::SegmentRef>> segments = database_->overlay().segments_after(first_snapshot_);
    status = segments.ok() ? validate(segments.value()) : std::move(segments).status();
  }
  if (!status.ok()) {
    database_->views().release(view);
    return status;
  }
  if (!reads_.empty()) reads_.move_to(newest);
  if (view == view_) {
    database_->views().release(view);  // had twice
  } else if (keep_bytes) {
    older_views_.push_back(view_);
  } else {
    database_->views().release(view_);
  }
  if (!keep_bytes) {
    for (View* older : older_views_) database_->views().release(older);
    older_views_.clear();
  }
  view_ = view;
  snapshot_ = first_snapshot_ = newest;
  now_ms_ = 0;
  return {};
}

// Under the commit latch: whether nobody else holds a row that this transaction is about to write. Who locks one from
// now on waits until the latch is left.
bool Transaction::writes_are_free() const noexcept {
  // Pairs with the fence in Database::pass_commits(): either the lock is seen here, or the latch is seen taken there.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const lock::LockTable& locks = database_->locks();
  const lock::Owner* owner = owner_ != nullptr && owner_->active() ? owner_.get() : nullptr;
  for (const auto& [row, write] : writes_.rows()) {
    if (!write.live) continue;
    const lock::Row wanted{row.table, row.key, write.hash};
    const lock::Mode mode = write_mode(write);
    if (owner != nullptr && owner->holds_any() && lock::covers(owner->held(wanted), mode)) continue;
    if (locks.probe(owner, wanted, mode) != lock::LockTable::Probe::kFree) return false;
  }
  return true;
}

// A table that was dropped or loaded anew since the snapshot has other rows behind its name now.
Status Transaction::check_tables(CommitPlan& plan) {
  plan.system_csn = database_->shared().txn().system_csn.load(std::memory_order_acquire);
  if (plan.system_csn <= resolved_at_) return {};
  Csn newest = 0;
  Result<View*> view = database_->views().acquire(&newest);
  if (!view.ok()) return std::move(view).status();
  Status status;
  for (const Touched& touched : touched_) {
    if (touched.table->id == kSystemTable) continue;
    TableId data_id = 0;
    status = resolve_at(*view.value(), newest, touched.table->id, &data_id);
    if (status.code() == Code::kNO_TABLE && !touched.written) {
      status = tracks_reads() ? Status(Code::kCONFLICT, "a table that was read has been dropped") : Status();
    } else if (status.ok() && data_id != touched.data_id && (touched.written || tracks_reads())) {
      status = Status(Code::kCONFLICT, "a table that was used has been loaded anew");
    }
    if (!status.ok()) {
      obstacle_ = {};
      obstacle_.table = touched.data_id;
      break;
    }
  }
  database_->views().release(view.value());
  return status;
}

Result<Transaction::Outcome> Transaction::commit_in_latch(CommitPlan& plan) {
  TxnShared& shared = database_->shared().txn();
  overlay::Overlay& overlay = database_->overlay();
  const Csn published = shared.published_csn.load(std::memory_order_relaxed);
  if (shared.view_version.load(std::memory_order_relaxed) != plan.view_version ||
      shared.system_csn.load(std::memory_order_relaxed) != plan.system_csn) {
    return Outcome::kOutdated;
  }
  if (published != first_snapshot_) {  // nothing committed since: nothing to validate
    Status status = validate(*plan.segments);
    HF_PROBE3(validate, first_snapshot_, published, static_cast<int>(status.code()));
    if (!status.ok()) {
      database_->count_conflict();
      return status;
    }
  }
  if (!plan.adds.empty()) {
    plan.refused = look_up_adds(plan.adds, *plan.segments, snapshot_, published, plan.now_ms, verify_);
    if (plan.refused != nullptr) return Outcome::kRefused;
    carry_out_adds(plan.adds);
  }
  if (!plan.locked && !writes_are_free()) return Outcome::kLocked;
  (void)platform::planted_widely(platform::Plant::kLockRunsAhead);
  reach("commit.validated");
  if (!overlay.has_room(plan.space)) {
    if (!overlay.can_rotate(plan.space)) return Outcome::kOverlayFull;
    overlay.rotate(published);
    shared.view_version.fetch_add(1, std::memory_order_release);
    return Outcome::kOutdated;  // the new segment has to be mapped, outside of the latch
  }
  if (!plan.direct && !database_->log().has_room(plan.body.size())) return Outcome::kLogFull;
  if (Status status = publish(plan); !status.ok()) {
    // What lock_direct() had prepared was taken by somebody else meanwhile.
    if (status.code() == Code::kBUSY) return Outcome::kOutdated;
    return status;
  }
  return Outcome::kDone;
}

// Requires: room everywhere. Only a direct append can fail, and nothing has happened then.
Status Transaction::publish(CommitPlan& plan) {
  TxnShared& shared = database_->shared().txn();
  const Csn csn = shared.published_csn.load(std::memory_order_relaxed) + 1;
  if (plan.direct) {
    if (Status status = database_->log().append_direct(csn, plan.body); !status.ok()) return status;
  } else {
    database_->log().append(csn, plan.body);
  }
  HF_PROBE2(append, csn, plan.body.size());
  reach("commit.appended");
  if (platform::planted(platform::Plant::kPublishedEarly)) {
    shared.published_csn.store(csn, std::memory_order_release);
    (void)platform::planted_widely(platform::Plant::kPublishedEarly);
  }
  for (const overlay::Change& change : plan.changes) {
    database_->overlay().insert(csn, change);
    reach("commit.inserting");
  }
  reach("commit.inserted");
  if (plan.system) shared.system_csn.store(csn, std::memory_order_release);
  note_committer(database_->shared().committer(csn), csn, database_->me(), plan.now_ms, plan.label);
  shared.commits.store(shared.commits.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  // Release: whoever reads this csn (acquire) finds the versions whole.
  shared.published_csn.store(csn, std::memory_order_release);
  HF_PROBE1(publish, csn);
  reach("commit.published");
  commit_csn_ = csn;
  return {};
}

Status Transaction::wait_until_durable(Csn csn) {
  const std::uint64_t began_ns = monotonic_ns();
  Status status = wait_until_durable_or_cancelled(csn);
  database_->shared().txn().durable_waits.add(monotonic_ns() - began_ns);
  return status;
}

Status Transaction::wait_until_durable_or_cancelled(Csn csn) {
  constexpr std::uint64_t kLookForCancelMs = 50;
  for (;;) {
    Status status = database_->log().wait_durable(csn, Deadline::after_ms(kLookForCancelMs));
    if (status.ok()) return status;
    if (status.code() != Code::kTIMEOUT) {
      database_->tell_trouble(status);
      return Status(Code::kMAYBE_COMMITTED, "visible as commit " + std::to_string(csn) + ", but: " + status.message());
    }
    if (cancelled()) {
      return Status(Code::kMAYBE_COMMITTED,
                    "visible as commit " + std::to_string(csn) + "; cancelled before it was durable");
    }
  }
}

}  // namespace hf::txn
