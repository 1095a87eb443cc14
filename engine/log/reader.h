// SPDX-License-Identifier: Apache-2.0
// Reader: the records of a log in order, from its files alone, while others may be appending, or when nobody is. Takes
// no latch and shares no memory with anybody.
//
// What makes that right:
//  - The caller says up to which commit the log is on the device (`bound`). Every byte up to there was in the file
//    before, so a frame at or below the bound that does not verify is damage, or the file was used again.
//  - Before a file is used again its header is wiped, before anything else in it changes; what was read is only
//    believed after its checksum, whose seed no later use of the file has. So a reader that is overtaken notices.
//  - A removed file stays readable through the descriptor; whether its successor is still there shows when it is
//    needed.
//
// Thread contract: one thread at a time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "log/format.h"
#include "platform/file.h"

namespace hf::log {

struct SegmentFile;

// A record as it lies in its file; valid until the next peek().
struct FoundRecord {
  Csn csn = 0;
  Bytes body;                // a verified schema::Record
  std::string path;          // of the segment
  std::uint64_t offset = 0;  // of its frame, in the file
  std::uint64_t size = 0;    // with frame and padding
};

class Reader {
 public:
  // A bound for a log that nobody writes: all that recovery would find counts.
  static constexpr Csn kWholeLog = kCsnMax;

  Reader(std::string directory, std::uint64_t database_id) noexcept
      : directory_(std::move(directory)), database_id_(database_id) {}

  // Stands before the record `from`, or before the oldest there is when from is 0. kSNAPSHOT_TOO_OLD: the log begins
  // later; *oldest, if not null, is where. kNOT_FOUND: there is no segment at all.
  Status seek(Csn from, Csn* oldest = nullptr);

  // The next record; advance() goes on to the one after it. kNOT_FOUND: none up to the bound yet. kSNAPSHOT_TOO_OLD: it
  // is gone. kCORRUPT names file and offset. Requires: a successful seek.
  Status peek(Csn bound, FoundRecord* out);
  void advance() noexcept;
  // Commit that peek() looks for.
  Csn next_csn() const noexcept { return next_; }

 private:
  enum class Frame { kRecord, kRoll, kNone };

  Result<std::vector<SegmentFile>> list() const;
  Status enter(const SegmentFile& segment);
  Result<bool> enter_next(std::uint64_t begin);
  Result<Frame> read_frame();
  Result<bool> load(std::uint64_t offset, std::size_t size, bool afresh);
  Status why_not(Csn bound);
  bool is_used_again() const;
  std::uint64_t offset() const noexcept { return kSegmentHeaderSize + lsn_ - header_.base_lsn; }

  const std::string directory_;
  const std::uint64_t database_id_;
  platform::File file_;
  SegmentHeader header_{};    // of the segment that `lsn_` is in
  std::uint64_t lsn_ = 0;     // of the next frame
  Csn next_ = 0;              // csn of the next record
  FrameHeader frame_{};       // at lsn_, once read_frame() found it whole
  std::vector<char> buffer_;  // of the file, from buffer_offset_ on
  std::uint64_t buffer_offset_ = 0;
  std::size_t buffer_size_ = 0;
  Csn end_checked_ = 0;  // that the whole log ends before this commit was made sure of
};

}  // namespace hf::log
