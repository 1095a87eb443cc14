// SPDX-License-Identifier: Apache-2.0
// The catalog's rows as the base holds them: gathered by a check, then held against each other. Internal to the layer.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "base/bytes.h"
#include "store/inspect.h"

namespace hf::admin {

class CatalogRows {
 public:
  void take(const store::BaseRow& row);  // Requires: of the system table
  // Says what does not fit: key and offset of the row, and why.
  void check(const std::function<void(const std::string& key, std::uint64_t offset, std::string text)>& wrong) const;
  // "(catalog)", the name, or "#number".
  std::string name_of(TableId data_id) const;

 private:
  struct Value {
    std::string bytes;
    std::uint64_t offset;
  };
  std::map<std::string, Value> rows_;
};

}  // namespace hf::admin
