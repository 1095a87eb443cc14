// SPDX-License-Identifier: Apache-2.0
#include "log/scan.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <new>

#include "log/frame.h"
#include "platform/file.h"
#include "schema/log_generated.h"

namespace hf::log {
namespace {

using platform::File;

std::string at(const std::string& path, std::uint64_t offset) {
  return path + ": offset " + std::to_string(offset) + ": ";
}

// The number in "log-<number>.hfl", or false.
bool parse_name(const std::string& name, std::uint32_t* file_no) {
  if (!name.starts_with("log-") || !name.ends_with(".hfl")) return false;
  const char* end = name.data() + name.size() - 4;
  const auto [stop, error] = std::from_chars(name.data() + 4, end, *file_no);
  return error == std::errc() && stop == end && name == segment_name(*file_no);
}

// Says whether the header is whole; what is whole but not ours is an error.
Status check_header(SegmentFile* file, std::uint64_t database_id) {
  const SegmentHeader& header = file->header;
  file->blank = std::all_of(reinterpret_cast<const char*>(&header), reinterpret_cast<const char*>(&header + 1),
                            [](char byte) { return byte == 0; });
  file->valid = false;
  if (std::memcmp(header.magic, kSegmentMagic, sizeof header.magic) != 0) return {};
  if (header.byte_order == __builtin_bswap32(kByteOrder)) {
    return Status(Code::kWRONG_FORMAT, at(file->path, offsetof(SegmentHeader, byte_order)) + "other byte order");
  }
  if (header.version > kSegmentVersion) {
    return Status(Code::kWRONG_FORMAT, at(file->path, offsetof(SegmentHeader, version)) + "version " +
                                           std::to_string(header.version) + " is newer than this program");
  }
  if (header.database_id != database_id) {
    return Status(Code::kWRONG_FORMAT,
                  at(file->path, offsetof(SegmentHeader, database_id)) + "log segment of another database");
  }
  if (header.checksum != checksum(&header, offsetof(SegmentHeader, checksum), database_id)) return {};
  file->valid = header.byte_order == kByteOrder && header.version == kSegmentVersion && header.sequence != 0 &&
                header.sequence <= kSequenceMax && header.first_csn != 0 && header.first_csn <= kCsnMax &&
                header.size >= kSegmentHeaderSize + kRollSize && header.base_lsn % 8 == 0 && header.base_lsn <= kLsnMax;
  return {};
}

// The payload of one segment in memory.
class SegmentBytes {
 public:
  static Result<SegmentBytes> read(const SegmentFile& file) {
    SegmentBytes result(file);
    auto opened = File::open(file.path, File::Mode::kReadOnly);
    if (!opened.ok()) return std::move(opened).status();
    const std::uint64_t size = file.file_size > kSegmentHeaderSize ? file.file_size - kSegmentHeaderSize : 0;
    result.bytes_.reset(new (std::nothrow) char[size + 1]);  // operator new aligns it for any frame
    if (result.bytes_ == nullptr) return Status(Code::kNO_MEMORY, "reading " + file.path);
    auto got = opened->read_at(result.bytes_.get(), size, kSegmentHeaderSize);
    if (!got.ok()) return std::move(got).status();
    result.size_ = *got;
    return result;
  }

  const char* data() const noexcept { return bytes_.get(); }
  std::uint64_t size() const noexcept { return size_; }
  const SegmentFile& file() const noexcept { return *file_; }
  std::string where(std::uint64_t offset) const { return at(file_->path, kSegmentHeaderSize + offset); }

  // The frame header at that offset when it and its body lie below `limit`; checks no checksum.
  bool header_at(std::uint64_t offset, std::uint64_t limit, FrameHeader* header) const noexcept {
    if (limit > size_ || offset + sizeof *header > limit) return false;
    std::memcpy(header, bytes_.get() + offset, sizeof *header);
    if (header->magic == kRollMagic) return header->body_size == 0;
    return header->magic == kFrameMagic && header->body_size <= kRecordSizeMax &&
           frame_size(header->body_size) <= limit - offset;
  }
  bool verifies(std::uint64_t offset, const FrameHeader& header, std::uint64_t seed) const noexcept {
    return header.checksum == frame_checksum(header, bytes_.get() + offset + sizeof header, seed);
  }

