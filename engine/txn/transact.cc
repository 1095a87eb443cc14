// SPDX-License-Identifier: Apache-2.0
#include "txn/transact.h"

#include <ctime>

#include <algorithm>

#include "base/clock.h"

namespace hf::txn {
namespace {

constexpr std::uint64_t kLookForCancelUs = 10'000;  // longest sleep without a look

void sleep_us(std::uint64_t us) noexcept {
  timespec pause{static_cast<time_t>(us / 1'000'000u), static_cast<long>(us % 1'000'000u) * 1000};
  nanosleep(&pause, nullptr);  // cut short by a signal: the next attempt just comes earlier
}

}  // namespace

Retry::Retry(const RetryOptions& options) noexcept
    : options_(options), began_ns_(monotonic_ns()), random_(began_ns_ ^ reinterpret_cast<std::uintptr_t>(this)) {}

std::uint64_t Retry::elapsed_us() const noexcept { return (monotonic_ns() - began_ns_) / 1000; }

void Retry::remember_conflict(const Status& status, const Transaction& txn) {
  constexpr std::size_t kRowsMax = 32;
  const Obstacle& obstacle = txn.obstacle();
  if (status.code() != Code::kCONFLICT || obstacle.table == 0 || obstacle.range || rows_.size() >= kRowsMax) return;
  if (!txn.options().heat) return;
  std::pair<TableId, std::string> row(obstacle.table, obstacle.key);
  if (std::find(rows_.begin(), rows_.end(), row) == rows_.end()) rows_.push_back(std::move(row));
}

bool Retry::again(const Status& status, const Transaction& txn) {
  remember_conflict(status, txn);
  if (!code_is_retryable(static_cast<int>(status.code())) || attempts_ >= options_.attempts_max) return false;
  const std::uint64_t elapsed = elapsed_us();
  const std::uint64_t total =
      options_.total_timeout_ms > UINT64_MAX / 1000 ? UINT64_MAX : options_.total_timeout_ms * 1000;
  if (elapsed >= total) return false;
  // What was in the way will be locked up front: no need to stay away from it.
  if (status.code() == Code::kCONFLICT && !rows_.empty()) return !txn.cancelled();
  const std::uint32_t doublings = std::min<std::uint32_t>(attempts_ - 1, 30);
  const std::uint64_t cap = std::min(options_.backoff_max_us, options_.backoff_min_us << doublings);
  random_ ^= random_ << 13;  // xorshift64 (Marsaglia 2003)
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  std::uint64_t left = std::min(cap == 0 ? 0 : random_ % (cap + 1), total - elapsed);
  while (left > 0) {
    if (txn.cancelled()) return false;
    const std::uint64_t pause = std::min(left, kLookForCancelUs);
    sleep_us(pause);
    left -= pause;
  }
  return !txn.cancelled();
}

}  // namespace hf::txn
