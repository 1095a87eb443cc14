// SPDX-License-Identifier: Apache-2.0
// The one place through which every file operation of this program passes, the engine's and LMDB's alike: the program
// defines the functions of libc that change or sync files (open, write, pwrite, pwritev, fsync, fdatasync, ftruncate,
// fallocate, rename, unlink, mkdir, mmap, ...), so that the dynamic linker takes these for liblmdb.so too. Each asks
// the observer, then makes the system call itself.
//
// Thread contract: one observer at a time, set while no other thread does I/O. It is called by the threads that do the
// I/O, any number at once, and its own I/O is not observed. A forked child keeps it.
#pragma once

#include <sys/uio.h>

#include <cstdint>

namespace torture::io {

enum class Op {
  kOpen,      // path, flags; result: the descriptor
  kRead,      // fd, offset, size
  kWrite,     // fd, parts (data), offset, size
  kSync,      // fd; flags 1: fdatasync
  kTruncate,  // fd, or -1 and path; size = new length
  kAllocate,  // fd, offset, size: fallocate; flags: its mode
  kRename,    // path -> to
  kUnlink,    // path
  kMkdir,     // path
  kMap,       // fd (-1: anonymous), size
  kClose,     // fd
  kMalloc,    // size
};
inline constexpr int kOpsCount = 12;
const char* name_of(Op op) noexcept;

// What does not apply is zero. Valid during the call of the observer.
struct Call {
  Op op;
  int fd = -1;
  const char* path = nullptr;
  const char* to = nullptr;
  const iovec* parts = nullptr;  // kWrite: what is written
  int parts_count = 0;
  std::uint64_t offset = 0;  // kWrite without an explicit offset: where the descriptor stands
  std::uint64_t size = 0;
  int flags = 0;
};

class Observer {
 public:
  virtual ~Observer() = default;
  // 0: let it happen. An error number: it fails with that, nothing happens. kShort: a write writes half (at least one
  // byte), and answers so.
  static constexpr int kShort = -1;
  virtual int before(const Call& call) noexcept {
    (void)call;
    return 0;
  }
  // `result` as of the system call; only of calls that `before` let happen.
  virtual void after(const Call& call, long result) noexcept {
    (void)call;
    (void)result;
  }
};

void observe(Observer* observer) noexcept;  // nullptr: none
// kMalloc is seen only while this is on, and never under a sanitizer, which has its own malloc.
void observe_malloc(bool on) noexcept;

// Calls of this thread go unobserved for its lifetime.
class Unobserved {
 public:
  Unobserved() noexcept;
  ~Unobserved();
  Unobserved(const Unobserved&) = delete;
  Unobserved& operator=(const Unobserved&) = delete;
};

}  // namespace torture::io
