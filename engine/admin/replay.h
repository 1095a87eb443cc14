// SPDX-License-Identifier: Apache-2.0
// Replay: commits of a log straight into a base that nobody has open, many at once in one transaction, in key order.
//
// Thread contract: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "admin/log_reader.h"
#include "base/bytes.h"
#include "base/status.h"
#include "store/store.h"

namespace hf::admin {

class Replay {
 public:
  explicit Replay(store::Store& base) noexcept : base_(base) {}
  // Requires: commits in order, without a gap. May write to the disk.
  Status add(const Commit& commit);
  // Writes what is left. Blocks on the disk.
  Status finish();

 private:
  struct Row {
    bool present;  // false: deleted
    store::Row row;
    std::string value;  // what row.value points to
  };
  Status check_loads(const Commit& commit);
  void note(Csn csn, const overlay::Change& change);

  store::Store& base_;
  std::map<std::pair<TableId, std::string>, Row> rows_;
  std::set<TableId> dropped_;
  std::uint64_t bytes_ = 0;
  Csn last_ = 0;  // 0: nothing is waiting
};

}  // namespace hf::admin
