// SPDX-License-Identifier: Apache-2.0
// Part of holdfast.hpp: how to lock, who holds what, and sessions. The section "row locks" of holdfast.h is the manual.
#ifndef HOLDFAST_HPP_LOCKS_HPP
#define HOLDFAST_HPP_LOCKS_HPP

#include <cstdint>
#include <string>
#include <utility>

#include "holdfast/holdfast.h"
#include "holdfast/hpp/bytes.hpp"
#include "holdfast/hpp/error.hpp"
#include "holdfast/hpp/time.hpp"

namespace holdfast {

enum class lock_mode : std::uint32_t {
  none = 0,
  by_default = 0,  // what the call is for
  shared = HF_LOCK_SHARED,
  exclusive = HF_LOCK_EXCLUSIVE,
  increment = HF_LOCK_INCREMENT
};

enum class lock_wait : std::uint32_t { wait = HF_WAIT, no_wait = HF_NO_WAIT, skip_locked = HF_SKIP_LOCKED };

struct lock_options {
  lock_mode mode = lock_mode::by_default;
  lock_wait wait = lock_wait::wait;
  milliseconds timeout{0};  // zero: the transaction's
  bool strict = false;      // exact order of arrival

  [[nodiscard]] hf_lock_options c_options() const noexcept {
    hf_lock_options c = HF_LOCK_OPTIONS_INIT;
    c.mode = static_cast<std::uint32_t>(mode);
    c.wait = static_cast<std::uint32_t>(wait);
    c.flags = detail::flag(strict, HF_LOCK_STRICT);
    c.timeout_ms = detail::to_ms(timeout);
    return c;
  }
};

// One owner's part in one row.
struct lock_info {
  std::string table;  // empty: gone, or the lock is a session's on a name
  std::string key;    // or the name
  std::string label;
  lock_mode held = lock_mode::none;
  lock_mode wanted = lock_mode::none;  // none: does not wait
  bool session = false;
  bool expired = false;
  std::uint64_t pid = 0;
  std::uint64_t thread = 0;
  std::uint64_t txn = 0;
  milliseconds age{0};  // how long it has held, or waited

  lock_info() = default;
  explicit lock_info(const hf_lock_info& c)
      : table(c.table),
        key(reinterpret_cast<const char*>(c.key), c.key_size),
        label(c.label),
        held(static_cast<lock_mode>(c.mode_held)),
        wanted(static_cast<lock_mode>(c.mode_wanted)),
        session((c.flags & HF_LOCK_INFO_SESSION) != 0),
        expired((c.flags & HF_LOCK_INFO_EXPIRED) != 0),
        pid(c.pid),
        thread(c.thread),
        txn(c.txn),
        age(static_cast<std::int64_t>(c.age_ms)) {}
};

// Locks on names, held until unlocked or until this ends. Outlives the transactions that run inside of it
// (txn_options::session), and ends before its Database.
class Session {
 public:
  Session() noexcept = default;
  explicit Session(hf_session* session) noexcept : session_(session) {}
  Session(Session&& other) noexcept : session_(std::exchange(other.session_, nullptr)) {}
  Session& operator=(Session&& other) noexcept {
    if (this != &other) {
      hf_session_close(&session_);
      session_ = std::exchange(other.session_, nullptr);
    }
    return *this;
  }
  ~Session() { hf_session_close(&session_); }

  status lock(bytes_view name, const lock_options& options = {}) {
    const hf_lock_options c_options = options.c_options();
    return answer(hf_session_lock(session_, name.c_bytes(), &c_options));
  }
  // HF_NOT_FOUND: not held.
  status unlock(bytes_view name) { return answer(hf_session_unlock(session_, name.c_bytes())); }
  // From any thread: ends the lock() that waits.
  void cancel() noexcept { hf_session_cancel(session_); }
  // Closes now, with an answer. HF_MISUSE: there are transactions inside, and it stays open.
  status close() { return answer(hf_session_close(&session_)); }
  [[nodiscard]] hf_session* c_session() const noexcept { return session_; }

 private:
  status answer(int code) const {
    if (code == HF_OK) return {};
    return detail::make_error(code, [this](hf_error* info) { return hf_session_error(session_, info); });
  }

  hf_session* session_ = nullptr;
};

}  // namespace holdfast

#endif  // HOLDFAST_HPP_LOCKS_HPP
