/* SPDX-License-Identifier: Apache-2.0
 * Goal: strict C99 is enough to use Holdfast. Method: write a row, read it back in another transaction, open again.
 * Argument: a directory that does not exist yet. */
#include <holdfast/holdfast.h>
#include <stdio.h>
#include <string.h>

static int failures = 0;

static void expect(int is_so, const char* what, int code) {
  if (is_so) return;
  failures++;
  fprintf(stderr, "%s: %s (%s)\n", what, hf_code_name(code), hf_code_text(code));
}

static hf_bytes bytes_of(const char* text) {
  hf_bytes bytes;
  bytes.data = text;
  bytes.size = strlen(text);
  return bytes;
}

static void write_row(hf_db* db, hf_table* table, const char* key, const char* value) {
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  hf_txn* txn = NULL;
  int code;
  options.label = "consumer";
  code = hf_begin(db, &options, &txn);
  expect(code == HF_OK, "begin to write", code);
  code = hf_put(txn, table, bytes_of(key), bytes_of(value), 0);
  expect(code == HF_OK, "put", code);
  code = hf_commit(txn);
  expect(code == HF_OK, "commit", code);
  hf_txn_end(&txn);
  expect(txn == NULL, "the ended handle is null", HF_OK);
}

/* `want` null: the row has to be absent. */
static void read_row(hf_db* db, hf_table* table, const char* key, const char* want) {
  hf_txn* txn = NULL;
  hf_row row;
  int code = hf_begin(db, NULL, &txn);
  expect(code == HF_OK, "begin to read", code);
  code = hf_get(txn, table, bytes_of(key), &row);
  if (want == NULL) {
    expect(code == HF_NOT_FOUND, "get of an absent row", code);
  } else {
    const int is_found = code == HF_OK;
    expect(is_found, "get", code);
    expect(is_found && row.value.size == strlen(want) && memcmp(row.value.data, want, row.value.size) == 0,
           "the value is what was put", code);
  }
  code = hf_commit(txn);
  expect(code == HF_OK, "commit of a read", code);
  hf_txn_end(&txn);
}

static void use_database(const char* path, int is_new) {
  hf_error error = HF_ERROR_INIT;
  hf_open_options options = HF_OPEN_OPTIONS_INIT;
  hf_db* db = NULL;
  hf_table* table = NULL;
  int code = hf_open(path, &options, &db, &error);
  expect(code == HF_OK, error.message, code);
  if (code != HF_OK) return;
  code = is_new ? hf_table_create(db, "fruit", &table) : hf_table_open(db, "fruit", &table);
  expect(code == HF_OK, "table", code);
  if (code == HF_OK) {
    if (is_new) {
      read_row(db, table, "apple", NULL);
      write_row(db, table, "apple", "red");
    }
    read_row(db, table, "apple", "red");
  }
  code = hf_close(&db);
  expect(code == HF_OK && db == NULL, "close", code);
}

int main(int argument_count, char** arguments) {
  if (argument_count != 2) {
    fprintf(stderr, "usage: %s <new directory>\n", arguments[0]);
    return 2;
  }
  expect(hf_version() == HF_VERSION_MAJOR * 10000 + HF_VERSION_MINOR * 100 + HF_VERSION_PATCH,
         "the library is of the header's version", HF_OK);
  use_database(arguments[1], 1);
  use_database(arguments[1], 0);
  return failures == 0 ? 0 : 1;
}
