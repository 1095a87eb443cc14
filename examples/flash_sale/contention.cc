// SPDX-License-Identifier: Apache-2.0
#include "contention.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "board.h"
#include "die.h"
#include "rows.h"

namespace flash_sale {

void Refusal::note(std::uint32_t buyer, const holdfast::error& why) noexcept {
  std::uint32_t none = kNone;
  if (why.detail() == nullptr || !state_.compare_exchange_strong(none, kBeingWritten, std::memory_order_relaxed)) {
    return;
  }
  buyer_ = buyer;
  pid_ = getpid();
  report_ = *why.detail();
  state_.store(kThere, std::memory_order_release);  // pairs with is_there()
}

void Contention::note_stats(const hf_stats& stats) noexcept {
  // They only grow, so the greatest is the last.
  raise_to(lock_waits, stats.lock_waits);
  raise_to(lock_waited_us, stats.lock_waited_us);
  raise_to(lock_wait_longest_us, stats.lock_wait_longest_us);
  raise_to(lock_handovers, stats.lock_handovers);
  raise_to(lock_timeouts, stats.lock_timeouts);
  raise_to(deadlocks, stats.deadlocks);
  raise_to(hot_buckets_most, stats.hot_buckets);
}

void Contention::note_queues(holdfast::Database& database) {
  std::map<std::pair<std::string, std::string>, std::uint32_t> waiting;
  for (const holdfast::lock_info& party : must(database.locks(), "list the locks")) {
    if (party.wanted != holdfast::lock_mode::none && party.key.size() == Key::kSize)
      ++waiting[{party.table, party.key}];
  }
  std::vector<QueuePicture::Queue> found;
  for (const auto& [row, count] : waiting) {
    QueuePicture::Queue& queue = found.emplace_back();
    std::snprintf(queue.table.data(), queue.table.size(), "%s", row.first.c_str());
    queue.key = Key::number(row.second);
    queue.waiting = count;
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.waiting > b.waiting; });
  const std::size_t kept = std::min<std::size_t>(found.size(), queues.rows.size());
  std::copy_n(found.begin(), kept, queues.rows.begin());
  queues.count.store(static_cast<std::uint32_t>(kept), std::memory_order_release);
}

}  // namespace flash_sale
