// SPDX-License-Identifier: Apache-2.0
// Looking over a base that may be damaged: the file is read page by page, past LMDB, which follows what a damaged page
// says. Changes nothing. Any thread; any number at once.
#pragma once

#include <functional>
#include <string>

#include "base/bytes.h"
#include "base/status.h"
#include "store/store.h"

namespace hf::store {

struct BaseFinding {
  Code code = Code::kCORRUPT;
  std::uint64_t offset = UINT64_MAX;  // in data.mdb
  TableId table = 0;                  // 0: of no table
  std::string key;
  Csn csn = 0;
  std::string text;
};

// A row of a table that the directory names, its checksum right or too old to have one.
struct BaseRow {
  TableId table;
  Bytes key;
  Row row;
  std::uint64_t head_offset;  // of the row's head, in data.mdb
};

struct InspectOptions {
  std::string file;  // data.mdb
  // 0: nobody writes. Else the state of that transaction, which a snapshot must keep (Snapshot::transaction).
  std::uint64_t transaction = 0;
  std::function<bool(const BaseFinding& finding)> found;                  // false: stop
  std::function<void(const BaseRow& row)> row;                            // may be empty
  std::function<bool(std::uint64_t done, std::uint64_t total)> progress;  // bytes; may be empty; false: stop
  // Bytes that mean something; may be empty.
  std::function<void(std::uint64_t offset, std::uint64_t size, const char* what)> covers;
};

struct BaseSummary {
  std::uint64_t pages = 0;
  std::uint64_t rows = 0;            // with a right checksum
  std::uint64_t rows_unchecked = 0;  // from before there were any
  std::uint64_t rows_unnamed = 0;    // of loads that did not finish: no table owns them
  Csn applied_csn = 0;
  bool has_applied = false;  // else the record is missing or damaged
  bool clean = false;
  std::string database_id;  // 16 hex digits; empty: none
};

// kNOT_FOUND: no file; or the transaction's state is not there any more: take a new snapshot. kCANCELLED: `found` or
// `progress` said so. kWRONG_FORMAT: it is no file of ours, or a newer one. Else kOK, whatever was found.
Result<BaseSummary> inspect_base(const InspectOptions& options);

}  // namespace hf::store
