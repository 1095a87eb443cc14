// SPDX-License-Identifier: Apache-2.0
// Holdfast for C++20: a thin, header-only face of holdfast/holdfast.h, which is the manual. Everything here is inline
// and calls the C interface only; a program built with it needs no C++ symbol of the library.
//
//   auto db = holdfast::Database::open("shop");                     // result<Database>
//   auto stock = db->ensure_table("stock");                         // result<Table>
//   auto sold = db->transact([&](holdfast::Transaction& txn) -> holdfast::status {
//     auto row = txn.get(*stock, "pear");
//     if (!row) return row.error();
//     return txn.put(*stock, "pear", one_less(row->value));
//   });
//   if (!sold) std::cerr << sold.error().message() << '\n';
//
// Errors   Functions answer result<T> or status (a result without value). Nothing throws but value() of a result that
// has
//          none, in programs built with exceptions; and std::bad_alloc, where the standard library meets it.
// Handles  Database, Transaction, Cursor, Rows and Load own theirs, move, and end them in their destructors; a
//          destructor rolls back what was not committed. Table is a plain value, good for as long as its Database. End
//          what belongs to a database before it: one whose transactions are still there does not close.
// Bytes    What goes in is a bytes_view, made from strings, literals and spans. What comes out is a std::string_view
//          into the engine's memory, valid until the transaction ends.
// Threads  As in C: Database and Table for any number of threads, everything else for one at a time.
#ifndef HOLDFAST_HOLDFAST_HPP
#define HOLDFAST_HOLDFAST_HPP

#include <algorithm>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <functional>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "holdfast/holdfast.h"

namespace holdfast {

using milliseconds = std::chrono::milliseconds;
using microseconds = std::chrono::microseconds;

// No limit. Zero milliseconds mean the default wherever an option is meant.
inline constexpr milliseconds forever = milliseconds::max();

// --- bytes ----------------------------------------------------------------------------------------------------------

// Borrowed bytes, as an argument. A literal is taken without its NUL.
class bytes_view {
 public:
  constexpr bytes_view() noexcept = default;
  constexpr bytes_view(std::string_view text) noexcept : data_(text.data()), size_(text.size()) {}
  constexpr bytes_view(const char* text) noexcept : bytes_view(std::string_view(text)) {}
  bytes_view(const std::string& text) noexcept : data_(text.data()), size_(text.size()) {}
  template <typename Byte, std::size_t Extent>
  requires(sizeof(Byte) == 1 &&
           std::is_trivially_copyable_v<Byte>) constexpr bytes_view(std::span<Byte, Extent> bytes) noexcept
      : data_(bytes.data()), size_(bytes.size()) {}

  constexpr const void* data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr hf_bytes c_bytes() const noexcept { return {data_, size_}; }

 private:
  const void* data_ = nullptr;
  std::size_t size_ = 0;
};

// The bytes of a number or a plain struct, in this machine's byte order: fine as a value, out of order as a key.
template <typename T>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] bytes_view bytes_of(const T& object) noexcept {
  return std::span(reinterpret_cast<const std::byte*>(&object), sizeof object);
}

[[nodiscard]] inline std::string_view to_string_view(hf_bytes bytes) noexcept {
  return {static_cast<const char*>(bytes.data), bytes.size};
}

// --- errors ---------------------------------------------------------------------------------------------------------

// A code, and where the handle knew more than the code, its detail. Copies share the detail.
class [[nodiscard]] error {
 public:
  error(int code) noexcept : code_(code) {}
  explicit error(const hf_error& detail) : code_(detail.code), detail_(std::make_shared<const hf_error>(detail)) {}
  // An error of the caller's own, to be answered by the function of a transact(). Codes below 1000 are Holdfast's.
  error(int code, std::string_view message) : code_(code) {
    hf_error own = HF_ERROR_INIT;
    own.code = code;
    std::memcpy(own.message, message.data(), std::min(message.size(), sizeof own.message - 1));
    detail_ = std::make_shared<const hf_error>(own);
  }

