// SPDX-License-Identifier: Apache-2.0
// The database of the campaign, opened: its tables, and the rows that it begins with.
#pragma once

#include <string>

#include "holdfast/holdfast.hpp"

namespace torture::kill {

struct Shop {
  holdfast::Database database;
  holdfast::Table history, stock, orders, issued, claims, accounts, likes, items, by_colour, tills, blobs, visits, load;
};

// Small sizes, so that segments roll and rotate and merges run all the time.
holdfast::open_options small_options(const std::string& label);
// Opens, makes tables that are missing. With `fills`, also the first rows, unless they are there.
holdfast::result<Shop> open_shop(const std::string& path, const holdfast::open_options& options, bool fills);
std::string text_of(const holdfast::error& why);

}  // namespace torture::kill
