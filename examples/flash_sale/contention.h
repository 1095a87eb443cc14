// SPDX-License-Identifier: Apache-2.0
// What the crowd did to itself: attempts, waits for locks, queues, and why a buyer was refused. Part of the board, so
// in memory that all processes share.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "holdfast/holdfast.hpp"

namespace flash_sale {

// The first refusal of its kind, with all that Holdfast says about it. hf_error holds no pointers: it may be copied
// from one process to another.
class Refusal {
 public:
  // Keeps it unless there is one already. Nothing is kept of an error without a detail.
  void note(std::uint32_t buyer, const holdfast::error& why) noexcept;
  bool is_there() const noexcept { return state_.load(std::memory_order_acquire) == kThere; }

  // Require: is_there().
  std::uint32_t buyer() const noexcept { return buyer_; }
  std::int64_t pid() const noexcept { return pid_; }
  const hf_error& report() const noexcept { return report_; }

 private:
  enum : std::uint32_t { kNone, kBeingWritten, kThere };
  std::atomic<std::uint32_t> state_;  // kThere is stored with release, after all below
  std::uint32_t buyer_;
  std::int64_t pid_;  // of the process that served the buyer
  hf_error report_;
};

// How many waited for which rows, at one moment.
struct QueuePicture {
  static constexpr unsigned kRowsMax = 5;
  struct Queue {
    std::array<char, 16> table;  // NUL-terminated
    std::uint32_t key;
    std::uint32_t waiting;
  };
  std::atomic<std::uint32_t> count;  // of rows; stored with release, after them
  std::array<Queue, kRowsMax> rows;  // the longest queue first
};

struct Contention {
  std::atomic<std::uint64_t> transactions;
  std::atomic<std::uint64_t> attempts;        // of all transactions
  std::atomic<std::uint64_t> orders;          // that were granted
  std::atomic<std::uint64_t> order_attempts;  // of those
  std::atomic<std::uint64_t> refused_by_lock;
  Refusal lock_refusal;
  Refusal counter_refusal;
  QueuePicture queues;  // when the stock-taker was done

  // From hf_stat, at the end; `hot_buckets_most` is the most that anybody saw.
  std::atomic<std::uint64_t> lock_waits;
  std::atomic<std::uint64_t> lock_waited_us;
  std::atomic<std::uint64_t> lock_wait_longest_us;
  std::atomic<std::uint64_t> lock_handovers;
  std::atomic<std::uint64_t> lock_timeouts;
  std::atomic<std::uint64_t> deadlocks;
  std::atomic<std::uint64_t> hot_buckets_most;

  void note_stats(const hf_stats& stats) noexcept;
  // Who waits for what, in all processes, now. For one caller, once.
  void note_queues(holdfast::Database& database);
};

}  // namespace flash_sale
