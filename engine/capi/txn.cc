// SPDX-License-Identifier: Apache-2.0
// Transactions: begin, commit, abort, cancel, savepoints.
#include "capi/txn.h"

#include <atomic>

#include "capi/call.h"
#include "capi/options.h"

namespace hf::capi {
namespace {

// Where this thread looks for idle transactions first.
std::uint32_t idle_place() noexcept {
  static constinit std::atomic<std::uint32_t> next{0};
  static constinit thread_local std::uint32_t place = UINT32_MAX;
  if (place == UINT32_MAX) place = next.fetch_add(1, std::memory_order_relaxed) % kIdleTxns;
  return place;
}
constexpr std::uint32_t kPlacesTried = 4;  // so that a thread may have a few transactions at once

// One exchange is all that a begin needs to be sure of the database: who closes it takes every idle handle first.
hf_txn* take_idle(hf_db& db) noexcept {
  const std::uint32_t place = idle_place();
  for (std::uint32_t i = 0; i < kPlacesTried; ++i) {
    std::atomic<hf_txn*>& slot = db.idle[(place + i) % kIdleTxns].txn;
    if (slot.load(std::memory_order_relaxed) == nullptr) continue;
    if (hf_txn* const txn = slot.exchange(nullptr, std::memory_order_acquire); txn != nullptr) {
      txn->idle_place = (place + i) % kIdleTxns;
      return txn;
    }
  }
  return nullptr;
}

// The first place is the one that it was taken from.
bool keep_idle(hf_db& db, hf_txn* txn) noexcept {
  const std::uint32_t place = txn->idle_place;
  for (std::uint32_t i = 0; i < kPlacesTried; ++i) {
    std::atomic<hf_txn*>& slot = db.idle[(place + i) % kIdleTxns].txn;
    hf_txn* expected = nullptr;
    if (slot.load(std::memory_order_relaxed) == nullptr &&
        slot.compare_exchange_strong(expected, txn, std::memory_order_release, std::memory_order_relaxed)) {
      return true;
    }
  }
  return false;
}

void forget(hf_txn* txn) noexcept {
  txn->inner.reset();
  pool<hf_txn>().give(txn);
}

// A handle that is new to this database. Its user is counted already.
hf_txn* new_txn(hf_db& db) {
  hf_txn* const txn = pool<hf_txn>().take();
  txn->db = &db;
  txn->database = db.database.get();
  txn->inner.emplace(db.database);
  txn->idle_place = idle_place();
  txn->generation.store(txn::fork_generation(), std::memory_order_relaxed);
  return txn;
}

Status begin(hf_txn& txn, const hf_txn_options* options) {
  if (options == nullptr) return txn.inner->begin(txn.db->txn_defaults);
  txn::TxnOptions own;
  hf_session* session = nullptr;
  if (Status status = read_txn_options(txn.inner->database().options(), options, &own, &session); !status.ok())
    return status;
  if (Status status = enter_session(txn, session, &own); !status.ok()) return status;
  return txn.inner->begin(own);
}

// After its transaction has ended.
void leave_session(hf_txn& txn) noexcept {
  const std::lock_guard lock(txn.session->mutex);
  --txn.session->users;
  txn.session = nullptr;
}

// Which row, or who, was in the way of a commit that failed with that code.
txn::Obstacle obstacle_of(const hf_txn& txn, Code code) {
  if (code == Code::kVERSION_MISMATCH) return txn.inner->obstacle();
  txn::Obstacle obstacle;
  txn::OldestPin pin = txn.inner->database().oldest_pin();
  if (pin.base == kCsnMax) return obstacle;
  obstacle.other_pid = pin.pid;
  obstacle.other_age_ms = pin.age_ms;
  obstacle.other_label = std::move(pin.label);
  return obstacle;
}

int refuse_in_transact(hf_txn& txn) {
  return fail(txn, Status(Code::kMISUSE, "the transaction belongs to hf_transact, which commits or ends it"));
}

template <typename Body>
int savepoint_call(hf_txn* txn, Body&& body) noexcept {
  return txn_call(txn, [&](hf_txn& t) {
    Status status = body(*t.inner);
    return status.ok() ? HF_OK : fail(t, std::move(status));
  });
}

}  // namespace

int make_txn(hf_db* db, hf_txn** out) {
  if (const int code = check_live(db); code != HF_OK) return code;
  hf_txn* txn = take_idle(*db);
  if (txn == nullptr) {
    if (const int code = enter_db(db); code != HF_OK) return code;
    try {
      txn = new_txn(*db);
    } catch (...) {
      leave_db(db);
      throw;
    }
  }
  txn->in_transact = false;
  txn->cancelled.store(false, std::memory_order_relaxed);
  txn->word.store(hf_txn::kMagic | kInUse, std::memory_order_release);
  *out = txn;
  return HF_OK;
}

void end_txn(hf_txn* txn) noexcept {
  hf_db* const db = txn->db;
  if (txn->cursors != nullptr) close_cursors(*txn);
  txn->inner->abort();
  if (txn->session != nullptr) leave_session(*txn);
  if (txn->failure.code() != HF_OK) txn->failure.clear();
  if (!txn->cycle.empty()) txn->cycle.clear();
  txn->word.store(0, std::memory_order_release);
  if (keep_idle(*db, txn)) return;
  forget(txn);
  leave_db(db);
}

bool end_idle_txns(hf_db& db) noexcept {
  hf_txn* idle[kIdleTxns];
  std::uint64_t count = 0;
  for (IdleTxn& slot : db.idle) {
    hf_txn* const txn = slot.txn.exchange(nullptr, std::memory_order_seq_cst);
    if (txn != nullptr) idle[count++] = txn;
  }
  const bool all = db.users.load(std::memory_order_seq_cst) == count;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (!all && keep_idle(db, idle[i])) continue;
    forget(idle[i]);
    leave_db(&db);
  }
  return all;
}