 private:
  explicit SegmentBytes(const SegmentFile& file) noexcept : file_(&file) {}
  const SegmentFile* file_;
  std::unique_ptr<char[]> bytes_;
  std::uint64_t size_ = 0;
};

enum class Beyond { kNothing, kNotDurable, kDurable };

// Looks from `offset` on for whole records of this use of the file with csn >= expected: none, some, or one that
// proves that `expected` had been durable. Any 8-byte step may be a frame's start, as a torn header hides its length.
Beyond look_beyond(const SegmentBytes& bytes, std::uint64_t offset, Csn expected, std::uint64_t seed) {
  // Bytes that may be hashed before we give up: a body may be full of what looks like headers of long records.
  std::uint64_t budget = (1u << 30) + 4 * bytes.size();
  Beyond result = Beyond::kNothing;
  for (; offset + sizeof(FrameHeader) <= bytes.size(); offset += 8) {
    std::uint32_t magic;
    std::memcpy(&magic, bytes.data() + offset, sizeof magic);
    FrameHeader header;
    if (magic != kFrameMagic || !bytes.header_at(offset, bytes.size(), &header)) continue;
    if (header.csn < expected || header.csn > kCsnMax) continue;
    if (frame_size(header.body_size) > budget) break;
    budget -= frame_size(header.body_size);
    if (!bytes.verifies(offset, header, seed)) continue;
    if (header.durable_csn >= expected) return Beyond::kDurable;
    result = Beyond::kNotDurable;
  }
  return result;
}

class Scanner {
 public:
  Scanner(const LogOptions& options, Csn applied, bool clean, const ApplyRecord& apply)
      : options_(options), applied_(applied), clean_(clean), apply_(apply) {}

  Result<LogScan> run() {
    auto files = list_segments(options_.directory, options_.database_id);
    if (!files.ok()) return std::move(files).status();
    scan_.files = std::move(files).value();
    scan_.last_csn = applied_;
    Status status = find_start();
    if (!status.ok()) return status;
    if (scan_.chain.empty()) return std::move(scan_);
    expected_ = newest().header.first_csn;
    status = read_chain();
    if (!status.ok()) return status;
    if (expected_ <= applied_ && !clean_) {
      return Status(Code::kCORRUPT, at(newest().path, file_offset(newest(), scan_.end_lsn)) +
                                        "the log ends at commit " + std::to_string(expected_ - 1) +
                                        ", but the base holds commit " + std::to_string(applied_));
    }
    // With a gap to what comes next, nothing before it is of use to anybody.
    if (expected_ > applied_) keep_older();
    scan_.closed = scan_.closed || expected_ <= applied_;  // the next segment begins with applied + 1
    scan_.last_csn = std::max(applied_, expected_ - 1);
    return std::move(scan_);
  }

 private:
  const SegmentFile& newest() const { return scan_.files[scan_.chain.back()]; }
  std::uint64_t seed(std::uint64_t sequence) const { return frame_seed(options_.database_id, sequence); }
  static std::uint64_t file_offset(const SegmentFile& file, std::uint64_t lsn) {
    return kSegmentHeaderSize + lsn - file.header.base_lsn;
  }

  // The newest valid segment that begins at or before applied + 1.
  Status find_start() {
    std::size_t start = SIZE_MAX;
    bool any = false;
    for (std::size_t i = 0; i < scan_.files.size() && scan_.files[i].valid; ++i) {
      any = true;
      if (scan_.files[i].header.first_csn <= applied_ + 1) start = i;  // first_csn grows with the sequence
      if (i > 0 && scan_.files[i].header.sequence == scan_.files[i - 1].header.sequence) {
        return Status(Code::kCORRUPT, at(scan_.files[i].path, offsetof(SegmentHeader, sequence)) + "same sequence as " +
                                          scan_.files[i - 1].path);
      }
    }
    if (start != SIZE_MAX) {
      scan_.chain.push_back(start);
      return {};
    }
    if (clean_ && !any) return {};
    std::string message =
        options_.directory + ": missing segment: no log file holds commit " + std::to_string(applied_ + 1);
    for (const SegmentFile& file : scan_.files) {
      if (!file.valid && !file.blank) message += "; " + at(file.path, 0) + "damaged header";
    }
    return Status(Code::kCORRUPT, std::move(message));
  }

  // What is wholly in the base is not read here: who reads the log verifies it.
  void keep_older() {
    std::uint64_t bytes = 0;
    for (std::size_t at = scan_.chain.front(); at > 0 && precedes(scan_.files[at - 1], scan_.files[at]); --at) {
      bytes += scan_.files[at - 1].header.size;
      if (bytes > options_.keep_bytes || scan_.kept.size() + scan_.chain.size() >= kSegmentsKeptMax) break;
      scan_.kept.insert(scan_.kept.begin(), at - 1);
    }
  }

  // The valid segment after the newest of the chain, or SIZE_MAX.
  std::size_t successor() const {
    const std::size_t next = scan_.chain.back() + 1;
    return next < scan_.files.size() && scan_.files[next].valid ? next : SIZE_MAX;
  }

