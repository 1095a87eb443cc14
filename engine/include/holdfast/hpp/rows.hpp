// SPDX-License-Identifier: Apache-2.0
// Part of holdfast.hpp: tables, rows as read, and ranges of them.
#ifndef HOLDFAST_HPP_ROWS_HPP
#define HOLDFAST_HPP_ROWS_HPP

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <ranges>
#include <string_view>
#include <utility>

#include "holdfast/holdfast.h"
#include "holdfast/hpp/bytes.hpp"
#include "holdfast/hpp/error.hpp"
#include "holdfast/hpp/locks.hpp"

namespace holdfast {

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

// A row to be locked, of Transaction::lock_many(). Borrows the key.
struct lock_request {
  Table table{};
  bytes_view key{};
  lock_mode mode = lock_mode::by_default;
};

// A row of a multi-get that locks.
struct locked_row {
  bool locked = false;                 // false: skipped, somebody holds it
  std::optional<holdfast::row> row{};  // empty: absent, or skipped
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

}  // namespace holdfast

#endif  // HOLDFAST_HPP_ROWS_HPP
