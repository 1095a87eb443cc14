// SPDX-License-Identifier: Apache-2.0
// New databases from backups and logs.
#include "admin/restore.h"

#include "capi/path_call.h"

namespace hf::capi {
namespace {

Status read_options(const hf_restore_options* given, const hf_restore_result* result, admin::RestoreOptions* out) {
  hf_restore_options options;
  if (Status status = read_sized(given, "hf_restore_options", &options); !status.ok()) return status;
  if (options.flags != 0) {
    return Status(Code::kINVALID_ARGUMENT, "flags " + std::to_string(options.flags) + " is not legal");
  }
  if (options.log_of != nullptr) out->log_of = options.log_of;
  out->until_csn = options.until_csn;
  out->until_ms = options.until_ms;
  out->progress = to_progress(options.progress, options.progress_context);
  return check_output(result, "hf_restore_result");
}

// `run` takes the options and where the result goes, and answers a Status.
template <typename Run>
int restore_call(const char* destination, const hf_restore_options* given, hf_restore_result* result, hf_error* error,
                 Run&& run) noexcept {
  return path_call(error, [&]() -> Status {
    admin::RestoreOptions options;
    admin::RestoreResult made;
    if (Status status = check_path(destination, "destination"); !status.ok()) return status;
    if (Status status = read_options(given, result, &options); !status.ok()) return status;
    if (Status status = run(options, &made); !status.ok()) return status;
    if (result == nullptr) return {};
    hf_restore_result full{};
    full.csn = made.csn;
    full.committed_at_ms = made.committed_at_ms;
    full.records = made.records;
    write_sized(full, result);
    return {};
  });
}

}  // namespace
}  // namespace hf::capi

using namespace hf::capi;
using hf::Status;

int hf_restore(const char* backup, const char* destination, const hf_restore_options* options,
               hf_restore_result* result, hf_error* error) {
  return restore_call(destination, options, result, error,
                      [&](const hf::admin::RestoreOptions& given, hf::admin::RestoreResult* made) -> Status {
                        if (Status status = check_path(backup, "backup"); !status.ok()) return status;
                        return hf::admin::restore(backup, destination, given, made);
                      });
}

int hf_restore_fd(int fd, const char* destination, const hf_restore_options* options, hf_restore_result* result,
                  hf_error* error) {
  return restore_call(destination, options, result, error,
                      [&](const hf::admin::RestoreOptions& given, hf::admin::RestoreResult* made) -> Status {
                        if (fd < 0) {
                          return {hf::Code::kINVALID_ARGUMENT, "fd " + std::to_string(fd) + " is not legal"};
                        }
                        return hf::admin::restore_stream(fd, destination, given, made);
                      });
}
