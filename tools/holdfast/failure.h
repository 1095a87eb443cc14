// SPDX-License-Identifier: Apache-2.0
// Why a command ends early, and the exit codes, which are part of its interface: docs/holdfast.1 lists them.
#pragma once

#include <exception>
#include <string>
#include <type_traits>
#include <utility>

#include "holdfast/holdfast.hpp"

namespace tool {

enum ExitCode : int {
  kDone = 0,
  kNothing = 1,        // no such row, table or database; a condition on the row was not met
  kUsage = 2,          // wrong arguments, or input that cannot be read
  kRefused = 3,        // busy, locked, in conflict, over a limit: nothing was done, trying again may help
  kDamaged = 4,        // damage was found, or it is no database of this version
  kTrouble = 5,        // the system: disk full, no permission, read or write error, no memory
  kBug = 6,            // a broken invariant in Holdfast
  kInterrupted = 130,  // 128 + SIGINT
  kPipeClosed = 141,   // 128 + SIGPIPE: who read the output has gone
  kTerminated = 143,   // 128 + SIGTERM
};

// Ends the command. `message` goes to stderr behind "holdfast: "; empty: there is nothing to say.
class Failure : public std::exception {
 public:
  Failure(int exit_code, std::string message) : exit_code_(exit_code), message_(std::move(message)) {}
  int exit_code() const noexcept { return exit_code_; }
  const std::string& message() const noexcept { return message_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  int exit_code_;
  std::string message_;
};

int exit_code_of(int hf_code) noexcept;

// "what: message of the library (CODE)". `what` may be empty.
std::string describe(const std::string& what, const holdfast::error& why);
[[noreturn]] void fail(const std::string& what, const holdfast::error& why);
[[noreturn]] void fail_usage(const std::string& message);
// With the text of errno.
[[noreturn]] void fail_system(const std::string& what, int error_number);

// The detail where there is one, as functions give it that have no handle to ask.
holdfast::error to_error(int code, const hf_error& info);

// The value of an answer, or the end of the command.
template <typename T>
T must(holdfast::result<T> answer, const std::string& what = {}) {
  if (!answer) fail(what, answer.error());
  if constexpr (!std::is_void_v<T>) return std::move(*answer);
}

}  // namespace tool