  [[nodiscard]] int code() const noexcept { return code_; }
  [[nodiscard]] const char* name() const noexcept { return hf_code_name(code_); }
  // Of the detail, or the text of the code.
  [[nodiscard]] std::string message() const { return detail_ ? detail_->message : hf_code_text(code_); }
  // Null when there is nothing to tell beyond the code.
  [[nodiscard]] const hf_error* detail() const noexcept { return detail_.get(); }

  [[nodiscard]] bool is(int code) const noexcept { return code_ == code; }
  [[nodiscard]] bool is_retryable() const noexcept { return hf_is_retryable(code_) != 0; }
  [[nodiscard]] bool is_not_committed() const noexcept { return hf_is_not_committed(code_) != 0; }
  [[nodiscard]] bool is_maybe_committed() const noexcept { return hf_is_maybe_committed(code_) != 0; }

 private:
  int code_;
  std::shared_ptr<const hf_error> detail_;
};

// Thrown by value() only.
class exception : public std::exception {
 public:
  explicit exception(holdfast::error why)
      : why_(std::move(why)), message_(std::string(why_.name()) + ": " + why_.message()) {}
  [[nodiscard]] const char* what() const noexcept override { return message_.c_str(); }
  [[nodiscard]] const holdfast::error& error() const noexcept { return why_; }

 private:
  holdfast::error why_;
  std::string message_;
};

namespace detail {

[[noreturn]] inline void throw_or_abort([[maybe_unused]] const error& why) {
#if defined(__cpp_exceptions)
  throw exception(why);
#else
  std::abort();
#endif
}

}  // namespace detail

// A T, or the error why there is none. T of its own: `result<T> r = t;` and `result<T> r = error(...);`.
template <typename T>
class [[nodiscard]] result {
 public:
  using value_type = T;
  result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  result(holdfast::error why) noexcept : state_(std::in_place_index<1>, std::move(why)) {}

  [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }
  // HF_OK when there is a value.
  [[nodiscard]] int code() const noexcept { return has_value() ? static_cast<int>(HF_OK) : error().code(); }
  // Requires: !has_value().
  [[nodiscard]] const holdfast::error& error() const noexcept { return *std::get_if<1>(&state_); }

  // Require: has_value().
  T& operator*() & noexcept { return *std::get_if<0>(&state_); }
  const T& operator*() const& noexcept { return *std::get_if<0>(&state_); }
  T&& operator*() && noexcept { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() noexcept { return std::get_if<0>(&state_); }
  const T* operator->() const noexcept { return std::get_if<0>(&state_); }

  // Throws holdfast::exception when there is none; aborts in programs built without exceptions.
  T& value() & { return has_value() ? **this : (detail::throw_or_abort(error()), **this); }
  const T& value() const& { return has_value() ? **this : (detail::throw_or_abort(error()), **this); }
  T&& value() && { return std::move(value()); }
  template <typename U>
  [[nodiscard]] T value_or(U&& otherwise) const& {
    return has_value() ? **this : static_cast<T>(std::forward<U>(otherwise));
  }

 private:
  std::variant<T, holdfast::error> state_;
};

template <>
class [[nodiscard]] result<void> {
 public:
  using value_type = void;
  result() noexcept = default;
  result(holdfast::error why) noexcept : error_(std::move(why)) {}

  [[nodiscard]] bool has_value() const noexcept { return error_.code() == HF_OK; }
  explicit operator bool() const noexcept { return has_value(); }
  [[nodiscard]] int code() const noexcept { return error_.code(); }
  [[nodiscard]] const holdfast::error& error() const noexcept { return error_; }
  void value() const {
    if (!has_value()) detail::throw_or_abort(error_);
  }

