// SPDX-License-Identifier: Apache-2.0
// Fork detection, and the one thing a forked child must do at once: close its copies of the liveness descriptors, which
// would otherwise keep the parent's slots looking alive after the parent's death.
#pragma once

#include <atomic>
#include <cstdint>

namespace hf::txn {

namespace detail {
extern std::atomic<std::uint64_t> fork_count;
}

// Counts the forks between this process and the first one that used the library. One relaxed load, in every call of the
// C interface.
inline std::uint64_t fork_generation() noexcept { return detail::fork_count.load(std::memory_order_relaxed); }

// Remembers a descriptor to close in a child; false when the table (256) is full.
bool close_in_child(int fd) noexcept;
void keep_in_child(int fd) noexcept;

}  // namespace hf::txn
