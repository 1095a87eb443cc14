// SPDX-License-Identifier: Apache-2.0
// Salvage: all processes of a session died, its shared memory is still there. The records in its ring that no flush
// carried to the files go there now.
//
// The memory is untrusted: it may be of any age, or overwritten. Only frames are taken that verify under this
// database's id and the sequence of the segment that was being written, one after the other from written_lsn; the next
// segment is the one that a verified roll frame names. A salvage that is killed is simply done again. What recovery
// finds then is up to recovery: nothing here can make a wrong log out of a right one, because each frame carries its
// csn and its place.
#include "log/frame.h"
#include "log/log.h"
#include "log/scan.h"
#include "platform/file.h"

namespace hf::log {
namespace {

using platform::File;

class Salvager {
 public:
  Salvager(const LogShared& shared, const char* ring, const LogOptions& options, std::vector<SegmentFile> files)
      : shared_(shared),
        ring_(ring),
        options_(options),
        files_(std::move(files)),
        appended_csn_(shared.appended_csn.load(std::memory_order_acquire)),
        lsn_(shared.written_lsn.load(std::memory_order_relaxed)),
        limit_(lsn_ + kRingSize),
        run_begin_(lsn_) {}

  Status run() {
    const std::uint64_t sequence = shared_.header_sequence.load(std::memory_order_relaxed);
    const SegmentFile* first = find_sequence(sequence);
    if (first == nullptr) {
      // A flusher was killed between writing the next header and telling so, and the segment before it is gone.
      first = find_sequence(sequence + 1);
      if (first == nullptr || lsn_ != first->header.base_lsn) return {};
    }
    header_ = first->header;
    if (lsn_ < header_.base_lsn || lsn_ % 8 != 0 || !holds(0)) return {};
    Status status = open(*first);
    if (!status.ok()) return status;
    for (;;) {
      bool more = false;
      status = step(&more);
      if (!status.ok()) return status;
      if (!more) return finish();
    }
  }

 private:
  std::uint64_t seed() const { return frame_seed(options_.database_id, header_.sequence); }
  std::uint64_t offset(std::uint64_t lsn) const { return kSegmentHeaderSize + lsn - header_.base_lsn; }
  bool holds(std::uint64_t bytes) const { return offset(lsn_) + bytes <= header_.size; }

  const SegmentFile* find_sequence(std::uint64_t sequence) const {
    for (const SegmentFile& file : files_) {
      if (file.valid && file.header.sequence == sequence) return &file;
    }
    return nullptr;
  }

  Status open(const SegmentFile& file) {
    if (file.file_size < header_.size) return Status(Code::kCORRUPT, file.path + ": the file is too short");
    auto opened = File::open(file.path, File::Mode::kReadWrite);
    if (!opened.ok()) return std::move(opened).status();
    file_ = std::move(opened).value();
    return {};
  }

  // Goes over one frame; *more is false when nothing that verifies follows.
  Status step(bool* more) {
    FrameHeader frame;
    if (from_ring(&frame)) {
      *more = true;
      lsn_ += frame_size(frame.body_size);
      if (frame.magic == kRollMagic) return next_segment(frame, more);
      expected_ = frame.csn + 1;
      return {};
    }
    if (is_direct()) {
      Status status = write_run();
      lsn_ = run_begin_ = shared_.direct_end.load(std::memory_order_relaxed);
      ++expected_;
      *more = true;
      return status;
    }
    // All of this segment had been written, but the next one's header had not.
    if (expected_ == 0 && lsn_ >= header_.base_lsn + kRollSize) {
      auto got = file_.read_at(&frame, sizeof frame, offset(lsn_ - kRollSize));
      if (!got.ok()) return std::move(got).status();
      if (*got == sizeof frame && is_roll(frame)) return next_segment(frame, more);
    }
    return {};
  }

  bool is_roll(const FrameHeader& frame) const {
    return frame.magic == kRollMagic && frame.body_size == 0 && frame.checksum == frame_checksum(frame, "", seed());
  }

