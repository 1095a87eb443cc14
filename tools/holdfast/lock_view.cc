// SPDX-License-Identifier: Apache-2.0
#include "lock_view.h"

#include <algorithm>
#include <map>
#include <tuple>

#include <nlohmann/json.hpp>

#include "encoding.h"

namespace tool {

std::vector<LockedRow> locked_rows(std::vector<holdfast::lock_info> parties) {
  std::map<std::tuple<bool, std::string, std::string>, LockedRow> by_row;
  for (holdfast::lock_info& party : parties) {
    LockedRow& row = by_row[{party.session, party.table, party.key}];
    row.is_name = party.session;
    row.table = party.table;
    row.key = party.key;
    auto& side = party.wanted != holdfast::lock_mode::none ? row.waiters : row.holders;
    side.push_back(std::move(party));
  }
  std::vector<LockedRow> rows;
  const auto older = [](const holdfast::lock_info& a, const holdfast::lock_info& b) { return a.age > b.age; };
  for (auto& [place, row] : by_row) {
    std::stable_sort(row.holders.begin(), row.holders.end(), older);
    std::stable_sort(row.waiters.begin(), row.waiters.end(), older);
    rows.push_back(std::move(row));
  }
  std::stable_sort(rows.begin(), rows.end(),
                   [](const LockedRow& a, const LockedRow& b) { return a.waiters.size() > b.waiters.size(); });
  return rows;
}

std::string row_text(const LockedRow& row) {
  if (row.is_name) return "name:" + escape(row.key);
  return (row.table.empty() ? "?" : escape(row.table)) + "/" + escape(row.key);
}

const char* mode_text(holdfast::lock_mode mode) {
  switch (mode) {
    case holdfast::lock_mode::shared:
      return "shared";
    case holdfast::lock_mode::exclusive:
      return "exclusive";
    case holdfast::lock_mode::increment:
      return "increment";
    default:
      return "-";
  }
}

Json lock_json(const holdfast::lock_info& party) {
  const auto mode = [](holdfast::lock_mode value) {
    return value == holdfast::lock_mode::none ? Json() : Json(mode_text(value));
  };
  Json object;
  if (party.session) {
    set_bytes(object, "name", party.key);
  } else {
    object["table"] = party.table;
    set_bytes(object, "key", party.key);
  }
  object["held"] = mode(party.held);
  object["wanted"] = mode(party.wanted);
  object["expired"] = party.expired;
  object["label"] = party.label;
  object["pid"] = party.pid;
  object["thread"] = party.thread;
  object["txn"] = party.txn;
  object["age_ms"] = party.age.count();
  return object;
}

}  // namespace tool
