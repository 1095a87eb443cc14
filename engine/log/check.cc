// SPDX-License-Identifier: Apache-2.0
// Each segment is read by itself, from its header to the last frame that verifies; then it is asked what made it end
// there. What recovery would say of the whole comes last: it has the final word on whether anything is missing.
#include "log/check.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <vector>

#include "log/frame.h"
#include "log/scan.h"
#include "platform/file.h"
#include "schema/log_generated.h"

namespace hf::log {
namespace {

using platform::File;

struct Segment {
  std::uint32_t file_no = 0;
  std::string path;
  std::uint64_t file_size = 0;
  SegmentHeader header{};
};

bool parse_name(const std::string& name, std::uint32_t* file_no) {
  if (!name.starts_with("log-") || !name.ends_with(".hfl")) return false;
  const char* const end = name.data() + name.size() - 4;
  const auto [stop, error] = std::from_chars(name.data() + 4, end, *file_no);
  return error == std::errc() && stop == end && name == segment_name(*file_no);
}

class Checker {
 public:
  explicit Checker(const LogCheckOptions& options) : options_(options) {}

  Result<LogSummary> run() {
    if (Status status = list(); !status.ok()) return status;
    for (const auto& [sequence, segment] : segments_) {
      if (stop_) break;
      check_segment(segment);
    }
    if (!options_.online && !stop_) check_recovery();
    if (stop_) return Code::kCANCELLED;
    return summary_;
  }

 private:
  void report(Code code, const std::string& file, std::uint64_t offset, Csn csn, std::string text) {
    damaged_ |= code != Code::kOK;
    if (!stop_ && options_.found && !options_.found({code, file, offset, csn, std::move(text)})) stop_ = true;
  }

  // --- headers -----------------------------------------------------------------------------------------------------

  Status list() {
    auto names = platform::list_directory(options_.directory);
    if (!names.ok()) {
      report(names.code(), options_.directory, UINT64_MAX, 0, names.status().message());
      return {};
    }
    for (const std::string& name : *names) {
      Segment segment;
      if (!parse_name(name, &segment.file_no)) {
        report(Code::kOK, options_.directory + "/" + name, UINT64_MAX, 0, "not a file of the log");
        continue;
      }
      segment.path = options_.directory + "/" + name;
      if (options_.online && !options_.is_live(segment.file_no)) continue;
      read_header(std::move(segment));
    }
    return {};
  }

  void read_header(Segment segment) {
    auto file = File::open(segment.path, File::Mode::kReadOnly);
    if (!file.ok()) {
      if (options_.online && file.code() == Code::kNOT_FOUND) return;
      return report(file.code(), segment.path, 0, 0, file.status().message());
    }
    const auto size = file->size();
    const auto got = file->read_at(&segment.header, sizeof segment.header, 0);
    if (!size.ok() || !got.ok()) {
      return report(Code::kIO_ERROR, segment.path, 0, 0, size.ok() ? got.status().message() : size.status().message());
    }
    segment.file_size = size.value();
    summary_.bytes += segment.file_size;
    const SegmentHeader& header = segment.header;
    const char* const bytes = reinterpret_cast<const char*>(&header);
    if (std::all_of(bytes, bytes + sizeof header, [](char byte) { return byte == 0; })) return;  // made ahead of need
    if (header.checksum != checksum(&header, offsetof(SegmentHeader, checksum), options_.database_id)) {
      if (options_.online) return;  // perhaps being written
      return report_header(segment);
    }
    if (header.size > segment.file_size || header.size < kSegmentHeaderSize + kRollSize || header.base_lsn % 8 != 0) {
      return report(Code::kCORRUPT, segment.path, segment.file_size, 0, "the file is shorter than its header says");
    }
    const auto [known, is_new] = segments_.emplace(header.sequence, segment);
    if (!is_new) {
      report(Code::kCORRUPT, segment.path, offsetof(SegmentHeader, sequence), 0,
             "same sequence as " + known->second.path);
    }
  }

