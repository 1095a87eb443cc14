// SPDX-License-Identifier: Apache-2.0
#include "log/reader.h"

#include <algorithm>
#include <cstring>

#include "base/clock.h"
#include "log/frame.h"
#include "log/scan.h"
#include "platform/test_point.h"
#include "schema/log_generated.h"

namespace hf::log {
namespace {

using platform::File;

constexpr std::size_t kReadAhead = 256u << 10;  // bytes for each system call; a few hundred commits of a usual size
constexpr int kListAttempts = 20;               // files come and go while they are listed

std::string at(const std::string& path, std::uint64_t offset) {
  return path + ": offset " + std::to_string(offset) + ": ";
}

void pause() noexcept {
  const timespec millisecond = {0, 1'000'000};
  nanosleep(&millisecond, nullptr);
}

// The oldest of the segments that follow each other without a gap up to the newest. Requires: there is a valid one.
std::size_t first_of_chain(const std::vector<SegmentFile>& files) {
  std::size_t at = files.size();
  while (at > 0 && !files[at - 1].valid) --at;
  for (--at; at > 0 && precedes(files[at - 1], files[at]); --at) {
  }
  return at;
}

}  // namespace

// A file that is made, used again or removed at this moment may look foreign, or be gone before it is opened.
Result<std::vector<SegmentFile>> Reader::list() const {
  for (int attempt = 1;; ++attempt) {
    auto files = list_segments(directory_, database_id_);
    if (files.ok() || attempt == kListAttempts) return files;
    if (files.code() != Code::kNOT_FOUND && files.code() != Code::kWRONG_FORMAT) return files;
    pause();
  }
}

Status Reader::enter(const SegmentFile& segment) {
  auto file = File::open(segment.path, File::Mode::kReadOnly);
  SegmentHeader header{};
  if (file.ok()) {
    auto got = file->read_at(&header, sizeof header, 0);
    if (!got.ok()) return std::move(got).status();
  } else if (file.code() != Code::kNOT_FOUND) {
    return std::move(file).status();
  }
  if (std::memcmp(&header, &segment.header, sizeof header) != 0) {
    return Status(Code::kSNAPSHOT_TOO_OLD, segment.path + ": used again before it was read");
  }
  file_ = std::move(file).value();
  header_ = header;
  lsn_ = header.base_lsn;
  next_ = header.first_csn;
  buffer_size_ = 0;
  return {};
}

Status Reader::seek(Csn from, Csn* oldest) {
  for (int attempt = 1;; ++attempt) {
    auto files = list();
    if (!files.ok()) return std::move(files).status();
    if (files->empty() || !files->front().valid) return Status(Code::kNOT_FOUND, directory_ + ": no log segment");
    const std::size_t first = first_of_chain(*files);
    const Csn begin = (*files)[first].header.first_csn;
    if (oldest != nullptr) *oldest = begin;
    if (from != 0 && from < begin) {
      return Status(Code::kSNAPSHOT_TOO_OLD, directory_ + ": commit " + std::to_string(from) +
                                                 " is gone; the oldest that the log has is " + std::to_string(begin));
    }
    std::size_t found = first;
    for (std::size_t i = first; i < files->size() && (*files)[i].valid; ++i) {
      if (from != 0 && (*files)[i].header.first_csn <= from) found = i;
    }
    Status status = enter((*files)[found]);
    if (status.code() == Code::kSNAPSHOT_TOO_OLD && attempt < kListAttempts) continue;  // look what there is now
    return status;
  }
}

// Makes the file's bytes [offset, offset + size) available in buffer_; false when the file ends before.
Result<bool> Reader::load(std::uint64_t offset, std::size_t size, bool afresh) {
  if (!afresh && offset >= buffer_offset_ && offset + size <= buffer_offset_ + buffer_size_) return true;
  const std::uint64_t left = header_.size > offset ? header_.size - offset : 0;
  const std::size_t wanted = static_cast<std::size_t>(std::min<std::uint64_t>(std::max(size, kReadAhead), left));
  if (buffer_.size() < wanted) buffer_.resize(wanted);
  buffer_size_ = 0;
  auto got = file_.read_at(buffer_.data(), wanted, offset);
  if (!got.ok()) return std::move(got).status();
  buffer_offset_ = offset;
  buffer_size_ = *got;
  return *got >= size;
}

// Looks at lsn_ for the frame that comes next. What was read ahead may be older than the frame, so it is read anew
// before it is called missing.
Result<Reader::Frame> Reader::read_frame() {
  const std::uint64_t seed = frame_seed(database_id_, header_.sequence);
  for (const bool afresh : {false, true}) {
    auto loaded = load(offset(), sizeof frame_, afresh);
    if (!loaded.ok()) return std::move(loaded).status();
    if (!*loaded) continue;
    std::memcpy(&frame_, buffer_.data() + (offset() - buffer_offset_), sizeof frame_);
    const bool is_roll = frame_.magic == kRollMagic;
    if (is_roll ? frame_.body_size != 0 : frame_.magic != kFrameMagic) continue;
    if (frame_.csn != (is_roll ? next_ - 1 : next_) || frame_.body_size > kRecordSizeMax) continue;
    if (offset() + frame_size(frame_.body_size) > header_.size) continue;
    loaded = load(offset(), frame_size(frame_.body_size), false);
    if (!loaded.ok()) return std::move(loaded).status();
    const char* const body = buffer_.data() + (offset() - buffer_offset_) + sizeof frame_;
    if (!*loaded || frame_.checksum != frame_checksum(frame_, body, seed)) continue;
    return is_roll ? Frame::kRoll : Frame::kRecord;
  }
  return Frame::kNone;
}

// Goes on in the segment that begins at lsn `begin`, if there is one by now. With the roll frame, or without where a
// recovery has cut a torn tail.
Result<bool> Reader::enter_next(std::uint64_t begin) {
  auto files = list();
  if (!files.ok()) return std::move(files).status();
  for (const SegmentFile& file : *files) {
    if (!file.valid || file.header.sequence != header_.sequence + 1) continue;
    if (file.header.base_lsn != begin || file.header.first_csn != next_) continue;
    Status status = enter(file);
    if (!status.ok()) return status;
    return true;
  }
  return false;
}

bool Reader::is_used_again() const {
  SegmentHeader now{};
  auto got = file_.read_at(&now, sizeof now, 0);
  return got.ok() && std::memcmp(&now, &header_, sizeof now) != 0;
}

// The next record is not there. Requires: what may be there was looked at.
Status Reader::why_not(Csn bound) {
  const std::string where = at(file_.path(), offset());
  const Status gone(Code::kSNAPSHOT_TOO_OLD,
                    where + "the log was used again before commit " + std::to_string(next_) + " was read");
  if (is_used_again()) return gone;
  auto files = list();
  if (!files.ok()) return std::move(files).status();
  const bool is_listed = std::any_of(files->begin(), files->end(), [&](const SegmentFile& file) {
    return file.valid && file.header.sequence == header_.sequence;
  });
  const bool is_older = !files->empty() && files->front().valid && files->front().header.sequence > header_.sequence;
  if (!is_listed && is_older) return gone;  // oldest first: whatever came after it may be gone too
  if (bound != kWholeLog) {
    return Status(Code::kCORRUPT, where + "the record of commit " + std::to_string(next_) +
                                      " is damaged or its segment is missing, although it had been on the device");
  }
  // The end of a log that nobody writes, or damage: recovery knows the difference.
  if (end_checked_ == next_) return Code::kNOT_FOUND;
  LogOptions options;
  options.directory = directory_;
  options.database_id = database_id_;
  auto scanned = scan_log(options, next_ - 1, true, [](Csn, Bytes) { return Status(); });
  if (!scanned.ok()) return std::move(scanned).status();
  if (scanned->records == 0) end_checked_ = next_;
  return Code::kNOT_FOUND;
}

Status Reader::peek(Csn bound, FoundRecord* out) {
  for (;;) {
    if (next_ > bound) return Code::kNOT_FOUND;
    auto frame = read_frame();
    if (!frame.ok()) return std::move(frame).status();
    if (*frame == Frame::kRecord) break;
    platform::reach("log.reader.next");
    auto entered = enter_next(*frame == Frame::kRoll ? lsn_ + kRollSize : lsn_);
    if (!entered.ok()) return std::move(entered).status();
    if (!*entered) return why_not(bound);
  }
  const char* const body = buffer_.data() + (offset() - buffer_offset_) + sizeof frame_;
  flatbuffers::Verifier verifier(reinterpret_cast<const std::uint8_t*>(body), frame_.body_size);
  if (!schema::VerifyRecordBuffer(verifier)) {
    return Status(Code::kCORRUPT, at(file_.path(), offset()) + "the record of commit " + std::to_string(next_) +
                                      " is whole, but not a record");
  }
  *out = {next_, Bytes(body, frame_.body_size), file_.path(), offset(), frame_size(frame_.body_size)};
  return {};
}

void Reader::advance() noexcept {
  lsn_ += frame_size(frame_.body_size);
  ++next_;
}

}  // namespace hf::log
