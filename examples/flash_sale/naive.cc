// SPDX-License-Identifier: Apache-2.0
#include "naive.h"

#include <array>

#include "rows.h"
#include "sale.h"

namespace flash_sale::naive {
namespace {

using holdfast::bytes_of;
using holdfast::result;

// Reads a counter and writes it back: what counters are there to make unnecessary.
holdfast::status change(holdfast::Transaction& txn, holdfast::Table table, std::uint32_t key, std::int64_t delta) {
  const auto value = txn.counter_get(table, Key(key));
  if (!value) return value.error();
  return txn.counter_set(table, Key(key), *value + delta);
}

}  // namespace

result<Outcome> claim_coupon(holdfast::Transaction& txn, const Shop& shop, const Options& options,
                             std::uint32_t buyer) {
  const auto claim = find_value<std::uint32_t>(txn, shop.claims, buyer);
  if (!claim) return claim.error();
  if (claim->has_value()) return Outcome::kRepeated;
  const auto coupons = find_value<std::int64_t>(txn, shop.coupons, 0);
  if (!coupons) return coupons.error();
  const std::int64_t left = coupons->value_or(0);
  if (left <= 0) return Outcome::kSoldOut;
  think();

  const auto serial = static_cast<std::uint32_t>(options.coupons - left + 1);
  const std::int64_t left_after = left - 1;
  if (auto done = txn.put(shop.claims, Key(buyer), bytes_of(serial)); !done) return done.error();
  if (auto done = txn.put(shop.serials, Key(serial), bytes_of(buyer)); !done) return done.error();
  if (auto done = txn.put(shop.coupons, Key(0), bytes_of(left_after)); !done) return done.error();
  return Outcome::kYes;
}

result<Outcome> buy_basket(holdfast::Transaction& txn, const Shop& shop, const Options& options, std::uint32_t buyer) {
  const auto earlier = find_value<Order>(txn, shop.orders, buyer);
  if (!earlier) return earlier.error();
  if (earlier->has_value()) return Outcome::kRepeated;
  const auto coupon = find_value<std::uint32_t>(txn, shop.claims, buyer);
  if (!coupon) return coupon.error();
  const Order order = price_order(basket_of(options.seed, buyer), coupon->has_value());

  std::array<std::int64_t, kBasketSizeMax> left{};
  for (std::uint32_t line = 0; line < order.count; ++line) {
    const auto stock = txn.counter_get(shop.stock, Key(order.products[line]));
    if (!stock) return stock.error();
    left[line] = *stock;
    if (left[line] <= 0) return Outcome::kSoldOut;
  }
  const auto points = txn.counter_get(shop.points, Key(buyer));
  if (!points) return points.error();
  if (*points < order_total(order)) return Outcome::kTooPoor;
  think();

  if (auto done = txn.put(shop.orders, Key(buyer), bytes_of(order)); !done) return done.error();
  for (std::uint32_t line = 0; line < order.count; ++line) {
    const Key product(order.products[line]);
    if (auto done = txn.counter_set(shop.stock, product, left[line] - 1); !done) return done.error();
    if (auto done = change(txn, shop.tills, order.products[line], order.paid[line]); !done) return done.error();
  }
  const std::int64_t points_after = *points - order_total(order);
  if (auto done = txn.counter_set(shop.points, Key(buyer), points_after); !done) return done.error();
  return Outcome::kYes;
}

result<Outcome> like(holdfast::Transaction& txn, const Shop& shop, const Options& options, std::uint32_t buyer,
                     std::uint32_t picture) {
  const Key key(buyer * options.likes + picture);
  if (auto done = txn.put(shop.likes, key, bytes_of(buyer)); !done) return done.error();
  return Outcome::kYes;
}

}  // namespace flash_sale::naive
