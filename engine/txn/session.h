// SPDX-License-Identifier: Apache-2.0
// Session: locks on names, not tied to a transaction. They go when they are unlocked, when the session ends, or when
// the process dies. A lock that is unlocked while transactions run inside of the session (TxnOptions::session) goes
// when the last of them has ended.
//
// Thread contract: lock and unlock one thread at a time; transactions inside of it may run and end in any thread.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "lock/lock.h"
#include "txn/database.h"
#include "txn/transaction.h"

namespace hf::txn {

class Session {
 public:
  explicit Session(std::shared_ptr<Database> database, std::string label);
  ~Session();  // gives everything back. Requires: no transaction inside of it.
  Session(const Session&) = delete;

  // Before anything else. kLIMIT: all places for owners of locks are taken.
  Status open();
  // Blocks as the rule says; codes as Transaction::lock, but nothing ends it. A name locked again in a mode that is
  // covered is fine, and needs no second unlock.
  Status lock(Bytes name, const LockRule& rule);
  // kNOT_FOUND: not held (or unlocked already, and waiting for a transaction).
  Status unlock(Bytes name);
  void cancel() noexcept;  // any thread: ends a lock() that waits, kCANCELLED
  const lock::Report& lock_report() const noexcept { return report_; }
  std::uint64_t transactions_inside() const;

  // Used by transactions.
  void enter() noexcept;
  void leave() noexcept;
  const lock::Owner* owner() const noexcept { return &owner_; }

 private:
  void give_back();

  std::shared_ptr<Database> database_;
  std::string label_;
  std::atomic<bool> cancelled_{false};
  lock::Report report_;
  mutable std::mutex mutex_;  // guards the below, and the owner but while `locking_`; taken before bucket latches
  lock::Owner owner_;
  bool locking_ = false;  // lock() is at work on the owner, perhaps asleep
  std::uint64_t inside_ = 0;
  std::vector<std::string> leaving_;  // unlocked; held until inside_ is 0 and locking_ false
};

}  // namespace hf::txn
