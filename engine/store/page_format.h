// SPDX-License-Identifier: Apache-2.0
// LMDB's file format as its releases 0.9 write it on 64-bit machines (data version 1), for reading a file that LMDB
// itself must not be trusted with: it follows what a damaged page says. Internal to the layer; nothing is ever written
// by it.
//
//   page 0, 1   Page | Meta                                   the one with the greater transaction counts
//   branch      Page | u16 offsets[n] | free | nodes          node: child page, key; the first key is not looked at
//   leaf        Page | u16 offsets[n] | free | nodes          node: key, value, or the number of an overflow page
//   overflow    Page | value, over `overflow_pages` pages
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace hf::store {

inline constexpr std::uint16_t kPageBranch = 0x01;
inline constexpr std::uint16_t kPageLeaf = 0x02;
inline constexpr std::uint16_t kPageOverflow = 0x04;
inline constexpr std::uint16_t kPageMeta = 0x08;

struct PageHeader {
  std::uint64_t number;
  std::uint16_t pad;
  std::uint16_t flags;
  std::uint16_t lower;  // end of the offsets
  std::uint16_t upper;  // where the nodes begin

  std::uint32_t overflow_pages() const noexcept { return lower | std::uint32_t{upper} << 16; }
};
static_assert(sizeof(PageHeader) == 16);

inline constexpr std::uint64_t kNoPage = UINT64_MAX;  // root of an empty tree

struct TreeRecord {
  std::uint32_t pad;
  std::uint16_t flags;
  std::uint16_t depth;
  std::uint64_t branch_pages;
  std::uint64_t leaf_pages;
  std::uint64_t overflow_pages;
  std::uint64_t entries;
  std::uint64_t root;
};
static_assert(sizeof(TreeRecord) == 48);

inline constexpr std::uint32_t kMetaMagic = 0xBEEFC0DE;
inline constexpr std::uint32_t kMetaVersion = 1;
inline constexpr std::uint16_t kTreeIntegerKey = 0x08;
inline constexpr std::uint32_t kTreeDepthMax = 32;

// Behind the page's header.
struct MetaRecord {
  std::uint32_t magic;
  std::uint32_t version;
  std::uint64_t address;
  std::uint64_t map_size;
  TreeRecord free;  // its pad is the page size
  TreeRecord main;
  std::uint64_t last_page;
  std::uint64_t transaction;
};
static_assert(sizeof(MetaRecord) == 136);

inline constexpr std::uint16_t kNodeBig = 0x01;      // the value is on overflow pages
inline constexpr std::uint16_t kNodeSubtree = 0x02;  // the value is a TreeRecord

struct NodeHeader {
  std::uint16_t low;
  std::uint16_t high;
  std::uint16_t flags;
  std::uint16_t key_size;

  std::uint32_t value_size() const noexcept { return low | std::uint32_t{high} << 16; }
  std::uint64_t child() const noexcept { return value_size() | std::uint64_t{flags} << 32; }
};
static_assert(sizeof(NodeHeader) == 8);

constexpr std::uint64_t overflow_pages_of(std::uint64_t value_size, std::uint64_t page_size) noexcept {
  return (sizeof(PageHeader) - 1 + value_size) / page_size + 1;
}

}  // namespace hf::store
