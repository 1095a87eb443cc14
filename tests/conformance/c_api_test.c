/* SPDX-License-Identifier: Apache-2.0
 * Goal: every function of the header does, in C99, what its text says. Method: one walk through all of them on a new
 * database. Each CHECK that fails prints its line and counts; c_api_failures() is called by c_api_run_test.cc. */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "holdfast/holdfast.h"

int c_api_failures(const char* directory);

static int failures;

static void check(int is_so, const char* what, int line) {
  if (is_so) return;
  failures++;
  fprintf(stderr, "c_api_test.c:%d: not so: %s\n", line, what);
}
#define CHECK(condition) check((condition) ? 1 : 0, #condition, __LINE__)

static void check_code(int code, int wanted, const char* what, int line) {
  if (code == wanted) return;
  failures++;
  fprintf(stderr, "c_api_test.c:%d: HF_%s instead of HF_%s: %s\n", line, hf_code_name(code), hf_code_name(wanted),
          what);
}
#define ANSWERS(wanted, call) check_code((call), (wanted), #call, __LINE__)

static hf_bytes b(const char* text) {
  hf_bytes bytes;
  bytes.data = text;
  bytes.size = strlen(text);
  return bytes;
}

static int is(hf_bytes bytes, const char* text) {
  return bytes.size == strlen(text) && memcmp(bytes.data, text, bytes.size) == 0;
}

static hf_txn* begin(hf_db* db) {
  hf_txn* txn = NULL;
  ANSWERS(HF_OK, hf_begin(db, NULL, &txn));
  return txn;
}

static void test_codes(void) {
  CHECK(strcmp(hf_code_name(HF_CONFLICT), "CONFLICT") == 0);
  CHECK(strcmp(hf_code_text(HF_OK), "success") == 0);
  CHECK(hf_code_name(-1) != NULL && hf_code_text(12345) != NULL);
  CHECK(hf_is_retryable(HF_CONFLICT) == 1 && hf_is_retryable(HF_OK) == 0 && hf_is_retryable(-1) == 0);
  CHECK(hf_is_not_committed(HF_CONFLICT) == 1 && hf_is_not_committed(HF_MAYBE_COMMITTED) == 0);
  CHECK(hf_is_maybe_committed(HF_MAYBE_COMMITTED) == 1 && hf_is_maybe_committed(HF_EXISTS) == 0);
  CHECK(hf_version() == HF_VERSION_MAJOR * 10000 + HF_VERSION_MINOR * 100 + HF_VERSION_PATCH);
}

struct names {
  int count;
  int stop_after;
  char text[256];
};

static int add_name(const char* name, void* context) {
  struct names* names = context;
  strcat(names->text, name);
  strcat(names->text, ";");
  return ++names->count == names->stop_after ? 77 : 0;
}

static void test_tables(hf_db* db) {
  hf_table* a = NULL;
  hf_table* again = NULL;
  hf_txn* txn;
  hf_row row;
  hf_error error = HF_ERROR_INIT;
  struct names names = {0, 0, ""};
  ANSWERS(HF_NO_TABLE, hf_table_open(db, "a", &a));
  CHECK(a == NULL);
  ANSWERS(HF_OK, hf_db_error(db, &error));
  CHECK(error.code == HF_NO_TABLE && strcmp(error.table, "a") == 0 && strstr(error.message, "a") != NULL);
  ANSWERS(HF_OK, hf_table_create(db, "a", &a));
  ANSWERS(HF_EXISTS, hf_table_create(db, "a", &again));
  CHECK(a != NULL && again == a);
  ANSWERS(HF_OK, hf_table_open(db, "a", &again));
  CHECK(again == a);
  ANSWERS(HF_OK, hf_table_ensure(db, "b", &again));
  CHECK(again != NULL && again != a);
  ANSWERS(HF_EXISTS, hf_table_rename(db, "a", "b"));
  ANSWERS(HF_NO_TABLE, hf_table_rename(db, "nowhere", "d"));
  ANSWERS(HF_OK, hf_table_rename(db, "a", "c"));
  ANSWERS(HF_OK, hf_table_list(db, add_name, &names));
  CHECK(strcmp(names.text, "b;c;") == 0);
  names.count = 0;
  names.stop_after = 1;
  ANSWERS(77, hf_table_list(db, add_name, &names));
  txn = begin(db);
  ANSWERS(HF_OK, hf_put(txn, a, b("k"), b("v"), 0)); /* the handle survived the rename */
  ANSWERS(HF_OK, hf_commit(txn));
  ANSWERS(HF_OK, hf_table_drop(db, "c"));
  ANSWERS(HF_NO_TABLE, hf_table_drop(db, "c"));
  ANSWERS(HF_OK, hf_restart(txn));
  ANSWERS(HF_NO_TABLE, hf_get(txn, a, b("k"), &row));
  ANSWERS(HF_OK, hf_txn_end(&txn));
  ANSWERS(HF_OK, hf_table_drop(db, "b"));
}

