// SPDX-License-Identifier: Apache-2.0
// Rows: the hot path. Nothing is allocated and nothing put into words unless a call fails for a reason worth words.
#include <cstring>

#include "capi/call.h"

namespace hf::capi {
namespace {

template <typename Body>
int write_call(hf_txn* txn, hf_table* table, hf_bytes key, hf_bytes value, Body&& body) noexcept {
  return row_call(txn, table, key, [&](txn::Transaction& inner, txn::Table& to, Bytes row_key) -> Status {
    if (!value_is_legal(value)) [[unlikely]]
      return wrong_value(value);
    return body(inner, to, row_key, to_bytes(value));
  });
}

Status copy_value(Bytes value, void* buffer, std::size_t capacity, std::size_t* size) {
  *size = value.size();
  if (value.size() > capacity) return Code::kTOO_LARGE;
  if (!value.empty()) std::memcpy(buffer, value.data(), value.size());
  return {};
}

// One row of many; absent ones are no failure.
Status get_one(txn::Transaction& inner, txn::Table& table, Bytes key, bool is_first, hf_row* row) {
  txn::RowView view;
  Status status = is_first ? inner.get(table, key, &view) : inner.get_more(table, key, &view);
  if (status.ok()) {
    fill_row(view, row);
  } else if (status.code() == Code::kNOT_FOUND) {
    *row = no_row(HF_NOT_FOUND);
    status = {};
  }
  return status;
}

}  // namespace
}  // namespace hf::capi

using namespace hf::capi;
using hf::Bytes;
using hf::Status;
using hf::txn::RowView;
using hf::txn::Table;
using hf::txn::Transaction;

int hf_get(hf_txn* txn, hf_table* table, hf_bytes key, hf_row* row) {
  return row_call(txn, table, key, [row](Transaction& inner, Table& from, Bytes row_key) -> Status {
    if (row == nullptr) [[unlikely]]
      return null_argument("row");
    RowView view;
    Status status = inner.get(from, row_key, &view);
    if (status.ok()) fill_row(view, row);
    return status;
  });
}

int hf_get_into(hf_txn* txn, hf_table* table, hf_bytes key, void* buffer, size_t capacity, size_t* size) {
  return row_call(txn, table, key, [&](Transaction& inner, Table& from, Bytes row_key) -> Status {
    if (size == nullptr) return null_argument("size");
    if (buffer == nullptr && capacity != 0) return null_argument("buffer");
    RowView view;
    Status status = inner.get(from, row_key, &view);
    return status.ok() ? copy_value(view.value, buffer, capacity, size) : std::move(status);
  });
}

int hf_get_many(hf_txn* txn, hf_table* table, const hf_bytes* keys, size_t count, hf_row* rows) {
  return txn_call(txn, [&](hf_txn& t) {
    if (!table_is_legal(table, t.database)) return fail(t, wrong_table(table));
    if (count != 0 && (keys == nullptr || rows == nullptr)) {
      return fail(t, null_argument(keys == nullptr ? "keys" : "rows"), {.table = table});
    }
    for (std::size_t i = 0; i < count; ++i) {
      if (!key_is_legal(keys[i])) return fail(t, wrong_key(keys[i]), {.table = table});
    }
    for (std::size_t i = 0; i < count; ++i) {
      Status status = get_one(*t.inner, *table->table, to_bytes(keys[i]), i == 0, &rows[i]);
      if (!status.ok()) return fail(t, std::move(status), {.table = table, .key = to_bytes(keys[i])});
    }
    return static_cast<int>(HF_OK);
  });
}

int hf_put(hf_txn* txn, hf_table* table, hf_bytes key, hf_bytes value, uint64_t ttl_ms) {
  return write_call(txn, table, key, value, [&](Transaction& inner, Table& to, Bytes row_key, Bytes row_value) {
    return inner.put(to, row_key, row_value, ttl_of(ttl_ms));
  });
}

int hf_insert(hf_txn* txn, hf_table* table, hf_bytes key, hf_bytes value, uint64_t ttl_ms) {
  return write_call(txn, table, key, value, [&](Transaction& inner, Table& to, Bytes row_key, Bytes row_value) {
    return inner.insert(to, row_key, row_value, ttl_of(ttl_ms));
  });
}

int hf_update(hf_txn* txn, hf_table* table, hf_bytes key, hf_bytes value, uint64_t ttl_ms) {
  return write_call(txn, table, key, value, [&](Transaction& inner, Table& to, Bytes row_key, Bytes row_value) {
    return inner.update(to, row_key, row_value, ttl_of(ttl_ms));
  });
}

int hf_put_if_version(hf_txn* txn, hf_table* table, hf_bytes key, hf_bytes value, uint64_t version, uint64_t ttl_ms) {
  return write_call(txn, table, key, value, [&](Transaction& inner, Table& to, Bytes row_key, Bytes row_value) {
    return inner.put_if_version(to, row_key, row_value, version, ttl_of(ttl_ms));
  });
}

int hf_delete(hf_txn* txn, hf_table* table, hf_bytes key) {
  return row_call(txn, table, key,
                  [](Transaction& inner, Table& from, Bytes row_key) { return inner.remove(from, row_key); });
}

int hf_erase(hf_txn* txn, hf_table* table, hf_bytes key) {
  return row_call(txn, table, key,
                  [](Transaction& inner, Table& from, Bytes row_key) { return inner.erase(from, row_key); });
}
