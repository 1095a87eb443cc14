// SPDX-License-Identifier: Apache-2.0
// Part of holdfast.hpp: databases, and what begins at one.
#ifndef HOLDFAST_HPP_DATABASE_HPP
#define HOLDFAST_HPP_DATABASE_HPP

#include <cstdint>
#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "holdfast/holdfast.h"
#include "holdfast/hpp/error.hpp"
#include "holdfast/hpp/load.hpp"
#include "holdfast/hpp/locks.hpp"
#include "holdfast/hpp/operations.hpp"
#include "holdfast/hpp/options.hpp"
#include "holdfast/hpp/rows.hpp"
#include "holdfast/hpp/time.hpp"
#include "holdfast/hpp/transaction.hpp"

namespace holdfast {

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

  // Locks on names. `label` empty: the process's.
  [[nodiscard]] result<Session> open_session(const std::string& label = {}) {
    hf_session* session = nullptr;
    const int code = hf_session_open(db_, detail::to_label(label), &session);
    if (code != HF_OK) return fail(code);
    return Session(session);
  }
  // Everybody who holds or waits for a lock, in all processes, as of one moment.
  [[nodiscard]] result<std::vector<lock_info>> locks() {
    struct Picture {
      std::vector<lock_info> parties;
      std::exception_ptr thrown;
    } picture;
    const hf_lock_visit take = [](const hf_lock_info* info, void* context) -> int {
      auto& into = *static_cast<Picture*>(context);
#if defined(__cpp_exceptions)
      try {
        into.parties.emplace_back(*info);
      } catch (...) {
        into.thrown = std::current_exception();
        return HF_CANCELLED;
      }
#else
      into.parties.emplace_back(*info);
#endif
      return HF_OK;
    };
    const int code = hf_locks(db_, take, &picture);
    if (picture.thrown) std::rethrow_exception(picture.thrown);
    if (code != HF_OK) return fail(code);
    return std::move(picture.parties);
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

#endif  // HOLDFAST_HPP_DATABASE_HPP
