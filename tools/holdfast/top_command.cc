// SPDX-License-Identifier: Apache-2.0
// top: what goes on, refreshed.
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <thread>

#include <nlohmann/json.hpp>

#include "database.h"
#include "lock_view.h"
#include "process_view.h"
#include "text_table.h"
#include "units.h"

namespace tool {
namespace {

struct TopOptions {
  Common common;
  std::uint64_t interval_ms = 2000;
  std::uint64_t count = 0;
  std::uint64_t rows = 10;
  bool once = false;
};

constexpr const char* kHome = "\x1b[H\x1b[J";  // cursor to the upper left, and everything below it away

struct Picture {
  hf_stats before = {};
  hf_stats now = {};
  double seconds = 0;
  std::vector<LockedRow> rows;

  double rate(std::uint64_t hf_stats::*counter) const {
    // Counters begin anew when all processes left and one came back.
    const std::uint64_t grown = now.*counter >= before.*counter ? now.*counter - before.*counter : now.*counter;
    return seconds > 0 ? static_cast<double>(grown) / seconds : 0;
  }
};

Json picture_json(const Picture& picture, std::uint64_t rows_max) {
  const hf_stats& now = picture.now;
  Json object;
  object["time"] = format_time(wall_clock_ms());
  object["seconds"] = picture.seconds;
  object["commits_per_s"] = picture.rate(&hf_stats::commits);
  object["syncs_per_s"] = picture.rate(&hf_stats::syncs);
  object["conflicts_per_s"] = picture.rate(&hf_stats::conflicts);
  object["lock_waits_per_s"] = picture.rate(&hf_stats::lock_waits);
  object["lock_timeouts_per_s"] = picture.rate(&hf_stats::lock_timeouts);
  object["deadlocks_per_s"] = picture.rate(&hf_stats::deadlocks);
  object["processes"] = now.processes;
  object["locks_held"] = now.locks_held;
  object["hot_buckets"] = now.hot_buckets;
  object["overlay_bytes_used"] = now.overlay_bytes_used;
  object["overlay_bytes_max"] = now.overlay_bytes_max;
  object["log_bytes"] = now.log_bytes;
  object["base_bytes_used"] = now.base_bytes_used;
  object["commits_not_merged"] = now.csn_published - now.csn_applied;
  object["oldest_pin_csn"] = now.oldest_pin_csn;
  object["oldest_pin_age_ms"] = now.oldest_pin_age_ms;
  object["oldest_pin_pid"] = now.oldest_pin_pid;
  object["rows"] = Json::array();
  for (const LockedRow& row : picture.rows) {
    if (object["rows"].size() >= rows_max) break;
    Json one;
    if (row.is_name) {
      set_bytes(one, "name", row.key);
    } else {
      one["table"] = row.table;
      set_bytes(one, "key", row.key);
    }
    one["waiting"] = row.waiters.size();
    one["longest_wait_ms"] = row.waiters.empty() ? 0 : row.waiters.front().age.count();
    one["holders"] = Json::array();
    for (const holdfast::lock_info& holder : row.holders) one["holders"].push_back(lock_json(holder));
    object["rows"].push_back(std::move(one));
  }
  return object;
}

std::string rows_text(const Picture& picture, std::uint64_t rows_max) {
  TextTable text({{"ROW"},
                  {"WAITING", Align::kRight},
                  {"LONGEST", Align::kRight},
                  {"HELD"},
                  {"SINCE", Align::kRight},
                  {"PID", Align::kRight},
                  {"HOLDER"}});
  std::uint64_t shown = 0;
  for (const LockedRow& row : picture.rows) {
    if (shown++ >= rows_max) break;
    const bool is_held = !row.holders.empty();
    const holdfast::lock_info holder = is_held ? row.holders.front() : holdfast::lock_info();
    const auto age = [](const holdfast::lock_info& party) {
      return format_age(static_cast<std::uint64_t>(party.age.count()));
    };
    std::string label = escape(holder.label);
    if (row.holders.size() > 1) label += " and " + std::to_string(row.holders.size() - 1) + " more";
    text.add({row_text(row), std::to_string(row.waiters.size()), row.waiters.empty() ? "-" : age(row.waiters.front()),
              mode_text(holder.held), is_held ? age(holder) : "-", is_held ? std::to_string(holder.pid) : "-", label});
  }
  return text.text();
}

std::string picture_text(const Picture& picture, const std::string& directory, std::uint64_t rows_max) {
  const hf_stats& now = picture.now;
  const double commits = picture.rate(&hf_stats::commits);
  const double syncs = picture.rate(&hf_stats::syncs);
  const double waits = picture.rate(&hf_stats::lock_waits);
  const double waited_ms = picture.rate(&hf_stats::lock_waited_us) / 1e3;
  TextTable text({{""}, {""}});
  const auto line = [&](const char* name, std::string value) { text.add({name, std::move(value)}); };
  line("commits/s", format_rate(commits) + ", " + format_rate(picture.rate(&hf_stats::conflicts)) + " conflicts/s");
  line("syncs/s", format_rate(syncs) + ", " + format_fixed(syncs > 0 ? commits / syncs : 0, 1) + " commits per sync");
  line("lock waits/s", format_rate(waits) + ", " + format_fixed(waits > 0 ? waited_ms / waits : 0, 2) + " ms each, " +
                           format_rate(picture.rate(&hf_stats::lock_timeouts)) + " timeouts/s, " +
                           format_rate(picture.rate(&hf_stats::deadlocks)) + " deadlocks/s");
  line("locks", format_count(now.locks_held) + " held of " + format_count(now.locks_max) + ", " +
                    format_count(now.hot_buckets) + " hot groups");
  line("overlay", format_size(now.overlay_bytes_used) + " of " + format_size(now.overlay_bytes_max) + ", " +
                      format_count(now.csn_published - now.csn_applied) + " commits not merged");
  line("log", format_size(now.log_bytes));
  line("base", format_size(now.base_bytes_used) + " of " + format_size(now.base_bytes));
  line("oldest pin", now.oldest_pin_pid == 0
                         ? "none"
                         : format_age(now.oldest_pin_age_ms) + " old, csn " + format_count(now.oldest_pin_csn) +
                               ", process " + std::to_string(now.oldest_pin_pid));
  std::string all = directory + "  " + format_time(wall_clock_ms()) + "  " + std::to_string(now.processes) +
                    " processes\n" + text.text(false);
  if (!picture.rows.empty()) all += "\n" + rows_text(picture, rows_max);
  return all;
}

// A terminal's lines, so that the upper part does not scroll away.
std::uint64_t rows_on_screen(std::uint64_t wanted) {
  constexpr std::uint64_t kOtherLines = 12;
  winsize window = {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_row <= kOtherLines) return wanted;
  return std::min<std::uint64_t>(wanted, window.ws_row - kOtherLines);
}

// False: a signal asked to stop.
bool sleep_until(std::chrono::steady_clock::time_point end) {
  constexpr auto kStep = std::chrono::milliseconds(50);
  while (std::chrono::steady_clock::now() < end) {
    if (interrupted()) return false;
    std::this_thread::sleep_for(
        std::min<std::chrono::steady_clock::duration>(kStep, end - std::chrono::steady_clock::now()));
  }
  return !interrupted();
}

int run_top(const TopOptions& options) {
  const bool is_live = out().is_terminal() && !options.once && !options.common.json;
  const std::uint64_t count_max = options.once ? 1 : options.count;
  holdfast::Database database = open_database(options.common, "top", OpenMode::kGuest);
  Picture picture;
  picture.now = must(database.stats());
  auto asked_at = std::chrono::steady_clock::now();
  for (std::uint64_t count = 0; count_max == 0 || count < count_max; ++count) {
    if (!sleep_until(asked_at + std::chrono::milliseconds(options.interval_ms))) break;
    const auto now = std::chrono::steady_clock::now();
    picture.seconds = std::chrono::duration<double>(now - asked_at).count();
    asked_at = now;
    picture.before = picture.now;
    picture.now = must(database.stats());
    picture.rows = locked_rows(must(database.locks()));
    // The last one in the shop does what is left to do there. It may well be that somebody is at it.
    if (picture.now.processes <= 1) (void)database.maintain().has_value();
    if (options.common.json) {
      out().json(picture_json(picture, options.rows));
    } else {
      const std::uint64_t rows = is_live ? rows_on_screen(options.rows) : options.rows;
      out().write((is_live ? kHome : count > 0 ? "\n" : "") + picture_text(picture, options.common.directory, rows));
    }
    out().flush();
  }
  close_database(database);
  return kDone;  // a signal is how one leaves
}

}  // namespace

void add_top_command(Commands& commands) {
  auto options = std::make_shared<TopOptions>();
  CLI::App& app = commands.add({"top", kWatchGroup, "Show rates, hot rows and their holders, again and again",
                                "  holdfast top shop\n"
                                "  holdfast top shop --once --interval 10s\n"
                                "  holdfast top shop --json --count 60 > minute.jsonl"},
                               [options] { return run_top(*options); });
  add_common(app, options->common);
  add_duration(app, "--interval", options->interval_ms, "Time between two pictures (default 2s)");
  auto* count = app.add_option("--count", options->count, "End after so many")
                    ->check(CLI::NonNegativeNumber)
                    ->type_name("PICTURES");
  app.add_flag("--once", options->once, "Measure for one interval, print, and end")->excludes(count);
  app.add_option("--rows", options->rows, "Locked rows shown at most (default 10)")
      ->check(CLI::NonNegativeNumber)
      ->type_name("ROWS");
  add_open_options(app, options->common);
}

}  // namespace tool
