// SPDX-License-Identifier: Apache-2.0
// How the sale prints.
#pragma once

#include <cstdint>
#include <string>

namespace flash_sale {

// 1234567 -> "1,234,567"
std::string grouped(std::int64_t number);
std::string grouped(std::uint64_t number);
// As printf.
__attribute__((format(printf, 1, 2))) std::string text_of(const char* format, ...);
// A line with a name in its first column.
void print_row(const char* name, const std::string& text);

}  // namespace flash_sale
