// SPDX-License-Identifier: Apache-2.0
// Layer `admin`: what an operator does to a database as a whole. May include `catalog` and below; used by `capi`.
//
//   log_bound.h   up to which commit a log is durable      manifest.h      what a backup says of itself
//   log_reader.h  commits of a log, one by one             backup_stream.h the same as a stream of bytes
//   backup.h      copies of a live database                restore.h       a database from a copy and a log
//   compact.h     the base without its free pages          destination.h   directories that are made whole or not at
//   all
//
// LogBound: up to which commit the log of a directory is on the device, asked from outside of its session. While a
// process has the database open, the control region says so; it is mapped for reading, no slot is taken and no latch.
// While nobody has, all counts that recovery would find in the files.
//
// What it answers stays true: a commit that was durable is so for ever, and what lies whole in the log of dead
// processes is what the next one recovers. Whether somebody is there is asked of the kernel; where the answer could
// change at that moment (somebody opens or leaves), under the gate.
//
// Thread contract: one thread at a time.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "platform/liveness.h"
#include "platform/region.h"
#include "txn/identity.h"

namespace hf::admin {

class LogBound {
 public:
  // Reads the identity. kNOT_FOUND: no database there.
  static Result<LogBound> open(const std::string& path);

  const txn::Identity& identity() const noexcept { return identity_; }
  // The newest durable commit; log::Reader::kWholeLog when nobody has it open. kBUSY: somebody was opening or leaving
  // up to the deadline.
  Result<Csn> look(Deadline deadline);
  // After kWholeLog was answered and a record was read: whether still nobody has it open, so that the record counts.
  bool still_dead() const;
  // Sleeps until there may be more than `seen`, for some milliseconds at most.
  void wait(Csn seen, Deadline deadline) const noexcept;

 private:
  LogBound(std::string path, txn::Identity identity, platform::Liveness liveness) noexcept
      : path_(std::move(path)), identity_(identity), liveness_(std::move(liveness)) {}
  bool is_mapped_session() const;
  Status map_session();
  Csn durable() const noexcept;

  std::string path_;
  txn::Identity identity_;
  platform::Liveness liveness_;
  platform::Region region_;               // of the session that was last seen
  std::uint64_t device_ = 0, inode_ = 0;  // of its file
};

}  // namespace hf::admin
