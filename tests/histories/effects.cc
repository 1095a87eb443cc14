// SPDX-License-Identifier: Apache-2.0
#include "histories/effects.h"

#include <algorithm>

namespace histories {
namespace {

bool is_number(Key key) { return space_of(key) == Space::kCounter || space_of(key) == Space::kStock; }

class Replay {
 public:
  explicit Replay(const Txn& txn) : txn_(txn) {}

  Effects run() {
    for (std::uint32_t at = 0; at < txn_.ops.size(); ++at) step(at, txn_.ops[at]);
    for (const Item& item : written_) {
      const auto own = find(item.key);
      const bool stands = own != own_.end() && own->value == item.value;
      if (!stands && item.value != 0) effects_.hidden.push_back(item);
    }
    effects_.writes = std::move(own_);
    return std::move(effects_);
  }

 private:
  using Own = std::vector<FinalWrite>;

  Own::iterator find(Key key) {
    return std::find_if(own_.begin(), own_.end(), [key](const FinalWrite& write) { return write.key == key; });
  }
  FinalWrite& own(Key key) {
    const auto found = find(key);
    if (found != own_.end()) return *found;
    FinalWrite fresh;
    fresh.key = key;
    return own_.emplace_back(std::move(fresh));
  }
  void mistake(const Op& op, const std::string& instead) {
    effects_.mistakes.push_back(text_of(op) + ", but it had " + instead + " itself");
  }

  void step(std::uint32_t at, const Op& op) {
    switch (op.kind) {
      case OpKind::kRead:
        return read(at, op);
      case OpKind::kScan:
        return scan(at, op);
      case OpKind::kWrite:
        own(op.key).value = op.value;
        written_.push_back({op.key, op.value});
        return;
      case OpKind::kAppend:
        return append(op);
      case OpKind::kAdd:
        own(op.key).delta += static_cast<std::int64_t>(op.value);
        return;
      case OpKind::kSavepoint:
        saved_.push_back(own_);
        return;
      case OpKind::kRollback:
        if (!saved_.empty()) own_ = saved_.back();
        return;
    }
  }

  void read(std::uint32_t at, const Op& op) {
    const auto mine = find(op.key);
    Value value = space_of(op.key) == Space::kList ? (op.items.empty() ? 0 : op.items.back().value) : op.value;
    if (mine != own_.end() && is_number(op.key)) {
      value -= static_cast<Value>(mine->delta);
    } else if (mine != own_.end()) {
      if (value != mine->value || op.items != mine->elements) mistake(op, "written " + std::to_string(mine->value));
      return;
    }
    effects_.reads.push_back({at, op.key, value, op.holds, false, 0});
  }

  // The list was read before, and the element was put behind what was read then or what was appended since.
  void append(const Op& op) {
    const bool again = find(op.key) != own_.end();
    FinalWrite& mine = own(op.key);
    if (!again) {
      for (const ExternalRead& read : effects_.reads) {
        if (read.key == op.key) mine.elements = txn_.ops[read.op].items;
      }
    }
    mine.elements.push_back({0, op.value});
    mine.value = op.value;
    written_.push_back({op.key, op.value});
  }

  void scan(std::uint32_t at, const Op& op) {
    ExternalScan scan{at, {}};
    for (const FinalWrite& mine : own_) {
      if (mine.key < op.key || mine.key > op.high) continue;
      scan.own.push_back(mine.key);
      const auto met = std::find_if(op.items.begin(), op.items.end(), [&](const Item& i) { return i.key == mine.key; });
      const Value value = met == op.items.end() ? 0 : met->value;
      if (value != mine.value) mistake(op, name_of(mine.key) + " = " + std::to_string(mine.value));
    }
    Key before = 0;
    for (std::uint32_t i = 0; i < op.items.size(); ++i) {
      const Item& item = op.items[i];
      if (item.key < op.key || item.key > op.high || item.key <= before) {
        effects_.mistakes.push_back(text_of(op) + ": out of the range or out of order");
      }
      before = item.key;
      if (find(item.key) == own_.end()) effects_.reads.push_back({at, item.key, item.value, op.holds, true, i});
    }
    effects_.scans.push_back(std::move(scan));
  }

  const Txn& txn_;
  Effects effects_;
  Own own_;
  std::vector<Own> saved_;
  std::vector<Item> written_;
};

}  // namespace

Effects effects_of(const Txn& txn) { return Replay(txn).run(); }

}  // namespace histories
