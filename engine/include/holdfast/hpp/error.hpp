// SPDX-License-Identifier: Apache-2.0
// Part of holdfast.hpp: errors, and answers that may be one.
#ifndef HOLDFAST_HPP_ERROR_HPP
#define HOLDFAST_HPP_ERROR_HPP

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "holdfast/holdfast.h"

namespace holdfast {

// A code, and where the handle knew more than the code, its detail. Copies share the detail.
class [[nodiscard]] error {
 public:
  error(int code) noexcept : code_(code) {}
  explicit error(const hf_error& detail) : code_(detail.code), detail_(std::make_shared<const hf_error>(detail)) {}
  // An error of the caller's own, to be answered by the function of a transact(). Codes below 1000 are Holdfast's.
  error(int code, std::string_view message) : code_(code) {
    hf_error own = HF_ERROR_INIT;
    own.code = code;
    std::memcpy(own.message, message.data(), std::min(message.size(), sizeof own.message - 1));
    detail_ = std::make_shared<const hf_error>(own);
  }

  [[nodiscard]] int code() const noexcept { return code_; }
  [[nodiscard]] const char* name() const noexcept { return hf_code_name(code_); }
  // Of the detail, or the text of the code.
  [[nodiscard]] std::string message() const { return detail_ ? detail_->message : hf_code_text(code_); }
  // Null when there is nothing to tell beyond the code.
  [[nodiscard]] const hf_error* detail() const noexcept { return detail_.get(); }

  [[nodiscard]] bool is(int code) const noexcept { return code_ == code; }
  [[nodiscard]] bool is_retryable() const noexcept { return hf_is_retryable(code_) != 0; }
  [[nodiscard]] bool is_not_committed() const noexcept { return hf_is_not_committed(code_) != 0; }
  [[nodiscard]] bool is_maybe_committed() const noexcept { return hf_is_maybe_committed(code_) != 0; }

 private:
  int code_;
  std::shared_ptr<const hf_error> detail_;
};

// Thrown by value() only.
class exception : public std::exception {
 public:
  explicit exception(holdfast::error why)
      : why_(std::move(why)), message_(std::string(why_.name()) + ": " + why_.message()) {}
  [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }
  [[nodiscard]] const holdfast::error& error() const noexcept { return why_; }

 private:
  holdfast::error why_;
  std::string message_;
};

namespace detail {

[[noreturn]] inline void throw_or_abort([[maybe_unused]] const error& why) {
#if defined(__cpp_exceptions)
  throw exception(why);
#else
  std::abort();
#endif
}

}  // namespace detail

// A T, or the error why there is none. T of its own: `result<T> r = t;` and `result<T> r = error(...);`.
template <typename T>
class [[nodiscard]] result {
 public:
  using value_type = T;
  result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  result(holdfast::error why) noexcept : state_(std::in_place_index<1>, std::move(why)) {}

  [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }
  // HF_OK when there is a value.
  [[nodiscard]] int code() const noexcept { return has_value() ? static_cast<int>(HF_OK) : error().code(); }
  // Requires: !has_value().
  [[nodiscard]] const holdfast::error& error() const noexcept { return *std::get_if<1>(&state_); }

  // Require: has_value().
  T& operator*() & noexcept { return *std::get_if<0>(&state_); }
  const T& operator*() const& noexcept { return *std::get_if<0>(&state_); }
  T&& operator*() && noexcept { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() noexcept { return std::get_if<0>(&state_); }
  const T* operator->() const noexcept { return std::get_if<0>(&state_); }

  // Throws holdfast::exception when there is none; aborts in programs built without exceptions.
  T& value() & { return has_value() ? **this : (detail::throw_or_abort(error()), **this); }
  const T& value() const& { return has_value() ? **this : (detail::throw_or_abort(error()), **this); }
  T&& value() && { return std::move(value()); }
  template <typename U>
  [[nodiscard]] T value_or(U&& otherwise) const& {
    return has_value() ? **this : static_cast<T>(std::forward<U>(otherwise));
  }

 private:
  std::variant<T, holdfast::error> state_;
};

template <>
class [[nodiscard]] result<void> {
 public:
  using value_type = void;
  result() noexcept = default;
  result(holdfast::error why) noexcept : error_(std::move(why)) {}

  [[nodiscard]] bool has_value() const noexcept { return error_.code() == HF_OK; }
  explicit operator bool() const noexcept { return has_value(); }
  [[nodiscard]] int code() const noexcept { return error_.code(); }
  [[nodiscard]] const holdfast::error& error() const noexcept { return error_; }
  void value() const {
    if (!has_value()) detail::throw_or_abort(error_);
  }

 private:
  holdfast::error error_ = HF_OK;
};

using status = result<void>;

namespace detail {

// The error of a call that answered `code`, with the detail that `ask` (hf_error* -> int) gets from the handle. What is
// said by the code alone, as "no such row" in a loop of look-ups, is not asked for.
template <typename Ask>
error make_error(int code, Ask&& ask) {
  if (code == HF_NOT_FOUND || code == HF_END) return code;
  hf_error info = HF_ERROR_INIT;
  if (ask(&info) != HF_OK || info.code != code) return code;
  return error(info);
}

}  // namespace detail

}  // namespace holdfast

#endif  // HOLDFAST_HPP_ERROR_HPP
