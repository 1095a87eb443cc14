// SPDX-License-Identifier: Apache-2.0
// Files and directories. Every failure is a Status that names the call and the path. All descriptors are close-on-exec.
//
// Writing past RLIMIT_FSIZE would raise SIGXFSZ, which kills a process by default (overwriting there does too); each
// write here that could meet the limit runs with that signal blocked and taken back, so the caller sees kDISK_FULL.
//
// Thread contract: reads, writes and syncs of one File may run in any threads at once; open, move and close may not.
// Fault points: file.open, file.read, file.write, file.sync, file.truncate, file.allocate (fill_zero, reserve),
// file.sync_directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"

namespace hf::platform {

// Blocks SIGXFSZ in this thread for its lifetime and swallows one that became pending meanwhile.
class SizeLimitGuard {
 public:
  SizeLimitGuard() noexcept;
  ~SizeLimitGuard();
  SizeLimitGuard(const SizeLimitGuard&) = delete;
  SizeLimitGuard& operator=(const SizeLimitGuard&) = delete;

 private:
  unsigned long saved_[16];  // holds a sigset_t without naming <signal.h> here
  bool was_pending_;         // then it is the application's, and stays
};

class File {
 public:
  File() noexcept = default;
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  ~File();  // closes

  enum class Mode { kReadOnly, kReadWrite, kCreate, kCreateNew };
  // kCreate makes the file when absent; kCreateNew fails with kEXISTS when present; absent: kNOT_FOUND.
  static Result<File> open(const std::string& path, Mode mode);

  bool is_open() const noexcept { return fd_ >= 0; }
  int fd() const noexcept { return fd_; }
  const std::string& path() const noexcept { return path_; }

  // Reads up to `size` bytes; short only at the end of the file. Returns the count.
  Result<std::size_t> read_at(void* out, std::size_t size, std::uint64_t offset) const;
  // Writes all of it.
  Status write_at(const void* data, std::size_t size, std::uint64_t offset);
  // Blocks until the file's data is on the device.
  Status sync_data();
  Result<std::uint64_t> size() const;
  Status truncate(std::uint64_t size);
  // Makes [0, size) of a new file written zeros, so that later overwrites need no metadata commit (an fdatasync over
  // fallocated but unwritten extents costs half as much again) and no mapped page can miss its block (SIGBUS).
  // Reserves the space first, so that a full disk is met before any byte is written; on failure the file is cut back
  // to the size it had, which gives a half reservation back.
  Status fill_zero(std::uint64_t size);
  // Reserves the blocks of [offset, offset + size), so that no write there, mapped ones included, can meet a full
  // disk. What is in the file stays; the file grows if it ends before.
  Status reserve(std::uint64_t offset, std::uint64_t size);
  // For long sequential writes beside which others wait for the disk: begins to write the range back; waits until it is
  // written and lets the cache forget it. Best effort, and no substitute for sync_data().
  void start_writing(std::uint64_t offset, std::uint64_t size) noexcept;
  void finish_writing(std::uint64_t offset, std::uint64_t size) noexcept;
  void close() noexcept;

 private:
  File(int fd, std::string path) noexcept : fd_(fd), path_(std::move(path)) {}
  int fd_ = -1;
  std::string path_;
};

// Creates one directory; an existing one is fine. A file in its place: kWRONG_FORMAT.
Status make_directory(const std::string& path);
// Makes created, renamed and removed names in the directory durable.
Status sync_directory(const std::string& path);
// Removes a file; an absent one is fine.
Status remove_file(const std::string& path);
bool file_exists(const std::string& path);
// Plain names in a directory, sorted.
Result<std::vector<std::string>> list_directory(const std::string& path);
// Identity of a directory, equal however its path is spelled.
struct DirectoryId {
  std::uint64_t device;
  std::uint64_t inode;
  bool operator==(const DirectoryId&) const = default;
};
Result<DirectoryId> directory_id(const std::string& path);

}  // namespace hf::platform
