// SPDX-License-Identifier: Apache-2.0
// Row locks, and the reads that lock.
#include <functional>
#include <string>
#include <vector>

#include "capi/call.h"
#include "capi/options.h"

namespace hf::capi {
namespace {

// `body` takes the transaction, the table, the key and the rule, and answers a Status.
template <typename Body>
int lock_call(hf_txn* txn, hf_table* table, hf_bytes key, const hf_lock_options* options, LockUse use,
              Body&& body) noexcept {
  return row_call(txn, table, key, [&](txn::Transaction& inner, txn::Table& of, Bytes row_key) -> Status {
    LockCall call;
    if (Status status = read_lock_options(options, use, &call); !status.ok()) return status;
    return body(inner, of, row_key, call.rule);
  });
}

int get_locked(hf_txn* txn, hf_table* table, hf_bytes key, const hf_lock_options* options, LockUse use,
               hf_row* row) noexcept {
  return lock_call(txn, table, key, options, use,
                   [row](txn::Transaction& inner, txn::Table& from, Bytes row_key, const txn::LockRule& rule) {
                     txn::RowView view;
                     Status status = inner.get_locked(from, row_key, rule, &view);
                     if (status.ok() && row != nullptr) fill_row(view, row);
                     return status;
                   });
}

Status get_many(txn::Transaction& inner, txn::Table& table, const hf_bytes* keys, std::size_t count,
                const LockCall& call, hf_row* rows) {
  std::vector<Bytes> wanted(count);
  for (std::size_t i = 0; i < count; ++i) wanted[i] = to_bytes(keys[i]);
  std::vector<txn::RowView> views;
  std::vector<bool> found;
  std::vector<bool> locked;
  Status status = inner.get_many_locked(table, wanted, call.rule, call.skip, &views, &found, &locked);
  if (!status.ok()) return status;
  for (std::size_t i = 0; i < count; ++i) {
    if (found[i]) {
      fill_row(views[i], &rows[i]);
    } else {
      rows[i] = no_row(locked[i] ? HF_NOT_FOUND : HF_LOCKED);
    }
  }
  return {};
}

int get_many_locked(hf_txn* txn, hf_table* table, const hf_bytes* keys, std::size_t count,
                    const hf_lock_options* options, LockUse use, hf_row* rows) noexcept {
  return txn_call(txn, [&](hf_txn& t) {
    if (!table_is_legal(table, t.database)) return fail(t, wrong_table(table));
    if (count != 0 && (keys == nullptr || rows == nullptr)) {
      return fail(t, null_argument(keys == nullptr ? "keys" : "rows"), {.table = table});
    }
    LockCall call;
    Status status = read_lock_options(options, use, &call);
    for (std::size_t i = 0; i < count && status.ok(); ++i) {
      if (!key_is_legal(keys[i])) status = wrong_key(keys[i]);
    }
    if (status.ok()) status = get_many(*t.inner, *table->table, keys, count, call, rows);
    return status.ok() ? HF_OK : fail(t, std::move(status), {.table = table});
  });
}

// --- hf_lock_many ---------------------------------------------------------------------------------------------------

Status read_request(const hf_txn& txn, const hf_lock_request& request, lock::Mode mode, txn::LockWanted* out) {
  if (!table_is_legal(request.table, txn.database)) return wrong_table(request.table);
  if (!key_is_legal(request.key)) return wrong_key(request.key);
  *out = {request.table->table, to_bytes(request.key), mode};
  return request.mode == 0 ? Status() : read_lock_mode(request.mode, LockUse::kAny, &out->mode);
}

// A table that is dropped has to be known before anything is locked. Opening a cursor looks for it, and reads nothing.
Status find_tables(txn::Transaction& inner, const std::vector<txn::LockWanted>& wanted) {
  const txn::Table* found = nullptr;
  for (const txn::LockWanted& one : wanted) {
    if (one.table == found) continue;
    if (Status status = txn::RowCursor(inner).open(*one.table, {}); !status.ok()) return status;
    found = one.table;
  }
  return {};
}

Status lock_each_free(txn::Transaction& inner, const std::vector<txn::LockWanted>& wanted, txn::LockRule rule,
                      hf_lock_request* requests) {
  if (Status status = find_tables(inner, wanted); !status.ok()) return status;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    rule.mode = wanted[i].mode;
    Status status = inner.lock(*wanted[i].table, wanted[i].key, rule);
    if (!status.ok() && status.code() != Code::kLOCKED) return status;
    requests[i].code = static_cast<int>(status.code());
  }
  return {};
}

Status lock_all(txn::Transaction& inner, const std::vector<txn::LockWanted>& wanted, const txn::LockRule& rule,
                hf_lock_request* requests) {
  if (Status status = inner.lock_many(wanted, rule); !status.ok()) return status;
  for (std::size_t i = 0; i < wanted.size(); ++i) requests[i].code = HF_OK;
  return {};
}

int lock_many(hf_txn& txn, hf_lock_request* requests, std::size_t count, const hf_lock_options* options) {
  LockCall call;
  if (Status status = read_lock_options(options, LockUse::kAny, &call); !status.ok()) {
    return fail(txn, std::move(status));
  }
  if (count != 0 && requests == nullptr) return fail(txn, null_argument("requests"));
  std::vector<txn::LockWanted> wanted(count);
  for (std::size_t i = 0; i < count; ++i) {
    Status status = read_request(txn, requests[i], call.rule.mode, &wanted[i]);
    if (!status.ok()) {
      return fail(txn, Status(status.code(), "request " + std::to_string(i) + ": " + status.message()));
    }
  }
  Status status = call.skip ? lock_each_free(*txn.inner, wanted, call.rule, requests)
                            : lock_all(*txn.inner, wanted, call.rule, requests);
  return status.ok() ? HF_OK : fail(txn, std::move(status));
}

}  // namespace
}  // namespace hf::capi

