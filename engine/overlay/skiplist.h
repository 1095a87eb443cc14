// SPDX-License-Identifier: Apache-2.0
// Inside of `overlay`: finding nodes in a segment, by hash and by order. Shared by segment.cc, iterator.cc and
// writer.cc. Lock-free; every link is loaded with acquire, which pairs with the writer's release store of that link.
#pragma once

#include <cstring>

#include "overlay/overlay.h"

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace hf::overlay {

// For ThreadSanitizer only, which sees the stores of its own process. A node of this process may be reached through one
// that another process linked in front of it: that link's release and the commit latch between the two writers order
// it, and both are invisible here. So the writer announces each node before it is linked, and who arrives at one
// observes that.
inline void announce([[maybe_unused]] Node* node) noexcept {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(node);
#endif
}
inline Node* observe(Node* node) noexcept {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(node);
#endif
  return node;
}

inline Node* node_at(char* base, Offset offset) noexcept {
  return reinterpret_cast<Node*>(base + offset * kOffsetUnit);
}
inline VersionRecord* version_at(char* base, Offset offset) noexcept {
  return reinterpret_cast<VersionRecord*>(base + offset * kOffsetUnit);
}
inline void prefetch(const void* address) noexcept { __builtin_prefetch(address); }
inline AtomicOffset& next_of(Node* node, unsigned level) noexcept { return node->next[level]; }

constexpr std::size_t node_key_offset(unsigned height) noexcept {
  return offsetof(Node, next) + height * sizeof(AtomicOffset);
}
inline const char* node_key(const Node* node) noexcept {
  return reinterpret_cast<const char*>(node) + node_key_offset(node->height);
}

// Table and first key bytes as one number: the order of rows as far as it reaches.
using Rank = unsigned __int128;
inline Rank make_rank(TableId table, std::uint64_t prefix) noexcept { return static_cast<Rank>(table) << 64 | prefix; }
inline Rank rank_of(const Node* node) noexcept { return make_rank(node->table, node->prefix); }

inline std::uint64_t key_prefix(Bytes key) noexcept {
  if (key.size() >= 8) return load_be64(key.data());
  char padded[8] = {};
  if (!key.empty()) std::memcpy(padded, key.data(), key.size());
  return load_be64(padded);
}

// What is searched for.
struct RowKey {
  RowKey(TableId table_of, Bytes key_of) noexcept : rank(make_rank(table_of, key_prefix(key_of))), key(key_of) {}
  Rank rank;
  Bytes key;
};

// Order of node and key when their ranks are equal: "a" and "a\0" are told apart only here. Beyond the eighth byte by
// bytes, then the shorter first; where one key ends within the prefix, it is a prefix of the other.
inline int compare_tail(const Node* node, Bytes key) noexcept {
  const std::size_t node_size = node->key_size;
  if (node_size > 8 && key.size() > 8) {
    const std::size_t common = (node_size < key.size() ? node_size : key.size()) - 8;
    const int order = std::memcmp(node_key(node) + 8, key.data() + 8, common);
    if (order != 0) return order;
  }
  return node_size < key.size() ? -1 : node_size > key.size() ? 1 : 0;
}

inline bool node_is(const Node* node, const RowKey& row) noexcept {
  return rank_of(node) == row.rank && node->key_size == row.key.size() &&
         (row.key.size() <= 8 || std::memcmp(node_key(node) + 8, row.key.data() + 8, row.key.size() - 8) == 0);
}

// Whether the node lies before the key; with kInclusive also when it is the key's.
template <bool kInclusive>
inline bool precedes(const Node* node, const RowKey& row) noexcept {
  const Rank rank = rank_of(node);
  if (rank != row.rank) [[likely]]
    return rank < row.rank;
  const int order = compare_tail(node, row.key);
  return kInclusive ? order <= 0 : order < 0;
}

// --- hash ------------------------------------------------------------------------------------------------------

inline Bucket* bucket_of(char* base, std::uint64_t bucket_mask, std::uint64_t hash) noexcept {
  return reinterpret_cast<Bucket*>(base + sizeof(SegmentHeader)) + (hash & bucket_mask);
}
// Bits that neither choose the bucket nor the height.
inline std::uint64_t bloom_bit(std::uint64_t hash) noexcept { return std::uint64_t{1} << (32 + (hash >> 59)); }
// 1 with probability 3/4, and so on: a pure function of the row, so that a repeated insert allocates the same size.
inline unsigned height_of(std::uint64_t hash) noexcept {
  return 1 + static_cast<unsigned>(__builtin_ctzll(hash >> 30 | std::uint64_t{1} << (2 * (kHeightMax - 1)))) / 2;
}

inline Offset find_node(char* base, std::uint64_t bucket_mask, const RowKey& row, std::uint64_t hash) noexcept {
  const std::uint64_t bucket = bucket_of(base, bucket_mask, hash)->load(std::memory_order_acquire);
  if ((bucket & bloom_bit(hash)) == 0) return 0;
  Offset offset = static_cast<Offset>(bucket);
  while (offset != 0) {
    Node* node = observe(node_at(base, offset));
    if (node_is(node, row)) return offset;
    offset = node->chain.load(std::memory_order_acquire);
  }
  return 0;
}

// --- order -----------------------------------------------------------------------------------------------------

// The last node before the key (at or before it with kInclusive), or the head. `path`, when wanted, gets that node for
// each of the kHeightMax levels.
template <bool kInclusive>
inline Offset descend(char* base, const RowKey& row, Offset* path) noexcept {
  Offset at = kHeadOffset;
  Offset beyond = 0;  // known not to precede the key; levels often share it
  for (unsigned level = kHeightMax; level-- > 0;) {
    for (;;) {
      Node* node = node_at(base, at);
      const Offset next = next_of(node, level).load(std::memory_order_acquire);
      if (next == 0 || next == beyond) break;
      // Where the way goes down, the node below comes next: fetch both at once. Relaxed: a prefetch reads nothing.
      if (level > 0) prefetch(node_at(base, next_of(node, level - 1).load(std::memory_order_relaxed)));
      if (!precedes<kInclusive>(observe(node_at(base, next)), row)) {
        beyond = next;
        break;
      }
      at = next;
    }
    if (path != nullptr) path[level] = at;
  }
  return at;
}

// --- versions --------------------------------------------------------------------------------------------------

// The newest version with csn <= snapshot, or null.
inline const VersionRecord* visible_version(char* base, const Node* node, Csn snapshot) noexcept {
  Offset offset = node->newest.load(std::memory_order_acquire);
  while (offset != 0) {
    const VersionRecord* version = version_at(base, offset);
    if (version->csn <= snapshot) return version;
    offset = version->prev;
  }
  return nullptr;
}
inline void load_version(const VersionRecord* record, Version* out) noexcept {
  const char* bytes = reinterpret_cast<const char*>(record);
  out->csn = record->csn;
  out->expires_ms = 0;
  if (record->value_offset != sizeof(VersionRecord)) {
    std::memcpy(&out->expires_ms, bytes + sizeof(VersionRecord), sizeof out->expires_ms);
  }
  out->value = Bytes(bytes + record->value_offset, record->value_size);
  out->kind = record->kind;
  out->flags = record->flags;
  out->checksum = record->checksum;
}
// verify.cc. Whether the bytes there can be a node: bounds, sizes, prefix. Follows no link.
bool node_is_sound(const char* base, std::uint64_t size, Offset offset) noexcept;
// verify.cc. What is wrong with the version there of the row with that hash, or null. Follows no link.
const char* version_fault(const char* base, std::uint64_t size, Offset offset, std::uint64_t hash) noexcept;
inline Csn newest_csn(char* base, const Node* node) noexcept {
  return version_at(base, node->newest.load(std::memory_order_acquire))->csn;
}

}  // namespace hf::overlay
