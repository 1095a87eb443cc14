// SPDX-License-Identifier: Apache-2.0
// Sessions: locks on names. A session's handle lives at least as long as every handle of a transaction inside of it.
#include <utility>

#include "capi/call.h"
#include "capi/options.h"

namespace hf::capi {
namespace {

// Requires: the handle is in use.
int fail(hf_session& session, Status status, Bytes name) noexcept {
  const lock::Report& report = session.inner->lock_report();
  if (is_of_locks(status.code()) && !report.key.empty()) return session.failure.set(std::move(status), report);
  return session.failure.set(std::move(status), Concern{.key = name});
}

// `body` takes the engine's session and answers a Status.
template <typename Body>
int session_call(hf_session* session, hf_bytes name, Body&& body) noexcept {
  if (const int code = enter(session); code != HF_OK) return code;
  int code;
  try {
    Status status = key_is_legal(name) ? body(*session->inner) : wrong_key(name);
    code = status.ok() ? HF_OK : fail(*session, std::move(status), to_bytes(name));
  } catch (...) {
    code = session->failure.set(thrown_code());
  }
  leave(session);
  return code;
}

// Requires: the handle is not live, and nobody else has it.
void forget(hf_session* session) noexcept {
  session->inner.reset();
  session->failure.clear();
  pool<hf_session>().give(session);
}

// Requires: the caller counts as a user of `db`, and does so for *out when it is HF_OK.
Status open(hf_db& db, const char* label, hf_session** out) {
  std::string own;
  if (Status status = read_label(label, &own); !status.ok()) return status;
  hf_session* const session = pool<hf_session>().take();
  session->db = &db;
  session->database = db.database.get();
  session->users = 0;
  Status status;
  try {
    session->inner.emplace(db.database, std::move(own));
    status = session->inner->open();
  } catch (...) {
    status = thrown_code();
  }
  if (!status.ok()) {
    forget(session);
    return status;
  }
  session->generation.store(txn::fork_generation(), std::memory_order_relaxed);
  session->word.store(hf_session::kMagic, std::memory_order_release);
  *out = session;
  return {};
}

// Requires: the handle is in use. HF_MISUSE, and it stays so, while transactions have it.
int close(hf_session* session) {
  std::unique_lock lock(session->mutex);
  if (session->users != 0) {
    const std::uint64_t users = session->users;
    lock.unlock();
    return fail(*session, Status(Code::kMISUSE, std::to_string(users) + " transactions are inside of the session"), {});
  }
  session->word.store(0, std::memory_order_release);
  lock.unlock();
  hf_db* const db = session->db;
  forget(session);
  leave_db(db);
  return HF_OK;
}

}  // namespace
}  // namespace hf::capi

using namespace hf::capi;

int hf_session_open(hf_db* db, const char* label, hf_session** session) {
  if (session == nullptr) return HF_INVALID_ARGUMENT;
  *session = nullptr;
  return db_call(db, {}, [&](hf_db& d) {
    hf::Status status = open(d, label, session);
    if (status.ok()) d.users.fetch_add(1, std::memory_order_relaxed);  // its own; this call's is still there
    return status;
  });
}

int hf_session_lock(hf_session* session, hf_bytes name, const hf_lock_options* options) {
  return session_call(session, name, [&](hf::txn::Session& inner) -> hf::Status {
    LockCall call;
    if (hf::Status status = read_lock_options(options, LockUse::kAny, &call); !status.ok()) return status;
    return inner.lock(to_bytes(name), call.rule);
  });
}

int hf_session_unlock(hf_session* session, hf_bytes name) {
  return session_call(session, name, [&](hf::txn::Session& inner) { return inner.unlock(to_bytes(name)); });
}

// Also for signal handlers, as hf_cancel.
int hf_session_cancel(hf_session* session) {
  if (const int code = check_live(session); code != HF_OK) return code;
  session->inner->cancel();
  return HF_OK;
}

int hf_session_close(hf_session** session) {
  if (session == nullptr || *session == nullptr) return HF_OK;
  int code = enter(*session);
  if (code == HF_OK) {
    code = guarded([&] { return close(*session); });
    if (code != HF_OK) leave(*session);
  }
  if (!keeps_handle(*session, code)) *session = nullptr;
  return code;
}

int hf_session_error(hf_session* session, hf_error* error) {
  if (!output_is_legal(error)) return HF_INVALID_ARGUMENT;
  if (const int code = enter(session); code != HF_OK) return code;
  const int code = guarded([&] {
    hf_error full;
    session->failure.describe(session->db->catalog.get(), &full);
    write_sized(full, error);
    return HF_OK;
  });
  leave(session);
  return code;
}
