// SPDX-License-Identifier: Apache-2.0
// Who holds and wants what, in the words of the C interface.
#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "capi/call.h"
#include "capi/options.h"

namespace hf::capi {
namespace {

// Names of tables by the numbers of their rows; each is looked up once.
class Names {
 public:
  explicit Names(catalog::Catalog& catalog) noexcept : catalog_(catalog) {}
  const std::string& of(TableId data_id) {
    const auto [it, is_new] = names_.try_emplace(data_id);
    if (is_new && data_id != lock::kNames) it->second = catalog_.name_of_data(data_id);
    return it->second;
  }

 private:
  catalog::Catalog& catalog_;
  std::map<TableId, std::string> names_;
};

template <std::size_t kCapacity>
void copy_text(const std::string& text, char (&out)[kCapacity]) noexcept {
  std::memcpy(out, text.data(), std::min(text.size(), kCapacity - 1));
}

hf_lock_info translate(const lock::Party& party, Names& names) {
  hf_lock_info info{};
  info.size = sizeof info;
  info.mode_held = static_cast<std::uint32_t>(party.held);
  info.mode_wanted = static_cast<std::uint32_t>(party.wanted);
  if (party.session) info.flags |= HF_LOCK_INFO_SESSION;
  if (party.expired) info.flags |= HF_LOCK_INFO_EXPIRED;
  copy_text(names.of(party.table), info.table);
  info.key_size = static_cast<std::uint32_t>(std::min(party.key.size(), sizeof info.key));
  std::memcpy(info.key, party.key.data(), info.key_size);
  copy_text(party.label, info.label);
  info.pid = party.pid;
  info.thread = party.thread;
  info.txn = party.number;
  info.age_ms = party.since_ms;
  return info;
}

// Entries are as far apart as the caller's version of the struct is large.
Status give_cycle(const std::vector<lock::Party>& cycle, Names& names, hf_lock_info* parties, std::size_t capacity) {
  if (capacity == 0) return {};
  if (parties == nullptr) return null_argument("parties");
  if (!output_is_legal(parties) || parties->size % 8 != 0) return wrong_size("hf_lock_info", parties->size);
  const std::uint32_t size = parties->size;
  char* place = reinterpret_cast<char*>(parties);
  for (std::size_t i = 0; i < std::min(capacity, cycle.size()); ++i, place += size) {
    auto* const out = reinterpret_cast<hf_lock_info*>(place);
    out->size = size;
    write_sized(translate(cycle[i], names), out);
  }
  return {};
}

}  // namespace
}  // namespace hf::capi

using namespace hf::capi;

int hf_locks(hf_db* db, hf_lock_visit visit, void* context) {
  int answer = 0;
  const int code = db_call(db, {}, [&](hf_db& d) -> hf::Status {
    if (visit == nullptr) return null_argument("visit");
    Names names(*d.catalog);
    for (const hf::lock::Party& party : d.database->locks().list()) {
      const hf_lock_info info = translate(party, names);
      answer = visit(&info, context);
      if (answer != 0) break;
    }
    return {};
  });
  return code == HF_OK ? answer : code;
}

int hf_txn_cycle(hf_txn* txn, hf_lock_info* parties, size_t capacity, size_t* count) {
  return txn_call(txn, [&](hf_txn& t) {
    if (count == nullptr) return fail(t, null_argument("count"));
    *count = t.cycle.size();
    Names names(*t.db->catalog);
    hf::Status status = give_cycle(t.cycle, names, parties, capacity);
    return status.ok() ? HF_OK : fail(t, std::move(status));
  });
}

uint64_t hf_txn_number(hf_txn* txn) {
  if (enter(txn) != HF_OK) return 0;
  const std::uint64_t number = txn->inner->number();
  leave(txn);
  return number;
}
