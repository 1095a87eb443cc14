// SPDX-License-Identifier: Apache-2.0
// transact: runs a function as a transaction and retries it while the answer is retryable, with capped exponential
// back-off and full jitter (M. Brooker, "Exponential Backoff And Jitter", 2015). Rows that an attempt met a conflict in
// are locked at the start of the next one.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "txn/transaction.h"

namespace hf::txn {

struct RetryOptions {
  std::uint32_t attempts_max = 100;
  std::uint64_t total_timeout_ms = 30'000;
  std::uint64_t backoff_min_us = 20;
  std::uint64_t backoff_max_us = 5'000;
};

// Decides about one run of attempts. Not thread-safe.
class Retry {
 public:
  explicit Retry(const RetryOptions& options) noexcept;
  std::uint32_t attempts() const noexcept { return attempts_; }
  std::uint64_t elapsed_us() const noexcept;
  // Call at the start of each attempt.
  void count_attempt() noexcept { ++attempts_; }
  // Right after an attempt has begun: locks what earlier ones met a conflict in. Blocks as a lock does.
  Status lock_ahead(Transaction& txn) { return rows_.empty() ? Status() : txn.lock_ahead(rows_); }
  // After a failed attempt: sleeps and answers true when another one is due. Ends early when `cancelled` says so.
  bool again(const Status& status, const Transaction& txn);

 private:
  void remember_conflict(const Status& status, const Transaction& txn);
  RetryOptions options_;
  std::uint32_t attempts_ = 0;
  std::uint64_t began_ns_;
  std::uint64_t random_;
  std::vector<std::pair<TableId, std::string>> rows_;  // of conflicts
};

}  // namespace hf::txn
