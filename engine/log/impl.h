// SPDX-License-Identifier: Apache-2.0
// The inside of Log: one object per process and open. Its phases are the files:
//
//   append.cc    room, append, roll, last            flush.cc     ring -> files -> device, waiting, failure
//   direct.cc    records that go round the ring      segments.cc  making, recycling and removing files
//   recover.cc   a log from files (scan.cc reads)    salvage.cc   what a dead session left in its ring
//
// Lock order: prepare latch, flush latch, commit latch; none of the first two is ever taken while holding another
// except that append_direct runs with the flush latch and then the commit latch held.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "log/frame.h"
#include "log/log.h"
#include "platform/file.h"
#include "platform/latch.h"

namespace hf::log {

inline constexpr std::uint32_t kNoRow = UINT32_MAX;

// The end of the log as of commit `csn`.
struct Tail {
  Csn csn;
  std::uint64_t record_lsn;
  std::uint64_t end_lsn;
  std::uint32_t row;
  bool in_file;
};

class Log::Impl {
 public:
  Impl(LogShared& shared, char* ring, const platform::Liveness& liveness, LogOptions options)
      : shared_(shared),
        ring_(ring),
        options_(std::move(options)),
        flush_latch_(shared.flush_latch, liveness),
        prepare_latch_(shared.prepare_latch, liveness) {}

  // append.cc; [latch] as in log.h.
  bool has_room(std::size_t body_size) const noexcept;
  void append(Csn csn, Bytes body) noexcept;
  Status last(Csn* csn, std::string* body) const;

  // direct.cc
  Status lock_direct(std::size_t body_size, Deadline deadline);
  Status append_direct(Csn csn, Bytes body);
  void unlock_direct() noexcept { leave_flush(); }

  // flush.cc
  Status wait_durable(Csn csn, Deadline deadline);
  Status failure() const;
  bool has_failed() const noexcept { return shared_.failed.load(std::memory_order_acquire) != 0; }
  void fail(const Status& why) noexcept;

  // segments.cc
  Status make_room(std::size_t body_size, Deadline deadline);
  Status prepare_ahead();
  Status recycle(Csn applied);
  LogStats stats() const noexcept;

  LogShared& shared() const noexcept { return shared_; }

 private:
  // append.cc
  Tail tail_at(Csn csn) const noexcept;  // [latch]: requires csn == appended_csn
  Tail tail() const noexcept;            // any time: a consistent copy
  bool fits(const SegmentRow& row, std::uint64_t lsn, std::uint64_t frame) const noexcept;
  bool is_takeable(const SegmentRow& row, std::uint64_t tail_sequence) const noexcept;
  std::uint32_t find_next(std::uint64_t tail_sequence, std::uint64_t frame) const noexcept;
  bool has_segment_room(const Tail& tail, std::uint64_t frame) const noexcept;
  bool has_ring_room(const Tail& tail, std::uint64_t bytes) const noexcept;
  void roll(const Tail& tail, std::uint64_t frame, std::uint32_t* row, std::uint64_t* lsn) noexcept;
  void publish(const Tail& next) noexcept;
  std::uint64_t seed_of(std::uint32_t row) const noexcept;
  Status last_in_file(const Tail& tail, std::string* body) const;

  // flush.cc; all but the wakes and find_live need the flush latch.
  Status flush(Csn wanted);
  Status write_out(const Tail& target);
  Status write_ring(std::uint32_t row, std::uint64_t begin, std::uint64_t end);
  Status write_segment(std::uint32_t row, std::uint64_t begin, std::uint64_t end, Csn target_csn);
  Status begin_segment(std::uint32_t row);
  Status sync_segment(std::uint32_t row);
  Status open_segment(std::uint32_t row);
  std::uint32_t find_live(std::uint64_t sequence) const noexcept;
  Status failed_by(Status why) noexcept;
  void wake_batch(std::uint64_t parity, bool both) noexcept;
  void leave_flush() noexcept;  // releases the flush latch and wakes one of those whom the next flush will cover

  // segments.cc; need the prepare latch.
  void clear_killed() noexcept;
  std::vector<std::uint32_t> releasable(Csn applied) const;
  Status forget_header(const SegmentRow& row);
  std::uint32_t ready_rows() const noexcept;
  Status prepare(std::uint64_t frame);
  Status make_segment(std::uint32_t index, std::uint64_t size);

  LogShared& shared_;
  char* const ring_;
  const LogOptions options_;
  platform::RobustLatch flush_latch_;
  platform::RobustLatch prepare_latch_;
  // Guarded by the flush latch: the segment file that this process wrote last. One only, so that a removed segment's
  // space is held by at most one descriptor per process.
  platform::File segment_;
  std::uint32_t segment_file_no_ = 0;
};

}  // namespace hf::log
