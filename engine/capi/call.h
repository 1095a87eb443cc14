// SPDX-License-Identifier: Apache-2.0
// The frame of every exported function: is the handle live, of this process and free; nothing thrown gets out; a
// failure is kept where the caller can read its detail.
#pragma once

#include <cstdint>
#include <new>
#include <utility>

#include "base/bytes.h"
#include "base/status.h"
#include "capi/failure.h"
#include "capi/handles.h"
#include "holdfast/holdfast.h"

namespace hf::capi {

// --- handles ------------------------------------------------------------------------------------------------------

// Live, whether in use or not. Reads the memory at `handle`, never writes it: it may be anything.
template <typename T>
bool is_live(const T* handle) noexcept {
  static_assert((T::kMagic & kInUse) == 0);
  return handle != nullptr && reinterpret_cast<std::uintptr_t>(handle) % alignof(T) == 0 &&
         (handle->word.load(std::memory_order_acquire) & ~kInUse) == T::kMagic;
}
// Live, and of this process.
template <typename T>
int check_live(const T* handle) noexcept {
  if (!is_live(handle)) [[unlikely]]
    return handle == nullptr ? HF_INVALID_ARGUMENT : HF_MISUSE;
  return handle->generation.load(std::memory_order_relaxed) == txn::fork_generation() ? HF_OK : HF_FORKED;
}

// Takes the handle for this thread.
template <typename T>
int enter(T* handle) noexcept {
  if (const int code = check_live(handle); code != HF_OK) [[unlikely]]
    return code;
  std::uint32_t expected = T::kMagic;
  return handle->word.compare_exchange_strong(expected, T::kMagic | kInUse, std::memory_order_acquire) ? HF_OK
                                                                                                       : HF_MISUSE;
}
template <typename T>
void leave(T* handle) noexcept {
  handle->word.store(T::kMagic, std::memory_order_release);
}

// Counts one more user of the database, so that it cannot be closed.
inline int enter_db(hf_db* db) noexcept {
  if (const int code = check_live(db); code != HF_OK) [[unlikely]]
    return code;
  db->users.fetch_add(1, std::memory_order_seq_cst);
  if (db->word.load(std::memory_order_seq_cst) == hf_db::kMagic) [[likely]]
    return HF_OK;
  db->users.fetch_sub(1, std::memory_order_release);
  return HF_MISUSE;
}
inline void leave_db(hf_db* db) noexcept { db->users.fetch_sub(1, std::memory_order_release); }

// For functions that end a handle: whether the caller's variable is worth keeping after that answer. It is only while
// another thread is in a call on it.
template <typename T>
bool keeps_handle(const T* handle, int code) noexcept {
  return code == HF_MISUSE && check_live(handle) == HF_OK;
}

// --- failures -----------------------------------------------------------------------------------------------------

int fail(hf_db& db, Status status, const Concern& concern = {}) noexcept;
int fail(hf_db& db, const Failure& failure) noexcept;
// Requires: the handle is taken. Also for calls on its cursors. What locks and conflicts have to tell is taken from the
// transaction.
int fail(hf_txn& txn, Status status, const Concern& concern = {}) noexcept;
// After something was thrown: the transaction may be half changed, so it ends.
int fail_thrown(hf_txn& txn, Code code) noexcept;

// Requires: inside of a catch block.
inline Code thrown_code() noexcept {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return Code::kNO_MEMORY;
  } catch (...) {
    return Code::kINTERNAL;
  }
}

// --- frames -------------------------------------------------------------------------------------------------------

template <typename Body>
int guarded(Body&& body) noexcept {
  try {
    return body();
  } catch (...) {
    return static_cast<int>(thrown_code());
  }
}

// `body` takes an hf_db& and answers a Status.
template <typename Body>
int db_call(hf_db* db, const Concern& concern, Body&& body) noexcept {
  if (const int code = enter_db(db); code != HF_OK) return code;
  int code;
  try {
    Status status = body(*db);
    code = status.ok() ? HF_OK : fail(*db, std::move(status), concern);
  } catch (...) {
    code = fail(*db, thrown_code(), concern);
  }
  leave_db(db);
  return code;
}

// `body` takes an hf_txn& and answers a code, having called fail() itself.
template <typename Body>
int txn_call(hf_txn* txn, Body&& body) noexcept {
  if (const int code = enter(txn); code != HF_OK) [[unlikely]]
    return code;
  int code;
  try {
    code = body(*txn);
  } catch (...) {
    code = fail_thrown(*txn, thrown_code());
  }
  leave(txn);
  return code;
}

// --- arguments ----------------------------------------------------------------------------------------------------

inline Bytes to_bytes(hf_bytes bytes) noexcept { return {static_cast<const char*>(bytes.data), bytes.size}; }
inline hf_bytes from_bytes(Bytes bytes) noexcept { return {bytes.data(), bytes.size()}; }
inline void fill_row(const txn::RowView& view, hf_row* row) noexcept {
  *row = {from_bytes(view.value), view.version, view.expires_ms, HF_OK, 0};
}
// For a multi-get: a row that is not given, and why.
inline hf_row no_row(int code) noexcept { return {{nullptr, 0}, 0, 0, code, 0}; }

// The slow halves name what is wrong.
Status wrong_key(hf_bytes key);
Status wrong_value(hf_bytes value);
Status wrong_table(const hf_table* table);
Status null_argument(const char* name);

inline bool key_is_legal(hf_bytes key) noexcept {
  return key.size != 0 && key.size <= HF_KEY_SIZE_MAX && key.data != nullptr;
}
inline bool value_is_legal(hf_bytes value) noexcept {
  return value.size <= HF_VALUE_SIZE_MAX && (value.data != nullptr || value.size == 0);
}
// A live table of that database, which is known to be of this process.
inline bool table_is_legal(const hf_table* table, const txn::Database* database) noexcept {
  return is_live(table) && table->database == database;
}
// A time to live as the engine takes it: 0 for ever, and no sum with a clock overflows.
inline std::uint64_t ttl_of(std::uint64_t ttl_ms) noexcept {
  constexpr std::uint64_t kTtlMax_ms = std::uint64_t{1} << 50;  // 35,000 years
  if (ttl_ms == HF_FOREVER) return 0;
  return ttl_ms < kTtlMax_ms ? ttl_ms : kTtlMax_ms;
}

// A call about one row. `body` takes the transaction, the table and the key, and answers a Status.
template <typename Body>
int row_call(hf_txn* txn, hf_table* table, hf_bytes key, Body&& body) noexcept {
  return txn_call(txn, [&](hf_txn& t) {
    if (!table_is_legal(table, t.database)) [[unlikely]]
      return fail(t, wrong_table(table));
    if (!key_is_legal(key)) [[unlikely]]
      return fail(t, wrong_key(key), {.table = table});
    Status status = body(*t.inner, *table->table, to_bytes(key));
    if (status.ok()) [[likely]]
      return static_cast<int>(HF_OK);
    return fail(t, std::move(status), {.table = table, .key = to_bytes(key)});
  });
}

}  // namespace hf::capi
