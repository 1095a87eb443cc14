// SPDX-License-Identifier: Apache-2.0
#include "capi/attempts.h"

#include <cstddef>

#include "capi/options.h"

namespace hf::capi {

Attempts::~Attempts() {
  if (txn_ != nullptr) end_txn(txn_);
}

Status Attempts::prepare(const hf_transact_options* options) {
  if (result_ != nullptr && !output_is_legal(result_)) {
    const std::uint32_t size = result_->size;
    result_ = nullptr;
    return wrong_size("hf_transact_result", size);
  }
  txn::RetryOptions retry;
  hf_session* session = nullptr;
  if (Status status = read_transact_options(db_.database->options(), options, &retry, &options_, &session);
      !status.ok()) {
    return status;
  }
  retry_.emplace(retry);
  if (const int code = make_txn(&db_, &txn_); code != HF_OK) return static_cast<Code>(code);
  return enter_session(*txn_, session, &options_);
}

// Requires: there is a result struct.
void Attempts::give_result(hf_transact_result& full) {
  last_.describe(db_.catalog.get(), &full.error);
  // As much of it as an older program's struct has room for.
  constexpr std::uint32_t kBefore = offsetof(hf_transact_result, error);
  if (result_->size < sizeof full) full.error.size = result_->size > kBefore ? result_->size - kBefore : 0;
  write_sized(full, result_);
}

int Attempts::begin() {
  retry_->count_attempt();
  txn_->failure.clear();
  Status status = retry_->attempts() == 1 ? txn_->inner->begin(options_) : restart_txn(*txn_);
  if (status.ok()) status = retry_->lock_ahead(*txn_->inner);
  return status.ok() ? HF_OK : fail(*txn_, std::move(status));
}

bool Attempts::again(int code) {
  close_cursors(*txn_);
  txn_->inner->abort();
  last_ = txn_->failure;
  if (last_.code() != code) last_.set(static_cast<Code>(code));
  if (retry_->again(Status(static_cast<Code>(code)), *txn_->inner)) return true;
  return false;
}

int Attempts::finish(int code) {
  // Cancelled in the pause between two attempts.
  if (txn_->cancelled.load(std::memory_order_relaxed) && code_is_retryable(code)) code = last_.set(Code::kCANCELLED);
  last_.set_attempts(retry_->attempts());
  if (result_ != nullptr) {
    hf_transact_result full{};
    full.attempts = retry_->attempts();
    full.csn = code == HF_OK ? txn_->inner->commit_csn() : 0;
    full.elapsed_us = retry_->elapsed_us();
    give_result(full);
  }
  if (code != HF_OK) fail(db_, last_);
  return code;
}

int Attempts::refuse(Status status, const Concern& concern) noexcept {
  last_.set(std::move(status), concern);
  if (result_ != nullptr) {
    guarded([&] {
      hf_transact_result full{};
      give_result(full);
      return HF_OK;
    });
  }
  return fail(db_, last_);
}

}  // namespace hf::capi
