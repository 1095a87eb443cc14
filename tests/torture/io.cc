// SPDX-License-Identifier: Apache-2.0
#include "torture/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#define EXPORTED __attribute__((visibility("default")))

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TORTURE_OWN_MALLOC 0
#else
#define TORTURE_OWN_MALLOC 1
#endif

// Not under ThreadSanitizer: the dynamic linker maps files before it is ready, and it has to see these calls itself.
#if defined(__SANITIZE_THREAD__)
#define TORTURE_SEAM 0
#else
#define TORTURE_SEAM 1
#endif

namespace torture::io {
namespace {

std::atomic<Observer*> current_observer{nullptr};
std::atomic<bool> malloc_observed{false};
// Initial-exec: reading it never allocates, and malloc reads it.
thread_local int unobserved_depth __attribute__((tls_model("initial-exec"))) = 0;

#if TORTURE_SEAM
Observer* observer_of_thread() noexcept {
  return unobserved_depth != 0 ? nullptr : current_observer.load(std::memory_order_acquire);
}

// Asks, acts, tells. `act` makes the system call and answers as syscall(2) does: -1 and errno.
template <typename Act>
long observed(const Call& call, Act&& act) noexcept {
  Observer* observer = observer_of_thread();
  if (observer == nullptr) return act(call);
  ++unobserved_depth;
  const int answer = observer->before(call);
  --unobserved_depth;
  if (answer > 0) {
    errno = answer;
    return -1;
  }
  Call made = call;
  iovec half{};
  if (answer == Observer::kShort && call.op == Op::kWrite && call.size > 1) {
    half = call.parts[0];
    if (half.iov_len > 1) half.iov_len /= 2;
    made.parts = &half;
    made.parts_count = 1;
    made.size = half.iov_len;
  }
  const long result = act(made);
  const int error = errno;
  ++unobserved_depth;
  observer->after(made, result);
  --unobserved_depth;
  errno = error;
  return result;
}

std::uint64_t position_of(int fd) noexcept {
  const long at = syscall(SYS_lseek, fd, 0L, SEEK_CUR);
  return at < 0 ? 0 : static_cast<std::uint64_t>(at);
}

long write_parts(int fd, const iovec* parts, int count, const off_t* offset) noexcept {
  Call call{Op::kWrite};
  call.fd = fd;
  call.parts = parts;
  call.parts_count = count;
  call.offset = offset != nullptr ? static_cast<std::uint64_t>(*offset) : position_of(fd);
  for (int i = 0; i < count; ++i) call.size += parts[i].iov_len;
  return observed(call, [&](const Call& made) {
    if (offset == nullptr) return syscall(SYS_writev, made.fd, made.parts, made.parts_count);
    return syscall(SYS_pwritev, made.fd, made.parts, made.parts_count, *offset, 0L);
  });
}

int open_at(int directory, const char* path, int flags, mode_t mode) noexcept {
  Call call{Op::kOpen};
  call.path = path;
  call.flags = flags;
  return static_cast<int>(
      observed(call, [&](const Call& made) { return syscall(SYS_openat, directory, made.path, flags, mode); }));
}

int sync(int fd, bool data_only) noexcept {
  Call call{Op::kSync};
  call.fd = fd;
  call.flags = data_only ? 1 : 0;
  return static_cast<int>(
      observed(call, [&](const Call& made) { return syscall(data_only ? SYS_fdatasync : SYS_fsync, made.fd); }));
}

int truncate_to(int fd, off_t size) noexcept {
  Call call{Op::kTruncate};
  call.fd = fd;
  call.size = static_cast<std::uint64_t>(size);
  return static_cast<int>(observed(call, [&](const Call& made) { return syscall(SYS_ftruncate, made.fd, size); }));
}

int allocate(int fd, int mode, off_t offset, off_t size) noexcept {
  Call call{Op::kAllocate};
  call.fd = fd;
  call.offset = static_cast<std::uint64_t>(offset);
  call.size = static_cast<std::uint64_t>(size);
  call.flags = mode;
  return static_cast<int>(
      observed(call, [&](const Call& made) { return syscall(SYS_fallocate, made.fd, mode, offset, size); }));
}

#endif

}  // namespace

const char* name_of(Op op) noexcept {
  constexpr const char* kNames[kOpsCount] = {"open",   "read",   "write", "sync", "truncate", "allocate",
                                             "rename", "unlink", "mkdir", "mmap", "close",    "malloc"};
  return kNames[static_cast<int>(op)];
}

void observe(Observer* observer) noexcept { current_observer.store(observer, std::memory_order_release); }
void observe_malloc(bool on) noexcept { malloc_observed.store(on, std::memory_order_release); }

Unobserved::Unobserved() noexcept { ++unobserved_depth; }
Unobserved::~Unobserved() { --unobserved_depth; }

}  // namespace torture::io

// --- the functions of libc that this program replaces --------------------------------------------------------------
#if TORTURE_SEAM
using torture::io::Call;
using torture::io::Op;

extern "C" {

EXPORTED int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return torture::io::open_at(AT_FDCWD, path, flags, mode);
}
EXPORTED int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return torture::io::open_at(AT_FDCWD, path, flags, mode);
}
EXPORTED int openat(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  return torture::io::open_at(directory, path, flags, mode);
}

EXPORTED int close(int fd) {
  Call call{Op::kClose};
  call.fd = fd;
  return static_cast<int>(torture::io::observed(call, [](const Call& made) { return syscall(SYS_close, made.fd); }));
}

