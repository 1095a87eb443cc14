// SPDX-License-Identifier: Apache-2.0
// Goal: a C++20 program can use the installed C header, macros included, without a warning. Method: as the C99 program.
// Argument: a directory that does not exist yet.
#include <holdfast/holdfast.h>

#include <cstdio>
#include <memory>
#include <string_view>

namespace {

int failures = 0;

void expect(bool is_so, const char* what, int code) {
  if (is_so) return;
  ++failures;
  std::fprintf(stderr, "%s: %s (%s)\n", what, hf_code_name(code), hf_code_text(code));
}

struct TxnEnd {
  void operator()(hf_txn* txn) const { hf_txn_end(&txn); }
};
using Txn = std::unique_ptr<hf_txn, TxnEnd>;

hf_bytes bytes_of(std::string_view text) { return {.data = text.data(), .size = text.size()}; }
std::string_view text_of(hf_bytes bytes) { return {static_cast<const char*>(bytes.data), bytes.size}; }

Txn begin(hf_db* db) {
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.label = "consumer";
  hf_txn* txn = nullptr;
  const int code = hf_begin(db, &options, &txn);
  expect(code == HF_OK, "begin", code);
  return Txn(txn);
}

void write_row(hf_db* db, hf_table* table, std::string_view key, std::string_view value) {
  const Txn txn = begin(db);
  int code = hf_put(txn.get(), table, bytes_of(key), bytes_of(value), 0);
  expect(code == HF_OK, "put", code);
  code = hf_commit(txn.get());
  expect(code == HF_OK, "commit", code);
}

void read_row(hf_db* db, hf_table* table, std::string_view key, std::string_view want) {
  const Txn txn = begin(db);
  hf_row row{};
  int code = hf_get(txn.get(), table, bytes_of(key), &row);
  expect(code == HF_OK, "get", code);
  expect(code == HF_OK && text_of(row.value) == want, "the value is what was put", code);
  code = hf_commit(txn.get());
  expect(code == HF_OK, "commit of a read", code);
}

void use_database(const char* path, bool is_new) {
  hf_error error = HF_ERROR_INIT;
  hf_open_options options = HF_OPEN_OPTIONS_INIT;
  hf_db* db = nullptr;
  int code = hf_open(path, &options, &db, &error);
  expect(code == HF_OK, error.message, code);
  if (code != HF_OK) return;
  hf_table* table = nullptr;
  code = is_new ? hf_table_create(db, "fruit", &table) : hf_table_open(db, "fruit", &table);
  expect(code == HF_OK, "table", code);
  if (code == HF_OK) {
    if (is_new) write_row(db, table, "apple", "red");
    read_row(db, table, "apple", "red");
  }
  code = hf_close(&db);
  expect(code == HF_OK && db == nullptr, "close", code);
}

}  // namespace

int main(int argument_count, char** arguments) {
  if (argument_count != 2) {
    std::fprintf(stderr, "usage: %s <new directory>\n", arguments[0]);
    return 2;
  }
  use_database(arguments[1], true);
  use_database(arguments[1], false);
  return failures == 0 ? 0 : 1;
}
