// SPDX-License-Identifier: Apache-2.0
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "failure.h"
#include "files.h"

namespace tool {
namespace {

constexpr std::size_t kFlushSize = 64 * 1024;  // bytes; a pipe's default room

}  // namespace

void guard_standard_streams() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (fcntl(fd, F_GETFD) != -1 || errno != EBADF) continue;
    // The wrong direction, so that using the stream is the error that it ought to be.
    const int opened = open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
    if (opened != fd && opened >= 0) close(opened);
  }
}

Output& out() {
  static Output output;
  return output;
}

void Output::write(std::string_view text) {
  buffer_ += text;
  if (buffer_.size() >= kFlushSize) flush();
}

void Output::line(std::string_view text) {
  buffer_ += text;
  buffer_ += '\n';
  if (buffer_.size() >= kFlushSize) flush();
}

void Output::json(const Json& value) { line(value.dump(-1, ' ', false, Json::error_handler_t::replace)); }

void Output::flush() {
  if (buffer_.empty()) return;
  const std::string text = std::move(buffer_);
  buffer_.clear();
  if (const int error_number = write_all(STDOUT_FILENO, text); error_number != 0) {
    if (error_number == EPIPE) throw Failure(kPipeClosed, "");
    fail_system("cannot write the output", error_number);
  }
}

bool Output::is_terminal() const noexcept { return isatty(STDOUT_FILENO) == 1; }

void say(const std::string& text) {
  // There is nowhere to report a failure of stderr to.
  (void)write_all(STDERR_FILENO, "holdfast: " + text + "\n");
}

}  // namespace tool
