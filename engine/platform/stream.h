// SPDX-License-Identifier: Apache-2.0
// Byte streams: whole reads and writes on descriptors that may be pipes, sockets or files, and that belong to somebody
// else. They may be set not to block: then these wait by poll(2).
//
// Fault points: stream.read, stream.write.
#pragma once

#include <cstddef>

#include "base/status.h"

namespace hf::platform {

// Blocks SIGPIPE in this thread for its lifetime and swallows one that became pending meanwhile: a stream whose reader
// has gone is an answer (EPIPE) and not the end of the process.
class PipeGuard {
 public:
  PipeGuard() noexcept;
  ~PipeGuard();
  PipeGuard(const PipeGuard&) = delete;
  PipeGuard& operator=(const PipeGuard&) = delete;

 private:
  unsigned long saved_[16];  // holds a sigset_t without naming <signal.h> here
  bool was_pending_;
};

// Writes all of it.
Status write_stream(int fd, const void* data, std::size_t size);
// Reads up to `size` bytes, at least one; 0 at the end.
Result<std::size_t> read_some(int fd, void* out, std::size_t size);
// Reads `size` bytes; less only at the end.
Result<std::size_t> read_stream(int fd, void* out, std::size_t size);

// A pipe whose ends close on exec.
class Pipe {
 public:
  static Result<Pipe> make();
  Pipe(Pipe&& other) noexcept;
  Pipe& operator=(Pipe&&) = delete;
  ~Pipe();
  int read_end() const noexcept { return ends_[0]; }
  int write_end() const noexcept { return ends_[1]; }
  void close_read_end() noexcept { close_end(0); }
  void close_write_end() noexcept { close_end(1); }

 private:
  Pipe(int read_end, int write_end) noexcept : ends_{read_end, write_end} {}
  void close_end(int which) noexcept;
  int ends_[2];
};

}  // namespace hf::platform
