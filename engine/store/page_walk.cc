// SPDX-License-Identifier: Apache-2.0
#include "store/page_walk.h"

#include <algorithm>

namespace hf::store {
namespace {

enum Owner : std::uint8_t { kNobody, kUsed, kFree };

constexpr std::uint64_t kPageSizeMin = 512, kPageSizeMax = 65536;
// LMDB leaves out the last pages of a transaction that it took and gave back, so its last page may lie beyond the
// end of the file, but not by more than one transaction takes.
constexpr std::uint64_t kPagesBeyondMax = 1u << 20;

template <typename T>
T load(const char* from) noexcept {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

int compare(bool as_numbers, Bytes a, Bytes b) noexcept {
  if (!as_numbers) return a.compare(b);
  const auto left = load<std::uint64_t>(a.data()), right = load<std::uint64_t>(b.data());
  return left < right ? -1 : left > right ? 1 : 0;
}

std::string named(const std::string& name, const std::string& text) { return "database '" + name + "': " + text; }

}  // namespace

// --- the state ---------------------------------------------------------------------------------------------------

bool PageWalk::read_meta(std::uint32_t index, MetaRecord* meta) {
  // Before the page size is known the second one is where the first says.
  const std::uint64_t offset = index * page_size_;
  char bytes[sizeof(PageHeader) + sizeof *meta];
  const Result<std::size_t> got = file_.read_at(bytes, sizeof bytes, offset);
  if (!got.ok() || got.value() != sizeof bytes) {
    report_(got.ok() ? Code::kCORRUPT : got.code(), offset, "the file ends before its meta page");
    return false;
  }
  const auto header = load<PageHeader>(bytes);
  std::memcpy(meta, bytes + sizeof header, sizeof *meta);
  const bool is_meta = (header.flags & kPageMeta) != 0 && meta->magic == kMetaMagic && meta->version == kMetaVersion;
  const std::uint64_t size = meta->free.pad;
  const bool is_size = size >= kPageSizeMin && size <= kPageSizeMax && (size & (size - 1)) == 0;
  if (is_meta && is_size && header.number == index && header.flags == kPageMeta && header.pad == 0) {
    cover(offset, 16 - 4, "meta page header");
    cover(offset + 16, 8, "meta page");
    cover(offset + 16 + offsetof(MetaRecord, free), 8, "meta page");  // page size, flags: of both pages they count
    cover(offset + 16 + offsetof(MetaRecord, transaction), 8, "meta page");
    return true;
  }
  fault(offset, "meta page " + std::to_string(index) + " is damaged");
  return false;
}

Status PageWalk::find_state(std::uint64_t transaction) {
  MetaRecord metas[2];
  bool sound[2] = {read_meta(0, &metas[0]), false};
  page_size_ = sound[0] ? metas[0].free.pad : 4096;
  sound[1] = read_meta(1, &metas[1]);
  if (sound[0] && sound[1]) {
    const std::uint64_t a = metas[0].transaction, b = metas[1].transaction;
    // Commits write them in turn, the one whose parity is the transaction's.
    const bool in_turn = (a == 0 && b == 0) || (a % 2 == 0 && b % 2 == 1 && (a + 1 == b || b + 1 == a));
    if (!in_turn && transaction == 0) {
      fault(offsetof(MetaRecord, transaction) + sizeof(PageHeader),
            "the meta pages are of transactions " + std::to_string(a) + " and " + std::to_string(b) +
                ", which cannot follow each other");
    }
    if (metas[0].free.pad != metas[1].free.pad) fault(0, "the meta pages name different page sizes");
  }
  if (!sound[0] && !sound[1]) return Status(Code::kCORRUPT, "no meta page of the file is sound");
  std::uint32_t newest = !sound[0] || (sound[1] && metas[1].transaction > metas[0].transaction) ? 1 : 0;
  if (transaction != 0) {
    if (sound[1 - newest] && metas[1 - newest].transaction == transaction) newest = 1 - newest;
    if (metas[newest].transaction != transaction) return Code::kNOT_FOUND;
  }
  state_ = metas[newest];
  const std::uint64_t at = newest * page_size_ + sizeof(PageHeader);
  cover(at + offsetof(MetaRecord, free), offsetof(MetaRecord, transaction) - offsetof(MetaRecord, free), "meta page");
  page_size_ = state_.free.pad;

  const std::uint64_t file_pages = file_size_ / page_size_;
  if (state_.last_page < 1 || state_.last_page >= file_pages + kPagesBeyondMax) {
    fault(at + offsetof(MetaRecord, last_page),
          "the last page is " + std::to_string(state_.last_page) + ", but the file has " + std::to_string(file_pages));
    return Status(Code::kCORRUPT, "the file is shorter than its meta page says");
  }
  owner_.assign(state_.last_page + 1, kNobody);
  owner_[0] = owner_[1] = kUsed;
  pages_walked_ = 2;
  if (state_.free.flags != kTreeIntegerKey) fault(at + offsetof(MetaRecord, free), "the file has unknown flags");
  return {};
}

// --- trees -------------------------------------------------------------------------------------------------------

bool PageWalk::read(std::uint64_t page, std::uint64_t count, std::vector<char>* out) const {
  const std::uint64_t size = count * page_size_;
  out->resize(size);
  const Result<std::size_t> got = file_.read_at(out->data(), size, offset_of(page));
  if (got.ok() && got.value() == size) return true;
  report_(got.ok() ? Code::kCORRUPT : got.code(), offset_of(page),
          got.ok() ? "the file ends before page " + std::to_string(page) : got.status().message());
  return false;
}

bool PageWalk::claim(std::uint64_t page, std::uint64_t count, std::uint64_t from, const std::string& name) {
  if (page >= owner_.size() || count > owner_.size() - page) {
    fault(from, named(name, "a link leads to page " + std::to_string(page) + ", beyond the last one"));
    return false;
  }
  for (std::uint64_t i = page; i < page + count; ++i) {
    if (owner_[i] == kNobody) continue;
    fault(from, named(name, "page " + std::to_string(i) + " is used twice"));
    return false;
  }
  std::fill_n(owner_.begin() + static_cast<std::ptrdiff_t>(page), count, kUsed);
  pages_walked_ += count;
  return true;
}

void PageWalk::walk(const TreeRecord& tree, const std::string& name, bool keys_are_numbers, const Visit& visit) {
  Tree walked{name, keys_are_numbers, tree.depth, {}, &visit};
  const std::uint64_t at = offset_of(0);
  if (tree.root == kNoPage) {
    if (tree.depth != 0 || tree.entries != 0 || tree.leaf_pages != 0 || tree.branch_pages != 0) {
      fault(at, named(name, "it has no root, but entries or pages"));
    }
    return;
  }
  if (tree.depth == 0 || tree.depth > kTreeDepthMax) {
    fault(at, named(name, "its depth is " + std::to_string(tree.depth)));
    return;
  }
  walk_page(walked, tree.root, 1, at, {nullptr, nullptr});
  const TreeRecord& seen = walked.seen;
  if (stop_()) return;
  const auto expect = [&](std::uint64_t said, std::uint64_t found, const char* what) {
    if (said == found) return;
    fault(at,
          named(name, "it has " + std::to_string(found) + " " + what + ", its record says " + std::to_string(said)));
  };
  expect(tree.entries, seen.entries, "entries");
  expect(tree.branch_pages, seen.branch_pages, "branch pages");
  expect(tree.leaf_pages, seen.leaf_pages, "leaf pages");
  expect(tree.overflow_pages, seen.overflow_pages, "overflow pages");
}

void PageWalk::walk_page(Tree& tree, std::uint64_t page, std::uint32_t level, std::uint64_t from, Bounds bounds) {
  if (stop_() || !claim(page, 1, from, tree.name)) return;
  std::vector<char> bytes;
  if (!read(page, 1, &bytes)) return;
  const bool is_leaf = level == tree.depth;
  std::vector<std::uint16_t> nodes;
  if (!check_layout(tree, page, bytes, is_leaf, &nodes)) return;
  ++(is_leaf ? tree.seen.leaf_pages : tree.seen.branch_pages);

  std::vector<Bytes> keys(nodes.size());
  std::vector<bool> usable(nodes.size(), true);
  const Bytes* before = nullptr;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const auto header = load<NodeHeader>(bytes.data() + nodes[i]);
    keys[i] = Bytes(bytes.data() + nodes[i] + sizeof header, header.key_size);
    if (!is_leaf && i == 0) continue;  // stands for everything before the second
    usable[i] = check_key(tree, keys[i], before, bounds, offset_of(page) + nodes[i]);
    if (usable[i]) before = &keys[i];
  }
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (is_leaf) {
      visit_leaf(tree, page, bytes, nodes[i], keys[i]);
      continue;
    }
    const auto header = load<NodeHeader>(bytes.data() + nodes[i]);
    const Bytes* const low = i == 0 ? bounds.low : usable[i] ? &keys[i] : nullptr;
    const Bytes* high = i + 1 == nodes.size() ? bounds.high : usable[i + 1] ? &keys[i + 1] : nullptr;
    walk_page(tree, header.child(), level + 1, offset_of(page) + nodes[i], {low, high});
  }
}