 private:
  holdfast::error error_ = HF_OK;
};

using status = result<void>;

namespace detail {

// The error of a call that answered `code`, with the detail that `ask` (hf_error* -> int) gets from the handle. What is
// said by the code alone, as "no such row" in a loop of look-ups, is not asked for.
template <typename Ask>
error make_error(int code, Ask&& ask) {
  if (code == HF_NOT_FOUND || code == HF_END) return code;
  hf_error info = HF_ERROR_INIT;
  if (ask(&info) != HF_OK || info.code != code) return code;
  return error(info);
}

inline std::uint64_t to_ms(milliseconds time) noexcept {
  if (time == forever) return HF_FOREVER;
  return time.count() > 0 ? static_cast<std::uint64_t>(time.count()) : 0;
}
inline std::uint64_t to_us(microseconds time) noexcept {
  return time.count() > 0 ? static_cast<std::uint64_t>(time.count()) : 0;
}
inline std::uint32_t flag(bool is_set, std::uint32_t bit) noexcept { return is_set ? bit : 0; }
inline const char* to_label(const std::string& label) noexcept { return label.empty() ? nullptr : label.c_str(); }

}  // namespace detail

// --- options: as in C, where they are explained ---------------------------------------------------------------------

enum class isolation : std::uint32_t {
  by_default = HF_ISOLATION_DEFAULT,
  serializable = HF_SERIALIZABLE,
  snapshot = HF_SNAPSHOT,
  read_committed = HF_READ_COMMITTED
};

enum class durability : std::uint32_t {
  by_default = HF_DURABILITY_DEFAULT,
  durable = HF_DURABLE,
  relaxed = HF_RELAXED
};

struct open_options {
  std::string label{};
  std::string memory_directory{};
  bool create = true;
  bool background_thread = true;
  std::uint64_t map_size = 0;
  std::uint64_t overlay_bytes_max = 0;
  std::uint64_t log_segment_size_max = 0;
  std::uint64_t txn_bytes_max = 0;
  milliseconds open_timeout{0};
  milliseconds overload_timeout{0};
  milliseconds flush_interval{0};
  milliseconds merge_interval{0};
  milliseconds sweep_interval{0};
  milliseconds txn_deadline{0};
  milliseconds txn_idle{0};
  holdfast::isolation isolation = isolation::by_default;
  holdfast::durability durability = durability::by_default;
  std::uint32_t tables_max = 0;

  // Borrows the strings.
  [[nodiscard]] hf_open_options c_options() const noexcept {
    hf_open_options c = HF_OPEN_OPTIONS_INIT;
    c.flags = detail::flag(!create, HF_OPEN_NO_CREATE) | detail::flag(!background_thread, HF_OPEN_NO_THREAD);
    c.label = detail::to_label(label);
    c.memory_directory = detail::to_label(memory_directory);
    c.map_size = map_size;
    c.overlay_bytes_max = overlay_bytes_max;
    c.log_segment_size_max = log_segment_size_max;
    c.txn_bytes_max = txn_bytes_max;
    c.open_timeout_ms = detail::to_ms(open_timeout);
    c.overload_timeout_ms = detail::to_ms(overload_timeout);
    c.flush_interval_ms = detail::to_ms(flush_interval);
    c.merge_interval_ms = detail::to_ms(merge_interval);
    c.sweep_interval_ms = detail::to_ms(sweep_interval);
    c.txn_deadline_ms = detail::to_ms(txn_deadline);
    c.txn_idle_ms = detail::to_ms(txn_idle);
    c.isolation = static_cast<std::uint32_t>(isolation);
    c.durability = static_cast<std::uint32_t>(durability);
    c.tables_max = tables_max;
    return c;
  }
};

struct txn_options {
  bool read_only = false;
  bool base_only = false;
  bool read_durable = false;
  holdfast::isolation isolation = isolation::by_default;
  holdfast::durability durability = durability::by_default;
  milliseconds deadline{0};
  milliseconds idle{0};
  std::string label{};

