// SPDX-License-Identifier: Apache-2.0
// The lock table for people: who holds a row, who stands in line for it, and which rows have the longest lines.
#pragma once

#include <string>
#include <vector>

#include "holdfast/holdfast.hpp"
#include "output.h"

namespace tool {

// All that hold or wait for one row, or one name of a session.
struct LockedRow {
  std::string table;  // "" with `is_name`, and for a table that is gone
  std::string key;
  bool is_name = false;
  std::vector<holdfast::lock_info> holders;
  std::vector<holdfast::lock_info> waiters;  // longest first
};

// The rows with the longest lines first, then by table and key.
std::vector<LockedRow> locked_rows(std::vector<holdfast::lock_info> parties);

// "stock/pear", "name:nightly"
std::string row_text(const LockedRow& row);
const char* mode_text(holdfast::lock_mode mode);
Json lock_json(const holdfast::lock_info& party);

}  // namespace tool
