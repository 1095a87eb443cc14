// SPDX-License-Identifier: Apache-2.0
// Recovery: scan.cc reads the files and decides; then, with nothing wrong found, this writes.
//
// A kill at any step leaves files from which the next recovery comes to the same result: the tail's bytes are written
// over themselves; a new segment counts from its header on, which is written last; a file is removed only when a
// durable segment makes it superfluous.
#include <algorithm>

#include "log/impl.h"
#include "log/scan.h"
#include "platform/test_point.h"

namespace hf::log {
namespace {

using platform::File;
using platform::reach;

// Rows left free for new segments when very many old ones wait for a merge. The oldest then get no row: they stay
// until a later open finds them unneeded.
constexpr std::size_t kFreeRowsMin = 16;

// Puts what was read on the device. After a failed sync the kernel may hold pages that it calls clean although they
// were never written, so those records that nothing proves durable are written again, not only synced.
Status settle_tail(const LogScan& scan) {
  const SegmentFile& newest = scan.files[scan.chain.back()];
  auto file = File::open(newest.path, File::Mode::kReadWrite);
  if (!file.ok()) return std::move(file).status();
  Status status = file->write_at(&newest.header, sizeof newest.header, 0);
  if (status.ok() && !scan.tail_bytes.empty()) {
    const std::uint64_t offset = kSegmentHeaderSize + scan.unproven_lsn - newest.header.base_lsn;
    status = file->write_at(scan.tail_bytes.data(), scan.tail_bytes.size(), offset);
  }
  return status.ok() ? file->sync_data() : status;
}

// Makes a segment that begins where the log ends. Its file was never used: nothing old in it can verify.
Status begin_segment(const LogOptions& options, const std::string& path, const SegmentHeader& header) {
  auto file = File::open(path, File::Mode::kCreateNew);
  if (!file.ok()) return std::move(file).status();
  Status status = file->fill_zero(header.size);
  if (status.ok()) status = file->sync_data();  // a header promises the whole file
  reach("log.recover");
  if (status.ok()) status = file->write_at(&header, sizeof header, 0);
  if (status.ok()) status = file->sync_data();
  reach("log.recover");
  return status.ok() ? platform::sync_directory(options.directory) : status;
}

void fill_row(SegmentRow& row, const SegmentFile& file, Csn last_csn) noexcept {
  row.file_no.store(file.file_no, std::memory_order_relaxed);
  row.sequence.store(file.header.sequence, std::memory_order_relaxed);
  row.size.store(file.header.size, std::memory_order_relaxed);
  row.base_lsn.store(file.header.base_lsn, std::memory_order_relaxed);
  row.first_csn.store(file.header.first_csn, std::memory_order_relaxed);
  row.last_csn.store(last_csn, std::memory_order_relaxed);
  row.state.store(static_cast<std::uint32_t>(SegmentState::kLive), std::memory_order_release);
}

void fill_shared(LogShared& shared, const std::vector<SegmentFile>& live, const std::vector<Csn>& last_csns,
                 const LogScan& scan, std::uint32_t next_file_no) noexcept {
  const std::size_t count = std::min<std::size_t>(live.size(), kSegmentsMax - kFreeRowsMin);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t from = live.size() - count + i;
    fill_row(shared.segments[i], live[from], last_csns[from]);
  }
  const auto tail_row = static_cast<std::uint32_t>(count - 1);
  for (TailSlot& slot : shared.tail) {
    slot.record_lsn.store(scan.end_lsn, std::memory_order_relaxed);
    slot.end_lsn.store(scan.end_lsn, std::memory_order_relaxed);
    slot.row.store(tail_row, std::memory_order_relaxed);
  }
  const std::uint64_t sequence = live.back().header.sequence;
  shared.written_lsn.store(scan.end_lsn, std::memory_order_relaxed);
  shared.header_sequence.store(sequence, std::memory_order_relaxed);
  shared.durable_sequence.store(sequence, std::memory_order_relaxed);
  shared.flush_state.store(scan.last_csn << 1, std::memory_order_relaxed);
  shared.next_file_no.store(next_file_no, std::memory_order_relaxed);
  shared.durable_csn.store(scan.last_csn, std::memory_order_relaxed);
  shared.appended_csn.store(scan.last_csn, std::memory_order_release);
}

}  // namespace

Result<std::unique_ptr<Log>> Log::recover(LogShared& shared, char* ring, const platform::Liveness& liveness,
                                          LogOptions options, Csn applied, bool clean, const ApplyRecord& apply,
                                          Recovered* recovered) {
  auto scanned = scan_log(options, applied, clean, apply);
  if (!scanned.ok()) return std::move(scanned).status();
  const LogScan& scan = *scanned;
  reach("log.recover");

  std::vector<SegmentFile> live;
  std::vector<Csn> last_csns;
  for (const std::size_t index : scan.kept) {
    live.push_back(scan.files[index]);
    last_csns.push_back(scan.files[index + 1].header.first_csn - 1);
  }
  for (const std::size_t index : scan.chain) live.push_back(scan.files[index]);
  last_csns.insert(last_csns.end(), scan.last_csns.begin(), scan.last_csns.end());
  if (!live.empty() && !clean) {
    Status status = settle_tail(scan);
    if (!status.ok()) return status;
  }
  std::uint32_t next_file_no = 1;
  for (const SegmentFile& file : scan.files) next_file_no = std::max(next_file_no, file.file_no + 1);
  if (live.empty() || scan.closed) {
    SegmentFile fresh{};
    fresh.file_no = next_file_no++;
    fresh.path = segment_path(options.directory, fresh.file_no);
    fresh.header = make_segment_header(
        options.database_id, live.empty() ? 1 : live.back().header.sequence + 1, scan.end_lsn, scan.last_csn + 1,
        align_up(std::max<std::uint64_t>(options.segment_size_min, 2 * kSegmentHeaderSize), kSegmentHeaderSize));
    Status status = begin_segment(options, fresh.path, fresh.header);
    if (!status.ok()) {
      // Best effort: without a header it is nothing, with one it is an empty newest segment.
      (void)platform::remove_file(fresh.path);
      return status;
    }
    live.push_back(std::move(fresh));
    last_csns.push_back(scan.last_csn);
  }
  for (std::size_t i = 0; i < scan.files.size(); ++i) {
    if (std::find(scan.chain.begin(), scan.chain.end(), i) != scan.chain.end()) continue;
    if (std::find(scan.kept.begin(), scan.kept.end(), i) != scan.kept.end()) continue;
    Status status = platform::remove_file(scan.files[i].path);
    reach("log.recover");
    if (!status.ok()) return status;
  }

  fill_shared(shared, live, last_csns, scan, next_file_no);
  if (recovered != nullptr) *recovered = Recovered{scan.last_csn, scan.records, scan.bytes_cut};
  return attach(shared, ring, liveness, std::move(options));
}

}  // namespace hf::log
