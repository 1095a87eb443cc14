// SPDX-License-Identifier: Apache-2.0
// Counters.
#include "capi/call.h"

using namespace hf::capi;
using hf::Bytes;
using hf::Status;
using hf::txn::Table;
using hf::txn::Transaction;

int hf_add(hf_txn* txn, hf_table* table, hf_bytes key, int64_t delta, int64_t min, int64_t max) {
  return row_call(txn, table, key, [&](Transaction& inner, Table& to, Bytes row_key) {
    return inner.add(to, row_key, delta, min, max);
  });
}

int hf_counter_get(hf_txn* txn, hf_table* table, hf_bytes key, int64_t* value) {
  return row_call(txn, table, key, [value](Transaction& inner, Table& from, Bytes row_key) -> Status {
    if (value == nullptr) return null_argument("value");
    *value = 0;
    return inner.counter_get(from, row_key, value);
  });
}

int hf_counter_set(hf_txn* txn, hf_table* table, hf_bytes key, int64_t value) {
  return row_call(txn, table, key, [value](Transaction& inner, Table& to, Bytes row_key) {
    return inner.counter_set(to, row_key, value);
  });
}

int hf_counter_reset(hf_txn* txn, hf_table* table, hf_bytes key) { return hf_counter_set(txn, table, key, 0); }

int hf_counter_after(hf_txn* txn, hf_table* table, hf_bytes key, int64_t* value) {
  return row_call(txn, table, key, [value](Transaction& inner, Table& of, Bytes row_key) -> Status {
    if (value == nullptr) return null_argument("value");
    *value = 0;
    return inner.counter_after(of, row_key, value);
  });
}