static void test_rows(hf_db* db, hf_table* table) {
  hf_txn* txn = begin(db);
  hf_row row;
  hf_row rows[3];
  hf_bytes keys[3];
  char buffer[8];
  size_t size = 0;
  uint64_t version;
  ANSWERS(HF_NOT_FOUND, hf_get(txn, table, b("k"), &row));
  ANSWERS(HF_NOT_FOUND, hf_update(txn, table, b("k"), b("v"), 0));
  ANSWERS(HF_NOT_FOUND, hf_delete(txn, table, b("k")));
  ANSWERS(HF_OK, hf_erase(txn, table, b("k")));
  ANSWERS(HF_OK, hf_insert(txn, table, b("k"), b("one"), 0));
  ANSWERS(HF_EXISTS, hf_insert(txn, table, b("k"), b("two"), 0));
  ANSWERS(HF_OK, hf_get(txn, table, b("k"), &row));
  CHECK(is(row.value, "one") && row.version == 0 && row.expires_ms == 0 && row.code == HF_OK && row.reserved == 0);
  ANSWERS(HF_OK, hf_update(txn, table, b("k"), b("two"), 0));
  ANSWERS(HF_OK, hf_put(txn, table, b("expiring"), b(""), 3600 * 1000));
  CHECK(hf_txn_csn(txn) == 0);
  ANSWERS(HF_OK, hf_commit(txn));
  version = hf_txn_csn(txn);
  CHECK(version != 0);

  ANSWERS(HF_OK, hf_restart(txn));
  CHECK(hf_txn_snapshot(txn) >= version);
  ANSWERS(HF_OK, hf_get(txn, table, b("k"), &row));
  CHECK(is(row.value, "two") && row.version == version);
  ANSWERS(HF_OK, hf_get(txn, table, b("expiring"), &row));
  CHECK(row.value.size == 0 && row.expires_ms != 0);
  ANSWERS(HF_OK, hf_get_into(txn, table, b("k"), buffer, sizeof buffer, &size));
  CHECK(size == 3 && memcmp(buffer, "two", 3) == 0);
  ANSWERS(HF_TOO_LARGE, hf_get_into(txn, table, b("k"), buffer, 2, &size));
  CHECK(size == 3);
  ANSWERS(HF_TOO_LARGE, hf_get_into(txn, table, b("k"), NULL, 0, &size));
  ANSWERS(HF_OK, hf_get_into(txn, table, b("expiring"), NULL, 0, &size));
  CHECK(size == 0);
  keys[0] = b("k");
  keys[1] = b("absent");
  keys[2] = b("expiring");
  ANSWERS(HF_OK, hf_get_many(txn, table, keys, 3, rows));
  CHECK(rows[0].code == HF_OK && is(rows[0].value, "two") && rows[1].code == HF_NOT_FOUND && rows[2].code == HF_OK);
  ANSWERS(HF_OK, hf_get_many(txn, table, NULL, 0, NULL));
  ANSWERS(HF_VERSION_MISMATCH, hf_put_if_version(txn, table, b("k"), b("three"), version + 1, 0));
  ANSWERS(HF_VERSION_MISMATCH, hf_put_if_version(txn, table, b("k"), b("three"), 0, 0));
  ANSWERS(HF_OK, hf_put_if_version(txn, table, b("k"), b("three"), version, 0));
  ANSWERS(HF_OK, hf_put_if_version(txn, table, b("new"), b("n"), 0, 0));
  ANSWERS(HF_OK, hf_delete(txn, table, b("expiring")));
  ANSWERS(HF_NOT_FOUND, hf_get(txn, table, b("expiring"), &row));
  ANSWERS(HF_OK, hf_abort(txn));
  ANSWERS(HF_OK, hf_abort(txn)); /* an ended one is fine */
  ANSWERS(HF_MISUSE, hf_get(txn, table, b("k"), &row));
  ANSWERS(HF_OK, hf_restart(txn));
  ANSWERS(HF_OK, hf_get(txn, table, b("k"), &row));
  CHECK(is(row.value, "two"));
  ANSWERS(HF_OK, hf_txn_end(&txn));
  CHECK(txn == NULL);
}

