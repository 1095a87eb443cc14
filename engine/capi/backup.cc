// SPDX-License-Identifier: Apache-2.0
// Copies of an open database.
#include "admin/backup.h"

#include "capi/path_call.h"

namespace hf::capi {
namespace {

Status read_options(const hf_backup_options* given, const hf_backup_result* result, admin::Progress* progress) {
  hf_backup_options options;
  if (Status status = read_sized(given, "hf_backup_options", &options); !status.ok()) return status;
  if (options.flags != 0) {
    return Status(Code::kINVALID_ARGUMENT, "flags " + std::to_string(options.flags) + " is not legal");
  }
  *progress = to_progress(options.progress, options.progress_context);
  return check_output(result, "hf_backup_result");
}

void write_result(const admin::BackupResult& from, hf_backup_result* result) noexcept {
  if (result == nullptr) return;
  hf_backup_result full{};
  full.csn = from.csn;
  full.committed_at_ms = from.committed_at_ms;
  full.bytes = from.bytes;
  write_sized(full, result);
}

}  // namespace
}  // namespace hf::capi

using namespace hf::capi;

int hf_backup(hf_db* db, const char* destination, const hf_backup_options* options, hf_backup_result* result) {
  return db_call(db, {}, [&](hf_db& d) -> hf::Status {
    hf::admin::Progress progress;
    if (hf::Status status = check_path(destination, "destination"); !status.ok()) return status;
    if (hf::Status status = read_options(options, result, &progress); !status.ok()) return status;
    hf::admin::BackupResult made;
    if (hf::Status status = hf::admin::backup(*d.database, destination, progress, &made); !status.ok()) return status;
    write_result(made, result);
    return {};
  });
}

int hf_backup_fd(hf_db* db, int fd, const hf_backup_options* options, hf_backup_result* result) {
  return db_call(db, {}, [&](hf_db& d) -> hf::Status {
    hf::admin::Progress progress;
    if (fd < 0) return {hf::Code::kINVALID_ARGUMENT, "fd " + std::to_string(fd) + " is not legal"};
    if (hf::Status status = read_options(options, result, &progress); !status.ok()) return status;
    hf::admin::BackupResult made;
    if (hf::Status status = hf::admin::backup_stream(*d.database, fd, progress, &made); !status.ok()) return status;
    write_result(made, result);
    return {};
  });
}
