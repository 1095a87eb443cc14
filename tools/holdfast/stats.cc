// SPDX-License-Identifier: Apache-2.0
#include "stats.h"

#include <nlohmann/json.hpp>

#include "failure.h"
#include "text_table.h"
#include "units.h"

namespace tool {
namespace {

struct Field {
  const char* name;
  std::uint64_t hf_stats::*member;
};
constexpr Field kFields[] = {
    {"csn_published", &hf_stats::csn_published},
    {"csn_durable", &hf_stats::csn_durable},
    {"csn_applied", &hf_stats::csn_applied},
    {"commits", &hf_stats::commits},
    {"conflicts", &hf_stats::conflicts},
    {"syncs", &hf_stats::syncs},
    {"log_bytes", &hf_stats::log_bytes},
    {"log_segments", &hf_stats::log_segments},
    {"overlay_bytes", &hf_stats::overlay_bytes},
    {"overlay_bytes_used", &hf_stats::overlay_bytes_used},
    {"overlay_bytes_max", &hf_stats::overlay_bytes_max},
    {"overlay_segments", &hf_stats::overlay_segments},
    {"base_bytes", &hf_stats::base_bytes},
    {"base_bytes_used", &hf_stats::base_bytes_used},
    {"merges", &hf_stats::merges},
    {"rows_swept", &hf_stats::rows_swept},
    {"oldest_pin_csn", &hf_stats::oldest_pin_csn},
    {"oldest_pin_age_ms", &hf_stats::oldest_pin_age_ms},
    {"oldest_pin_pid", &hf_stats::oldest_pin_pid},
    {"takeovers", &hf_stats::takeovers},
    {"locks_max", &hf_stats::locks_max},
    {"locks_held", &hf_stats::locks_held},
    {"lock_waits", &hf_stats::lock_waits},
    {"lock_timeouts", &hf_stats::lock_timeouts},
    {"deadlocks", &hf_stats::deadlocks},
    {"lock_handovers", &hf_stats::lock_handovers},
    {"lock_expiries", &hf_stats::lock_expiries},
    {"lock_wait_longest_us", &hf_stats::lock_wait_longest_us},
    {"lock_waited_us", &hf_stats::lock_waited_us},
    {"hot_buckets", &hf_stats::hot_buckets},
};

std::string share_text(std::uint64_t part, std::uint64_t whole) {
  const double share = whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
  return format_size(part) + " of " + format_size(whole) + " (" + format_fixed(share * 100, 0) + " %)";
}

std::string pin_text(const hf_stats& stats) {
  if (stats.oldest_pin_csn == 0 && stats.oldest_pin_pid == 0) return "none";
  return "csn " + format_count(stats.oldest_pin_csn) + ", " + format_age(stats.oldest_pin_age_ms) +
         " old, of process " + std::to_string(stats.oldest_pin_pid);
}

}  // namespace

Json stats_json(const hf_stats& stats) {
  Json object;
  object["processes"] = stats.processes;
  for (const Field& field : kFields) object[field.name] = stats.*field.member;
  return object;
}

std::string stats_text(const hf_stats& stats) {
  const std::uint64_t average_us = stats.lock_waits == 0 ? 0 : stats.lock_waited_us / stats.lock_waits;
  const double per_sync = stats.syncs == 0 ? 0 : static_cast<double>(stats.commits) / static_cast<double>(stats.syncs);
  TextTable text({{""}, {""}});
  const auto line = [&](const char* name, std::string value) { text.add({name, std::move(value)}); };
  line("processes", std::to_string(stats.processes));
  line("commits", format_count(stats.commits) + ", " + format_count(stats.conflicts) + " refused by conflicts");
  line("newest commit", "csn " + format_count(stats.csn_published) + "; durable " + format_count(stats.csn_durable) +
                            "; in the base " + format_count(stats.csn_applied));
  line("syncs", format_count(stats.syncs) + ", " + format_fixed(per_sync, 1) + " commits per sync");
  line("log", format_size(stats.log_bytes) + " in " + std::to_string(stats.log_segments) + " segments");
  // What pins keep of merged segments is taken too, though it holds nothing new.
  line("overlay", format_size(stats.overlay_bytes) + " taken of " + format_size(stats.overlay_bytes_max) + " in " +
                      std::to_string(stats.overlay_segments) + " segments, " + format_size(stats.overlay_bytes_used) +
                      " used");
  line("oldest pin", pin_text(stats));
  line("base", share_text(stats.base_bytes_used, stats.base_bytes) + " in use, " + format_count(stats.merges) +
                   " merges, " + format_count(stats.rows_swept) + " expired rows swept");
  line("locks held", format_count(stats.locks_held) + " of " + format_count(stats.locks_max));
  line("lock waits", format_count(stats.lock_waits) + ", " + format_fixed(static_cast<double>(average_us) / 1e3, 2) +
                         " ms on average, longest " +
                         format_fixed(static_cast<double>(stats.lock_wait_longest_us) / 1e3, 2) + " ms, " +
                         format_count(stats.lock_handovers) + " handed over");
  line("lock failures", format_count(stats.lock_timeouts) + " timeouts, " + format_count(stats.deadlocks) +
                            " deadlocks, " + format_count(stats.lock_expiries) + " expired");
  line("hot rows", format_count(stats.hot_buckets) + " of 8,192 groups");
  line("takeovers", format_count(stats.takeovers) + " from dead processes");
  return text.text(false);
}

void check(holdfast::Database& database, int code, const std::string& what) {
  if (code == HF_OK) return;
  fail(what, holdfast::detail::make_error(code, [&](hf_error* info) { return hf_db_error(database.c_db(), info); }));
}

}  // namespace tool
