// SPDX-License-Identifier: Apache-2.0
// Ranges. A call on a cursor is a call on its transaction: the same word guards both, the same handle has the detail.
#include "capi/call.h"
#include "capi/options.h"
#include "capi/txn.h"

namespace hf::capi {
namespace {

Status open(hf_txn& txn, const hf_table* table, const hf_cursor_options* options, hf_cursor** out) {
  txn::Range range;
  if (Status status = read_cursor_options(options, &range); !status.ok()) return status;
  hf_cursor* const cursor = pool<hf_cursor>().take();
  Status status;
  try {
    cursor->rows.emplace(*txn.inner);
    status = cursor->rows->open(*table->table, range);
  } catch (...) {
    status = thrown_code();
  }
  if (!status.ok()) {
    cursor->rows.reset();
    pool<hf_cursor>().give(cursor);
    return status;
  }
  cursor->table = table;
  cursor->previous = nullptr;
  cursor->next = txn.cursors;
  if (txn.cursors != nullptr) txn.cursors->previous = cursor;
  txn.cursors = cursor;
  cursor->txn.store(&txn, std::memory_order_relaxed);
  cursor->generation.store(txn::fork_generation(), std::memory_order_relaxed);
  cursor->word.store(hf_cursor::kMagic, std::memory_order_release);
  *out = cursor;
  return {};
}

// Takes the cursor's transaction for this thread.
int enter_cursor(hf_cursor* cursor, hf_txn** txn) noexcept {
  if (const int code = check_live(cursor); code != HF_OK) return code;
  hf_txn* const owner = cursor->txn.load(std::memory_order_relaxed);
  if (const int code = enter(owner); code != HF_OK) return code;
  // Ended by another thread meanwhile, and perhaps given to somebody else?
  if (check_live(cursor) != HF_OK || cursor->txn.load(std::memory_order_relaxed) != owner) {
    leave(owner);
    return HF_MISUSE;
  }
  *txn = owner;
  return HF_OK;
}

[[gnu::noinline]] int enter_walk_slow(hf_cursor* cursor, hf_txn** txn) noexcept {
  if (const int code = enter_cursor(cursor, txn); code != HF_OK) return code;
  if (cursor->rows) return HF_OK;
  const int code = fail(**txn, Status(Code::kMISUSE, "the cursor's transaction has ended"), {.table = cursor->table});
  leave(*txn);
  return code;
}

// The same for a step of a walk, which is called once a row: a load and a store instead of a locked exchange. A second
// thread is still seen, unless it comes within the same few nanoseconds.
int enter_walk(hf_cursor* cursor, hf_txn** txn) noexcept {
  if (const int code = check_live(cursor); code != HF_OK) [[unlikely]]
    return code;
  hf_txn* const owner = cursor->txn.load(std::memory_order_relaxed);
  if (!cursor->rows || owner->word.load(std::memory_order_acquire) != hf_txn::kMagic) [[unlikely]]
    return enter_walk_slow(cursor, txn);
  owner->word.store(hf_txn::kMagic | kInUse, std::memory_order_relaxed);
  *txn = owner;
  return HF_OK;
}

[[gnu::noinline]] int next_row(hf_cursor* cursor, hf_txn& txn, Bytes* key, txn::RowView* view) noexcept {
  try {
    Status status = cursor->rows->next(key, view);
    return status.ok() ? HF_OK : fail(txn, std::move(status), {.table = cursor->table});
  } catch (...) {
    return fail_thrown(txn, thrown_code());
  }
}

// `body` takes the transaction's handle and the rows, and answers a Status.
template <typename Body>
int cursor_call(hf_cursor* cursor, Bytes key, Body&& body) noexcept {
  hf_txn* txn = nullptr;
  if (const int code = enter_cursor(cursor, &txn); code != HF_OK) return code;
  int code;
  try {
    Status status = cursor->rows ? body(*cursor->rows) : Status(Code::kMISUSE, "the cursor's transaction has ended");
    code = status.ok() ? HF_OK : fail(*txn, std::move(status), {.table = cursor->table, .key = key});
  } catch (...) {
    code = fail_thrown(*txn, thrown_code());
  }
  leave(txn);
  return code;
}

// The cursor stands in front of a row whose lock was not to be had.
bool stops_in_front(Code code) noexcept {
  return code == Code::kLOCK_TIMEOUT || code == Code::kLOCKED || code == Code::kLOCK_ORDER ||
         code == Code::kLOCK_TABLE_FULL;
}

Status next_many(txn::RowCursor& cursor, std::size_t count, hf_bytes* keys, hf_row* rows, std::size_t* found) {
  std::size_t given = 0;
  while (given < count) {
    Bytes key;
    txn::RowView view;
    Status status = cursor.next(&key, &view);
    // Rows already had, and locked, are given; what stopped the cursor is met again by the next call.
    if (given != 0 && (status.code() == Code::kEND || stops_in_front(status.code()))) break;
    if (!status.ok()) return status;
    if (keys != nullptr) keys[given] = from_bytes(key);
    if (rows != nullptr) fill_row(view, &rows[given]);
    ++given;
  }
  *found = given;
  return {};
}

Status count_rows(txn::Transaction& txn, txn::Table& table, const hf_cursor_options* options, std::uint64_t* count) {
  txn::Range range;
  if (Status status = read_cursor_options(options, &range); !status.ok()) return status;
  if (range.locks) return Status(Code::kINVALID_ARGUMENT, "counting locks nothing: lock_mode has to be 0");
  txn::RowCursor cursor(txn);
  if (Status status = cursor.open(table, range); !status.ok()) return status;
  for (;;) {
    Bytes key;
    txn::RowView view;
    if (Status status = cursor.next(&key, &view); !status.ok()) {
      return status.code() == Code::kEND ? Status() : std::move(status);
    }
    ++*count;
  }
}

}  // namespace

void close_cursor(hf_cursor* cursor) noexcept {
  hf_txn& txn = *cursor->txn.load(std::memory_order_relaxed);
  if (cursor->next != nullptr) cursor->next->previous = cursor->previous;
  (cursor->previous != nullptr ? cursor->previous->next : txn.cursors) = cursor->next;
  cursor->rows.reset();
  cursor->word.store(0, std::memory_order_release);
  pool<hf_cursor>().give(cursor);
}

}  // namespace hf::capi

