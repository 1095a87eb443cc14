// SPDX-License-Identifier: Apache-2.0
// The frame that hf_transact and hf_execute share: one handle, begun anew for each attempt, and the result struct.
#pragma once

#include <cstdint>
#include <optional>

#include "base/status.h"
#include "capi/call.h"
#include "capi/txn.h"
#include "txn/transact.h"

namespace hf::capi {

class Attempts {
 public:
  // `result` may be null. Requires: the caller counts as a user of `db`.
  Attempts(hf_db& db, hf_transact_result* result) noexcept : db_(db), result_(result) {}
  Attempts(const Attempts&) = delete;
  ~Attempts();  // ends the handle

  // Checks the options and makes the handle.
  Status prepare(const hf_transact_options* options);
  // Runs `body` (hf_txn& -> code, having kept a failure in txn.failure) and commits, until that succeeds or is not
  // worth another attempt. Fills the result. Requires: prepare() answered ok.
  template <typename Body>
  int run(Body&& body) {
    int code;
    do {
      code = begin();
      if (code == HF_OK) code = body(*txn_);
      if (code == HF_OK) code = commit_txn(*txn_, true);
    } while (code != HF_OK && again(code));
    return finish(code);
  }
  // Requires: prepare() answered ok.
  const txn::Transaction& transaction() const noexcept { return *txn_->inner; }
  // For what fails before the first attempt.
  int refuse(Status status, const Concern& concern = {}) noexcept;

 private:
  void give_result(hf_transact_result& full);
  int begin();
  bool again(int code);
  int finish(int code);

  hf_db& db_;
  hf_transact_result* result_;
  hf_txn* txn_ = nullptr;
  txn::TxnOptions options_;
  std::optional<txn::Retry> retry_;
  Failure last_;  // of the attempts so far
};

}  // namespace hf::capi
