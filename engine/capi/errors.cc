// SPDX-License-Identifier: Apache-2.0
// Codes and version: no handle, nothing that can fail.
#include "base/status.h"
#include "holdfast/holdfast.h"

const char* hf_code_name(int code) { return hf::code_name(code); }
const char* hf_code_text(int code) { return hf::code_text(code); }
int hf_is_retryable(int code) { return hf::code_is_retryable(code) ? 1 : 0; }
int hf_is_not_committed(int code) { return hf::code_is_not_committed(code) ? 1 : 0; }
int hf_is_maybe_committed(int code) { return hf::code_is_maybe_committed(code) ? 1 : 0; }

int hf_version(void) { return HF_VERSION_MAJOR * 10000 + HF_VERSION_MINOR * 100 + HF_VERSION_PATCH; }
