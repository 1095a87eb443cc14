// SPDX-License-Identifier: Apache-2.0
// Goal: each time falls into the bucket whose bounds hold it. Method: the bounds themselves, and one beside each.
#include "base/histogram.h"

#include <gtest/gtest.h>

namespace hf {
namespace {

TEST(Histogram, Bounds) {
  EXPECT_EQ(time_bucket(0), 0u);
  EXPECT_EQ(time_bucket(1), 0u);
  for (std::uint32_t i = 0; i + 1 < kTimeBuckets; ++i) {
    const std::uint64_t bound_ns = (std::uint64_t{1} << i) * 1000;
    EXPECT_EQ(time_bucket(bound_ns), i);
    EXPECT_EQ(time_bucket(bound_ns + 1), i + 1);
  }
  EXPECT_EQ(time_bucket(UINT64_MAX), kTimeBuckets - 1);
}

TEST(Histogram, AddsUp) {
  TimeHistogram histogram{};
  histogram.add(900);
  histogram.add(1'500);
  histogram.add(1'500);
  histogram.add(10'000'000'000);
  const Times times = histogram.read();
  EXPECT_EQ(times.counts[0], 1u);
  EXPECT_EQ(times.counts[1], 2u);
  EXPECT_EQ(times.counts[kTimeBuckets - 1], 1u);
  EXPECT_EQ(times.count(), 4u);
  EXPECT_EQ(times.sum_ns, 10'000'003'900u);
}

}  // namespace
}  // namespace hf
