// SPDX-License-Identifier: Apache-2.0
#include "signals.h"

#include <signal.h>

#include <atomic>

#include "failure.h"

namespace tool {
namespace {

std::atomic<int> signal_seen{0};
std::atomic<hf_txn*> watched{nullptr};
static_assert(std::atomic<hf_txn*>::is_always_lock_free, "used in a signal handler");

void handle(int number) {
  signal_seen.store(number, std::memory_order_relaxed);
  // hf_cancel may be called here, and an ended handle is told from a live one.
  if (hf_txn* txn = watched.load(std::memory_order_relaxed)) hf_cancel(txn);
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action = {};
  sigemptyset(&action.sa_mask);
  action.sa_handler = handle;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  action.sa_handler = SIG_IGN;
  action.sa_flags = 0;
  sigaction(SIGPIPE, &action, nullptr);
}

int interrupt_signal() noexcept { return signal_seen.load(std::memory_order_relaxed); }
bool interrupted() noexcept { return interrupt_signal() != 0; }
void forget_interrupt() noexcept { signal_seen.store(0, std::memory_order_relaxed); }

void check_interrupted() {
  if (const int number = interrupt_signal(); number != 0) {
    throw Failure(128 + number, number == SIGINT ? "interrupted" : "terminated");
  }
}

void CancelOnSignal::watch(hf_txn* txn) noexcept { watched.store(txn, std::memory_order_relaxed); }

}  // namespace tool