  Status read_chain() {
    for (;;) {
      const std::size_t next = successor();
      if (next != SIZE_MAX) {
        const SegmentHeader& header = scan_.files[next].header;
        if (header.sequence != newest().header.sequence + 1) {
          return Status(Code::kCORRUPT, options_.directory + ": missing segment: no log file has sequence " +
                                            std::to_string(newest().header.sequence + 1) + ", but " +
                                            scan_.files[next].path + " has " + std::to_string(header.sequence));
        }
      }
      Status status = read_segment(next == SIZE_MAX ? nullptr : &scan_.files[next]);
      if (!status.ok()) return status;
      scan_.last_csns.push_back(expected_ - 1);
      if (next == SIZE_MAX) return {};
      scan_.chain.push_back(next);
    }
  }

  Status read_segment(const SegmentFile* next) {
    const SegmentFile& file = newest();
    if (file.file_size < file.header.size) {
      return Status(Code::kCORRUPT, at(file.path, file.file_size) + "the file is shorter than its header says");
    }
    auto read = SegmentBytes::read(file);
    if (!read.ok()) return std::move(read).status();
    const SegmentBytes& bytes = *read;
    const std::uint64_t base = file.header.base_lsn;
    std::uint64_t limit = std::min(bytes.size(), file.header.size - kSegmentHeaderSize);
    if (next != nullptr) {
      if (next->header.base_lsn < base || next->header.base_lsn - base > limit) {
        return Status(Code::kCORRUPT,
                      at(next->path, offsetof(SegmentHeader, base_lsn)) + "does not follow " + file.path);
      }
      limit = next->header.base_lsn - base;
    }

    std::uint64_t offset = 0;
    FrameHeader header;
    while (bytes.header_at(offset, limit, &header) && is_next(header) &&
           bytes.verifies(offset, header, seed(file.header.sequence))) {
      if (header.magic == kRollMagic) return at_roll(bytes, offset, header, next);
      Status status = take_record(bytes, offset, header);
      if (!status.ok()) return status;
      offset += frame_size(header.body_size);
    }
    scan_.end_lsn = base + offset;
    if (next == nullptr) return at_end(bytes, offset, limit);
    // Without a roll frame: a recovery cut a torn tail here.
    return offset == limit && next->header.first_csn == expected_ ? Status() : damaged(bytes, offset);
  }

  bool is_next(const FrameHeader& header) const {
    return header.csn == (header.magic == kRollMagic ? expected_ - 1 : expected_) && header.csn <= kCsnMax;
  }

  Status damaged(const SegmentBytes& bytes, std::uint64_t offset) const {
    return Status(Code::kCORRUPT, bytes.where(offset) + "the record of commit " + std::to_string(expected_) +
                                      " is damaged, although it had been on the device");
  }

  Status take_record(const SegmentBytes& bytes, std::uint64_t offset, const FrameHeader& header) {
    proven_ = header.durable_csn;
    ++expected_;
    if (header.csn <= applied_) return {};
    const char* body = bytes.data() + offset + sizeof header;
    flatbuffers::Verifier verifier(reinterpret_cast<const std::uint8_t*>(body), header.body_size);
    if (!schema::VerifyRecordBuffer(verifier)) {
      return Status(Code::kCORRUPT, bytes.where(offset) + "the record of commit " + std::to_string(header.csn) +
                                        " is whole, but not a record");
    }
    ++scan_.records;
    return apply_(header.csn, Bytes(body, header.body_size));
  }

  Status at_roll(const SegmentBytes& bytes, std::uint64_t offset, const FrameHeader& header, const SegmentFile* next) {
    scan_.end_lsn = bytes.file().header.base_lsn + offset + kRollSize;
    if (next != nullptr) {
      const bool follows = next->header.base_lsn == scan_.end_lsn && next->header.first_csn == expected_;
      return follows ? Status() : damaged(bytes, offset);
    }
    const auto named = std::find_if(scan_.files.begin(), scan_.files.end(),
                                    [&](const SegmentFile& file) { return file.file_no == header.durable_csn; });
    if (named == scan_.files.end()) {
      return Status(Code::kCORRUPT, segment_path(options_.directory, static_cast<std::uint32_t>(header.durable_csn)) +
                                        ": missing segment: " + bytes.where(offset) + "names it as the next");
    }
    scan_.closed = true;
    keep_tail(bytes, offset + kRollSize);
    return check_unclaimed();
  }