// Header, offsets, and that the nodes tile what is behind `upper`. `nodes` in order.
bool PageWalk::check_layout(const Tree& tree, std::uint64_t page, const std::vector<char>& bytes, bool is_leaf,
                            std::vector<std::uint16_t>* nodes) const {
  const std::uint64_t offset = offset_of(page);
  const auto header = load<PageHeader>(bytes.data());
  const auto wrong = [&](const std::string& what) {
    fault(offset, named(tree.name, "page " + std::to_string(page) + ": " + what));
    return false;
  };
  if (header.number != page) return wrong("it says that it is page " + std::to_string(header.number));
  if (header.flags != (is_leaf ? kPageLeaf : kPageBranch)) return wrong("it is not of the kind that belongs here");
  if (header.lower < sizeof header || header.lower % 2 != 0 || header.lower > header.upper ||
      header.upper > page_size_) {
    return wrong("its free space is wrong");
  }
  const std::size_t count = (header.lower - sizeof header) / 2;
  if (count < (is_leaf ? 1 : 2)) return wrong("it is empty");
  cover(offset, 8, "page header");
  cover(offset + 10, 6, "page header");
  cover(offset + sizeof header, 2 * count, "page offsets");

  std::vector<std::pair<std::uint32_t, std::uint32_t>> extents;  // begin, end
  for (std::size_t i = 0; i < count; ++i) {
    const auto at = load<std::uint16_t>(bytes.data() + sizeof header + 2 * i);
    if (at < header.upper || at % 2 != 0 || at + sizeof(NodeHeader) > page_size_) return wrong("a node lies outside");
    const auto node = load<NodeHeader>(bytes.data() + at);
    std::uint64_t size = sizeof node + node.key_size;
    if (is_leaf) {
      if ((node.flags & ~(kNodeBig | kNodeSubtree)) != 0) return wrong("a node has unknown flags");
      size += (node.flags & kNodeBig) != 0 ? sizeof(std::uint64_t) : node.value_size();
    }
    if (at + size > page_size_) return wrong("a node goes beyond the page");
    nodes->push_back(at);
    extents.emplace_back(at, at + static_cast<std::uint32_t>(align_up(size, 2)));
    cover(offset + at, sizeof node, "node head");
  }
  std::sort(extents.begin(), extents.end());
  std::uint32_t end = header.upper;
  for (const auto& [from, to] : extents) {
    if (from != end) return wrong("its nodes leave a gap, or overlap");
    end = to;
  }
  return end == page_size_ || wrong("its nodes end before the page");
}

