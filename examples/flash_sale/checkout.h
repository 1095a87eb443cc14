// SPDX-License-Identifier: Apache-2.0
// Serves a buyer: runs the transactions of the sale (sale.h, or with --naive those of naive.h), with as much patience
// as they deserve, and makes an answer of what comes out. 'Sold out' and 'you have one already' are no errors here.
#pragma once

#include <cstdint>

#include "board.h"
#include "holdfast/holdfast.hpp"
#include "options.h"
#include "shop.h"

namespace flash_sale {

// Any thread may use it.
class Checkout {
 public:
  Checkout(holdfast::Database& database, Board& board, const Options& options);

  Outcome claim_coupon(std::uint32_t buyer);
  Outcome buy_basket(std::uint32_t buyer);
  Outcome like(std::uint32_t buyer, std::uint32_t picture);

 private:
  // What came of the transactions for one wish of a buyer.
  struct Service {
    holdfast::result<Outcome> answer;
    holdfast::transact_report report;  // attempts and time of all
  };
  template <typename Body>
  Service run(const holdfast::transact_options& patience, Body&& body);
  template <typename Body>
  Service run_hurried_first(std::uint32_t buyer, Body&& body);
  Outcome finish(const char* wish, std::uint32_t buyer, const Service& service);

  holdfast::Database& database_;
  Board& board_;
  const Options& options_;
  const Shop shop_;
  holdfast::transact_options patient_;
  holdfast::transact_options hurried_;
};

}  // namespace flash_sale
