// SPDX-License-Identifier: Apache-2.0
// Hostile: the caller. The input is a list of C calls of one thread: on several transactions at once, with cursors,
// savepoints, counters, locks, sessions, whole transactions in one call, loads, maintenance and reopening between; and
// calls with arguments that no caller should give.
//
// Must hold: no crash, leak or hang; each answer is one that the model (api_model.h) allows, each row that is handed
// out is the one that the model has at the transaction's snapshot, and after all of it the database holds what the
// model holds, before and after everything is merged.
//
// Made right by the harness: keys and values are few, so that transactions meet; the database is made once and emptied
// between inputs; locks are waited for one millisecond, for nobody else runs who could give one back.
#include "fuzz/api_calls.h"
#include "fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static hf::fuzz::Calls calls;
  hf::fuzz::Input in(data, size);
  calls.begin();
  for (int count = 0; count < 200 && !in.empty(); ++count) calls.take(in);
  calls.end();
  return 0;
}
