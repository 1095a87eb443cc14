// SPDX-License-Identifier: Apache-2.0
// Region: a whole file mapped shared and writable (Boost.Interprocess file_mapping and mapped_region; its segment
// managers and mutexes are not robust against a killed process and are not used anywhere). The mapping outlives the
// file's name: removing the file leaves mapped regions valid.
// Fault points: region.map, region.populate (the error number that madvise answers), and those of file.h.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "base/status.h"

namespace hf::platform {

class Region {
 public:
  Region() noexcept;
  Region(Region&&) noexcept;
  Region& operator=(Region&&) noexcept;
  ~Region();  // unmaps

  // Makes a file of `size` zero bytes (replacing one that is there) with all its blocks written, and maps it. On
  // failure no file is left. Requires: size > 0 (kINVALID_ARGUMENT).
  static Result<Region> create(const std::string& path, std::size_t size);
  // The same with none of its blocks written: who uses a part of it reserves that first (File::reserve).
  static Result<Region> create_sparse(const std::string& path, std::size_t size);
  // Maps an existing file whole. kCORRUPT when it is shorter than `size_min`, or empty.
  static Result<Region> open(const std::string& path, std::size_t size_min);

  // The same for reading only: a write to it is a SIGSEGV.
  static Result<Region> open_read_only(const std::string& path, std::size_t size_min);

  char* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  bool is_mapped() const noexcept { return data_ != nullptr; }

  // Makes this process's pages of [offset, offset + size) present and writable now (MADV_POPULATE_WRITE, or a touch
  // of each page where the kernel has none), so that later writes meet no page fault. Best effort. Never changes a
  // byte, whoever writes there meanwhile. The range is cut to the region.
  void populate(std::size_t offset, std::size_t size) const noexcept;

 private:
  static Result<Region> open_as(const std::string& path, std::size_t size_min, bool writable);
  static Result<Region> make(const std::string& path, std::size_t size, bool filled);
  struct Mapping;
  std::unique_ptr<Mapping> mapping_;
  char* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace hf::platform
