// SPDX-License-Identifier: Apache-2.0
// The kill table: how many were killed where, and for how long the others stood still.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace torture::kill {

// Nearest rank of sorted figures; 0 when there are none.
std::uint64_t percentile(const std::vector<std::uint64_t>& sorted, unsigned percent);

// Kills of one kind. Times in nanoseconds, from the kill on.
struct KillRow {
  std::uint64_t kills = 0;
  std::vector<std::uint64_t> standstill;  // to the first commit of anybody else that began after it
  std::vector<std::uint64_t> slowest;     // until every other lane had one acknowledged
};

class KillTable {
 public:
  // `what`: a point's name, or "random".
  KillRow& row(const std::string& role, const std::string& what) { return rows_[{role, what}]; }
  std::uint64_t kills_of(const std::string& role, const std::string& what) const;
  std::uint64_t kills() const;
  std::vector<std::uint64_t> standstills() const;  // sorted
  std::vector<std::uint64_t> slowest() const;      // sorted

  void print() const;
  std::string json() const;  // an array of rows

 private:
  std::map<std::pair<std::string, std::string>, KillRow> rows_;
};

}  // namespace torture::kill
