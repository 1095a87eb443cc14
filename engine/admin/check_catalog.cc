// SPDX-License-Identifier: Apache-2.0
#include "admin/check_catalog.h"

#include <algorithm>
#include <optional>
#include <set>

#include "schema/catalog_generated.h"
#include "txn/database.h"

namespace hf::admin {
namespace {

constexpr std::size_t kInfoSizeMax = 256;  // as the catalog reads them
constexpr std::size_t kMarkSize = 12;      // of a process that loads

std::optional<TableId> id_of(const std::string& info) {
  alignas(8) std::uint8_t aligned[kInfoSizeMax];
  if (info.size() > sizeof aligned) return std::nullopt;
  std::copy(info.begin(), info.end(), aligned);
  flatbuffers::Verifier verifier(aligned, info.size());
  if (!schema::VerifyTableInfoBuffer(verifier)) return std::nullopt;
  return schema::GetTableInfo(aligned)->id();
}

std::string id_key(TableId id) {
  char key[5] = {'i'};
  store_be32(key + 1, id);
  return std::string(key, sizeof key);
}

}  // namespace

void CatalogRows::take(const store::BaseRow& row) {
  rows_[std::string(row.key)] = {std::string(row.row.value), row.head_offset};
}

void CatalogRows::check(
    const std::function<void(const std::string& key, std::uint64_t offset, std::string text)>& wrong) const {
  TableId next = txn::kFirstUserTable;
  if (const auto found = rows_.find("s"); found != rows_.end() && found->second.bytes.size() == 4) {
    next = load_be32(found->second.bytes.data());
  }
  std::set<TableId> data_ids;
  for (const auto& row : rows_) {  // by name: clang lets no lambda have a structured binding
    const std::string& key = row.first;
    const auto& value = row.second;
    const auto say = [&](std::string text) { wrong(key, value.offset, "catalog: " + std::move(text)); };
    const std::size_t size = value.bytes.size();
    if (key[0] == 'n' && key.size() > 1) {
      const std::optional<TableId> id = id_of(value.bytes);
      if (!id) {
        say("the table's record does not verify");
      } else if (!rows_.contains(id_key(*id))) {
        say("the table has number " + std::to_string(*id) + ", which the catalog does not know");
      }
    } else if (key[0] == 'i' && key.size() == 5) {
      const TableId data_id = size == 4 ? load_be32(value.bytes.data()) : 0;
      if (data_id < txn::kFirstUserTable || data_id >= next || load_be32(key.data() + 1) >= next) {
        say("a table's number was never given out");
      } else if (!data_ids.insert(data_id).second) {
        say("two tables have the rows of number " + std::to_string(data_id));
      }
    } else if (key[0] == 'l' && key.size() == 5) {
      if (size != kMarkSize) say("the mark of a load has the wrong size");
    } else if (key != "s" || size != 4) {
      say("a row of no known kind, or size");
    }
  }
}

std::string CatalogRows::name_of(TableId data_id) const {
  if (data_id == 0) return {};
  if (data_id == txn::kSystemTable) return "(catalog)";
  for (const auto& [key, value] : rows_) {
    if (key[0] != 'n') continue;
    const std::optional<TableId> id = id_of(value.bytes);
    const auto data = id ? rows_.find(id_key(*id)) : rows_.end();
    if (data != rows_.end() && data->second.bytes.size() == 4 && load_be32(data->second.bytes.data()) == data_id) {
      return key.substr(1);
    }
  }
  return "#" + std::to_string(data_id);
}

}  // namespace hf::admin
