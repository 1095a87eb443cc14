// SPDX-License-Identifier: Apache-2.0
#include "shop.h"

#include <algorithm>
#include <string>

#include "die.h"
#include "rows.h"

namespace flash_sale {
namespace {

// Buyers per transaction of set_up_shop: large enough to share the syncs, far below the limit of a transaction.
constexpr std::uint32_t kFillBatch = 10'000;

std::uint64_t mix(std::uint64_t value) noexcept {
  value = (value ^ (value >> 33)) * 0xff51afd7ed558ccdu;
  value = (value ^ (value >> 33)) * 0xc4ceb9fe1a85ec53u;
  return value ^ (value >> 33);
}

// Runs `body` (Transaction& -> status) as a transaction.
template <typename Body>
void fill(holdfast::Database& database, Body body) {
  must(database.transact(body), "fill the shop");
}

}  // namespace

Basket basket_of(std::uint64_t seed, std::uint32_t buyer) noexcept {
  std::uint64_t random = mix(mix(seed) + buyer + 1);
  const auto below = [&random](std::uint64_t bound) {
    random = mix(random + 0x9e3779b97f4a7c15u);
    return static_cast<std::uint32_t>(random % bound);
  };
  std::array<std::uint32_t, kProductCount> shelf;
  for (std::uint32_t product = 0; product < kProductCount; ++product) shelf[product] = product;
  Basket basket;
  basket.count = 1 + below(kBasketSizeMax);
  for (std::uint32_t line = 0; line < basket.count; ++line) {
    std::swap(shelf[line], shelf[line + below(kProductCount - line)]);
    basket.products[line] = shelf[line];
  }
  return basket;
}

Order price_order(const Basket& basket, bool discounted) noexcept {
  Order order;
  order.count = basket.count;
  order.discounted = discounted ? 1 : 0;
  for (std::uint32_t line = 0; line < basket.count; ++line) {
    const std::uint32_t product = basket.products[line];
    const std::int64_t discount = discounted && line == 0 ? kDiscount : 0;
    order.products[line] = product;
    order.paid[line] = static_cast<std::uint32_t>(kPrices[product] - discount);
  }
  return order;
}

std::int64_t order_total(const Order& order) noexcept {
  std::int64_t total = 0;
  for (const std::uint32_t paid : order.paid) total += paid;
  return total;
}

std::int64_t initial_stock(const Options& options, std::uint32_t product) noexcept {
  return options.stock / kProductCount + (product < options.stock % kProductCount ? 1 : 0);
}

Shop Shop::open(holdfast::Database& database) {
  const auto table = [&](const char* name) { return must(database.ensure_table(name), std::string("open ") + name); };
  Shop shop;
  shop.coupons = table("coupons");
  shop.claims = table("claims");
  shop.serials = table("serials");
  shop.stock = table("stock");
  shop.points = table("points");
  shop.tills = table("tills");
  shop.orders = table("orders");
  shop.likes = table("likes");
  return shop;
}

holdfast::Database open_database(const std::string& path, const std::string& label, bool create) {
  return must(holdfast::Database::open(path, {.label = label, .create = create}), "open " + path);
}

void set_up_shop(holdfast::Database& database, const Options& options) {
  const Shop shop = Shop::open(database);
  fill(database, [&](holdfast::Transaction& txn) -> holdfast::status {
    const std::int64_t coupons = options.coupons;
    if (auto put = txn.put(shop.coupons, Key(0), holdfast::bytes_of(coupons)); !put) return put;
    for (std::uint32_t product = 0; product < kProductCount; ++product) {
      const std::int64_t stock = initial_stock(options, product);
      if (auto set = txn.counter_set(shop.stock, Key(product), stock); !set) return set;
      if (auto set = txn.counter_set(shop.tills, Key(product), 0); !set) return set;
    }
    return {};
  });
  for (std::uint32_t first = 0; first < options.buyers; first += kFillBatch) {
    const std::uint32_t end = std::min(first + kFillBatch, options.buyers);
    fill(database, [&](holdfast::Transaction& txn) -> holdfast::status {
      for (std::uint32_t buyer = first; buyer < end; ++buyer) {
        if (auto set = txn.counter_set(shop.points, Key(buyer), options.points); !set) return set;
      }
      return {};
    });
  }
}

}  // namespace flash_sale