  // The newest segment's records end at `offset`: by a clean end, a torn tail or damage?
  Status at_end(const SegmentBytes& bytes, std::uint64_t offset, std::uint64_t limit) {
    const Beyond beyond = look_beyond(bytes, offset, expected_, seed(newest().header.sequence));
    if (beyond == Beyond::kDurable) return damaged(bytes, offset);
    Status status = check_unclaimed();
    if (!status.ok()) return status;
    keep_tail(bytes, offset);
    const bool is_terminated =
        limit - offset >= sizeof kZeroFrame && std::memcmp(bytes.data() + offset, kZeroFrame, sizeof kZeroFrame) == 0;
    if (is_terminated && beyond == Beyond::kNothing) return {};
    // Nothing that is there now may ever be read again, so the log goes on in a new segment.
    scan_.closed = true;
    while (limit > offset && bytes.data()[limit - 1] == 0) --limit;
    scan_.bytes_cut = limit - offset;
    return {};
  }

  // A file whose header is lost may hold the segment after the newest. Durable records in it are damage, not a tail.
  Status check_unclaimed() const {
    const std::uint64_t next_seed = seed(newest().header.sequence + 1);
    for (const SegmentFile& file : scan_.files) {
      if (&file == &newest()) continue;
      FrameHeader first{};
      auto opened = File::open(file.path, File::Mode::kReadOnly);
      if (!opened.ok()) return std::move(opened).status();
      auto got = opened->read_at(&first, sizeof first, kSegmentHeaderSize);
      if (!got.ok()) return std::move(got).status();
      if (*got != sizeof first || first.magic != kFrameMagic || first.csn != expected_) continue;
      auto bytes = SegmentBytes::read(file);
      if (!bytes.ok()) return std::move(bytes).status();
      if (look_beyond(*bytes, 0, expected_, next_seed) == Beyond::kDurable) {
        return Status(Code::kCORRUPT, at(file.path, 0) + "the header of the segment that holds commit " +
                                          std::to_string(expected_) + " is damaged");
      }
    }
    return {};
  }

  // Keeps the part of the newest segment that may not be on the device: see settle_tail() in recover.cc.
  void keep_tail(const SegmentBytes& bytes, std::uint64_t end) {
    std::uint64_t offset = 0;
    FrameHeader header;
    while (offset < end && bytes.header_at(offset, end, &header) && header.magic == kFrameMagic &&
           header.csn <= proven_) {
      offset += frame_size(header.body_size);
    }
    scan_.unproven_lsn = bytes.file().header.base_lsn + offset;
    scan_.tail_bytes.assign(bytes.data() + offset, bytes.data() + end);
  }

  const LogOptions& options_;
  const Csn applied_;
  const bool clean_;
  const ApplyRecord& apply_;
  LogScan scan_;
  Csn expected_ = 0;  // csn of the next record
  Csn proven_ = 0;    // durable_csn of the newest whole record: all up to it is on the device
};

}  // namespace

bool precedes(const SegmentFile& file, const SegmentFile& next) noexcept {
  return file.valid && file.file_size >= file.header.size && file.header.sequence + 1 == next.header.sequence &&
         file.header.first_csn <= next.header.first_csn && file.header.base_lsn <= next.header.base_lsn &&
         next.header.base_lsn - file.header.base_lsn <= file.header.size - kSegmentHeaderSize;
}

Result<std::vector<SegmentFile>> list_segments(const std::string& directory, std::uint64_t database_id) {
  auto names = platform::list_directory(directory);
  if (!names.ok()) return std::move(names).status();
  std::vector<SegmentFile> result;
  for (const std::string& name : *names) {
    SegmentFile entry{};
    if (!parse_name(name, &entry.file_no)) continue;
    entry.path = directory + "/" + name;
    auto file = File::open(entry.path, File::Mode::kReadOnly);
    if (!file.ok()) return std::move(file).status();
    auto size = file->size();
    if (!size.ok()) return std::move(size).status();
    entry.file_size = *size;
    auto got = file->read_at(&entry.header, sizeof entry.header, 0);
    if (!got.ok()) return std::move(got).status();
    Status status = check_header(&entry, database_id);
    if (!status.ok()) return status;
    result.push_back(std::move(entry));
  }
  std::sort(result.begin(), result.end(), [](const SegmentFile& left, const SegmentFile& right) {
    if (left.valid != right.valid) return left.valid;
    return left.valid ? left.header.sequence < right.header.sequence : left.file_no < right.file_no;
  });
  return result;
}

Result<LogScan> scan_log(const LogOptions& options, Csn applied, bool clean, const ApplyRecord& apply) {
  return Scanner(options, applied, clean, apply).run();
}

}  // namespace hf::log
