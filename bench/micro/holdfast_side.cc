// SPDX-License-Identifier: Apache-2.0
#include "holdfast_side.h"

namespace hf::bench {
namespace {

constexpr std::uint64_t kMergeNever_ms = 24u * 3600u * 1000u;  // longer than any run

unsigned first_byte(const hf_bytes& bytes) { return *static_cast<const unsigned char*>(bytes.data); }

[[noreturn]] void fail_with(const char* call, int code, const hf_error& error) {
  fail("holdfast: %s: %s: %s", call, hf_code_name(code), error.message);
}

}  // namespace

void HoldfastSide::check(int code, const char* call) {
  if (code == HF_OK) return;
  hf_error error = HF_ERROR_INIT;
  if (db_ != nullptr) hf_db_error(db_, &error);
  fail_with(call, code, error);
}

void HoldfastSide::check(hf_txn* txn, int code, const char* call) {
  if (code == HF_OK) return;
  hf_error error = HF_ERROR_INIT;
  hf_txn_error(txn, &error);
  fail_with(call, code, error);
}

HoldfastSide::HoldfastSide(const std::string& directory, const OpenMode& mode) {
  hf_open_options options = HF_OPEN_OPTIONS_INIT;
  options.label = "bench";
  options.durability = mode.relaxed ? HF_RELAXED : HF_DURABLE;
  options.overlay_bytes_max = mode.overlay_bytes_max;
  if (mode.keep_unmerged) {
    options.flags |= HF_OPEN_NO_THREAD;
    options.merge_interval_ms = kMergeNever_ms;
  }
  hf_error error = HF_ERROR_INIT;
  const int code = hf_open(directory.c_str(), &options, &db_, &error);
  if (code != HF_OK) fail_with("hf_open", code, error);
}

HoldfastSide::~HoldfastSide() {
  const int code = hf_close(&db_);
  if (code != HF_OK) fail("holdfast: hf_close: %s: %s", hf_code_name(code), hf_code_text(code));
}

hf_table* HoldfastSide::ensure_table(const char* name) {
  hf_table* table = nullptr;
  check(hf_table_ensure(db_, name, &table), "hf_table_ensure");
  return table;
}

void HoldfastSide::make_table() { table_ = ensure_table(kTableName); }

void HoldfastSide::load(std::uint64_t rows) {
  hf_load* load = nullptr;
  check(hf_load_begin(db_, table_, &load), "hf_load_begin");
  Value value;
  int code = HF_OK;
  for (std::uint64_t row = 0; row < rows && code == HF_OK; ++row) {
    const Key key(row);
    value.stamp(row, 0);
    code = hf_load_add(load, view(key), view(value), 0);
  }
  if (code == HF_OK) code = hf_load_finish(load);
  if (code != HF_OK) {
    hf_error error = HF_ERROR_INIT;
    hf_load_error(load, &error);
    fail_with("hf_load_add or hf_load_finish", code, error);
  }
  check(hf_load_end(&load), "hf_load_end");
}

void HoldfastSide::write_batch(const std::uint64_t* rows, std::size_t count, std::uint64_t generation) {
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.durability = HF_RELAXED;
  hf_txn* txn = nullptr;
  check(hf_begin(db_, &options, &txn), "hf_begin");
  Value value;
  for (std::size_t i = 0; i < count; ++i) {
    const Key key(rows[i]);
    value.stamp(rows[i], generation);
    check(txn, hf_put(txn, table_, view(key), view(value), 0), "hf_put");
  }
  check(txn, hf_commit(txn), "hf_commit");
  hf_txn_end(&txn);
}

void HoldfastSide::flush() { check(hf_sync(db_, HF_FOREVER), "hf_sync"); }

void HoldfastSide::merge_all() {
  // The background thread may be at it (HF_BUSY), and what is pinned by an ending transaction stays a moment longer.
  for (int attempt = 0; attempt < 1000; ++attempt) {
    const int code = hf_maintain(db_, HF_MAINTAIN_MERGE_ALL);
    if (code != HF_BUSY) check(code, "hf_maintain");
    if (code == HF_OK && rows_unmerged() == 0) return;
    sleep_ns(10'000'000);
  }
  fail("holdfast: the overlay does not become empty");
}

Figures HoldfastSide::figures() {
  hf_stats stats{};
  stats.size = sizeof stats;
  check(hf_stat(db_, &stats), "hf_stat");
  Figures figures;
  figures.syncs = stats.syncs;
  figures.commits = stats.commits;
  figures.csn = stats.csn_published;
  figures.conflicts = stats.conflicts;
  figures.lock_waits = stats.lock_waits;
  figures.lock_handovers = stats.lock_handovers;
  figures.deadlocks = stats.deadlocks;
  figures.hot_buckets = stats.hot_buckets;
  figures.log_bytes = stats.log_bytes;
  figures.overlay_bytes = stats.overlay_bytes;
  figures.overlay_bytes_max = stats.overlay_bytes_max;
  figures.base_bytes = stats.base_bytes;
  figures.engine_private_bytes = stats.private_bytes;
  return figures;
}

std::uint64_t HoldfastSide::rows_unmerged() {
  hf_table_stats stats{};
  stats.size = sizeof stats;
  check(hf_table_stat(db_, table_, &stats), "hf_table_stat");
  return stats.rows_overlay;
}

HoldfastSide::Writer::Writer(HoldfastSide& side) : side_(side) {
  side_.check(hf_begin(side_.db_, nullptr, &txn_), "hf_begin");
}

HoldfastSide::Writer::~Writer() { hf_txn_end(&txn_); }

void HoldfastSide::Writer::put(const Key& key, const Value& value) {
  for (;;) {
    if (!running_) HoldfastSide::check(txn_, hf_restart(txn_), "hf_restart");
    int code = hf_put(txn_, side_.table_, view(key), view(value), 0);
    const bool written = code == HF_OK;
    if (written) {
      code = hf_commit(txn_);
      running_ = false;
    }
    if (code == HF_OK) return;
    if (!hf_is_retryable(code)) HoldfastSide::check(txn_, code, written ? "hf_commit" : "hf_put");
    if (!written) hf_abort(txn_);
    running_ = false;
    ++retries_;
  }
}

void HoldfastSide::Transactor::run_function(hf_transact_fn attempt, void* context) {
  hf_transact_result result;
  for (;;) {
    result.size = sizeof result;
    const int code = hf_transact(side_.db_, nullptr, attempt, context, &result);
    retries_ += result.attempts - 1;
    if (code == HF_OK) return;
    if (!hf_is_retryable(code)) fail_with("hf_transact", code, result.error);
    ++retries_;  // it gave up after its own limit of attempts or time
  }
}

void HoldfastSide::Reader::begin() {
  static constexpr hf_txn_options kOptions = [] {
    hf_txn_options options = HF_TXN_OPTIONS_INIT;
    options.flags = HF_TXN_READ_ONLY;
    return options;
  }();
  const int code = hf_begin(side_.db_, &kOptions, &txn_);
  if (code != HF_OK) side_.check(code, "hf_begin");
}

unsigned HoldfastSide::Reader::get(const Key& key) {
  hf_row row;
  const int code = hf_get(txn_, side_.table_, view(key), &row);
  if (code != HF_OK) HoldfastSide::check(txn_, code, "hf_get");
  return first_byte(row.value);
}

std::uint64_t HoldfastSide::Reader::scan(unsigned* touched) {
  hf_cursor* cursor = nullptr;
  HoldfastSide::check(txn_, hf_cursor_open(txn_, side_.table_, nullptr, &cursor), "hf_cursor_open");
  std::uint64_t rows = 0;
  hf_bytes key;
  hf_row row;
  int code;
  while ((code = hf_cursor_next(cursor, &key, &row)) == HF_OK) {
    *touched += first_byte(key) + first_byte(row.value);
    ++rows;
  }
  if (code != HF_END) HoldfastSide::check(txn_, code, "hf_cursor_next");
  hf_cursor_close(&cursor);
  return rows;
}

}  // namespace hf::bench