  // Whether a whole frame that belongs at lsn_ is in the ring.
  bool from_ring(FrameHeader* frame) {
    if (lsn_ + sizeof *frame > limit_ || !holds(sizeof *frame)) return false;
    ring_get(ring_, lsn_, frame, sizeof *frame);
    if (is_roll(*frame)) return expected_ == 0 || frame->csn + 1 == expected_;
    if (frame->magic != kFrameMagic || frame->body_size > kDirectSizeMin || frame->csn > appended_csn_) return false;
    const std::uint64_t size = frame_size(frame->body_size);
    if ((expected_ != 0 && frame->csn != expected_) || lsn_ + size > limit_ || !holds(size + kRollSize)) return false;
    body_.resize(frame->body_size);
    ring_get(ring_, lsn_ + sizeof *frame, body_.data(), body_.size());
    return frame->checksum == frame_checksum(*frame, body_.data(), seed());
  }

  // Whether the record at lsn_ went round the ring. Then its bytes are in the file; recovery verifies them.
  bool is_direct() {
    const Csn csn = shared_.direct_csn.load(std::memory_order_relaxed);
    const std::uint64_t end = shared_.direct_end.load(std::memory_order_relaxed);
    if (csn == 0 || csn > appended_csn_ || (expected_ != 0 && csn != expected_)) return false;
    if (shared_.direct_lsn.load(std::memory_order_relaxed) != lsn_ || end <= lsn_ || end % 8 != 0) return false;
    if (end - lsn_ > frame_size(kRecordSizeMax) || !holds(end - lsn_ + kRollSize)) return false;
    expected_ = csn;
    return true;
  }

  // Writes what was gone over since the last write.
  Status write_run() {
    while (run_begin_ < lsn_) {
      const std::size_t at = run_begin_ % kRingSize;
      const std::size_t size = lsn_ - run_begin_ < kRingSize - at ? lsn_ - run_begin_ : kRingSize - at;
      Status status = file_.write_at(ring_ + at, size, offset(run_begin_));
      if (!status.ok()) return status;
      run_begin_ += size;
    }
    return {};
  }

  Status next_segment(const FrameHeader& roll, bool* more) {
    *more = false;
    Status status = write_run();
    if (status.ok()) status = file_.sync_data();  // invariant 4
    if (!status.ok()) return status;
    for (const SegmentFile& file : files_) {
      if (file.file_no != roll.durable_csn) continue;
      if (file.file_size < 2 * kSegmentHeaderSize) return {};
      // Begun already, by a flusher or by a salvage that was killed: go on in it, if it is the one.
      const bool begun = file.valid && file.header.sequence == header_.sequence + 1 && file.header.base_lsn == lsn_;
      if (file.valid && file.header.sequence >= header_.sequence && !begun) return {};
      header_ = make_segment_header(options_.database_id, header_.sequence + 1, lsn_, roll.csn + 1, file.file_size);
      status = open(file);
      if (status.ok()) status = file_.write_at(&header_, sizeof header_, 0);
      expected_ = roll.csn + 1;
      *more = true;
      return status;
    }
    return {};
  }

  Status finish() {
    const bool has_written = expected_ != 0;
    Status status = write_run();
    const bool is_last = find_sequence(header_.sequence + 1) == nullptr;
    if (status.ok() && has_written && is_last && holds(sizeof kZeroFrame)) {
      status = file_.write_at(kZeroFrame, sizeof kZeroFrame, offset(lsn_));
    }
    return status.ok() ? file_.sync_data() : status;
  }

  const LogShared& shared_;
  const char* const ring_;
  const LogOptions& options_;
  const std::vector<SegmentFile> files_;
  const Csn appended_csn_;
  std::uint64_t lsn_;
  const std::uint64_t limit_;  // the ring holds nothing from here on
  std::uint64_t run_begin_;    // verified but not written: [run_begin_, lsn_)
  SegmentHeader header_{};     // of the segment that lsn_ is in
  File file_;
  Csn expected_ = 0;  // csn of the next record; 0 before the first
  std::string body_;
};

}  // namespace

Status Log::salvage(const LogShared& shared, const char* ring, const LogOptions& options) {
  auto files = list_segments(options.directory, options.database_id);
  if (!files.ok()) return std::move(files).status();  // recovery would meet the same; the ring is to be there then
  return Salvager(shared, ring, options, std::move(files).value()).run();
}

}  // namespace hf::log
