// SPDX-License-Identifier: Apache-2.0
// Names of tables without a transaction: from the catalog's rows in a base, and from what commits did to them. For
// readers of a log, who meet table numbers only.
//
// Thread contract: as a plain value.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "base/bytes.h"
#include "base/status.h"
#include "overlay/overlay.h"
#include "store/store.h"

namespace hf::catalog {

class Names {
 public:
  // All that the base knows.
  Status read(const store::Snapshot& base);
  // A change of a commit, in order. Other tables' changes are passed over. Names of tables that are gone are kept:
  // their numbers are never used again.
  void apply(const overlay::Change& change);
  // The newest name of the table that has, or had, that number; or "".
  const std::string& of(TableId data_id) const;

 private:
  void row(Bytes key, Bytes value);

  std::unordered_map<TableId, std::string> by_id_;
  std::unordered_map<TableId, TableId> id_of_data_;
};

// The number of a load whose rows the change makes visible or gives up ("l", see catalog.h), else 0.
TableId ended_load(const overlay::Change& change) noexcept;
// The number that the change gives to a table's rows ("i"), else 0.
TableId given_data_id(const overlay::Change& change) noexcept;

}  // namespace hf::catalog
