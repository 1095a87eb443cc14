// SPDX-License-Identifier: Apache-2.0
// Upkeep: whoever holds the maintainer role prepares segments ahead of need, merges sealed ones into the base, frees
// what no pin needs, removes expired rows, and flushes relaxed commits. Every process with a background thread tries
// for the role; a committer that waits for room takes it when nobody has it; hf_maintain does one pass by hand.
//
// A process killed with the role leaves the latch to the next taker. Nothing needs repair: a merge is one LMDB
// transaction, a half-made segment is made again, and set_merged after a committed merge is repeated by merging the
// same rows once more.
#include <algorithm>
#include <csignal>

#include "base/probe.h"
#include "lock/heat.h"
#include "platform/plant.h"
#include "platform/test_point.h"
#include "txn/database.h"

namespace hf::txn {
namespace {

using platform::Acquired;
using platform::reach;

constexpr std::uint64_t kMsNs = 1'000'000;
constexpr std::uint64_t kWakeIntervalNs = 50 * kMsNs;    // granularity of everything timed here
constexpr std::uint64_t kReaderCheckNs = 5'000 * kMsNs;  // LMDB reader slots of dead processes
constexpr std::uint64_t kSweepRowsMax = 10'000;          // rows of one sweep transaction
constexpr double kPrepareFullness = 0.5;                 // of the active segment; then the next one is made ready

}  // namespace

void Database::request_maintenance() noexcept {
  TxnShared& shared = shared_.txn();
  shared.maintain_word.fetch_add(1, std::memory_order_relaxed);
  platform::futex_wake(shared.maintain_word, 1);
}

void Database::transaction_ended() noexcept {
  // Others have a thread that does this. The best view stays, idle or not: opening one costs a hundred times more.
  if (!options_.background_thread && views_->outdated()) views_->drop_idle(false);
}

void Database::base_changed() noexcept {
  TxnShared& shared = shared_.txn();
  shared.base_generation.fetch_add(1, std::memory_order_release);
  shared.view_version.fetch_add(1, std::memory_order_release);
}

Status Database::take_role(Deadline deadline) {
  if (role_latch_->acquire(deadline) == Acquired::kNo) {
    return Status(Code::kBUSY, "another thread or process holds the maintainer role");
  }
  return {};
}

Status Database::maintain(bool merge_all) {
  // Merging everything is worth waiting for a pass that is under way; doing what is due is not.
  const Acquired acquired =
      merge_all ? role_latch_->acquire(Deadline::after_ms(options_.overload_timeout_ms)) : role_latch_->try_acquire();
  if (acquired == Acquired::kNo) return Status(Code::kBUSY, "another thread or process is at it");
  Status status = pass(merge_all);
  role_latch_->release();
  views_->drop_idle(!options_.background_thread && views_->in_use() == 0);
  return status;
}

Status Database::pass(bool merge_all) {
  TxnShared& shared = shared_.txn();
  const std::uint64_t now = monotonic_ns();
  shared.maintained_at_ns.store(now, std::memory_order_relaxed);
  if (Status failed = log_->failure(); !failed.ok()) return failed;

  Status status = prepare_segments(0);
  if (Status s = log_->prepare_ahead(); !s.ok() && status.ok()) status = std::move(s);

  // What is not merged yet becomes due after merge_interval_ms without a commit, or ten times that with.
  const Csn published = shared.published_csn.load(std::memory_order_acquire);
  const bool unmerged = published > shared.applied_csn.load(std::memory_order_relaxed);
  bool due = merge_all && unmerged;
  if (!unmerged) {
    merge_due_since_ns_ = 0;
  } else if (!due) {
    if (merge_due_since_ns_ == 0) merge_due_since_ns_ = now;
    if (merge_seen_csn_ != published) quiet_since_ns_ = now;
    merge_seen_csn_ = published;
    const std::uint64_t interval = options_.merge_interval_ms * kMsNs;
    due = now - quiet_since_ns_ >= interval || now - merge_due_since_ns_ >= 10 * interval;
  }
  if (due) {
    merge_due_since_ns_ = 0;
    if (Status s = merge_sealed(); !s.ok()) return s;
    views_->drop_idle(false);
    if (Status s = free_segments(); !s.ok()) return s;
    // A sealed segment that old pins keep is memory lost to them, however little is in it: then merge without sealing.
    Status sealed = merged_segments_wait() ? Status(Code::kOVERLOADED) : seal_active();
    if (sealed.code() == Code::kOVERLOADED) sealed = merge_active();
    if (!sealed.ok() && status.ok()) status = std::move(sealed);
  }
  if (Status s = merge_sealed(); !s.ok()) return s;
  if (Status s = sweep_if_due(); !s.ok()) return s;
  if (Status s = free_segments(); !s.ok()) return s;
  locks_->reap();
  lock::cool(locks_->region(), now);
  if (now - readers_checked_at_ns_ >= kReaderCheckNs) {
    readers_checked_at_ns_ = now;
    if (Status s = store_->check_readers(); !s.ok()) return s;
  }
  return status;
}

Status Database::prepare_segments(std::uint64_t bytes) {
  if (overlay_->has_ready() && bytes == 0) return {};
  if (bytes == 0 && overlay_->fullness() < kPrepareFullness) return {};
  Status status = overlay_->prepare(bytes);
  if (status.code() == Code::kOVERLOADED) {
    // Merge and free first; what old transactions still hold, ask them to let go of.
    if (Status s = merge_sealed(); !s.ok()) return s;
    if (Status s = free_segments(); !s.ok()) return s;
    status = overlay_->prepare(bytes);
    if (status.code() == Code::kOVERLOADED) {
      ask_old_pins_to_leave();
      views_->drop_idle(false);
    }
  }
  if (status.ok()) {
    TxnShared& shared = shared_.txn();
    shared.room_word.fetch_add(1, std::memory_order_release);
    platform::futex_wake(shared.room_word, platform::kWakeAll);
  }
  return status;
}

void Database::ask_old_pins_to_leave() noexcept {
  Csn oldest_merged = kCsnMax;
  for (const overlay::SegmentRow& row : shared_.overlay().segments) {
    if (row.state.load(std::memory_order_acquire) != static_cast<std::uint32_t>(overlay::SegmentState::kMerged))
      continue;
    oldest_merged = std::min<Csn>(oldest_merged, row.last_csn.load(std::memory_order_relaxed));
  }
  if (oldest_merged == kCsnMax) return;
  std::atomic<std::uint64_t>& word = shared_.txn().too_old_below;
  if (word.load(std::memory_order_relaxed) < oldest_merged) word.store(oldest_merged, std::memory_order_relaxed);
}

Status Database::seal_active() {
  if (!overlay_->has_ready()) {
    if (Status status = overlay_->prepare(0); !status.ok()) return status;
  }
  if (Status status = enter_commit(Deadline::never()); !status.ok()) return status;
  TxnShared& shared = shared_.txn();
  const Csn published = shared.published_csn.load(std::memory_order_relaxed);
  const overlay::OverlayShared& segments = shared_.overlay();
  const std::uint32_t active = segments.active.load(std::memory_order_relaxed);
  if (segments.segments[active].first_csn.load(std::memory_order_relaxed) <= published && overlay_->can_rotate(0)) {
    overlay_->rotate(published);
    shared.view_version.fetch_add(1, std::memory_order_release);
  }
  leave_commit();
  return {};
}

// Whether there are segments that only pins keep.
bool Database::merged_segments_wait() const noexcept {
  constexpr auto kMerged = static_cast<std::uint32_t>(overlay::SegmentState::kMerged);
  const auto& rows = shared_.overlay().segments;
  return std::any_of(std::begin(rows), std::end(rows), [](const overlay::SegmentRow& row) {
    return row.state.load(std::memory_order_acquire) == kMerged;
  });
}

// Carries what the active segment holds by now into the base. It stays active; when it is sealed later, only what came
// after is merged.
Status Database::merge_active() {
  if (Status status = merge_sealed(); !status.ok()) return status;
  const Csn published = shared_.txn().published_csn.load(std::memory_order_acquire);
  Result<std::vector<overlay::SegmentRef>> segments =
      overlay_->segments_after(shared_.txn().applied_csn.load(std::memory_order_relaxed));
  if (!segments.ok()) return std::move(segments).status();
  if (segments.value().empty()) return {};  // a killed rotation left no active segment: its successor makes one
  // A rotation since then sealed some of it: the rest is for the next pass.
  const overlay::SegmentRef& oldest = segments.value().back();
  return merge_rows(*oldest, std::min(published, oldest->last_csn()));
}

Status Database::merge_sealed() {
  for (;;) {
    Result<overlay::SegmentRef> segment = overlay_->oldest_sealed();
    if (!segment.ok()) return std::move(segment).status();
    if (segment.value() == nullptr) return {};
    if (Status status = merge_segment(*segment.value()); !status.ok()) return status;
    if (Status status = free_segments(); !status.ok()) return status;
  }
}

Status Database::merge_segment(const overlay::Segment& segment) {
  if (Status status = merge_rows(segment, segment.last_csn()); !status.ok()) return status;
  overlay_->set_merged(segment);
  base_changed();  // new views do without it
  if (views_ != nullptr) views_->drop_idle(false);
  return {};
}

// Brings the base to csn `last`. Requires: the segment holds every commit between what is applied and `last`.
Status Database::merge_rows(const overlay::Segment& segment, Csn last) {
  TxnShared& shared = shared_.txn();
  const Csn applied = shared.applied_csn.load(std::memory_order_relaxed);
  if (last <= applied) return {};
  // The base must never be ahead of the log: what it holds has to be explained by durable commits.
  if (log_ != nullptr) {
    if (Status status = log_->wait_durable(last, Deadline::never()); !status.ok()) return status;
  }
  const std::uint64_t began_ns = monotonic_ns();
  HF_PROBE2(merge__begin, applied, last);
  Result<std::unique_ptr<store::Merge>> merge = store_->begin_merge();
  if (!merge.ok()) return std::move(merge).status();
  if (Status status = put_rows(segment, applied, last, *merge.value()); !status.ok()) {
    // A damaged row must not reach the base, which would give it a checksum of its own and let the log forget the right
    // one. The log still has all of it: nobody may go on with this overlay, and the next open replays.
    if (status.code() == Code::kCORRUPT && log_ != nullptr) log_->fail(status);
    return status;
  }
  reach("merge.before_commit");
  if (Status status = merge.value()->commit(last); !status.ok()) {
    if (status.code() == Code::kIO_ERROR && log_ != nullptr) log_->fail(status);
    return status;
  }
  reach("merge.committed");
  shared.applied_csn.store(last, std::memory_order_release);
  shared.merges.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t ended_ns = monotonic_ns();
  HF_PROBE2(merge__end, last, ended_ns - began_ns);
  shared.merge_times.add(ended_ns - began_ns);
  shared.maintained_at_ns.store(ended_ns, std::memory_order_relaxed);
  base_changed();
  return log_ != nullptr ? log_->recycle(last) : Status();
}

// Rows that changed after `applied`, as they were at `last`.
Status Database::put_rows(const overlay::Segment& segment, Csn applied, Csn last, store::Merge& merge) {
  TableId dropped = 0;
  const std::uint64_t rows_least = segment.rows();
  std::uint64_t rows = 0;
  overlay::Iterator row(segment, true);
  for (row.seek_at_or_after(0, {}); row.valid(); row.next()) {
    ++rows;
    overlay::Version version;
    Result<bool> visible = row.version_verified(last, &version);
    if (!visible.ok()) return std::move(visible).status();
    if (!visible.value()) continue;
    const TableId table = row.table();
    if (table == dropped) continue;  // the marker comes first in its table, and a number is never used again
    if (version.kind == overlay::VersionKind::kDropTable) dropped = table;
    if (version.csn <= applied) continue;
    if (platform::planted(platform::Plant::kMergeLosesNewest) && version.csn == last && table != kSystemTable) continue;
    Status status;
    switch (version.kind) {
      case overlay::VersionKind::kPut:
        status = merge.put(table, row.key(),
                           {version.csn, version.expires_ms, version.value, version.flags, true, version.checksum});
        break;
      case overlay::VersionKind::kDelete:
        status = merge.erase(table, row.key());
        break;
      case overlay::VersionKind::kDropTable:
        status = merge.drop_table(table);
        break;
    }
    if (!status.ok()) return status;
  }
  if (!row.damaged() && rows >= rows_least) return {};
  return Status(Code::kCORRUPT, segment.file() + ": the list of rows is damaged after " + std::to_string(rows) +
                                    " of at least " + std::to_string(rows_least));
}

Status Database::free_segments() {
  const Csn applied = shared_.txn().applied_csn.load(std::memory_order_relaxed);
  const Csn oldest = views_ != nullptr ? views_->oldest_pin(applied, nullptr, nullptr) : kCsnMax;
  return overlay_->free_merged(std::min(applied, oldest));
}

Status Database::sweep_if_due() {
  const std::uint64_t now = monotonic_ns();
  if (now - swept_at_ns_ < options_.sweep_interval_ms * kMsNs) return {};
  swept_at_ns_ = now;
  Result<std::uint64_t> swept = store_->sweep_expired(wall_ms(), kSweepRowsMax);
  if (!swept.ok()) return std::move(swept).status();
  if (swept.value() == 0) return {};
  if (swept.value() >= kSweepRowsMax) swept_at_ns_ = 0;  // more is waiting
  shared_.txn().rows_swept.fetch_add(swept.value(), std::memory_order_relaxed);
  base_changed();
  return {};
}

Status Database::wait_for_room(std::uint64_t bytes, Deadline deadline, const std::function<Status()>& between) {
  TxnShared& shared = shared_.txn();
  Status last;
  std::uint64_t disk_full_since_ns = 0;
  for (;;) {
    const std::uint32_t seen = shared.room_word.load(std::memory_order_acquire);
    if (overlay_->can_rotate(bytes)) return {};
    if (Status status = between(); !status.ok()) return status;
    if (role_latch_->try_acquire() != Acquired::kNo) {
      last = prepare_segments(bytes == 0 ? 1 : bytes);
      role_latch_->release();
      if (last.ok()) return {};
      if (last.code() == Code::kTOO_LARGE || last.code() == Code::kFAILED) return last;
      if (last.code() == Code::kDISK_FULL) {
        const std::uint64_t now = monotonic_ns();
        if (disk_full_since_ns == 0) disk_full_since_ns = now;
        if (now - disk_full_since_ns > 200 * kMsNs) return last;
      }
    } else {
      request_maintenance();
    }
    const std::uint64_t wait_ns = deadline.remaining_ns(2 * kMsNs);
    if (wait_ns == 0) break;
    platform::futex_wait(shared.room_word, seen, wait_ns);
  }
  if (last.code() == Code::kDISK_FULL || last.code() == Code::kIO_ERROR) return last;
  const OldestPin oldest = oldest_pin();
  std::string why = "the overlay (" + std::to_string(shared_.header().overlay_bytes_max) + " bytes) stayed full for " +
                    std::to_string(options_.overload_timeout_ms) + " ms";
  if (oldest.base != kCsnMax) {
    why += "; the oldest pin is csn " + std::to_string(oldest.base) + " of process " + std::to_string(oldest.pid) +
           " (" + oldest.label + "), " + std::to_string(oldest.age_ms) + " ms old";
  }
  Status status(Code::kOVERLOADED, std::move(why));
  tell_trouble(status);
  return status;
}

void Database::flush_relaxed() {
  const Csn appended = log_->appended_csn();
  if (log_->durable_csn() >= appended) return;
  // A failure is kept by the log and answered to every later commit.
  (void)log_->wait_durable(appended, Deadline::after_ms(1'000)).ok();
}

void Database::maintenance_loop() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  TxnShared& shared = shared_.txn();
  std::uint64_t flushed_at_ns = monotonic_ns();
  while (!stopping_.load(std::memory_order_acquire)) {
    const std::uint32_t seen = shared.maintain_word.load(std::memory_order_acquire);
    if (role_latch_->try_acquire() != Acquired::kNo) {
      // What goes wrong here (a full disk, say) is tried again, and met by the committers that need the room.
      const Status status = pass(false);
      role_latch_->release();
      tell_trouble(status);
    }
    if (const std::uint64_t repairs = repairs_.exchange(0, std::memory_order_relaxed); repairs != 0) {
      tell(Severity::kWarning, "a process was killed while it committed: finished or undone what it had begun");
    }
    views_->drop_idle(false);
    const std::uint64_t now = monotonic_ns();
    if (now - flushed_at_ns >= options_.flush_interval_ms * kMsNs) {
      flush_relaxed();
      flushed_at_ns = now;
    }
    const std::uint64_t interval =
        std::min(kWakeIntervalNs, std::max<std::uint64_t>(options_.flush_interval_ms, 1) * kMsNs);
    platform::futex_wait(shared.maintain_word, seen, interval);
  }
}

void Database::stop_threads() noexcept {
  stopping_.store(true, std::memory_order_release);
  request_maintenance();
  if (maintenance_thread_.joinable()) {
    // The wake may have reached another process; the loop looks again on its own after kWakeIntervalNs at most.
    maintenance_thread_.join();
  }
  {
    const std::lock_guard lock(event_mutex_);
    event_wanted_.notify_all();
  }
  if (event_thread_.joinable()) event_thread_.join();
}

}  // namespace hf::txn
