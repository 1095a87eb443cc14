// SPDX-License-Identifier: Apache-2.0
#include "torture/power_history.h"

#include <cstring>

namespace torture::power {
namespace {

void put_text(std::string* out, std::string_view text) {
  const auto size = static_cast<std::uint16_t>(text.size());
  out->append(reinterpret_cast<const char*>(&size), sizeof size);
  out->append(text);
}

template <typename T>
T take(std::string_view* bytes) {
  T value;
  std::memcpy(&value, bytes->data(), sizeof value);
  bytes->remove_prefix(sizeof value);
  return value;
}

std::string take_text(std::string_view* bytes) {
  const auto size = take<std::uint16_t>(bytes);
  std::string text(bytes->substr(0, size));
  bytes->remove_prefix(size);
  return text;
}

void apply(Tables* tables, Csn csn, const Change& change) {
  switch (change.kind) {
    case Change::Kind::kPut:
      (*tables)[change.table].insert_or_assign(change.key, Row{change.hash, csn});
      break;
    case Change::Kind::kLoad:
      (*tables)[change.table].insert_or_assign(change.key, Row{change.hash, 0});
      break;
    case Change::Kind::kErase:
      (*tables)[change.table].erase(change.key);
      break;
    case Change::Kind::kCreateTable:
      (*tables)[change.table];
      break;
    case Change::Kind::kDropTable:
      tables->erase(change.table);
      break;
  }
}

std::string_view view_of(hf_bytes bytes) { return {static_cast<const char*>(bytes.data), bytes.size}; }

std::string compare_row(const std::string& where, std::string_view key, const hf_row& row, const Rows& expected) {
  const auto found = expected.find(std::string(key));
  const std::string what = where + ", row '" + std::string(key) + "': ";
  if (found == expected.end()) return what + "must not be there, has version " + std::to_string(row.version);
  const Row& wanted = found->second;
  if (wanted.version != 0 && wanted.version != row.version) {
    return what + "version " + std::to_string(row.version) + " instead of " + std::to_string(wanted.version);
  }
  return wanted.hash == hash_of(view_of(row.value)) ? "" : what + "another value than was written";
}

std::string compare_table(hf_txn* txn, hf_table* table, const std::string& name, const Rows& expected, bool reverse,
                          std::uint64_t* rows) {
  hf_cursor_options options = HF_CURSOR_OPTIONS_INIT;
  if (reverse) options.flags = HF_CURSOR_REVERSE;
  hf_cursor* cursor = nullptr;
  int code = hf_cursor_open(txn, table, &options, &cursor);
  const std::string where = "table " + name + (reverse ? " backwards" : "");
  if (code != HF_OK) return where + ": hf_cursor_open: " + hf_code_name(code);
  std::uint64_t seen = 0;
  std::string wrong;
  hf_bytes key;
  hf_row row;
  while (wrong.empty() && (code = hf_cursor_next(cursor, &key, &row)) == HF_OK) {
    wrong = compare_row(where, view_of(key), row, expected);
    ++seen;
  }
  hf_cursor_close(&cursor);
  if (!wrong.empty()) return wrong;
  *rows += seen;
  if (code != HF_END) return where + ": hf_cursor_next: " + hf_code_name(code);
  if (seen == expected.size()) return "";
  return where + ": " + std::to_string(seen) + " rows instead of " + std::to_string(expected.size());
}

std::string compare_names(hf_db* db, const Tables& expected) {
  std::vector<std::string> names;
  const auto visit = [](const char* name, void* context) {
    static_cast<std::vector<std::string>*>(context)->emplace_back(name);
    return 0;
  };
  if (const int code = hf_table_list(db, visit, &names); code != HF_OK) return "hf_table_list: " + describe(db, code);
  std::string found, wanted;
  for (const std::string& name : names) found += " " + name;
  for (const auto& [name, rows] : expected) wanted += " " + name;
  return found == wanted ? "" : "tables:" + found + "; instead of:" + wanted;
}

}  // namespace

// FNV-1a by words; the test's own, so that a mistake in the engine's checksum does not hide behind itself.
std::uint64_t hash_of(std::string_view value) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325u ^ value.size();
  while (value.size() >= 8) {
    std::uint64_t word;
    std::memcpy(&word, value.data(), 8);
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
    value.remove_prefix(8);
  }
  for (const char byte : value) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
  return hash;
}

std::string encode(const Changes& changes) {
  std::string out;
  for (const Change& change : changes) {
    out.push_back(static_cast<char>(change.kind));
    put_text(&out, change.table);
    put_text(&out, change.key);
    out.append(reinterpret_cast<const char*>(&change.hash), sizeof change.hash);
  }
  return out;
}

Changes decode(std::string_view bytes) {
  Changes changes;
  while (!bytes.empty()) {
    Change change{};
    change.kind = static_cast<Change::Kind>(take<std::uint8_t>(&bytes));
    change.table = take_text(&bytes);
    change.key = take_text(&bytes);
    change.hash = take<std::uint64_t>(&bytes);
    changes.push_back(std::move(change));
  }
  return changes;
}

void History::add(Csn csn, Changes changes) {
  Changes& into = commits_[csn];
  for (Change& change : changes) into.push_back(std::move(change));
  last_ = std::max(last_, csn);
}

Csn History::first_gap() const noexcept {
  Csn expected = first_ + 1;
  for (const auto& [csn, changes] : commits_) {
    if (csn != expected) return expected;
    ++expected;
  }
  return 0;
}

const Tables& History::at(Csn csn) const {
  if (csn < first_) return before_->at(csn);
  if (!begun_ || csn < at_) {
    tables_ = before_ != nullptr ? before_->at(first_) : Tables();
    at_ = first_;
    begun_ = true;
  }
  for (auto next = commits_.upper_bound(at_); next != commits_.end() && next->first <= csn; ++next) {
    for (const Change& change : next->second) apply(&tables_, next->first, change);
  }
  at_ = csn;
  return tables_;
}

std::string describe(hf_db* db, int code) {
  hf_error error = HF_ERROR_INIT;
  (void)hf_db_error(db, &error);
  return std::string(hf_code_name(code)) + ": " + error.message;
}

std::string compare(hf_db* db, const Tables& expected, std::uint64_t* rows) {
  if (std::string wrong = compare_names(db, expected); !wrong.empty()) return wrong;
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.flags = HF_TXN_READ_ONLY;
  hf_txn* txn = nullptr;
  if (const int code = hf_begin(db, &options, &txn); code != HF_OK) return "hf_begin: " + describe(db, code);
  std::string wrong;
  for (const auto& [name, table_rows] : expected) {
    hf_table* table = nullptr;
    const int code = hf_table_open(db, name.c_str(), &table);
    if (code != HF_OK) wrong = "hf_table_open(" + name + "): " + describe(db, code);
    for (const bool reverse : {false, true}) {
      if (wrong.empty()) wrong = compare_table(txn, table, name, table_rows, reverse, rows);
    }
    if (!wrong.empty()) break;
  }
  hf_txn_end(&txn);
  return wrong;
}

}  // namespace torture::power