  // Borrows the label.
  [[nodiscard]] hf_txn_options c_options() const noexcept {
    hf_txn_options c = HF_TXN_OPTIONS_INIT;
    c.flags = detail::flag(read_only, HF_TXN_READ_ONLY) | detail::flag(base_only, HF_TXN_BASE_ONLY) |
              detail::flag(read_durable, HF_TXN_READ_DURABLE);
    c.isolation = static_cast<std::uint32_t>(isolation);
    c.durability = static_cast<std::uint32_t>(durability);
    c.deadline_ms = detail::to_ms(deadline);
    c.idle_ms = detail::to_ms(idle);
    c.label = detail::to_label(label);
    return c;
  }
};

struct transact_options {
  std::uint32_t attempts_max = 0;
  milliseconds total_timeout{0};
  microseconds backoff_min{0};
  microseconds backoff_max{0};
  txn_options txn{};

  // Borrows the label.
  [[nodiscard]] hf_transact_options c_options() const noexcept {
    hf_transact_options c = HF_TRANSACT_OPTIONS_INIT;
    c.attempts_max = attempts_max;
    c.total_timeout_ms = detail::to_ms(total_timeout);
    c.backoff_min_us = detail::to_us(backoff_min);
    c.backoff_max_us = detail::to_us(backoff_max);
    c.txn = txn.c_options();
    return c;
  }
};

// Which rows of a table, and in which order. Borrows its bytes.
struct bounds {
  bytes_view low{};   // empty: from the first row
  bytes_view high{};  // empty: to the last row
  bytes_view prefix{};
  bool low_exclusive = false;
  bool high_inclusive = false;
  bool reverse = false;
  std::uint64_t skip = 0;
  std::uint64_t limit = 0;  // 0 = all

  [[nodiscard]] hf_cursor_options c_options() const noexcept {
    hf_cursor_options c = HF_CURSOR_OPTIONS_INIT;
    c.flags = detail::flag(reverse, HF_CURSOR_REVERSE) | detail::flag(low_exclusive, HF_CURSOR_LOW_EXCLUSIVE) |
              detail::flag(high_inclusive, HF_CURSOR_HIGH_INCLUSIVE);
    c.low = low.c_bytes();
    c.high = high.c_bytes();
    c.prefix = prefix.c_bytes();
    c.skip = skip;
    c.limit = limit;
    return c;
  }
};

// --- rows -----------------------------------------------------------------------------------------------------------

// A row as read. The bytes are valid until the transaction ends.
struct row {
  std::string_view value;
  std::uint64_t version = 0;  // csn of the commit that wrote it; 0: this transaction did
  std::uint64_t expires_ms = 0;

  row() noexcept = default;
  row(const hf_row& c) noexcept : value(to_string_view(c.value)), version(c.version), expires_ms(c.expires_ms) {}
};

struct entry {
  std::string_view key;
  holdfast::row row;
};

// A table of a Database; valid as long as that is open.
class Table {
 public:
  Table() noexcept = default;
  explicit Table(hf_table* table) noexcept : table_(table) {}
  [[nodiscard]] hf_table* c_table() const noexcept { return table_; }

 private:
  hf_table* table_ = nullptr;
};

// Names a commit whose durability can be waited for: Database::wait().
class Ticket {
 public:
  Ticket() noexcept = default;
  explicit Ticket(std::uint64_t csn) noexcept : csn_(csn) {}
  [[nodiscard]] std::uint64_t csn() const noexcept { return csn_; }

 private:
  std::uint64_t csn_ = 0;
};

// --- cursors --------------------------------------------------------------------------------------------------------

// A range, walked by hand. Its Transaction has to outlive it.
class Cursor {
 public:
  Cursor() noexcept = default;
  Cursor(hf_txn* txn, hf_cursor* cursor) noexcept : txn_(txn), cursor_(cursor) {}
  Cursor(Cursor&& other) noexcept : txn_(other.txn_), cursor_(std::exchange(other.cursor_, nullptr)) {}
  Cursor& operator=(Cursor&& other) noexcept {
    if (this != &other) {
      hf_cursor_close(&cursor_);
      txn_ = other.txn_;
      cursor_ = std::exchange(other.cursor_, nullptr);
    }
    return *this;
  }
  ~Cursor() { hf_cursor_close(&cursor_); }

