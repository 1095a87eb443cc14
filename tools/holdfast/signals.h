// SPDX-License-Identifier: Apache-2.0
// SIGINT and SIGTERM ask the command to stop at the next good moment; a second one of them ends it at once, which a
// database bears as it bears a kill. SIGPIPE is an error of the write that met it.
#pragma once

#include "holdfast/holdfast.hpp"

namespace tool {

void install_signal_handlers();
// Which signal asked to stop; 0: none did.
int interrupt_signal() noexcept;
bool interrupted() noexcept;
// Ends the command when one did.
void check_interrupted();
// For children of this process: as if none had come.
void forget_interrupt() noexcept;

// A signal ends what this transaction waits for. One at a time, and on the thread that gets the signals.
class CancelOnSignal {
 public:
  CancelOnSignal() noexcept = default;
  explicit CancelOnSignal(hf_txn* txn) noexcept { watch(txn); }
  ~CancelOnSignal() { watch(nullptr); }
  CancelOnSignal(const CancelOnSignal&) = delete;
  CancelOnSignal& operator=(const CancelOnSignal&) = delete;
  void watch(hf_txn* txn) noexcept;
};

}  // namespace tool
