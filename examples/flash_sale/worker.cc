// SPDX-License-Identifier: Apache-2.0
#include "worker.h"

#include <chrono>
#include <thread>
#include <vector>

#include "checkout.h"
#include "die.h"
#include "holdfast/holdfast.hpp"
#include "shop.h"

namespace flash_sale {
namespace {

constexpr auto kLookEvery = std::chrono::microseconds(200);

// The last worker to come takes the figures of the start and opens the doors. Naive, nobody counts the stock.
void wait_for_doors(holdfast::Database& database, const Options& options, Figures& figures) {
  if (figures.workers_ready.fetch_add(1, std::memory_order_acq_rel) + 1 == options.processes) {
    while (!options.naive && figures.counting.load(std::memory_order_acquire) == 0) {
      std::this_thread::sleep_for(kLookEvery);
    }
    const hf_stats stats = must(database.stats(), "read the figures");
    figures.commits_before.store(stats.csn_published, std::memory_order_relaxed);
    figures.syncs_before.store(stats.syncs, std::memory_order_relaxed);
    figures.started_ns.store(monotonic_ns(), std::memory_order_relaxed);
    figures.open.store(1, std::memory_order_release);  // pairs with the acquires on `open`
  }
  while (figures.open.load(std::memory_order_acquire) == 0) std::this_thread::sleep_for(kLookEvery);
}

// Each answer is written down once, right after it was given. A visit of a killed worker goes on behind its last
// answer: the transaction without an answer is run again, and finds the buyer's row if it had happened.
void serve(Checkout& checkout, Visit& visit, std::uint32_t buyer, std::uint32_t likes) {
  const auto answer = [](std::atomic<Outcome>& slot, auto&& ask) {
    if (slot.load(std::memory_order_relaxed) == Outcome::kNone) slot.store(ask(), std::memory_order_relaxed);
  };
  answer(visit.claim, [&] { return checkout.claim_coupon(buyer); });
  answer(visit.order, [&] { return checkout.buy_basket(buyer); });
  for (std::uint32_t picture = visit.likes_answered.load(std::memory_order_relaxed); picture < likes; ++picture) {
    if (checkout.like(buyer, picture) == Outcome::kYes) {
      visit.likes_yes.fetch_or(static_cast<std::uint16_t>(1u << picture), std::memory_order_relaxed);
    }
    visit.likes_answered.store(static_cast<std::uint8_t>(picture + 1), std::memory_order_relaxed);
  }
  visit.finished.store(1, std::memory_order_release);  // pairs with the acquires on `finished`: answers are seen
}

}  // namespace

void run_worker(const std::string& database_path, const Options& options, Board& board, std::uint32_t worker) {
  holdfast::Database database = open_database(database_path, "worker " + std::to_string(worker + 1));
  Checkout checkout(database, board, options);
  Figures& figures = board.figures();
  wait_for_doors(database, options, figures);

  std::vector<std::thread> threads;
  for (std::uint32_t thread = 0; thread < options.threads; ++thread) {
    threads.emplace_back([&] {
      for (std::uint32_t visit = board.take_visit(worker); visit < board.visit_count();
           visit = board.take_visit(worker)) {
        serve(checkout, board.visit(visit), Board::buyer_of(visit), options.likes);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  raise_to(figures.ended_ns, monotonic_ns());
  const hf_stats stats = must(database.stats(), "read the figures");
  raise_to(figures.commits_after, stats.csn_published);
  raise_to(figures.syncs_after, stats.syncs);
  figures.contention.note_stats(stats);
}

}  // namespace flash_sale
