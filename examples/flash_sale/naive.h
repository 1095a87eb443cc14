// SPDX-License-Identifier: Apache-2.0
// The counterexample, for --naive: the same sale as in sale.h, written as if nobody else were there. It reads at read
// committed, computes, and writes what it computed. Every line is fine alone, and together they sell the same thing
// twice: between the read and the write others have read the same number.
#pragma once

#include <cstdint>

#include "board.h"
#include "holdfast/holdfast.hpp"
#include "options.h"
#include "shop.h"

namespace flash_sale::naive {

holdfast::result<Outcome> claim_coupon(holdfast::Transaction& txn, const Shop& shop, const Options& options,
                                       std::uint32_t buyer);
holdfast::result<Outcome> buy_basket(holdfast::Transaction& txn, const Shop& shop, const Options& options,
                                     std::uint32_t buyer);
holdfast::result<Outcome> like(holdfast::Transaction& txn, const Shop& shop, const Options& options,
                               std::uint32_t buyer, std::uint32_t picture);

}  // namespace flash_sale::naive
