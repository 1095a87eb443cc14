// SPDX-License-Identifier: Apache-2.0
#include "units.h"

#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>

namespace tool {
namespace {

// Reads exactly `digits` digits and takes them off.
bool take_number(std::string_view& text, std::size_t digits, int* number) {
  if (text.size() < digits) return false;
  const char* const end = text.data() + digits;
  const auto [stop, error] = std::from_chars(text.data(), end, *number);
  if (error != std::errc() || stop != end || *number < 0) return false;
  text.remove_prefix(digits);
  return true;
}

bool take_character(std::string_view& text, std::string_view allowed) {
  if (text.empty() || allowed.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

// ".25" -> 250; cuts what is beyond milliseconds.
bool take_fraction_ms(std::string_view& text, int* ms) {
  *ms = 0;
  if (!take_character(text, ".")) return true;
  int scale = 100;
  std::size_t digits = 0;
  for (; !text.empty() && text.front() >= '0' && text.front() <= '9'; text.remove_prefix(1), ++digits) {
    *ms += (text.front() - '0') * scale;
    scale /= 10;
  }
  return digits > 0;
}

bool take_zone(std::string_view& text, int* offset_minutes) {
  *offset_minutes = 0;
  if (take_character(text, "Zz")) return true;
  const bool is_west = !text.empty() && text.front() == '-';
  int hours = 0;
  int minutes = 0;
  if (!take_character(text, "+-") || !take_number(text, 2, &hours) || !take_character(text, ":") ||
      !take_number(text, 2, &minutes) || hours > 23 || minutes > 59) {
    return false;
  }
  *offset_minutes = (hours * 60 + minutes) * (is_west ? -1 : 1);
  return true;
}

template <typename... Values>
std::string format(const char* pattern, Values... values) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, values...);
  return text;
}

}  // namespace

bool parse_duration_ms(std::string_view text, std::uint64_t* duration_ms) {
  constexpr double kMax = 1e15;  // ms; some 30,000 years, and exact in a double
  double number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc() || !(number >= 0)) return false;
  const std::string_view unit = text.substr(static_cast<std::size_t>(stop - text.data()));
  double factor = 0;
  if (unit == "ms") factor = 1;
  if (unit.empty() || unit == "s") factor = 1e3;
  if (unit == "m") factor = 60e3;
  if (unit == "h") factor = 3600e3;
  if (unit == "d") factor = 86400e3;
  if (factor == 0 || number * factor > kMax) return false;
  *duration_ms = static_cast<std::uint64_t>(std::llround(number * factor));
  return true;
}

bool parse_time_ms(std::string_view text, std::uint64_t* time_ms) {
  const char* const end = text.data() + text.size();
  if (const auto [stop, error] = std::from_chars(text.data(), end, *time_ms); error == std::errc() && stop == end) {
    return true;
  }
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, ms = 0, offset_minutes = 0;
  const bool is_read = take_number(text, 4, &year) && take_character(text, "-") && take_number(text, 2, &month) &&
                       take_character(text, "-") && take_number(text, 2, &day) && take_character(text, "Tt ") &&
                       take_number(text, 2, &hour) && take_character(text, ":") && take_number(text, 2, &minute) &&
                       take_character(text, ":") && take_number(text, 2, &second) && take_fraction_ms(text, &ms) &&
                       take_zone(text, &offset_minutes) && text.empty();
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!is_read || !date.ok() || hour > 23 || minute > 59 || second > 60) return false;
  const auto days = std::chrono::sys_days(date).time_since_epoch().count();
  const std::int64_t seconds =
      ((static_cast<std::int64_t>(days) * 24 + hour) * 60 + minute - offset_minutes) * 60 + second;
  if (seconds < 0) return false;
  *time_ms = static_cast<std::uint64_t>(seconds) * 1000 + static_cast<std::uint64_t>(ms);
  return true;
}

bool parse_size(std::string_view text, std::uint64_t* size) {
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), *size);
  if (error != std::errc()) return false;
  std::string_view unit = text.substr(static_cast<std::size_t>(stop - text.data()));
  constexpr std::string_view kUnits = "kMGT";
  unsigned shift = 0;
  if (!unit.empty()) {
    const std::size_t place = unit.front() == 'K' ? 0 : kUnits.find(unit.front());
    if (place == std::string_view::npos || unit.size() != 1) return false;
    shift = 10 * (static_cast<unsigned>(place) + 1);
  }
  if (*size > (UINT64_MAX >> shift)) return false;
  *size <<= shift;
  return true;
}

std::string format_time(std::uint64_t time_ms) {
  const auto seconds = static_cast<std::time_t>(time_ms / 1000);
  std::tm utc = {};
  char text[40];
  if (gmtime_r(&seconds, &utc) == nullptr || std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc) == 0) {
    return std::to_string(time_ms);  // beyond what a calendar can hold
  }
  return text + format(".%03uZ", static_cast<unsigned>(time_ms % 1000));
}

std::string format_age(std::uint64_t duration_ms) {
  const auto unsigned_of = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  const std::uint64_t seconds = duration_ms / 1000;
  if (duration_ms < 1000) return format("%llums", unsigned_of(duration_ms));
  if (seconds < 60) return format("%llu.%llus", unsigned_of(seconds), unsigned_of(duration_ms % 1000 / 100));
  if (seconds < 3600) return format("%llum%02llus", unsigned_of(seconds / 60), unsigned_of(seconds % 60));
  if (seconds < 86400) return format("%lluh%02llum", unsigned_of(seconds / 3600), unsigned_of(seconds / 60 % 60));
  return format("%llud%02lluh", unsigned_of(seconds / 86400), unsigned_of(seconds / 3600 % 24));
}

std::string format_count(std::uint64_t count) {
  std::string text = std::to_string(count);
  for (std::size_t place = text.size(); place > 3; place -= 3) text.insert(place - 3, 1, ',');
  return text;
}

std::string format_size(std::uint64_t size) {
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (size < 10'240) return format_count(size) + " B";
  double value = static_cast<double>(size) / 1024;
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return format("%.1f %s", value, kUnits[unit]);
}

std::string format_rate(double per_second) {
  return per_second < 10 ? format("%.1f", per_second)
                         : format_count(static_cast<std::uint64_t>(std::llround(per_second)));
}

std::string format_fixed(double value, int digits) { return format("%.*f", digits, value); }

std::uint64_t wall_clock_ms() noexcept {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

std::uint64_t monotonic_ns() noexcept {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

}  // namespace tool
