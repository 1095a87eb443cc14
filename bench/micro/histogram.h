// SPDX-License-Identifier: Apache-2.0
// How long things took: counts in logarithmic steps. It may lie in memory that processes share.
//
// Thread contract: one writer. Readers wait until it has stopped, or see a moment ago.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace hf::bench {

class Histogram {
 public:
  void add(std::uint64_t ns) {
    // Loads and stores instead of read-modify-write: there is one writer. All relaxed: each word speaks for itself.
    std::atomic<std::uint64_t>& count = counts_[index_of(ns)];
    count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (ns > max_ns_.load(std::memory_order_relaxed)) max_ns_.store(ns, std::memory_order_relaxed);
  }

  void merge(const Histogram& other) {
    for (std::size_t i = 0; i < kCounts; ++i) counts_[i] += other.counts_[i].load(std::memory_order_relaxed);
    max_ns_ = std::max(max_ns_.load(), other.max_ns_.load(std::memory_order_relaxed));
  }

  std::uint64_t count() const {
    std::uint64_t total = 0;
    for (const auto& count : counts_) total += count.load(std::memory_order_relaxed);
    return total;
  }
  // The time that `share` of all were not above, rounded up to a step's end; 0 when nothing was added.
  double quantile_us(double share) const {
    const auto rank = static_cast<std::uint64_t>(share * static_cast<double>(count()));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < kCounts; ++i) {
      seen += counts_[i].load(std::memory_order_relaxed);
      if (seen > rank) return std::min(static_cast<double>(low_of(i + 1)) / 1e3, max_us());
    }
    return max_us();
  }
  double max_us() const { return static_cast<double>(max_ns_.load(std::memory_order_relaxed)) / 1e3; }

 private:
  static constexpr unsigned kStepBits = 4;  // 16 steps to a power of two: times are told apart to 6%
  static constexpr std::uint64_t kSteps = 1u << kStepBits;
  static constexpr unsigned kPowers = 40;  // 2^40 ns is a quarter of an hour; what is longer counts as that
  static constexpr std::size_t kCounts = (kPowers - kStepBits + 1) * kSteps;

  static std::size_t index_of(std::uint64_t ns) {
    if (ns < kSteps) return ns;
    const unsigned shift = static_cast<unsigned>(std::bit_width(ns)) - 1 - kStepBits;
    return std::min<std::size_t>(shift * kSteps + (ns >> shift), kCounts - 1);
  }
  // The least value with that index.
  static std::uint64_t low_of(std::size_t index) {
    if (index < kSteps) return index;
    const std::uint64_t shift = index / kSteps - 1;
    return (kSteps + index % kSteps) << shift;
  }

  std::array<std::atomic<std::uint64_t>, kCounts> counts_{};
  std::atomic<std::uint64_t> max_ns_{0};
};

}  // namespace hf::bench
