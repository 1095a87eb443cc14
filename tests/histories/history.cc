// SPDX-License-Identifier: Apache-2.0
#include "histories/history.h"

namespace histories {
namespace {

std::string elements(const std::vector<Item>& items) {
  std::string text = "[";
  for (const Item& item : items) text += (text.size() > 1 ? " " : "") + std::to_string(item.value);
  return text + "]";
}

std::string number(const Op& op) { return std::to_string(static_cast<std::int64_t>(op.value)); }

std::string value_text(const Op& op) {
  switch (space_of(op.key)) {
    case Space::kList:
      return elements(op.items);
    case Space::kCounter:
    case Space::kStock:
      return number(op);
    default:
      return op.value == 0 ? "absent" : std::to_string(op.value);
  }
}

}  // namespace

std::string name_of(Key key) {
  static const char* const kNames[] = {"?", "list", "register", "row", "counter", "stock"};
  const auto space = static_cast<std::uint8_t>(space_of(key));
  const std::uint64_t slot = key >> 40 & 0xffff, generation = key >> 8 & 0xffffffff, position = key & 0xff;
  std::string name = std::string(kNames[space < std::size(kNames) ? space : 0]) + " " + std::to_string(slot) + "." +
                     std::to_string(generation);
  return space_of(key) == Space::kRow ? name + "." + std::to_string(position) : name;
}

const char* name_of(Level level) {
  switch (level) {
    case Level::kSerializable:
      return "serializable";
    case Level::kSnapshot:
      return "snapshot";
    default:
      return "read committed";
  }
}

std::string text_of(const Op& op) {
  const std::string name = name_of(op.key);
  switch (op.kind) {
    case OpKind::kRead:
      return std::string(op.holds ? "read (held) " : "read ") + name + " = " + value_text(op);
    case OpKind::kScan: {
      std::string text = "scanned " + name + " to " + name_of(op.high) + ": {";
      for (const Item& item : op.items) text += " " + name_of(item.key) + " = " + std::to_string(item.value);
      return text + " }";
    }
    case OpKind::kWrite:
      return op.value == 0 ? "deleted " + name : "wrote " + name + " = " + std::to_string(op.value);
    case OpKind::kAppend:
      return "appended " + std::to_string(op.value) + " to " + name;
    case OpKind::kAdd:
      return "added " + number(op) + " to " + name;
    case OpKind::kSavepoint:
      return "savepoint";
    case OpKind::kRollback:
      return "rolled back";
  }
  return "?";
}

}  // namespace histories