  // The next row, or HF_END after the last.
  [[nodiscard]] result<entry> next() {
    hf_bytes key;
    hf_row found;
    const int code = hf_cursor_next(cursor_, &key, &found);
    if (code != HF_OK) return fail(code);
    return entry{to_string_view(key), row(found)};
  }
  // The next row is the first at or after `key` in the cursor's direction.
  status seek(bytes_view key) {
    const int code = hf_cursor_seek(cursor_, key.c_bytes());
    return code == HF_OK ? status() : fail(code);
  }
  [[nodiscard]] hf_cursor* c_cursor() const noexcept { return cursor_; }

 private:
  error fail(int code) const {
    return detail::make_error(code, [this](hf_error* info) { return hf_txn_error(txn_, info); });
  }

  hf_txn* txn_ = nullptr;
  hf_cursor* cursor_ = nullptr;
};

// A range as a C++ input range: begin() once. An error ends the loop; status() tells, after it, whether one did.
class Rows : public std::ranges::view_base {
 public:
  Rows() noexcept = default;
  explicit Rows(result<Cursor> cursor) {
    if (cursor) {
      cursor_ = std::move(*cursor);
    } else {
      status_ = cursor.error();
    }
  }

  class iterator {
   public:
    using iterator_concept = std::input_iterator_tag;
    using value_type = entry;
    using difference_type = std::ptrdiff_t;

    iterator() noexcept = default;
    explicit iterator(Rows& rows) noexcept : rows_(&rows) {}
    const entry& operator*() const noexcept { return rows_->current_; }
    const entry* operator->() const noexcept { return &rows_->current_; }
    iterator& operator++() {
      rows_->advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(std::default_sentinel_t) const noexcept { return rows_->ended_; }

   private:
    Rows* rows_ = nullptr;
  };

  // Moves to the first row.
  [[nodiscard]] iterator begin() {
    if (status_) advance();
    return iterator(*this);
  }
  [[nodiscard]] std::default_sentinel_t end() const noexcept { return {}; }

  // Whether all went well so far.
  [[nodiscard]] const holdfast::status& status() const noexcept { return status_; }

 private:
  void advance() {
    result<entry> next = cursor_.next();
    ended_ = !next;
    if (next) {
      current_ = *next;
    } else if (!next.error().is(HF_END)) {
      status_ = next.error();
    }
  }

  Cursor cursor_;
  holdfast::status status_;
  entry current_;
  bool ended_ = true;
};

// --- transactions ---------------------------------------------------------------------------------------------------

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
    std::vector<hf_bytes> wanted;
    wanted.reserve(keys.size());
    for (const bytes_view& key : keys) wanted.push_back(key.c_bytes());
    std::vector<hf_row> found(keys.size());
    const int code = hf_get_many(txn_, table.c_table(), wanted.data(), wanted.size(), found.data());
    if (code != HF_OK) return fail(code);
    std::vector<std::optional<row>> rows(found.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i].code == HF_OK) rows[i].emplace(found[i]);
    }
    return rows;
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

// --- whole transactions in one call ---------------------------------------------------------------------------------

