// SPDX-License-Identifier: Apache-2.0
// Programs: random lists of steps. A step is a few small numbers that mean something in any state, so that RapidCheck
// can drop steps when it shrinks a failure.
#pragma once

#include <rapidcheck.h>

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "property/model.h"

namespace hf::property {

enum class Op : std::uint8_t {
  kGet,
  kGetMore,
  kPut,
  kInsert,
  kUpdate,
  kRemove,
  kErase,
  kPutIfVersion,
  kCheckVersion,
  kSavepoint,
  kRollback,
  kRelease,
  kCursor,
  kSeek,
  kNext,
  kScan,
  kCommit,
  kAbort,
  kMerge,
  kReopen,
  kCreate,
  kDrop,
  kRename,
  kList,
  kBurst,
};

struct Step {
  Op op;
  std::uint8_t actor, table, key, other_key, flags, choice;
};
std::ostream& operator<<(std::ostream& out, const Step& step);

// How often each kind of step comes, in parts of their sum.
struct Mix {
  int rows = 40, versions = 6, savepoints = 8, cursors = 24, ends = 14, merges = 4, reopens = 1, tables = 2, bursts = 0;
};
rc::Gen<std::vector<Step>> programs(const Mix& mix, int length);

// What the numbers of a step mean.
const char* name_of(Op op);
const std::string& key_at(std::uint8_t choice);  // half of all goes to the first four: transactions are to meet
std::string bound_at(std::uint8_t choice);       // a key, something between two, or nothing
Life life_of(std::uint8_t flags);
ModelRange range_of(const Step& step);

}  // namespace hf::property
