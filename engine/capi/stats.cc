// SPDX-License-Identifier: Apache-2.0
// Figures of a database and of a table.
#include "capi/call.h"
#include "capi/options.h"

namespace hf::capi {
namespace {

hf_stats translate(const txn::DatabaseStats& from) noexcept {
  hf_stats to{};
  to.processes = from.processes;
  to.csn_published = from.published;
  to.csn_durable = from.durable;
  to.csn_applied = from.applied;
  to.syncs = from.log.syncs;
  to.commits = from.commits;
  to.conflicts = from.conflicts;
  to.log_bytes = from.log.bytes_on_disk;
  to.log_segments = from.log.segments;
  to.overlay_bytes = from.overlay.bytes_mapped;
  to.overlay_bytes_used = from.overlay.bytes_used;
  to.overlay_bytes_max = from.overlay.bytes_max;
  to.overlay_segments = from.overlay.active + from.overlay.sealed + from.overlay.merged + from.overlay.ready;
  to.base_bytes = from.store.file_bytes;
  to.base_bytes_used = from.store.used_bytes;
  to.merges = from.merges;
  to.rows_swept = from.rows_swept;
  to.transactions_open = from.transactions_open;
  to.oldest_pin_csn = from.oldest_pin;
  to.oldest_pin_age_ms = from.oldest_pin_age_ms;
  to.oldest_pin_pid = from.oldest_pin_pid;
  to.private_bytes = from.private_bytes;
  to.takeovers = from.takeovers;
  to.locks_max = from.locks.locks_max;
  to.locks_held = from.locks.units_in_use;
  to.lock_waits = from.locks.waits;
  to.lock_timeouts = from.locks.timeouts;
  to.deadlocks = from.locks.deadlocks;
  to.lock_handovers = from.locks.handovers;
  to.lock_expiries = from.locks.expiries;
  to.lock_wait_longest_us = from.locks.longest_wait_ns / 1000;
  to.lock_waited_us = from.locks.waited_ns / 1000;
  to.hot_buckets = from.locks.hot_cells;
  return to;
}

}  // namespace
}  // namespace hf::capi

using namespace hf::capi;

int hf_stat(hf_db* db, hf_stats* stats) {
  return db_call(db, {}, [&](hf_db& d) -> hf::Status {
    if (stats == nullptr) return null_argument("stats");
    if (!output_is_legal(stats)) return wrong_size("hf_stats", stats->size);
    hf::Result<hf::txn::DatabaseStats> figures = d.database->stats();
    if (!figures.ok()) return std::move(figures).status();
    write_sized(translate(figures.value()), stats);
    return {};
  });
}

int hf_table_stat(hf_db* db, hf_table* table, hf_table_stats* stats) {
  return db_call(db, {.table = nullptr}, [&](hf_db& d) -> hf::Status {
    if (!table_is_legal(table, d.database.get())) return wrong_table(table);
    if (stats == nullptr) return null_argument("stats");
    if (!output_is_legal(stats)) return wrong_size("hf_table_stats", stats->size);
    hf::Result<hf::catalog::TableStats> figures = d.catalog->stats(*table->table);
    if (!figures.ok()) return std::move(figures).status();
    hf_table_stats full{};
    full.table_id = figures.value().id;
    full.rows_approximate = figures.value().rows_approximate;
    full.rows_base = figures.value().rows_base;
    full.rows_overlay = figures.value().rows_overlay;
    write_sized(full, stats);
    return {};
  });
}
