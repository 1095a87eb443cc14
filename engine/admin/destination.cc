// SPDX-License-Identifier: Apache-2.0
#include "admin/destination.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "platform/test_point.h"
#include "txn/identity.h"

namespace hf::admin {
namespace {

using platform::File;

// Written back in runs of this size, the next begun before the last is waited for: enough to keep a disk busy, and
// little for a log's sync to wait behind.
constexpr std::uint64_t kWriteBack = 4u << 20;

std::string parent_of(const std::string& path) {
  std::string plain = path;
  while (plain.size() > 1 && plain.back() == '/') plain.pop_back();
  const std::string parent = std::filesystem::path(plain).parent_path().string();
  return parent.empty() ? "." : parent;
}

// kEXISTS unless the directory is empty.
Status check_empty(const std::string& path) {
  Result<std::vector<std::string>> names = platform::list_directory(path);
  if (!names.ok()) return std::move(names).status();
  for (const std::string& name : names.value()) {
    if (name == "lost+found") continue;  // the root of a file system of its own
    return Status(Code::kEXISTS, path + " is not empty: it holds " + name);
  }
  return {};
}

}  // namespace

Result<Destination> Destination::make(const std::string& path) {
  const bool made = ::mkdir(path.c_str(), 0777) == 0;
  if (!made && errno != EEXIST) return Status::from_errno(errno, "mkdir", path);
  if (!made) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return Status::from_errno(errno, "stat", path);
    if (!S_ISDIR(info.st_mode)) return Status(Code::kEXISTS, path + " is a file");
    if (Status status = check_empty(path); !status.ok()) return status;
  }
  Result<File> mark = File::open(path + "/" + kUnfinishedName, File::Mode::kCreateNew);
  if (!mark.ok()) {
    if (made) ::rmdir(path.c_str());
    return std::move(mark).status();
  }
  Destination destination(path, made);
  Status status = mark->sync_data();
  if (status.ok()) status = platform::make_directory(destination.base_path());
  if (status.ok()) status = platform::sync_directory(path);
  if (status.ok()) status = platform::sync_directory(parent_of(path));
  if (!status.ok()) return status;
  platform::reach("destination.made");
  return destination;
}

Destination::Destination(Destination&& other) noexcept
    : path_(std::move(other.path_)),
      made_directory_(other.made_directory_),
      owned_(std::exchange(other.owned_, false)) {}

Destination::~Destination() {
  if (owned_) take_back();
}

// The mark goes last, so that a kill in between leaves what no open takes for a database.
void Destination::take_back() noexcept {
  for (const char* name : {"/HOLDFAST", "/HOLDFAST.new", "/BACKUP", "/base/lock.mdb", "/base/data.mdb"}) {
    ::unlink((path_ + name).c_str());
  }
  ::rmdir(base_path().c_str());
  ::unlink((path_ + "/" + kUnfinishedName).c_str());
  if (made_directory_) ::rmdir(path_.c_str());
}

Status Destination::finish(std::uint64_t database_id) {
  Status status = platform::sync_directory(base_path());
  if (status.ok()) status = platform::sync_directory(path_);
  platform::reach("destination.synced");
  if (status.ok()) status = txn::write_identity(path_, {database_id, true});
  platform::reach("destination.named");
  if (status.ok()) status = platform::remove_file(path_ + "/" + kUnfinishedName);
  if (status.ok()) status = platform::sync_directory(path_);
  if (status.ok()) owned_ = false;
  return status;
}

Result<BaseFile> BaseFile::create(const std::string& directory) {
  Result<File> file = File::open(directory + "/data.mdb", File::Mode::kCreateNew);
  if (!file.ok()) return std::move(file).status();
  return BaseFile(std::move(file).value());
}

Status BaseFile::write(const void* data, std::size_t size, std::uint64_t offset) {
  if (Status status = file_.write_at(data, size, offset); !status.ok()) return status;
  const std::uint64_t end = offset + size;
  if (end - begun_ < kWriteBack) return {};
  platform::reach("destination.writing");
  file_.start_writing(begun_, end - begun_);
  if (begun_ > waited_) file_.finish_writing(waited_, begun_ - waited_);
  waited_ = begun_;
  begun_ = end;
  return {};
}

Status BaseFile::finish(std::uint64_t file_bytes) {
  Status status = file_.truncate(file_bytes);
  return status.ok() ? file_.sync_data() : status;
}

}  // namespace hf::admin
