// SPDX-License-Identifier: Apache-2.0
// Appending: into the ring, under the commit latch. No system call, no allocation, nothing that can fail.
//
// Everything that append writes before its last store, that of appended_csn, is either ignored until then (ring bytes
// after the end, the other tail slot) or recognised as unfinished by whoever looks (a row in kLive that the tail does
// not know). So a kill needs no repair.
#include <cassert>

#include "log/impl.h"
#include "platform/test_point.h"

namespace hf::log {

Tail Log::Impl::tail_at(Csn csn) const noexcept {
  // Acquire pairs with publish(): see tail().
  const TailSlot& slot = shared_.tail[csn & 1];
  return Tail{csn, slot.record_lsn.load(std::memory_order_acquire), slot.end_lsn.load(std::memory_order_acquire),
              slot.row.load(std::memory_order_acquire), slot.in_file.load(std::memory_order_acquire) != 0};
}

Tail Log::Impl::tail() const noexcept {
  for (;;) {
    const Csn csn = shared_.appended_csn.load(std::memory_order_acquire);
    const Tail result = tail_at(csn);
    // The slot is written again only for csn + 2, with release stores after appended_csn became csn + 1: whoever saw
    // one of those sees that as well.
    if (shared_.appended_csn.load(std::memory_order_relaxed) == csn) return result;
  }
}

std::uint64_t Log::Impl::seed_of(std::uint32_t row) const noexcept {
  return frame_seed(options_.database_id, shared_.segments[row].sequence.load(std::memory_order_relaxed));
}

bool Log::Impl::fits(const SegmentRow& row, std::uint64_t lsn, std::uint64_t frame) const noexcept {
  const std::uint64_t used = lsn - row.base_lsn.load(std::memory_order_relaxed);
  return kSegmentHeaderSize + used + frame + kRollSize <= row.size.load(std::memory_order_relaxed);
}

// Whether an append that rolls may go on in this row.
bool Log::Impl::is_takeable(const SegmentRow& row, std::uint64_t tail_sequence) const noexcept {
  // Acquire pairs with the release store that made the row ready.
  const auto state = static_cast<SegmentState>(row.state.load(std::memory_order_acquire));
  if (state == SegmentState::kReady) return true;
  if (state != SegmentState::kLive) return false;
  return row.sequence.load(std::memory_order_relaxed) >
         tail_sequence;  // left by an append killed before its commit point
}

// The smallest takeable row in which the frame fits, or kNoRow.
std::uint32_t Log::Impl::find_next(std::uint64_t tail_sequence, std::uint64_t frame) const noexcept {
  std::uint32_t best = kNoRow;
  std::uint64_t best_size = UINT64_MAX;
  for (std::uint32_t i = 0; i < kSegmentsMax; ++i) {
    const SegmentRow& row = shared_.segments[i];
    if (!is_takeable(row, tail_sequence)) continue;
    const std::uint64_t size = row.size.load(std::memory_order_relaxed);
    if (size >= kSegmentHeaderSize + frame + kRollSize && size < best_size) {
      best = i;
      best_size = size;
    }
  }
  return best;
}

bool Log::Impl::has_segment_room(const Tail& tail, std::uint64_t frame) const noexcept {
  const SegmentRow& row = shared_.segments[tail.row];
  return fits(row, tail.end_lsn, frame) || find_next(row.sequence.load(std::memory_order_relaxed), frame) != kNoRow;
}

bool Log::Impl::has_ring_room(const Tail& tail, std::uint64_t bytes) const noexcept {
  // Acquire pairs with write_out(): the flusher has read what is to be overwritten. Stale only means less room.
  return tail.end_lsn + bytes - shared_.written_lsn.load(std::memory_order_acquire) <= kRingSize;
}

bool Log::Impl::has_room(std::size_t body_size) const noexcept {
  if (body_size > kRecordSizeMax || has_failed()) return false;
  const Tail now = tail_at(shared_.appended_csn.load(std::memory_order_relaxed));
  const std::uint64_t frame = frame_size(body_size);
  const std::uint64_t in_ring = kRollSize + (body_size > kDirectSizeMin ? 0 : frame);
  return has_ring_room(now, in_ring) && has_segment_room(now, frame);
}

void Log::Impl::publish(const Tail& next) noexcept {
  TailSlot& slot = shared_.tail[next.csn & 1];
  slot.record_lsn.store(next.record_lsn, std::memory_order_release);
  slot.end_lsn.store(next.end_lsn, std::memory_order_release);
  slot.row.store(next.row, std::memory_order_release);
  slot.in_file.store(next.in_file ? 1 : 0, std::memory_order_release);
  platform::reach("log.append.before_publish");
  shared_.appended_csn.store(next.csn, std::memory_order_release);
  platform::reach("log.append.published");
}

// Ends the tail's segment with a roll frame and takes the next row. Requires: find_next() finds one.
void Log::Impl::roll(const Tail& tail, std::uint64_t frame, std::uint32_t* row_index, std::uint64_t* lsn) noexcept {
  SegmentRow& old = shared_.segments[tail.row];
  const std::uint64_t sequence = old.sequence.load(std::memory_order_relaxed);
  const std::uint32_t next = find_next(sequence, frame);
  assert(next != kNoRow);
  for (std::uint32_t i = 0; i < kSegmentsMax; ++i) {  // what killed appends took and this one does not need
    SegmentRow& row = shared_.segments[i];
    if (i == next || row.state.load(std::memory_order_relaxed) != static_cast<std::uint32_t>(SegmentState::kLive))
      continue;
    if (!is_takeable(row, sequence)) continue;
    row.state.store(static_cast<std::uint32_t>(SegmentState::kReady), std::memory_order_release);
  }

  SegmentRow& row = shared_.segments[next];
  row.base_lsn.store(tail.end_lsn + kRollSize, std::memory_order_relaxed);
  row.first_csn.store(tail.csn + 1, std::memory_order_relaxed);
  row.sequence.store(sequence + 1, std::memory_order_relaxed);
  // After the sequence: a row in kLive never shows the sequence of an earlier use.
  row.state.store(static_cast<std::uint32_t>(SegmentState::kLive), std::memory_order_release);
  platform::reach("log.roll");
  old.last_csn.store(tail.csn, std::memory_order_relaxed);
  const FrameHeader header = make_roll_header(tail.csn, row.file_no.load(std::memory_order_relaxed),
                                              frame_seed(options_.database_id, sequence));
  ring_put(ring_, tail.end_lsn, &header, sizeof header);
  *row_index = next;
  *lsn = tail.end_lsn + kRollSize;
}

void Log::Impl::append(Csn csn, Bytes body) noexcept {
  const Tail now = tail_at(shared_.appended_csn.load(std::memory_order_relaxed));
  assert(csn == now.csn + 1);
  assert(body.size() <= kDirectSizeMin);
  const std::uint64_t frame = frame_size(body.size());
  assert(has_ring_room(now, frame + kRollSize));

  std::uint64_t lsn = now.end_lsn;
  std::uint32_t row = now.row;
  if (!fits(shared_.segments[row], lsn, frame)) roll(now, frame, &row, &lsn);

  // A direct append of this csn that was killed before its commit point: its place in the file is the ring's again.
  if (shared_.direct_csn.load(std::memory_order_relaxed) == csn) {
    shared_.direct_csn.store(0, std::memory_order_relaxed);
  }

  const FrameHeader header =
      make_record_header(csn, shared_.durable_csn.load(std::memory_order_relaxed), body, seed_of(row));
  ring_put(ring_, lsn, &header, sizeof header);
  ring_put(ring_, lsn + sizeof header, body.data(), body.size());
  ring_put(ring_, lsn + sizeof header + body.size(), kZeroFrame, frame - sizeof header - body.size());
  publish(Tail{csn, lsn, lsn + frame, row, false});
}

Status Log::Impl::last(Csn* csn, std::string* body) const {
  const Tail now = tail_at(shared_.appended_csn.load(std::memory_order_relaxed));
  if (now.record_lsn == now.end_lsn) return Status(Code::kNOT_FOUND, "the log has no record");
  *csn = now.csn;
  if (now.in_file) return last_in_file(now, body);
  // Still in the ring: a killed append may have written after the end, but two records together never fill the ring.
  static_assert(2 * (frame_size(kDirectSizeMin) + kRollSize) <= kRingSize);
  FrameHeader header;
  ring_get(ring_, now.record_lsn, &header, sizeof header);
  if (header.magic != kFrameMagic || header.csn != now.csn || header.body_size > kDirectSizeMin ||
      frame_size(header.body_size) != now.end_lsn - now.record_lsn) {
    return Status(Code::kCORRUPT, "the newest record in the log's ring is damaged");
  }
  body->resize(header.body_size);
  ring_get(ring_, now.record_lsn + sizeof header, body->data(), body->size());
  if (header.checksum != frame_checksum(header, body->data(), seed_of(now.row))) {
    return Status(Code::kCORRUPT, "the newest record in the log's ring is damaged");
  }
  return {};
}

Status Log::Impl::last_in_file(const Tail& tail, std::string* body) const {
  const SegmentRow& row = shared_.segments[tail.row];
  const std::string path = segment_path(options_.directory, row.file_no.load(std::memory_order_relaxed));
  auto file = platform::File::open(path, platform::File::Mode::kReadOnly);
  if (!file.ok()) return std::move(file).status();
  const std::uint64_t offset = kSegmentHeaderSize + tail.record_lsn - row.base_lsn.load(std::memory_order_relaxed);
  const Status damaged(Code::kCORRUPT, path + ": damaged record at offset " + std::to_string(offset));
  FrameHeader header;
  auto got = file->read_at(&header, sizeof header, offset);
  if (!got.ok()) return std::move(got).status();
  if (*got != sizeof header || header.magic != kFrameMagic || header.csn != tail.csn ||
      header.body_size > kRecordSizeMax || frame_size(header.body_size) != tail.end_lsn - tail.record_lsn) {
    return damaged;
  }
  body->resize(header.body_size);
  got = file->read_at(body->data(), body->size(), offset + sizeof header);
  if (!got.ok()) return std::move(got).status();
  if (*got != body->size() || header.checksum != frame_checksum(header, body->data(), seed_of(tail.row)))
    return damaged;
  return {};
}

}  // namespace hf::log
