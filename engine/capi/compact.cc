// SPDX-License-Identifier: Apache-2.0
#include "admin/compact.h"

#include "capi/path_call.h"

using namespace hf::capi;

int hf_compact(const char* path, hf_progress progress, void* progress_context, hf_compact_result* result,
               hf_error* error) {
  return path_call(error, [&]() -> hf::Status {
    if (hf::Status status = check_path(path, "path"); !status.ok()) return status;
    if (hf::Status status = check_output(result, "hf_compact_result"); !status.ok()) return status;
    hf::admin::CompactResult made;
    hf::Status status = hf::admin::compact(path, to_progress(progress, progress_context), &made);
    if (!status.ok() || result == nullptr) return status;
    hf_compact_result full{};
    full.bytes_before = made.bytes_before;
    full.bytes_after = made.bytes_after;
    write_sized(full, result);
    return {};
  });
}
