// SPDX-License-Identifier: Apache-2.0
// Histories: what transactions of many threads and processes did, as their clients saw it. Nothing in here comes from
// inside the engine: no csn, no version number. tests/histories/checker.h says whether a history is right.
//
// Every written value is unique in the history, so that a read names the write it saw. A list row holds the values
// appended to it, in order; any other row holds one value; 0 stands for an absent row. Counters hold plain numbers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace histories {

// The top byte says of which kind the row is, the rest is its place: slot, generation, position (make_key).
using Key = std::uint64_t;
using Value = std::uint64_t;

enum class Space : std::uint8_t {
  kList = 1,      // a value is a list; each write appends one element to what was read
  kRegister = 2,  // written blindly, or after a read
  kRow = 3,       // inserted, updated, deleted, scanned
  kCounter = 4,   // only ever added to, and only more than zero: a number names one version
  kStock = 5,     // added to and taken from, within bounds
};

constexpr Key make_key(Space space, std::uint64_t slot, std::uint64_t generation = 0, std::uint64_t position = 0) {
  return std::uint64_t{static_cast<std::uint8_t>(space)} << 56 | slot << 40 | generation << 8 | position;
}
constexpr Space space_of(Key key) { return static_cast<Space>(key >> 56); }
std::string name_of(Key key);

enum class Level : std::uint8_t { kSerializable, kSnapshot, kReadCommitted };
enum class Outcome : std::uint8_t {
  kAborted,    // certainly nothing happened
  kCommitted,  // answered so
  kUnknown,    // asked to commit and never answered (killed), or answered 'maybe'
};
const char* name_of(Level level);

enum class OpKind : std::uint8_t {
  kRead,       // key, value or (lists) items; counters: value as a number
  kScan,       // key to high, both inclusive; items: the rows met
  kWrite,      // key, value; 0: deleted
  kAppend,     // key, value: the new element. The list was read before in the same transaction
  kAdd,        // key, value: the delta; min, max: what the sum has to stay within
  kSavepoint,  // writes from here on ...
  kRollback,   // ... to here are undone
};

struct Item {
  Key key = 0;  // of an element of a list: 0
  Value value = 0;
  bool operator==(const Item&) const = default;
};

struct Op {
  OpKind kind = OpKind::kRead;
  // What was read has to hold until the commit at every level: the row is locked, or is checked again (insert,
  // put-if-version).
  bool holds = false;
  Key key = 0;
  Key high = 0;
  Value value = 0;
  std::int64_t min = INT64_MIN;
  std::int64_t max = INT64_MAX;
  std::uint64_t begun_ns = 0;  // when the call was made; the parts of one call have the same
  std::vector<Item> items;
};

// Times are of one clock for all processes.
struct Txn {
  std::uint32_t worker = 0;
  Level level = Level::kSerializable;
  Outcome outcome = Outcome::kAborted;
  std::int32_t code = 0;        // the last answer
  std::uint64_t begun_ns = 0;   // just before it began
  std::uint64_t commit_ns = 0;  // just before commit was called; 0: it never was
  std::uint64_t ended_ns = 0;   // just after the answer; 0: there was none
  std::vector<Op> ops;
  std::vector<Item> after;  // what counters stood at right after the commit
};

using History = std::vector<Txn>;

std::string text_of(const Op& op);

}  // namespace histories
