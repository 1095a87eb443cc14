// SPDX-License-Identifier: Apache-2.0
// Who buys what in the basket workload: products by Zipf's law, orders with numbers of their own, and the sums that
// have to come out.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "harness.h"

namespace hf::bench {

inline constexpr std::uint64_t kProducts = 10'000;
inline constexpr double kSkew = 0.9;  // the exponent of Zipf's law
inline constexpr std::uint64_t kBuyers = 100'000;
inline constexpr std::size_t kBasket = 5;
inline constexpr std::uint64_t kStockFirst = 1'000'000'000;      // pieces of each product
inline constexpr std::int64_t kPointsFirst = 1'000'000'000'000;  // of each buyer
inline constexpr std::int64_t kPrice = 100;                      // points a piece

// Ranks by Zipf's law: the k-th most popular of n has weight k^-skew.
class Zipf {
 public:
  Zipf(std::uint64_t count, double skew) {
    double sum = 0;
    for (std::uint64_t rank = 1; rank <= count; ++rank) {
      sum += std::pow(static_cast<double>(rank), -skew);
      sums_.push_back(sum);
    }
  }
  // In [0, count); any number of threads.
  std::uint64_t draw(Random& random) const {
    const double at = static_cast<double>(random.next() >> 11) * 0x1p-53 * sums_.back();
    const auto found = std::upper_bound(sums_.begin(), sums_.end(), at);
    return std::min<std::uint64_t>(static_cast<std::uint64_t>(found - sums_.begin()), sums_.size() - 1);
  }

 private:
  std::vector<double> sums_;
};

struct Basket {
  std::array<std::uint64_t, kBasket> products;  // distinct, in the order in which they were picked
  std::uint64_t order;
  std::uint64_t buyer;
};

// What one thread's buyers want. Orders have numbers of their own by worker.
class Buyers {
 public:
  Buyers(const Zipf& zipf, unsigned worker)
      : zipf_(zipf), random_(kSeed + worker), order_(std::uint64_t{worker} << 40) {}

  Basket next() {
    Basket basket{};
    for (std::size_t picked = 0; picked < kBasket;) {
      // Neighbours in rank are not neighbours in the table; 7919 is prime to the number of products.
      const std::uint64_t product = zipf_.draw(random_) * 7919 % kProducts;
      const auto end = basket.products.begin() + picked;
      if (std::find(basket.products.begin(), end, product) == end) basket.products[picked++] = product;
    }
    basket.order = order_++;
    basket.buyer = random_.below(kBuyers);
    return basket;
  }

 private:
  const Zipf& zipf_;
  Random random_;
  std::uint64_t order_;
};

// One piece less of the product; fails on a row that cannot be.
inline void take_one(Value& value, const void* before, std::uint64_t product) {
  const std::uint64_t left = Value::generation_of(before);
  if (Value::row_of(before) != product || left == 0 || left > kStockFirst) fail("a stock row has a wrong value");
  value.stamp(product, left - 1);
}

// The tally, from the two ways of counting.
inline std::uint64_t pieces_sold(std::uint64_t left, std::uint64_t orders) {
  const std::uint64_t sold = kProducts * kStockFirst - left;
  if (sold != orders * kBasket) fail("the stock and the orders do not agree");
  return sold;
}

}  // namespace hf::bench
