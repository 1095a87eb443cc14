// SPDX-License-Identifier: Apache-2.0
// Layer `base`: bytes, status, checksums, clocks. Knows nothing of the rest; everything may include it.
//
// Bytes is a borrowed run of bytes. It compares as unsigned bytes, which is the order of keys everywhere.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace hf {

using Bytes = std::string_view;

// Commit sequence number: one per commit, dense, the serialization order. 0 means "before every commit".
using Csn = std::uint64_t;
// Number of a table; never reused inside a database. 0 means none.
using TableId = std::uint32_t;

inline constexpr std::size_t kKeySizeMax = 511;               // LMDB's limit
inline constexpr std::size_t kValueSizeMax = 16u << 20;       // 16 MiB
inline constexpr Csn kCsnMax = (std::uint64_t{1} << 56) - 1;  // rows keep flags in the top byte beside it

// Next multiple of `alignment`, a power of two.
constexpr std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) noexcept {
  return (value + alignment - 1) & ~(alignment - 1);
}

// Big-endian coding keeps integers in key order.
inline void store_be32(char* out, std::uint32_t value) noexcept {
  value = __builtin_bswap32(value);
  std::memcpy(out, &value, sizeof value);
}
inline std::uint32_t load_be32(const char* in) noexcept {
  std::uint32_t value;
  std::memcpy(&value, in, sizeof value);
  return __builtin_bswap32(value);
}
inline void store_be64(char* out, std::uint64_t value) noexcept {
  value = __builtin_bswap64(value);
  std::memcpy(out, &value, sizeof value);
}
inline std::uint64_t load_be64(const char* in) noexcept {
  std::uint64_t value;
  std::memcpy(&value, in, sizeof value);
  return __builtin_bswap64(value);
}

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "shared and disk formats are little endian");

}  // namespace hf
