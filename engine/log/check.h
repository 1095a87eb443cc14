// SPDX-License-Identifier: Apache-2.0
// Looking over the log's files: every segment and record, those too that recovery would not read. Changes nothing.
#pragma once

#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/status.h"
#include "log/log.h"

namespace hf::log {

struct LogFinding {
  Code code = Code::kCORRUPT;  // kOK: worth knowing
  std::string file;
  std::uint64_t offset = UINT64_MAX;
  Csn csn = 0;
  std::string text;
};

struct LogCheckOptions {
  std::string directory;
  std::uint64_t database_id = 0;
  // The commit that the base holds, and whether the last session ended in order: then an absent log is no loss.
  Csn applied = 0;
  bool clean = false;
  Csn durable = 0;  // known to be on the device; 0: only what the log itself says of that
  // Others are writing: what is after `durable` is not looked at, and files may come and go.
  bool online = false;
  std::function<bool(std::uint32_t file_no)> is_live;                     // online: whether the file holds records now
  std::function<bool(const LogFinding& finding)> found;                   // false: stop
  std::function<void(Csn csn, Bytes body)> record;                        // may be empty
  std::function<bool(std::uint64_t done, std::uint64_t total)> progress;  // bytes; may be empty; false: stop
};

struct LogSummary {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;  // of all segment files
  Csn last_csn = 0;         // newest whole record; 0: none
};

// kCANCELLED: `found` or `progress` said so. Else kOK, whatever was found.
Result<LogSummary> check_log(const LogCheckOptions& options);

}  // namespace hf::log
