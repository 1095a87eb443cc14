// SPDX-License-Identifier: Apache-2.0
// Part of holdfast.hpp: transactions.
#ifndef HOLDFAST_HPP_TRANSACTION_HPP
#define HOLDFAST_HPP_TRANSACTION_HPP

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <initializer_list>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "holdfast/holdfast.h"
#include "holdfast/hpp/error.hpp"
#include "holdfast/hpp/locks.hpp"
#include "holdfast/hpp/options.hpp"
#include "holdfast/hpp/rows.hpp"

namespace holdfast {

// What a counter has to stay within.
struct counter_bounds {
  std::int64_t min = INT64_MIN;
  std::int64_t max = INT64_MAX;
};

namespace detail {

// What passes through C: the predicate, and an exception that C must not see.
template <typename Predicate>
struct lock_if_call {
  Predicate& holds;
  std::exception_ptr thrown;

  static int run(const hf_row* c_row, void* context) {
    auto& call = *static_cast<lock_if_call*>(context);
    const std::optional<row> found = c_row != nullptr ? std::optional<row>(*c_row) : std::nullopt;
#if defined(__cpp_exceptions)
    try {
      return call.holds(found) ? 1 : 0;
    } catch (...) {
      call.thrown = std::current_exception();
      return 0;
    }
#else
    return call.holds(found) ? 1 : 0;
#endif
  }
};

}  // namespace detail

class Transaction {
 public:
  Transaction() noexcept = default;
  // Owns the handle unless it is lent, as to the function of a transact().
  explicit Transaction(hf_txn* txn, bool owned = true) noexcept : txn_(txn), owned_(owned) {}
  Transaction(Transaction&& other) noexcept : txn_(std::exchange(other.txn_, nullptr)), owned_(other.owned_) {}
  Transaction& operator=(Transaction&& other) noexcept {
    if (this != &other) {
      end();
      txn_ = std::exchange(other.txn_, nullptr);
      owned_ = other.owned_;
    }
    return *this;
  }
  ~Transaction() { end(); }

