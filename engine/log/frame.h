// SPDX-License-Identifier: Apache-2.0
// Coding of frames and segment headers, shared by the writing and the reading side of the log. Internal to the layer.
#pragma once

#include <cstring>
#include <string>

#include "base/bytes.h"
#include "base/hash.h"
#include "log/format.h"

namespace hf::log {

inline constexpr std::size_t kRollSize = sizeof(FrameHeader);  // every segment keeps this much room after its records
// No log gets there, so what is read may be added to without an overflow when it is not above.
inline constexpr std::uint64_t kSequenceMax = std::uint64_t{1} << 62;
inline constexpr std::uint64_t kLsnMax = std::uint64_t{1} << 62;
inline constexpr char kZeroFrame[sizeof(FrameHeader)] = {};  // the terminator

// Bytes that a record takes in the log.
constexpr std::uint64_t frame_size(std::uint64_t body_size) noexcept {
  return sizeof(FrameHeader) + align_up(body_size, 8);
}

// Frames of another database, or of an earlier use of the same file, never verify under this seed.
constexpr std::uint64_t frame_seed(std::uint64_t database_id, std::uint64_t sequence) noexcept {
  return database_id ^ (sequence * 0x9e3779b97f4a7c15u);  // any odd constant makes the product a permutation
}

inline std::uint64_t frame_checksum(const FrameHeader& header, const char* body, std::uint64_t seed) noexcept {
  return checksum(body, header.body_size, checksum(&header, offsetof(FrameHeader, checksum), seed));
}

inline FrameHeader make_record_header(Csn csn, Csn durable_csn, Bytes body, std::uint64_t seed) noexcept {
  FrameHeader header{kFrameMagic, static_cast<std::uint32_t>(body.size()), csn, durable_csn, 0};
  header.checksum = frame_checksum(header, body.data(), seed);
  return header;
}

inline FrameHeader make_roll_header(Csn last_csn, std::uint32_t next_file_no, std::uint64_t seed) noexcept {
  FrameHeader header{kRollMagic, 0, last_csn, next_file_no, 0};
  header.checksum = frame_checksum(header, "", seed);
  return header;
}

inline SegmentHeader make_segment_header(std::uint64_t database_id, std::uint64_t sequence, std::uint64_t base_lsn,
                                         Csn first_csn, std::uint64_t size) noexcept {
  SegmentHeader header{};
  std::memcpy(header.magic, kSegmentMagic, sizeof header.magic);
  header.version = kSegmentVersion;
  header.byte_order = kByteOrder;
  header.database_id = database_id;
  header.sequence = sequence;
  header.base_lsn = base_lsn;
  header.first_csn = first_csn;
  header.size = size;
  header.checksum = checksum(&header, offsetof(SegmentHeader, checksum), database_id);
  return header;
}

inline std::string segment_name(std::uint32_t file_no) { return "log-" + std::to_string(file_no) + ".hfl"; }
inline std::string segment_path(const std::string& directory, std::uint32_t file_no) {
  return directory + "/" + segment_name(file_no);
}

// The ring holds the byte of `lsn` at lsn % kRingSize, so a run of bytes may wrap once.
inline void ring_put(char* ring, std::uint64_t lsn, const void* data, std::size_t size) noexcept {
  const std::size_t at = lsn % kRingSize;
  const std::size_t first = size < kRingSize - at ? size : kRingSize - at;
  std::memcpy(ring + at, data, first);
  if (first < size) std::memcpy(ring, static_cast<const char*>(data) + first, size - first);
}
inline void ring_get(const char* ring, std::uint64_t lsn, void* out, std::size_t size) noexcept {
  const std::size_t at = lsn % kRingSize;
  const std::size_t first = size < kRingSize - at ? size : kRingSize - at;
  std::memcpy(out, ring + at, first);
  if (first < size) std::memcpy(static_cast<char*>(out) + first, ring, size - first);
}

}  // namespace hf::log
