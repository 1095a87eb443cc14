// SPDX-License-Identifier: Apache-2.0
// Going over a whole segment without believing it. Level 0 first, which is the truth: each node, each of its versions.
// Then everything that only leads to nodes faster: upper levels, hash chains, the bits of tables. Each walk is bounded
// by the number of nodes that fit, so that a circle ends.
#include "overlay/skiplist.h"

namespace hf::overlay {
namespace {

class SegmentChecker {
 public:
  SegmentChecker(char* base, std::uint64_t size, std::uint64_t bucket_mask,
                 const std::function<bool(const SegmentFinding&)>& found)
      : base_(base), size_(size), bucket_mask_(bucket_mask), nodes_max_(size / sizeof(Node)), found_(found) {}

  std::uint64_t run(std::uint64_t rows_least) {
    check_rows(rows_least);
    for (unsigned level = 1; level < kHeightMax && !stop_; ++level) check_level(level);
    for (std::uint64_t bucket = 0; bucket <= bucket_mask_ && !stop_; ++bucket) check_bucket(bucket);
    return versions_;
  }

 private:
  void report(Offset at, std::string text) { report(at, nullptr, 0, std::move(text)); }
  void report(Offset at, const Node* node, Csn csn, std::string text) {
    SegmentFinding finding{std::uint64_t{at} * kOffsetUnit, 0, {}, csn, std::move(text)};
    if (node != nullptr) finding.table = node->table;
    if (node != nullptr) finding.key.assign(node_key(node), node->key_size);
    if (!stop_) stop_ = !found_(finding);
  }

  bool is_after(const Node* node, const Node* before) const {
    return precedes<false>(before, RowKey(node->table, Bytes(node_key(node), node->key_size)));
  }

  void check_rows(std::uint64_t rows_least) {
    std::uint64_t rows = 0;
    const Node* before = nullptr;
    Offset at = next_of(node_at(base_, kHeadOffset), 0).load(std::memory_order_acquire);
    for (; at != 0 && !stop_; ++rows) {
      if (!node_is_sound(base_, size_, at)) return report(at, "a row of the overlay is damaged, or no row");
      Node* node = observe(node_at(base_, at));
      if (before != nullptr && !is_after(node, before)) return report(at, node, 0, "a row is out of order");
      if (leaves_out(node, at, before)) return report(at, node, 0, "the list leaves out rows before this one");
      check_versions(at, node);
      check_reachable(at, node);
      before = node;
      at = next_of(node, 0).load(std::memory_order_acquire);
    }
    if (!stop_ && rows < rows_least) {
      report(kHeadOffset, "the list has " + std::to_string(rows) + " rows of at least " + std::to_string(rows_least));
    }
  }

  // The hint names the row before, or an earlier one. A later one, that the list does not lead to: rows are left out.
  bool leaves_out(const Node* node, Offset at, const Node* before) const {
    const Offset hint = node->prev.load(std::memory_order_acquire);
    if (hint == kHeadOffset || !node_is_sound(base_, size_, hint)) return false;  // check_reachable() says the latter
    const Node* hinted = node_at(base_, hint);
    if (before != nullptr && (hinted == before || !is_after(hinted, before))) return false;
    // Not one that was inserted just now.
    Node* from = before == nullptr ? node_at(base_, kHeadOffset) : const_cast<Node*>(before);
    return next_of(from, 0).load(std::memory_order_acquire) == at;
  }

  void check_versions(Offset node_offset, const Node* node) {
    const std::uint64_t hash = row_hash(node->table, Bytes(node_key(node), node->key_size));
    Csn before = kCsnMax;
    Offset at = node->newest.load(std::memory_order_acquire);
    if (at == 0) report(node_offset, node, 0, "a row has no version");
    while (at != 0 && !stop_) {
      const char* const fault = version_fault(base_, size_, at, hash);
      if (fault != nullptr) return report(at, node, 0, fault);
      const VersionRecord* version = version_at(base_, at);
      if (version->csn >= before) return report(at, node, version->csn, "versions of a row are out of order");
      if (version->kind < VersionKind::kPut || version->kind > VersionKind::kDropTable) {
        report(at, node, version->csn, "a version is of no known kind");
      }
      ++versions_;
      before = version->csn;
      at = version->prev;
    }
  }