  // Of another database, or damaged. The other one verifies under its own number.
  void report_header(const Segment& segment) {
    const SegmentHeader& header = segment.header;
    const bool foreign = header.database_id != options_.database_id &&
                         std::memcmp(header.magic, kSegmentMagic, sizeof header.magic) == 0 &&
                         header.checksum == checksum(&header, offsetof(SegmentHeader, checksum), header.database_id);
    if (foreign) {
      return report(Code::kWRONG_FORMAT, segment.path, offsetof(SegmentHeader, database_id), 0,
                    "log segment of another database");
    }
    report(Code::kCORRUPT, segment.path, 0, 0, "the header of the segment does not match its checksum");
  }

  // --- records -----------------------------------------------------------------------------------------------------

  std::uint64_t seed(std::uint64_t sequence) const { return frame_seed(options_.database_id, sequence); }

  bool read(const Segment& segment, std::vector<char>* bytes) {
    auto file = File::open(segment.path, File::Mode::kReadOnly);
    const std::uint64_t size = segment.header.size - kSegmentHeaderSize;
    Status status = file.ok() ? Status() : file.status();
    if (status.ok()) {
      bytes->resize(size);
      const auto got = file->read_at(bytes->data(), size, kSegmentHeaderSize);
      status = got.ok() ? Status() : got.status();
      if (got.ok()) bytes->resize(got.value());
    }
    if (status.ok()) return true;
    if (!options_.online) report(status.code(), segment.path, kSegmentHeaderSize, 0, status.message());
    return false;
  }

  // Online: the file may have been taken for a later segment while it was read.
  bool is_gone(const Segment& segment) const {
    if (!options_.online) return false;
    auto file = File::open(segment.path, File::Mode::kReadOnly);
    SegmentHeader now{};
    return !file.ok() || !file->read_at(&now, sizeof now, 0).ok() ||
           std::memcmp(&now, &segment.header, sizeof now) != 0 || !options_.is_live(segment.file_no);
  }

  bool whole_frame(const std::vector<char>& bytes, std::uint64_t offset, std::uint64_t limit, std::uint64_t frame_seed,
                   FrameHeader* header) const {
    if (offset + sizeof *header > limit) return false;
    std::memcpy(header, bytes.data() + offset, sizeof *header);
    if (header->magic == kRollMagic ? header->body_size != 0 : header->magic != kFrameMagic) return false;
    if (header->body_size > kRecordSizeMax || frame_size(header->body_size) > limit - offset) return false;
    return header->checksum == frame_checksum(*header, bytes.data() + offset + sizeof *header, frame_seed);
  }

  void check_segment(const Segment& segment) {
    std::vector<char> bytes;
    if (!read(segment, &bytes)) return;
    const auto after = segments_.find(segment.header.sequence + 1);
    const Segment* const next = after == segments_.end() ? nullptr : &after->second;
    const std::uint64_t limit = bytes.size();
    Csn expected = segment.header.first_csn;
    std::uint64_t offset = 0;
    FrameHeader header{};
    bool rolled = false;
    while (!rolled && whole_frame(bytes, offset, limit, seed(segment.header.sequence), &header)) {
      rolled = header.magic == kRollMagic;
      if (header.csn != (rolled ? expected - 1 : expected)) break;
      if (options_.online && header.csn > options_.durable) return;
      if (rolled) break;
      check_record(segment, offset, header, bytes.data() + offset + sizeof header);
      offset += frame_size(header.body_size);
      ++expected;
      if (tell(segment, offset)) return;
    }
    if (options_.online && expected > options_.durable) return;
    if (!is_gone(segment)) check_end(segment, bytes, offset, expected, rolled ? &header : nullptr, next);
    done_ += segment.header.size;
  }

  bool tell(const Segment&, std::uint64_t offset) {
    constexpr std::uint64_t kStep = 1u << 20;
    if (!options_.progress || done_ + offset < told_ + kStep) return stop_;
    told_ = done_ + offset;
    stop_ = stop_ || !options_.progress(told_, std::max(summary_.bytes, told_));
    return stop_;
  }

  void check_record(const Segment& segment, std::uint64_t offset, const FrameHeader& header, const char* body) {
    ++summary_.records;
    summary_.last_csn = std::max<Csn>(summary_.last_csn, header.csn);
    flatbuffers::Verifier verifier(reinterpret_cast<const std::uint8_t*>(body), header.body_size);
    if (!schema::VerifyRecordBuffer(verifier)) {
      return report(Code::kCORRUPT, segment.path, kSegmentHeaderSize + offset, header.csn,
                    "the record is whole, but not a record");
    }
    if (options_.record) options_.record(header.csn, Bytes(body, header.body_size));
  }

