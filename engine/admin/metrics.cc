// SPDX-License-Identifier: Apache-2.0
#include "admin/metrics.h"

#include <cinttypes>
#include <cstdio>

namespace hf::admin {
namespace {

constexpr double kNsPerSecond = 1e9;

class Text {
 public:
  // What only grows while somebody has the database open.
  void counter(const char* name, const char* help, std::uint64_t value) { number(name, help, "counter", value); }
  void gauge(const char* name, const char* help, std::uint64_t value) { number(name, help, "gauge", value); }

  void seconds(const char* name, const char* help, const char* type, double value) {
    head(name, help, type);
    add("holdfast_%s %.9g\n", name, value);
  }

  void histogram(const char* name, const char* help, const Times& times) {
    head(name, help, "histogram");
    std::uint64_t so_far = 0;
    for (std::uint32_t i = 0; i + 1 < kTimeBuckets; ++i) {
      so_far += times.counts[i];
      add("holdfast_%s_bucket{le=\"%.6f\"} %" PRIu64 "\n", name, static_cast<double>(std::uint64_t{1} << i) / 1e6,
          so_far);
    }
    so_far += times.counts[kTimeBuckets - 1];
    add("holdfast_%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, so_far);
    add("holdfast_%s_sum %.9g\n", name, static_cast<double>(times.sum_ns) / kNsPerSecond);
    add("holdfast_%s_count %" PRIu64 "\n", name, so_far);
  }

  std::string take() { return std::move(text_); }

 private:
  void number(const char* name, const char* help, const char* type, std::uint64_t value) {
    head(name, help, type);
    add("holdfast_%s %" PRIu64 "\n", name, value);
  }
  void head(const char* name, const char* help, const char* type) {
    add("# HELP holdfast_%s %s\n# TYPE holdfast_%s %s\n", name, help, name, type);
  }
  template <typename... Values>
  void add(const char* format, Values... values) {
    char line[256];
    const int size = std::snprintf(line, sizeof line, format, values...);
    text_.append(line, static_cast<std::size_t>(size));
  }

  std::string text_;
};

void add_commits(const txn::DatabaseStats& stats, Text& text) {
  text.counter("commits_total", "Commits by all processes.", stats.commits);
  text.counter("conflicts_total", "Commits refused because something read or written had changed.", stats.conflicts);
  text.histogram("durable_wait_seconds", "From when a commit was visible until it was on the device.",
                 stats.durable_waits);
  text.gauge("csn_published", "Newest visible commit.", stats.published);
  text.gauge("csn_durable", "Newest commit on the device.", stats.durable);
  text.gauge("csn_applied", "Newest commit in the base.", stats.applied);
}

void add_log(const txn::DatabaseStats& stats, Text& text) {
  text.counter("log_syncs_total", "Syncs of the log by all processes.", stats.log.syncs);
  text.histogram("log_sync_seconds", "Time of one sync of the log.", stats.log.sync_times);
  text.gauge("log_bytes", "Size of the log's files.", stats.log.bytes_on_disk);
  text.gauge("log_segments", "Number of the log's files.", stats.log.segments);
}

void add_memory(const txn::DatabaseStats& stats, Text& text) {
  text.gauge("overlay_bytes", "Size of the shared memory files for recent commits.", stats.overlay.bytes_mapped);
  text.gauge("overlay_bytes_used", "Of these, in use.", stats.overlay.bytes_used);
  text.gauge("overlay_bytes_max", "What they may grow to.", stats.overlay.bytes_max);
  text.gauge("private_bytes", "Anonymous memory of the process that answers, resident.", stats.private_bytes);
  text.gauge("transactions_open", "Transactions of the process that answers.", stats.transactions_open);
  text.gauge("processes", "Processes that have the database open.", stats.processes);
  text.gauge("oldest_pin_csn", "Base csn of the oldest snapshot in use; 0: none.", stats.oldest_pin);
  text.seconds("oldest_pin_age_seconds", "How long it has been in use.", "gauge",
               static_cast<double>(stats.oldest_pin_age_ms) / 1e3);
}

void add_base(const txn::DatabaseStats& stats, Text& text) {
  text.gauge("base_bytes", "Size of the data file.", stats.store.file_bytes);
  text.gauge("base_bytes_used", "Of it, pages in use.", stats.store.used_bytes);
  text.counter("merges_total", "Merges of recent commits into the base.", stats.merges);
  text.histogram("merge_seconds", "Time of one merge.", stats.merge_times);
  text.counter("rows_swept_total", "Expired rows that were removed.", stats.rows_swept);
}

void add_locks(const txn::DatabaseStats& stats, Text& text) {
  const lock::LockStats& locks = stats.locks;
  text.gauge("locks_held", "Units of the lock table in use.", locks.units_in_use);
  text.gauge("locks_max", "Units of the lock table.", locks.locks_max);
  text.counter("lock_waits_total", "Requests that had to wait.", locks.waits);
  text.histogram("lock_wait_seconds", "Time of one wait for a lock, however it ended.", locks.wait_times);
  text.seconds("lock_wait_longest_seconds", "The longest of them.", "gauge",
               static_cast<double>(locks.longest_wait_ns) / kNsPerSecond);
  text.counter("lock_timeouts_total", "Waits that the time limit ended.", locks.timeouts);
  text.counter("deadlocks_total", "Transactions that gave way in a deadlock.", locks.deadlocks);
  text.counter("lock_handovers_total", "Waits that ended by the lock being handed over.", locks.handovers);
  text.counter("lock_expiries_total", "Transactions whose locks were taken away at a limit.", locks.expiries);
  text.gauge("hot_buckets", "Groups of rows that are locked at first touch now.", locks.hot_cells);
  text.counter("takeovers_total", "Latches taken over from dead processes.", stats.takeovers);
}

}  // namespace

std::string metrics_text(const txn::DatabaseStats& stats) {
  Text text;
  add_commits(stats, text);
  add_log(stats, text);
  add_memory(stats, text);
  add_base(stats, text);
  add_locks(stats, text);
  return text.take();
}

}  // namespace hf::admin
