// SPDX-License-Identifier: Apache-2.0
#include "text.h"

#include <cstdarg>
#include <cstdio>

namespace flash_sale {

std::string grouped(std::int64_t number) {
  std::string text = std::to_string(number < 0 ? -number : number);
  for (std::size_t place = text.size(); place > 3; place -= 3) text.insert(place - 3, 1, ',');
  return number < 0 ? "-" + text : text;
}

std::string grouped(std::uint64_t number) { return grouped(static_cast<std::int64_t>(number)); }

std::string text_of(const char* format, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  return text;
}

void print_row(const char* name, const std::string& text) { std::printf("%-24s%s\n", name, text.c_str()); }

}  // namespace flash_sale