using namespace hf::capi;
using hf::Bytes;
using hf::Status;
using hf::txn::LockRule;
using hf::txn::RowView;
using hf::txn::Table;
using hf::txn::Transaction;

int hf_lock(hf_txn* txn, hf_table* table, hf_bytes key, const hf_lock_options* options) {
  return lock_call(
      txn, table, key, options, LockUse::kAny,
      [](Transaction& inner, Table& of, Bytes row_key, const LockRule& rule) { return inner.lock(of, row_key, rule); });
}

int hf_lock_many(hf_txn* txn, hf_lock_request* requests, size_t count, const hf_lock_options* options) {
  return txn_call(txn, [&](hf_txn& t) { return lock_many(t, requests, count, options); });
}

int hf_get_for_update(hf_txn* txn, hf_table* table, hf_bytes key, const hf_lock_options* options, hf_row* row) {
  return get_locked(txn, table, key, options, LockUse::kUpdate, row);
}

int hf_get_for_share(hf_txn* txn, hf_table* table, hf_bytes key, const hf_lock_options* options, hf_row* row) {
  return get_locked(txn, table, key, options, LockUse::kShare, row);
}

int hf_get_many_for_update(hf_txn* txn, hf_table* table, const hf_bytes* keys, size_t count,
                           const hf_lock_options* options, hf_row* rows) {
  return get_many_locked(txn, table, keys, count, options, LockUse::kUpdate, rows);
}

int hf_get_many_for_share(hf_txn* txn, hf_table* table, const hf_bytes* keys, size_t count,
                          const hf_lock_options* options, hf_row* rows) {
  return get_many_locked(txn, table, keys, count, options, LockUse::kShare, rows);
}

int hf_lock_if(hf_txn* txn, hf_table* table, hf_bytes key, const hf_lock_options* options, hf_lock_predicate holds,
               void* context, hf_row* row, int* locked) {
  if (locked != nullptr) *locked = 0;
  return lock_call(txn, table, key, options, LockUse::kRead,
                   [&](Transaction& inner, Table& of, Bytes row_key, const LockRule& rule) -> Status {
                     if (holds == nullptr) return null_argument("holds");
                     const std::function<bool(const RowView*)> ask = [&](const RowView* view) {
                       if (view == nullptr) return holds(nullptr, context) != 0;
                       hf_row seen;
                       fill_row(*view, &seen);
                       return holds(&seen, context) != 0;
                     };
                     RowView view;
                     bool is_locked = false;
                     Status status = inner.lock_if(of, row_key, rule, ask, &view, &is_locked);
                     if (locked != nullptr) *locked = is_locked ? 1 : 0;
                     if (status.ok() && row != nullptr) fill_row(view, row);
                     return status;
                   });
}
