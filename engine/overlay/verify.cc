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

Status damage_of(const Segment& segment, TableId table, Bytes key, const char* what) {
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
      return damage_of(*this, table, key, "a row with the same hash bucket is damaged");
    }
    Node* node = observe(node_at(base_, offset));
    const std::uint64_t node_hash = row_hash(node->table, Bytes(node_key(node), node->key_size));
    if (((node_hash ^ hash) & bucket_mask_) != 0) {
      return damage_of(*this, table, key, "a row in its hash bucket belongs elsewhere");
    }
    bloom |= bloom_bit(node_hash);
    if (node_is(node, row)) break;
    offset = node->chain.load(std::memory_order_acquire);
  }
  // Every node of a whole chain has its bit, and every bit a node.
  const std::uint64_t marks = bucket >> 32 << 32;
  if (offset == 0 ? marks != bloom : (bloom & ~marks) != 0) {
    return damage_of(*this, table, key, "its hash bucket does not match its rows");
  }
  if (offset == 0) return false;
  const char* fault = nullptr;
  const VersionRecord* record = visible_verified(base_, size, node_at(base_, offset), hash, snapshot, &fault);
  if (fault != nullptr) return damage_of(*this, table, key, fault);
  if (record != nullptr) load_version(record, out);
  return record != nullptr;
}

// --- walking -----------------------------------------------------------------------------------------------------

Offset Iterator::give_up(Offset culprit) noexcept {
  damaged_ = true;
  culprit_ = culprit;
  node_ = 0;
  return 0;
}

Status Iterator::damage() const {
  const Offset at = damaged_ ? culprit_ : static_cast<Offset>(node_);
  if (at == 0) return Status(Code::kCORRUPT, segment_->file() + ": the list of rows of the overlay is damaged");
  const Node* node = node_at(segment_->base_, at);
  return damage_of(*segment_, node->table, Bytes(node_key(node), node->key_size),
                   "its key or newest version is damaged");
}

// Requires: node_is_sound()
bool Iterator::is_whole(Offset offset) const noexcept {
  const Node* node = node_at(segment_->base_, offset);
  const std::uint64_t hash = row_hash(node->table, Bytes(node_key(node), node->key_size));
  const Offset newest = node->newest.load(std::memory_order_acquire);
  return version_fault(segment_->base_, segment_->region_->size(), newest, hash) == nullptr;
}

// The row after `from`, which is sound or the head: it is sound, greater, and no row between the two was left out. The
// last is known by its hint, which names the row before it or an earlier one; one between them can only be a row that
// is being inserted right now, and then `from` leads to that one.
Offset Iterator::after_verified(Offset from) noexcept {
  char* const base = segment_->base_;
  const std::uint64_t size = segment_->region_->size();
  Node* const here = node_at(base, from);
  const bool is_head = from == kHeadOffset;
  for (;;) {
    const Offset next = next_of(here, 0).load(std::memory_order_acquire);
    if (next == 0) return 0;
    if (!node_is_sound(base, size, next)) return give_up();
    const Node* there = observe(node_at(base, next));
    if (!is_head && !precedes<false>(here, RowKey(there->table, Bytes(node_key(there), there->key_size)))) {
      return give_up();
    }
    const Offset hint = there->prev.load(std::memory_order_acquire);
    if (hint == from || hint == kHeadOffset) return next;
    if (!node_is_sound(base, size, hint)) return give_up();
    const RowKey from_key(here->table, is_head ? Bytes() : Bytes(node_key(here), here->key_size));
    if (!is_head && precedes<true>(node_at(base, hint), from_key)) return next;
    if (next_of(here, 0).load(std::memory_order_acquire) == next) return give_up();
  }
}

Offset Iterator::descend_verified(TableId table, Bytes key, bool inclusive) noexcept {
  char* const base = segment_->base_;
  const std::uint64_t size = segment_->region_->size();
  const RowKey row(table, key);
  const auto is_before = [&](const Node* node) {
    return inclusive ? precedes<true>(node, row) : precedes<false>(node, row);
  };
  Offset at = kHeadOffset;
  for (unsigned level = kHeightMax; level-- > 1;) {
    for (;;) {
      const Offset next = next_of(node_at(base, at), level).load(std::memory_order_acquire);
      if (next == 0) break;
      if (!node_is_sound(base, size, next) || node_at(base, next)->height <= level) return give_up();
      const Node* node = observe(node_at(base, next));
      if (!is_before(node)) break;
      const RowKey next_key(node->table, Bytes(node_key(node), node->key_size));
      if (at != kHeadOffset && !precedes<false>(node_at(base, at), next_key)) return give_up();  // else a circle
      at = next;
    }
  }
  for (Offset next = after_verified(at); next != 0 && is_before(node_at(base, next)); next = after_verified(at))
    at = next;
  // A key on the way that became a smaller one leads too far, and then it is the last on the way: what follows it lies
  // beyond the key that is looked for.
  if (!damaged_ && at != kHeadOffset && !is_whole(at)) return give_up(at);
  return damaged_ ? 0 : at;
}

void Iterator::seek_at_or_after_verified(TableId table, Bytes key) noexcept {
  const Offset before = descend_verified(table, key, false);
  if (damaged_) return;
  const RowKey row(table, key);
  for (node_ = after_verified(before); node_ != 0; node_ = after_verified(static_cast<Offset>(node_))) {
    if (!precedes<false>(node_at(segment_->base_, static_cast<Offset>(node_)), row)) break;
  }
}

void Iterator::prev_verified() noexcept {
  const Node* node = node_at(segment_->base_, static_cast<Offset>(node_));
  const Offset before = descend_verified(node->table, Bytes(node_key(node), node->key_size), false);
  node_ = before == kHeadOffset ? 0 : before;
}

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
  if (fault != nullptr) return damage_of(*segment_, node->table, key, fault);
  if (record != nullptr) load_version(record, out);
  return record != nullptr;
}

}  // namespace hf::overlay
