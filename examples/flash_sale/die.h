// SPDX-License-Identifier: Apache-2.0
// For what is a fault and not an answer to a buyer.
#pragma once

#include <string>
#include <type_traits>
#include <utility>

#include "holdfast/holdfast.hpp"

namespace flash_sale {

// Says why on stderr and ends this process at once with status 2.
[[noreturn]] void die(const std::string& what);
[[noreturn]] void die(const std::string& what, const holdfast::error& why);

// The value of an answer; dies when it is an error.
template <typename T>
T must(holdfast::result<T> answer, const std::string& what) {
  if (!answer) die(what, answer.error());
  if constexpr (!std::is_void_v<T>) return std::move(*answer);
}

}  // namespace flash_sale
