// SPDX-License-Identifier: Apache-2.0
// Part of holdfast.hpp: time, and how options cross to C.
#ifndef HOLDFAST_HPP_TIME_HPP
#define HOLDFAST_HPP_TIME_HPP

#include <chrono>
#include <cstdint>
#include <string>

#include "holdfast/holdfast.h"

namespace holdfast {

using milliseconds = std::chrono::milliseconds;
using microseconds = std::chrono::microseconds;

// No limit. Zero milliseconds mean the default wherever an option is meant.
inline constexpr milliseconds forever = milliseconds::max();

namespace detail {

inline std::uint64_t to_ms(milliseconds time) noexcept {
  if (time == forever) return HF_FOREVER;
  return time.count() > 0 ? static_cast<std::uint64_t>(time.count()) : 0;
}
inline std::uint64_t to_us(microseconds time) noexcept {
  return time.count() > 0 ? static_cast<std::uint64_t>(time.count()) : 0;
}
inline std::uint32_t flag(bool is_set, std::uint32_t bit) noexcept { return is_set ? bit : 0; }
inline const char* to_label(const std::string& label) noexcept { return label.empty() ? nullptr : label.c_str(); }

}  // namespace detail
}  // namespace holdfast

#endif  // HOLDFAST_HPP_TIME_HPP
