// SPDX-License-Identifier: Apache-2.0
// Option structs of the C interface: checked, and turned into what the engine takes. A caller compiled against an
// older or a newer header hands over a smaller or larger struct: what it does not have is default, what we do not
// know must be zero.
#pragma once

#include <cstring>

#include "base/status.h"
#include "capi/handles.h"
#include "holdfast/holdfast.h"
#include "txn/row_cursor.h"
#include "txn/transact.h"

namespace hf::capi {

// No struct of any version is larger: a size beyond it is memory that nobody initialised.
inline constexpr std::uint32_t kStructSizeMax = 65536;

Status wrong_size(const char* name, std::uint32_t size);

// Copies the caller's options; the fields that it lacks are zero. NULL: all of them.
template <typename Options>
Status read_sized(const Options* given, const char* name, Options* out) {
  // The size and the field behind it have been there from the first version on.
  constexpr std::uint32_t kSizeMin = 8;
  *out = Options{};
  out->size = sizeof(Options);
  if (given == nullptr) return {};
  const std::uint32_t size = given->size;
  if (size < kSizeMin || size > kStructSizeMax) return wrong_size(name, size);
  const char* const bytes = reinterpret_cast<const char*>(given);
  for (std::uint32_t i = sizeof(Options); i < size; ++i) {
    if (bytes[i] != 0) return wrong_size(name, size);
  }
  std::memcpy(static_cast<void*>(out), bytes, size < sizeof(Options) ? size : sizeof(Options));
  out->size = sizeof(Options);
  return {};
}

// Whether an output struct, whose size the caller set, can be filled.
template <typename Output>
bool output_is_legal(const Output* given) noexcept {
  return given != nullptr && given->size >= 8 && given->size <= kStructSizeMax;
}

// Fills as much of the caller's struct as it has. Requires: output_is_legal.
template <typename Output>
void write_sized(const Output& full, Output* out) noexcept {
  const std::uint32_t size = out->size;
  std::memcpy(static_cast<void*>(out), &full, size < sizeof(Output) ? size : sizeof(Output));
  if (size > sizeof(Output)) std::memset(reinterpret_cast<char*>(out) + sizeof(Output), 0, size - sizeof(Output));
  out->size = size;
}

Status read_open_options(const hf_open_options* given, txn::DatabaseOptions* out);
// NULL and zero fields are the database's defaults. *session: as the caller gave it, not looked at yet; out->session is
// for who has (enter_session).
Status read_txn_options(const txn::DatabaseOptions& defaults, const hf_txn_options* given, txn::TxnOptions* out,
                        hf_session** session);
// The bounds still point to the caller's memory.
Status read_cursor_options(const hf_cursor_options* given, txn::Range* out);
Status read_transact_options(const txn::DatabaseOptions& defaults, const hf_transact_options* given,
                             txn::RetryOptions* retry, txn::TxnOptions* txn, hf_session** session);

// What a call that locks is for: the modes that it takes, the first of them when none is named.
enum class LockUse { kAny, kRead /* exclusive, shared */, kUpdate /* exclusive */, kShare /* shared */ };
struct LockCall {
  txn::LockRule rule;
  bool skip = false;  // rule.wait is false then
};
Status read_lock_options(const hf_lock_options* given, LockUse use, LockCall* out);
Status read_lock_mode(std::uint32_t given, LockUse use, lock::Mode* out);
// A name for reports; NULL leaves *out as it is.
Status read_label(const char* given, std::string* out);
// 1 to HF_TABLE_NAME_SIZE_MAX bytes of UTF-8 without control characters.
Status check_table_name(const char* name);

}  // namespace hf::capi
