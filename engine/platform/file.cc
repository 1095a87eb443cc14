// SPDX-License-Identifier: Apache-2.0
#include "platform/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <memory>
#include <optional>
#include <utility>

#include "platform/test_point.h"

namespace hf::platform {
namespace {

constexpr mode_t kFilePermissions = 0666;       // the umask decides, as for every ordinary file
constexpr mode_t kDirectoryPermissions = 0777;  // likewise

// Zeros are written in pieces of this size: large enough that the calls cost nothing beside the copying.
constexpr std::size_t kZerosSize = std::size_t{1} << 20;
// Not const, so that it lies in .bss and not as a megabyte of zeros in the library file. Never written.
alignas(4096) char zeros[kZerosSize];

// A failed call that takes a path: absent and present names have codes of their own.
Status path_failure(int error, const char* call, const std::string& path) {
  const Status status = Status::from_errno(error, call, path);
  if (error == ENOENT) return Status(Code::kNOT_FOUND, status.message());
  if (error == EEXIST) return Status(Code::kEXISTS, status.message());
  return status;
}

int open_flags(File::Mode mode) noexcept {
  switch (mode) {
    case File::Mode::kReadOnly:
      return O_RDONLY;
    case File::Mode::kReadWrite:
      return O_RDWR;
    case File::Mode::kCreate:
      return O_RDWR | O_CREAT;
    case File::Mode::kCreateNew:
      return O_RDWR | O_CREAT | O_EXCL;
  }
  return O_RDONLY;
}

// A descriptor, or the negated error number.
int open_descriptor(const std::string& path, int flags) noexcept {
  for (;;) {
    const int fd = ::open(path.c_str(), flags | O_CLOEXEC, kFilePermissions);
    if (fd >= 0) return fd;
    if (errno != EINTR) return -errno;
  }
}

// Whether a write up to `end` could meet RLIMIT_FSIZE. The kernel compares positions with the limit and not with the
// file's size, so overwriting counts too. Asking is one cheap system call where the guard makes four. A limit that
// another thread lowers between this and the write is missed once.
bool may_meet_size_limit(std::uint64_t end) noexcept {
  rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0) return true;
  return limit.rlim_cur != RLIM_INFINITY && end > limit.rlim_cur;
}

// Reserves the blocks of [offset, offset + size): 0 or an error number. Not posix_fallocate(), which writes where it
// cannot reserve.
int reserve_blocks(int fd, std::uint64_t offset, std::uint64_t size) noexcept {
  const SizeLimitGuard guard;
  while (::fallocate(fd, 0, static_cast<off_t>(offset), static_cast<off_t>(size)) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

}  // namespace

SizeLimitGuard::SizeLimitGuard() noexcept {
  static_assert(sizeof(sigset_t) <= sizeof saved_);
  sigset_t pending;
  sigpending(&pending);
  was_pending_ = sigismember(&pending, SIGXFSZ) == 1;
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGXFSZ);
  sigset_t before;
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  std::memcpy(saved_, &before, sizeof before);
}

SizeLimitGuard::~SizeLimitGuard() {
  const int saved_errno = errno;
  if (!was_pending_) {
    sigset_t swallowed;
    sigemptyset(&swallowed);
    sigaddset(&swallowed, SIGXFSZ);
    const timespec no_wait = {0, 0};
    while (sigtimedwait(&swallowed, nullptr, &no_wait) < 0 && errno == EINTR) {
    }
  }
  sigset_t before;
  std::memcpy(&before, saved_, sizeof before);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = saved_errno;
}

File::File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = std::exchange(other.fd_, -1);
    path_ = std::move(other.path_);
  }
  return *this;
}

File::~File() { close(); }

Result<File> File::open(const std::string& path, Mode mode) {
  if (const int error = fault("file.open")) return path_failure(error, "open", path);
  const int fd = open_descriptor(path, open_flags(mode));
  if (fd < 0) return path_failure(-fd, "open", path);
  return File(fd, path);
}

Result<std::size_t> File::read_at(void* out, std::size_t size, std::uint64_t offset) const {
  if (const int error = fault("file.read")) return Status::from_errno(error, "pread", path_);
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count = ::pread(fd_, static_cast<char*>(out) + done, size - done, static_cast<off_t>(offset + done));
    if (count == 0) break;
    if (count > 0) {
      done += static_cast<std::size_t>(count);
    } else if (errno != EINTR) {
      return Status::from_errno(errno, "pread", path_);
    }
  }
  return done;
}

Status File::write_at(const void* data, std::size_t size, std::uint64_t offset) {
  if (const int error = fault("file.write")) return Status::from_errno(error, "pwrite", path_);
  std::optional<SizeLimitGuard> guard;
  if (may_meet_size_limit(offset + size)) guard.emplace();
  std::size_t done = 0;
  while (done < size) {
    const ssize_t count =
        ::pwrite(fd_, static_cast<const char*>(data) + done, size - done, static_cast<off_t>(offset + done));
    if (count > 0) {
      done += static_cast<std::size_t>(count);
    } else if (count == 0) {
      return Status::from_errno(EIO, "pwrite", path_);  // no progress and no reason: never loop on it
    } else if (errno != EINTR) {
      return Status::from_errno(errno, "pwrite", path_);
    }
  }
  return Status();
}

