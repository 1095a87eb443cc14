// SPDX-License-Identifier: Apache-2.0
#include "platform/stream.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <utility>

#include "platform/file.h"
#include "platform/test_point.h"

namespace hf::platform {
namespace {

constexpr const char* kName = "the stream";

// After EAGAIN: until the descriptor can be used again, whatever poll() says of it then.
void wait_for(int fd, short events) noexcept {
  pollfd entry = {fd, events, 0};
  (void)::poll(&entry, 1, -1);
}

}  // namespace

PipeGuard::PipeGuard() noexcept {
  static_assert(sizeof(sigset_t) <= sizeof saved_);
  sigset_t pending;
  sigpending(&pending);
  was_pending_ = sigismember(&pending, SIGPIPE) == 1;
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGPIPE);
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  std::memcpy(saved_, &before, sizeof before);
}

PipeGuard::~PipeGuard() {
  const int saved_errno = errno;
  if (!was_pending_) {
    sigset_t swallowed;
    sigemptyset(&swallowed);
    sigaddset(&swallowed, SIGPIPE);
    const timespec no_wait = {0, 0};
    while (sigtimedwait(&swallowed, nullptr, &no_wait) < 0 && errno == EINTR) {
    }
  }
  sigset_t before;
  std::memcpy(&before, saved_, sizeof before);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = saved_errno;
}

Status write_stream(int fd, const void* data, std::size_t size) {
  if (const int error = fault("stream.write")) return Status::from_errno(error, "write", kName);
  const PipeGuard pipe_guard;
  const SizeLimitGuard size_guard;
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = ::write(fd, static_cast<const char*>(data) + done, size - done);
    if (count > 0) {
      done += static_cast<std::size_t>(count);
    } else if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      wait_for(fd, POLLOUT);
    } else if (count == 0 || errno != EINTR) {
      return Status::from_errno(count == 0 ? EIO : errno, "write", kName);
    }
  }
  return {};
}

Result<std::size_t> read_some(int fd, void* out, std::size_t size) {
  if (const int error = fault("stream.read")) return Status::from_errno(error, "read", kName);
  for (;;) {
    const ssize_t count = ::read(fd, out, size);
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      wait_for(fd, POLLIN);
    } else if (errno != EINTR) {
      return Status::from_errno(errno, "read", kName);
    }
  }
}

Result<std::size_t> read_stream(int fd, void* out, std::size_t size) {
  std::size_t done = 0;
  while (done < size) {
    Result<std::size_t> got = read_some(fd, static_cast<char*>(out) + done, size - done);
    if (!got.ok()) return got;
    if (*got == 0) break;
    done += *got;
  }
  return done;
}

Result<Pipe> Pipe::make() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Status::from_errno(errno, "pipe2", kName);
  (void)::fcntl(ends[1], F_SETPIPE_SZ, 1 << 20);  // fewer switches between the two threads; the default does as well
  return Pipe(ends[0], ends[1]);
}

Pipe::Pipe(Pipe&& other) noexcept : ends_{std::exchange(other.ends_[0], -1), std::exchange(other.ends_[1], -1)} {}

Pipe::~Pipe() {
  close_end(0);
  close_end(1);
}

void Pipe::close_end(int which) noexcept {
  if (ends_[which] >= 0) ::close(std::exchange(ends_[which], -1));
}

}  // namespace hf::platform
