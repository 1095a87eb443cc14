// SPDX-License-Identifier: Apache-2.0
// Segment files: made ahead of need, used again, removed. Rows change hands under the prepare latch; the only step
// outside of it is append's kReady -> kLive, which the rest here treats as final.
#include <algorithm>

#include "log/impl.h"
#include "platform/test_point.h"

namespace hf::log {
namespace {

using platform::Acquired;
using platform::File;

constexpr std::uint32_t kReadyRowsMax = 3;  // files kept for use again: covers a burst while a merge runs

SegmentState state_of(const SegmentRow& row) noexcept {
  return static_cast<SegmentState>(row.state.load(std::memory_order_acquire));
}
void set_state(SegmentRow& row, SegmentState state) noexcept {
  row.state.store(static_cast<std::uint32_t>(state), std::memory_order_release);
}

}  // namespace

// Not under the commit latch: all it looks at may be stale, so has_room() decides in the end.
Status Log::Impl::make_room(std::size_t body_size, Deadline deadline) {
  if (body_size > kRecordSizeMax) return Status(Code::kTOO_LARGE, "a transaction's record is over the limit");
  const std::uint64_t frame = frame_size(body_size);
  const std::uint64_t in_ring = kRollSize + (body_size > kDirectSizeMin ? 0 : frame);
  bool look_at_holder = false;
  for (;;) {
    const std::uint32_t seen = shared_.durable_word.load(std::memory_order_acquire);
    if (has_failed()) return failure();
    const Tail now = tail();
    if (!has_segment_room(now, frame)) {
      if (prepare_latch_.acquire(deadline) == Acquired::kNo) {
        return Status(Code::kTIMEOUT, "the next log segment was not ready in time");
      }
      clear_killed();
      const Status status = has_segment_room(tail(), frame) ? Status() : prepare(frame);
      prepare_latch_.release();
      if (!status.ok()) return status;
      continue;
    }
    if (has_ring_room(now, in_ring)) return {};
    if ((look_at_holder || flush_latch_.holder() == 0) && flush_latch_.try_acquire() != Acquired::kNo) {
      // Room needs no sync. Those who also wait for room sleep on durable_word.
      const Status status = write_out(tail());
      leave_flush();
      shared_.durable_word.fetch_add(1, std::memory_order_release);
      platform::futex_wake(shared_.durable_word, platform::kWakeAll);
      if (!status.ok()) return status;
      look_at_holder = false;
      continue;
    }
    const std::uint64_t sleep_ns = deadline.remaining_ns(platform::kLookAgainNs);
    if (sleep_ns == 0) return Status(Code::kTIMEOUT, "the log's ring did not empty in time");
    platform::futex_wait(shared_.durable_word, seen, sleep_ns);
    look_at_holder = shared_.durable_word.load(std::memory_order_relaxed) == seen;
  }
}

Status Log::Impl::prepare_ahead() {
  const Tail now = tail();
  const SegmentRow& row = shared_.segments[now.row];
  const std::uint64_t used = kSegmentHeaderSize + now.end_lsn - row.base_lsn.load(std::memory_order_relaxed);
  if (used <= row.size.load(std::memory_order_relaxed) / 2 || ready_rows() != 0) return {};
  if (has_failed()) return failure();
  if (prepare_latch_.try_acquire() == Acquired::kNo) return {};  // somebody is at it
  clear_killed();
  const Status status = ready_rows() != 0 ? Status() : prepare(frame_size(0));
  prepare_latch_.release();
  return status;
}

std::uint32_t Log::Impl::ready_rows() const noexcept {
  return static_cast<std::uint32_t>(
      std::count_if(std::begin(shared_.segments), std::end(shared_.segments),
                    [](const SegmentRow& row) { return state_of(row) == SegmentState::kReady; }));
}

// Finishes what a killed holder of the prepare latch was doing with files.
void Log::Impl::clear_killed() noexcept {
  for (SegmentRow& row : shared_.segments) {
    if (state_of(row) != SegmentState::kMaking) continue;
    const Status removed =
        platform::remove_file(segment_path(options_.directory, row.file_no.load(std::memory_order_relaxed)));
    // One that cannot be removed now is tried again by the next holder.
    if (removed.ok()) set_state(row, SegmentState::kNone);
  }
}

// Makes a segment in which that frame fits: twice the current one's size, or just what is needed when the disk is full.
Status Log::Impl::prepare(std::uint64_t frame) {
  const auto free_row = std::find_if(std::begin(shared_.segments), std::end(shared_.segments),
                                     [](const SegmentRow& row) { return state_of(row) == SegmentState::kNone; });
  if (free_row == std::end(shared_.segments)) {
    return Status(Code::kOVERLOADED, "the log has its largest number of segments; merging has to free some");
  }
  const auto index = static_cast<std::uint32_t>(free_row - std::begin(shared_.segments));
  const std::uint64_t current = shared_.segments[tail().row].size.load(std::memory_order_relaxed);
  const std::uint64_t needed = std::max(options_.segment_size_min, kSegmentHeaderSize + frame + kRollSize);
  const std::uint64_t least = align_up(needed, kSegmentHeaderSize);
  const std::uint64_t wanted = std::max(least, std::min(2 * current, options_.segment_size_max));
  Status status = make_segment(index, wanted);
  if (status.code() == Code::kDISK_FULL && least < wanted) status = make_segment(index, least);
  return status;
}

Status Log::Impl::make_segment(std::uint32_t index, std::uint64_t size) {
  SegmentRow& row = shared_.segments[index];
  const std::uint32_t file_no = shared_.next_file_no.fetch_add(1, std::memory_order_relaxed);
  row.file_no.store(file_no, std::memory_order_relaxed);
  set_state(row, SegmentState::kMaking);
  const std::string path = segment_path(options_.directory, file_no);
  auto file = File::open(path, File::Mode::kCreateNew);
  if (!file.ok()) {
    clear_killed();
    return std::move(file).status();
  }
  Status status = file->fill_zero(size);
  platform::reach("log.prepare");
  if (status.ok()) status = file->sync_data();
  if (status.ok()) status = platform::sync_directory(options_.directory);
  if (!status.ok()) {
    clear_killed();
    return status;
  }
  row.size.store(size, std::memory_order_relaxed);
  set_state(row, SegmentState::kReady);
  return {};
}

// --- after a merge -----------------------------------------------------------------------------------------------

// Rows whose commits are all in the base and which nobody asked to keep, oldest first.
std::vector<std::uint32_t> Log::Impl::releasable(Csn applied) const {
  // A later segment's header is on the device: a recovery finds its start there. Acquire pairs with flush().
  const std::uint64_t durable_sequence = shared_.durable_sequence.load(std::memory_order_acquire);
  const Csn durable = shared_.durable_csn.load(std::memory_order_acquire);
  std::vector<std::uint32_t> merged;
  std::uint64_t bytes = 0;
  std::uint32_t rows = 0;
  for (std::uint32_t i = 0; i < kSegmentsMax; ++i) {
    const SegmentRow& row = shared_.segments[i];
    if (state_of(row) == SegmentState::kNone) continue;
    ++rows;
    if (state_of(row) != SegmentState::kLive || row.sequence.load(std::memory_order_relaxed) >= durable_sequence)
      continue;
    if (row.last_csn.load(std::memory_order_relaxed) > std::min(applied, durable)) continue;
    merged.push_back(i);
    bytes += row.size.load(std::memory_order_relaxed);
  }
  const auto sequence_of = [this](std::uint32_t i) {
    return shared_.segments[i].sequence.load(std::memory_order_relaxed);
  };
  std::sort(merged.begin(), merged.end(),
            [&](std::uint32_t left, std::uint32_t right) { return sequence_of(left) < sequence_of(right); });
  std::size_t count = 0;
  for (; count < merged.size() && (bytes > options_.keep_bytes || rows > kSegmentsKeptMax); ++count, --rows) {
    bytes -= shared_.segments[merged[count]].size.load(std::memory_order_relaxed);
  }
  merged.resize(count);
  return merged;
}

// A reader of the log tells by the header that the file is used again, so it goes before anything else does. Whether
// it reaches the device is of no matter: it says nothing that is wrong as long as it is there.
Status Log::Impl::forget_header(const SegmentRow& row) {
  const std::string path = segment_path(options_.directory, row.file_no.load(std::memory_order_relaxed));
  auto file = File::open(path, File::Mode::kReadWrite);
  if (!file.ok()) return std::move(file).status();
  const SegmentHeader none{};
  return file->write_at(&none, sizeof none, 0);
}

Status Log::Impl::recycle(Csn applied) {
  if (has_failed()) return failure();
  if (prepare_latch_.try_acquire() == Acquired::kNo) return {};  // the next call will do it
  clear_killed();
  const std::uint64_t current = shared_.segments[tail().row].size.load(std::memory_order_relaxed);
  const std::uint64_t size_min = std::min(current, options_.segment_size_max);
  std::uint32_t ready = ready_rows();
  Status status;
  for (const std::uint32_t index : releasable(applied)) {
    SegmentRow& row = shared_.segments[index];
    const std::uint64_t size = row.size.load(std::memory_order_relaxed);
    const bool keep = ready < kReadyRowsMax && size >= size_min && size <= options_.segment_size_max;
    if (keep && forget_header(row).ok()) {
      platform::reach("log.recycle");
      set_state(row, SegmentState::kReady);
      ++ready;
      continue;
    }
    set_state(row, SegmentState::kMaking);
    status = platform::remove_file(segment_path(options_.directory, row.file_no.load(std::memory_order_relaxed)));
    if (!status.ok()) break;
    set_state(row, SegmentState::kNone);
  }
  prepare_latch_.release();
  return status;
}

LogStats Log::Impl::stats() const noexcept {
  LogStats result{};
  const Tail now = tail();
  result.appended_csn = now.csn;
  result.bytes_appended = now.end_lsn;
  result.durable_csn = shared_.durable_csn.load(std::memory_order_acquire);
  result.syncs = shared_.syncs.load(std::memory_order_relaxed);
  result.sync_times = shared_.sync_times.read();
  for (const SegmentRow& row : shared_.segments) {
    const SegmentState state = state_of(row);
    if (state != SegmentState::kReady && state != SegmentState::kLive) continue;
    result.bytes_on_disk += row.size.load(std::memory_order_relaxed);
    ++result.segments;
  }
  return result;
}

}  // namespace hf::log
