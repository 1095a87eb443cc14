// SPDX-License-Identifier: Apache-2.0
// Layer `admin`: what an operator does with a whole database. May include `catalog` and below; used by `capi`.
//
// check() reads everything and changes nothing; see hf_check in holdfast/admin.h. Nobody has the database open: it
// holds the gate and reads the files past the engine. Others have: it joins them and reads what they share as well.
//
//   check.cc        what both have in common, and the offline one      check_live.cc   the other one
//   check_catalog.h names of tables, and the catalog's own rows
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/status.h"

namespace hf::admin {

struct Finding {
  Code code = Code::kCORRUPT;  // kOK: worth knowing
  std::string file;
  std::uint64_t offset = UINT64_MAX;
  std::string table;  // name or "#number"
  std::string key;
  Csn csn = 0;
  std::string text;
};

struct CheckOptions {
  std::function<bool(const Finding& finding)> found;                      // false: stop
  std::function<bool(std::uint64_t done, std::uint64_t total)> progress;  // bytes; false: stop
};

struct CheckResult {
  bool online = false;
  std::uint64_t findings = 0;
  std::uint64_t rows = 0, rows_unchecked = 0, pages = 0;
  std::uint64_t log_records = 0, log_bytes = 0;
  std::uint64_t overlay_versions = 0;
  Csn csn_applied = 0, csn_log = 0;
};

// kOK: sound. kCORRUPT, kWRONG_FORMAT: something was found, and told. kNOT_FOUND, kBUSY, kCANCELLED.
Status check(const std::string& path, const CheckOptions& options, CheckResult* result);

}  // namespace hf::admin
