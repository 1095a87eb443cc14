// SPDX-License-Identifier: Apache-2.0
// A bar for long work, on stderr, and only when that is a terminal: 'backup   42 %  1.2 GiB of 2.9 GiB  104.2 MiB/s'.
#pragma once

#include <cstdint>
#include <string>

namespace tool {

class ProgressBar {
 public:
  explicit ProgressBar(std::string what);
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // Bytes; total 0: unknown.
  void show(std::uint64_t done, std::uint64_t total);
  // Takes the line away, so that others may print.
  void clear();

  // As hf_progress: `context` is the bar. Ends the work when a signal asked to stop.
  static int on_progress(std::uint64_t done, std::uint64_t total, void* context);

 private:
  std::string what_;
  bool enabled_;
  bool shown_ = false;
  std::uint64_t started_ns_;
  std::uint64_t shown_at_ns_ = 0;
};

}  // namespace tool
