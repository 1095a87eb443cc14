// SPDX-License-Identifier: Apache-2.0
#include "torture/kill_report.h"

#include <algorithm>
#include <cstdio>

namespace torture::kill {
namespace {

double ms(std::uint64_t ns) { return static_cast<double>(ns) / 1e6; }

std::vector<std::uint64_t> sorted(std::vector<std::uint64_t> figures) {
  std::sort(figures.begin(), figures.end());
  return figures;
}

std::uint64_t largest(const std::vector<std::uint64_t>& figures) { return figures.empty() ? 0 : figures.back(); }

}  // namespace

std::uint64_t percentile(const std::vector<std::uint64_t>& figures, unsigned percent) {
  if (figures.empty()) return 0;
  const std::size_t rank = (figures.size() * percent + 99) / 100;
  return figures[std::max<std::size_t>(rank, 1) - 1];
}

std::uint64_t KillTable::kills_of(const std::string& role, const std::string& what) const {
  const auto found = rows_.find({role, what});
  return found == rows_.end() ? 0 : found->second.kills;
}

std::uint64_t KillTable::kills() const {
  std::uint64_t all = 0;
  for (const auto& [key, row] : rows_) all += row.kills;
  return all;
}

std::vector<std::uint64_t> KillTable::standstills() const {
  std::vector<std::uint64_t> all;
  for (const auto& [key, row] : rows_) all.insert(all.end(), row.standstill.begin(), row.standstill.end());
  return sorted(std::move(all));
}

std::vector<std::uint64_t> KillTable::slowest() const {
  std::vector<std::uint64_t> all;
  for (const auto& [key, row] : rows_) all.insert(all.end(), row.slowest.begin(), row.slowest.end());
  return sorted(std::move(all));
}

void KillTable::print() const {
  std::printf("\n%-8s %-28s %6s | %-30s | %s\n", "", "", "", "next new commit of others, ms",
              "until each other committed, ms");
  std::printf("%-8s %-28s %6s | %9s %9s %9s  | %9s %9s %9s\n", "role", "killed at", "kills", "median", "p99", "longest",
              "median", "p99", "longest");
  for (const auto& [key, row] : rows_) {
    const std::vector<std::uint64_t> still = sorted(row.standstill);
    const std::vector<std::uint64_t> slow = sorted(row.slowest);
    std::printf("%-8s %-28s %6llu |", key.first.c_str(), key.second.c_str(),
                static_cast<unsigned long long>(row.kills));
    if (still.empty()) {
      std::printf(" %9s %9s %9s  | %9s %9s %9s\n", "-", "-", "-", "-", "-", "-");
      continue;
    }
    std::printf(" %9.2f %9.2f %9.2f  | %9.2f %9.2f %9.2f\n", ms(percentile(still, 50)), ms(percentile(still, 99)),
                ms(largest(still)), ms(percentile(slow, 50)), ms(percentile(slow, 99)), ms(largest(slow)));
  }
}

std::string KillTable::json() const {
  std::string text = "[";
  for (const auto& [key, row] : rows_) {
    const std::vector<std::uint64_t> still = sorted(row.standstill);
    const std::vector<std::uint64_t> slow = sorted(row.slowest);
    char line[400];
    std::snprintf(line, sizeof line,
                  "%s{\"role\":\"%s\",\"at\":\"%s\",\"kills\":%llu,\"measured\":%zu,\"standstill_ms\":[%.2f,%.2f,%.2f],"
                  "\"slowest_ms\":[%.2f,%.2f,%.2f]}",
                  text.size() == 1 ? "" : ",", key.first.c_str(), key.second.c_str(),
                  static_cast<unsigned long long>(row.kills), still.size(), ms(percentile(still, 50)),
                  ms(percentile(still, 99)), ms(largest(still)), ms(percentile(slow, 50)), ms(percentile(slow, 99)),
                  ms(largest(slow)));
    text += line;
  }
  return text + "]";
}

}  // namespace torture::kill
