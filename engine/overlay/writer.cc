// SPDX-License-Identifier: Apache-2.0
#include "overlay/writer.h"

#include <algorithm>
#include <cassert>

#include "base/hash.h"
#include "platform/test_point.h"

namespace hf::overlay {
namespace {

std::uint64_t version_size(const Change& change) noexcept {
  const std::uint64_t header = sizeof(VersionRecord) + (change.expires_ms != 0 ? sizeof change.expires_ms : 0);
  return align_up(header + change.value.size(), kOffsetUnit);
}
std::uint64_t node_size(unsigned height, std::size_t key_size) noexcept {
  return align_up(node_key_offset(height) + key_size, kOffsetUnit);
}

}  // namespace

void Writer::attach(std::shared_ptr<const Segment> segment, SegmentRow& row) noexcept {
  segment_ = std::move(segment);
  row_ = &row;
  base_ = segment_->base_;
  std::fill(std::begin(path_), std::end(path_), kHeadOffset);
}

std::uint64_t Writer::space_of(std::size_t key_size, std::size_t value_size) noexcept {
  return node_size(kHeightMax, key_size) +
         align_up(sizeof(VersionRecord) + sizeof(std::uint64_t) + value_size, kOffsetUnit);
}

void Writer::insert(Csn csn, const Change& change) noexcept {
  assert(csn != 0 && csn < kCsnMax && change.table != 0);
  assert(change.key.size() <= kKeySizeMax && change.value.size() <= kValueSizeMax);
  assert(change.hash == row_hash(change.table, change.key) && change.content == content_of(change));
  const RowKey row(change.table, change.key);
  const Offset node = find_node(base_, segment_->bucket_mask_, row, change.hash);
  if (node == 0) {
    insert_row(csn, change, row);
  } else {
    add_version(csn, change, node);
  }
}

void Writer::insert_row(Csn csn, const Change& change, const RowKey& row) noexcept {
  const unsigned height = height_of(change.hash);
  if (const Offset found = find_path(row, height); found != 0) {
    complete_row(found, change.hash);
    add_version(csn, change, found);
    return;
  }
  mark_table(change.table);
  const std::uint64_t first_version = node_size(height, change.key.size());
  const Offset at = allocate(first_version + version_size(change));
  const Offset version = at + static_cast<Offset>(first_version / kOffsetUnit);
  platform::reach("overlay.insert.allocated");

  Node* node = node_at(base_, at);
  node->prefix = static_cast<std::uint64_t>(row.rank);
  node->table = change.table;
  node->key_size = static_cast<std::uint16_t>(change.key.size());
  node->height = static_cast<std::uint8_t>(height);
  node->pad = 0;
  node->newest.store(version, std::memory_order_relaxed);  // relaxed, like all until level 0 is linked: nobody sees it
  node->chain.store(0, std::memory_order_relaxed);
  node->prev.store(path_[0], std::memory_order_relaxed);
  for (unsigned level = 0; level < height; ++level) {
    next_of(node, level)
        .store(next_of(node_at(base_, path_[level]), level).load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
  if (!change.key.empty()) std::memcpy(const_cast<char*>(node_key(node)), change.key.data(), change.key.size());
  fill_version(version, csn, change, 0);
  announce(node);

  next_of(node_at(base_, path_[0]), 0).store(at, std::memory_order_release);
  platform::reach("overlay.insert.linked");
  complete_row(at, change.hash);
  row_->rows.store(row_->rows.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  settle(at);
}

// Everything after level 0. Requires: path_ leads to the node on each of its levels; the hash chain lacks it.
void Writer::complete_row(Offset at, std::uint64_t hash) noexcept {
  Node* node = node_at(base_, at);
  if (const Offset after = next_of(node, 0).load(std::memory_order_relaxed); after != 0) {
    node_at(base_, after)->prev.store(at, std::memory_order_release);
  }
  link_hash(at, hash);
  platform::reach("overlay.insert.hashed");
  link_upper(at);
}

void Writer::link_hash(Offset at, std::uint64_t hash) noexcept {
  Bucket* bucket = bucket_of(base_, segment_->bucket_mask_, hash);
  const std::uint64_t old = bucket->load(std::memory_order_relaxed);
  // Release even for a chain that readers cannot reach yet: a killed writer's stores must stand in this order.
  node_at(base_, at)->chain.store(static_cast<Offset>(old), std::memory_order_release);
  bucket->store((old & ~std::uint64_t{UINT32_MAX}) | bloom_bit(hash) | at, std::memory_order_release);
}

void Writer::link_upper(Offset at) noexcept {
  Node* node = node_at(base_, at);
  path_[0] = at;
  for (unsigned level = 1; level < node->height; ++level) {
    next_of(node_at(base_, path_[level]), level).store(at, std::memory_order_release);
    path_[level] = at;
  }
}

void Writer::add_version(Csn csn, const Change& change, Offset at) noexcept {
  Node* node = node_at(base_, at);
  const Offset newest = node->newest.load(std::memory_order_relaxed);
  const Csn newest_csn = version_at(base_, newest)->csn;
  assert(newest_csn <= csn);
  if (newest_csn == csn) {  // a repeat: it is here, perhaps not yet settled
    settle(at);
    settle(newest);
    return;
  }
  const Offset version = allocate(version_size(change));
  platform::reach("overlay.insert.allocated");
  fill_version(version, csn, change, newest);
  node->newest.store(version, std::memory_order_release);
  platform::reach("overlay.insert.linked");
  settle(version);
}

void Writer::fill_version(Offset at, Csn csn, const Change& change, Offset prev) noexcept {
  VersionRecord* version = version_at(base_, at);
  char* bytes = reinterpret_cast<char*>(version);
  const bool expires = change.expires_ms != 0;
  *version = {};
  version->csn = csn;
  version->prev = prev;
  version->value_size = static_cast<std::uint32_t>(change.value.size());
  version->kind = change.kind;
  version->flags = change.flags;
  version->prev_check = fold_offset(prev);
  version->checksum = row_checksum(change.content, csn);
  version->value_offset = sizeof(VersionRecord) + (expires ? sizeof change.expires_ms : 0);
  if (expires) std::memcpy(bytes + sizeof(VersionRecord), &change.expires_ms, sizeof change.expires_ms);
  if (!change.value.empty()) std::memcpy(bytes + version->value_offset, change.value.data(), change.value.size());
}

Offset Writer::find_path(const RowKey& row, unsigned height) noexcept {
  if (!path_fits(row, height)) descend<false>(base_, row, path_);
  const Offset next = next_of(node_at(base_, path_[0]), 0).load(std::memory_order_relaxed);
  return next != 0 && node_is(node_at(base_, next), row) ? next : 0;
}

// Whether the row belongs right behind path_ on the levels that it takes.
bool Writer::path_fits(const RowKey& row, unsigned height) const noexcept {
  for (unsigned level = 0; level < height; ++level) {
    Node* at = node_at(base_, path_[level]);
    if (path_[level] != kHeadOffset && !precedes<false>(at, row)) return false;
    const Offset next = next_of(at, level).load(std::memory_order_relaxed);
    if (next != 0 && precedes<false>(node_at(base_, next), row)) return false;
  }
  return true;
}

void Writer::mark_table(TableId table) noexcept {
  std::atomic<std::uint64_t>& word = reinterpret_cast<SegmentHeader*>(base_)->tables[table / 64 % kTableWords];
  const std::uint64_t bit = std::uint64_t{1} << (table % 64);
  const std::uint64_t old = word.load(std::memory_order_relaxed);
  if ((old & bit) == 0) word.store(old | bit, std::memory_order_relaxed);
}

// Takes `size` bytes, a multiple of kOffsetUnit. The order is what a kill needs: first the note, then the taking.
Offset Writer::allocate(std::uint64_t size) noexcept {
  const std::uint64_t units = size / kOffsetUnit;
  const std::uint64_t used = row_->used.load(std::memory_order_relaxed);
  const std::uint64_t pending = row_->pending.load(std::memory_order_relaxed);
  if (pending != 0 && pending >> 32 == units) {  // a killed writer's, not referred to by anything
    const std::uint64_t start = (pending & UINT32_MAX) * kOffsetUnit;
    row_->used.store(std::max(used, start + size), std::memory_order_release);
    return static_cast<Offset>(pending);
  }
  assert(used + size <= row_->size.load(std::memory_order_relaxed));
  row_->pending.store(units << 32 | used / kOffsetUnit, std::memory_order_release);
  row_->used.store(used + size, std::memory_order_release);
  return static_cast<Offset>(used / kOffsetUnit);
}

// The allocation is referred to now.
void Writer::settle(Offset allocation) noexcept {
  if (static_cast<Offset>(row_->pending.load(std::memory_order_relaxed)) != allocation) return;
  row_->pending.store(0, std::memory_order_release);
}

}  // namespace hf::overlay
