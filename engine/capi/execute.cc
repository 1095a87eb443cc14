// SPDX-License-Identifier: Apache-2.0
// hf_execute: checks and operations as one transaction in one call.
#include <cstring>
#include <string>
#include <vector>

#include "capi/attempts.h"

namespace hf::capi {
namespace {

bool writes_value(std::uint32_t kind) noexcept {
  return kind == HF_OP_PUT || kind == HF_OP_INSERT || kind == HF_OP_UPDATE || kind == HF_OP_PUT_IF_VERSION;
}

Status check_operation(const hf_db& db, const hf_operation& operation) {
  if (operation.kind < HF_OP_GET || operation.kind > HF_OP_COUNTER_SET) {
    return Status(Code::kINVALID_ARGUMENT, "operation kind " + std::to_string(operation.kind) + " is not legal");
  }
  if (operation.reserved != 0) return Status(Code::kINVALID_ARGUMENT, "operation.reserved is not 0");
  if (!table_is_legal(operation.table, db.database.get())) return wrong_table(operation.table);
  if (!key_is_legal(operation.key)) return wrong_key(operation.key);
  const bool has_value = writes_value(operation.kind) || operation.kind == HF_OP_CHECK_VALUE;
  if (has_value && !value_is_legal(operation.value)) return wrong_value(operation.value);
  if (operation.kind == HF_OP_GET && operation.buffer == nullptr && operation.capacity != 0) {
    return null_argument("buffer");
  }
  if (operation.kind == HF_OP_ADD && operation.min > operation.max) {
    return Status(Code::kINVALID_ARGUMENT, "min is greater than max");
  }
  return {};
}

// Fills the buffer and what is known of the row. Never ends the transaction because of the row itself.
Status get(txn::Transaction& txn, const hf_operation& operation, hf_operation_result* result) {
  txn::RowView row;
  Status status = txn.get(*operation.table->table, to_bytes(operation.key), &row);
  if (status.code() == Code::kNOT_FOUND) {
    result->code = HF_NOT_FOUND;
    return {};
  }
  if (!status.ok()) return status;
  result->version = row.version;
  result->size = row.value.size();
  if (operation.buffer == nullptr) return {};
  if (row.value.size() > operation.capacity) {
    result->code = HF_TOO_LARGE;
  } else if (!row.value.empty()) {
    std::memcpy(operation.buffer, row.value.data(), row.value.size());
  }
  return {};
}

Status check(txn::Transaction& txn, const hf_operation& operation, hf_operation_result* result) {
  txn::RowView row;
  Status status = txn.get(*operation.table->table, to_bytes(operation.key), &row);
  const bool found = status.ok();
  if (!found && status.code() != Code::kNOT_FOUND) return status;
  result->version = row.version;
  switch (operation.kind) {
    case HF_OP_CHECK_EXISTS:
      return found ? Code::kOK : Code::kNOT_FOUND;
    case HF_OP_CHECK_ABSENT:
      return found ? Code::kEXISTS : Code::kOK;
    default:
      return found && row.value == to_bytes(operation.value) ? Code::kOK : Code::kVERSION_MISMATCH;
  }
}

Status check_version(txn::Transaction& txn, const hf_operation& operation, hf_operation_result* result) {
  Status status = txn.check_version(*operation.table->table, to_bytes(operation.key), operation.version);
  if (status.ok()) {
    result->version = operation.version;
  } else if (status.code() == Code::kVERSION_MISMATCH) {
    txn::RowView row;
    if (txn.get(*operation.table->table, to_bytes(operation.key), &row).ok()) result->version = row.version;
  }
  return status;
}

Status perform(txn::Transaction& txn, const hf_operation& operation, hf_operation_result* result) {
  txn::Table& table = *operation.table->table;
  const Bytes key = to_bytes(operation.key);
  const Bytes value = to_bytes(operation.value);
  const std::uint64_t ttl_ms = ttl_of(operation.ttl_ms);
  switch (operation.kind) {
    case HF_OP_GET:
      return get(txn, operation, result);
    case HF_OP_CHECK_VERSION:
      return check_version(txn, operation, result);
    case HF_OP_PUT:
      return txn.put(table, key, value, ttl_ms);
    case HF_OP_INSERT:
      return txn.insert(table, key, value, ttl_ms);
    case HF_OP_UPDATE:
      return txn.update(table, key, value, ttl_ms);
    case HF_OP_PUT_IF_VERSION:
      return txn.put_if_version(table, key, value, operation.version, ttl_ms);
    case HF_OP_DELETE:
      return txn.remove(table, key);
    case HF_OP_ERASE:
      return txn.erase(table, key);
    case HF_OP_ADD:
      return txn.add(table, key, operation.delta, operation.min, operation.max);
    case HF_OP_COUNTER_SET:
      return txn.counter_set(table, key, operation.delta);
    default:
      return check(txn, operation, result);
  }
}

void cancel_results(hf_operation_result* results, std::size_t first, std::size_t count) noexcept {
  if (results == nullptr) return;
  for (std::size_t i = first; i < count; ++i) results[i] = {HF_CANCELLED, 0, 0, 0, 0};
}

// Locks the rows of as many operations as follow one another, in canonical order: *count. All or none.
Status lock_run(txn::Transaction& txn, const hf_operation* operations, std::size_t left, std::size_t* count) {
  std::vector<txn::LockWanted> wanted;
  for (std::size_t i = 0; i < left && operations[i].kind == HF_OP_LOCK; ++i) {
    wanted.push_back({operations[i].table->table, to_bytes(operations[i].key), lock::Mode::kExclusive});
  }
  *count = wanted.size();
  return txn.lock_many(wanted, txn::LockRule());
}

// One attempt. Everything before the one that failed keeps its own result.
int perform_all(hf_txn& txn, const hf_operation* operations, std::size_t count, hf_operation_result* results) {
  cancel_results(results, 0, count);
  std::size_t done = 1;
  for (std::size_t i = 0; i < count; i += done) {
    hf_operation_result result{};
    done = 1;
    Status status = operations[i].kind == HF_OP_LOCK ? lock_run(*txn.inner, operations + i, count - i, &done)
                                                     : perform(*txn.inner, operations[i], &result);
    if (!status.ok()) result.code = static_cast<int>(status.code());
    for (std::size_t j = i; results != nullptr && j < i + done; ++j) results[j] = result;
    if (!status.ok()) {
      return fail(txn, std::move(status), {.table = operations[i].table, .key = to_bytes(operations[i].key)});
    }
  }
  return HF_OK;
}

void give_counters(const txn::Transaction& txn, const hf_operation* operations, std::size_t count,
                   hf_operation_result* results) {
  for (std::size_t i = 0; i < count; ++i) {
    if (operations[i].kind != HF_OP_ADD) continue;
    (void)txn.counter_after(*operations[i].table->table, to_bytes(operations[i].key), &results[i].counter).ok();
  }
}

int execute(Attempts& attempts, const hf_db& db, const hf_transact_options* options, const hf_operation* operations,
            std::size_t count, hf_operation_result* results) {
  if (Status status = attempts.prepare(options); !status.ok()) return attempts.refuse(std::move(status));
  if (operations == nullptr && count != 0) return attempts.refuse(null_argument("operations"));
  for (std::size_t i = 0; i < count; ++i) {
    Status status = check_operation(db, operations[i]);
    if (status.ok()) continue;
    cancel_results(results, 0, count);
    if (results != nullptr) results[i].code = static_cast<int>(status.code());
    return attempts.refuse(Status(status.code(), "operation " + std::to_string(i) + ": " + status.message()));
  }
  const int code = attempts.run([&](hf_txn& txn) { return perform_all(txn, operations, count, results); });
  if (code == HF_OK && results != nullptr) give_counters(attempts.transaction(), operations, count, results);
  return code;
}

}  // namespace
}  // namespace hf::capi

using namespace hf::capi;

int hf_execute(hf_db* db, const hf_transact_options* options, const hf_operation* operations, size_t count,
               hf_operation_result* results, hf_transact_result* result) {
  if (const int code = enter_db(db); code != HF_OK) return code;
  int code;
  try {
    Attempts attempts(*db, result);
    code = execute(attempts, *db, options, operations, count, results);
  } catch (...) {
    code = fail(*db, thrown_code());
  }
  leave_db(db);
  return code;
}
