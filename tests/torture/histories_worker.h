// SPDX-License-Identifier: Apache-2.0
// The work of which histories are made: one thread that runs random small transactions, built to make them meet: few
// rows, every kind of access to the same rows, short pauses in the middle.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "torture/histories_recorder.h"

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
  unsigned slots = 4;            // of each kind of row; the fewer, the more they conflict. At most Board::kSlotsMax
  unsigned durable_percent = 5;  // of transactions
  bool heat = true;
};

class Worker {
 public:
  Worker(hf_db* db, const Tables& tables, Board& board, const Load& load, const std::string& tapes);
  ~Worker();

  // Until the board's limit is reached.
  void run();
  // One read-only transaction that reads all there ever was.
  void read_all();

 private:
  class Body;
  std::unique_ptr<Body> body_;
};

}  // namespace torture
