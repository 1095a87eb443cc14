// SPDX-License-Identifier: Apache-2.0
// The board: memory that all processes of the sale share. It says which visits are taken, what each was answered, and
// how the sale is going. It belongs to the demonstration, not to the shop: it is what the buyers remember, and the
// audit compares the database with it.
//
// A visit is one click of a buyer. Every tenth buyer clicks twice: those two visits stand side by side, so that two
// threads, mostly of two processes, serve them at the same time.
//
// A process may be killed at any moment, so nothing here needs two writes to be true: whoever wants to know how many
// visits are finished counts them. (A report of contention.h that a killed process left half written is not there.)
// Lifetime: mapped by the parent before it forks, gone with the last process.
//
//   waiting (owner 0) --take_visit--> taken (owner n) --finish--> finished
//         ^                               |
//         +------- give_back (parent) ----+   the owner was killed
#pragma once

#include <atomic>
#include <cstdint>

#include "contention.h"
#include "options.h"

namespace flash_sale {

enum class Outcome : std::uint8_t {
  kNone = 0,  // no answer yet
  kYes,       // granted, bought, liked: durable
  kSoldOut,
  kRepeated,  // this buyer had it already
  kTooPoor,   // not enough points
};

struct Visit {
  std::atomic<std::uint8_t> owner;       // worker + 1; 0: waiting
  std::atomic<std::uint8_t> given_back;  // 1: a killed worker had it; a transaction of it may have happened unanswered
  std::atomic<std::uint8_t> finished;    // 1: all answers are there
  std::atomic<Outcome> claim;
  std::atomic<Outcome> order;
  std::atomic<std::uint8_t> likes_answered;
  std::atomic<std::uint16_t> likes_yes;  // bit per picture: answered kYes; set before likes_answered grows
};
static_assert(std::atomic<std::uint8_t>::is_always_lock_free && std::atomic<std::uint64_t>::is_always_lock_free);

// Latencies in buckets of an eighth of a power of two: at most 12.5 % wide.
class Histogram {
 public:
  void add(std::uint64_t value_us) noexcept;
  // Upper end of the bucket in which that share of the values ends. 0 when there are none.
  std::uint64_t quantile_us(double share) const noexcept;
  std::uint64_t max_us() const noexcept { return max_us_.load(std::memory_order_relaxed); }

 private:
  static constexpr unsigned kBucketCount = 8 * 40;  // up to 2^42 us
  std::atomic<std::uint64_t> counts_[kBucketCount];
  std::atomic<std::uint64_t> max_us_;
};

// What the audit found in the database.
struct AuditResult {
  static constexpr unsigned kProductsMax = 8;
  static constexpr unsigned kFailuresShownMax = 20;
  std::uint64_t finished;  // 1: the audit ran to its end
  std::uint64_t claims;
  std::uint64_t orders;
  std::uint64_t likes;
  std::uint64_t items[kProductsMax];  // sold, by the orders
  std::int64_t points_initial;
  std::int64_t points_buyers;
  std::int64_t points_tills;
  std::uint64_t unanswered;  // rows whose transaction happened though its process was killed before the answer
  std::uint64_t failures;
  char failure_texts[kFailuresShownMax][160];  // of the first ones, NUL-terminated
};

// Everything but the visits. Relaxed order is enough for figures; the three after `visit_next` carry the start.
struct Figures {
  std::atomic<std::uint32_t> visit_next;  // hint: visits below were offered once
  std::atomic<std::uint32_t> workers_ready;
  std::atomic<std::uint32_t> counting;    // 1: the stock-taker has locked the shelves
  std::atomic<std::uint32_t> open;        // 1: the doors are open
  std::atomic<std::uint64_t> started_ns;  // monotonic clock
  std::atomic<std::uint64_t> ended_ns;
  std::atomic<std::uint64_t> commits_before;  // csn and syncs of the database, at the start
  std::atomic<std::uint64_t> commits_after;   // and at the end
  std::atomic<std::uint64_t> syncs_before;
  std::atomic<std::uint64_t> syncs_after;
  Histogram latency;  // of transactions that wrote: from the call to the durable answer, retries included
  Contention contention;
  AuditResult audit;
};

// How many visits got which answer.
struct Tally {
  std::uint64_t visits_finished = 0;
  std::uint64_t visits_given_back = 0;
  std::uint64_t claims[5] = {};  // by Outcome
  std::uint64_t orders[5] = {};
  std::uint64_t likes_yes = 0;
  std::uint64_t likes_repeated = 0;
};

class Board {
 public:
  explicit Board(const Options& options);  // dies when there is no memory
  Board(const Board&) = delete;
  Board& operator=(const Board&) = delete;

  std::uint32_t visit_count() const noexcept { return visit_count_; }
  Visit& visit(std::uint32_t index) noexcept { return visits_[index]; }
  const Visit& visit(std::uint32_t index) const noexcept { return visits_[index]; }
  static std::uint32_t buyer_of(std::uint32_t visit) noexcept;

  // A visit for this worker; visit_count() when all are finished. Waits for visits of other workers to finish or come
  // back.
  std::uint32_t take_visit(std::uint32_t worker) noexcept;
  // Makes the unfinished visits of a dead worker available again.
  void give_back(std::uint32_t worker) noexcept;

  Tally tally() const noexcept;
  Figures& figures() noexcept { return *figures_; }
  const Figures& figures() const noexcept { return *figures_; }

 private:
  bool take(std::uint32_t visit, std::uint32_t worker) noexcept;

  std::uint32_t visit_count_;
  Figures* figures_;
  Visit* visits_;
};

std::uint64_t monotonic_ns() noexcept;
void raise_to(std::atomic<std::uint64_t>& maximum, std::uint64_t value) noexcept;

}  // namespace flash_sale