// Checks and operations, to be run as one transaction by Database::execute(). Borrows every key, value and buffer.
class Operations {
 public:
  Operations& get(Table table, bytes_view key, std::span<std::byte> buffer = {}) {
    hf_operation& operation = add(HF_OP_GET, table, key);
    operation.buffer = buffer.data();
    operation.capacity = buffer.size();
    return *this;
  }
  Operations& check_exists(Table table, bytes_view key) { return plain(HF_OP_CHECK_EXISTS, table, key); }
  Operations& check_absent(Table table, bytes_view key) { return plain(HF_OP_CHECK_ABSENT, table, key); }
  Operations& check_version(Table table, bytes_view key, std::uint64_t version) {
    add(HF_OP_CHECK_VERSION, table, key).version = version;
    return *this;
  }
  Operations& check_value(Table table, bytes_view key, bytes_view value) {
    add(HF_OP_CHECK_VALUE, table, key).value = value.c_bytes();
    return *this;
  }
  Operations& put(Table table, bytes_view key, bytes_view value, milliseconds ttl = {}) {
    return write(HF_OP_PUT, table, key, value, ttl);
  }
  Operations& insert(Table table, bytes_view key, bytes_view value, milliseconds ttl = {}) {
    return write(HF_OP_INSERT, table, key, value, ttl);
  }
  Operations& update(Table table, bytes_view key, bytes_view value, milliseconds ttl = {}) {
    return write(HF_OP_UPDATE, table, key, value, ttl);
  }
  Operations& put_if_version(Table table, bytes_view key, bytes_view value, std::uint64_t version,
                             milliseconds ttl = {}) {
    write(HF_OP_PUT_IF_VERSION, table, key, value, ttl);
    list_.back().version = version;
    return *this;
  }
  Operations& remove(Table table, bytes_view key) { return plain(HF_OP_DELETE, table, key); }
  Operations& erase(Table table, bytes_view key) { return plain(HF_OP_ERASE, table, key); }

  [[nodiscard]] std::size_t size() const noexcept { return list_.size(); }
  [[nodiscard]] const hf_operation* data() const noexcept { return list_.data(); }
  void clear() noexcept { list_.clear(); }

 private:
  hf_operation& add(std::uint32_t kind, Table table, bytes_view key) {
    hf_operation& operation = list_.emplace_back();
    operation.kind = kind;
    operation.table = table.c_table();
    operation.key = key.c_bytes();
    return operation;
  }
  Operations& plain(std::uint32_t kind, Table table, bytes_view key) {
    add(kind, table, key);
    return *this;
  }
  Operations& write(std::uint32_t kind, Table table, bytes_view key, bytes_view value, milliseconds ttl) {
    hf_operation& operation = add(kind, table, key);
    operation.value = value.c_bytes();
    operation.ttl_ms = detail::to_ms(ttl);
    return *this;
  }

  std::vector<hf_operation> list_;
};

// How a transact() or execute() went, also when it failed.
struct transact_report {
  std::uint32_t attempts = 0;
  std::uint64_t csn = 0;  // of the commit; 0 when nothing was written
  microseconds elapsed{0};
};

// --- bulk load ------------------------------------------------------------------------------------------------------

class Load {
 public:
  Load() noexcept = default;
  explicit Load(hf_load* load) noexcept : load_(load) {}
  Load(Load&& other) noexcept : load_(std::exchange(other.load_, nullptr)) {}
  Load& operator=(Load&& other) noexcept {
    if (this != &other) {
      hf_load_end(&load_);
      load_ = std::exchange(other.load_, nullptr);
    }
    return *this;
  }
  ~Load() { hf_load_end(&load_); }

  // Keys strictly ascending.
  status add(bytes_view key, bytes_view value, milliseconds ttl = {}) {
    return answer(hf_load_add(load_, key.c_bytes(), value.c_bytes(), detail::to_ms(ttl)));
  }
  status finish() { return answer(hf_load_finish(load_)); }
  [[nodiscard]] hf_load* c_load() const noexcept { return load_; }

 private:
  status answer(int code) const {
    if (code == HF_OK) return {};
    return detail::make_error(code, [this](hf_error* info) { return hf_load_error(load_, info); });
  }

  hf_load* load_ = nullptr;
};

// --- the database ---------------------------------------------------------------------------------------------------

namespace detail {

template <typename R>
struct is_result : std::false_type {};
template <typename T>
struct is_result<result<T>> : std::true_type {};

// What passes through C: the function, its last answer, and an exception that C must not see.
template <typename Fn, typename Answer>
struct transact_call {
  Fn& fn;
  std::optional<Answer> answer;
  std::exception_ptr thrown;

