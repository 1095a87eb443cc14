// SPDX-License-Identifier: Apache-2.0
#include "sale.h"

#include <chrono>
#include <optional>
#include <thread>

#include "rows.h"

namespace flash_sale {

using holdfast::bytes_of;
using holdfast::result;

void think() { std::this_thread::sleep_for(std::chrono::microseconds(20)); }

result<Outcome> claim_coupon(holdfast::Transaction& txn, const Shop& shop, const Options& options,
                             std::uint32_t buyer) {
  // As long as there are coupons everybody stands in line for the row, and who came first is first. Once they are gone
  // a look is enough: the thousands who come too late lock nothing and wait for nobody.
  const auto some_left = [](const std::optional<holdfast::row>& row) {
    return row.has_value() && value_of<std::int64_t>(*row).value_or(0) > 0;
  };
  const auto coupons = txn.lock_if(shop.coupons, Key(0), some_left, {.strict = true});
  if (!coupons) return coupons.error();

  // Read after the lock was had: what is read before it may have changed during the wait, and would conflict.
  const auto claim = find_value<std::uint32_t>(txn, shop.claims, buyer);
  if (!claim) return claim.error();
  if (claim->has_value()) return Outcome::kRepeated;
  if (!coupons->locked) return Outcome::kSoldOut;
  const auto left = value_of<std::int64_t>(*coupons->row);
  if (!left) return left.error();
  think();

  const auto serial = static_cast<std::uint32_t>(options.coupons - *left + 1);
  const std::int64_t left_after = *left - 1;
  if (auto done = txn.insert(shop.claims, Key(buyer), bytes_of(serial)); !done) return done.error();
  if (auto done = txn.insert(shop.serials, Key(serial), bytes_of(buyer)); !done) return done.error();
  if (auto done = txn.put(shop.coupons, Key(0), bytes_of(left_after)); !done) return done.error();
  return Outcome::kYes;
}

result<Outcome> buy_basket(holdfast::Transaction& txn, const Shop& shop, const Options& options, std::uint32_t buyer) {
  // A row that is not there can be locked too: the second click waits for the first, and then sees its order.
  const auto earlier = txn.find_for_update(shop.orders, Key(buyer));
  if (!earlier) return earlier.error();
  if (earlier->has_value()) return Outcome::kRepeated;
  const auto coupon = find_value<std::uint32_t>(txn, shop.claims, buyer);
  if (!coupon) return coupon.error();
  const Order order = price_order(basket_of(options.seed, buyer), coupon->has_value());

  // 'Sold out' is answered here, at once. That there are enough when it counts is decided by the commit, for all lines
  // together; until then the stock is not locked, so any number of buyers may think about the last item.
  for (std::uint32_t line = 0; line < order.count; ++line) {
    const Key product(order.products[line]);
    if (auto done = txn.add(shop.stock, product, -1, {.min = 0}); !done) return done.error();
  }
  think();

  if (auto done = txn.add(shop.points, Key(buyer), -order_total(order), {.min = 0}); !done) return done.error();
  for (std::uint32_t line = 0; line < order.count; ++line) {
    const Key product(order.products[line]);
    if (auto done = txn.add(shop.tills, product, order.paid[line]); !done) return done.error();
  }
  if (auto done = txn.insert(shop.orders, Key(buyer), bytes_of(order)); !done) return done.error();
  return Outcome::kYes;
}

result<Outcome> like(holdfast::Transaction& txn, const Shop& shop, const Options& options, std::uint32_t buyer,
                     std::uint32_t picture) {
  const Key key(buyer * options.likes + picture);
  if (auto done = txn.insert(shop.likes, key, bytes_of(buyer)); !done) return done.error();
  return Outcome::kYes;
}

}  // namespace flash_sale
