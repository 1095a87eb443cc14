// SPDX-License-Identifier: Apache-2.0
#include "histories/stock.h"

#include <algorithm>
#include <map>
#include <set>

namespace histories {
namespace {

struct Walk {
  std::map<std::int64_t, std::int64_t> balance;  // of each number: steps away minus steps to
  std::set<std::int64_t> stood_at{0};
  std::int64_t in_doubt = 0;
  std::uint32_t some_txn = kNoTxn;
};

void check_bounds(const History& history, std::uint32_t txn, Key key, std::int64_t before,
                  std::vector<Anomaly>& anomalies) {
  const std::vector<Op>& ops = history[txn].ops;
  // What was rolled back did not have to fit.
  if (std::any_of(ops.begin(), ops.end(), [](const Op& op) { return op.kind == OpKind::kRollback; })) return;
  for (const Op& op : ops) {
    if (op.kind != OpKind::kAdd || op.key != key) continue;
    before += static_cast<std::int64_t>(op.value);
    if (before >= op.min && before <= op.max) continue;
    anomalies.push_back({"out of bounds",
                         title_of(history, txn) + " " + text_of(op) + ", which made it " + std::to_string(before) +
                             "; it was to stay within [" + std::to_string(op.min) + ", " + std::to_string(op.max) + "]",
                         {txn}});
  }
}

}  // namespace

void check_stock(const History& history, const Versions& versions, std::vector<Anomaly>& anomalies) {
  std::map<Key, Walk> walks;
  for (std::uint32_t txn = 0; txn < history.size(); ++txn) {
    if (history[txn].outcome == Outcome::kAborted) continue;
    for (const FinalWrite& write : versions.effects(txn).writes) {
      if (space_of(write.key) != Space::kStock || write.delta == 0) continue;
      Walk& walk = walks[write.key];
      const std::vector<Item>& after = history[txn].after;
      const auto found = std::find_if(after.begin(), after.end(), [&](const Item& i) { return i.key == write.key; });
      if (history[txn].outcome == Outcome::kUnknown || found == after.end()) {
        ++walk.in_doubt;
        continue;
      }
      const auto to = static_cast<std::int64_t>(found->value);
      check_bounds(history, txn, write.key, to - write.delta, anomalies);
      ++walk.balance[to - write.delta];
      --walk.balance[to];
      walk.stood_at.insert(to);
      walk.some_txn = txn;
    }
  }
  for (const auto& [key, walk] : walks) {
    std::int64_t breaks = 0;
    for (const auto& [number, balance] : walk.balance) {
      if (number == 0 && balance > 0) --breaks;  // the walk begins there
      breaks += std::max<std::int64_t>(balance, 0);
    }
    if (breaks <= walk.in_doubt) continue;
    anomalies.push_back({"lost update",
                         "the adds to " + name_of(key) + " are no walk from 0: " + std::to_string(breaks) +
                             " steps begin at a number that no step had left it at, with " +
                             std::to_string(walk.in_doubt) + " in doubt",
                         {walk.some_txn}});
  }
  for (std::uint32_t txn = 0; txn < history.size(); ++txn) {
    for (const ExternalRead& read : versions.effects(txn).reads) {
      if (space_of(read.key) != Space::kStock) continue;
      const auto walk = walks.find(read.key);
      const auto value = static_cast<std::int64_t>(read.value);
      if (walk == walks.end() ? value == 0 : walk->second.in_doubt > 0 || walk->second.stood_at.contains(value))
        continue;
      anomalies.push_back({"garbage read",
                           title_of(history, txn) + " read " + name_of(read.key) + " = " + std::to_string(value) +
                               ", where it never stood",
                           {txn}});
    }
  }
}

}  // namespace histories
