// SPDX-License-Identifier: Apache-2.0
// Futexes on words in shared memory (futex(2), without FUTEX_PRIVATE_FLAG). Any thread of any process that maps the
// word may wait and wake. A wake can be lost when the waker is killed before the system call, so every wait here
// has a bound, and callers look again when it ends.
#pragma once

#include <atomic>
#include <cstdint>

namespace hf::platform {

using FutexWord = std::atomic<std::uint32_t>;
static_assert(FutexWord::is_always_lock_free && sizeof(FutexWord) == 4);

// Sleeps while word == expected, at most timeout_ns. Returns on a wake, a changed value, a signal or the bound:
// the caller has to look at the word again.
void futex_wait(const FutexWord& word, std::uint32_t expected, std::uint64_t timeout_ns) noexcept;

// Wakes up to `count` waiters. Returns how many were woken.
int futex_wake(const FutexWord& word, int count) noexcept;
inline constexpr int kWakeAll = 0x7fffffff;

}  // namespace hf::platform
