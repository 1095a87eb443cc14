// SPDX-License-Identifier: Apache-2.0
// Part of holdfast.hpp: whole transactions in one call.
#ifndef HOLDFAST_HPP_OPERATIONS_HPP
#define HOLDFAST_HPP_OPERATIONS_HPP

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "holdfast/holdfast.h"
#include "holdfast/hpp/options.hpp"
#include "holdfast/hpp/rows.hpp"
#include "holdfast/hpp/transaction.hpp"

namespace holdfast {

// Checks and operations, to be run as one transaction by Database::execute(). Borrows every key, value and buffer.
class Operations {
 public:
  Operations& get(Table table, bytes_view key, std::span<std::byte> buffer = {}) {
    hf_operation& operation = append(HF_OP_GET, table, key);
    operation.buffer = buffer.data();
    operation.capacity = buffer.size();
    return *this;
  }
  Operations& check_exists(Table table, bytes_view key) { return plain(HF_OP_CHECK_EXISTS, table, key); }
  Operations& check_absent(Table table, bytes_view key) { return plain(HF_OP_CHECK_ABSENT, table, key); }
  Operations& check_version(Table table, bytes_view key, std::uint64_t version) {
    append(HF_OP_CHECK_VERSION, table, key).version = version;
    return *this;
  }
  Operations& check_value(Table table, bytes_view key, bytes_view value) {
    append(HF_OP_CHECK_VALUE, table, key).value = value.c_bytes();
    return *this;
  }
  Operations& put(Table table, bytes_view key, bytes_view value, milliseconds ttl = {}) {
    return write(HF_OP_PUT, table, key, value, ttl);
  }
  Operations& insert(Table table, bytes_view key, bytes_view value, milliseconds ttl = {}) {
    return write(HF_OP_INSERT, table, key, value, ttl);
  }
  Operations& update(Table table, bytes_view key, bytes_view value, milliseconds ttl = {}) {
    return write(HF_OP_UPDATE, table, key, value, ttl);
  }
  Operations& put_if_version(Table table, bytes_view key, bytes_view value, std::uint64_t version,
                             milliseconds ttl = {}) {
    write(HF_OP_PUT_IF_VERSION, table, key, value, ttl);
    list_.back().version = version;
    return *this;
  }
  Operations& remove(Table table, bytes_view key) { return plain(HF_OP_DELETE, table, key); }
  Operations& erase(Table table, bytes_view key) { return plain(HF_OP_ERASE, table, key); }
  // Result: the counter after the commit.
  Operations& add(Table table, bytes_view key, std::int64_t delta, counter_bounds bounds = {}) {
    hf_operation& operation = append(HF_OP_ADD, table, key);
    operation.delta = delta;
    operation.min = bounds.min;
    operation.max = bounds.max;
    return *this;
  }
  Operations& counter_set(Table table, bytes_view key, std::int64_t value) {
    append(HF_OP_COUNTER_SET, table, key).delta = value;
    return *this;
  }
  // Exclusive. Those that follow one another are taken in canonical order.
  Operations& lock(Table table, bytes_view key) { return plain(HF_OP_LOCK, table, key); }

  [[nodiscard]] std::size_t size() const noexcept { return list_.size(); }
  [[nodiscard]] const hf_operation* data() const noexcept { return list_.data(); }
  void clear() noexcept { list_.clear(); }

 private:
  hf_operation& append(std::uint32_t kind, Table table, bytes_view key) {
    hf_operation& operation = list_.emplace_back();
    operation.kind = kind;
    operation.table = table.c_table();
    operation.key = key.c_bytes();
    return operation;
  }
  Operations& plain(std::uint32_t kind, Table table, bytes_view key) {
    append(kind, table, key);
    return *this;
  }
  Operations& write(std::uint32_t kind, Table table, bytes_view key, bytes_view value, milliseconds ttl) {
    hf_operation& operation = append(kind, table, key);
    operation.value = value.c_bytes();
    operation.ttl_ms = detail::to_ms(ttl);
    return *this;
  }

  std::vector<hf_operation> list_;
};

// How a transact() or execute() went, also when it failed.
struct transact_report {
  std::uint32_t attempts = 0;
  std::uint64_t csn = 0;  // of the commit; 0 when nothing was written
  microseconds elapsed{0};
};

}  // namespace holdfast

#endif  // HOLDFAST_HPP_OPERATIONS_HPP