Status enter_session(hf_txn& txn, hf_session* session, txn::TxnOptions* options) {
  if (session == nullptr) return {};
  if (const int code = check_live(session); code == HF_FORKED) return Code::kFORKED;
  if (is_live(session)) {
    const std::lock_guard lock(session->mutex);
    if (is_live(session)) {  // still, and it stays so while this is locked
      if (session->database != txn.database) {
        return Status(Code::kMISUSE, "the session belongs to another database");
      }
      ++session->users;
      txn.session = session;
      options->session = &*session->inner;
      return {};
    }
  }
  return Status(Code::kMISUSE, "the session has ended");
}

void end_cursors(hf_txn& txn) noexcept {
  for (hf_cursor* cursor = txn.cursors; cursor != nullptr; cursor = cursor->next) cursor->rows.reset();
}

void close_cursors(hf_txn& txn) noexcept {
  while (txn.cursors != nullptr) close_cursor(txn.cursors);
}

Status restart_txn(hf_txn& txn) {
  Status status = txn.inner->restart();
  // Pairs with hf_cancel, which stores its own mark first and the transaction's, which a restart clears, then.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (txn.cancelled.load(std::memory_order_relaxed)) txn.inner->cancel();
  return status;
}

int commit_txn(hf_txn& txn, bool wait) {
  if (txn.cursors != nullptr) end_cursors(txn);
  Status status = txn.inner->commit(wait);
  if (status.ok()) [[likely]]
    return HF_OK;
  if (status.code() == Code::kOVERLOADED || status.code() == Code::kVERSION_MISMATCH) {
    const txn::Obstacle obstacle = obstacle_of(txn, status.code());
    return txn.failure.set(std::move(status), obstacle);
  }
  return fail(txn, std::move(status));  // conflicts and locks are told in the same way whoever meets them
}

}  // namespace hf::capi

using namespace hf::capi;

int hf_begin(hf_db* db, const hf_txn_options* options, hf_txn** txn) {
  if (txn == nullptr) return HF_INVALID_ARGUMENT;
  *txn = nullptr;
  return guarded([&] {
    hf_txn* fresh = nullptr;
    if (const int code = make_txn(db, &fresh); code != HF_OK) return code;
    hf::Status status;
    try {
      status = begin(*fresh, options);
    } catch (...) {
      status = thrown_code();
    }
    if (!status.ok()) {
      const int code = fail(*db, std::move(status));
      end_txn(fresh);
      return code;
    }
    leave(fresh);
    *txn = fresh;
    return static_cast<int>(HF_OK);
  });
}

