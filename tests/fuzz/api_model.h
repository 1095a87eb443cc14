// SPDX-License-Identifier: Apache-2.0
// The model of fuzz_api: what the calls of one thread on a few transactions have to answer, in ordered maps. It says
// exactly what a read sees at the snapshot that the transaction names, who holds which lock, and what a commit leaves.
// Whether a commit is refused for a conflict it does not predict (the property tests do): it says when one must be, and
// when none may be.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "holdfast/holdfast.h"

namespace hf::fuzz {

using Key = std::pair<int, std::string>;  // table (or kNames) and key
inline constexpr int kNames = 9;          // the names of session locks

// What a row is at one commit.
struct Value {
  enum class Kind { kAbsent, kPlain, kCounter };
  Kind kind = Kind::kAbsent;
  std::string bytes;
  bool is_limited = false;  // has an expiry time, in the far future
  std::uint64_t version = 0;

  bool there() const { return kind != Kind::kAbsent; }
  std::int64_t number() const;
  static Value counter(std::int64_t number);
  static Value plain(std::string bytes, bool is_limited);
};

// All adds of one transaction to one row: the committed value has to lie in [low, high], and `sum` comes to it.
struct Adds {
  __int128 sum = 0, low = INT64_MIN, high = INT64_MAX;
  bool fold(std::int64_t delta, std::int64_t min, std::int64_t max);  // false: no committed value would do
};

struct Write {
  Value value;               // when there are no adds
  std::optional<Adds> adds;  // on top of whatever is committed
};

// Committed rows, every version.
class Rows {
 public:
  std::uint64_t begin = 0;      // csn at which no row was there
  std::uint64_t published = 0;  // newest commit

  Value at(const Key& key, std::uint64_t csn) const;
  Value newest(const Key& key) const { return at(key, UINT64_MAX); }
  std::uint64_t changed(const Key& key) const;  // csn of its newest version; 0: none
  void set(const Key& key, Value value);        // by the commit `published`
  const std::map<Key, std::vector<Value>>& all() const { return versions_; }

 private:
  std::map<Key, std::vector<Value>> versions_;  // oldest first; a deletion is a version too
};

// Who holds what. No transaction waits, as one thread plays all of them.
class Locks {
 public:
  // What owner would hold after asking for `mode`.
  std::uint32_t after(int owner, const Key& key, std::uint32_t mode) const;
  bool is_blocked(int owner, const Key& key, std::uint32_t mode) const;
  void take(int owner, const Key& key, std::uint32_t mode);
  bool give_back(int owner, const Key& key);  // whether it was held
  void give_all_back(int owner);

 private:
  std::uint32_t held(int owner, const Key& key) const;
  std::map<Key, std::map<int, std::uint32_t>> holders_;
};

// A transaction's own part.
struct TxnModel {
  bool running = false, read_only = false;
  std::uint32_t isolation = HF_SERIALIZABLE;
  std::uint64_t first_snapshot = 0;
  std::map<Key, Write> writes;
  std::vector<std::pair<std::uint64_t, std::map<Key, Write>>> savepoints;
  struct Read {
    Key key;
    std::uint64_t seen_at;
  };
  std::vector<Read> reads;  // whose change has to make the commit fail

  // What a read sees; HF_WRONG_TYPE or HF_OUT_OF_RANGE where own adds do not go with the row below them.
  int see(const Rows& rows, const Key& key, std::uint64_t snapshot, Value* value) const;
  void note_read(const Key& key, std::uint64_t snapshot, bool always);

  // Whether a commit may answer `code` now. `owner` is its number in `locks`.
  bool may_answer(int code, const Rows& rows, const Locks& locks, int owner, std::uint64_t snapshot) const;
  // Carries the writes out.
  void commit(Rows* rows) const;
};

}  // namespace hf::fuzz