EXPORTED ssize_t pread(int fd, void* out, size_t size, off_t offset) {
  Call call{Op::kRead};
  call.fd = fd;
  call.offset = static_cast<std::uint64_t>(offset);
  call.size = size;
  return torture::io::observed(call,
                               [&](const Call& made) { return syscall(SYS_pread64, made.fd, out, size, offset); });
}
EXPORTED ssize_t pread64(int fd, void* out, size_t size, off_t offset) { return pread(fd, out, size, offset); }
EXPORTED ssize_t read(int fd, void* out, size_t size) {
  Call call{Op::kRead};
  call.fd = fd;
  call.size = size;
  return torture::io::observed(call, [&](const Call& made) { return syscall(SYS_read, made.fd, out, size); });
}

EXPORTED ssize_t write(int fd, const void* data, size_t size) {
  const iovec part{const_cast<void*>(data), size};
  return torture::io::write_parts(fd, &part, 1, nullptr);
}
EXPORTED ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  const iovec part{const_cast<void*>(data), size};
  return torture::io::write_parts(fd, &part, 1, &offset);
}
EXPORTED ssize_t pwrite64(int fd, const void* data, size_t size, off_t offset) {
  return pwrite(fd, data, size, offset);
}
EXPORTED ssize_t writev(int fd, const iovec* parts, int count) {
  return torture::io::write_parts(fd, parts, count, nullptr);
}
EXPORTED ssize_t pwritev(int fd, const iovec* parts, int count, off_t offset) {
  return torture::io::write_parts(fd, parts, count, &offset);
}
EXPORTED ssize_t pwritev64(int fd, const iovec* parts, int count, off_t offset) {
  return torture::io::write_parts(fd, parts, count, &offset);
}

EXPORTED int fsync(int fd) { return torture::io::sync(fd, false); }
EXPORTED int fdatasync(int fd) { return torture::io::sync(fd, true); }

EXPORTED int ftruncate(int fd, off_t size) noexcept { return torture::io::truncate_to(fd, size); }
EXPORTED int ftruncate64(int fd, off_t size) noexcept { return torture::io::truncate_to(fd, size); }
EXPORTED int fallocate(int fd, int mode, off_t offset, off_t size) {
  return torture::io::allocate(fd, mode, offset, size);
}
EXPORTED int fallocate64(int fd, int mode, off_t offset, off_t size) {
  return torture::io::allocate(fd, mode, offset, size);
}
// Answers the error number and leaves errno alone, as posix_fallocate(3) says.
EXPORTED int posix_fallocate(int fd, off_t offset, off_t size) {
  const int before = errno;
  const int answer = torture::io::allocate(fd, 0, offset, size) == 0 ? 0 : errno;
  errno = before;
  return answer;
}
EXPORTED int posix_fallocate64(int fd, off_t offset, off_t size) { return posix_fallocate(fd, offset, size); }

EXPORTED int rename(const char* from, const char* to) noexcept {
  Call call{Op::kRename};
  call.path = from;
  call.to = to;
  return static_cast<int>(
      torture::io::observed(call, [](const Call& made) { return syscall(SYS_rename, made.path, made.to); }));
}
EXPORTED int unlink(const char* path) noexcept {
  Call call{Op::kUnlink};
  call.path = path;
  return static_cast<int>(torture::io::observed(call, [](const Call& made) { return syscall(SYS_unlink, made.path); }));
}
// As the one of libc, which unlinks by a name of its own that nothing outside of it can replace.
EXPORTED int remove(const char* path) noexcept {
  if (unlink(path) == 0) return 0;
  return errno == EISDIR || errno == EPERM ? static_cast<int>(syscall(SYS_rmdir, path)) : -1;
}
EXPORTED int truncate(const char* path, off_t size) noexcept {
  Call call{Op::kTruncate};
  call.path = path;
  call.size = static_cast<std::uint64_t>(size);
  return static_cast<int>(
      torture::io::observed(call, [&](const Call& made) { return syscall(SYS_truncate, made.path, size); }));
}
EXPORTED int truncate64(const char* path, off_t size) noexcept { return truncate(path, size); }
EXPORTED int mkdir(const char* path, mode_t mode) noexcept {
  Call call{Op::kMkdir};
  call.path = path;
  return static_cast<int>(
      torture::io::observed(call, [&](const Call& made) { return syscall(SYS_mkdir, made.path, mode); }));
}

EXPORTED void* mmap(void* address, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  Call call{Op::kMap};
  call.fd = fd;
  call.size = size;
  call.flags = flags;
  call.offset = static_cast<std::uint64_t>(offset);
  return reinterpret_cast<void*>(torture::io::observed(call, [&](const Call& made) {
    return syscall(SYS_mmap, address, made.size, protection, flags, made.fd, offset);
  }));
}
EXPORTED void* mmap64(void* address, size_t size, int protection, int flags, int fd, off_t offset) noexcept {
  return mmap(address, size, protection, flags, fd, offset);
}

#if TORTURE_OWN_MALLOC
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* old, size_t size);

static bool malloc_refused(size_t size) {
  if (!torture::io::malloc_observed.load(std::memory_order_relaxed)) return false;
  Call call{Op::kMalloc};
  call.size = size;
  return torture::io::observed(call, [](const Call&) { return 0L; }) != 0;
}
EXPORTED void* malloc(size_t size) { return malloc_refused(size) ? nullptr : __libc_malloc(size); }
EXPORTED void* calloc(size_t count, size_t size) {
  return malloc_refused(count * size) ? nullptr : __libc_calloc(count, size);
}
EXPORTED void* realloc(void* old, size_t size) { return malloc_refused(size) ? nullptr : __libc_realloc(old, size); }
#endif

}  // extern "C"
#endif
