// SPDX-License-Identifier: Apache-2.0
#include "progress.h"

#include <unistd.h>

#include <algorithm>

#include "files.h"
#include "signals.h"
#include "units.h"

namespace tool {
namespace {

constexpr std::uint64_t kShowEveryNs = 100'000'000;
constexpr std::size_t kBarWidth = 24;  // characters

std::string bar_of(double share) {
  const auto full = static_cast<std::size_t>(share * static_cast<double>(kBarWidth));
  return "[" + std::string(full, '#') + std::string(kBarWidth - full, '.') + "]";
}

}  // namespace

ProgressBar::ProgressBar(std::string what)
    : what_(std::move(what)), enabled_(isatty(STDERR_FILENO) == 1), started_ns_(monotonic_ns()) {}

void ProgressBar::show(std::uint64_t done, std::uint64_t total) {
  if (!enabled_) return;
  const std::uint64_t now = monotonic_ns();
  if (now - shown_at_ns_ < kShowEveryNs) return;
  shown_at_ns_ = now;
  const double seconds = static_cast<double>(now - started_ns_) / 1e9;
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  std::string line = "\r\x1b[K" + what_ + "  ";
  if (total != 0) {
    const double share = std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
    line +=
        bar_of(share) + " " + format_fixed(share * 100, 0) + " %  " + format_size(done) + " of " + format_size(total);
  } else {
    line += format_size(done);
  }
  line += "  " + format_size(static_cast<std::uint64_t>(rate)) + "/s";
  (void)write_all(STDERR_FILENO, line);
  shown_ = true;
}

void ProgressBar::clear() {
  if (!shown_) return;
  (void)write_all(STDERR_FILENO, "\r\x1b[K");
  shown_ = false;
}

int ProgressBar::on_progress(std::uint64_t done, std::uint64_t total, void* context) {
  static_cast<ProgressBar*>(context)->show(done, total);
  return interrupted() ? 1 : 0;
}

}  // namespace tool
