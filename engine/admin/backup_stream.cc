// SPDX-License-Identifier: Apache-2.0
#include "admin/backup_stream.h"

#include <cstring>

#include "platform/stream.h"
#include "txn/identity.h"

namespace hf::admin {
namespace {

std::uint64_t block_checksum(const Block& block, const char* bytes, std::uint64_t id, std::uint64_t number) noexcept {
  return checksum(bytes, block.size, checksum(&block, offsetof(Block, checksum), id + number));
}

Status damaged(std::uint64_t at, const char* what) {
  return Status(Code::kCORRUPT, "the backup stream at byte " + std::to_string(at) + ": " + what);
}

}  // namespace

Status StreamWriter::put(const void* data, std::size_t size) {
  Status status = platform::write_stream(fd_, data, size);
  if (status.ok()) bytes_ += size;
  return status;
}

Status StreamWriter::begin(const Manifest& manifest) {
  id_ = txn::random_database_id();
  StreamHead head{};
  std::memcpy(head.magic, kStreamMagic, sizeof head.magic);
  head.byte_order = kStreamByteOrder;
  head.version = kBackupVersion;
  head.stream_id = id_;
  head.source_id = manifest.source_id;
  head.csn = manifest.csn;
  head.committed_at_ms = manifest.committed_at_ms;
  head.made_at_ms = manifest.made_at_ms;
  head.base_bytes = manifest.base_bytes;
  head.checksum = checksum(&head, offsetof(StreamHead, checksum), 0);
  return put(&head, sizeof head);
}

Status StreamWriter::put_block(std::uint32_t magic, std::uint64_t offset, Bytes bytes) {
  Block block{magic, static_cast<std::uint32_t>(bytes.size()), offset, 0};
  block.checksum = block_checksum(block, bytes.data(), id_, blocks_);
  if (Status status = put(&block, sizeof block); !status.ok()) return status;
  ++blocks_;
  return put(bytes.data(), bytes.size());
}

Status StreamWriter::add(std::uint64_t offset, Bytes bytes) { return put_block(kBlockMagic, offset, bytes); }

Status StreamWriter::end(std::uint64_t base_checksum) {
  const StreamEnd end{blocks_, base_checksum};
  return put_block(kEndMagic, 0, Bytes(reinterpret_cast<const char*>(&end), sizeof end));
}

Status StreamReader::get(void* out, std::size_t size) {
  Result<std::size_t> got = platform::read_stream(fd_, out, size);
  if (!got.ok()) return std::move(got).status();
  bytes_ += got.value();
  return got.value() == size ? Status() : damaged(bytes_, "it is torn off here");
}

Result<Manifest> StreamReader::begin() {
  StreamHead head{};
  if (Status status = get(&head, sizeof head); !status.ok()) return status;
  if (std::memcmp(head.magic, kStreamMagic, sizeof head.magic) != 0) return damaged(0, "not a backup");
  if (head.byte_order != kStreamByteOrder || head.version != kBackupVersion) {
    return Status(Code::kWRONG_FORMAT, "the backup stream has format " + std::to_string(head.version) +
                                           " or another byte order; this library knows " +
                                           std::to_string(kBackupVersion));
  }
  if (head.checksum != checksum(&head, offsetof(StreamHead, checksum), 0)) {
    return damaged(offsetof(StreamHead, checksum), "the checksum of its head does not match");
  }
  id_ = head.stream_id;
  base_bytes_ = head.base_bytes;
  return Manifest{head.source_id, head.csn, head.committed_at_ms, head.made_at_ms, head.base_bytes, 0};
}

Status StreamReader::next(std::uint64_t* offset, Bytes* bytes, std::uint64_t* base_checksum) {
  const std::uint64_t at = bytes_;
  Block block{};
  if (Status status = get(&block, sizeof block); !status.ok()) return status;
  const bool is_end = block.magic == kEndMagic;
  if ((!is_end && block.magic != kBlockMagic) || block.size > kBlockSizeMax || block.size == 0) {
    return damaged(at, "no block begins here");
  }
  buffer_.resize(kBlockSizeMax);
  if (Status status = get(buffer_.data(), block.size); !status.ok()) return status;
  if (block.checksum != block_checksum(block, buffer_.data(), id_, blocks_)) {
    return damaged(at, "the checksum of this block does not match");
  }
  if (is_end) {
    StreamEnd end{};
    if (block.size != sizeof end) return damaged(at, "its end has the wrong size");
    std::memcpy(&end, buffer_.data(), sizeof end);
    if (end.blocks != blocks_) return damaged(at, "its end counts other blocks");
    *bytes = {};
    *base_checksum = end.base_checksum;
    return {};
  }
  if (block.offset < next_offset_ || block.offset > base_bytes_ || block.size > base_bytes_ - block.offset) {
    return damaged(at, "this block is out of place");
  }
  next_offset_ = block.offset + block.size;
  ++blocks_;
  *offset = block.offset;
  *bytes = Bytes(buffer_.data(), block.size);
  return {};
}

}  // namespace hf::admin
