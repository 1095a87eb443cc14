// SPDX-License-Identifier: Apache-2.0
// What one transaction took from others and left for them, once its own writes are seen through: its reads of what
// others wrote, and of its writes the last of each row. Reads of its own writes are checked on the way.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "histories/history.h"

namespace histories {

struct ExternalRead {
  std::uint32_t op = 0;
  Key key = 0;
  Value value = 0;  // 0: absent; of a list: its last element; of a counter: what others had added up to
  bool holds = false;
  bool by_scan = false;
  std::uint32_t item = 0;  // by_scan: which
};

struct ExternalScan {
  std::uint32_t op = 0;
  std::vector<Key> own;  // rows that it had written itself by then
};

struct FinalWrite {
  Key key = 0;
  Value value = 0;             // 0: deleted
  std::int64_t delta = 0;      // of a counter
  std::vector<Item> elements;  // of a list: all of it
};

struct Effects {
  std::vector<ExternalRead> reads;
  std::vector<ExternalScan> scans;
  std::vector<FinalWrite> writes;
  std::vector<Item> hidden;           // values overwritten or rolled back before the commit
  std::vector<std::string> mistakes;  // own writes seen wrongly, rows out of order
};

Effects effects_of(const Txn& txn);

}  // namespace histories
