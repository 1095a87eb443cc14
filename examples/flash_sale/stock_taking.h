// SPDX-License-Identifier: Apache-2.0
// The stock-taker: a process that counts the shelves when the doors open, and has to have them for itself while it
// does. It locks all of the stock at once. Orders wait for it; the first buyers hear who is in their way.
#pragma once

#include <string>

#include "board.h"
#include "options.h"

namespace flash_sale {

// From before the doors open until a buyer was refused, or for two seconds if none comes. For a process of its own.
void run_stock_taking(const std::string& database_path, const Options& options, Board& board);

}  // namespace flash_sale
