// SPDX-License-Identifier: Apache-2.0
// hf_transact: the caller's function as a transaction, with retries.
#include <chrono>
#include <thread>

#include "capi/attempts.h"

namespace hf::capi {
namespace {

// The function uses the handle as everybody does; between attempts it is ours.
class Lent {
 public:
  explicit Lent(hf_txn& txn) noexcept : txn_(txn) {
    txn_.in_transact = true;
    leave(&txn_);
  }
  Lent(const Lent&) = delete;
  // A thread that the function left behind may be in a call: out in a moment, or waiting for a lock.
  ~Lent() {
    for (int tries = 0; enter(&txn_) != HF_OK; ++tries) {
      if (tries < kYields) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    txn_.in_transact = false;
  }

 private:
  static constexpr int kYields = 100;
  hf_txn& txn_;
};

int call_function(hf_txn& txn, hf_transact_fn fn, void* context) {
  int code;
  {
    const Lent lent(txn);
    code = fn(&txn, context);
  }
  // Ours or the function's own: the detail belongs to the call that failed with that code, if there was one.
  if (code != HF_OK && txn.failure.code() != code) {
    txn.failure.set(Status(static_cast<Code>(code), "the transaction's function answered " + std::to_string(code)));
  }
  return code;
}

}  // namespace
}  // namespace hf::capi

using namespace hf::capi;

int hf_transact(hf_db* db, const hf_transact_options* options, hf_transact_fn fn, void* context,
                hf_transact_result* result) {
  if (const int code = enter_db(db); code != HF_OK) return code;
  int code;
  try {
    Attempts attempts(*db, result);
    hf::Status status = attempts.prepare(options);
    if (status.ok() && fn == nullptr) status = null_argument("fn");
    code = status.ok() ? attempts.run([&](hf_txn& txn) { return call_function(txn, fn, context); })
                       : attempts.refuse(std::move(status));
  } catch (...) {
    code = fail(*db, thrown_code());
  }
  leave_db(db);
  return code;
}