  // Reads. HF_NOT_FOUND is an error of get() and an empty optional of find().
  [[nodiscard]] result<row> get(Table table, bytes_view key) {
    hf_row found;
    const int code = hf_get(txn_, table.c_table(), key.c_bytes(), &found);
    if (code != HF_OK) return fail(code);
    return row(found);
  }
  [[nodiscard]] result<std::optional<row>> find(Table table, bytes_view key) {
    hf_row found;
    const int code = hf_get(txn_, table.c_table(), key.c_bytes(), &found);
    if (code == HF_NOT_FOUND) return std::optional<row>();
    if (code != HF_OK) return fail(code);
    return std::optional<row>(row(found));
  }
  // The size of the value, which is copied; HF_TOO_LARGE when it does not fit.
  [[nodiscard]] result<std::size_t> get_into(Table table, bytes_view key, std::span<std::byte> buffer) {
    std::size_t size = 0;
    const int code = hf_get_into(txn_, table.c_table(), key.c_bytes(), buffer.data(), buffer.size(), &size);
    if (code != HF_OK) return fail(code);
    return size;
  }
  // One answer per key, in their order.
  [[nodiscard]] result<std::vector<std::optional<row>>> get_many(Table table, std::span<const bytes_view> keys) {
    const std::vector<hf_bytes> wanted = c_keys(keys);
    std::vector<hf_row> found(keys.size());
    const int code = hf_get_many(txn_, table.c_table(), wanted.data(), wanted.size(), found.data());
    if (code != HF_OK) return fail(code);
    std::vector<std::optional<row>> rows(found.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i].code == HF_OK) rows[i].emplace(found[i]);
    }
    return rows;
  }

  // Reads that lock: the newest commit of the row. A row that is absent is locked too.
  [[nodiscard]] result<row> get_for_update(Table table, bytes_view key, const lock_options& options = {}) {
    return get_locked(hf_get_for_update, table, key, options);
  }
  [[nodiscard]] result<row> get_for_share(Table table, bytes_view key, const lock_options& options = {}) {
    return get_locked(hf_get_for_share, table, key, options);
  }
  [[nodiscard]] result<std::optional<row>> find_for_update(Table table, bytes_view key,
                                                           const lock_options& options = {}) {
    return or_nothing(get_for_update(table, key, options));
  }
  [[nodiscard]] result<std::optional<row>> find_for_share(Table table, bytes_view key,
                                                          const lock_options& options = {}) {
    return or_nothing(get_for_share(table, key, options));
  }
  // One answer per key, in their order.
  [[nodiscard]] result<std::vector<locked_row>> get_many_for_update(Table table, std::span<const bytes_view> keys,
                                                                    const lock_options& options = {}) {
    return get_many_locked(hf_get_many_for_update, table, keys, options);
  }
  [[nodiscard]] result<std::vector<locked_row>> get_many_for_share(Table table, std::span<const bytes_view> keys,
                                                                   const lock_options& options = {}) {
    return get_many_locked(hf_get_many_for_share, table, keys, options);
  }

  // Locks.
  status lock(Table table, bytes_view key, const lock_options& options = {}) {
    const hf_lock_options c_options = options.c_options();
    return answer(hf_lock(txn_, table.c_table(), key.c_bytes(), &c_options));
  }
  // One answer per request: whether it is locked now. All are, unless the options say skip_locked.
  result<std::vector<bool>> lock_many(std::span<const lock_request> requests, const lock_options& options = {}) {
    const hf_lock_options c_options = options.c_options();
    std::vector<hf_lock_request> wanted(requests.size());
    for (std::size_t i = 0; i < requests.size(); ++i) {
      wanted[i] = {requests[i].table.c_table(), requests[i].key.c_bytes(), static_cast<std::uint32_t>(requests[i].mode),
                   HF_OK};
    }
    const int code = hf_lock_many(txn_, wanted.data(), wanted.size(), &c_options);
    if (code != HF_OK) return fail(code);
    std::vector<bool> locked(wanted.size());
    for (std::size_t i = 0; i < wanted.size(); ++i) locked[i] = wanted[i].code == HF_OK;
    return locked;
  }
  result<std::vector<bool>> lock_many(std::initializer_list<lock_request> requests, const lock_options& options = {}) {
    return lock_many(std::span(requests.begin(), requests.size()), options);
  }
  // Locks the row when `holds` (const std::optional<row>& -> bool; empty: absent) says so of its newest commit. The
  // answer's `locked` is what came of it. An exception of `holds` goes on to the caller; nothing is locked then.
  template <typename Predicate>
  requires std::predicate < Predicate&, const std::optional<row>
  & > [[nodiscard]] result<locked_row> lock_if(Table table, bytes_view key, Predicate&& holds,
                                               const lock_options& options = {}) {
    using Call = detail::lock_if_call<std::remove_reference_t<Predicate>>;
    Call call{holds, nullptr};
    const hf_lock_options c_options = options.c_options();
    hf_row found;
    int locked = 0;
    const int code = hf_lock_if(txn_, table.c_table(), key.c_bytes(), &c_options, &Call::run, &call, &found, &locked);
    if (call.thrown) std::rethrow_exception(call.thrown);
    locked_row given{locked != 0, std::nullopt};
    if (code == HF_OK) given.row.emplace(found);
    if (code != HF_OK && code != HF_NOT_FOUND) return fail(code);
    return given;
  }
  [[nodiscard]] std::uint64_t number() const noexcept { return hf_txn_number(txn_); }
  // The cycle of the last HF_DEADLOCK, this transaction first.
  [[nodiscard]] result<std::vector<lock_info>> cycle() const {
    std::size_t count = 0;
    int code = hf_txn_cycle(txn_, nullptr, 0, &count);
    if (code != HF_OK) return fail(code);
    std::vector<hf_lock_info> parties(count);
    if (count != 0) {
      parties[0].size = sizeof(hf_lock_info);
      code = hf_txn_cycle(txn_, parties.data(), parties.size(), &count);
    }
    if (code != HF_OK) return fail(code);
    return std::vector<lock_info>(parties.begin(), parties.end());
  }

  // Counters.
  status add(Table table, bytes_view key, std::int64_t delta, counter_bounds bounds = {}) {
    return answer(hf_add(txn_, table.c_table(), key.c_bytes(), delta, bounds.min, bounds.max));
  }
  [[nodiscard]] result<std::int64_t> counter_get(Table table, bytes_view key) {
    return counter(hf_counter_get, table, key);
  }
  status counter_set(Table table, bytes_view key, std::int64_t value) {
    return answer(hf_counter_set(txn_, table.c_table(), key.c_bytes(), value));
  }
  status counter_reset(Table table, bytes_view key) {
    return answer(hf_counter_reset(txn_, table.c_table(), key.c_bytes()));
  }
  // After commit(): what it stood at right after it.
  [[nodiscard]] result<std::int64_t> counter_after(Table table, bytes_view key) {
    return counter(hf_counter_after, table, key);
  }

  // Writes. `ttl` zero: the row stays for ever.
  status put(Table table, bytes_view key, bytes_view value, milliseconds ttl = {}) {
    return answer(hf_put(txn_, table.c_table(), key.c_bytes(), value.c_bytes(), detail::to_ms(ttl)));
  }
  status insert(Table table, bytes_view key, bytes_view value, milliseconds ttl = {}) {
    return answer(hf_insert(txn_, table.c_table(), key.c_bytes(), value.c_bytes(), detail::to_ms(ttl)));
  }
  status update(Table table, bytes_view key, bytes_view value, milliseconds ttl = {}) {
    return answer(hf_update(txn_, table.c_table(), key.c_bytes(), value.c_bytes(), detail::to_ms(ttl)));
  }
  status put_if_version(Table table, bytes_view key, bytes_view value, std::uint64_t version, milliseconds ttl = {}) {
    return answer(
        hf_put_if_version(txn_, table.c_table(), key.c_bytes(), value.c_bytes(), version, detail::to_ms(ttl)));
  }
  // HF_NOT_FOUND when the row is absent; erase() does not mind.
  status remove(Table table, bytes_view key) { return answer(hf_delete(txn_, table.c_table(), key.c_bytes())); }
  status erase(Table table, bytes_view key) { return answer(hf_erase(txn_, table.c_table(), key.c_bytes())); }

  // Ranges.
  [[nodiscard]] result<Cursor> cursor(Table table, const bounds& where = {}) {
    const hf_cursor_options options = where.c_options();
    hf_cursor* cursor = nullptr;
    const int code = hf_cursor_open(txn_, table.c_table(), &options, &cursor);
    if (code != HF_OK) return fail(code);
    return Cursor(txn_, cursor);
  }
  // for (auto [key, row] : txn.range(table, {.prefix = "p"})) ...
  [[nodiscard]] Rows range(Table table, const bounds& where = {}) { return Rows(cursor(table, where)); }
  [[nodiscard]] result<std::uint64_t> count(Table table, const bounds& where = {}) {
    const hf_cursor_options options = where.c_options();
    std::uint64_t rows = 0;
    const int code = hf_count(txn_, table.c_table(), &options, &rows);
    if (code != HF_OK) return fail(code);
    return rows;
  }

  // Savepoints.
  [[nodiscard]] result<std::uint64_t> savepoint() {
    std::uint64_t id = 0;
    const int code = hf_savepoint(txn_, &id);
    if (code != HF_OK) return fail(code);
    return id;
  }
  status rollback_to(std::uint64_t savepoint) { return answer(hf_rollback_to(txn_, savepoint)); }
  status release(std::uint64_t savepoint) { return answer(hf_release(txn_, savepoint)); }

  // The end. Inside of a transact() these answer HF_MISUSE.
  status commit() { return answer(hf_commit(txn_)); }
  [[nodiscard]] result<Ticket> commit_ticket() {
    std::uint64_t ticket = 0;
    const int code = hf_commit_ticket(txn_, &ticket);
    if (code != HF_OK) return fail(code);
    return Ticket(ticket);
  }
  void abort() noexcept { hf_abort(txn_); }
  status restart() { return answer(hf_restart(txn_)); }
  // From any thread.
  void cancel() noexcept { hf_cancel(txn_); }

  [[nodiscard]] std::uint64_t snapshot() const noexcept { return hf_txn_snapshot(txn_); }
  [[nodiscard]] std::uint64_t csn() const noexcept { return hf_txn_csn(txn_); }
  [[nodiscard]] hf_txn* c_txn() const noexcept { return txn_; }

 private:
  result<row> get_locked(int (*call)(hf_txn*, hf_table*, hf_bytes, const hf_lock_options*, hf_row*), Table table,
                         bytes_view key, const lock_options& options) {
    const hf_lock_options c_options = options.c_options();
    hf_row found;
    const int code = call(txn_, table.c_table(), key.c_bytes(), &c_options, &found);
    if (code != HF_OK) return fail(code);
    return row(found);
  }
  static result<std::optional<row>> or_nothing(result<row> found) {
    if (found) return std::optional<row>(*found);
    if (found.error().is(HF_NOT_FOUND)) return std::optional<row>();
    return found.error();
  }
  result<std::vector<locked_row>> get_many_locked(int (*call)(hf_txn*, hf_table*, const hf_bytes*, std::size_t,
                                                              const hf_lock_options*, hf_row*),
                                                  Table table, std::span<const bytes_view> keys,
                                                  const lock_options& options) {
    const hf_lock_options c_options = options.c_options();
    const std::vector<hf_bytes> wanted = c_keys(keys);
    std::vector<hf_row> found(keys.size());
    const int code = call(txn_, table.c_table(), wanted.data(), wanted.size(), &c_options, found.data());
    if (code != HF_OK) return fail(code);
    std::vector<locked_row> rows(found.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      rows[i].locked = found[i].code != HF_LOCKED;
      if (found[i].code == HF_OK) rows[i].row.emplace(found[i]);
    }
    return rows;
  }
  result<std::int64_t> counter(int (*call)(hf_txn*, hf_table*, hf_bytes, std::int64_t*), Table table, bytes_view key) {
    std::int64_t value = 0;
    const int code = call(txn_, table.c_table(), key.c_bytes(), &value);
    if (code != HF_OK) return fail(code);
    return value;
  }
  static std::vector<hf_bytes> c_keys(std::span<const bytes_view> keys) {
    std::vector<hf_bytes> wanted;
    wanted.reserve(keys.size());
    for (const bytes_view& key : keys) wanted.push_back(key.c_bytes());
    return wanted;
  }
  void end() noexcept {
    if (owned_) hf_txn_end(&txn_);
  }
  error fail(int code) const {
    return detail::make_error(code, [this](hf_error* info) { return hf_txn_error(txn_, info); });
  }
  status answer(int code) const { return code == HF_OK ? status() : status(fail(code)); }

  hf_txn* txn_ = nullptr;
  bool owned_ = true;
};

}  // namespace holdfast

#endif  // HOLDFAST_HPP_TRANSACTION_HPP
