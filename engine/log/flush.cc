// SPDX-License-Identifier: Apache-2.0
// Flushing: the ring into the files, the files onto the device, and everybody who waits for that.
//
// Group commit without a daemon. Flushes are numbered; only the parity of the number matters. Whoever finds the flush
// latch free flushes all that is appended so far. A waiter covered by the running flush sleeps on batch_word[parity of
// it], any other on the other word, because the flush after the running one will cover it. When a flush ends, one
// sleeper of the other word is woken first, who starts the next flush at once, then all of its own batch:
//
//   flush 7 (parity 1)  |== write, sync ==|                          batch_word[1]: all woken at its end
//   flush 8 (parity 0)                    |== write, sync ==|        batch_word[0]: one woken to run it, all at its end
//
// A killed flusher leaves the latch to whoever looks next (every sleep ends after kLookAgainNs). Its work is done again
// from written_lsn on: writing the same bytes twice changes nothing.
#include <cassert>
#include <cstdio>
#include <cstring>

#include "base/probe.h"
#include "log/impl.h"
#include "platform/test_point.h"

namespace hf::log {

using platform::Acquired;

// The row in kLive with that sequence. Requires: it is at most the tail's, as read by tail().
std::uint32_t Log::Impl::find_live(std::uint64_t sequence) const noexcept {
  for (std::uint32_t i = 0; i < kSegmentsMax; ++i) {
    const SegmentRow& row = shared_.segments[i];
    if (row.state.load(std::memory_order_acquire) == static_cast<std::uint32_t>(SegmentState::kLive) &&
        row.sequence.load(std::memory_order_relaxed) == sequence) {
      return i;
    }
  }
  return kNoRow;
}

// Makes segment_ the file of that row.
Status Log::Impl::open_segment(std::uint32_t row) {
  const std::uint32_t file_no = shared_.segments[row].file_no.load(std::memory_order_relaxed);
  if (segment_.is_open() && segment_file_no_ == file_no) return {};
  auto file = platform::File::open(segment_path(options_.directory, file_no), platform::File::Mode::kReadWrite);
  if (!file.ok()) {
    // Only this process is out of descriptors or memory; others can still flush.
    if (file.code() == Code::kLIMIT || file.code() == Code::kNO_MEMORY) return std::move(file).status();
    return failed_by(std::move(file).status());
  }
  segment_ = std::move(file).value();
  segment_file_no_ = file_no;
  return {};
}

// Writes the ring's bytes [begin, end) to their place in the row's file.
Status Log::Impl::write_ring(std::uint32_t row, std::uint64_t begin, std::uint64_t end) {
  const std::uint64_t base = shared_.segments[row].base_lsn.load(std::memory_order_relaxed);
  while (begin < end) {
    const std::size_t at = begin % kRingSize;
    const std::size_t size = end - begin < kRingSize - at ? end - begin : kRingSize - at;
    Status status = segment_.write_at(ring_ + at, size, kSegmentHeaderSize + (begin - base));
    if (!status.ok()) return failed_by(std::move(status));
    begin += size;
  }
  return {};
}

// Like write_ring, but leaves out a record that is in the file already.
Status Log::Impl::write_segment(std::uint32_t row, std::uint64_t begin, std::uint64_t end, Csn target_csn) {
  const Csn direct_csn = shared_.direct_csn.load(std::memory_order_relaxed);
  const std::uint64_t direct_lsn = shared_.direct_lsn.load(std::memory_order_relaxed);
  if (direct_csn != 0 && direct_csn <= target_csn && begin <= direct_lsn && direct_lsn < end) {
    Status status = write_ring(row, begin, direct_lsn);
    if (!status.ok()) return status;
    begin = shared_.direct_end.load(std::memory_order_relaxed);
  }
  return write_ring(row, begin, end);
}

Status Log::Impl::sync_segment(std::uint32_t row) {
  Status status = open_segment(row);
  if (!status.ok()) return status;
  shared_.syncs.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t began_ns = monotonic_ns();
  HF_PROBE1(sync__begin, row);
  status = segment_.sync_data();
  const std::uint64_t took_ns = monotonic_ns() - began_ns;
  HF_PROBE2(sync__end, row, took_ns);
  shared_.sync_times.add(took_ns);
  return status.ok() ? Status() : failed_by(std::move(status));
}

// Writes the header of the row's segment. Requires: the segment before it is whole on the device.
Status Log::Impl::begin_segment(std::uint32_t row_index) {
  Status status = open_segment(row_index);
  if (!status.ok()) return status;
  const SegmentRow& row = shared_.segments[row_index];
  const SegmentHeader header = make_segment_header(
      options_.database_id, row.sequence.load(std::memory_order_relaxed), row.base_lsn.load(std::memory_order_relaxed),
      row.first_csn.load(std::memory_order_relaxed), row.size.load(std::memory_order_relaxed));
  status = segment_.write_at(&header, sizeof header, 0);
  return status.ok() ? Status() : failed_by(std::move(status));
}

// Carries everything up to the target into the files. Leaves segment_ at the target's segment.
Status Log::Impl::write_out(const Tail& target) {
  const std::uint64_t target_sequence = shared_.segments[target.row].sequence.load(std::memory_order_relaxed);
  std::uint64_t sequence = shared_.header_sequence.load(std::memory_order_relaxed);
  std::uint64_t written = shared_.written_lsn.load(std::memory_order_relaxed);
  for (;;) {
    const bool is_last = sequence == target_sequence;
    const std::uint32_t row = is_last ? target.row : find_live(sequence);
    const std::uint32_t next = is_last ? kNoRow : find_live(sequence + 1);
    if (row == kNoRow || (!is_last && next == kNoRow)) {
      return failed_by(Status(Code::kINTERNAL, "the log's segment table lost sequence " + std::to_string(sequence)));
    }
    const std::uint64_t end =
        is_last ? target.end_lsn : shared_.segments[next].base_lsn.load(std::memory_order_relaxed);
    assert(written <= end);
    Status status = open_segment(row);
    if (status.ok() && written < end) {
      status = write_segment(row, written, end, target.csn);
      if (status.ok() && is_last) {
        const std::uint64_t base = shared_.segments[row].base_lsn.load(std::memory_order_relaxed);
        status = segment_.write_at(kZeroFrame, sizeof kZeroFrame, kSegmentHeaderSize + (end - base));
        if (!status.ok()) status = failed_by(std::move(status));
      }
    }
    if (!status.ok()) return status;
    written = end;
    // Release pairs with has_ring_room(): the ring's bytes have been read.
    shared_.written_lsn.store(written, std::memory_order_release);
    if (is_last) return {};

    // Invariant 4: nothing of the next segment before all of this one is on the device.
    status = sync_segment(row);
    if (status.ok()) status = begin_segment(next);
    if (!status.ok()) return status;
    shared_.header_sequence.store(++sequence, std::memory_order_release);
  }
}

// One flush, unless `wanted` became durable before we got the latch.
Status Log::Impl::flush(Csn wanted) {
  if (shared_.durable_csn.load(std::memory_order_acquire) >= wanted) return {};
  if (has_failed()) return failure();
  const std::uint64_t parity = (shared_.flush_state.load(std::memory_order_relaxed) & 1) ^ 1;
  const Tail target = tail();
  assert(wanted <= target.csn);
  // Release pairs with wait_durable(): a waiter that sees this flush sees what earlier ones made durable.
  shared_.flush_state.store(target.csn << 1 | parity, std::memory_order_release);
  Status status = write_out(target);
  if (!status.ok()) return status;
  platform::reach("log.flush.written");
  status = sync_segment(target.row);
  if (!status.ok()) return status;
  platform::reach("log.flush.synced");
  shared_.durable_sequence.store(shared_.header_sequence.load(std::memory_order_relaxed), std::memory_order_release);
  shared_.durable_csn.store(target.csn, std::memory_order_release);
  return {};
}

void Log::Impl::leave_flush() noexcept {
  const std::uint64_t next = (shared_.flush_state.load(std::memory_order_relaxed) & 1) ^ 1;
  flush_latch_.release();
  // After the release: a waiter that read the word before this sees it change, one that reads it later sees the latch
  // free. Either way somebody tries the latch again.
  shared_.batch_word[next].fetch_add(1, std::memory_order_release);
  platform::futex_wake(shared_.batch_word[next], 1);
}

Status Log::Impl::wait_durable(Csn csn, Deadline deadline) {
  bool look_at_holder = false;
  for (;;) {
    const std::uint64_t state = shared_.flush_state.load(std::memory_order_acquire);
    const bool covered = csn <= state >> 1;
    platform::FutexWord& word = shared_.batch_word[(state & 1) ^ (covered ? 0 : 1)];
    const std::uint32_t seen = word.load(std::memory_order_acquire);
    if (shared_.durable_csn.load(std::memory_order_acquire) >= csn) return {};
    if (has_failed()) return failure();
    // The holder is only looked at after a sleep that nothing ended: asking whether it lives is a system call.
    if (look_at_holder || flush_latch_.holder() == 0) {
      const Acquired acquired = flush_latch_.try_acquire();
      if (acquired != Acquired::kNo) {
        const Csn durable_before = shared_.durable_csn.load(std::memory_order_relaxed);
        const Status status = flush(csn);
        const bool advanced = shared_.durable_csn.load(std::memory_order_relaxed) != durable_before;
        const std::uint64_t parity = shared_.flush_state.load(std::memory_order_relaxed) & 1;
        leave_flush();
        if (advanced || acquired == Acquired::kTakenOver) wake_batch(parity, acquired == Acquired::kTakenOver);
        if (!status.ok()) return status;
        look_at_holder = false;
        continue;
      }
    }
    const std::uint64_t sleep_ns = deadline.remaining_ns(platform::kLookAgainNs);
    if (sleep_ns == 0) {
      // We may have been the one woken to run the next flush: hand that on.
      for (platform::FutexWord& other : shared_.batch_word) platform::futex_wake(other, 1);
      return Status(Code::kTIMEOUT, "the commit was not on the device in time");
    }
    platform::futex_wait(word, seen, sleep_ns);
    look_at_holder = word.load(std::memory_order_relaxed) == seen;
  }
}

// Wakes everybody whom the flush of that parity covered; after the death of a flusher also those of the other.
void Log::Impl::wake_batch(std::uint64_t parity, bool both) noexcept {
  shared_.durable_word.fetch_add(1, std::memory_order_release);
  shared_.batch_word[parity].fetch_add(1, std::memory_order_release);
  platform::futex_wake(shared_.batch_word[parity], platform::kWakeAll);
  if (both) {
    shared_.batch_word[parity ^ 1].fetch_add(1, std::memory_order_release);
    platform::futex_wake(shared_.batch_word[parity ^ 1], platform::kWakeAll);
  }
  platform::futex_wake(shared_.durable_word, platform::kWakeAll);
}

// --- failure ---------------------------------------------------------------------------------------------------

void Log::Impl::fail(const Status& why) noexcept {
  std::uint32_t none = 0;
  if (shared_.failed.compare_exchange_strong(none, static_cast<std::uint32_t>(why.code()), std::memory_order_acq_rel)) {
    // Only the first failure gets here. A kill in between leaves the failure without its text.
    std::snprintf(shared_.failed_text, sizeof shared_.failed_text, "%s", why.message().c_str());
    shared_.failed_text_ready.store(1, std::memory_order_release);
  }
  wake_batch(0, true);
}

Status Log::Impl::failed_by(Status why) noexcept {
  fail(why);
  return failure();
}

Status Log::Impl::failure() const {
  if (!has_failed()) return {};
  std::string text = "an earlier failure is final until every process has closed the database";
  if (shared_.failed_text_ready.load(std::memory_order_acquire) != 0) {
    text += ": " + std::string(shared_.failed_text, ::strnlen(shared_.failed_text, sizeof shared_.failed_text));
  }
  return Status(Code::kFAILED, std::move(text));
}

}  // namespace hf::log
