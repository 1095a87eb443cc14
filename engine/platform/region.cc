// SPDX-License-Identifier: Apache-2.0
#include "platform/region.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/file_mapping.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <cerrno>
#include <cstdint>
#include <utility>

#include "base/bytes.h"
#include "platform/file.h"
#include "platform/test_point.h"

namespace hf::platform {
namespace {

namespace interprocess = boost::interprocess;

constexpr int kMadvPopulateWrite = 23;  // MADV_POPULATE_WRITE of Linux 5.14, which Debian 12's headers may lack

// Maps `size` bytes of the file. The descriptor closes at the end; the mapping does not need it.
Result<interprocess::mapped_region> map_file(const std::string& path, std::size_t size, bool writable) {
  if (const int error = fault("region.map")) return Status::from_errno(error, "mmap", path);
  try {
    const interprocess::mode_t mode = writable ? interprocess::read_write : interprocess::read_only;
    const interprocess::file_mapping file(path.c_str(), mode);
    return interprocess::mapped_region(file, mode, 0, size);
  } catch (const interprocess::interprocess_exception& exception) {
    // Failures that no system call reported carry no number.
    const int error = exception.get_native_error() != 0 ? exception.get_native_error() : EINVAL;
    return Status::from_errno(error, "mmap", path);
  }
}

// Makes the kernel give this process a writable page, without MADV_POPULATE_WRITE. Exchanging a byte for itself is
// a write that loses nobody else's; adding or or-ing zero would do, but compilers may turn those into plain loads.
void touch_page(char* page) noexcept {
  char value = __atomic_load_n(page, __ATOMIC_RELAXED);
  while (!__atomic_compare_exchange_n(page, &value, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

// 0 or an error number.
int populate_write(char* first, std::size_t size) noexcept {
  if (const int error = fault("region.populate")) return error;
  while (::madvise(first, size, kMadvPopulateWrite) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

}  // namespace

struct Region::Mapping {
  interprocess::mapped_region region;
};

Region::Region() noexcept = default;

Region::Region(Region&& other) noexcept
    : mapping_(std::move(other.mapping_)),
      data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

Region& Region::operator=(Region&& other) noexcept {
  if (this != &other) {
    mapping_ = std::move(other.mapping_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

Region::~Region() = default;

Result<Region> Region::create(const std::string& path, std::size_t size) { return make(path, size, true); }

Result<Region> Region::create_sparse(const std::string& path, std::size_t size) { return make(path, size, false); }

Result<Region> Region::make(const std::string& path, std::size_t size, bool filled) {
  if (size == 0) return Status(Code::kINVALID_ARGUMENT, "a region of 0 bytes: " + path);
  // Not truncated in place: another process may still have the old file mapped, and would meet SIGBUS.
  if (Status status = remove_file(path); !status.ok()) return status;
  Result<File> file = File::open(path, File::Mode::kCreateNew);
  if (!file.ok()) return std::move(file).status();

  Status status = filled ? file->fill_zero(size) : file->truncate(size);
  if (status.ok()) {
    Result<Region> region = open(path, size);
    if (region.ok()) return region;
    status = std::move(region).status();
  }
  (void)remove_file(path);  // the first failure is the one to report
  return status;
}

Result<Region> Region::open(const std::string& path, std::size_t size_min) { return open_as(path, size_min, true); }

Result<Region> Region::open_read_only(const std::string& path, std::size_t size_min) {
  return open_as(path, size_min, false);
}

Result<Region> Region::open_as(const std::string& path, std::size_t size_min, bool writable) {
  Result<File> file = File::open(path, writable ? File::Mode::kReadWrite : File::Mode::kReadOnly);
  if (!file.ok()) return std::move(file).status();
  Result<std::uint64_t> size = file->size();
  if (!size.ok()) return std::move(size).status();
  if (*size < std::max<std::uint64_t>(size_min, 1)) {
    return Status(Code::kCORRUPT, path + " has " + std::to_string(*size) + " bytes where at least " +
                                      std::to_string(size_min) + " are needed");
  }
  Result<interprocess::mapped_region> mapped = map_file(path, *size, writable);
  if (!mapped.ok()) return std::move(mapped).status();
  Region region;
  region.mapping_ = std::make_unique<Mapping>(Mapping{std::move(mapped).value()});
  region.data_ = static_cast<char*>(region.mapping_->region.get_address());
  region.size_ = region.mapping_->region.get_size();
  return region;
}

void Region::populate(std::size_t offset, std::size_t size) const noexcept {
  if (offset >= size_ || size == 0) return;
  const std::size_t page_size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t first = offset & ~(page_size - 1);
  const std::size_t end = offset + std::min(size, size_ - offset);
  // Only EINVAL says "unknown advice". After any other error a touch could raise the SIGBUS that the kernel spared us.
  if (populate_write(data_ + first, end - first) != EINVAL) return;
  for (std::size_t page = first; page < end; page += page_size) touch_page(data_ + page);
}

}  // namespace hf::platform
