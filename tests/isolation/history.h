// SPDX-License-Identifier: Apache-2.0
// Histories: what transactions of many threads and processes did, written down by themselves, and the check that
// there is one order of them all that explains it. The order is the csns', so the check is a replay and exact: every
// read of a serializable transaction must have seen the rows just as they were before its commit, every other read
// the rows as they were at its snapshot.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "isolation/fixture.h"

namespace hf::isolation {

// A row as one read met it. csn 0: it was absent.
struct Seen {
  int key;
  Csn csn;
  std::uint64_t value;
};

struct ScanSeen {
  int low, high;           // both inclusive: what was passed over
  std::vector<Seen> rows;  // those that were there, in order
};

struct Write {
  int key;
  std::uint64_t value;  // unique over all transactions; 0 = erased
};

struct Record {
  std::uint32_t worker = 0;
  Isolation level = Isolation::kSerializable;
  bool read_only = false;
  bool committed = false;
  Csn snapshot = 0, commit = 0;                 // commit 0: wrote nothing
  std::uint64_t begun_ns = 0, answered_ns = 0;  // just before begin, just after the answer of commit; one clock for all
  std::vector<Seen> reads;
  std::vector<ScanSeen> scans;
  std::vector<Write> writes;
};

using History = std::vector<Record>;

// What is wrong with the history, one line each, the first 20; empty when all is explained. The table was empty at csn
// `start`, and nobody but the recorded transactions committed afterwards.
std::vector<std::string> explain(const History& history, Csn start);

// For the way from one process to another.
std::string encode(const History& history);
History decode(const std::string& bytes);

}  // namespace hf::isolation