static void test_savepoints(hf_db* db, hf_table* table) {
  hf_txn* txn = begin(db);
  uint64_t first = 0, second = 0;
  hf_row row;
  ANSWERS(HF_OK, hf_put(txn, table, b("s"), b("1"), 0));
  ANSWERS(HF_OK, hf_savepoint(txn, &first));
  ANSWERS(HF_OK, hf_put(txn, table, b("s"), b("2"), 0));
  ANSWERS(HF_OK, hf_savepoint(txn, &second));
  CHECK(second > first);
  ANSWERS(HF_OK, hf_put(txn, table, b("s"), b("3"), 0));
  ANSWERS(HF_OK, hf_rollback_to(txn, second));
  ANSWERS(HF_OK, hf_get(txn, table, b("s"), &row));
  CHECK(is(row.value, "2"));
  ANSWERS(HF_OK, hf_release(txn, second));
  ANSWERS(HF_INVALID_ARGUMENT, hf_rollback_to(txn, second));
  ANSWERS(HF_OK, hf_rollback_to(txn, first));
  ANSWERS(HF_OK, hf_get(txn, table, b("s"), &row));
  CHECK(is(row.value, "1"));
  ANSWERS(HF_INVALID_ARGUMENT, hf_release(txn, 12345));
  ANSWERS(HF_OK, hf_txn_end(&txn));
}

/* Keys of what a cursor gives, joined. */
static void walk(hf_txn* txn, hf_table* table, const hf_cursor_options* options, const char* wanted, int line) {
  hf_cursor* cursor = NULL;
  hf_bytes key;
  hf_row row;
  char found[256] = "";
  int code = hf_cursor_open(txn, table, options, &cursor);
  check_code(code, HF_OK, "hf_cursor_open", line);
  if (code != HF_OK) return;
  while ((code = hf_cursor_next(cursor, &key, &row)) == HF_OK) strncat(found, key.data, key.size);
  check_code(code, HF_END, "hf_cursor_next", line);
  check(strcmp(found, wanted) == 0, wanted, line);
  ANSWERS(HF_OK, hf_cursor_close(&cursor));
  CHECK(cursor == NULL);
}

static void test_cursors(hf_db* db, hf_table* table) {
  static const char* const kKeys[] = {"a", "b", "ba", "bb", "c"};
  hf_txn* txn = begin(db);
  hf_cursor* cursor = NULL;
  hf_cursor_options options = HF_CURSOR_OPTIONS_INIT;
  hf_bytes keys[4];
  hf_row rows[4];
  size_t found = 0, i;
  uint64_t count = 0;
  for (i = 0; i < 5; i++) ANSWERS(HF_OK, hf_put(txn, table, b(kKeys[i]), b(kKeys[i]), 0));
  ANSWERS(HF_OK, hf_commit(txn));
  ANSWERS(HF_OK, hf_restart(txn));
  walk(txn, table, NULL, "abbabbc", __LINE__);
  options.low = b("b");
  options.high = b("c");
  walk(txn, table, &options, "bbabb", __LINE__);
  options.flags = HF_CURSOR_LOW_EXCLUSIVE | HF_CURSOR_HIGH_INCLUSIVE | HF_CURSOR_REVERSE;
  walk(txn, table, &options, "cbbba", __LINE__);
  options.skip = 1;
  options.limit = 1;
  walk(txn, table, &options, "bb", __LINE__);
  ANSWERS(HF_OK, hf_count(txn, table, &options, &count));
  CHECK(count == 1);
  ANSWERS(HF_OK, hf_count(txn, table, NULL, &count));
  CHECK(count == 5);
  memset(&options, 0, sizeof options);
  options.size = sizeof options;
  options.prefix = b("b");
  walk(txn, table, &options, "bbabb", __LINE__);

  ANSWERS(HF_OK, hf_cursor_open(txn, table, NULL, &cursor));
  ANSWERS(HF_OK, hf_cursor_next_many(cursor, 4, keys, rows, &found));
  CHECK(found == 4 && is(keys[0], "a") && is(rows[3].value, "bb"));
  ANSWERS(HF_OK, hf_cursor_next_many(cursor, 4, NULL, NULL, &found));
  CHECK(found == 1);
  ANSWERS(HF_END, hf_cursor_next_many(cursor, 4, keys, rows, &found));
  CHECK(found == 0);
  ANSWERS(HF_OK, hf_cursor_seek(cursor, b("bb")));
  ANSWERS(HF_OK, hf_cursor_next(cursor, NULL, &rows[0]));
  CHECK(is(rows[0].value, "bb"));
  ANSWERS(HF_OK, hf_cursor_next(cursor, &keys[0], NULL));
  CHECK(is(keys[0], "c"));
  ANSWERS(HF_END, hf_cursor_next(cursor, &keys[0], &rows[0]));
  ANSWERS(HF_OK, hf_commit(txn));
  ANSWERS(HF_MISUSE, hf_cursor_next(cursor, &keys[0], &rows[0])); /* ended with its transaction */
  ANSWERS(HF_OK, hf_restart(txn));
  ANSWERS(HF_MISUSE, hf_cursor_next(cursor, &keys[0], &rows[0])); /* and it stays so */
  ANSWERS(HF_OK, hf_cursor_close(&cursor));
  ANSWERS(HF_OK, hf_cursor_open(txn, table, NULL, &cursor));
  ANSWERS(HF_OK, hf_txn_end(&txn));
  ANSWERS(HF_MISUSE, hf_cursor_next(cursor, &keys[0], &rows[0])); /* closed with the handle */
  ANSWERS(HF_MISUSE, hf_cursor_close(&cursor));
  CHECK(cursor == NULL);
  ANSWERS(HF_OK, hf_cursor_close(&cursor));
  ANSWERS(HF_OK, hf_cursor_close(NULL));
}

