// SPDX-License-Identifier: Apache-2.0
#include "base/status.h"

#include <cerrno>
#include <cstring>

namespace hf {
namespace {

struct CodeRow {
  int number;
  const char* name;
  const char* text;
  bool retryable;
  bool not_committed;
  bool maybe_committed;
};

constexpr CodeRow kCodes[] = {
#define HF_ERROR(name, number, retryable, not_committed, maybe_committed, text) \
  {number, #name, text, retryable != 0, not_committed != 0, maybe_committed != 0},
#include "holdfast/errors.def"
#undef HF_ERROR
};

const CodeRow* find_code(int code) noexcept {
  for (const CodeRow& row : kCodes) {
    if (row.number == code) return &row;
  }
  return nullptr;
}

Code code_of_errno(int error) noexcept {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return Code::kDISK_FULL;
    case EMFILE:
    case ENFILE:
      return Code::kLIMIT;
    case ENOMEM:
      return Code::kNO_MEMORY;
    default:
      return Code::kIO_ERROR;
  }
}

}  // namespace

const char* code_name(int code) noexcept {
  const CodeRow* row = find_code(code);
  return row == nullptr ? "UNKNOWN" : row->name;
}
const char* code_text(int code) noexcept {
  const CodeRow* row = find_code(code);
  return row == nullptr ? "unknown status code" : row->text;
}
bool code_is_retryable(int code) noexcept {
  const CodeRow* row = find_code(code);
  return row != nullptr && row->retryable;
}
bool code_is_not_committed(int code) noexcept {
  const CodeRow* row = find_code(code);
  return row != nullptr && row->not_committed;
}
bool code_is_maybe_committed(int code) noexcept {
  const CodeRow* row = find_code(code);
  return row != nullptr && row->maybe_committed;
}

Status::Status(Code code, std::string message)
    : code_(code), message_(std::make_unique<std::string>(std::move(message))) {}

Status::Status(const Status& other)
    : code_(other.code_), message_(other.message_ ? std::make_unique<std::string>(*other.message_) : nullptr) {}

Status& Status::operator=(const Status& other) {
  if (this != &other) {
    code_ = other.code_;
    message_ = other.message_ ? std::make_unique<std::string>(*other.message_) : nullptr;
  }
  return *this;
}

Status Status::from_errno(int error, const char* call, const std::string& thing) {
  return Status(code_of_errno(error), std::string(call) + " " + thing + ": " + std::strerror(error));
}

std::string Status::message() const { return message_ ? *message_ : std::string(code_text(static_cast<int>(code_))); }

}  // namespace hf
