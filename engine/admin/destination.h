// SPDX-License-Identifier: Apache-2.0
// Destination: a database directory that is made whole or not at all.
//
// While it is being made it holds the file `UNFINISHED` and no `HOLDFAST`, so opening refuses it as foreign. Killed at
// any moment it stays like that: nothing goes on with it, and a directory that is not empty is not taken. HOLDFAST is
// put in place last, when all else is on the device; then UNFINISHED goes.
//
// Thread contract: one thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "platform/file.h"

namespace hf::admin {

inline constexpr const char* kUnfinishedName = "UNFINISHED";

class Destination {
 public:
  // kEXISTS: it is not empty.
  static Result<Destination> make(const std::string& path);
  Destination(Destination&& other) noexcept;
  Destination& operator=(Destination&&) = delete;
  ~Destination();  // unless finished: removes what was made

  const std::string& path() const noexcept { return path_; }
  std::string base_path() const { return path_ + "/base"; }
  // Requires: all files are written and synced. Blocks on the disk.
  Status finish(std::uint64_t database_id);

 private:
  explicit Destination(std::string path, bool made) noexcept : path_(std::move(path)), made_directory_(made) {}
  void take_back() noexcept;

  std::string path_;
  bool made_directory_;
  bool owned_ = true;
};

// Writes data.mdb from pieces in ascending order; what is between them is a hole. Keeps its share of the disk small, as
// commits of others wait for theirs.
class BaseFile {
 public:
  static Result<BaseFile> create(const std::string& directory);
  Status write(const void* data, std::size_t size, std::uint64_t offset);
  // Blocks on the disk.
  Status finish(std::uint64_t file_bytes);

 private:
  explicit BaseFile(platform::File file) noexcept : file_(std::move(file)) {}
  platform::File file_;
  std::uint64_t begun_ = 0;   // all before is being written back
  std::uint64_t waited_ = 0;  // all before was
};

}  // namespace hf::admin
