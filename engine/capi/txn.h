// SPDX-License-Identifier: Apache-2.0
// The life of hf_txn handles, shared by hf_begin, hf_transact and hf_execute.
#pragma once

#include "base/status.h"
#include "capi/handles.h"

namespace hf::capi {

// Gives a handle in use by the caller, with a transaction that does not run yet. Answers what is wrong with `db`
// otherwise. A handle counts as a user of its database for as long as it has its memory, idle or not. Throws
// std::bad_alloc.
int make_txn(hf_db* db, hf_txn** out);
// Aborts what runs, closes the cursors and gives the handle back. Requires: it is in use by the caller.
void end_txn(hf_txn* txn) noexcept;
// Frees the idle handles if they are the only users of `db`; false when they are not. Requires: `db` is being closed.
bool end_idle_txns(hf_db& db) noexcept;

// Puts the handle's next transactions inside of the session, which may be null: options->session. The handle counts as
// a user of it until end_txn. Requires: the handle is in use, and in no session yet.
Status enter_session(hf_txn& txn, hf_session* session, txn::TxnOptions* options);

// The transaction behind them ends: the cursors' handles stay and answer HF_MISUSE. Requires: the handle is in use.
void end_cursors(hf_txn& txn) noexcept;
// Their handles end as well. Requires: the handle is in use.
void close_cursors(hf_txn& txn) noexcept;
// Takes it out of its transaction and ends it. Requires: the transaction's handle is in use.
void close_cursor(hf_cursor* cursor) noexcept;

// Begins anew with the options of before. Unlike a new transaction it stays cancelled when hf_cancel said so.
Status restart_txn(hf_txn& txn);
// Commits and keeps the report of a failure. Requires: the handle is in use.
int commit_txn(hf_txn& txn, bool wait);

}  // namespace hf::capi
