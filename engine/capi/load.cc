// SPDX-License-Identifier: Apache-2.0
// Bulk loads.
#include <utility>

#include "capi/call.h"
#include "capi/options.h"

namespace hf::capi {
namespace {

// `body` takes an hf_load& and answers a Status.
template <typename Body>
int load_call(hf_load* load, Bytes key, Body&& body) noexcept {
  if (const int code = enter(load); code != HF_OK) [[unlikely]]
    return code;
  int code;
  try {
    Status status = load->inner->active() ? body(*load) : Status(Code::kMISUSE, "the load has ended");
    code = status.ok() ? HF_OK : load->failure.set(std::move(status), {.table = load->table, .key = key});
  } catch (...) {
    code = load->failure.set(thrown_code());
  }
  leave(load);
  return code;
}

// Requires: the handle is in use, or nobody else has it.
void forget(hf_load* load) noexcept {
  if (load->inner->active()) load->db->catalog->abandon_load(&*load->inner);
  load->inner.reset();
  load->failure.clear();
  load->word.store(0, std::memory_order_release);
  pool<hf_load>().give(load);
}

// Requires: the caller counts as a user of `db`, and does so for *out when it is HF_OK.
Status begin(hf_db& db, const hf_table* table, hf_load** out) {
  if (!table_is_legal(table, db.database.get())) return wrong_table(table);
  hf_load* const load = pool<hf_load>().take();
  load->db = &db;
  load->table = table;
  load->inner.emplace(db.database);
  Status status;
  try {
    const Deadline deadline = Deadline::after_ms(db.database->options().overload_timeout_ms);
    status = db.catalog->begin_load(*table->table, &*load->inner, deadline);
  } catch (...) {
    status = thrown_code();
  }
  if (!status.ok()) {
    forget(load);
    return status;
  }
  load->generation.store(txn::fork_generation(), std::memory_order_relaxed);
  load->word.store(hf_load::kMagic, std::memory_order_release);
  *out = load;
  return {};
}

}  // namespace
}  // namespace hf::capi

using namespace hf::capi;
using hf::Status;

int hf_load_begin(hf_db* db, hf_table* table, hf_load** load) {
  if (load == nullptr) return HF_INVALID_ARGUMENT;
  *load = nullptr;
  return db_call(db, {.table = check_live(table) == HF_OK ? table : nullptr}, [&](hf_db& d) {
    Status status = begin(d, table, load);
    if (status.ok()) d.users.fetch_add(1, std::memory_order_relaxed);  // the load's own; this call's is still there
    return status;
  });
}

int hf_load_add(hf_load* load, hf_bytes key, hf_bytes value, uint64_t ttl_ms) {
  return load_call(load, to_bytes(key), [&](hf_load& l) {
    if (!key_is_legal(key)) [[unlikely]]
      return wrong_key(key);
    if (!value_is_legal(value)) [[unlikely]]
      return wrong_value(value);
    return l.inner->add(to_bytes(key), to_bytes(value), ttl_of(ttl_ms));
  });
}

int hf_load_finish(hf_load* load) {
  return load_call(load, {}, [](hf_load& l) { return l.db->catalog->finish_load(*l.table->table, &*l.inner); });
}

int hf_load_end(hf_load** load) {
  if (load == nullptr || *load == nullptr) return HF_OK;
  const int code = enter(*load);
  if (code != HF_OK) {
    if (!keeps_handle(*load, code)) *load = nullptr;
    return code;
  }
  hf_db* const db = (*load)->db;
  forget(*load);
  leave_db(db);
  *load = nullptr;
  return HF_OK;
}

int hf_load_error(hf_load* load, hf_error* error) {
  if (!output_is_legal(error)) return HF_INVALID_ARGUMENT;
  if (const int code = enter(load); code != HF_OK) return code;
  const int code = guarded([&] {
    hf_error full;
    load->failure.describe(load->db->catalog.get(), &full);
    write_sized(full, error);
    return HF_OK;
  });
  leave(load);
  return code;
}
