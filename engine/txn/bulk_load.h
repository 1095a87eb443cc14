// SPDX-License-Identifier: Apache-2.0
// BulkLoad: sorted rows straight into the base, past log and overlay, under a table number of their own that nobody
// knows. The catalog makes them the table's rows by one ordinary commit, so they appear at once or never.
// Holds the maintainer role from begin() to the end: merges wait meanwhile. One thread at a time.
#pragma once

#include <memory>

#include "base/status.h"
#include "store/store.h"
#include "txn/database.h"

namespace hf::txn {

class BulkLoad {
 public:
  explicit BulkLoad(std::shared_ptr<Database> database) noexcept : database_(std::move(database)) {}
  ~BulkLoad();  // gives up what is not finished
  BulkLoad(const BulkLoad&) = delete;

  // Waits for the role until the deadline: kBUSY. `data_id` must be a fresh number.
  Status begin(TableId data_id, Deadline deadline);
  Status add(Bytes key, Bytes value, std::uint64_t ttl_ms);  // kINVALID_ARGUMENT when out of order
  // Makes the rows durable and visible to new views under data_id. Gives the role back.
  Status finish();
  bool active() const noexcept { return load_ != nullptr; }

 private:
  std::shared_ptr<Database> database_;
  std::unique_ptr<store::Load> load_;
};

}  // namespace hf::txn