  // Whether look-ups find it. A kill may leave a row without its hash chain, but only one of a commit that is inserted
  // again before anybody is told of it: a row seen here without may be linked right now, so it gets a second look.
  void check_reachable(Offset at, const Node* node) {
    const Bytes key(node_key(node), node->key_size);
    const std::uint64_t hash = row_hash(node->table, key);
    const RowKey row(node->table, key);
    for (int look = 0; look < kLooks; ++look) {
      Offset found = static_cast<Offset>(bucket_of(base_, bucket_mask_, hash)->load(std::memory_order_acquire));
      for (std::uint64_t step = 0; found != 0 && found != at && step < nodes_max_; ++step) {
        if (!node_is_sound(base_, size_, found)) return;  // check_bucket() says it
        found = node_at(base_, found)->chain.load(std::memory_order_acquire);
      }
      if (found == at) break;
      if (look + 1 == kLooks) report(at, node, 0, "the row is not in its hash bucket");
    }
    const auto* header = reinterpret_cast<const SegmentHeader*>(base_);
    const std::uint64_t word = header->tables[node->table / 64 % kTableWords].load(std::memory_order_relaxed);
    if ((word >> (node->table % 64) & 1) == 0) report(at, node, 0, "the bit of the row's table is not set");
    const Offset hint = node->prev.load(std::memory_order_acquire);
    const bool is_hint =
        hint == kHeadOffset || (node_is_sound(base_, size_, hint) && is_after(node, node_at(base_, hint)));
    if (!is_hint) report(at, node, 0, "the link to the row before is damaged");
  }

  void check_level(unsigned level) {
    const Node* before = nullptr;
    Offset at = next_of(node_at(base_, kHeadOffset), level).load(std::memory_order_acquire);
    while (at != 0 && !stop_) {
      if (!node_is_sound(base_, size_, at)) return report(at, "an upper link leads to no row");
      Node* node = observe(node_at(base_, at));
      if (node->height <= level) return report(at, node, 0, "an upper link leads to a row that is lower");
      if (before != nullptr && !is_after(node, before)) return report(at, node, 0, "an upper link is out of order");
      before = node;
      at = next_of(node, level).load(std::memory_order_acquire);
    }
  }

  void check_bucket(std::uint64_t index) {
    const std::uint64_t bucket = bucket_of(base_, bucket_mask_, index)->load(std::memory_order_acquire);
    const auto place = static_cast<Offset>((sizeof(SegmentHeader) + index * sizeof(Bucket)) / kOffsetUnit);
    std::uint64_t bloom = 0, steps = 0;
    for (auto at = static_cast<Offset>(bucket); at != 0; ++steps) {
      if (!node_is_sound(base_, size_, at) || steps > nodes_max_) {
        return report(place, "a hash bucket leads to a damaged row");
      }
      Node* node = observe(node_at(base_, at));
      const std::uint64_t hash = row_hash(node->table, Bytes(node_key(node), node->key_size));
      if ((hash & bucket_mask_) != index) return report(place, node, 0, "a hash bucket holds a row of another");
      bloom |= bloom_bit(hash);
      at = node->chain.load(std::memory_order_acquire);
    }
    if (bucket >> 32 << 32 != bloom) report(place, "the marks of a hash bucket do not match its rows");
  }

  static constexpr int kLooks = 1000;  // some microseconds each: an insert takes one

  char* const base_;
  const std::uint64_t size_;
  const std::uint64_t bucket_mask_;
  const std::uint64_t nodes_max_;
  const std::function<bool(const SegmentFinding&)>& found_;
  std::uint64_t versions_ = 0;
  bool stop_ = false;
};

}  // namespace

std::uint64_t Segment::check(const std::function<bool(const SegmentFinding& finding)>& found) const {
  const auto* header = reinterpret_cast<const SegmentHeader*>(base_);
  const bool right = std::memcmp(header->magic, kSegmentMagic, sizeof kSegmentMagic) == 0 &&
                     header->fingerprint == layout_fingerprint() && header->size == region_->size() &&
                     header->bucket_mask == bucket_mask_ && header->generation.load() == generation_;
  if (!right && !found({0, 0, {}, 0, "the header of the segment is damaged"})) return 0;
  return SegmentChecker(base_, region_->size(), bucket_mask_, found).run(rows());
}

}  // namespace hf::overlay