int hf_commit(hf_txn* txn) {
  return txn_call(txn, [](hf_txn& t) { return t.in_transact ? refuse_in_transact(t) : commit_txn(t, true); });
}

int hf_commit_ticket(hf_txn* txn, uint64_t* ticket) {
  return txn_call(txn, [&](hf_txn& t) {
    if (ticket == nullptr) return fail(t, null_argument("ticket"));
    *ticket = 0;
    if (t.in_transact) return refuse_in_transact(t);
    const int code = commit_txn(t, false);
    if (code != HF_OK) return code;
    *ticket = t.inner->ticket();
    t.inner->database().ticket_issued(*ticket);
    return code;
  });
}

int hf_abort(hf_txn* txn) {
  return txn_call(txn, [](hf_txn& t) {
    if (t.in_transact) return refuse_in_transact(t);
    end_cursors(t);
    t.inner->abort();
    return static_cast<int>(HF_OK);
  });
}

int hf_txn_end(hf_txn** txn) {
  if (txn == nullptr || *txn == nullptr) return HF_OK;
  int code = enter(*txn);
  if (code == HF_OK && (*txn)->in_transact) {
    code = guarded([&] { return refuse_in_transact(**txn); });
    leave(*txn);
    return code;
  }
  if (code != HF_OK) {
    if (!keeps_handle(*txn, code)) *txn = nullptr;
    return code;
  }
  end_txn(*txn);
  *txn = nullptr;
  return HF_OK;
}

int hf_restart(hf_txn* txn) {
  return txn_call(txn, [](hf_txn& t) {
    if (t.inner->running()) return fail(t, hf::Status(hf::Code::kMISUSE, "the transaction is still running"));
    if (t.in_transact) return refuse_in_transact(t);
    end_cursors(t);
    t.cancelled.store(false, std::memory_order_relaxed);
    hf::Status status = t.inner->restart();
    return status.ok() ? HF_OK : fail(t, std::move(status));
  });
}

// Also for signal handlers: loads, stores, and a system call that wakes.
int hf_cancel(hf_txn* txn) {
  if (const int code = check_live(txn); code != HF_OK) return code;
  txn->cancelled.store(true, std::memory_order_seq_cst);
  txn->inner->cancel();
  return HF_OK;
}

int hf_txn_error(hf_txn* txn, hf_error* error) {
  if (!output_is_legal(error)) return HF_INVALID_ARGUMENT;
  if (const int code = enter(txn); code != HF_OK) return code;
  const int code = guarded([&] {
    hf_error full;
    txn->failure.describe(txn->db->catalog.get(), &full);
    write_sized(full, error);
    return HF_OK;
  });
  leave(txn);
  return code;
}

uint64_t hf_txn_snapshot(hf_txn* txn) {
  if (enter(txn) != HF_OK) return 0;
  const std::uint64_t csn = txn->inner->snapshot_csn();
  leave(txn);
  return csn;
}

uint64_t hf_txn_csn(hf_txn* txn) {
  if (enter(txn) != HF_OK) return 0;
  const std::uint64_t csn = txn->inner->commit_csn();
  leave(txn);
  return csn;
}

int hf_savepoint(hf_txn* txn, uint64_t* savepoint) {
  return savepoint_call(txn, [&](hf::txn::Transaction& inner) -> hf::Status {
    if (savepoint == nullptr) return null_argument("savepoint");
    *savepoint = 0;
    hf::Result<std::uint64_t> id = inner.savepoint();
    if (!id.ok()) return std::move(id).status();
    *savepoint = id.value();
    return {};
  });
}

int hf_rollback_to(hf_txn* txn, uint64_t savepoint) {
  return savepoint_call(txn, [&](hf::txn::Transaction& inner) { return inner.rollback_to(savepoint); });
}

int hf_release(hf_txn* txn, uint64_t savepoint) {
  return savepoint_call(txn, [&](hf::txn::Transaction& inner) { return inner.release(savepoint); });
}