static void test_conflict(hf_db* db, hf_table* table) {
  hf_txn* one = begin(db);
  hf_txn* two = begin(db);
  hf_row row;
  hf_error error = HF_ERROR_INIT;
  uint64_t csn;
  ANSWERS(HF_NOT_FOUND, hf_get(one, table, b("hot"), &row));
  ANSWERS(HF_OK, hf_put(one, table, b("hot"), b("1"), 0));
  ANSWERS(HF_OK, hf_put(two, table, b("hot"), b("2"), 0));
  ANSWERS(HF_OK, hf_commit(two));
  csn = hf_txn_csn(two);
  ANSWERS(HF_CONFLICT, hf_commit(one));
  ANSWERS(HF_OK, hf_txn_error(one, &error));
  CHECK(error.code == HF_CONFLICT && error.other_csn == csn);
  CHECK(error.key_size == 3 && memcmp(error.key, "hot", 3) == 0);
  CHECK(strcmp(error.table, "rows") == 0 && strstr(error.message, "hot") != NULL);
  CHECK(hf_txn_csn(one) == 0);
  ANSWERS(HF_OK, hf_txn_end(&one));
  ANSWERS(HF_OK, hf_txn_end(&two));
}

static void test_options(hf_db* db, hf_table* table) {
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  hf_txn* txn = NULL;
  hf_row row;
  options.flags = HF_TXN_READ_ONLY | HF_TXN_READ_DURABLE;
  ANSWERS(HF_OK, hf_begin(db, &options, &txn));
  ANSWERS(HF_READ_ONLY, hf_put(txn, table, b("x"), b("x"), 0));
  ANSWERS(HF_OK, hf_commit(txn));
  ANSWERS(HF_OK, hf_txn_end(&txn));
  options.flags = HF_TXN_BASE_ONLY;
  ANSWERS(HF_OK, hf_maintain(db, HF_MAINTAIN_MERGE_ALL));
  ANSWERS(HF_OK, hf_begin(db, &options, &txn));
  ANSWERS(HF_OK, hf_get(txn, table, b("a"), &row));
  ANSWERS(HF_READ_ONLY, hf_put(txn, table, b("x"), b("x"), 0));
  ANSWERS(HF_OK, hf_txn_end(&txn));
  options.flags = 0;
  options.durability = HF_RELAXED;
  options.isolation = HF_SNAPSHOT;
  options.deadline_ms = 1;
  options.idle_ms = HF_FOREVER;
  options.label = "expiring";
  ANSWERS(HF_OK, hf_begin(db, &options, &txn));
  poll(NULL, 0, 20);
  ANSWERS(HF_EXPIRED, hf_get(txn, table, b("a"), &row));
  ANSWERS(HF_OK, hf_restart(txn));
  ANSWERS(HF_OK, hf_cancel(txn));
  ANSWERS(HF_CANCELLED, hf_get(txn, table, b("a"), &row));
  ANSWERS(HF_OK, hf_txn_end(&txn));
}

static void test_tickets(hf_db* db, hf_table* table) {
  hf_txn* txn = begin(db);
  uint64_t ticket = 0, read_ticket = 0, count = 0;
  struct pollfd ready;
  int fd = -1;
  ANSWERS(HF_OK, hf_event_fd(db, &fd));
  CHECK(fd >= 0);
  ANSWERS(HF_OK, hf_put(txn, table, b("t"), b("t"), 0));
  ANSWERS(HF_OK, hf_commit_ticket(txn, &ticket));
  CHECK(ticket == hf_txn_csn(txn) && ticket != 0);
  ready.fd = fd;
  ready.events = POLLIN;
  CHECK(poll(&ready, 1, 10000) == 1);
  CHECK(read(fd, &count, sizeof count) == (ssize_t)sizeof count && count >= 1);
  ANSWERS(HF_OK, hf_ticket_wait(db, ticket, 0)); /* the event said so */
  ANSWERS(HF_OK, hf_ticket_wait(db, ticket, HF_FOREVER));
  ANSWERS(HF_INVALID_ARGUMENT, hf_ticket_wait(db, ticket + 1000, 0));
  ANSWERS(HF_OK, hf_restart(txn));
  ANSWERS(HF_OK, hf_commit_ticket(txn, &read_ticket));
  CHECK(read_ticket >= ticket);
  ANSWERS(HF_OK, hf_sync(db, 10000));
  ANSWERS(HF_OK, hf_sync(db, 0));
  ANSWERS(HF_OK, hf_txn_end(&txn));
}

