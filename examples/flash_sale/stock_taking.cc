// SPDX-License-Identifier: Apache-2.0
#include "stock_taking.h"

#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "die.h"
#include "rows.h"
#include "shop.h"

namespace flash_sale {
namespace {

constexpr std::uint64_t kCountingMaxNs = 2'000'000'000;  // below the lock timeout of patient buyers
constexpr auto kLookEvery = std::chrono::milliseconds(1);
// After the refusal: time for the buyers to stand in line again, with patience.
constexpr auto kPackUp = std::chrono::milliseconds(3);

// Shared: others may count too, and look, but nobody takes or adds.
holdfast::status lock_shelves(holdfast::Transaction& txn, const Shop& shop) {
  const std::vector<std::uint32_t> numbers = {4, 2, 0, 1, 3};  // as the stock-taker walks; no order is wrong here
  std::vector<Key> keys(numbers.begin(), numbers.end());
  std::vector<holdfast::lock_request> requests;
  for (const Key& key : keys) {
    requests.push_back({.table = shop.stock, .key = key, .mode = holdfast::lock_mode::shared});
  }
  const auto locked = txn.lock_many(requests);
  if (!locked) return locked.error();
  return {};
}

holdfast::result<std::int64_t> count_shelves(holdfast::Transaction& txn, const Shop& shop) {
  std::int64_t total = 0;
  for (std::uint32_t product = 0; product < kProductCount; ++product) {
    const auto left = txn.counter_get(shop.stock, Key(product));
    if (!left) return left.error();
    total += *left;
  }
  return total;
}

void wait_for_a_refusal(const Figures& figures) {
  while (figures.open.load(std::memory_order_acquire) == 0) std::this_thread::sleep_for(kLookEvery);
  const std::uint64_t end_ns = monotonic_ns() + kCountingMaxNs;
  while (!figures.contention.lock_refusal.is_there() && monotonic_ns() < end_ns) {
    std::this_thread::sleep_for(kLookEvery);
  }
  std::this_thread::sleep_for(kPackUp);
}

}  // namespace

void run_stock_taking(const std::string& database_path, const Options& options, Board& board) {
  holdfast::Database database = open_database(database_path, "stock-taker");
  const Shop shop = Shop::open(database);
  Figures& figures = board.figures();

  holdfast::Transaction txn = must(database.begin({.label = "opening count"}), "begin to count");
  must(lock_shelves(txn, shop), "lock the shelves");
  figures.counting.store(1, std::memory_order_release);  // pairs with the acquire before the doors open
  wait_for_a_refusal(figures);
  const std::int64_t total = must(count_shelves(txn, shop), "count the shelves");
  if (total != options.stock) die("somebody took from the shelves while they were locked");
  figures.contention.note_queues(database);
  figures.contention.note_stats(must(database.stats(), "read the figures"));
  must(txn.commit(), "end the count");
}

}  // namespace flash_sale
