// SPDX-License-Identifier: Apache-2.0
#include "reading.h"

#include <chrono>
#include <thread>

namespace tool {
namespace {

constexpr auto kCatchUpMax = std::chrono::seconds(30);
constexpr auto kLookEvery = std::chrono::milliseconds(20);

bool base_catches_up(holdfast::Database& database) {
  const std::uint64_t csn = must(database.stats()).csn_published;
  const auto end = std::chrono::steady_clock::now() + kCatchUpMax;
  while (must(database.stats()).csn_applied < csn) {
    check_interrupted();
    if (std::chrono::steady_clock::now() >= end) return false;
    const holdfast::status merged = database.maintain(/*merge_all=*/true);
    if (!merged && merged.code() != HF_BUSY) fail("merging", merged.error());
    if (!merged) std::this_thread::sleep_for(kLookEvery);
  }
  return true;
}

}  // namespace

holdfast::Transaction begin_long_read(holdfast::Database& database) {
  const bool base_only = base_catches_up(database);
  return must(database.begin({.read_only = true, .base_only = base_only}));
}

void check_range(const holdfast::Rows& range) {
  if (!range.status()) fail("reading", range.status().error());
}

}  // namespace tool
