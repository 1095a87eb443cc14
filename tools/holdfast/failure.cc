// SPDX-License-Identifier: Apache-2.0
#include "failure.h"

#include <cstring>

#include "signals.h"

namespace tool {

int exit_code_of(int hf_code) noexcept {
  switch (hf_code) {
    case HF_OK:
      return kDone;
    case HF_NOT_FOUND:
    case HF_NO_TABLE:
    case HF_EXISTS:
    case HF_VERSION_MISMATCH:
    case HF_OUT_OF_RANGE:
    case HF_WRONG_TYPE:
    case HF_END:
      return kNothing;
    case HF_INVALID_ARGUMENT:
    case HF_TOO_LARGE:
      return kUsage;
    case HF_CORRUPT:
    case HF_WRONG_FORMAT:
      return kDamaged;
    case HF_DISK_FULL:
    case HF_IO_ERROR:
    case HF_NO_MEMORY:
    case HF_FAILED:
    case HF_MAYBE_COMMITTED:
      return kTrouble;
    case HF_INTERNAL:
    case HF_MISUSE:
    case HF_FORKED:
    case HF_READ_ONLY:
      return kBug;
    default:
      return kRefused;
  }
}

std::string describe(const std::string& what, const holdfast::error& why) {
  const std::string message = why.message();
  std::string text = what.empty() ? message : what + ": " + message;
  return text + " (" + why.name() + ")";
}

void fail(const std::string& what, const holdfast::error& why) {
  // What was cancelled was cancelled by the user: the library has no other reason to.
  if (why.is(HF_CANCELLED)) check_interrupted();
  throw Failure(exit_code_of(why.code()), describe(what, why));
}

void fail_usage(const std::string& message) { throw Failure(kUsage, message); }

void fail_system(const std::string& what, int error_number) {
  throw Failure(kTrouble, what + ": " + std::strerror(error_number));
}

holdfast::error to_error(int code, const hf_error& info) {
  return info.code == code ? holdfast::error(info) : holdfast::error(code);
}

}  // namespace tool
