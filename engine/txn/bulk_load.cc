// SPDX-License-Identifier: Apache-2.0
#include "txn/bulk_load.h"

namespace hf::txn {

BulkLoad::~BulkLoad() {
  if (!active()) return;
  load_.reset();
  database_->leave_role();
}

Status BulkLoad::begin(TableId data_id, Deadline deadline) {
  if (active()) return Status(Code::kMISUSE, "the load has begun already");
  if (Status status = database_->take_role(deadline); !status.ok()) return status;
  // Rows loaded together have the version of the newest commit before them.
  const Csn version = database_->shared().txn().published_csn.load(std::memory_order_acquire);
  Result<std::unique_ptr<store::Load>> load = database_->store().begin_load(data_id, version == 0 ? 1 : version);
  if (!load.ok()) {
    database_->leave_role();
    return std::move(load).status();
  }
  load_ = std::move(load).value();
  return {};
}

Status BulkLoad::add(Bytes key, Bytes value, std::uint64_t ttl_ms) {
  if (!active()) return Status(Code::kMISUSE, "the load has ended");
  if (key.empty()) return Status(Code::kINVALID_ARGUMENT, "empty key");
  if (key.size() > kKeySizeMax) return Status(Code::kTOO_LARGE, "key of " + std::to_string(key.size()) + " bytes");
  if (value.size() > kValueSizeMax)
    return Status(Code::kTOO_LARGE, "value of " + std::to_string(value.size()) + " bytes");
  std::uint64_t expires_ms = 0;
  if (ttl_ms != 0) {
    const std::uint64_t now = wall_ms();
    expires_ms = ttl_ms > UINT64_MAX - now ? UINT64_MAX : now + ttl_ms;
  }
  return load_->add(key, value, 0, expires_ms);
}

Status BulkLoad::finish() {
  if (!active()) return Status(Code::kMISUSE, "the load has ended");
  Status status = load_->finish();
  load_.reset();
  if (status.ok()) database_->base_changed();
  database_->leave_role();
  return status;
}

}  // namespace hf::txn
