// SPDX-License-Identifier: Apache-2.0
// A new database from a backup, and then from the commits that a log has after it. Rows keep the versions that they
// have in the source, and csns go on behind the last commit taken over. The database has another id, so that the logs
// of the two are never mixed up.
//
// What a log does not have are the rows of a bulk load, which go past it: a restore that would have to take over such a
// commit is refused.
#pragma once

#include <cstdint>
#include <string>

#include "admin/progress.h"
#include "base/bytes.h"
#include "base/status.h"

namespace hf::admin {

struct RestoreOptions {
  std::string log_of;          // "": the backup alone
  Csn until_csn = 0;           // 0: no limit
  std::uint64_t until_ms = 0;  // stops before the first commit made later; 0: no limit
  Progress progress;
};

struct RestoreResult {
  Csn csn = 0;
  std::uint64_t committed_at_ms = 0;  // of it; 0: not known
  std::uint64_t records = 0;          // taken over from the log
};

// `backup`: a directory, or a file that a stream was written to.
Status restore(const std::string& backup, const std::string& destination, const RestoreOptions& options,
               RestoreResult* result);
// From a stream (backup_stream.h).
Status restore_stream(int fd, const std::string& destination, const RestoreOptions& options, RestoreResult* result);

}  // namespace hf::admin