  static int run(hf_txn* c_txn, void* context) {
    auto& call = *static_cast<transact_call*>(context);
#if defined(__cpp_exceptions)
    try {
      return call.invoke(c_txn);
    } catch (...) {
      call.thrown = std::current_exception();
      return HF_CANCELLED;  // aborts and is not tried again
    }
#else
    return call.invoke(c_txn);
#endif
  }

  int invoke(hf_txn* c_txn) {
    Transaction txn(c_txn, /*owned=*/false);
    answer.reset();
    answer.emplace(std::invoke(fn, txn));
    return answer->code();
  }
};

inline void fill_report(const hf_transact_result& from, transact_report* to) noexcept {
  if (to != nullptr) *to = {from.attempts, from.csn, microseconds(static_cast<std::int64_t>(from.elapsed_us))};
}

}  // namespace detail

class Database {
 public:
  Database() noexcept = default;
  explicit Database(hf_db* db) noexcept : db_(db) {}
  Database(Database&& other) noexcept : db_(std::exchange(other.db_, nullptr)) {}
  Database& operator=(Database&& other) noexcept {
    if (this != &other) {
      hf_close(&db_);
      db_ = std::exchange(other.db_, nullptr);
    }
    return *this;
  }
  ~Database() { hf_close(&db_); }

  [[nodiscard]] static result<Database> open(const std::string& path, const open_options& options = {}) {
    const hf_open_options c_options = options.c_options();
    hf_error info = HF_ERROR_INIT;
    hf_db* db = nullptr;
    const int code = hf_open(path.c_str(), &c_options, &db, &info);
    if (code != HF_OK) return info.code == code ? error(info) : error(code);
    return Database(db);
  }
  // Closes now, with an answer. HF_MISUSE: something of it is still there, and it stays open.
  status close() { return answer(hf_close(&db_)); }

  // Tables.
  [[nodiscard]] result<Table> create_table(const std::string& name) { return table(hf_table_create, name); }
  [[nodiscard]] result<Table> open_table(const std::string& name) { return table(hf_table_open, name); }
  [[nodiscard]] result<Table> ensure_table(const std::string& name) { return table(hf_table_ensure, name); }
  status drop_table(const std::string& name) { return answer(hf_table_drop(db_, name.c_str())); }
  status rename_table(const std::string& from, const std::string& to) {
    return answer(hf_table_rename(db_, from.c_str(), to.c_str()));
  }
  [[nodiscard]] result<std::vector<std::string>> tables() {
    std::vector<std::string> names;
    const int code = hf_table_list(
        db_,
        [](const char* name, void* context) -> int {
          static_cast<std::vector<std::string>*>(context)->emplace_back(name);
          return 0;
        },
        &names);
    if (code != HF_OK) return fail(code);
    return names;
  }

  // Transactions, by hand.
  [[nodiscard]] result<Transaction> begin(const txn_options& options = {}) {
    const hf_txn_options c_options = options.c_options();
    hf_txn* txn = nullptr;
    const int code = hf_begin(db_, &c_options, &txn);
    if (code != HF_OK) return fail(code);
    return Transaction(txn);
  }

  // Runs `fn` (Transaction& -> status, or -> result<T>) as a transaction and commits; runs it again after a retryable
  // error. Answers what the committed run answered, or why there is none. An error of the function's own ends it and
  // is the answer; so does an exception, which goes on to the caller.
  template <typename Fn>
  requires std::invocable<Fn&, Transaction&>
  [[nodiscard]] auto transact(Fn&& fn, const transact_options& options = {}, transact_report* report = nullptr)
      -> std::invoke_result_t<Fn&, Transaction&> {
    using Answer = std::invoke_result_t<Fn&, Transaction&>;
    static_assert(detail::is_result<Answer>::value, "the function answers holdfast::status or holdfast::result<T>");
    using Call = detail::transact_call<std::remove_reference_t<Fn>, Answer>;
    Call call{fn, std::nullopt, nullptr};
    const hf_transact_options c_options = options.c_options();
    hf_transact_result c_result = {};
    c_result.size = sizeof c_result;
    const int code = hf_transact(db_, &c_options, &Call::run, &call, &c_result);
    detail::fill_report(c_result, report);
    if (call.thrown) std::rethrow_exception(call.thrown);
    if (code == HF_OK) return std::move(*call.answer);
    // The function's own error says more than its number.
    if (call.answer && !call.answer->has_value() && call.answer->code() == code &&
        call.answer->error().detail() != nullptr) {
      return std::move(*call.answer);
    }
    return c_result.error.code == code ? error(c_result.error) : error(code);
  }

