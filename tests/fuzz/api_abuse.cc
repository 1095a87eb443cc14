// SPDX-License-Identifier: Apache-2.0
// Calls that no caller should make: each is refused with the code that the header gives, and changes nothing.
#include "fuzz/api_calls.h"

namespace hf::fuzz {
namespace {

const std::string kLongKey(HF_KEY_SIZE_MAX + 1, 'k');
constexpr hf_bytes kKey{"a", 1};

void refuse(int code, const char* call) {
  demand(code == HF_INVALID_ARGUMENT || code == HF_MISUSE, std::string(call) + " answers " + hf_code_name(code));
}

}  // namespace

void Calls::abuse_txn(hf_txn* txn, Input& in) {
  hf_row row{};
  std::uint64_t number = 0;
  hf_cursor* cursor = nullptr;
  hf_table* const table = tables_[0];
  switch (in.below(16)) {
    case 0:
      return refuse(hf_get(txn, nullptr, kKey, &row), "get without a table");
    case 1:
      return refuse(hf_get(txn, table, {nullptr, 1}, &row), "get of a key at NULL");
    case 2:
      return refuse(hf_get(txn, table, {"", 0}, &row), "get of an empty key");
    case 3:
      return demand_code(hf_get(txn, table, view(kLongKey), &row), HF_TOO_LARGE, "get of a long key");
    case 4:
      return refuse(hf_get(txn, table, kKey, nullptr), "get to NULL");
    case 5:
      return refuse(hf_put(txn, table, kKey, {nullptr, 5}, 0), "put of a value at NULL");
    case 6:
      return refuse(hf_put(txn, table, kKey, {nullptr, SIZE_MAX}, 0), "put of all memory at NULL");
    case 7: {
      const int code = hf_put(txn, table, kKey, {kLongKey.data(), std::size_t{HF_VALUE_SIZE_MAX} + 1}, 0);
      return demand(code == HF_TOO_LARGE || code == HF_READ_ONLY, "put of a value that is too long");
    }
    case 8:
      return refuse(hf_rollback_to(txn, UINT64_MAX), "rollback_to nowhere");
    case 9:
      return refuse(hf_savepoint(txn, nullptr), "savepoint to NULL");
    case 10: {
      hf_cursor_options options = HF_CURSOR_OPTIONS_INIT;
      options.flags = 8u << in.below(28);
      refuse(hf_cursor_open(txn, table, &options, &cursor), "cursor_open with unknown flags");
      return demand(cursor == nullptr, "a refused cursor is not NULL");
    }
    case 11: {
      hf_cursor_options options = HF_CURSOR_OPTIONS_INIT;
      options.low = view(kLongKey);
      return demand_code(hf_cursor_open(txn, table, &options, &cursor), HF_TOO_LARGE, "cursor_open with a long bound");
    }
    case 12: {
      hf_lock_options options = HF_LOCK_OPTIONS_INIT;
      options.mode = 4 + in.below(100);
      const int code = hf_lock(txn, table, kKey, &options);
      return demand(code == HF_INVALID_ARGUMENT || code == HF_READ_ONLY, "lock in an unknown mode");
    }
    case 13:
      return refuse(hf_count(txn, table, nullptr, nullptr), "count to NULL");
    case 14:
      return refuse(hf_restart(txn), "restart while it runs");
    default: {
      hf_bytes keys[2] = {kKey, {nullptr, 3}};
      hf_row rows[2];
      refuse(hf_get_many(txn, table, keys, 2, rows), "get_many with a key at NULL");
      return refuse(hf_counter_after(txn, table, kKey, reinterpret_cast<std::int64_t*>(&number)),
                    "counter_after early");
    }
  }
}

void Calls::abuse(Input& in) {
  const std::uint32_t which = in.below(12);
  hf_txn* txn = nullptr;
  hf_table* table = nullptr;
  hf_db* db = nullptr;
  hf_error error = HF_ERROR_INIT;
  switch (which) {
    case 0:
      refuse(hf_begin(nullptr, nullptr, &txn), "begin without a database");
      return refuse(hf_begin(db_, nullptr, nullptr), "begin to NULL");
    case 1: {
      hf_txn_options options = HF_TXN_OPTIONS_INIT;
      options.size = in.below(8);
      return refuse(hf_begin(db_, &options, &txn), "begin with options of no size");
    }
    case 2: {
      hf_txn_options options = HF_TXN_OPTIONS_INIT;
      options.isolation = 4 + in.below(200);
      return refuse(hf_begin(db_, &options, &txn), "begin at an unknown level");
    }
    case 3: {
      hf_txn_options options = HF_TXN_OPTIONS_INIT;
      options.flags = 1u << (6 + in.below(26));
      return refuse(hf_begin(db_, &options, &txn), "begin with unknown flags");
    }
    case 4: {
      std::string name = in.bytes(in.below(150));
      name.resize(std::strlen(name.c_str()));
      const int code = hf_table_open(db_, name.c_str(), &table);
      return demand(code == HF_OK || code == HF_NO_TABLE || code == HF_INVALID_ARGUMENT || code == HF_TOO_LARGE,
                    "table_open of any name");
    }
    case 5:
      refuse(hf_table_create(db_, "", &table), "table_create without a name");
      return refuse(hf_table_create(db_, nullptr, &table), "table_create at NULL");
    case 6: {
      hf_open_options options = HF_OPEN_OPTIONS_INIT;
      options.flags = 1u << (6 + in.below(26));
      refuse(hf_open(scratch_.path("db").c_str(), &options, &db, &error), "open with unknown flags");
      return demand(db == nullptr, "a refused database is not NULL");
    }
    case 7:
      refuse(hf_ticket_wait(db_, UINT64_MAX, 0), "ticket_wait for no commit");
      return refuse(hf_maintain(db_, 2u << in.below(30)), "maintain with unknown flags");
    case 8: {
      hf_operation operation{};
      operation.kind = 15 + in.u32() % 1000;
      operation.table = tables_[0];
      operation.key = kKey;
      refuse(hf_execute(db_, nullptr, &operation, 1, nullptr, nullptr), "execute of an unknown operation");
      return refuse(hf_execute(db_, nullptr, nullptr, 1, nullptr, nullptr), "execute of operations at NULL");
    }
    case 9: {  // a handle that has ended
      demand_code(hf_begin(db_, nullptr, &txn), HF_OK, "begin");
      hf_txn* const stale = txn;
      demand_code(hf_txn_end(&txn), HF_OK, "txn_end");
      hf_row row{};
      demand_code(hf_get(stale, tables_[0], kKey, &row), HF_MISUSE, "get with an ended handle");
      demand_code(hf_commit(stale), HF_MISUSE, "commit with an ended handle");
      return demand_code(hf_cancel(stale), HF_MISUSE, "cancel of an ended handle");
    }
    default: {
      demand_code(hf_begin(db_, nullptr, &txn), HF_OK, "begin");
      if (which == 11) {
        hf_db* const same = db_;
        hf_db* closing = db_;
        demand_code(hf_close(&closing), HF_MISUSE, "close with a transaction open");
        demand(closing == same, "a close that was refused took the handle");
      }
      for (std::uint32_t count = in.below(4) + 1; count > 0; --count) abuse_txn(txn, in);
      return demand_code(hf_txn_end(&txn), HF_OK, "txn_end");
    }
  }
}

}  // namespace hf::fuzz