  // Why the records end at `offset`: a roll, the begin of the next segment, the log's end, a torn tail, or damage?
  void check_end(const Segment& segment, const std::vector<char>& bytes, std::uint64_t offset, Csn expected,
                 const FrameHeader* roll, const Segment* next) {
    const std::uint64_t at = kSegmentHeaderSize + offset;
    const std::uint64_t end_lsn = segment.header.base_lsn + offset + (roll != nullptr ? kRollSize : 0);
    if (next != nullptr) {
      if (next->header.base_lsn == end_lsn && next->header.first_csn == expected) return;
      if (is_reused(bytes)) return;
      return report(Code::kCORRUPT, segment.path, at, expected,
                    "commit " + std::to_string(expected) + " is damaged or missing, although later ones are there");
    }
    if (roll != nullptr) return;  // whether the next file is missing is what recovery says
    if (const Csn later = whole_later(segment, bytes, offset, expected); later != 0) {
      if (is_reused(bytes)) return;
      return report(Code::kCORRUPT, segment.path, at, expected,
                    "commit " + std::to_string(expected) +
                        " is damaged, although it had been on the device when commit " + std::to_string(later) +
                        " was made");
    }
    const bool is_newest = segment.header.sequence == segments_.rbegin()->first;
    const bool terminated = bytes.size() - offset >= sizeof kZeroFrame &&
                            std::memcmp(bytes.data() + offset, kZeroFrame, sizeof kZeroFrame) == 0;
    // What is in the base had been durable before; but where the base holds everything, a log may end before it.
    if (is_newest && (expected <= options_.durable || (!terminated && expected <= options_.applied))) {
      return report(
          Code::kCORRUPT, segment.path, at, expected,
          "commit " + std::to_string(expected) + " is damaged or missing, although it had been on the device");
    }
    if (terminated || !is_newest) return;
    report(Code::kOK, segment.path, at, expected, "torn tail: what was being written when the last session died");
  }

  // A record behind `offset` that proves that commit `expected` was durable; 0: none.
  Csn whole_later(const Segment& segment, const std::vector<char>& bytes, std::uint64_t offset, Csn expected) const {
    std::uint64_t budget = (1u << 30) + 4 * bytes.size();  // as recovery: bodies may be full of what looks like headers
    FrameHeader header{};
    for (; offset + sizeof header <= bytes.size(); offset += 8) {
      std::memcpy(&header, bytes.data() + offset, sizeof header);
      if (header.magic != kFrameMagic || header.csn < expected || header.durable_csn < expected) continue;
      if (header.body_size > bytes.size() - offset || header.body_size > budget) continue;
      budget -= header.body_size;
      if (whole_frame(bytes, offset, bytes.size(), seed(segment.header.sequence), &header)) return header.csn;
    }
    return 0;
  }

  // Whether the file is being used again: a record that goes round the ring is there before the new header.
  bool is_reused(const std::vector<char>& bytes) const {
    FrameHeader header{};
    return whole_frame(bytes, 0, bytes.size(), seed(segments_.rbegin()->first + 1), &header);
  }

  // --- the whole ---------------------------------------------------------------------------------------------------

  void check_recovery() {
    LogOptions log;
    log.directory = options_.directory;
    log.database_id = options_.database_id;
    const Result<LogScan> scan = scan_log(log, options_.applied, options_.clean, [](Csn, Bytes) { return Status(); });
    if (scan.ok() || damaged_) return;  // it would say what was said already
    report(scan.code(), options_.directory, UINT64_MAX, 0, scan.status().message());
  }

  const LogCheckOptions& options_;
  std::map<std::uint64_t, Segment> segments_;  // by sequence
  LogSummary summary_;
  std::uint64_t done_ = 0, told_ = 0;
  bool damaged_ = false;
  bool stop_ = false;
};

}  // namespace

Result<LogSummary> check_log(const LogCheckOptions& options) { return Checker(options).run(); }

}  // namespace hf::log
