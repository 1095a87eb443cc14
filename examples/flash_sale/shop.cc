// SPDX-License-Identifier: Apache-2.0
#include "shop.h"

#include <algorithm>

namespace flash_sale {
namespace {

// Buyers per transaction of set_up_shop: large enough to share the syncs, far below the limit of a transaction.
constexpr std::uint32_t kFillBatch = 10'000;

std::uint64_t mix(std::uint64_t value) noexcept {
  value = (value ^ (value >> 33)) * 0xff51afd7ed558ccdu;
  value = (value ^ (value >> 33)) * 0xc4ceb9fe1a85ec53u;
  return value ^ (value >> 33);
}

template <typename Body>
void fill(Database& database, Body body) {
  const hf_transact_options options = HF_TRANSACT_OPTIONS_INIT;
  hf_transact_result result;
  const int code = database.transact(options, body, &result);
  if (code != HF_OK) die(std::string("cannot fill the shop: ") + hf_code_name(code) + ": " + result.error.message);
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

Shop Shop::open(Database& database) {
  Shop shop;
  shop.coupons = database.open_table("coupons");
  shop.claims = database.open_table("claims");
  shop.serials = database.open_table("serials");
  shop.stock = database.open_table("stock");
  shop.points = database.open_table("points");
  shop.tills = database.open_table("tills");
  shop.orders = database.open_table("orders");
  shop.likes = database.open_table("likes");
  return shop;
}

void set_up_shop(Database& database, const Options& options) {
  for (const char* name : {"coupons", "claims", "serials", "stock", "points", "tills", "orders", "likes"}) {
    database.create_table(name);
  }
  const Shop shop = Shop::open(database);

  fill(database, [&](Transaction txn) {
    int code = txn.insert(shop.coupons, 0, std::int64_t{options.coupons});
    for (std::uint32_t product = 0; product < kProductCount && code == HF_OK; ++product) {
      code = txn.insert(shop.stock, product, initial_stock(options, product));
      if (code == HF_OK) code = txn.insert(shop.tills, product, std::int64_t{0});
    }
    return code;
  });
  for (std::uint32_t first = 0; first < options.buyers; first += kFillBatch) {
    const std::uint32_t end = std::min(first + kFillBatch, options.buyers);
    fill(database, [&](Transaction txn) {
      int code = HF_OK;
      for (std::uint32_t buyer = first; buyer < end && code == HF_OK; ++buyer) {
        code = txn.insert(shop.points, buyer, std::int64_t{options.points});
      }
      return code;
    });
  }
}

}  // namespace flash_sale
