// SPDX-License-Identifier: Apache-2.0
// What the shop does for a buyer: its transactions. 'Sold out' and 'you have one already' are answers, not errors.
//
// The code is the same for the protected sale and for the naive one. Protected, each transaction is serializable and
// rows that must be new are inserted. Naive, it reads at read committed and writes what it computed, as if nobody
// else were there: the reads and writes are the same, the protection is gone.
#pragma once

#include <cstdint>

#include "board.h"
#include "database.h"
#include "options.h"
#include "shop.h"

namespace flash_sale {

// Any thread may use it.
class Checkout {
 public:
  Checkout(Database& database, Board& board, const Options& options);

  // First come, first served; one coupon per buyer.
  Outcome claim_coupon(std::uint32_t buyer);
  // The buyer's whole basket or nothing; one order per buyer; less the discount when the buyer has a coupon.
  Outcome buy_basket(std::uint32_t buyer);
  // Once per buyer and picture.
  Outcome like(std::uint32_t buyer, std::uint32_t picture);

 private:
  int try_claim(Transaction txn, std::uint32_t buyer, Outcome* outcome) const;
  int try_buy(Transaction txn, std::uint32_t buyer, Outcome* outcome) const;
  int pay(Transaction txn, std::uint32_t buyer, const Order& order, std::int64_t points) const;
  template <typename Value>
  int write_new(Transaction txn, hf_table* table, std::uint32_t key, const Value& value) const;
  template <typename Body>
  Outcome run(const char* what, Body&& body);

  Database& database_;
  Board& board_;
  const Options& options_;
  const Shop shop_;
  hf_transact_options transact_options_ = HF_TRANSACT_OPTIONS_INIT;
};

}  // namespace flash_sale
