// SPDX-License-Identifier: Apache-2.0
// Owners: their lives, and which rows they hold.
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstring>

#include "lock/impl.h"

namespace hf::lock {
namespace {

using platform::OwnerId;

// For reports. Kept per thread, because the call costs more than a lock; a forked child's thread asks anew.
thread_local std::uint32_t thread_id = 0;

std::uint32_t this_thread_id() noexcept {
  static const int registered = pthread_atfork(nullptr, nullptr, [] { thread_id = 0; });
  if (thread_id == 0) thread_id = static_cast<std::uint32_t>(syscall(SYS_gettid));
  (void)registered;
  return thread_id;
}

}  // namespace

Owner::~Owner() {
  end();
  table_->give_units(spare_, 0);
  if (row_.load(std::memory_order_relaxed) == nullptr) return;
  row_.store(nullptr, std::memory_order_relaxed);
  const std::lock_guard lock(table_->pool_mutex_);
  table_->free_owners_.push_back(ref_);
}

Status Owner::begin(const std::string& label, std::uint64_t began_ns, bool session, const Owner* inside_of) {
  assert(!active_);
  OwnerRow* row = row_.load(std::memory_order_relaxed);
  if (row == nullptr) {
    if (Status status = table_->take_owner_row(&ref_); !status.ok()) return status;
    row = &table_->region_.owner(ref_);
    row_.store(row, std::memory_order_release);
    life_ = life_of(row->status.load(std::memory_order_relaxed));
  }
  ++life_;
  number_ = std::uint64_t{ref_} << 32 | (life_ & UINT32_MAX);
  row->expires_at_ns.store(UINT64_MAX, std::memory_order_relaxed);
  row->began_ns.store(began_ns, std::memory_order_relaxed);
  row->process.store(table_->liveness_->me(), std::memory_order_release);  // release: see platform/liveness.h
  row->waiting.store(0, std::memory_order_relaxed);
  row->session.store(inside_of != nullptr ? inside_of->ref_ : 0, std::memory_order_relaxed);
  row->expired_by.store(0, std::memory_order_relaxed);
  row->thread = this_thread_id();
  if (row->label[0] != '\0' || !label.empty()) {
    std::memset(row->label, 0, sizeof row->label);
    std::memcpy(row->label, label.data(), std::min(label.size(), sizeof row->label - 1));
  }
  (void)session;
  row->status.store(make_status(life_, OwnerState::kRunning), std::memory_order_release);
  active_ = true;
  limited_ = false;
  return {};
}

void Owner::end() noexcept {
  if (!active_) return;
  for (std::size_t i = held_.size(); i-- > 0;) table_->give_back(*this, held_[i]);
  held_.clear();
  if (!index_.empty()) index_.clear();
  row_.load(std::memory_order_relaxed)->status.store(make_status(life_, OwnerState::kIdle), std::memory_order_release);
  active_ = false;
}

void Owner::set_expiry(std::uint64_t at_ns) noexcept {
  limited_ = limited_ || at_ns != UINT64_MAX;
  row_.load(std::memory_order_relaxed)->expires_at_ns.store(at_ns, std::memory_order_release);
}

bool Owner::expired() const noexcept {
  return active_ && limited_ &&
         state_of(row_.load(std::memory_order_relaxed)->status.load(std::memory_order_acquire)) == OwnerState::kExpired;
}

std::uint64_t Owner::expired_by_pid() const noexcept {
  const OwnerRow* row = row_.load(std::memory_order_relaxed);
  if (row == nullptr || table_->slots_ == nullptr) return 0;
  const OwnerId by = row->expired_by.load(std::memory_order_acquire);
  return by == 0 ? 0 : table_->slots_[platform::owner_slot(by)].pid;
}

bool Owner::start_commit() noexcept {
  std::uint64_t running = make_status(life_, OwnerState::kRunning);
  return row_.load(std::memory_order_relaxed)
             ->status.compare_exchange_strong(running, make_status(life_, OwnerState::kCommitting),
                                              std::memory_order_seq_cst) ||
         state_of(running) == OwnerState::kCommitting;
}

void Owner::interrupt() noexcept {
  OwnerRow* row = row_.load(std::memory_order_acquire);
  if (row == nullptr) return;
  row->wake.fetch_add(1, std::memory_order_release);
  platform::futex_wake(row->wake, 1);
}

// --- held rows -------------------------------------------------------------------------------------------------------

// Rows are told apart by hash and, through the unit, by key.
int Owner::find(const Row& row) const noexcept {
  if (held_.empty()) return -1;
  const auto is = [&](std::size_t i) {
    return held_[i].hash == row.hash && held_[i].table == row.table &&
           Inside::is_row(*table_, table_->region_.unit(held_[i].unit), row);
  };
  if (index_.empty()) {
    for (std::size_t i = 0; i < held_.size(); ++i) {
      if (is(i)) return static_cast<int>(i);
    }
    return -1;
  }
  const std::size_t mask = index_.size() - 1;
  for (std::size_t slot = row.hash >> 20 & mask; index_[slot] != 0; slot = (slot + 1) & mask) {
    if (is(index_[slot] - 1)) return static_cast<int>(index_[slot] - 1);
  }
  return -1;
}

void Owner::rebuild_index() {
  index_.clear();
  if (held_.size() < kIndexMin) return;
  std::size_t size = 64;
  while (size < held_.size() * 4) size *= 2;
  index_.assign(size, 0);
  for (std::size_t i = 0; i < held_.size(); ++i) index_held(i);
}

void Owner::index_held(std::size_t position) noexcept {
  const std::size_t mask = index_.size() - 1;
  std::size_t slot = held_[position].hash >> 20 & mask;
  while (index_[slot] != 0) slot = (slot + 1) & mask;
  index_[slot] = static_cast<std::uint32_t>(position + 1);
}

void Owner::add_held(const Held& held) {
  held_.push_back(held);
  if (held_.size() < kIndexMin) return;
  if (held_.size() * 2 > index_.size()) {
    rebuild_index();
  } else {
    index_held(held_.size() - 1);
  }
}

void Owner::remove_held(std::size_t position) noexcept {
  held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(position));
  // Giving back single rows is the exception: sessions, and lists that could not be had whole.
  if (!index_.empty()) rebuild_index();
}

Mode Owner::held(const Row& row) const noexcept {
  const int at = find(row);
  return at < 0 ? Mode::kNone : held_[static_cast<std::size_t>(at)].mode;
}

}  // namespace hf::lock