using namespace hf::capi;
using hf::Bytes;
using hf::Status;

int hf_cursor_open(hf_txn* txn, hf_table* table, const hf_cursor_options* options, hf_cursor** cursor) {
  if (cursor != nullptr) *cursor = nullptr;
  return txn_call(txn, [&](hf_txn& t) {
    if (cursor == nullptr) return fail(t, null_argument("cursor"));
    if (!table_is_legal(table, t.database)) return fail(t, wrong_table(table));
    Status status = open(t, table, options, cursor);
    return status.ok() ? HF_OK : fail(t, std::move(status), {.table = table});
  });
}

int hf_cursor_next(hf_cursor* cursor, hf_bytes* key, hf_row* row) {
  hf_txn* txn = nullptr;
  if (const int code = enter_walk(cursor, &txn); code != HF_OK) [[unlikely]]
    return code;
  Bytes next_key;
  hf::txn::RowView view;
  const int code = cursor->rows->next_of_base(&next_key, &view) ? HF_OK : next_row(cursor, *txn, &next_key, &view);
  if (code == HF_OK) [[likely]] {
    if (key != nullptr) *key = from_bytes(next_key);
    if (row != nullptr) fill_row(view, row);
  }
  leave(txn);
  return code;
}

int hf_cursor_next_many(hf_cursor* cursor, size_t count, hf_bytes* keys, hf_row* rows, size_t* found) {
  if (found != nullptr) *found = 0;
  return cursor_call(cursor, {}, [&](hf::txn::RowCursor& range) -> Status {
    if (found == nullptr) return null_argument("found");
    if (count == 0) return {hf::Code::kINVALID_ARGUMENT, "count is 0"};
    return next_many(range, count, keys, rows, found);
  });
}

int hf_cursor_seek(hf_cursor* cursor, hf_bytes key) {
  return cursor_call(cursor, to_bytes(key), [&](hf::txn::RowCursor& rows) {
    return key_is_legal(key) ? rows.seek(to_bytes(key)) : wrong_key(key);
  });
}

int hf_cursor_close(hf_cursor** cursor) {
  if (cursor == nullptr || *cursor == nullptr) return HF_OK;
  hf_txn* txn = nullptr;
  const int code = enter_cursor(*cursor, &txn);
  if (code != HF_OK) {
    if (!keeps_handle(*cursor, code)) *cursor = nullptr;
    return code;
  }
  close_cursor(*cursor);
  leave(txn);
  *cursor = nullptr;
  return HF_OK;
}

int hf_count(hf_txn* txn, hf_table* table, const hf_cursor_options* options, uint64_t* count) {
  return txn_call(txn, [&](hf_txn& t) {
    if (!table_is_legal(table, t.database)) return fail(t, wrong_table(table));
    if (count == nullptr) return fail(t, null_argument("count"), {.table = table});
    *count = 0;
    Status status = count_rows(*t.inner, *table->table, options, count);
    return status.ok() ? HF_OK : fail(t, std::move(status), {.table = table});
  });
}
