// SPDX-License-Identifier: Apache-2.0
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "failure.h"
#include "signals.h"

namespace tool {
namespace {

constexpr std::size_t kReadSize = 256 * 1024;  // bytes

}  // namespace

int write_all(int fd, std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written >= 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      // Somebody made the terminal or pipe non-blocking for us too.
      pollfd wait = {fd, POLLOUT, 0};
      if (poll(&wait, 1, -1) < 0 && errno == EINTR && interrupted()) return EINTR;
    } else if (errno != EINTR || interrupted()) {
      return errno;
    }
  }
  return 0;
}

Input::Input(const std::string& path) : name_(path == "-" ? "stdin" : path) {
  fd_ = path == "-" ? STDIN_FILENO : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat status = {};
  if (fd_ < 0 || fstat(fd_, &status) != 0) fail_system("cannot read " + name_, errno);
  if (S_ISDIR(status.st_mode)) fail_system("cannot read " + name_, EISDIR);
  is_file_ = S_ISREG(status.st_mode);
  size_ = is_file_ ? static_cast<std::uint64_t>(status.st_size) : 0;
}

Input::~Input() {
  if (fd_ > STDIN_FILENO) close(fd_);
}

bool Input::fill() {
  if (ended_) return false;
  buffer_.erase(0, begin_);
  begin_ = 0;
  const std::size_t before = buffer_.size();
  buffer_.resize(before + kReadSize);
  for (;;) {
    const ssize_t got = read(fd_, buffer_.data() + before, kReadSize);
    if (got >= 0) {
      buffer_.resize(before + static_cast<std::size_t>(got));
      ended_ = got == 0;
      return got != 0;
    }
    if (errno == EINTR) {
      check_interrupted();
    } else if (errno == EAGAIN) {
      pollfd wait = {fd_, POLLIN, 0};
      (void)poll(&wait, 1, -1);
      check_interrupted();
    } else {
      fail_system("cannot read " + name_, errno);
    }
  }
}

void Input::take(std::size_t size) {
  begin_ += size;
  position_ += size;
}

bool Input::read_line(std::string& line, std::size_t size_max) {
  std::size_t searched = 0;
  for (;;) {
    const std::size_t end = buffer_.find('\n', begin_ + searched);
    const std::size_t size = (end == std::string::npos ? buffer_.size() : end) - begin_;
    if (size > size_max) fail_usage(name_ + ": a line is longer than " + std::to_string(size_max) + " bytes");
    if (end != std::string::npos) {
      line.assign(buffer_, begin_, size);
      take(size + 1);
      return true;
    }
    searched = size;
    if (fill()) continue;
    if (size == 0) return false;
    line.assign(buffer_, begin_, size);
    take(size);
    return true;
  }
}

std::string_view Input::peek(std::size_t size) {
  while (buffer_.size() - begin_ < size && fill()) {
  }
  return std::string_view(buffer_).substr(begin_, size);
}

bool Input::read_exactly(void* data, std::size_t size) {
  const std::string_view bytes = peek(size);
  if (bytes.size() < size) return false;
  if (size != 0) std::memcpy(data, bytes.data(), size);
  take(size);
  return true;
}

bool Input::read_rest(std::string& bytes, std::size_t size_max) {
  const std::string_view rest = peek(size_max + 1);
  if (rest.size() > size_max) return false;
  bytes.assign(rest);
  take(rest.size());
  return true;
}

}  // namespace tool
