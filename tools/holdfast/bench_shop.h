// SPDX-License-Identifier: Apache-2.0
// The shop of `holdfast bench`: a warehouse, its orders, and numbers that everybody changes.
//
//   table     key                 value
//   stock     product             counter: items left
//   tills     product             counter: money taken for it
//   stations  packing station     u64: number of the last order packed there; whoever takes a number locks the row
//   orders    worker, sequence    Order
//
// An order takes one item each of one to three products, or none of them; takes the next number of a packing station;
// pays into the tills; and is written down: six to ten rows of four tables in one durable transaction.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "holdfast/holdfast.hpp"

namespace tool::bench {

struct Plan {
  std::uint32_t processes = 4;
  std::uint32_t threads = 4;  // of each process
  std::uint32_t products = 100;
  std::uint32_t stations = 8;
  std::uint64_t stock = 1'000'000;  // of each product
  std::uint64_t duration_ms = 5000;
  std::uint64_t seed = 1;
  std::uint32_t durability = HF_DURABLE;
};

inline constexpr std::uint32_t kBasketSizeMax = 3;

struct Order {
  std::uint32_t count = 0;
  std::uint32_t station = 0;
  std::uint64_t number = 0;  // at its station, from 1
  std::array<std::uint32_t, kBasketSizeMax> products{};
  std::uint32_t pad = 0;
};
static_assert(sizeof(Order) == 32, "stored as it is: no padding");

// A number below `bound`, from a state that it moves on.
std::uint64_t random_below(std::uint64_t& state, std::uint64_t bound) noexcept;

class Shop {
 public:
  // Makes the tables that are not there.
  Shop(holdfast::Database& database, const Plan& plan);
  void fill();

  enum class Answer { kSold, kSoldOut };
  struct Served {
    Answer answer = Answer::kSold;
    std::uint32_t attempts = 0;
    std::uint64_t elapsed_us = 0;
  };
  // One customer. `sequence` is the worker's, unique among its orders.
  Served serve(std::uint64_t worker, std::uint64_t sequence, std::uint64_t& random);

  // What is wrong with the books, a line each; empty: they are exact. `orders_answered`: what customers were told.
  std::vector<std::string> audit(std::uint64_t orders_answered);

 private:
  struct Books;
  Books read_books();
  holdfast::status sell(holdfast::Transaction& txn, std::uint64_t worker, std::uint64_t sequence, Order& order);

  holdfast::Database& database_;
  const Plan& plan_;
  holdfast::Table stock_;
  holdfast::Table tills_;
  holdfast::Table stations_;
  holdfast::Table orders_;
};

}  // namespace tool::bench
