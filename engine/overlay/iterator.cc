// SPDX-License-Identifier: Apache-2.0
#include <cassert>

#include "overlay/overlay.h"
#include "overlay/skiplist.h"

namespace hf::overlay {
namespace {

// The node, its key and the version that a new row has right behind it: three lines, as nodes lie anywhere in a line.
void prefetch_row(const Node* node) noexcept {
  const char* const bytes = reinterpret_cast<const char*>(node);
  for (std::size_t line = 0; line < 3; ++line) prefetch(bytes + line * 64);
}

// What a caller sees of a position: the head is none.
std::uint64_t outside(Offset offset) noexcept { return offset == kHeadOffset ? 0 : offset; }

}  // namespace

void Iterator::seek_at_or_after(TableId table, Bytes key) noexcept {
  if (distrust_) [[unlikely]]
    return seek_at_or_after_verified(table, key);
  char* base = segment_->base_;
  const Offset before = descend<false>(base, RowKey(table, key), nullptr);
  node_ = next_of(node_at(base, before), 0).load(std::memory_order_acquire);
  // A row inserted right now may stand between `before` and the key: it is not published, but the promise is exact.
  const RowKey row(table, key);
  while (node_ != 0 && precedes<false>(observe(node_at(base, static_cast<Offset>(node_))), row)) next();
}

void Iterator::seek_before(TableId table, Bytes key) noexcept {
  if (distrust_) [[unlikely]] {
    node_ = outside(descend_verified(table, key, false));
    return;
  }
  node_ = outside(descend<false>(segment_->base_, RowKey(table, key), nullptr));
}

void Iterator::seek_at_or_before(TableId table, Bytes key) noexcept {
  if (distrust_) [[unlikely]] {
    node_ = outside(descend_verified(table, key, true));
    return;
  }
  node_ = outside(descend<true>(segment_->base_, RowKey(table, key), nullptr));
}

void Iterator::next() noexcept {
  assert(valid());
  if (distrust_) [[unlikely]] {
    node_ = after_verified(static_cast<Offset>(node_));
    return;
  }
  char* base = segment_->base_;
  Node* node = node_at(base, static_cast<Offset>(node_));
  // Every fourth node knows one that is about four rows ahead: a fifth off a walk through a segment beyond the caches.
  if (node->height > 1) prefetch(node_at(base, next_of(node, 1).load(std::memory_order_relaxed)));
  const Offset at = next_of(node, 0).load(std::memory_order_acquire);
  node_ = at;
  if (at != 0) observe(node_at(base, at));
  // The row after the new one: where a walk does something else in between (rows of the base), it has come by then.
  if (at != 0) prefetch_row(node_at(base, next_of(node_at(base, at), 0).load(std::memory_order_relaxed)));
}

void Iterator::prev() noexcept {
  assert(valid());
  if (distrust_) [[unlikely]]
    return prev_verified();
  char* base = segment_->base_;
  // The hint names a node before this one, if not the nearest; level 0 has the rest.
  Offset at = node_at(base, static_cast<Offset>(node_))->prev.load(std::memory_order_acquire);
  for (;;) {
    const Offset next = next_of(observe(node_at(base, at)), 0).load(std::memory_order_acquire);
    if (next == node_) break;
    assert(next != 0);
    at = next;
  }
  node_ = outside(at);
}

TableId Iterator::table() const noexcept {
  assert(valid());
  return node_at(segment_->base_, static_cast<Offset>(node_))->table;
}

Bytes Iterator::key() const noexcept {
  assert(valid());
  const Node* node = node_at(segment_->base_, static_cast<Offset>(node_));
  return Bytes(node_key(node), node->key_size);
}

bool Iterator::version(Csn snapshot, Version* out) const noexcept {
  assert(valid());
  const VersionRecord* record =
      visible_version(segment_->base_, node_at(segment_->base_, static_cast<Offset>(node_)), snapshot);
  if (record == nullptr) return false;
  load_version(record, out);
  return true;
}

Csn Iterator::newest() const noexcept {
  assert(valid());
  return newest_csn(segment_->base_, node_at(segment_->base_, static_cast<Offset>(node_)));
}

}  // namespace hf::overlay
