// SPDX-License-Identifier: Apache-2.0
// A thin C++ face over the part of holdfast.h that the sale needs: rows are keyed by a number and hold a plain struct.
//
// Database and the tables it gives may be used by any thread. A Transaction belongs to the function it was given to.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>

#include "holdfast/holdfast.h"

namespace flash_sale {

// Says why on stderr and ends this process at once with status 2. For what is a fault and not an answer to a buyer.
[[noreturn]] void die(const std::string& what);

// A number as a row's key: big-endian, so that rows lie in order of the number.
class Key {
 public:
  explicit Key(std::uint32_t number) noexcept
      : data_{static_cast<std::uint8_t>(number >> 24), static_cast<std::uint8_t>(number >> 16),
              static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)} {}
  hf_bytes bytes() const noexcept { return {data_.data(), data_.size()}; }

  // Requires: `key` was written by bytes().
  static std::uint32_t number(hf_bytes key) noexcept {
    const auto* data = static_cast<const std::uint8_t*>(key.data);
    return std::uint32_t{data[0]} << 24 | std::uint32_t{data[1]} << 16 | std::uint32_t{data[2]} << 8 | data[3];
  }

 private:
  std::array<std::uint8_t, 4> data_;
};

// A running transaction, owned by whoever began it. Functions answer HF_ codes.
class Transaction {
 public:
  explicit Transaction(hf_txn* txn) noexcept : txn_(txn) {}

  template <typename Value>
  [[nodiscard]] int get(hf_table* table, std::uint32_t key, Value* value) const noexcept {
    static_assert(std::is_trivially_copyable_v<Value>);
    std::size_t size = 0;
    const int code = hf_get_into(txn_, table, Key(key).bytes(), value, sizeof(Value), &size);
    const bool other_size = code == HF_TOO_LARGE || (code == HF_OK && size != sizeof(Value));
    return other_size ? static_cast<int>(HF_CORRUPT) : code;
  }
  template <typename Value>
  [[nodiscard]] int put(hf_table* table, std::uint32_t key, const Value& value) const noexcept {
    return hf_put(txn_, table, Key(key).bytes(), {&value, sizeof value}, 0);
  }
  template <typename Value>
  [[nodiscard]] int insert(hf_table* table, std::uint32_t key, const Value& value) const noexcept {
    return hf_insert(txn_, table, Key(key).bytes(), {&value, sizeof value}, 0);
  }

  // Calls `visit(key, value)` for every row of the table, in order of key. HF_OK after the last.
  template <typename Value, typename Visit>
  [[nodiscard]] int for_each(hf_table* table, Visit&& visit) const {
    hf_cursor* cursor = nullptr;
    int code = hf_cursor_open(txn_, table, nullptr, &cursor);
    while (code == HF_OK) {
      hf_bytes key{};
      hf_row row{};
      code = hf_cursor_next(cursor, &key, &row);
      if (code != HF_OK) break;
      Value value;
      if (key.size != Key(0).bytes().size || row.value.size != sizeof value) {
        code = HF_CORRUPT;
        break;
      }
      std::memcpy(&value, row.value.data, sizeof value);
      visit(Key::number(key), value);
    }
    hf_cursor_close(&cursor);
    return code == HF_END ? static_cast<int>(HF_OK) : code;
  }

 private:
  hf_txn* txn_;
};

class Database {
 public:
  // `flags` as HF_OPEN_...; `label` names this process in reports. Dies when it cannot.
  Database(const std::string& path, std::uint32_t flags, const std::string& label);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  hf_table* create_table(const char* name);
  hf_table* open_table(const char* name);
  hf_stats stats();

  // Runs `body(Transaction)` as a transaction, again as often as it has to. Body answers HF_OK to commit.
  template <typename Body>
  [[nodiscard]] int transact(const hf_transact_options& options, Body body, hf_transact_result* result) {
    *result = {};
    result->size = sizeof *result;
    result->error.size = sizeof result->error;
    const auto call = [](hf_txn* txn, void* context) -> int {
      return (*static_cast<Body*>(context))(Transaction(txn));
    };
    return hf_transact(db_, &options, call, &body, result);
  }

 private:
  hf_db* db_ = nullptr;
};

}  // namespace flash_sale
