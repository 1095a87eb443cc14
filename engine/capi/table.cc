// SPDX-License-Identifier: Apache-2.0
// Tables: names and handles. A handle is made once per table and hf_db, and ends with the hf_db.
#include <string>
#include <utility>

#include "capi/call.h"
#include "capi/options.h"

namespace hf::capi {
namespace {

hf_table* intern(hf_db& db, txn::Table* inner, const char* name) {
  const std::lock_guard lock(db.mutex);
  hf_table*& table = db.tables[inner];
  if (table != nullptr) return table;
  try {
    hf_table* const fresh = pool<hf_table>().take();
    fresh->table = inner;
    fresh->database = db.database.get();
    fresh->name = name;
    fresh->generation.store(txn::fork_generation(), std::memory_order_relaxed);
    fresh->word.store(hf_table::kMagic, std::memory_order_release);
    return table = fresh;
  } catch (...) {
    db.tables.erase(inner);
    throw;
  }
}

enum class Find { kCreate, kOpen, kEnsure };

Status find(hf_db& db, const char* name, hf_table** out, Find how) {
  if (out == nullptr) return null_argument("table");
  if (Status status = check_table_name(name); !status.ok()) return status;
  bool existed = true;
  Result<txn::Table*> inner = how == Find::kOpen ? db.catalog->open(name) : db.catalog->create(name, &existed);
  if (!inner.ok()) return std::move(inner).status();
  *out = intern(db, inner.value(), name);
  return how == Find::kCreate && existed ? Code::kEXISTS : Code::kOK;
}

int find_call(hf_db* db, const char* name, hf_table** out, Find how) noexcept {
  if (out != nullptr) *out = nullptr;
  return db_call(db, {.name = name}, [&](hf_db& d) { return find(d, name, out, how); });
}

}  // namespace
}  // namespace hf::capi

using namespace hf::capi;

int hf_table_create(hf_db* db, const char* name, hf_table** table) { return find_call(db, name, table, Find::kCreate); }
int hf_table_open(hf_db* db, const char* name, hf_table** table) { return find_call(db, name, table, Find::kOpen); }
int hf_table_ensure(hf_db* db, const char* name, hf_table** table) { return find_call(db, name, table, Find::kEnsure); }

int hf_table_drop(hf_db* db, const char* name) {
  return db_call(db, {.name = name}, [&](hf_db& d) {
    hf::Status status = check_table_name(name);
    return status.ok() ? d.catalog->drop(name) : std::move(status);
  });
}

int hf_table_rename(hf_db* db, const char* from, const char* to) {
  return db_call(db, {.name = from}, [&](hf_db& d) -> hf::Status {
    if (hf::Status status = check_table_name(from); !status.ok()) return status;
    if (hf::Status status = check_table_name(to); !status.ok()) return status;
    return d.catalog->rename(from, to);
  });
}

int hf_table_list(hf_db* db, hf_table_visit visit, void* context) {
  int answer = 0;
  const int code = db_call(db, {}, [&](hf_db& d) -> hf::Status {
    if (visit == nullptr) return null_argument("visit");
    return d.catalog->list([&](const std::string& name) {
      answer = visit(name.c_str(), context);
      return answer == 0;
    });
  });
  return code == HF_OK ? answer : code;
}
