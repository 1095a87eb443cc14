// SPDX-License-Identifier: Apache-2.0
// Part of holdfast.hpp: option structs, with the names and defaults of C, where they are explained.
#ifndef HOLDFAST_HPP_OPTIONS_HPP
#define HOLDFAST_HPP_OPTIONS_HPP

#include <cstdint>
#include <string>

#include "holdfast/holdfast.h"
#include "holdfast/hpp/bytes.hpp"
#include "holdfast/hpp/locks.hpp"
#include "holdfast/hpp/time.hpp"

namespace holdfast {

enum class isolation : std::uint32_t {
  by_default = HF_ISOLATION_DEFAULT,
  serializable = HF_SERIALIZABLE,
  snapshot = HF_SNAPSHOT,
  read_committed = HF_READ_COMMITTED
};

enum class durability : std::uint32_t {
  by_default = HF_DURABILITY_DEFAULT,
  durable = HF_DURABLE,
  relaxed = HF_RELAXED
};

struct open_options {
  std::string label{};
  std::string memory_directory{};
  bool create = true;
  bool background_thread = true;
  std::uint64_t map_size = 0;
  std::uint64_t overlay_bytes_max = 0;
  std::uint64_t log_segment_size_max = 0;
  std::uint64_t txn_bytes_max = 0;
  milliseconds open_timeout{0};
  milliseconds overload_timeout{0};
  milliseconds flush_interval{0};
  milliseconds merge_interval{0};
  milliseconds sweep_interval{0};
  milliseconds txn_deadline{0};
  milliseconds txn_idle{0};
  holdfast::isolation isolation = isolation::by_default;
  holdfast::durability durability = durability::by_default;
  std::uint32_t tables_max = 0;
  milliseconds lock_timeout{0};
  std::uint32_t locks_max = 0;
  std::uint64_t log_keep_bytes = 0;
  bool lock_ordered = false;
  bool deadlock_search = true;
  bool heat = true;
  bool verify_reads = false;
  hf_message_fn on_message = nullptr;
  void* message_context = nullptr;

  // Borrows the strings.
  [[nodiscard]] hf_open_options c_options() const noexcept {
    hf_open_options c = HF_OPEN_OPTIONS_INIT;
    c.flags = detail::flag(!create, HF_OPEN_NO_CREATE) | detail::flag(!background_thread, HF_OPEN_NO_THREAD) |
              detail::flag(lock_ordered, HF_OPEN_LOCK_ORDERED) |
              detail::flag(!deadlock_search, HF_OPEN_NO_DEADLOCK_SEARCH) | detail::flag(!heat, HF_OPEN_NO_HEAT) |
              detail::flag(verify_reads, HF_OPEN_VERIFY_READS);
    c.label = detail::to_label(label);
    c.memory_directory = detail::to_label(memory_directory);
    c.map_size = map_size;
    c.overlay_bytes_max = overlay_bytes_max;
    c.log_segment_size_max = log_segment_size_max;
    c.txn_bytes_max = txn_bytes_max;
    c.open_timeout_ms = detail::to_ms(open_timeout);
    c.overload_timeout_ms = detail::to_ms(overload_timeout);
    c.flush_interval_ms = detail::to_ms(flush_interval);
    c.merge_interval_ms = detail::to_ms(merge_interval);
    c.sweep_interval_ms = detail::to_ms(sweep_interval);
    c.txn_deadline_ms = detail::to_ms(txn_deadline);
    c.txn_idle_ms = detail::to_ms(txn_idle);
    c.isolation = static_cast<std::uint32_t>(isolation);
    c.durability = static_cast<std::uint32_t>(durability);
    c.tables_max = tables_max;
    c.lock_timeout_ms = detail::to_ms(lock_timeout);
    c.locks_max = locks_max;
    c.log_keep_bytes = log_keep_bytes;
    c.on_message = on_message;
    c.message_context = message_context;
    return c;
  }
};

struct txn_options {
  bool read_only = false;
  bool base_only = false;
  bool read_durable = false;
  holdfast::isolation isolation = isolation::by_default;
  holdfast::durability durability = durability::by_default;
  milliseconds deadline{0};
  milliseconds idle{0};
  std::string label{};
  milliseconds lock_timeout{0};
  bool lock_ordered = false;
  bool deadlock_search = true;
  bool heat = true;
  const Session* session = nullptr;  // runs inside of its locks

  // Borrows the label.
  [[nodiscard]] hf_txn_options c_options() const noexcept {
    hf_txn_options c = HF_TXN_OPTIONS_INIT;
    c.flags = detail::flag(read_only, HF_TXN_READ_ONLY) | detail::flag(base_only, HF_TXN_BASE_ONLY) |
              detail::flag(read_durable, HF_TXN_READ_DURABLE) | detail::flag(lock_ordered, HF_TXN_LOCK_ORDERED) |
              detail::flag(!deadlock_search, HF_TXN_NO_DEADLOCK_SEARCH) | detail::flag(!heat, HF_TXN_NO_HEAT);
    c.isolation = static_cast<std::uint32_t>(isolation);
    c.durability = static_cast<std::uint32_t>(durability);
    c.deadline_ms = detail::to_ms(deadline);
    c.idle_ms = detail::to_ms(idle);
    c.label = detail::to_label(label);
    c.lock_timeout_ms = detail::to_ms(lock_timeout);
    c.session = session != nullptr ? session->c_session() : nullptr;
    return c;
  }
};

struct transact_options {
  std::uint32_t attempts_max = 0;
  milliseconds total_timeout{0};
  microseconds backoff_min{0};
  microseconds backoff_max{0};
  txn_options txn{};

  // Borrows the label.
  [[nodiscard]] hf_transact_options c_options() const noexcept {
    hf_transact_options c = HF_TRANSACT_OPTIONS_INIT;
    c.attempts_max = attempts_max;
    c.total_timeout_ms = detail::to_ms(total_timeout);
    c.backoff_min_us = detail::to_us(backoff_min);
    c.backoff_max_us = detail::to_us(backoff_max);
    c.txn = txn.c_options();
    return c;
  }
};

// Which rows of a table, and in which order. Borrows its bytes.
struct bounds {
  bytes_view low{};   // empty: from the first row
  bytes_view high{};  // empty: to the last row
  bytes_view prefix{};
  bool low_exclusive = false;
  bool high_inclusive = false;
  bool reverse = false;
  std::uint64_t skip = 0;
  std::uint64_t limit = 0;           // 0 = all
  lock_mode lock = lock_mode::none;  // locks each row before giving it
  lock_wait wait = lock_wait::wait;
  milliseconds lock_timeout{0};

  [[nodiscard]] hf_cursor_options c_options() const noexcept {
    hf_cursor_options c = HF_CURSOR_OPTIONS_INIT;
    c.flags = detail::flag(reverse, HF_CURSOR_REVERSE) | detail::flag(low_exclusive, HF_CURSOR_LOW_EXCLUSIVE) |
              detail::flag(high_inclusive, HF_CURSOR_HIGH_INCLUSIVE);
    c.low = low.c_bytes();
    c.high = high.c_bytes();
    c.prefix = prefix.c_bytes();
    c.skip = skip;
    c.limit = limit;
    c.lock_mode = static_cast<std::uint32_t>(lock);
    c.lock_wait = static_cast<std::uint32_t>(wait);
    c.lock_timeout_ms = detail::to_ms(lock_timeout);
    return c;
  }
};

}  // namespace holdfast

#endif  // HOLDFAST_HPP_OPTIONS_HPP
