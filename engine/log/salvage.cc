// SPDX-License-Identifier: Apache-2.0
// Salvage: all processes of a session died, its shared memory is still there. The records in its ring that no flush
// carried to the files go there now.
//
// The memory is untrusted: it may be of any age, or overwritten. Nothing in it is taken unless it goes on where the
// files lead: from the beginning of the segment that was being written, their own records have to reach written_lsn
// exactly. From there only frames are taken that verify under this database's id and the segment's sequence, and have
// the next csn. What the ring lacks the file may have (a record that went round the ring, or memory older than the
// file): such records are gone over and stay. The next segment is the one that a verified roll frame names. So a record
// that is whole in the files is never written over, except by itself. A salvage that is killed is simply done again.
#include <algorithm>
#include <cstring>

#include "log/frame.h"
#include "log/log.h"
#include "log/scan.h"
#include "platform/file.h"

namespace hf::log {
namespace {

using platform::File;

constexpr std::size_t kWindowSize = 256 << 10;

class Salvager {
 public:
  Salvager(const LogShared& shared, const char* ring, const LogOptions& options, std::vector<SegmentFile> files)
      : ring_(ring),
        options_(options),
        files_(std::move(files)),
        sequence_(shared.header_sequence.load(std::memory_order_relaxed)),
        written_lsn_(shared.written_lsn.load(std::memory_order_relaxed)),
        appended_csn_(shared.appended_csn.load(std::memory_order_acquire)) {}

  Status run() {
    const SegmentFile* first = find_sequence(sequence_);
    if (first == nullptr) {
      // A flusher was killed between writing the next header and telling so, and the segment before it is gone.
      first = find_sequence(sequence_ + 1);
      if (first == nullptr || written_lsn_ != first->header.base_lsn) return {};
    }
    header_ = first->header;
    if (written_lsn_ < header_.base_lsn || written_lsn_ - header_.base_lsn > header_.size - kSegmentHeaderSize)
      return {};
    Status status = open(*first);
    if (!status.ok()) return status;
    lsn_ = run_begin_ = header_.base_lsn;
    expected_ = header_.first_csn;
    bool more = true;
    while (status.ok() && more && lsn_ < written_lsn_) status = step(false, &more);
    if (!status.ok() || lsn_ != written_lsn_) return status;  // in doubt
    while (status.ok() && more) status = step(true, &more);
    return status.ok() ? finish() : status;
  }

 private:
  std::uint64_t seed() const { return frame_seed(options_.database_id, header_.sequence); }
  std::uint64_t offset(std::uint64_t lsn) const { return kSegmentHeaderSize + lsn - header_.base_lsn; }
  bool holds(std::uint64_t bytes) const { return bytes <= header_.size && offset(lsn_) <= header_.size - bytes; }

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
    window_.clear();
    return {};
  }

  // Goes over one frame; *more is false when nothing that verifies follows.
  Status step(bool use_ring, bool* more) {
    FrameHeader frame{};
    if (!use_ring || !from_ring(&frame)) {
      Status status = write_run();
      if (status.ok()) status = from_file(&frame, more);
      if (!status.ok() || !*more) return status;
      run_begin_ += frame_size(frame.body_size);
    }
    lsn_ += frame_size(frame.body_size);
    if (frame.magic == kRollMagic) return next_segment(frame, more);
    ++expected_;
    return {};
  }

  // Whether a frame with that header can be the one at lsn_.
  bool is_next(const FrameHeader& frame) const {
    if (frame.magic == kRollMagic) {
      return frame.body_size == 0 && frame.csn + 1 == expected_ && frame.checksum == frame_checksum(frame, "", seed());
    }
    return frame.magic == kFrameMagic && frame.body_size <= kRecordSizeMax && frame.csn == expected_ &&
           holds(frame_size(frame.body_size) + kRollSize);
  }