struct counter {
  hf_table* table;
  hf_db* db;
  int runs;
  int conflicts_to_make;
  int answer;
};

/* Conflicts in another row each time: the rows of earlier conflicts are locked by then. */
static int add_one(hf_txn* txn, void* context) {
  struct counter* counter = context;
  hf_row row;
  char value[2] = "1";
  char contested[32];
  hf_bytes bytes;
  int code = hf_get(txn, counter->table, b("counter"), &row);
  counter->runs++;
  if (code != HF_OK && code != HF_NOT_FOUND) return code;
  snprintf(contested, sizeof contested, "contested%d", counter->runs);
  if (code == HF_OK) value[0] = (char)(*(const char*)row.value.data + 1);
  if (counter->runs <= counter->conflicts_to_make) {
    hf_txn* other = begin(counter->db);
    hf_row unused;
    int found = hf_get(txn, counter->table, b(contested), &unused);
    if (found != HF_OK && found != HF_NOT_FOUND) return found;
    ANSWERS(HF_OK, hf_put(other, counter->table, b(contested), b("4"), 0));
    ANSWERS(HF_OK, hf_commit(other));
    ANSWERS(HF_OK, hf_txn_end(&other));
  }
  bytes.data = value;
  bytes.size = 1;
  code = hf_put(txn, counter->table, b("counter"), bytes, 0);
  return code != HF_OK ? code : counter->answer;
}

static int misbehave(hf_txn* txn, void* context) {
  hf_txn* same = txn;
  uint64_t ticket;
  (void)context;
  ANSWERS(HF_MISUSE, hf_commit(txn));
  ANSWERS(HF_MISUSE, hf_commit_ticket(txn, &ticket));
  ANSWERS(HF_MISUSE, hf_abort(txn));
  ANSWERS(HF_MISUSE, hf_restart(txn));
  ANSWERS(HF_MISUSE, hf_txn_end(&same));
  CHECK(same == txn);
  return HF_OK;
}

static void test_transact(hf_db* db, hf_table* table) {
  struct counter counter = {NULL, NULL, 0, 2, HF_OK};
  hf_transact_options options = HF_TRANSACT_OPTIONS_INIT;
  hf_transact_result result;
  hf_error error = HF_ERROR_INIT;
  counter.table = table;
  counter.db = db;
  memset(&result, 0, sizeof result);
  result.size = sizeof result;
  ANSWERS(HF_OK, hf_transact(db, NULL, add_one, &counter, &result));
  CHECK(counter.runs == 3 && result.attempts == 3 && result.csn != 0);
  CHECK(result.error.code == HF_CONFLICT && result.error.attempts == 3); /* the last failed attempt's */

  counter.runs = 0;
  counter.conflicts_to_make = 1000;
  options.attempts_max = 3;
  options.backoff_min_us = 1;
  options.txn.size = sizeof options.txn;
  options.txn.durability = HF_RELAXED;
  ANSWERS(HF_CONFLICT, hf_transact(db, &options, add_one, &counter, &result));
  CHECK(counter.runs == 3 && result.attempts == 3 && result.csn == 0 && result.error.attempts == 3);
  ANSWERS(HF_OK, hf_db_error(db, &error));
  CHECK(error.code == HF_CONFLICT && error.attempts == 3 && strcmp(error.table, "rows") == 0);

  counter.runs = 0;
  counter.conflicts_to_make = 0;
  counter.answer = 4711;
  ANSWERS(4711, hf_transact(db, NULL, add_one, &counter, NULL));
  CHECK(counter.runs == 1);
  ANSWERS(HF_OK, hf_transact(db, NULL, misbehave, NULL, NULL));
}

