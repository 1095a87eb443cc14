// SPDX-License-Identifier: Apache-2.0
#include "txn/session.h"

#include <algorithm>

#include "base/hash.h"

namespace hf::txn {
namespace {

lock::Row name_row(Bytes name) noexcept { return {lock::kNames, name, row_hash(lock::kNames, name)}; }

}  // namespace

Session::Session(std::shared_ptr<Database> database, std::string label)
    : database_(std::move(database)), label_(std::move(label)), owner_(database_->locks()) {}

Session::~Session() { owner_.end(); }

Status Session::open() { return owner_.begin(label_, monotonic_ns(), true, nullptr); }

Status Session::lock(Bytes name, const LockRule& rule) {
  if (name.empty() || name.size() > kKeySizeMax) {
    return Status(name.empty() ? Code::kINVALID_ARGUMENT : Code::kTOO_LARGE,
                  "a name has 1 to " + std::to_string(kKeySizeMax) + " bytes, not " + std::to_string(name.size()));
  }
  if (rule.mode == lock::Mode::kNone) return Status(Code::kINVALID_ARGUMENT, "no such lock mode");
  {
    const std::lock_guard lock(mutex_);
    // Locked again before it went: then it stays.
    std::erase(leaving_, std::string(name));
    locking_ = true;
  }
  report_ = {};
  cancelled_.store(false, std::memory_order_relaxed);
  lock::WaitRule wait;
  wait.wait = rule.wait;
  wait.strict = rule.strict;
  wait.search = database_->options().deadlock_search;
  wait.ordered = database_->options().lock_ordered;
  wait.timeout_ms = rule.timeout_ms != 0 ? rule.timeout_ms : database_->options().lock_timeout_ms;
  wait.cancelled = &cancelled_;
  const lock::Mode before = owner_.held(name_row(name));
  Status status = database_->locks().acquire(owner_, {name_row(name), rule.mode}, wait, &report_);
  bool passed = true;
  if (status.ok()) {
    // Who held the name may have been killed in the commit latch: its commit is visible, or never will be, before the
    // name is somebody else's.
    status = database_->pass_commits();
    passed = status.ok();
  }
  const std::lock_guard lock(mutex_);
  locking_ = false;
  if (!passed && before == lock::Mode::kNone) (void)database_->locks().release(owner_, name_row(name)).ok();
  give_back();
  return status;
}

Status Session::unlock(Bytes name) {
  const std::lock_guard lock(mutex_);
  const std::string text(name);
  if (owner_.held(name_row(name)) == lock::Mode::kNone ||
      std::find(leaving_.begin(), leaving_.end(), text) != leaving_.end()) {
    return Status(Code::kNOT_FOUND, "the session does not hold that name");
  }
  leaving_.push_back(text);
  give_back();
  return {};
}

// Requires: mutex_. While a transaction runs inside, or lock() is at work on the owner, what is unlocked waits for
// them.
void Session::give_back() {
  if (inside_ != 0 || locking_) return;
  for (const std::string& name : leaving_) (void)database_->locks().release(owner_, name_row(name)).ok();
  leaving_.clear();
}

void Session::cancel() noexcept {
  cancelled_.store(true, std::memory_order_release);
  owner_.interrupt();
}

std::uint64_t Session::transactions_inside() const {
  const std::lock_guard lock(mutex_);
  return inside_;
}

void Session::enter() noexcept {
  const std::lock_guard lock(mutex_);
  ++inside_;
}

void Session::leave() noexcept {
  const std::lock_guard lock(mutex_);
  --inside_;
  give_back();
}

}  // namespace hf::txn
