// SPDX-License-Identifier: Apache-2.0
// Databases: open and close, what concerns all of one, and waiting for durability.
#include <string>
#include <utility>

#include "capi/call.h"
#include "capi/options.h"
#include "capi/txn.h"

namespace hf::capi {
namespace {

Status open_engine(const char* path, const hf_open_options* given, hf_db* db) {
  if (path == nullptr) return null_argument("path");
  if (*path == '\0') return Status(Code::kINVALID_ARGUMENT, "the path is empty");
  txn::DatabaseOptions options;
  if (Status status = read_open_options(given, &options); !status.ok()) return status;
  Result<std::shared_ptr<txn::Database>> database = txn::Database::open(path, options);
  if (!database.ok()) return std::move(database).status();
  db->catalog = catalog::Catalog::of(database.value());
  // What begin uses for NULL options: those of this process's first opening, like everything else.
  hf_session* none = nullptr;
  if (Status status = read_txn_options(database.value()->options(), nullptr, &db->txn_defaults, &none); !status.ok())
    return status;
  db->database = std::move(database).value();
  return {};
}

// Requires: nobody else sees *db. May block: the last reference closes the engine.
void release(hf_db* db) noexcept {
  for (const auto& [inner, table] : db->tables) {
    table->word.store(0, std::memory_order_release);
    pool<hf_table>().give(table);
  }
  db->tables.clear();
  db->catalog.reset();
  db->database.reset();
  db->failure.clear();
  db->word.store(0, std::memory_order_release);
  pool<hf_db>().give(db);
}

int open(const char* path, const hf_open_options* options, hf_db** out, Failure* failure) {
  hf_db* const db = pool<hf_db>().take();
  db->txn_defaults = {};
  Status status;
  try {
    status = open_engine(path, options, db);
  } catch (...) {
    status = thrown_code();
  }
  if (!status.ok()) {
    release(db);
    return failure->set(std::move(status));
  }
  db->generation.store(txn::fork_generation(), std::memory_order_relaxed);
  db->word.store(hf_db::kMagic, std::memory_order_release);
  *out = db;
  return HF_OK;
}

// HF_MISUSE: calls, transactions or loads are under way; it stays open.
int close(hf_db* db) {
  if (const int code = enter(db); code != HF_OK) return code;
  if (!end_idle_txns(*db)) {
    const int code =
        fail(*db, Status(Code::kMISUSE, "transactions, sessions, loads or calls of the database are open"));
    leave(db);
    return code;
  }
  release(db);
  return HF_OK;
}

// Durability of a commit that is visible. timeout_ms 0 looks and does not wait.
Status wait_durable(txn::Database& database, Csn csn, std::uint64_t timeout_ms) {
  log::Log& log = database.log();
  if (log.durable_csn() >= csn) return {};
  Status status;
  if (timeout_ms == 0) {
    status = log.failure();
    if (status.ok()) return Code::kTIMEOUT;
  } else {
    status = log.wait_durable(csn, Deadline::after_ms(timeout_ms));
  }
  if (status.code() == Code::kFAILED) return Status(Code::kMAYBE_COMMITTED, status.message());
  return status;
}

Csn published(const txn::Database& database) noexcept {
  return database.shared().txn().published_csn.load(std::memory_order_acquire);
}

}  // namespace
}  // namespace hf::capi

using namespace hf::capi;

int hf_open(const char* path, const hf_open_options* options, hf_db** db, hf_error* error) {
  if (db == nullptr) return HF_INVALID_ARGUMENT;
  *db = nullptr;
  if (error != nullptr && !output_is_legal(error)) return HF_INVALID_ARGUMENT;
  return guarded([&] {
    Failure failure;
    const int code = open(path, options, db, &failure);
    if (error != nullptr) {
      hf_error full;
      failure.describe(nullptr, &full);
      write_sized(full, error);
    }
    return code;
  });
}

int hf_close(hf_db** db) {
  if (db == nullptr || *db == nullptr) return HF_OK;
  return guarded([&] {
    const int code = close(*db);
    if (code == HF_OK || !keeps_handle(*db, code)) *db = nullptr;
    return code;
  });
}

int hf_db_error(hf_db* db, hf_error* error) {
  if (!output_is_legal(error)) return HF_INVALID_ARGUMENT;
  if (const int code = enter_db(db); code != HF_OK) return code;
  const int code = guarded([&] {
    Failure failure;
    {
      const std::lock_guard lock(db->mutex);
      failure = db->failure;
    }
    hf_error full;
    failure.describe(db->catalog.get(), &full);
    write_sized(full, error);
    return HF_OK;
  });
  leave_db(db);
  return code;
}

int hf_ticket_wait(hf_db* db, uint64_t ticket, uint64_t timeout_ms) {
  return db_call(db, {}, [&](hf_db& d) -> hf::Status {
    if (ticket > published(*d.database)) {
      return {hf::Code::kINVALID_ARGUMENT, "there is no commit " + std::to_string(ticket) + " yet"};
    }
    return wait_durable(*d.database, ticket, timeout_ms);
  });
}

int hf_sync(hf_db* db, uint64_t timeout_ms) {
  return db_call(db, {}, [&](hf_db& d) { return wait_durable(*d.database, published(*d.database), timeout_ms); });
}

int hf_event_fd(hf_db* db, int* fd) {
  return db_call(db, {}, [&](hf_db& d) -> hf::Status {
    if (fd == nullptr) return null_argument("fd");
    *fd = -1;
    hf::Result<int> result = d.database->event_fd();
    if (!result.ok()) return std::move(result).status();
    *fd = result.value();
    return {};
  });
}

int hf_maintain(hf_db* db, uint32_t flags) {
  return db_call(db, {}, [&](hf_db& d) -> hf::Status {
    if ((flags & ~static_cast<std::uint32_t>(HF_MAINTAIN_MERGE_ALL)) != 0) {
      return {hf::Code::kINVALID_ARGUMENT, "flags " + std::to_string(flags) + " is not legal"};
    }
    return d.database->maintain((flags & HF_MAINTAIN_MERGE_ALL) != 0);
  });
}
