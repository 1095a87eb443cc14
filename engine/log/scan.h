// SPDX-License-Identifier: Apache-2.0
// Reading a log from its files, for recovery: changes nothing on disk. Internal to the layer.
//
// How the end is found, and what is called damage:
//  - segments follow each other by sequence; a segment's records end at the base_lsn of its successor, if it has one,
//    because a recovery that cut a torn tail went on in a new segment there;
//  - a record that does not verify although it had been durable is damage. It had been when a successor exists (see
//    invariant 4 in log.h) or when a later whole record says so in durable_csn. Anything else that does not verify is
//    a torn tail: also the very last records of the log when they were damaged later, as nothing can prove those.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "log/format.h"
#include "log/log.h"

namespace hf::log {

struct SegmentFile {
  std::uint32_t file_no;
  std::string path;
  std::uint64_t file_size;
  bool valid;  // `header` is whole and of this database
  bool blank;  // the header's place holds zeros
  SegmentHeader header;
};

// Whether the segment lies just before the other one, as far as the headers tell.
bool precedes(const SegmentFile& file, const SegmentFile& next) noexcept;

// All segment files of the directory. kWRONG_FORMAT when one belongs to another database, version or byte order.
Result<std::vector<SegmentFile>> list_segments(const std::string& directory, std::uint64_t database_id);

struct LogScan {
  std::vector<SegmentFile> files;  // all, valid ones first, those by sequence
  std::vector<std::size_t> chain;  // of `files`: from the one that holds applied + 1 to the newest
  std::vector<Csn> last_csns;      // of the chain's segments
  std::vector<std::size_t> kept;   // of `files`: those before the chain, without a gap, that keep_bytes keeps; in order
  Csn last_csn = 0;                // newest whole record, or `applied` when there is none after it
  std::uint64_t end_lsn = 0;       // where the next record goes
  std::uint64_t records = 0;       // handed to apply
  std::uint64_t bytes_cut = 0;     // from end_lsn to the segment's last byte that is not zero, of a torn tail
  bool closed = false;             // the newest segment takes no more records: torn, or ended by a roll frame
  std::uint64_t unproven_lsn = 0;  // no record in the newest segment from here on proves that it is on the device
  std::vector<char> tail_bytes;    // those of the newest segment from unproven_lsn to end_lsn
};

// Reads every record after `applied` and hands it to `apply`, in order.
Result<LogScan> scan_log(const LogOptions& options, Csn applied, bool clean, const ApplyRecord& apply);

}  // namespace hf::log
