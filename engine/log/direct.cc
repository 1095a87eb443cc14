// SPDX-License-Identifier: Apache-2.0
// Large records: written to the file at once instead of through the ring, where they would not fit.
//
// What goes to the file before the commit point lies after the end of the log, and no segment header is written here:
// if we are killed first, the bytes are overwritten by the next append's flush. direct_csn, direct_lsn and direct_end
// tell the flusher which part of [written_lsn, end) it must not take from the ring. They hold for the commit point
// appended_csn >= direct_csn; append() of the same csn, after a kill, takes them back.
#include <cassert>

#include "log/impl.h"
#include "platform/test_point.h"

namespace hf::log {

// On kOK the flush latch is held.
Status Log::Impl::lock_direct(std::size_t body_size, Deadline deadline) {
  const std::uint64_t frame = frame_size(body_size);
  for (;;) {
    Status status = make_room(body_size, deadline);
    if (!status.ok()) return status;
    if (flush_latch_.acquire(deadline) == platform::Acquired::kNo) {
      return Status(Code::kTIMEOUT, "a flush of the log did not end in time");
    }
    // Empties the ring, and with it the last direct record is behind us.
    status = has_failed() ? failure() : write_out(tail());
    if (!status.ok()) {
      leave_flush();
      return status;
    }
    if (has_segment_room(tail(), frame)) return {};
    leave_flush();
  }
}

Status Log::Impl::append_direct(Csn csn, Bytes body) {
  const Tail now = tail_at(shared_.appended_csn.load(std::memory_order_relaxed));
  assert(csn == now.csn + 1);
  if (has_failed()) return failure();
  if (body.size() > kRecordSizeMax) return Status(Code::kTOO_LARGE, "a transaction's record is over the limit");
  const std::uint64_t frame = frame_size(body.size());
  // The marks of the last direct record are needed until the flusher has passed it. direct_end alone says nothing: a
  // killed append leaves it too.
  const Csn direct_csn = shared_.direct_csn.load(std::memory_order_relaxed);
  const bool is_pending =
      direct_csn != 0 && direct_csn <= now.csn &&
      shared_.direct_end.load(std::memory_order_relaxed) > shared_.written_lsn.load(std::memory_order_relaxed);
  if (is_pending || !has_ring_room(now, kRollSize) || !has_segment_room(now, frame)) {
    return Status(Code::kBUSY, "others used up the log's room for a large record");
  }

  std::uint64_t lsn = now.end_lsn;
  std::uint32_t row = now.row;
  if (!fits(shared_.segments[row], lsn, frame)) roll(now, frame, &row, &lsn);

  const FrameHeader header =
      make_record_header(csn, shared_.durable_csn.load(std::memory_order_relaxed), body, seed_of(row));
  const std::uint64_t offset =
      kSegmentHeaderSize + (lsn - shared_.segments[row].base_lsn.load(std::memory_order_relaxed));
  const std::size_t padding = frame - sizeof header - body.size();
  Status status = open_segment(row);
  if (!status.ok()) return status;
  status = segment_.write_at(&header, sizeof header, offset);
  if (status.ok()) status = segment_.write_at(body.data(), body.size(), offset + sizeof header);
  if (status.ok() && padding != 0)
    status = segment_.write_at(kZeroFrame, padding, offset + sizeof header + body.size());
  if (!status.ok()) return failed_by(std::move(status));

  shared_.direct_lsn.store(lsn, std::memory_order_relaxed);
  shared_.direct_end.store(lsn + frame, std::memory_order_relaxed);
  shared_.direct_csn.store(csn, std::memory_order_relaxed);
  publish(Tail{csn, lsn, lsn + frame, row, true});
  return {};
}

}  // namespace hf::log
