// SPDX-License-Identifier: Apache-2.0
// PageWalk: goes over the trees of one state of an LMDB file page by page, reading the file only, and believes nothing:
// whatever the bytes are, it ends, stays inside of the file, and says what is wrong. Internal to the layer. One thread.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "platform/file.h"
#include "store/page_format.h"

namespace hf::store {

class PageWalk {
 public:
  // Offsets are those in the file. Anything that is wrong, or cannot be read.
  using Report = std::function<void(Code code, std::uint64_t offset, std::string text)>;
  // Bytes that mean something, for tests: what does not is free, or padding.
  using Covers = std::function<void(std::uint64_t offset, std::uint64_t size, const char* what)>;
  struct Entry {
    Bytes key;
    Bytes value;  // not read when is_lost
    std::uint16_t flags;
    std::uint64_t node_offset;
    std::uint64_t value_offset;
    bool is_lost;  // its overflow pages are damaged, which was reported
  };
  using Visit = std::function<void(const Entry& entry)>;

  // `stop` is asked before each page.
  PageWalk(const platform::File& file, std::uint64_t file_size, Report report, Covers covers,
           std::function<bool()> stop)
      : file_(file),
        file_size_(file_size),
        report_(std::move(report)),
        covers_(std::move(covers)),
        stop_(std::move(stop)) {}

  // Finds the state: that of `transaction`, or with 0 the newest. kCORRUPT, reported, when no page of the two says
  // anything usable; kNOT_FOUND when the transaction's is not there any more.
  Status find_state(std::uint64_t transaction);
  const MetaRecord& state() const noexcept { return state_; }

  // The tree in order; `name` is for messages. With `keys_are_numbers`, as LMDB's free list has them.
  void walk(const TreeRecord& tree, const std::string& name, bool keys_are_numbers, const Visit& visit);
  // The free list, and whether every page is in exactly one place. After all trees.
  void check_free_pages();

  std::uint64_t pages() const noexcept { return pages_walked_; }

 private:
  struct Tree {
    std::string name;
    bool keys_are_numbers;
    std::uint32_t depth;
    TreeRecord seen{};
    const Visit* visit;
  };
  struct Bounds {
    const Bytes* low;   // inclusive; null: none
    const Bytes* high;  // exclusive
  };

  void fault(std::uint64_t offset, std::string text) const { report_(Code::kCORRUPT, offset, std::move(text)); }
  void cover(std::uint64_t offset, std::uint64_t size, const char* what) const {
    if (covers_) covers_(offset, size, what);
  }
  std::uint64_t offset_of(std::uint64_t page) const noexcept { return page * page_size_; }
  bool read(std::uint64_t page, std::uint64_t count, std::vector<char>* out) const;
  bool read_meta(std::uint32_t index, MetaRecord* meta);
  bool check_tree_record(const TreeRecord& tree, std::uint16_t flags, std::uint64_t offset, const std::string& name);
  // Marks the pages as reached from `from`. False, and reported: they are outside or somebody's already.
  bool claim(std::uint64_t page, std::uint64_t count, std::uint64_t from, const std::string& name);
  void walk_page(Tree& tree, std::uint64_t page, std::uint32_t level, std::uint64_t from, Bounds bounds);
  bool check_layout(const Tree& tree, std::uint64_t page, const std::vector<char>& bytes, bool is_leaf,
                    std::vector<std::uint16_t>* nodes) const;
  bool check_key(const Tree& tree, Bytes key, const Bytes* before, Bounds bounds, std::uint64_t offset) const;
  void visit_leaf(Tree& tree, std::uint64_t page, const std::vector<char>& bytes, std::uint16_t at, Bytes key);
  bool read_overflow(Tree& tree, std::uint64_t page, std::uint64_t from, std::uint32_t value_size);
  void take_free(const Entry& entry);

  const platform::File& file_;
  const std::uint64_t file_size_;
  const Report report_;
  const Covers covers_;
  const std::function<bool()> stop_;
  std::uint64_t page_size_ = 0;
  MetaRecord state_{};
  std::vector<std::uint8_t> owner_;  // by page: Owner
  std::vector<char> overflow_;
  std::uint64_t pages_walked_ = 0;
};

}  // namespace hf::store
