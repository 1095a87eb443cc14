// SPDX-License-Identifier: Apache-2.0
// Times, sizes and counts as people write and read them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tool {

// "250ms", "5s", "2.5s", "10m", "12h", "30d"; a number alone means seconds. False: it is none, or too long.
[[nodiscard]] bool parse_duration_ms(std::string_view text, std::uint64_t* duration_ms);
// RFC 3339 ("2026-05-17T08:30:00Z", "2026-05-17 10:30:00.250+02:00"), or milliseconds since 1970.
[[nodiscard]] bool parse_time_ms(std::string_view text, std::uint64_t* time_ms);
// "65536", "64k", "16M", "1G", "1T": units of 1,024.
[[nodiscard]] bool parse_size(std::string_view text, std::uint64_t* size);

std::string format_time(std::uint64_t time_ms);      // RFC 3339, UTC, milliseconds
std::string format_age(std::uint64_t duration_ms);   // "12ms", "3.4s", "12m05s", "3h07m", "2d04h"
std::string format_size(std::uint64_t size);         // "4,096 B", "12.3 MiB"
std::string format_count(std::uint64_t count);       // "1,234,567"
std::string format_rate(double per_second);          // "1,234" or "0.5"
std::string format_fixed(double value, int digits);  // as printf would

std::uint64_t wall_clock_ms() noexcept;
std::uint64_t monotonic_ns() noexcept;

}  // namespace tool
