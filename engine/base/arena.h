// SPDX-License-Identifier: Apache-2.0
// Arena: bump allocation for things that live as long as one transaction. clear() keeps the first block, so a reused
// transaction allocates nothing. One thread at a time. Throws std::bad_alloc.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <vector>

#include "base/bytes.h"

namespace hf {

class Arena {
 public:
  static constexpr std::size_t kBlockSize = 4096;  // a small transaction fits one block

  char* allocate(std::size_t size) {
    size = align_up(size, 8);
    if (size <= left_) {
      char* out = next_;
      next_ += size;
      left_ -= size;
      return out;
    }
    return allocate_block(size);
  }

  Bytes copy(Bytes bytes) {
    if (bytes.empty()) return {};
    char* out = allocate(bytes.size());
    std::memcpy(out, bytes.data(), bytes.size());
    return {out, bytes.size()};
  }

  std::size_t bytes_held() const noexcept { return held_; }

  void clear() noexcept {
    if (blocks_.empty()) return;
    blocks_.resize(1);
    held_ = kBlockSize;
    next_ = blocks_[0].get();
    left_ = kBlockSize;
  }

 private:
  char* allocate_block(std::size_t size) {
    // The first block always has the standard size, so that clear() can keep it; what is large gets a block of its own.
    const bool own = size > kBlockSize / 4 && !blocks_.empty();
    const std::size_t block_size = own || size > kBlockSize ? size : kBlockSize;
    if (blocks_.empty() && block_size != kBlockSize) {
      allocate_block(8);
      return allocate_block(size);
    }
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(block_size));
    held_ += block_size;
    char* out = blocks_.back().get();
    if (!own) {
      next_ = out + size;
      left_ = block_size - size;
    }
    return out;
  }

  std::vector<std::unique_ptr<char[]>> blocks_;
  std::size_t held_ = 0;
  char* next_ = nullptr;
  std::size_t left_ = 0;
};

}  // namespace hf