static void test_execute(hf_db* db, hf_table* table) {
  hf_operation operations[3];
  hf_operation_result results[3];
  hf_transact_result result;
  char buffer[8];
  uint64_t version;
  memset(operations, 0, sizeof operations);
  memset(&result, 0, sizeof result);
  result.size = sizeof result;
  operations[0].kind = HF_OP_CHECK_ABSENT;
  operations[0].table = table;
  operations[0].key = b("e");
  operations[1] = operations[0];
  operations[1].kind = HF_OP_PUT;
  operations[1].value = b("first");
  operations[2] = operations[0];
  operations[2].kind = HF_OP_GET;
  operations[2].buffer = buffer;
  operations[2].capacity = sizeof buffer;
  ANSWERS(HF_OK, hf_execute(db, NULL, operations, 3, results, &result));
  CHECK(results[2].code == HF_OK && results[2].size == 5 && memcmp(buffer, "first", 5) == 0);
  version = result.csn;
  CHECK(version != 0 && result.attempts == 1);

  ANSWERS(HF_EXISTS, hf_execute(db, NULL, operations, 3, results, &result));
  CHECK(results[0].code == HF_EXISTS && results[1].code == HF_CANCELLED && results[2].code == HF_CANCELLED);
  CHECK(result.error.code == HF_EXISTS && strcmp(result.error.table, "rows") == 0 && result.error.key_size == 1);

  operations[0].kind = HF_OP_CHECK_VERSION;
  operations[0].version = version;
  operations[1].kind = HF_OP_CHECK_VALUE;
  operations[1].value = b("first");
  operations[2].capacity = 2;
  ANSWERS(HF_OK, hf_execute(db, NULL, operations, 3, results, &result));
  CHECK(results[0].version == version && results[1].version == version && result.csn == 0);
  CHECK(results[2].code == HF_TOO_LARGE && results[2].size == 5 && results[2].version == version);
  operations[1].value = b("other");
  ANSWERS(HF_VERSION_MISMATCH, hf_execute(db, NULL, operations, 3, results, NULL));
  CHECK(results[0].code == HF_OK && results[1].code == HF_VERSION_MISMATCH);
  operations[0].version = version + 1;
  ANSWERS(HF_VERSION_MISMATCH, hf_execute(db, NULL, operations, 1, results, NULL));
  CHECK(results[0].version == version);

  operations[0].kind = HF_OP_CHECK_EXISTS;
  operations[1].kind = HF_OP_UPDATE;
  operations[2].kind = HF_OP_GET;
  operations[2].buffer = NULL;
  operations[2].capacity = 0;
  ANSWERS(HF_OK, hf_execute(db, NULL, operations, 3, results, NULL));
  CHECK(results[2].code == HF_OK && results[2].size == 5);
  operations[0].kind = HF_OP_DELETE;
  operations[1].kind = HF_OP_INSERT;
  operations[2].kind = HF_OP_ERASE;
  ANSWERS(HF_OK, hf_execute(db, NULL, operations, 3, NULL, NULL));
  operations[0].kind = HF_OP_CHECK_EXISTS;
  ANSWERS(HF_NOT_FOUND, hf_execute(db, NULL, operations, 1, results, NULL));
  operations[0].kind = HF_OP_PUT_IF_VERSION;
  operations[0].version = 0;
  ANSWERS(HF_OK, hf_execute(db, NULL, operations, 1, results, NULL));
  operations[0].kind = HF_OP_GET;
  operations[0].key = b("absent");
  ANSWERS(HF_OK, hf_execute(db, NULL, operations, 1, results, NULL));
  CHECK(results[0].code == HF_NOT_FOUND);
  ANSWERS(HF_OK, hf_execute(db, NULL, NULL, 0, NULL, NULL));
}

static int is_positive(const hf_row* row, void* context) {
  (void)context;
  return row != NULL && row->value.size != 0;
}

static int count_lock(const hf_lock_info* info, void* context) {
  CHECK(info->size == sizeof *info && info->mode_held == HF_LOCK_EXCLUSIVE && info->mode_wanted == 0);
  ++*(int*)context;
  return 0;
}

