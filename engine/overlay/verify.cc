// SPDX-License-Identifier: Apache-2.0
// Looking things up with distrust: for readers that asked for it (verify_reads) and for the merge, which must not carry
// a damaged row into the base. Every offset is held against the segment before it is followed, and every version passed
// over is held against its checksum: a flipped csn would make an older version look like the newest one.
//
// What is not seen: a link that was bent to another whole, right node or version of the same place. check() does.
#include "base/readable.h"
#include "overlay/skiplist.h"

namespace hf::overlay {
namespace {

Status damaged(const Segment& segment, TableId table, Bytes key, const char* what) {
  return Status(Code::kCORRUPT, segment.file() + ": row '" + readable(key) + "' of table #" + std::to_string(table) +
                                    " in the overlay: " + what);
}

}  // namespace

bool node_is_sound(const char* base, std::uint64_t size, Offset offset) noexcept {
  const std::uint64_t at = std::uint64_t{offset} * kOffsetUnit;
  if (at < sizeof(SegmentHeader) || at + sizeof(Node) > size) return false;
  const auto* node = reinterpret_cast<const Node*>(base + at);
  if (node->height == 0 || node->height > kHeightMax || node->key_size > kKeySizeMax) return false;
  if (at + node_key_offset(node->height) + node->key_size > size) return false;
  return node->prefix == key_prefix(Bytes(node_key(node), node->key_size));
}

const char* version_fault(const char* base, std::uint64_t size, Offset offset, std::uint64_t hash) noexcept {
  const std::uint64_t at = std::uint64_t{offset} * kOffsetUnit;
  if (at < sizeof(SegmentHeader) || at + sizeof(VersionRecord) > size) return "a link leads out of the file";
  const auto* record = reinterpret_cast<const VersionRecord*>(base + at);
  const bool expires = record->value_offset == sizeof(VersionRecord) + sizeof(std::uint64_t);
  if ((!expires && record->value_offset != sizeof(VersionRecord)) || record->value_size > kValueSizeMax ||
      at + record->value_offset + record->value_size > size) {
    return "a version's head is damaged";
  }
  Version version;
  load_version(record, &version);
  const std::uint64_t content =
      row_content(hash, static_cast<std::uint8_t>(version.kind), version.flags, version.expires_ms, version.value);
  if (row_checksum(content, version.csn) != version.checksum) return "a version does not match its checksum";
  return fold_offset(record->prev) == record->prev_check ? nullptr : "the link to an older version is damaged";
}

namespace {

// The newest version <= snapshot: null and *fault null when there is none, null and a text when something is wrong.
const VersionRecord* visible_verified(char* base, std::uint64_t size, const Node* node, std::uint64_t hash,
                                      Csn snapshot, const char** fault) noexcept {
  Csn before = kCsnMax;
  for (Offset offset = node->newest.load(std::memory_order_acquire); offset != 0;) {
    *fault = version_fault(base, size, offset, hash);
    if (*fault != nullptr) return nullptr;
    const VersionRecord* version = version_at(base, offset);
    if (version->csn >= before) *fault = "its versions are out of order";
    if (*fault != nullptr || version->csn <= snapshot) return *fault == nullptr ? version : nullptr;
    before = version->csn;
    offset = version->prev;
  }
  return nullptr;
}

}  // namespace

std::string Segment::file() const {
  return "overlay-" + std::to_string(row_->file_no.load(std::memory_order_relaxed)) + ".hfo";
}

Result<bool> Segment::find_verified(TableId table, Bytes key, std::uint64_t hash, Csn snapshot, Version* out) const {
  const std::uint64_t size = region_->size();
  const std::uint64_t bucket = bucket_of(base_, bucket_mask_, hash)->load(std::memory_order_acquire);
  const RowKey row(table, key);
  std::uint64_t bloom = 0;
  std::uint64_t steps = 0;
  Offset offset = static_cast<Offset>(bucket);
  for (; offset != 0; ++steps) {
    if (!node_is_sound(base_, size, offset) || steps * sizeof(Node) > size) {
      return damaged(*this, table, key, "a row with the same hash bucket is damaged");
    }
    Node* node = observe(node_at(base_, offset));
    const std::uint64_t node_hash = row_hash(node->table, Bytes(node_key(node), node->key_size));
    if (((node_hash ^ hash) & bucket_mask_) != 0) {
      return damaged(*this, table, key, "a row in its hash bucket belongs elsewhere");
    }
    bloom |= bloom_bit(node_hash);
    if (node_is(node, row)) break;
    offset = node->chain.load(std::memory_order_acquire);
  }
  // Every node of a whole chain has its bit, and every bit a node.
  const std::uint64_t marks = bucket >> 32 << 32;
  if (offset == 0 ? marks != bloom : (bloom & ~marks) != 0) {
    return damaged(*this, table, key, "its hash bucket does not match its rows");
  }
  if (offset == 0) return false;
  const char* fault = nullptr;
  const VersionRecord* record = visible_verified(base_, size, node_at(base_, offset), hash, snapshot, &fault);
  if (fault != nullptr) return damaged(*this, table, key, fault);
  if (record != nullptr) load_version(record, out);
  return record != nullptr;
}

// Both lead from a node that was held against node_is_sound(), or the head.
Status Iterator::go_verified(Offset from) {
  char* const base = segment_->base_;
  Node* const here = node_at(base, from);
  const Offset next = next_of(here, 0).load(std::memory_order_acquire);
  if (next != 0) {
    bool sound = node_is_sound(base, segment_->region_->size(), next);
    if (sound && from != kHeadOffset) {
      const Node* there = observe(node_at(base, next));
      sound = precedes<false>(here, RowKey(there->table, Bytes(node_key(there), there->key_size)));
    }
    if (!sound) {
      return Status(Code::kCORRUPT, segment_->file() + ": the list of rows is damaged at offset " +
                                        std::to_string(std::uint64_t{next} * kOffsetUnit));
    }
  }
  node_ = next;
  return {};
}

Status Iterator::first_verified() { return go_verified(kHeadOffset); }
Status Iterator::next_verified() { return go_verified(static_cast<Offset>(node_)); }

Result<bool> Iterator::version_verified(Csn snapshot, Version* out) const {
  const std::uint64_t size = segment_->region_->size();
  if (!node_is_sound(segment_->base_, size, static_cast<Offset>(node_))) {
    return Status(Code::kCORRUPT, segment_->file() + ": a row of the overlay at offset " +
                                      std::to_string(node_ * kOffsetUnit) + " is damaged");
  }
  const Node* node = node_at(segment_->base_, static_cast<Offset>(node_));
  const Bytes key(node_key(node), node->key_size);
  const char* fault = nullptr;
  const VersionRecord* record =
      visible_verified(segment_->base_, size, node, row_hash(node->table, key), snapshot, &fault);
  if (fault != nullptr) return damaged(*segment_, node->table, key, fault);
  if (record != nullptr) load_version(record, out);
  return record != nullptr;
}

}  // namespace hf::overlay
