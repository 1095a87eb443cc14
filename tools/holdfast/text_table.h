// SPDX-License-Identifier: Apache-2.0
// Tables for people: columns aligned, two spaces between them, a line of names above, no space at a line's end.
#pragma once

#include <string>
#include <vector>

namespace tool {

enum class Align { kLeft, kRight };

struct Column {
  std::string name;
  Align align = Align::kLeft;
};

class TextTable {
 public:
  explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}
  void add(std::vector<std::string> cells);
  bool empty() const noexcept { return rows_.empty(); }
  // With the line of names, or without.
  std::string text(bool with_names = true) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Characters, as far as one can tell without knowing the terminal. Requires: printable UTF-8.
std::size_t width_of(const std::string& text) noexcept;

}  // namespace tool
