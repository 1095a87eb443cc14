// SPDX-License-Identifier: Apache-2.0
// The shop: its tables, their rows, its prices, and what each buyer wants.
//
//   table     key      value
//   coupons   0        int64: coupons left; whoever changes it holds its lock
//   claims    buyer    uint32: serial of the coupon that the buyer got
//   serials   serial   uint32: buyer that got this coupon; serials run from 1
//   stock     product  counter: items left
//   points    buyer    counter: points left
//   tills     product  counter: points taken for this product
//   orders    buyer    Order
//   likes     like     uint32: buyer; the number of a like is buyer * likes of each buyer + picture
//
// The sale rests on nothing but these rows: one claim, one order, one like of a picture per buyer,
// because the key says so.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "holdfast/holdfast.hpp"
#include "options.h"

namespace flash_sale {

inline constexpr std::uint32_t kProductCount = 5;
inline constexpr std::uint32_t kBasketSizeMax = 3;
inline constexpr std::array<std::int64_t, kProductCount> kPrices = {120, 180, 250, 280, 300};  // points
inline constexpr std::int64_t kDiscount = 50;  // points, off the first item of a buyer with a coupon

// Items of 1 to 3 different products, one of each.
struct Basket {
  std::uint32_t count = 0;
  std::array<std::uint32_t, kBasketSizeMax> products{};
};
// The same for the same buyer whoever asks, so that an order may be repeated, and audited.
Basket basket_of(std::uint64_t seed, std::uint32_t buyer) noexcept;

// Lines beyond `count` are zero.
struct Order {
  std::uint32_t count = 0;
  std::uint32_t discounted = 0;  // 1: a coupon was used
  std::array<std::uint32_t, kBasketSizeMax> products{};
  std::array<std::uint32_t, kBasketSizeMax> paid{};  // points, by line
};
static_assert(sizeof(Order) == 32, "stored as it is: no padding");

Order price_order(const Basket& basket, bool discounted) noexcept;
std::int64_t order_total(const Order& order) noexcept;

std::int64_t initial_stock(const Options& options, std::uint32_t product) noexcept;

struct Shop {
  holdfast::Table coupons;
  holdfast::Table claims;
  holdfast::Table serials;
  holdfast::Table stock;
  holdfast::Table points;
  holdfast::Table tills;
  holdfast::Table orders;
  holdfast::Table likes;

  static Shop open(holdfast::Database& database);  // makes the tables that are not there; dies when it cannot
};

// Opens the database for this process, which reports know by `label`. Dies when it cannot.
holdfast::Database open_database(const std::string& path, const std::string& label, bool create = false);

// Fills the tables for the start of the sale. Requires: an empty database.
void set_up_shop(holdfast::Database& database, const Options& options);

}  // namespace flash_sale
