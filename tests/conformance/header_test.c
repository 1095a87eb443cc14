/* SPDX-License-Identifier: Apache-2.0
 * Goal: the header alone is enough for strict C99, in the first line of a file. Method: it is here; the initializers
 * compile and set the size; every code is a constant expression. header_test_failures() is called by
 * c_api_run_test.cc. */
#include "holdfast/holdfast.h"

int header_test_failures(void);

/* Constant expressions: legal as case labels, all different. */
static int is_code(int number) {
  switch (number) {
#define HF_ERROR(name, number, retryable, not_committed, maybe_committed, text) case HF_##name:
#include "holdfast/errors.def"
#undef HF_ERROR
    return 1;
    default:
      return 0;
  }
}

int header_test_failures(void) {
  hf_error error = HF_ERROR_INIT;
  hf_open_options open_options = HF_OPEN_OPTIONS_INIT;
  hf_txn_options txn_options = HF_TXN_OPTIONS_INIT;
  hf_cursor_options cursor_options = HF_CURSOR_OPTIONS_INIT;
  hf_transact_options transact_options = HF_TRANSACT_OPTIONS_INIT;
  hf_lock_options lock_options = HF_LOCK_OPTIONS_INIT;
  int failures = 0;
  failures += error.size != sizeof error || error.code != HF_OK || error.message[0] != '\0';
  failures += open_options.size != sizeof open_options || open_options.label != NULL || open_options.reserved != 0;
  failures += txn_options.size != sizeof txn_options || txn_options.label != NULL;
  failures += cursor_options.size != sizeof cursor_options || cursor_options.limit != 0;
  failures += transact_options.size != sizeof transact_options || transact_options.txn.size != 0;
  failures += lock_options.size != sizeof lock_options || lock_options.timeout_ms != 0;
  failures += txn_options.session != NULL || open_options.lock_reserved != 0 || cursor_options.lock_mode != 0;
  failures += !is_code(HF_OK) || !is_code(HF_INTERNAL) || is_code(HF_CODE_FORCE_INT);
  failures += sizeof(HF_OK) != sizeof(int);
  return failures;
}