  bool from_ring(FrameHeader* frame) {
    const std::uint64_t limit = written_lsn_ + kRingSize;  // the ring holds nothing from there on
    if (!holds(sizeof *frame) || lsn_ + sizeof *frame > limit) return false;
    ring_get(ring_, lsn_, frame, sizeof *frame);
    if (!is_next(*frame)) return false;
    if (frame->magic == kRollMagic) return true;
    if (frame->body_size > kDirectSizeMin || frame->csn > appended_csn_) return false;
    if (lsn_ + frame_size(frame->body_size) > limit) return false;
    body_.resize(frame->body_size);
    ring_get(ring_, lsn_ + sizeof *frame, body_.data(), body_.size());
    return frame->checksum == frame_checksum(*frame, body_.data(), seed());
  }

  Status from_file(FrameHeader* frame, bool* is_there) {
    *is_there = false;
    if (!holds(sizeof *frame)) return {};
    Status status = read(lsn_, frame, sizeof *frame);
    if (!status.ok() || !is_next(*frame)) return status;
    body_.resize(frame->body_size);
    status = read(lsn_ + sizeof *frame, body_.data(), body_.size());
    *is_there = status.ok() && frame->checksum == frame_checksum(*frame, body_.data(), seed());
    return status;
  }

  // From the file, through the window: small records would cost two system calls each. What this writes lies before all
  // that it reads later. Requires: the file has it.
  Status read(std::uint64_t lsn, void* out, std::size_t size) {
    if (lsn < window_lsn_ || lsn - window_lsn_ > window_.size() || window_.size() - (lsn - window_lsn_) < size) {
      window_.resize(std::max<std::size_t>(size, kWindowSize));
      auto got = file_.read_at(window_.data(), window_.size(), offset(lsn));
      if (!got.ok()) return std::move(got).status();
      window_.resize(*got);
      window_lsn_ = lsn;
      if (*got < size) return Status(Code::kCORRUPT, file_.path() + ": the file is too short");
    }
    if (size > 0) std::memcpy(out, window_.data() + (lsn - window_lsn_), size);
    return {};
  }

  // Writes what was taken from the ring since the last write.
  Status write_run() {
    has_written_ |= run_begin_ < lsn_;
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
      header_ = make_segment_header(options_.database_id, header_.sequence + 1, lsn_, expected_, file.file_size);
      status = open(file);
      if (status.ok()) status = file_.write_at(&header_, sizeof header_, 0);
      *more = true;
      return status;
    }
    return {};
  }

  Status finish() {
    Status status = write_run();
    const bool is_last = find_sequence(header_.sequence + 1) == nullptr;
    if (status.ok() && has_written_ && is_last && holds(sizeof kZeroFrame)) {
      status = file_.write_at(kZeroFrame, sizeof kZeroFrame, offset(lsn_));
    }
    return status.ok() ? file_.sync_data() : status;
  }

  const char* const ring_;
  const LogOptions& options_;
  const std::vector<SegmentFile> files_;
  // As the memory says.
  const std::uint64_t sequence_;
  const std::uint64_t written_lsn_;
  const Csn appended_csn_;

  SegmentHeader header_{};  // of the segment that lsn_ is in
  File file_;
  std::uint64_t lsn_ = 0;        // gone over up to here
  std::uint64_t run_begin_ = 0;  // taken from the ring but not written: [run_begin_, lsn_)
  Csn expected_ = 0;             // csn of the next record
  bool has_written_ = false;
  std::string body_;
  std::string window_;  // bytes of the file from window_lsn_ on
  std::uint64_t window_lsn_ = 0;
};

}  // namespace

Status Log::look(const LogOptions& options) { return list_segments(options.directory, options.database_id).status(); }

Status Log::salvage(const LogShared& shared, const char* ring, const LogOptions& options) {
  auto files = list_segments(options.directory, options.database_id);
  if (!files.ok()) return std::move(files).status();  // recovery would meet the same; the ring is to be there then
  return Salvager(shared, ring, options, std::move(files).value()).run();
}

}  // namespace hf::log
