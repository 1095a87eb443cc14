// SPDX-License-Identifier: Apache-2.0
// Clocks. Waits and limits use the monotonic clock, which all processes of a machine share; row expiry and
// record times use the wall clock, which survives a reboot.
#pragma once

#include <ctime>

#include <cstdint>

namespace hf {

inline std::uint64_t monotonic_ns() noexcept {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

// Milliseconds since 1970, wall clock. Coarse (a few ms) but a tenth of the price of the fine clock.
inline std::uint64_t wall_ms() noexcept {
  timespec now;
  clock_gettime(CLOCK_REALTIME_COARSE, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000u + static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000u;
}

// A point on the monotonic clock after which a wait gives up.
class Deadline {
 public:
  static Deadline never() noexcept { return Deadline(UINT64_MAX); }
  static Deadline after_ns(std::uint64_t ns) noexcept {
    const std::uint64_t now = monotonic_ns();
    return Deadline(ns > UINT64_MAX - now ? UINT64_MAX : now + ns);
  }
  static Deadline after_ms(std::uint64_t ms) noexcept {
    return ms > UINT64_MAX / 1'000'000u ? never() : after_ns(ms * 1'000'000u);
  }
  static Deadline at_ns(std::uint64_t monotonic) noexcept { return Deadline(monotonic); }

  bool passed() const noexcept { return at_ns_ != UINT64_MAX && monotonic_ns() >= at_ns_; }
  // Nanoseconds left, at most `cap_ns`; 0 when passed.
  std::uint64_t remaining_ns(std::uint64_t cap_ns) const noexcept {
    if (at_ns_ == UINT64_MAX) return cap_ns;
    const std::uint64_t now = monotonic_ns();
    if (now >= at_ns_) return 0;
    return at_ns_ - now < cap_ns ? at_ns_ - now : cap_ns;
  }
  std::uint64_t ns() const noexcept { return at_ns_; }

 private:
  explicit Deadline(std::uint64_t at_ns) noexcept : at_ns_(at_ns) {}
  std::uint64_t at_ns_;
};

}  // namespace hf