  // Runs the operations as one transaction. One result per operation; when one fails its code is the error's, and
  // `results`, when not null, tells which it was.
  [[nodiscard]] result<std::vector<hf_operation_result>> execute(const Operations& operations,
                                                                 const transact_options& options = {},
                                                                 transact_report* report = nullptr,
                                                                 std::vector<hf_operation_result>* results = nullptr) {
    const hf_transact_options c_options = options.c_options();
    hf_transact_result c_result = {};
    c_result.size = sizeof c_result;
    std::vector<hf_operation_result> answers(operations.size());
    const int code = hf_execute(db_, &c_options, operations.data(), operations.size(), answers.data(), &c_result);
    detail::fill_report(c_result, report);
    if (results != nullptr) *results = answers;
    if (code != HF_OK) return c_result.error.code == code ? error(c_result.error) : error(code);
    return answers;
  }

  // Durability. wait() answers HF_TIMEOUT when the time is over.
  status wait(Ticket ticket, milliseconds timeout = forever) {
    return answer(hf_ticket_wait(db_, ticket.csn(), detail::to_ms(timeout)));
  }
  [[nodiscard]] bool is_durable(Ticket ticket) { return hf_ticket_wait(db_, ticket.csn(), 0) == HF_OK; }
  status sync(milliseconds timeout = forever) { return answer(hf_sync(db_, detail::to_ms(timeout))); }
  // Owned by the database. See hf_event_fd().
  [[nodiscard]] result<int> event_fd() {
    int fd = -1;
    const int code = hf_event_fd(db_, &fd);
    if (code != HF_OK) return fail(code);
    return fd;
  }

  // Bulk load, upkeep, figures.
  [[nodiscard]] result<Load> load(Table table) {
    hf_load* load = nullptr;
    const int code = hf_load_begin(db_, table.c_table(), &load);
    if (code != HF_OK) return fail(code);
    return Load(load);
  }
  status maintain(bool merge_all = false) {
    return answer(hf_maintain(db_, merge_all ? HF_MAINTAIN_MERGE_ALL : HF_MAINTAIN_STEP));
  }
  [[nodiscard]] result<hf_stats> stats() {
    hf_stats figures = {};
    figures.size = sizeof figures;
    const int code = hf_stat(db_, &figures);
    if (code != HF_OK) return fail(code);
    return figures;
  }
  [[nodiscard]] result<hf_table_stats> stats(Table table) {
    hf_table_stats figures = {};
    figures.size = sizeof figures;
    const int code = hf_table_stat(db_, table.c_table(), &figures);
    if (code != HF_OK) return fail(code);
    return figures;
  }

  [[nodiscard]] hf_db* c_db() const noexcept { return db_; }

 private:
  error fail(int code) const {
    return detail::make_error(code, [this](hf_error* info) { return hf_db_error(db_, info); });
  }
  status answer(int code) const { return code == HF_OK ? status() : status(fail(code)); }

  result<Table> table(int (*call)(hf_db*, const char*, hf_table**), const std::string& name) {
    hf_table* table = nullptr;
    const int code = call(db_, name.c_str(), &table);
    if (code != HF_OK) return fail(code);
    return Table(table);
  }

  hf_db* db_ = nullptr;
};

}  // namespace holdfast

#endif  // HOLDFAST_HOLDFAST_HPP
