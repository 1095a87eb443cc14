// SPDX-License-Identifier: Apache-2.0
#include "txn/identity.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <random>

#include "base/hash.h"
#include "platform/file.h"

namespace hf::txn {
namespace {

using platform::File;

constexpr char kMagic[8] = {'H', 'O', 'L', 'D', 'F', 'A', 'S', 'T'};
constexpr std::uint32_t kByteOrder = 0x01020304;
constexpr std::uint32_t kByteOrderSwapped = 0x04030201;

struct IdentityBytes {
  char magic[8];
  std::uint32_t byte_order;
  std::uint32_t version;
  std::uint64_t database_id;
  std::uint32_t complete;
  std::uint32_t pad;
  std::uint64_t checksum;  // XXH3 of the bytes above
};
static_assert(sizeof(IdentityBytes) == 40);

// Names that a database directory may hold; anything else in a directory without HOLDFAST makes it foreign.
constexpr std::array<const char*, 9> kOwnNames = {"HOLDFAST", "HOLDFAST.new", "liveness", "session",   "session.new",
                                                  "log",      "base",         "memory",   "lost+found"};

Status replace_file(const std::string& directory, const std::string& name, const void* data, std::size_t size) {
  const std::string path = directory + "/" + name;
  const std::string fresh = path + ".new";
  if (Status status = platform::remove_file(fresh); !status.ok()) return status;
  Result<File> file = File::open(fresh, File::Mode::kCreateNew);
  if (!file.ok()) return std::move(file).status();
  if (Status status = file->write_at(data, size, 0); !status.ok()) return status;
  if (Status status = file->sync_data(); !status.ok()) return status;
  file->close();
  if (std::rename(fresh.c_str(), path.c_str()) != 0) return Status::from_errno(errno, "rename", fresh);
  return platform::sync_directory(directory);
}

Status check_no_foreign_files(const std::string& directory) {
  Result<std::vector<std::string>> names = platform::list_directory(directory);
  if (!names.ok()) return std::move(names).status();
  for (const std::string& name : names.value()) {
    if (std::find(kOwnNames.begin(), kOwnNames.end(), name) != kOwnNames.end()) continue;
    return Status(Code::kWRONG_FORMAT, directory + " is not a Holdfast database and not empty: it holds " + name);
  }
  return Code::kNOT_FOUND;
}

}  // namespace

Result<Identity> read_identity(const std::string& directory) {
  struct stat info {};
  if (stat(directory.c_str(), &info) != 0) {
    if (errno == ENOENT) return Status(Code::kNOT_FOUND, "no directory " + directory);
    return Status::from_errno(errno, "stat", directory);
  }
  if (!S_ISDIR(info.st_mode)) return Status(Code::kWRONG_FORMAT, directory + " is a file, not a database directory");
  const std::string path = directory + "/HOLDFAST";
  Result<File> file = File::open(path, File::Mode::kReadOnly);
  if (file.code() == Code::kNOT_FOUND) return check_no_foreign_files(directory);
  if (!file.ok()) return std::move(file).status();
  IdentityBytes bytes{};
  Result<std::size_t> got = file->read_at(&bytes, sizeof bytes, 0);
  if (!got.ok()) return std::move(got).status();
  if (got.value() < sizeof bytes || std::memcmp(bytes.magic, kMagic, sizeof kMagic) != 0) {
    return Status(Code::kWRONG_FORMAT, path + " at offset 0: not the mark of a Holdfast database");
  }
  if (bytes.byte_order == kByteOrderSwapped)
    return Status(Code::kWRONG_FORMAT, path + " at offset 8: made on a machine of the other byte order");
  if (bytes.byte_order != kByteOrder) return Status(Code::kCORRUPT, path + " at offset 8: no byte order mark");
  if (bytes.version != kFormatVersion) {
    return Status(Code::kWRONG_FORMAT, path + " at offset 12: format version " + std::to_string(bytes.version) +
                                           "; this library knows version " + std::to_string(kFormatVersion));
  }
  if (bytes.checksum != checksum(&bytes, offsetof(IdentityBytes, checksum), 0)) {
    return Status(Code::kCORRUPT, path + " at offset 32: checksum does not match");
  }
  return Identity{bytes.database_id, bytes.complete != 0};
}

Status write_identity(const std::string& directory, const Identity& identity) {
  IdentityBytes bytes{};
  std::memcpy(bytes.magic, kMagic, sizeof kMagic);
  bytes.byte_order = kByteOrder;
  bytes.version = kFormatVersion;
  bytes.database_id = identity.database_id;
  bytes.complete = identity.complete ? 1 : 0;
  bytes.checksum = checksum(&bytes, offsetof(IdentityBytes, checksum), 0);
  return replace_file(directory, "HOLDFAST", &bytes, sizeof bytes);
}

Result<std::string> read_session(const std::string& directory) {
  Result<File> file = File::open(directory + "/session", File::Mode::kReadOnly);
  if (!file.ok()) return std::move(file).status();
  std::string path(4096, '\0');
  Result<std::size_t> got = file->read_at(path.data(), path.size(), 0);
  if (!got.ok()) return std::move(got).status();
  path.resize(got.value());
  return path.empty() || path.front() == '/' ? path : directory + "/" + path;
}

// What lies inside of the directory is named from there: a copy of the directory, or the directory elsewhere, must
// salvage and remove its own memory and not that of where it came from, which may be in use.
Status write_session(const std::string& directory, const std::string& memory_path) {
  const bool is_inside = memory_path.starts_with(directory + "/");
  const Bytes path = is_inside ? Bytes(memory_path).substr(directory.size() + 1) : Bytes(memory_path);
  return replace_file(directory, "session", path.data(), path.size());
}

Status remove_session(const std::string& directory) { return platform::remove_file(directory + "/session"); }

std::uint64_t random_database_id() {
  std::random_device device;
  const std::uint64_t id = (std::uint64_t{device()} << 32) | device();
  return id != 0 ? id : 1;
}

std::string hex(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

std::string control_path(const std::string& memory_path) { return memory_path + "/control"; }

std::string boot_id() {
  Result<File> file = File::open("/proc/sys/kernel/random/boot_id", File::Mode::kReadOnly);
  if (!file.ok()) return {};
  char text[36];
  Result<std::size_t> got = file->read_at(text, sizeof text, 0);
  return got.ok() ? std::string(text, got.value()) : std::string();
}

}  // namespace hf::txn
