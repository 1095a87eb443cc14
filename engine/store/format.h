// SPDX-License-Identifier: Apache-2.0
// What Holdfast keeps inside LMDB; the twin of docs/formats.md, section "Base". All integers little endian unless said.
//
// Untrusted on reading: every size, slot and number is checked before use. Written only inside LMDB write transactions,
// so a process killed at any moment leaves all of a change or nothing, with one exception that is harmless: a bulk
// load commits rows into a slot which no table owns yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/bytes.h"

namespace hf::store {

// --- named databases ---------------------------------------------------------------------------------------------

inline constexpr const char* kMetaDatabase = "meta";      // name -> bytes
inline constexpr const char* kTablesDatabase = "tables";  // table number, big endian 4 -> slot, 4
inline constexpr const char* kExpiryDatabase = "expiry";  // see ExpiryKey below
inline constexpr char kSlotPrefix = 't';                  // "t<slot>", decimal: rows of one table, key -> head + value

// --- records in meta ---------------------------------------------------------------------------------------------

inline constexpr const char* kFormatKey = "format";           // FormatRecord; made together with the databases
inline constexpr const char* kAppliedCsnKey = "applied_csn";  // 8: everything up to this commit is in the base
inline constexpr const char* kDirectoryKey = "directory";     // DirectoryRecord
// 8: every row of a newer version has a checksum. Absent in files from before there were any.
inline constexpr const char* kCheckedSinceKey = "checksums_since";

inline constexpr char kFormatMagic[8] = {'H', 'F', 'B', 'A', 'S', 'E', '0', '1'};
inline constexpr std::uint32_t kFormatVersion = 1;

struct FormatRecord {
  char magic[8];
  std::uint32_t version;
  std::uint32_t byte_order;  // 0x01020304
};
static_assert(sizeof(FormatRecord) == 16);
inline constexpr std::uint32_t kByteOrder = 0x01020304;

// Lets a process see by one small read whether what it cached of the table directory still holds.
struct DirectoryRecord {
  std::uint64_t generation;  // grows with every commit that binds or frees a slot or makes one
  std::uint32_t slots;       // slots 0 .. slots-1 exist as databases; a slot no table points to is free
  std::uint32_t zero;
};
static_assert(sizeof(DirectoryRecord) == 16);

// --- rows --------------------------------------------------------------------------------------------------------

// Value of a row: head, then the user's bytes.
//   0       8  version in the low 56 bits, flags in the top 8
//   8       8  expires_ms, only when kFlagExpires is set
//   8 or 16 4  checksum, only when kFlagChecked is set: row_checksum() of the row (base/hash.h)
// Every row is written with its checksum. Rows without are from before there were any.
inline constexpr std::uint8_t kFlagExpires =
    0x80;  // these two are the store's own; the other six bits are the caller's
inline constexpr std::uint8_t kFlagChecked = 0x40;
inline constexpr std::uint8_t kFlagsOfCaller = 0x3f;
inline constexpr std::size_t kChecksumSize = 4;
inline constexpr std::size_t kHeadSizeMin = 8;  // neither
inline constexpr std::size_t kHeadSize = 12;    // with a checksum
inline constexpr std::size_t kHeadSizeExpires = 20;
inline constexpr std::uint8_t kKindPut = 1;  // of row_content(): what every row of the base is

constexpr std::size_t head_size(std::uint64_t expires_ms) noexcept {
  return expires_ms == 0 ? kHeadSize : kHeadSizeExpires;
}

// Requires: head_size(expires_ms) bytes at `out`, version <= kCsnMax. Returns where the user's bytes go.
inline char* encode_head(char* out, Csn version, std::uint8_t flags, std::uint64_t expires_ms,
                         std::uint32_t row_checksum) noexcept {
  flags = static_cast<std::uint8_t>((flags & kFlagsOfCaller) | kFlagChecked | (expires_ms == 0 ? 0 : kFlagExpires));
  const std::uint64_t word = (version & kCsnMax) | (std::uint64_t{flags} << 56);
  std::memcpy(out, &word, sizeof word);
  out += sizeof word;
  if (expires_ms != 0) {
    std::memcpy(out, &expires_ms, sizeof expires_ms);
    out += sizeof expires_ms;
  }
  std::memcpy(out, &row_checksum, sizeof row_checksum);
  return out + sizeof row_checksum;
}

// --- expiry index ------------------------------------------------------------------------------------------------

// Key of an entry: expires_ms big endian 8, table big endian 4, hash of the row's key big endian 8 (checksum() seeded
// with the table), and, when two keys share all of these, one more byte 1..255. Value: the row's key, which with its
// up to 511 bytes would not fit into the entry's own key. An entry may outlive its row (dropped table, abandoned
// load); it is discarded when its time has come and the row does not match.
inline constexpr std::size_t kExpiryKeySize = 20;

}  // namespace hf::store
