// SPDX-License-Identifier: Apache-2.0
// One process of the sale: opens the database, waits for the doors to open, and serves buyers with its threads until
// the last one went home.
#pragma once

#include <cstdint>
#include <string>

#include "board.h"
#include "options.h"

namespace flash_sale {

void run_worker(const std::string& database_path, const Options& options, Board& board, std::uint32_t worker);

}  // namespace flash_sale
