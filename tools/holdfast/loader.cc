// SPDX-License-Identifier: Apache-2.0
#include "loader.h"

#include <utility>

#include "units.h"

namespace tool {
namespace {

constexpr std::uint64_t kBatchSizeMax = 4 * 1024 * 1024;  // bytes of a transaction: far below what one may have

// The library takes the time that is left; what it makes of that, by a clock that went on meanwhile, is read back and
// put right, so that the row expires exactly when the dumped one would have.
holdfast::status put_until(holdfast::Transaction& txn, holdfast::Table table, const DumpRow& row) {
  constexpr int kTries = 8;
  auto ttl = static_cast<std::int64_t>(row.expires_ms - wall_clock_ms());
  for (int i = 0; i < kTries; ++i) {
    if (ttl <= 0) return txn.erase(table, row.key);  // its time has come
    if (auto done = txn.put(table, row.key, row.value, holdfast::milliseconds(ttl)); !done) return done;
    const auto written = txn.find(table, row.key);
    if (!written) return written.error();
    if (!written->has_value()) return {};  // gone already
    const auto off = static_cast<std::int64_t>((*written)->expires_ms - row.expires_ms);
    if (off == 0) return {};
    ttl -= off;
  }
  return {};  // some milliseconds off: the machine has other things to do
}

}  // namespace

Loader::Loader(holdfast::Database& database, holdfast::transact_options patience, std::uint64_t batch_rows,
               bool bulk_allowed)
    : database_(database), patience_(std::move(patience)), batch_rows_(batch_rows), bulk_allowed_(bulk_allowed) {}

void Loader::ensure_table(const std::string& name) {
  if (tables_.count(name) != 0) return;
  auto table = database_.open_table(name);
  if (table.code() == HF_NO_TABLE) {
    table = database_.ensure_table(name);
    if (table) ++counts_.tables_made;
  }
  tables_.emplace(name, must(table));
}

void Loader::choose_table(const std::string& name) {
  finish();
  ensure_table(name);
  table_name_ = name;
  table_ = tables_.at(name);
  if (!bulk_allowed_) return;
  {
    holdfast::Transaction txn = must(database_.begin({.read_only = true}));
    if (must(txn.count(table_, {.limit = 1})) != 0) return;
  }
  auto load = database_.load(table_);
  // Somebody was faster, or another load is under way: transactions do it too.
  if (load.code() == HF_EXISTS || load.code() == HF_BUSY) return;
  load_ = must(std::move(load));
  bulk_ = true;
  load_rows_ = 0;
  key_before_.clear();
}

bool Loader::fits_bulk(const DumpRow& row) const {
  return row.key > key_before_ && !row.counter && row.expires_ms == 0;
}

std::string Loader::add(const DumpRow& row) {
  if (row.key.empty()) return "the key is empty";
  if (row.key.size() > HF_KEY_SIZE_MAX) {
    return "a key of " + std::to_string(row.key.size()) + " bytes; at most " + std::to_string(HF_KEY_SIZE_MAX);
  }
  if (row.value.size() > HF_VALUE_SIZE_MAX) {
    return "a value of " + std::to_string(row.value.size()) + " bytes; at most " + std::to_string(HF_VALUE_SIZE_MAX);
  }
  if (row.expires_ms != 0 && row.expires_ms <= wall_clock_ms()) {
    ++counts_.expired;
    return {};
  }
  if (row.table != table_name_) choose_table(row.table);
  if (bulk_ && !fits_bulk(row)) finish_bulk();
  if (bulk_) {
    add_bulk(row);
    return {};
  }
  batch_size_ += row.key.size() + row.value.size();
  batch_.push_back(row);
  if (batch_.size() >= batch_rows_ || batch_size_ >= kBatchSizeMax) write_batch();
  return {};
}

void Loader::add_bulk(const DumpRow& row) {
  must(load_.add(row.key, row.value), "loading table '" + table_name_ + "'");
  key_before_ = row.key;
  ++load_rows_;
}

void Loader::finish_bulk() {
  if (!bulk_) return;
  const holdfast::status finished = load_.finish();
  load_ = {};
  bulk_ = false;
  if (finished.code() == HF_EXISTS) {
    throw Failure(kRefused,
                  "somebody wrote to table '" + table_name_ +
                      "' while it was loaded: nothing was loaded into it; run again, it takes transactions then");
  }
  must(finished, "loading table '" + table_name_ + "'");
  counts_.rows += load_rows_;
  counts_.rows_bulk += load_rows_;
}

void Loader::write_batch() {
  if (batch_.empty()) return;
  run_transaction(database_, patience_, "loading table '" + table_name_ + "'",
                  [&](holdfast::Transaction& txn) -> holdfast::status {
                    for (const DumpRow& row : batch_) {
                      const holdfast::status done = row.counter ? txn.counter_set(table_, row.key, *row.counter)
                                                    : row.expires_ms != 0 ? put_until(txn, table_, row)
                                                                          : txn.put(table_, row.key, row.value);
                      if (!done) return done;
                    }
                    return {};
                  });
  counts_.rows += batch_.size();
  batch_.clear();
  batch_size_ = 0;
}

void Loader::finish() {
  finish_bulk();
  write_batch();
}

}  // namespace tool
