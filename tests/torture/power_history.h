// SPDX-License-Identifier: Apache-2.0
// History: what the database has to show after each commit, in csn order, kept outside of it; and the comparison of an
// open database with that.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "holdfast/holdfast.h"

namespace torture::power {

using Csn = std::uint64_t;

struct Change {
  enum class Kind : std::uint8_t {
    kPut,
    kErase,
    kCreateTable,
    kDropTable,
    kLoad,  // a row of a bulk load: its version is that of an earlier commit
  };
  Kind kind;
  std::string table;
  std::string key;
  std::uint64_t hash = 0;  // of the value
};
using Changes = std::vector<Change>;

std::uint64_t hash_of(std::string_view value) noexcept;
std::string encode(const Changes& changes);
Changes decode(std::string_view bytes);

struct Row {
  std::uint64_t hash;
  Csn version;  // 0: any
};
using Rows = std::map<std::string, Row>;
using Tables = std::map<std::string, Rows>;

// All commits of one life of a database. A later life begins with what an earlier one came to.
class History {
 public:
  History() = default;
  // Goes on after `first` commits of `before`.
  History(std::shared_ptr<const History> before, Csn first) : before_(std::move(before)), first_(first), last_(first) {}

  void add(Csn csn, Changes changes);  // any order
  Csn last() const noexcept { return last_; }
  bool has(Csn csn) const noexcept { return csn <= first_ || commits_.contains(csn); }
  // First csn up to last() that nobody told of, or 0.
  Csn first_gap() const noexcept;

  // What there is after commit `csn`. Cheap when the last call asked for a slightly older one.
  const Tables& at(Csn csn) const;

 private:
  std::shared_ptr<const History> before_;
  Csn first_ = 0;
  Csn last_ = 0;
  std::map<Csn, Changes> commits_;
  mutable Tables tables_;  // after commit at_
  mutable Csn at_ = 0;
  mutable bool begun_ = false;
};

// Everything in the database, both directions, against `expected`. Empty: equal; else the first difference. *rows
// counts what was compared.
std::string compare(hf_db* db, const Tables& expected, std::uint64_t* rows);
// "CODE: detail" of the last failure on the handle.
std::string describe(hf_db* db, int code);

}  // namespace torture::power
