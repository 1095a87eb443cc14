// SPDX-License-Identifier: Apache-2.0
// Rows of the sale: keyed by a number, holding a plain struct or number as it lies in memory.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

#include "holdfast/holdfast.hpp"

namespace flash_sale {

// A counter's eight bytes are least significant first: here, an int64 as it lies in memory.
static_assert(std::endian::native == std::endian::little);

// A number as a row's key: big-endian, so that rows lie in order of the number.
class Key {
 public:
  explicit Key(std::uint32_t number) noexcept
      : data_{static_cast<std::uint8_t>(number >> 24), static_cast<std::uint8_t>(number >> 16),
              static_cast<std::uint8_t>(number >> 8), static_cast<std::uint8_t>(number)} {}
  // Borrowed: what Holdfast is to remember, it copies during the call.
  operator holdfast::bytes_view() const noexcept { return std::span(data_); }

  static constexpr std::size_t kSize = 4;
  // Requires: `key` is one, so it has kSize bytes.
  static std::uint32_t number(std::string_view key) noexcept {
    std::uint32_t number = 0;
    for (std::size_t place = 0; place < kSize; ++place) number = number << 8 | static_cast<std::uint8_t>(key[place]);
    return number;
  }

 private:
  std::array<std::uint8_t, kSize> data_;
};

// Copied out of the row, whose bytes are gone with the transaction.
template <typename Value>
holdfast::result<Value> value_of(const holdfast::row& row) {
  static_assert(std::is_trivially_copyable_v<Value>);
  Value value;
  if (row.value.size() != sizeof value) return holdfast::error(HF_CORRUPT, "a row does not have its size");
  std::memcpy(&value, row.value.data(), sizeof value);
  return value;
}

// Empty when there is no such row.
template <typename Value>
holdfast::result<std::optional<Value>> find_value(holdfast::Transaction& txn, holdfast::Table table,
                                                  std::uint32_t key) {
  const auto row = txn.find(table, Key(key));
  if (!row) return row.error();
  if (!row->has_value()) return std::optional<Value>();
  const auto value = value_of<Value>(**row);
  if (!value) return value.error();
  return std::optional<Value>(*value);
}

}  // namespace flash_sale
