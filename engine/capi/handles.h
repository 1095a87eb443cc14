// SPDX-License-Identifier: Apache-2.0
// What stands behind the handles of the C interface.
//
// State word of a handle (Handle::word):
//
//      0 (ended) --open, begin--> kMagic --enter--> kMagic | kInUse --leave--> kMagic          --end--> 0
//
// For hf_txn, hf_session and hf_load "in use" means that a thread is inside of a call: whoever holds it owns everything
// behind the handle but the atomics. For hf_db it means that it is being closed; calls on it are counted in `users`
// instead. The state of an hf_cursor is its own, but the word that guards it is its transaction's.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "capi/failure.h"
#include "capi/pool.h"
#include "catalog/catalog.h"
#include "holdfast/holdfast.h"
#include "txn/bulk_load.h"
#include "txn/database.h"
#include "txn/fork_guard.h"
#include "txn/row_cursor.h"
#include "txn/session.h"
#include "txn/transaction.h"

namespace hf::capi {

inline constexpr std::uint32_t kInUse = 1;

// Transactions that ended wait here for the next hf_begin: making one costs memory, beginning one does not. One line
// each, so that threads that begin and end do not meet.
struct alignas(64) IdleTxn {
  std::atomic<hf_txn*> txn{nullptr};
};
inline constexpr std::uint32_t kIdleTxns = 64;

}  // namespace hf::capi

struct alignas(64) hf_db : hf::capi::Handle {
  static constexpr std::uint32_t kMagic = 0x48664462;
  static constexpr std::uint32_t kFirstChunk = 2;

  std::shared_ptr<hf::txn::Database> database;
  std::shared_ptr<hf::catalog::Catalog> catalog;
  hf::txn::TxnOptions txn_defaults;

  // Handles of transactions (idle ones too), sessions, loads, and calls that need it: it can be closed when only idle
  // handles are left. Paired, by sequential consistency, with the word: who comes in counts first and looks at the word
  // then, who closes does it the other way round. An idle handle belongs to whoever gets it out of its place first.
  alignas(64) std::atomic<std::uint64_t> users{0};

  alignas(64) std::mutex mutex;  // guards failure and tables; leaf
  hf::capi::Failure failure;
  std::map<const hf::txn::Table*, hf_table*> tables;  // handles given out

  hf::capi::IdleTxn idle[hf::capi::kIdleTxns];
};

struct alignas(64) hf_table : hf::capi::Handle {
  static constexpr std::uint32_t kMagic = 0x48665462;
  static constexpr std::uint32_t kFirstChunk = 8;

  hf::txn::Table* table = nullptr;
  const hf::txn::Database* database = nullptr;  // to tell a table of another database
  std::string name;                             // when it was first opened
};

struct alignas(64) hf_txn : hf::capi::Handle {
  static constexpr std::uint32_t kMagic = 0x48665478;
  static constexpr std::uint32_t kFirstChunk = 8;

  hf_db* db = nullptr;
  const hf::txn::Database* database = nullptr;
  hf_cursor* cursors = nullptr;               // open ones
  hf_session* session = nullptr;              // that it runs inside of; the handle counts as its user
  std::uint32_t idle_place = 0;               // where it was idle
  bool in_transact = false;                   // only hf_transact may end it
  std::atomic<bool> cancelled{false};         // by hf_cancel; outlives the attempts of hf_transact
  std::optional<hf::txn::Transaction> inner;  // kept while the handle is idle
  hf::capi::Failure failure;
  std::vector<hf::lock::Party> cycle;  // of the last deadlock
};

struct alignas(64) hf_cursor : hf::capi::Handle {
  static constexpr std::uint32_t kMagic = 0x48664372;
  static constexpr std::uint32_t kFirstChunk = 8;

  std::atomic<hf_txn*> txn{nullptr};  // read before its word is taken, and compared again after
  const hf_table* table = nullptr;
  hf_cursor* next = nullptr;
  hf_cursor* previous = nullptr;
  std::optional<hf::txn::RowCursor> rows;  // empty: the transaction ended
};

struct alignas(64) hf_session : hf::capi::Handle {
  static constexpr std::uint32_t kMagic = 0x48665372;
  static constexpr std::uint32_t kFirstChunk = 2;

  hf_db* db = nullptr;
  const hf::txn::Database* database = nullptr;  // to tell a session of another database
  std::mutex mutex;                             // guards users, against the end of the handle; leaf
  std::uint64_t users = 0;                      // handles of transactions that run, or ran, inside of it
  std::optional<hf::txn::Session> inner;
  hf::capi::Failure failure;
};

struct alignas(64) hf_load : hf::capi::Handle {
  static constexpr std::uint32_t kMagic = 0x48664c64;
  static constexpr std::uint32_t kFirstChunk = 2;

  hf_db* db = nullptr;
  const hf_table* table = nullptr;
  std::optional<hf::txn::BulkLoad> inner;
  hf::capi::Failure failure;
};

namespace hf::capi {

template <typename T>
Pool<T>& pool() noexcept {
  static constinit Pool<T> pool;
  return pool;
}

}  // namespace hf::capi
