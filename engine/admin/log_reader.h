// SPDX-License-Identifier: Apache-2.0
// LogReader: the commits of a database's log one by one, with the names of their tables, whether it is open or not.
//
// Thread contract: one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "admin/log_bound.h"
#include "catalog/names.h"
#include "log/reader.h"
#include "overlay/overlay.h"

namespace hf::admin {

// Valid until the next call on the reader.
struct Commit {
  log::FoundRecord record;
  std::uint64_t committed_at_ms = 0;
  std::vector<overlay::Change> changes;
};

class LogReader {
 public:
  // Stands before commit `from`, 0: the oldest that there is. kSNAPSHOT_TOO_OLD: it is gone. kBUSY: another process is
  // opening or leaving for longer than the deadline.
  static Result<std::unique_ptr<LogReader>> open(const std::string& path, Csn from, Deadline deadline);

  // kNOT_FOUND: none came until the deadline. Also kSNAPSHOT_TOO_OLD, kCORRUPT, kBUSY.
  Status next(Deadline deadline, Commit* out);

  // The newest commit that counts now; log::Reader::kWholeLog for a database that nobody has open.
  Result<Csn> newest(Deadline deadline) { return bound_.look(deadline); }
  const std::string& name_of(TableId data_id) const { return names_.of(data_id); }

 private:
  LogReader(const std::string& path, LogBound bound, Csn from)
      : path_(path), from_(from), bound_(std::move(bound)), log_(path + "/log", bound_.identity().database_id) {}
  Status read_base(Deadline deadline);
  Status start();
  Status read(Deadline deadline, log::FoundRecord* out);
  Status decode(Commit* out);

  const std::string path_;
  Csn from_;
  LogBound bound_;
  log::Reader log_;
  bool started_ = false;     // there is a segment, and log_ stands in it
  bool base_known_ = false;  // applied_ holds
  Csn applied_ = 0;          // of the base that the names are of
  Csn known_ = 0;            // durable, by a session that was looked at
  catalog::Names names_;
};

}  // namespace hf::admin
