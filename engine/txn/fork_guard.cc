// SPDX-License-Identifier: Apache-2.0
#include "txn/fork_guard.h"

#include <pthread.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <mutex>

namespace hf::txn {

namespace detail {
std::atomic<std::uint64_t> fork_count{0};
}

namespace {

// Plain atomics: the child handler may run while any lock of the parent's other threads is held.
std::array<std::atomic<int>, 256> descriptors{};  // fd + 1, 0 = unused
std::once_flag registered;

void in_child() {
  detail::fork_count.fetch_add(1, std::memory_order_relaxed);
  for (std::atomic<int>& entry : descriptors) {
    const int fd = entry.exchange(0, std::memory_order_relaxed) - 1;
    if (fd >= 0) close(fd);
  }
}

}  // namespace

bool close_in_child(int fd) noexcept {
  std::call_once(registered, [] { pthread_atfork(nullptr, nullptr, in_child); });
  for (std::atomic<int>& entry : descriptors) {
    int expected = 0;
    if (entry.compare_exchange_strong(expected, fd + 1)) return true;
  }
  return false;
}

void keep_in_child(int fd) noexcept {
  for (std::atomic<int>& entry : descriptors) {
    int expected = fd + 1;
    if (entry.compare_exchange_strong(expected, 0)) return;
  }
}

}  // namespace hf::txn