Status File::sync_data() {
  if (const int error = fault("file.sync")) return Status::from_errno(error, "fdatasync", path_);
  // Only EINTR may be tried again: after any other error the kernel has dropped the pages, and a second call that
  // succeeds proves nothing.
  while (::fdatasync(fd_) != 0) {
    if (errno != EINTR) return Status::from_errno(errno, "fdatasync", path_);
  }
  return Status();
}

Result<std::uint64_t> File::size() const {
  struct stat info;
  if (::fstat(fd_, &info) != 0) return Status::from_errno(errno, "fstat", path_);
  return static_cast<std::uint64_t>(info.st_size);
}

Status File::truncate(std::uint64_t size) {
  if (const int error = fault("file.truncate")) return Status::from_errno(error, "ftruncate", path_);
  const SizeLimitGuard guard;
  while (::ftruncate(fd_, static_cast<off_t>(size)) != 0) {
    if (errno != EINTR) return Status::from_errno(errno, "ftruncate", path_);
  }
  return Status();
}

Status File::fill_zero(std::uint64_t size) {
  if (size == 0) return Status();  // fallocate refuses it
  Result<std::uint64_t> size_before = this->size();
  if (!size_before.ok()) return std::move(size_before).status();

  int error = fault("file.allocate");
  if (error == 0) error = reserve_blocks(fd_, 0, size);
  // A file system that cannot reserve meets a full disk in the writes below.
  Status status;
  if (error != 0 && error != EOPNOTSUPP && error != ENOSYS) status = Status::from_errno(error, "fallocate", path_);
  for (std::uint64_t offset = 0; status.ok() && offset < size; offset += kZerosSize) {
    status = write_at(zeros, static_cast<std::size_t>(std::min<std::uint64_t>(size - offset, kZerosSize)), offset);
  }
  if (!status.ok()) (void)truncate(*size_before);  // the first failure is the one to report
  return status;
}

Status File::reserve(std::uint64_t offset, std::uint64_t size) {
  int error = fault("file.allocate");
  if (error == 0) error = reserve_blocks(fd_, offset, size);
  // Where the file system cannot reserve, every byte is exchanged for itself, which allocates what a hole lacks.
  if (error == EOPNOTSUPP || error == ENOSYS) {
    error = ::posix_fallocate(fd_, static_cast<off_t>(offset), static_cast<off_t>(size));
  }
  return error == 0 ? Status() : Status::from_errno(error, "fallocate", path_);
}

void File::start_writing(std::uint64_t offset, std::uint64_t size) noexcept {
  (void)::sync_file_range(fd_, static_cast<off64_t>(offset), static_cast<off64_t>(size), SYNC_FILE_RANGE_WRITE);
}

void File::finish_writing(std::uint64_t offset, std::uint64_t size) noexcept {
  constexpr unsigned kAll = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  (void)::sync_file_range(fd_, static_cast<off64_t>(offset), static_cast<off64_t>(size), kAll);
  (void)::posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(size), POSIX_FADV_DONTNEED);
}

void File::close() noexcept {
  // Never repeated on EINTR: Linux has released the number by then, and another thread may own it already.
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Status make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), kDirectoryPermissions) == 0) return Status();
  if (errno != EEXIST) return path_failure(errno, "mkdir", path);
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return path_failure(errno, "stat", path);
  if (!S_ISDIR(info.st_mode)) return Status(Code::kWRONG_FORMAT, "not a directory: " + path);
  return Status();
}

Status sync_directory(const std::string& path) {
  if (const int error = fault("file.sync_directory")) return Status::from_errno(error, "fsync", path);
  const int fd = open_descriptor(path, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return path_failure(-fd, "open", path);
  Status status;
  while (::fsync(fd) != 0) {
    if (errno == EINTR) continue;
    status = Status::from_errno(errno, "fsync", path);
    break;
  }
  ::close(fd);
  return status;
}

Status remove_file(const std::string& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return Status();
  return Status::from_errno(errno, "unlink", path);
}

bool file_exists(const std::string& path) {
  struct stat info;
  return ::stat(path.c_str(), &info) == 0;
}

Result<std::vector<std::string>> list_directory(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
  if (directory == nullptr) return path_failure(errno, "opendir", path);
  std::vector<std::string> names;
  for (;;) {
    errno = 0;  // the only way to tell the end from a failure
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  if (errno != 0) return Status::from_errno(errno, "readdir", path);
  std::sort(names.begin(), names.end());
  return names;
}

Result<DirectoryId> directory_id(const std::string& path) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return path_failure(errno, "stat", path);
  if (!S_ISDIR(info.st_mode)) return Status::from_errno(ENOTDIR, "stat", path);
  return DirectoryId{static_cast<std::uint64_t>(info.st_dev), static_cast<std::uint64_t>(info.st_ino)};
}

}  // namespace hf::platform