static void test_locks(hf_db* db, hf_table* table) {
  hf_txn* one = begin(db);
  hf_txn* two = begin(db);
  hf_lock_options now = HF_LOCK_OPTIONS_INIT;
  hf_lock_request requests[2];
  hf_cursor_options range = HF_CURSOR_OPTIONS_INIT;
  hf_cursor* cursor = NULL;
  hf_error error = HF_ERROR_INIT;
  hf_bytes keys[2];
  hf_row rows[2];
  size_t count = 7;
  int locked = 0, seen = 0;
  now.wait = HF_NO_WAIT;
  ANSWERS(HF_OK, hf_put(one, table, b("l1"), b("1"), 0));
  ANSWERS(HF_OK, hf_put(one, table, b("l2"), b("2"), 0));
  ANSWERS(HF_OK, hf_commit(one));
  ANSWERS(HF_OK, hf_restart(one));
  CHECK(hf_txn_number(one) == 0);
  ANSWERS(HF_OK, hf_lock(one, table, b("l1"), NULL));
  CHECK(hf_txn_number(one) != 0);
  ANSWERS(HF_LOCKED, hf_lock(two, table, b("l1"), &now));
  ANSWERS(HF_OK, hf_txn_error(two, &error));
  CHECK(error.code == HF_LOCKED && error.other_txn == hf_txn_number(one) && strcmp(error.table, "rows") == 0);
  CHECK(error.mode_wanted == HF_LOCK_EXCLUSIVE && error.other_mode_held == HF_LOCK_EXCLUSIVE);
  requests[0].table = requests[1].table = table;
  requests[0].key = b("l2");
  requests[1].key = b("l1");
  requests[0].mode = requests[1].mode = 0;
  requests[0].code = requests[1].code = -1;
  ANSWERS(HF_LOCKED, hf_lock_many(two, requests, 2, &now));
  now.wait = HF_SKIP_LOCKED;
  ANSWERS(HF_OK, hf_lock_many(two, requests, 2, &now));
  CHECK(requests[0].code == HF_OK && requests[1].code == HF_LOCKED);
  ANSWERS(HF_OK, hf_get_for_update(two, table, b("l2"), NULL, rows));
  CHECK(is(rows[0].value, "2"));
  ANSWERS(HF_LOCKED, hf_get_for_share(two, table, b("l1"), &now, rows));
  keys[0] = b("l1");
  keys[1] = b("l2");
  ANSWERS(HF_OK, hf_get_many_for_update(one, table, keys, 2, &now, rows));
  CHECK(rows[0].code == HF_OK && is(rows[0].value, "1") && rows[1].code == HF_LOCKED);
  ANSWERS(HF_OK, hf_get_many_for_share(one, table, keys, 1, &now, rows));
  ANSWERS(HF_OK, hf_lock_if(one, table, b("l1"), &now, is_positive, NULL, rows, &locked));
  CHECK(locked == 1 && is(rows[0].value, "1"));
  range.prefix = b("l");
  range.lock_mode = HF_LOCK_EXCLUSIVE;
  range.lock_wait = HF_SKIP_LOCKED;
  ANSWERS(HF_OK, hf_cursor_open(two, table, &range, &cursor));
  ANSWERS(HF_OK, hf_cursor_next(cursor, keys, rows));
  CHECK(is(keys[0], "l2"));
  ANSWERS(HF_END, hf_cursor_next(cursor, keys, rows));
  ANSWERS(HF_OK, hf_cursor_close(&cursor));
  ANSWERS(HF_OK, hf_locks(db, count_lock, &seen));
  CHECK(seen == 2);
  ANSWERS(HF_OK, hf_txn_cycle(one, NULL, 0, &count));
  CHECK(count == 0);
  ANSWERS(HF_OK, hf_txn_end(&one));
  ANSWERS(HF_OK, hf_txn_end(&two));
}

static void test_sessions(hf_db* db, hf_table* table) {
  hf_session* session = NULL;
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  hf_error error = HF_ERROR_INIT;
  hf_txn* txn = NULL;
  hf_row row;
  ANSWERS(HF_OK, hf_session_open(db, "nightly", &session));
  ANSWERS(HF_OK, hf_session_lock(session, b("invoices"), NULL));
  ANSWERS(HF_NOT_FOUND, hf_session_unlock(session, b("orders")));
  ANSWERS(HF_OK, hf_session_error(session, &error));
  CHECK(error.code == HF_NOT_FOUND && error.key_size == 6);
  options.session = session;
  ANSWERS(HF_OK, hf_begin(db, &options, &txn));
  ANSWERS(HF_OK, hf_get(txn, table, b("l1"), &row));
  ANSWERS(HF_MISUSE, hf_session_close(&session));
  ANSWERS(HF_OK, hf_txn_end(&txn));
  ANSWERS(HF_OK, hf_session_cancel(session));
  ANSWERS(HF_OK, hf_session_unlock(session, b("invoices")));
  ANSWERS(HF_OK, hf_session_close(&session));
  CHECK(session == NULL);
}

static void test_counters(hf_db* db, hf_table* table) {
  hf_txn* txn = begin(db);
  hf_operation operation;
  hf_operation_result result;
  int64_t value = 0;
  ANSWERS(HF_OK, hf_counter_set(txn, table, b("count"), 40));
  ANSWERS(HF_OK, hf_add(txn, table, b("count"), 2, 0, 42));
  ANSWERS(HF_OUT_OF_RANGE, hf_add(txn, table, b("count"), 1, 0, 42));
  ANSWERS(HF_WRONG_TYPE, hf_add(txn, table, b("l1"), 1, 0, 42));
  ANSWERS(HF_OK, hf_counter_get(txn, table, b("count"), &value));
  CHECK(value == 42);
  ANSWERS(HF_OK, hf_commit(txn));
  ANSWERS(HF_OK, hf_counter_after(txn, table, b("count"), &value));
  CHECK(value == 42);
  memset(&operation, 0, sizeof operation);
  operation.kind = HF_OP_ADD;
  operation.table = table;
  operation.key = b("count");
  operation.delta = -2;
  operation.max = 100;
  ANSWERS(HF_OK, hf_execute(db, NULL, &operation, 1, &result, NULL));
  CHECK(result.counter == 40);
  ANSWERS(HF_OK, hf_restart(txn));
  ANSWERS(HF_OK, hf_counter_reset(txn, table, b("count")));
  ANSWERS(HF_OK, hf_commit(txn));
  ANSWERS(HF_OK, hf_txn_end(&txn));
}