bool PageWalk::check_key(const Tree& tree, Bytes key, const Bytes* before, Bounds bounds, std::uint64_t offset) const {
  const bool is_size =
      tree.keys_are_numbers ? key.size() == sizeof(std::uint64_t) : !key.empty() && key.size() <= kKeySizeMax;
  if (!is_size) {
    fault(offset, named(tree.name, "a key has " + std::to_string(key.size()) + " bytes"));
    return false;
  }
  cover(offset + sizeof(NodeHeader), key.size(), "key");
  const bool numbers = tree.keys_are_numbers;
  if ((before != nullptr && compare(numbers, *before, key) >= 0) ||
      (bounds.low != nullptr && compare(numbers, *bounds.low, key) > 0) ||
      (bounds.high != nullptr && compare(numbers, *bounds.high, key) <= 0)) {
    fault(offset, named(tree.name, "a key is out of order"));
    return false;
  }
  return true;
}

void PageWalk::visit_leaf(Tree& tree, std::uint64_t page, const std::vector<char>& bytes, std::uint16_t at, Bytes key) {
  ++tree.seen.entries;
  const auto header = load<NodeHeader>(bytes.data() + at);
  const std::uint32_t in_page = at + static_cast<std::uint32_t>(sizeof header) + header.key_size;
  const std::uint64_t offset = offset_of(page) + at;
  Entry entry{key, {}, header.flags, offset, offset_of(page) + in_page, false};
  if ((header.flags & kNodeBig) == 0) {
    entry.value = Bytes(bytes.data() + in_page, header.value_size());
    cover(entry.value_offset, entry.value.size(), "value");
  } else {
    const auto first = load<std::uint64_t>(bytes.data() + in_page);
    cover(entry.value_offset, sizeof first, "overflow link");
    entry.is_lost = !read_overflow(tree, first, offset, header.value_size());
    entry.value_offset = offset_of(first) + sizeof(PageHeader);
    if (!entry.is_lost) entry.value = Bytes(overflow_.data() + sizeof(PageHeader), header.value_size());
    if (!entry.is_lost) cover(entry.value_offset, entry.value.size(), "value");
  }
  (*tree.visit)(entry);
}

