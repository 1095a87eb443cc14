// SPDX-License-Identifier: Apache-2.0
#include <holdfast/admin.h>
#include <holdfast/holdfast.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <type_traits>

#include "torture/flips.h"

namespace torture::flips {
namespace {

constexpr unsigned kHangSeconds = 30;

// `body` fills a Result in a child; what it has filled in so far counts if it dies.
template <typename Result, typename Body>
Result in_child(Body body) {
  static_assert(std::is_trivially_copyable_v<Result>);
  int pipes[2];
  if (pipe(pipes) != 0) std::abort();
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(kHangSeconds);
    // What a damaged file makes of the engine is our business, not that of who reads the terminal.
    (void)!freopen("/dev/null", "w", stderr);
    Result result;
    body(result);
    result.finished = true;
    if (write(pipes[1], &result, sizeof result) != sizeof result) _exit(1);
    _exit(0);
  }
  close(pipes[1]);
  Result result;
  char* next = reinterpret_cast<char*>(&result);
  std::size_t left = sizeof result;
  for (ssize_t got; left > 0 && (got = read(pipes[0], next, left)) > 0;) {
    next += got;
    left -= static_cast<std::size_t>(got);
  }
  close(pipes[0]);
  if (left > 0) result = Result();
  int status = 0;
  waitpid(pid, &status, 0);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  return result;
}

int note_finding(const hf_finding* finding, void* context) {
  Checked& checked = *static_cast<Checked*>(context);
  const bool is_note = finding->code == HF_OK;
  const bool is_first = checked.findings == 0 && (!is_note || checked.notes == 0);
  ++(is_note ? checked.notes : checked.findings);
  if (is_first) {
    std::snprintf(checked.first, sizeof checked.first, "%s at %lld: %s", finding->file,
                  static_cast<long long>(finding->offset), finding->text);
  }
  return 0;
}

class Reader {
 public:
  Reader(const Model& model, Reading& reading) : model_(model), reading_(reading) {}

  void run(const std::string& path) {
    hf_open_options options = HF_OPEN_OPTIONS_INIT;
    options.flags = HF_OPEN_NO_THREAD | HF_OPEN_VERIFY_READS | HF_OPEN_NO_CREATE;
    options.map_size = std::uint64_t{1} << 32;
    hf_db* db = nullptr;
    reading_.open_code = hf_open(path.c_str(), &options, &db, nullptr);
    if (reading_.open_code != HF_OK) return;
    hf_txn_options read_only = HF_TXN_OPTIONS_INIT;
    read_only.flags = HF_TXN_READ_ONLY;
    if (hf_begin(db, &read_only, &txn_) != HF_OK) {
      ++reading_.refused;
      return;
    }
    expected_ = &model_.full;
    find_end(db);
    for (const auto& [name, rows] : *expected_) {
      hf_table* table = nullptr;
      const int code = hf_table_open(db, name.c_str(), &table);
      if (code == HF_NO_TABLE) {
        note(reading_.missing, name + ": no such table");
      } else if (code != HF_OK) {
        ++reading_.refused;
      } else {
        read_table(name, table, rows);
      }
    }
    // Not closed: what closing would do to a damaged database is no part of this.
  }

 private:
  void note(std::uint64_t& count, const std::string& what) {
    if (++count == 1) std::snprintf(reading_.first, sizeof reading_.first, "%s", what.c_str());
  }

  // Recovery may have cut commits off at the end: then all is as of the last that is there.
  void find_end(hf_db* db) {
    hf_table* table = nullptr;
    hf_row row{};
    if (hf_table_open(db, "tail", &table) != HF_OK || hf_get(txn_, table, {"serial", 6}, &row) != HF_OK) return;
    const std::string text(static_cast<const char*>(row.value.data), row.value.size);
    const std::uint64_t number = std::strtoull(text.c_str(), nullptr, 10);
    if (number >= model_.after.size() || text != std::to_string(number)) return;
    reading_.lost_commits = model_.tail_commits() - number;
    expected_ = &model_.after[number];
  }

  void compare(const std::string& name, const std::string& key, const hf_row& row, const Rows& rows) {
    const std::string value(static_cast<const char*>(row.value.data), row.value.size);
    const auto found = rows.find(key);
    if (found != rows.end() && found->second == value) {
      ++reading_.right;
      return;
    }
    for (const State& earlier : model_.after) {
      const auto table = earlier.find(name);
      if (table == earlier.end()) continue;
      const auto old = table->second.find(key);
      if (old != table->second.end() && old->second == value) return note(reading_.stale, name + "/" + key);
    }
    note(reading_.wrong, name + "/" + key + ": a value of " + std::to_string(value.size()) + " bytes");
  }

  void read_table(const std::string& name, hf_table* table, const Rows& rows) {
    for (const auto& [key, value] : rows) {
      hf_row row{};
      const int code = hf_get(txn_, table, {key.data(), key.size()}, &row);
      if (code == HF_OK) {
        compare(name, key, row, rows);
      } else if (code == HF_NOT_FOUND) {
        note(reading_.missing, name + "/" + key);
      } else {
        ++reading_.refused;
      }
    }
    hf_cursor* cursor = nullptr;
    if (hf_cursor_open(txn_, table, nullptr, &cursor) != HF_OK) {
      ++reading_.refused;
      return;
    }
    std::size_t seen = 0;
    int code = HF_OK;
    while (seen <= rows.size()) {
      hf_bytes key{};
      hf_row row{};
      code = hf_cursor_next(cursor, &key, &row);
      if (code != HF_OK) break;
      ++seen;
      compare(name, std::string(static_cast<const char*>(key.data), key.size), row, rows);
    }
    if (code != HF_END && code != HF_OK) ++reading_.refused;
    if (code == HF_END && seen < rows.size()) note(reading_.missing, name + ": rows of a scan");
    hf_cursor_close(&cursor);
  }

  const Model& model_;
  Reading& reading_;
  const State* expected_ = nullptr;
  hf_txn* txn_ = nullptr;
};

}  // namespace

Checked run_check(const std::string& path) {
  return in_child<Checked>([&](Checked& checked) {
    hf_check_options options = HF_CHECK_OPTIONS_INIT;
    options.visit = note_finding;
    options.visit_context = &checked;
    hf_check_result result{};
    result.size = sizeof result;
    hf_error error = HF_ERROR_INIT;
    checked.code = hf_check(path.c_str(), &options, &result, &error);
    checked.overlay_versions = result.overlay_versions;
    checked.rows = result.rows;
    checked.log_records = result.log_records;
    if (checked.first[0] == 0) std::snprintf(checked.first, sizeof checked.first, "%s", error.message);
  });
}

Reading run_reads(const std::string& path, const Model& model) {
  return in_child<Reading>([&](Reading& reading) { Reader(model, reading).run(path); });
}

}  // namespace torture::flips
