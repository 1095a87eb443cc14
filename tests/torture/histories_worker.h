// SPDX-License-Identifier: Apache-2.0
// The work of which histories are made: one thread that runs random small transactions through the public C interface
// and writes on its tape what it did and saw. Built to make transactions meet: few rows, all kinds of access to the
// same rows, short pauses in the middle.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "histories/history.h"
#include "holdfast/holdfast.h"
#include "torture/histories_tape.h"

namespace torture {

// How likely each isolation level is, out of the sum.
struct Mix {
  unsigned serializable = 1;
  unsigned snapshot = 0;
  unsigned read_committed = 0;
};

struct Load {
  std::uint64_t seed = 0;
  Mix mix;
  unsigned slots = 4;            // of each kind of row; the fewer, the more they conflict
  unsigned durable_percent = 5;  // of transactions
  bool heat = true;
};

// Memory that all processes of a round share: where the rows in use stand, so that all move on together, and how far
// they got. It is the test's own, nothing of the engine's.
struct Board {
  static constexpr unsigned kSlotsMax = 16;
  std::atomic<std::uint64_t> begun;  // transactions
  std::uint64_t limit;
  std::atomic<std::uint64_t> committed, refused;
  std::atomic<std::uint32_t> workers;  // numbers given out
  std::atomic<bool> failed;
  char failure[480];
  std::atomic<std::uint64_t> lists[kSlotsMax];      // generation in use
  std::atomic<std::uint64_t> registers[kSlotsMax];  // writes so far
  std::atomic<std::uint64_t> rows[kSlotsMax];       // inserts so far

  void fail(const std::string& text);
};

inline constexpr std::uint64_t kListMax = 24;         // elements; then a fresh list takes its place
inline constexpr std::uint64_t kRegisterWrites = 96;  // of one register; then a fresh one
inline constexpr std::uint64_t kRowsOfRange = 24;     // keys of one range; then a fresh range
inline constexpr std::int64_t kStockMax = 12;

class Worker {
 public:
  Worker(hf_db* db, hf_table* table, Board& board, const Load& load, const std::string& tape_path);
  ~Worker();

  void run();
  // One read-only transaction that reads all there ever was.
  void read_all();

 private:
  class Body;
  std::unique_ptr<Body> body_;
};

}  // namespace torture
