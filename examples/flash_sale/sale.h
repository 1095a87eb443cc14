// SPDX-License-Identifier: Apache-2.0
// The sale as it ought to be: what is done for a buyer, each in one transaction, with the tool that fits the row.
//
//   coupons          a row that is read, decided on and written by everybody: locked first, in order of arrival
//   stock, points    numbers that go down and must not go below zero: bounded counters, nothing to wait for
//   orders           a row that is to be there once, after a decision: its absence is locked first
//   likes            a row that is to be there once, and nothing else: inserted
//
// An error of the database may be an answer to the buyer: HF_EXISTS and HF_OUT_OF_RANGE. Nothing happened then.
#pragma once

#include <cstdint>

#include "board.h"
#include "holdfast/holdfast.hpp"
#include "options.h"
#include "shop.h"

namespace flash_sale {

// First come, first served; one coupon per buyer.
holdfast::result<Outcome> claim_coupon(holdfast::Transaction& txn, const Shop& shop, const Options& options,
                                       std::uint32_t buyer);
// The buyer's whole basket or nothing; one order per buyer; less the discount when the buyer has a coupon.
holdfast::result<Outcome> buy_basket(holdfast::Transaction& txn, const Shop& shop, const Options& options,
                                     std::uint32_t buyer);
// Once per buyer and picture.
holdfast::result<Outcome> like(holdfast::Transaction& txn, const Shop& shop, const Options& options,
                               std::uint32_t buyer, std::uint32_t picture);

// Between reading and writing an application thinks: prices, taxes, a call to another service.
void think();

}  // namespace flash_sale
