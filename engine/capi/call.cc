// SPDX-License-Identifier: Apache-2.0
#include "capi/call.h"

#include "capi/txn.h"

namespace hf::capi {
namespace {

void keep_cycle(hf_txn& txn) noexcept {
  try {
    txn.cycle = txn.inner->lock_report().cycle;
  } catch (...) {
    txn.cycle.clear();
  }
}

int set_failure(hf_txn& txn, Status status, const Concern& concern) noexcept {
  const Code code = status.code();
  const lock::Report& report = txn.inner->lock_report();
  if (is_of_locks(code) && !report.key.empty()) {
    if (code == Code::kDEADLOCK) keep_cycle(txn);
    return txn.failure.set(std::move(status), report);
  }
  const txn::Obstacle& obstacle = txn.inner->obstacle();
  // A conflict is about a row that was read before, the others about the row of this call.
  const bool is_obstacle = code == Code::kCONFLICT || ((code == Code::kOUT_OF_RANGE || code == Code::kWRONG_TYPE) &&
                                                       (concern.key.empty() || obstacle.key == concern.key));
  if (is_obstacle && obstacle.table != 0) return txn.failure.set(std::move(status), obstacle);
  txn.failure.set(std::move(status), concern);
  if (code == Code::kEXPIRED && report.key.empty()) txn.failure.set_other(report.other);
  return txn.failure.code();
}

}  // namespace

int fail(hf_db& db, Status status, const Concern& concern) noexcept {
  const std::lock_guard lock(db.mutex);
  return db.failure.set(std::move(status), concern);
}

int fail(hf_db& db, const Failure& failure) noexcept {
  const std::lock_guard lock(db.mutex);
  try {
    db.failure = failure;
  } catch (...) {
    db.failure.set(static_cast<Code>(failure.code()));
  }
  return failure.code();
}

int fail(hf_txn& txn, Status status, const Concern& concern) noexcept {
  const int code = set_failure(txn, std::move(status), concern);
  if (txn.cursors != nullptr && !txn.inner->running()) end_cursors(txn);
  return code;
}

int fail_thrown(hf_txn& txn, Code code) noexcept {
  end_cursors(txn);
  // Thrown by a commit after its record was made visible, it would be wrong to say that nothing happened.
  if (txn.inner->running() && txn.inner->commit_csn() != 0) code = Code::kMAYBE_COMMITTED;
  txn.inner->abort();
  return txn.failure.set(code);
}

Status wrong_key(hf_bytes key) {
  if (key.size == 0) return Status(Code::kINVALID_ARGUMENT, "the key is empty");
  if (key.data == nullptr) return Status(Code::kINVALID_ARGUMENT, "the key is NULL with a size");
  return Status(Code::kTOO_LARGE,
                "the key has " + std::to_string(key.size) + " bytes, the limit is " + std::to_string(HF_KEY_SIZE_MAX));
}

Status wrong_value(hf_bytes value) {
  if (value.data == nullptr) return Status(Code::kINVALID_ARGUMENT, "the value is NULL with a size");
  return Status(Code::kTOO_LARGE, "the value has " + std::to_string(value.size) + " bytes, the limit is " +
                                      std::to_string(HF_VALUE_SIZE_MAX));
}

Status wrong_table(const hf_table* table) {
  switch (check_live(table)) {
    case HF_INVALID_ARGUMENT:
      return null_argument("table");
    case HF_FORKED:
      return Code::kFORKED;
    case HF_OK:
      return Status(Code::kMISUSE, "the table \"" + table->name + "\" belongs to another database");
    default:
      return Status(Code::kMISUSE, "the table handle is not one of an open database");
  }
}

Status null_argument(const char* name) {
  return Status(Code::kINVALID_ARGUMENT, std::string("the argument `") + name + "` is NULL");
}

}  // namespace hf::capi