bool PageWalk::read_overflow(Tree& tree, std::uint64_t page, std::uint64_t from, std::uint32_t value_size) {
  const std::uint64_t needed = overflow_pages_of(value_size, page_size_);
  if (page >= owner_.size() || needed > owner_.size() - page) {
    fault(from, named(tree.name, "a value leads to page " + std::to_string(page) + ", beyond the last one"));
    return false;
  }
  if (!read(page, needed, &overflow_)) return false;
  const auto header = load<PageHeader>(overflow_.data());
  // A value that shrank may keep the pages that it had.
  if (header.number != page || header.flags != kPageOverflow || header.overflow_pages() < needed) {
    fault(offset_of(page), named(tree.name, "page " + std::to_string(page) + " is not the value's that leads here"));
    return false;
  }
  if (!claim(page, header.overflow_pages(), from, tree.name)) return false;
  tree.seen.overflow_pages += header.overflow_pages();
  cover(offset_of(page), 8, "overflow header");
  cover(offset_of(page) + 10, 6, "overflow header");
  return true;
}

// --- free pages --------------------------------------------------------------------------------------------------

// A value of the free list: a count, then that many page numbers, descending.
void PageWalk::take_free(const Entry& entry) {
  if (entry.is_lost) return;
  constexpr std::size_t kNumber = sizeof(std::uint64_t);
  const std::uint64_t count = entry.value.size() < kNumber ? 0 : load<std::uint64_t>(entry.value.data());
  if (entry.value.size() % kNumber != 0 || entry.value.size() / kNumber < 1 ||
      count > entry.value.size() / kNumber - 1) {
    return fault(entry.value_offset, "free list: an entry is shorter than it says");
  }
  for (std::uint64_t i = 1; i <= count; ++i) {
    const auto page = load<std::uint64_t>(entry.value.data() + i * kNumber);
    const std::uint64_t offset = entry.value_offset + i * kNumber;
    if (page >= owner_.size()) {
      fault(offset, "free list: page " + std::to_string(page) + " is beyond the last one");
    } else if (owner_[page] != kNobody) {
      fault(offset,
            "free list: page " + std::to_string(page) + (owner_[page] == kFree ? " is in it twice" : " is in use"));
    } else {
      owner_[page] = kFree;
    }
  }
}

void PageWalk::check_free_pages() {
  // The list's own pages are taken while it is read: what it says of them comes after.
  struct Kept {
    std::string value;
    std::uint64_t offset;
  };
  std::vector<Kept> kept;
  walk(state_.free, "free list", true, [&](const Entry& entry) {
    const auto transaction = entry.key.size() == 8 ? load<std::uint64_t>(entry.key.data()) : 0;
    if (transaction > state_.transaction) fault(entry.node_offset, "free list: an entry is of a later transaction");
    if (!entry.is_lost) kept.push_back({std::string(entry.value), entry.value_offset});
  });
  for (const Kept& one : kept) take_free({{}, one.value, 0, 0, one.offset, false});
  if (stop_()) return;
  std::uint64_t lost = 0, first = 0;
  const std::uint64_t file_pages = file_size_ / page_size_;
  for (std::uint64_t page = owner_.size(); page-- > 0;) {
    if (owner_[page] == kNobody) {
      ++lost;
      first = page;
    } else if (owner_[page] == kUsed && page >= file_pages) {
      fault(offset_of(page), "page " + std::to_string(page) + " is in use, but the file ends before it");
    }
  }
  if (lost != 0) fault(offset_of(first), std::to_string(lost) + " pages belong to nothing; this is the first");
}

}  // namespace hf::store
