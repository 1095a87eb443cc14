// SPDX-License-Identifier: Apache-2.0
#include "catalog/names.h"

#include "schema/catalog_generated.h"
#include "txn/database.h"

namespace hf::catalog {
namespace {

constexpr std::size_t kNumberSize = 4;

// 0: not the bytes of one.
TableId number(Bytes bytes) noexcept { return bytes.size() == kNumberSize ? load_be32(bytes.data()) : 0; }

TableId id_of(Bytes value) noexcept {
  alignas(8) std::uint8_t aligned[256];  // rows have no alignment, FlatBuffers want one
  if (value.size() > sizeof aligned) return 0;
  std::memcpy(aligned, value.data(), value.size());
  flatbuffers::Verifier verifier(aligned, value.size());
  return schema::VerifyTableInfoBuffer(verifier) ? schema::GetTableInfo(aligned)->id() : 0;
}

bool is_catalog(const overlay::Change& change) noexcept {
  return change.table == txn::kSystemTable && !change.key.empty();
}

}  // namespace

void Names::row(Bytes key, Bytes value) {
  if (key.empty()) return;
  if (key[0] == 'n') {
    if (const TableId id = id_of(value); id != 0) by_id_[id] = std::string(key.substr(1));
  } else if (key[0] == 'i') {
    const TableId id = number(key.substr(1)), data_id = number(value);
    if (id != 0 && data_id != 0) id_of_data_[data_id] = id;
  }
}

Status Names::read(const store::Snapshot& base) {
  Result<store::Cursor> cursor = store::Cursor::open(base, txn::kSystemTable);
  if (!cursor.ok()) return std::move(cursor).status();
  Result<bool> on = cursor->first();
  for (; on.ok() && on.value(); on = cursor->next()) row(cursor->key(), cursor->row().value);
  return on.ok() ? Status() : std::move(on).status();
}

void Names::apply(const overlay::Change& change) {
  if (is_catalog(change) && change.kind == overlay::VersionKind::kPut) row(change.key, change.value);
}

const std::string& Names::of(TableId data_id) const {
  static const std::string none, catalog = "(catalog)";
  if (data_id == txn::kSystemTable) return catalog;
  const auto data = id_of_data_.find(data_id);
  if (data == id_of_data_.end()) return none;
  const auto name = by_id_.find(data->second);
  return name == by_id_.end() ? none : name->second;
}

TableId ended_load(const overlay::Change& change) noexcept {
  if (!is_catalog(change) || change.kind != overlay::VersionKind::kDelete || change.key[0] != 'l') return 0;
  return number(change.key.substr(1));
}

TableId given_data_id(const overlay::Change& change) noexcept {
  if (!is_catalog(change) || change.kind != overlay::VersionKind::kPut || change.key[0] != 'i') return 0;
  return number(change.value);
}

}  // namespace hf::catalog
