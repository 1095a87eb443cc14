// SPDX-License-Identifier: Apache-2.0
// The frame of exported functions that work on a path and have no handle: nothing thrown gets out, and the failure's
// detail goes to the caller's `error`, which may be NULL. And progress functions of callers.
#pragma once

#include <string>

#include "admin/progress.h"
#include "capi/call.h"
#include "capi/options.h"
#include "holdfast/admin.h"

namespace hf::capi {

// `body` answers a Status.
template <typename Body>
int path_call(hf_error* error, Body&& body) noexcept {
  if (error != nullptr && !output_is_legal(error)) return HF_INVALID_ARGUMENT;
  return guarded([&] {
    Status status;
    try {
      status = body();
    } catch (...) {
      status = thrown_code();
    }
    Failure failure;
    const int code = status.ok() ? HF_OK : failure.set(std::move(status));
    if (error != nullptr) {
      hf_error full;
      failure.describe(nullptr, &full);
      write_sized(full, error);
    }
    return code;
  });
}

inline Status check_path(const char* path, const char* name) {
  if (path == nullptr) return null_argument(name);
  if (*path == '\0') return Status(Code::kINVALID_ARGUMENT, std::string("the argument `") + name + "` is empty");
  return {};
}

// An output struct that may be NULL.
template <typename Output>
Status check_output(const Output* given, const char* name) {
  if (given == nullptr || output_is_legal(given)) return {};
  return wrong_size(name, given->size);
}

inline admin::Progress to_progress(hf_progress function, void* context) {
  if (function == nullptr) return {};
  return [function, context](std::uint64_t done, std::uint64_t total) { return function(done, total, context) == 0; };
}

}  // namespace hf::capi
