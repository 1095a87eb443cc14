// SPDX-License-Identifier: Apache-2.0
// Figures of an open database, for operators: statistics, who has it open, what is worth a line in a log.
#include <cstdio>
#include <cstring>

#include "txn/database.h"

namespace hf::txn {

OldestPin Database::oldest_pin() const {
  OldestPin oldest;
  std::uint32_t slot = 0;
  std::uint64_t since_ns = 0;
  oldest.base = views_->oldest_pin(0, &slot, &since_ns);
  if (oldest.base == kCsnMax) return oldest;
  const platform::ProcessSlot& process = shared_.slots()[slot];
  const std::uint64_t now = monotonic_ns();
  oldest.pid = process.pid;
  oldest.age_ms = now > since_ns ? (now - since_ns) / 1'000'000u : 0;
  oldest.label.assign(process.label, strnlen(process.label, sizeof process.label));
  return oldest;
}

namespace {

// Anonymous resident memory of the process, bytes.
std::uint64_t anonymous_bytes() {
  std::FILE* file = std::fopen("/proc/self/status", "re");
  if (file == nullptr) return 0;
  char line[128];
  unsigned long long kib = 0;
  while (std::fgets(line, sizeof line, file) != nullptr) {
    if (std::sscanf(line, "RssAnon: %llu kB", &kib) == 1) break;
  }
  std::fclose(file);
  return kib * 1024;
}

void add_pins(const PinRow& row, platform::OwnerId owner, std::uint64_t now, ProcessInfo& process) noexcept {
  if (row.owner.load(std::memory_order_acquire) != owner) return;  // of a life before
  for (const Pin& pin : row.pins) {
    const std::uint64_t word = pin.base_plus_one.load(std::memory_order_acquire);
    if (word == 0 || (word & (kPinIdle | kPinRevoked)) != 0) continue;
    ++process.pins;
    const Csn base = word - 1;
    const std::uint64_t since = pin.since_ns.load(std::memory_order_relaxed);
    const std::uint64_t age_ms = now > since ? (now - since) / 1'000'000u : 0;
    if (process.pins > 1 && base >= process.oldest_pin) continue;
    process.oldest_pin = base;
    process.oldest_pin_age_ms = age_ms;
  }
}

}  // namespace

Result<DatabaseStats> Database::stats() {
  Result<store::StoreStats> base = store_->stats();
  if (!base.ok()) return std::move(base).status();
  const TxnShared& shared = shared_.txn();
  DatabaseStats stats{};
  for (std::uint32_t slot = 0; slot < platform::kProcessSlotsMax; ++slot) {
    if (shared_.slots()[slot].generation.load(std::memory_order_relaxed) == 0) continue;
    const platform::OwnerId holder = liveness_.holder_of(slot);
    if (holder != 0) ++stats.processes;
  }
  stats.published = shared.published_csn.load(std::memory_order_acquire);
  stats.durable = log_->durable_csn();
  stats.applied = shared.applied_csn.load(std::memory_order_acquire);
  stats.commits = shared.commits.load(std::memory_order_relaxed);
  stats.conflicts = shared.conflicts.load(std::memory_order_relaxed);
  stats.merges = shared.merges.load(std::memory_order_relaxed);
  stats.rows_swept = shared.rows_swept.load(std::memory_order_relaxed);
  stats.takeovers = shared.commit_latch.takeovers.load(std::memory_order_relaxed) +
                    shared.maintainer_latch.takeovers.load(std::memory_order_relaxed);
  stats.transactions_open = views_->in_use();
  stats.private_bytes = anonymous_bytes();
  const OldestPin oldest = oldest_pin();
  stats.oldest_pin = oldest.base == kCsnMax ? 0 : oldest.base;
  stats.oldest_pin_age_ms = oldest.age_ms;
  stats.oldest_pin_pid = oldest.pid;
  stats.locks = locks_->stats();
  stats.durable_waits = shared.durable_waits.read();
  stats.merge_times = shared.merge_times.read();
  stats.log = log_->stats();
  stats.overlay = overlay_->stats();
  stats.store = base.value();
  return stats;
}

std::vector<ProcessInfo> Database::processes() const {
  std::vector<ProcessInfo> processes;
  const std::vector<lock::Party> parties = locks_->list();
  const platform::OwnerId maintainer = role_latch_->holder();
  const std::uint64_t now = monotonic_ns();
  for (std::uint32_t slot = 0; slot < platform::kProcessSlotsMax; ++slot) {
    const platform::ProcessSlot& row = shared_.slots()[slot];
    if (row.generation.load(std::memory_order_relaxed) == 0) continue;
    const platform::OwnerId holder = liveness_.holder_of(slot);
    if (holder == 0) continue;
    ProcessInfo& process = processes.emplace_back();
    process.slot = slot;
    process.pid = row.pid;
    process.opened_ms = row.opened_at_ms;
    process.label.assign(row.label, strnlen(row.label, sizeof row.label));
    process.is_self = holder == liveness_.me();
    process.is_maintainer = holder == maintainer;
    add_pins(shared_.pins()[slot], holder, now, process);
    for (const lock::Party& party : parties) {
      if (party.process != holder) continue;
      if (party.held != lock::Mode::kNone) ++process.locks_held;
      if (party.wanted != lock::Mode::kNone) ++process.locks_waiting;
    }
  }
  return processes;
}

void Database::tell(Severity severity, const std::string& text) noexcept {
  if (options_.on_message == nullptr) return;
  const std::lock_guard lock(message_mutex_);
  options_.on_message(static_cast<int>(severity), text.c_str(), options_.message_context);
}

// The same trouble is met again and again by whoever tries: said once, until it is over or another one comes.
void Database::tell_trouble(const Status& status) noexcept {
  const std::uint32_t code = static_cast<std::uint32_t>(status.code());
  if (trouble_told_.exchange(code, std::memory_order_relaxed) == code || status.ok()) return;
  tell(status.code() == Code::kFAILED || status.code() == Code::kIO_ERROR || status.code() == Code::kCORRUPT
           ? Severity::kError
           : Severity::kWarning,
       status.message());
}

}  // namespace hf::txn
