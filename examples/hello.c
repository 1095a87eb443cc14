/* SPDX-License-Identifier: Apache-2.0 */
/* Build: cc -std=c99 hello.c -o hello $(pkg-config --cflags --libs holdfast) */
#include <holdfast/holdfast.h>
#include <stdio.h>

int main(void) {
  const hf_bytes key = {"greeting", 8}, value = {"hello", 5};
  hf_db* db = NULL;
  hf_txn* txn = NULL;
  hf_table* words = NULL;
  hf_row row;
  int code = hf_open("hello.db", NULL, &db, NULL);
  if (code == HF_OK) code = hf_table_ensure(db, "words", &words);
  if (code == HF_OK) code = hf_begin(db, NULL, &txn);
  if (code == HF_OK) code = hf_put(txn, words, key, value, 0);
  if (code == HF_OK) code = hf_get(txn, words, key, &row);
  if (code == HF_OK) printf("%.*s\n", (int)row.value.size, (const char*)row.value.data);
  if (code == HF_OK) code = hf_commit(txn); /* on the disk when it answers HF_OK */
  if (code != HF_OK) fprintf(stderr, "%s\n", hf_code_text(code));
  hf_txn_end(&txn);
  hf_close(&db);
  return code != HF_OK;
}