static void test_load(hf_db* db) {
  hf_table* table = NULL;
  hf_load* load = NULL;
  hf_txn* txn;
  hf_row row;
  hf_error error = HF_ERROR_INIT;
  uint64_t count = 0;
  ANSWERS(HF_OK, hf_table_create(db, "loaded", &table));
  ANSWERS(HF_OK, hf_load_begin(db, table, &load));
  ANSWERS(HF_OK, hf_load_add(load, b("a"), b("1"), 0));
  ANSWERS(HF_OK, hf_load_end(&load)); /* given up */
  CHECK(load == NULL);
  ANSWERS(HF_OK, hf_load_begin(db, table, &load));
  ANSWERS(HF_OK, hf_load_add(load, b("b"), b("1"), 0));
  ANSWERS(HF_INVALID_ARGUMENT, hf_load_add(load, b("a"), b("2"), 0));
  ANSWERS(HF_OK, hf_load_error(load, &error));
  CHECK(error.code == HF_INVALID_ARGUMENT && error.key_size == 1 && strcmp(error.table, "loaded") == 0);
  ANSWERS(HF_OK, hf_load_add(load, b("c"), b("3"), 3600 * 1000));
  txn = begin(db);
  ANSWERS(HF_OK, hf_count(txn, table, NULL, &count));
  CHECK(count == 0);
  ANSWERS(HF_OK, hf_txn_end(&txn));
  ANSWERS(HF_OK, hf_load_finish(load));
  ANSWERS(HF_MISUSE, hf_load_add(load, b("d"), b("3"), 0));
  ANSWERS(HF_MISUSE, hf_load_finish(load));
  ANSWERS(HF_OK, hf_load_end(&load));
  ANSWERS(HF_EXISTS, hf_load_begin(db, table, &load));
  CHECK(load == NULL);
  txn = begin(db);
  ANSWERS(HF_OK, hf_count(txn, table, NULL, &count));
  CHECK(count == 2);
  ANSWERS(HF_OK, hf_get(txn, table, b("c"), &row));
  CHECK(is(row.value, "3") && row.expires_ms != 0);
  ANSWERS(HF_OK, hf_txn_end(&txn));
}

static void test_figures(hf_db* db, hf_table* table) {
  hf_stats stats;
  hf_table_stats table_stats;
  int code;
  memset(&stats, 0xff, sizeof stats);
  stats.size = sizeof stats;
  ANSWERS(HF_OK, hf_stat(db, &stats));
  CHECK(stats.size == sizeof stats && stats.processes == 1);
  CHECK(stats.csn_published != 0 && stats.csn_published != UINT64_MAX && stats.csn_durable <= stats.csn_published);
  CHECK(stats.commits != 0 && stats.commits != UINT64_MAX && stats.syncs != 0 && stats.log_bytes != 0);
  CHECK(stats.overlay_bytes <= stats.overlay_bytes_max && stats.base_bytes != 0 && stats.conflicts != 0);
  memset(&table_stats, 0, sizeof table_stats);
  table_stats.size = sizeof table_stats;
  ANSWERS(HF_OK, hf_table_stat(db, table, &table_stats));
  CHECK(table_stats.rows_approximate != 0 && table_stats.table_id != 0);
  code = hf_maintain(db, HF_MAINTAIN_STEP);
  CHECK(code == HF_OK || code == HF_BUSY);
}

int c_api_failures(const char* directory) {
  hf_open_options options = HF_OPEN_OPTIONS_INIT;
  hf_error error = HF_ERROR_INIT;
  hf_db* db = NULL;
  hf_table* table = NULL;
  failures = 0;
  test_codes();
  options.flags = HF_OPEN_NO_CREATE;
  ANSWERS(HF_NOT_FOUND, hf_open(directory, &options, &db, &error));
  CHECK(db == NULL && error.code == HF_NOT_FOUND && strstr(error.message, directory) != NULL);
  options.flags = HF_OPEN_NO_THREAD; /* no merge but those asked for */
  options.map_size = (uint64_t)1 << 32;
  ANSWERS(HF_OK, hf_open(directory, &options, &db, &error));
  CHECK(error.code == HF_OK);
  if (db == NULL) return failures + 1;
  test_tables(db);
  ANSWERS(HF_OK, hf_table_ensure(db, "rows", &table));
  test_savepoints(db, table);
  test_cursors(db, table);
  test_rows(db, table);
  test_conflict(db, table);
  test_options(db, table);
  test_tickets(db, table);
  test_transact(db, table);
  test_execute(db, table);
  test_locks(db, table);
  test_sessions(db, table);
  test_counters(db, table);
  test_load(db);
  test_figures(db, table);
  ANSWERS(HF_OK, hf_close(&db));
  CHECK(db == NULL);
  ANSWERS(HF_OK, hf_close(&db));
  ANSWERS(HF_OK, hf_close(NULL));
  ANSWERS(HF_OK, hf_txn_end(NULL));
  ANSWERS(HF_OK, hf_load_end(NULL));
  return failures;
}
