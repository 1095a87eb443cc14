// SPDX-License-Identifier: Apache-2.0
// A histogram of times in shared memory: how often something took up to 1, 2, 4, ... microseconds. Any thread of any
// process adds to it at any time (relaxed: figures for people, nothing is decided by them). A kill between its two
// stores leaves one event counted and its time missing from the sum; nobody repairs that.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace hf {

inline constexpr std::uint32_t kTimeBuckets = 24;

// The upper bound of bucket i in microseconds is 2^i; the last one, over 4.19 s, has none.
constexpr std::uint32_t time_bucket(std::uint64_t ns) noexcept {
  const std::uint64_t us = ns / 1000 + (ns % 1000 != 0 ? 1 : 0);
  const auto index = static_cast<std::uint32_t>(us <= 1 ? 0 : std::bit_width(us - 1));
  return index < kTimeBuckets ? index : kTimeBuckets - 1;
}

// What a histogram held when it was looked at.
struct Times {
  std::uint64_t counts[kTimeBuckets] = {};
  std::uint64_t sum_ns = 0;

  std::uint64_t count() const noexcept {
    std::uint64_t all = 0;
    for (const std::uint64_t one : counts) all += one;
    return all;
  }
};

struct alignas(64) TimeHistogram {
  std::atomic<std::uint64_t> counts[kTimeBuckets];
  std::atomic<std::uint64_t> sum_ns;
  std::uint64_t pad[7];  // zero

  void add(std::uint64_t ns) noexcept {
    counts[time_bucket(ns)].fetch_add(1, std::memory_order_relaxed);
    sum_ns.fetch_add(ns, std::memory_order_relaxed);
  }
  Times read() const noexcept {
    Times times;
    for (std::uint32_t i = 0; i < kTimeBuckets; ++i) times.counts[i] = counts[i].load(std::memory_order_relaxed);
    times.sum_ns = sum_ns.load(std::memory_order_relaxed);
    return times;
  }
};
static_assert(sizeof(TimeHistogram) == 256 && offsetof(TimeHistogram, sum_ns) == 192);

}  // namespace hf
