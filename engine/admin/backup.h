// SPDX-License-Identifier: Apache-2.0
// Copies of a database that is open, as it is at one commit, while others go on. Everything committed so far is merged
// first; then the base is copied as of one snapshot of LMDB. That pins no overlay memory; the base grows by the pages
// that merges replace meanwhile.
//
// Thread contract: any thread, any number at once.
#pragma once

#include <cstdint>
#include <string>

#include "admin/progress.h"
#include "base/bytes.h"
#include "base/status.h"
#include "txn/database.h"

namespace hf::admin {

struct BackupResult {
  Csn csn = 0;
  std::uint64_t committed_at_ms = 0;  // of it; 0: not known
  std::uint64_t bytes = 0;            // written
};

// To a directory, which becomes a database of its own. kEXISTS: it is not empty. kBUSY: a bulk load has the base.
Status backup(txn::Database& database, const std::string& destination, const Progress& progress, BackupResult* result);
// As a stream (backup_stream.h).
Status backup_stream(txn::Database& database, int fd, const Progress& progress, BackupResult* result);

}  // namespace hf::admin
