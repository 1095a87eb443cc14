// SPDX-License-Identifier: Apache-2.0
#include "platform/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace hf::platform {

// No FUTEX_PRIVATE_FLAG in either call: the kernel then names the word by its page of the file, which is the same in
// every process, and not by its address, which is not.

void futex_wait(const FutexWord& word, std::uint32_t expected, std::uint64_t timeout_ns) noexcept {
  timespec timeout;
  timeout.tv_sec = static_cast<time_t>(timeout_ns / 1'000'000'000u);
  timeout.tv_nsec = static_cast<long>(timeout_ns % 1'000'000'000u);
  // EAGAIN (changed value), EINTR and ETIMEDOUT all mean the same to the caller: look again.
  const int saved_errno = errno;
  syscall(SYS_futex, &word, FUTEX_WAIT, expected, &timeout, nullptr, 0);
  errno = saved_errno;
}

int futex_wake(const FutexWord& word, int count) noexcept {
  const int saved_errno = errno;
  const long woken = syscall(SYS_futex, &word, FUTEX_WAKE, count, nullptr, nullptr, 0);
  errno = saved_errno;
  return woken < 0 ? 0 : static_cast<int>(woken);
}

}  // namespace hf::platform
