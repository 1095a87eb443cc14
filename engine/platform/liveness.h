// SPDX-License-Identifier: Apache-2.0
// Liveness: which processes have the database open, proven by kernel locks instead of pid guesses.
//
// A process that opens the database takes one slot: one byte of the liveness file under an open-file-description
// write lock (fcntl(2), F_OFD_SETLK) for as long as it lives. The kernel drops the lock when the process dies, however
// it dies; neither pid reuse nor pid namespaces matter. A forked child closes its copy of the descriptor (fork
// handler), else it would keep its dead parent alive.
//
// Layout of the liveness file (only locks matter, its bytes are never read):
//   byte 0       the gate: held exclusively while a process opens, recovers or closes the database
//   byte 1 + i   slot i
//
// The slot table lies in shared memory and is valid only under the locks:
//   ProcessSlot, 64 bytes; who may write: the process that holds the slot's lock; left by a dead process: anything,
//   the next taker rewrites all of it after raising `generation`, which makes every OwnerId of the dead one stale.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "platform/file.h"

namespace hf::platform {

inline constexpr std::uint32_t kProcessSlotsMax = 256;

// Names one life of one slot: generation << 9 | (slot + 1), 31 bits. 0 means nobody.
using OwnerId = std::uint32_t;
constexpr std::uint32_t owner_slot(OwnerId id) noexcept { return (id & 511u) - 1; }

struct ProcessSlot {
  std::atomic<std::uint32_t> generation;  // raised by the taker, under the slot's kernel lock
  std::uint32_t pid;                      // as seen in the taker's pid namespace; for reports only
  std::uint64_t opened_at_ms;             // wall clock; for reports only
  char label[48];                         // NUL-terminated name given at open; for reports only
};
static_assert(sizeof(ProcessSlot) == 64);

class Liveness {
 public:
  Liveness() noexcept = default;
  Liveness(Liveness&&) noexcept;
  Liveness& operator=(Liveness&&) noexcept;
  ~Liveness();  // gives the slot and the gate back

  // Opens (creates) the liveness file. Takes no lock.
  static Result<Liveness> open(const std::string& path);

  // Takes the gate, waiting until the deadline: kBUSY then.
  Status lock_gate(Deadline deadline);
  void unlock_gate() noexcept;

  // Whether a process other than this handle's holds any slot. Requires: gate held.
  Result<bool> others_alive() const;

  // The same without the gate, so that the answer may be old by the time it is read.
  Result<bool> anybody_alive() const;

  // Takes a free slot and fills its row of `slots` (kProcessSlotsMax rows). kLIMIT when all are taken.
  // Requires: gate held. `slots` must stay mapped until release_slot().
  Status take_slot(ProcessSlot* slots, const std::string& label);
  void release_slot() noexcept;
  // Requires: a slot is held.
  OwnerId me() const noexcept { return me_; }

  // Whether that life of that slot still runs. One system call; any thread. A dead life may look alive for the moment
  // in which a new process takes its slot: ask again. A live one never looks dead.
  // Requires: a slot is held; `id` was loaded with acquire order, from where its owner stored it with release order.
  bool alive(OwnerId id) const noexcept;
  // The life that holds `slot` now, or 0 when none does. One system call; any thread. While a new process takes the
  // slot the answer may name the life before it. Requires: a slot is held.
  OwnerId holder_of(std::uint32_t slot) const noexcept;

  // The descriptor that carries the locks: a forked child has to close it.
  int fd() const noexcept { return file_.fd(); }
  // For the fork handler of the child (async-signal-safe): closes the child's copy of the descriptor and nothing else.
  // The locks belong to the shared description: giving one back here, as the destructor would, takes it from the
  // parent. After it only destruction is legal.
  void close_in_forked_child() noexcept;

 private:
  File file_;
  ProcessSlot* slots_ = nullptr;
  OwnerId me_ = 0;
  bool gate_held_ = false;
};

}  // namespace hf::platform
