// SPDX-License-Identifier: Apache-2.0
// Tapes: what one worker did, written to a file of its own so that it outlives the worker's SIGKILL. The file is mapped
// shared: what was written to it is the kernel's, with no system call. A transaction is put down just before it asks to
// commit, as one in doubt, and marked with the answer just after.
//
// Thread contract: one writer per tape; tapes are read after their writers have ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "histories/history.h"

namespace torture {

class Tape {
 public:
  Tape(const std::string& path, std::size_t size_max);
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  // `txn.outcome` and times as they are now; there will be at most `after_max` counters in the answer. False: full.
  bool put(const histories::Txn& txn, std::size_t after_max);
  // The answer to what was put last.
  void answer(const histories::Txn& txn);

  struct Head;  // of a record

 private:
  char* base_ = nullptr;
  std::size_t size_max_;
  std::size_t used_;
  Head* last_ = nullptr;
};

// Appends all that was put on the tape.
void read_tape(const std::string& path, histories::History& history);

}  // namespace torture
