// SPDX-License-Identifier: Apache-2.0
#include "board.h"

#include <sys/mman.h>

#include <bit>
#include <chrono>
#include <memory>
#include <new>
#include <thread>

#include "die.h"

namespace flash_sale {
namespace {

constexpr std::uint32_t kDoubleClickEvery = 10;  // buyers

constexpr std::uint32_t visits_of(std::uint32_t buyers) {
  return buyers + (buyers + kDoubleClickEvery - 1) / kDoubleClickEvery;
}

}  // namespace

std::uint64_t monotonic_ns() noexcept {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

void raise_to(std::atomic<std::uint64_t>& maximum, std::uint64_t value) noexcept {
  std::uint64_t seen = maximum.load(std::memory_order_relaxed);
  while (seen < value && !maximum.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

void Histogram::add(std::uint64_t value_us) noexcept {
  raise_to(max_us_, value_us);
  // Below 8 a bucket per value; above, the three bits after the leading one choose the eighth.
  unsigned bucket = static_cast<unsigned>(value_us);
  if (value_us >= 8) {
    const unsigned shift = static_cast<unsigned>(std::bit_width(value_us)) - 4;
    bucket = 8 * (shift + 1) + static_cast<unsigned>((value_us >> shift) & 7);
  }
  counts_[bucket < kBucketCount ? bucket : kBucketCount - 1].fetch_add(1, std::memory_order_relaxed);
}

std::uint64_t Histogram::quantile_us(double share) const noexcept {
  std::uint64_t total = 0;
  for (const auto& count : counts_) total += count.load(std::memory_order_relaxed);
  if (total == 0) return 0;
  const double wanted = share * static_cast<double>(total);
  std::uint64_t seen = 0;
  for (unsigned bucket = 0; bucket < kBucketCount; ++bucket) {
    seen += counts_[bucket].load(std::memory_order_relaxed);
    if (static_cast<double>(seen) < wanted || seen == 0) continue;
    if (bucket < 8) return bucket;
    const std::uint64_t end = std::uint64_t{8 + bucket % 8 + 1} << (bucket / 8 - 1);
    return end < max_us() ? end : max_us();
  }
  return max_us();
}

Board::Board(const Options& options) : visit_count_(visits_of(options.buyers)) {
  constexpr std::size_t kVisitsAt = (sizeof(Figures) + 63) / 64 * 64;
  const std::size_t size = kVisitsAt + visit_count_ * sizeof(Visit);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) die("no memory for the board");
  figures_ = new (memory) Figures{};
  visits_ = reinterpret_cast<Visit*>(static_cast<char*>(memory) + kVisitsAt);
  std::uninitialized_value_construct_n(visits_, visit_count_);
}

std::uint32_t Board::buyer_of(std::uint32_t visit) noexcept {
  constexpr std::uint32_t kGroup = kDoubleClickEvery + 1;
  const std::uint32_t place = visit % kGroup;
  return visit / kGroup * kDoubleClickEvery + (place == 0 ? 0 : place - 1);
}

bool Board::take(std::uint32_t visit, std::uint32_t worker) noexcept {
  std::uint8_t waiting = 0;
  // Pairs with the release of give_back: the answers that the killed worker left are seen.
  return visits_[visit].owner.compare_exchange_strong(waiting, static_cast<std::uint8_t>(worker + 1),
                                                      std::memory_order_acquire, std::memory_order_relaxed);
}

std::uint32_t Board::take_visit(std::uint32_t worker) noexcept {
  while (figures_->visit_next.load(std::memory_order_relaxed) < visit_count_) {
    const std::uint32_t visit = figures_->visit_next.fetch_add(1, std::memory_order_relaxed);
    if (visit < visit_count_ && take(visit, worker)) return visit;
  }
  // All were offered once. What is left: those given back, and those whose taker was killed between two lines above.
  while (true) {
    bool all_finished = true;
    for (std::uint32_t visit = 0; visit < visit_count_; ++visit) {
      if (visits_[visit].owner.load(std::memory_order_relaxed) == 0 && take(visit, worker)) return visit;
      all_finished = all_finished && visits_[visit].finished.load(std::memory_order_acquire) != 0;
    }
    if (all_finished) return visit_count_;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void Board::give_back(std::uint32_t worker) noexcept {
  for (std::uint32_t index = 0; index < visit_count_; ++index) {
    Visit& visit = visits_[index];
    if (visit.owner.load(std::memory_order_relaxed) != worker + 1) continue;
    if (visit.finished.load(std::memory_order_acquire) != 0) continue;
    visit.given_back.store(1, std::memory_order_relaxed);
    visit.owner.store(0, std::memory_order_release);
  }
}

Tally Board::tally() const noexcept {
  Tally tally;
  for (std::uint32_t index = 0; index < visit_count_; ++index) {
    const Visit& visit = visits_[index];
    tally.visits_finished += visit.finished.load(std::memory_order_relaxed);
    tally.visits_given_back += visit.given_back.load(std::memory_order_relaxed);
    ++tally.claims[static_cast<unsigned>(visit.claim.load(std::memory_order_relaxed))];
    ++tally.orders[static_cast<unsigned>(visit.order.load(std::memory_order_relaxed))];
    const std::uint64_t answered = visit.likes_answered.load(std::memory_order_relaxed);
    const auto yes = static_cast<std::uint64_t>(std::popcount(visit.likes_yes.load(std::memory_order_relaxed)));
    tally.likes_yes += yes;
    tally.likes_repeated += answered > yes ? answered - yes : 0;
  }
  return tally;
}

}  // namespace flash_sale
