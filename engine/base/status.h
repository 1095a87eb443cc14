// SPDX-License-Identifier: Apache-2.0
// Status and Result: how everything inside Holdfast says no. Nothing throws across a layer.
//
// A Status is a code of holdfast/errors.def with an optional message that names the thing. Making an OK status
// allocates nothing. Both types are plain values: share one between threads only with outside locking.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace hf {

enum class Code : int {
#define HF_ERROR(name, number, retryable, not_committed, maybe_committed, text) k##name = number,
#include "holdfast/errors.def"
#undef HF_ERROR
};

// Name without prefix ("CONFLICT") and one-line text of a code; unknown numbers give "UNKNOWN".
const char* code_name(int code) noexcept;
const char* code_text(int code) noexcept;
bool code_is_retryable(int code) noexcept;
bool code_is_not_committed(int code) noexcept;
bool code_is_maybe_committed(int code) noexcept;

class [[nodiscard]] Status {
 public:
  Status() noexcept = default;
  Status(Code code) noexcept : code_(code) {}  // NOLINT: a bare code is a status
  Status(Code code, std::string message);

  Status(Status&&) noexcept = default;
  Status& operator=(Status&&) noexcept = default;
  Status(const Status& other);
  Status& operator=(const Status& other);
  ~Status() = default;

  // A status for a failed system call: maps errno to a code and names the call and the thing.
  static Status from_errno(int error, const char* call, const std::string& thing);

  bool ok() const noexcept { return code_ == Code::kOK; }
  Code code() const noexcept { return code_; }
  // The message, or the code's own text where none was given.
  std::string message() const;

 private:
  Code code_ = Code::kOK;
  std::unique_ptr<std::string> message_;
};

// A value or the reason there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}                   // NOLINT: implicit by design
  Result(Status status) noexcept : status_(std::move(status)) {}  // NOLINT
  Result(Code code) noexcept : status_(code) {}                   // NOLINT

  bool ok() const noexcept { return value_.has_value(); }
  const Status& status() const& noexcept { return status_; }
  Status&& status() && noexcept { return std::move(status_); }
  Code code() const noexcept { return status_.code(); }

  // Requires: ok().
  T& value() & noexcept { return *value_; }
  const T& value() const& noexcept { return *value_; }
  T&& value() && noexcept { return std::move(*value_); }
  T* operator->() noexcept { return &*value_; }
  T& operator*() & noexcept { return *value_; }

 private:
  Status status_;
  std::optional<T> value_;
};

}  // namespace hf
