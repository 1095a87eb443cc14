// SPDX-License-Identifier: Apache-2.0
// The audit: reads the database afresh, after the sale, and compares all of it with itself and with what buyers were
// told.
//
//   1. Coupons: as many claims as are gone, at most as many as were offered, each serial once, claim and serial agree.
//   2. Stock: for each product, what is left plus what orders hold is what was there, and nothing is below zero.
//   3. Points: buyers' and tills' points add up to the initial sum; each buyer paid exactly its order, each till got
//      exactly its lines.
//   4. Orders: exactly the buyer's basket, whole, at the right price; a discount if and only if there is a coupon.
//   5. Answers: whatever a buyer was told to have is there, once; whatever is there was told to the buyer, unless the
//      process was killed before it could.
#pragma once

#include <string>

#include "board.h"
#include "options.h"

namespace flash_sale {

// Leaves what it found on the board. For a process of its own.
void run_audit(const std::string& database_path, const Options& options, Board& board);

}  // namespace flash_sale
