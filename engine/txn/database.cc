// SPDX-License-Identifier: Apache-2.0
// What transactions and callers use of an open database; opening and leaving are in open.cc, upkeep in maintenance.cc.
#include "txn/database.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "txn/fork_guard.h"
#include "txn/record.h"

namespace hf::txn {

bool Database::forked() const noexcept { return fork_generation() != fork_generation_; }

Status Database::pass_commits() {
  // Pairs with the fence of a commit that looks at the lock table: see docs/locking.md, "Writes without a lock".
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const TxnShared& shared = shared_.txn();
  if (commit_latch_->holder() == 0) return {};
  const Csn published = shared.published_csn.load(std::memory_order_acquire);
  constexpr int kSpins = 200;
  for (int i = 0; i < kSpins; ++i) {
    // A commit that published was over with its looking; one that left without did nothing.
    if (commit_latch_->holder() == 0 || shared.published_csn.load(std::memory_order_acquire) != published) return {};
  }
  // Its thread does not run, or is dead: wait as everybody does who needs the latch.
  Status status = enter_commit(Deadline::after_ms(options_.overload_timeout_ms));
  if (status.ok()) leave_commit();
  return status;
}

Status Database::enter_commit(Deadline deadline) {
  const platform::Acquired acquired = commit_latch_->acquire(deadline);
  if (acquired == platform::Acquired::kNo) return Status(Code::kOVERLOADED, "the commit latch was not free in time");
  Status status;
  if (acquired == platform::Acquired::kTakenOver) {
    status = repair_commit();
    repairs_.fetch_add(1, std::memory_order_relaxed);  // told of by the upkeep: not here, under the latch
  }
  if (status.ok() && shared_.log().failed.load(std::memory_order_acquire) != 0) status = log_->failure();
  if (!status.ok()) commit_latch_->release();
  return status;
}

// The owner before died inside. Its record is either whole in the log, then the commit is completed, or it is not
// there at all. A half rotation is finished first, because the insert goes to the active segment.
Status Database::repair_commit() {
  TxnShared& shared = shared_.txn();
  overlay_->finish_rotation();
  shared.view_version.fetch_add(1, std::memory_order_release);
  Csn csn = 0;
  std::string body;
  if (log_->appended_csn() == shared.published_csn.load(std::memory_order_relaxed)) return {};
  Status status = log_->last(&csn, &body);
  if (status.ok()) status = overlay_->map_active();
  if (status.ok()) {
    bool system = false;
    status = decode_record(body, [&](const overlay::Change& change) {
      overlay_->insert(csn, change);
      system |= change.table == kSystemTable;
    });
    if (system) shared.system_csn.store(csn, std::memory_order_release);
  }
  if (!status.ok()) {
    log_->fail(status);  // the state is in doubt: nobody may go on with it
    return status;
  }
  shared.commits.fetch_add(1, std::memory_order_relaxed);
  shared.published_csn.store(csn, std::memory_order_release);
  return {};
}

std::string Database::process_mark() const {
  const platform::OwnerId me = liveness_.me();
  char mark[12];
  store_be32(mark, me);
  store_be64(mark + 4, shared_.slots()[platform::owner_slot(me)].opened_at_ms);
  return std::string(mark, sizeof mark);
}

bool Database::mark_alive(Bytes mark) const noexcept {
  if (mark.size() != 12) return false;
  const platform::OwnerId owner = load_be32(mark.data());
  const std::uint32_t slot = platform::owner_slot(owner);
  // Generations start anew with each session of the database; the time of opening tells the sessions apart.
  return slot < platform::kProcessSlotsMax && shared_.slots()[slot].opened_at_ms == load_be64(mark.data() + 4) &&
         liveness_.alive(owner);
}

Result<int> Database::event_fd() {
  const std::lock_guard lock(event_mutex_);
  if (event_fd_ >= 0) return event_fd_;
  const int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return Status::from_errno(errno, "eventfd", path_);
  event_fd_ = fd;
  event_thread_ = std::thread([this] { event_loop(); });
  return fd;
}

void Database::close_event_fd() noexcept {
  close(event_fd_);
  event_fd_ = -1;
}

void Database::ticket_issued(Csn csn) noexcept {
  Csn newest = ticket_csn_.load(std::memory_order_relaxed);
  while (newest < csn && !ticket_csn_.compare_exchange_weak(newest, csn, std::memory_order_release)) {
  }
  const std::lock_guard lock(event_mutex_);
  if (event_fd_ >= 0) event_wanted_.notify_one();
}

// Flushes on behalf of tickets, so that a program with an event loop never blocks on the disk.
void Database::event_loop() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  Csn told = 0;
  std::unique_lock lock(event_mutex_);
  while (!stopping_.load(std::memory_order_relaxed)) {
    const Csn wanted = ticket_csn_.load(std::memory_order_acquire);
    if (wanted <= told) {
      event_wanted_.wait(lock);
      continue;
    }
    lock.unlock();
    const Status status = log_->wait_durable(wanted, Deadline::after_ms(200));
    lock.lock();
    if (status.code() == Code::kTIMEOUT) continue;
    told = wanted;  // durable, or never: either way the owner of the ticket has to look
    const std::uint64_t one = 1;
    if (write(event_fd_, &one, sizeof one) < 0 && errno != EAGAIN) break;
  }
}

}  // namespace hf::txn
