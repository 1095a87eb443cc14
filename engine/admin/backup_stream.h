// SPDX-License-Identifier: Apache-2.0
// A backup as a stream of bytes; the twin of docs/formats.md, section "Backup stream". All integers are little endian.
//
//   StreamHead | Block, bytes of data.mdb | Block, bytes | ... | Block (end), StreamEnd
//
// Each part has a checksum seeded with the stream's own id and the number of its block, so nothing can be missing,
// doubled, exchanged or of another stream; without the end it is torn off.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "admin/manifest.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/status.h"

namespace hf::admin {

inline constexpr char kStreamMagic[8] = {'H', 'F', 'B', 'A', 'C', 'K', '0', '1'};
inline constexpr std::uint32_t kStreamByteOrder = 0x01020304;
inline constexpr std::uint32_t kBlockMagic = 0x424b4648;  // "HFKB": bytes of the base
inline constexpr std::uint32_t kEndMagic = 0x454b4648;    // "HFKE": StreamEnd follows, then nothing
inline constexpr std::uint32_t kBlockSizeMax = 1u << 20;

struct StreamHead {
  char magic[8];
  std::uint32_t byte_order;
  std::uint32_t version;    // kBackupVersion
  std::uint64_t stream_id;  // random; seeds every checksum behind it
  std::uint64_t source_id;
  std::uint64_t csn;
  std::uint64_t committed_at_ms;
  std::uint64_t made_at_ms;
  std::uint64_t base_bytes;  // length of data.mdb
  std::uint64_t checksum;    // XXH3 of the bytes above
};
static_assert(sizeof(StreamHead) == 72);

struct Block {
  std::uint32_t magic;
  std::uint32_t size;      // bytes that follow
  std::uint64_t offset;    // in data.mdb; ascending; what no block has is zeros
  std::uint64_t checksum;  // XXH3 of the bytes, seeded with the XXH3 of the 16 above, seeded with stream_id + number of
                           // the block, from 0
};
static_assert(sizeof(Block) == 24);

struct StreamEnd {
  std::uint64_t blocks;         // before this one
  std::uint64_t base_checksum;  // of all of data.mdb
};
static_assert(sizeof(StreamEnd) == 16);

class StreamWriter {
 public:
  explicit StreamWriter(int fd) noexcept : fd_(fd) {}
  Status begin(const Manifest& manifest);
  Status add(std::uint64_t offset, Bytes bytes);  // at most kBlockSizeMax
  Status end(std::uint64_t base_checksum);
  std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  Status put(const void* data, std::size_t size);
  Status put_block(std::uint32_t magic, std::uint64_t offset, Bytes bytes);

  const int fd_;
  std::uint64_t id_ = 0;
  std::uint64_t blocks_ = 0;
  std::uint64_t bytes_ = 0;
};

// Everything untrusted: kCORRUPT names the byte of the stream.
class StreamReader {
 public:
  explicit StreamReader(int fd) noexcept : fd_(fd) {}
  Result<Manifest> begin();  // base_checksum is not known yet
  // The next piece, valid until the next call; empty: the end, whose checksum is in *base_checksum.
  Status next(std::uint64_t* offset, Bytes* bytes, std::uint64_t* base_checksum);

 private:
  Status get(void* out, std::size_t size);

  const int fd_;
  std::uint64_t id_ = 0;
  std::uint64_t base_bytes_ = 0;
  std::uint64_t blocks_ = 0;
  std::uint64_t bytes_ = 0;  // read
  std::uint64_t next_offset_ = 0;
  std::vector<char> buffer_;
};

}  // namespace hf::admin
