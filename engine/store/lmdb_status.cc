// SPDX-License-Identifier: Apache-2.0
// LMDB's error numbers, as statuses that say what to do.
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <cerrno>

#include "store/impl.h"

namespace hf::store {
namespace {

std::string path_of(MDB_env* env) {
  const char* path = nullptr;
  if (env == nullptr || mdb_env_get_path(env, &path) != 0 || path == nullptr) return "the base";
  return std::string(path) + "/data.mdb";
}

Code code_of(int rc) noexcept {
  switch (rc) {
    case MDB_MAP_FULL:
      return Code::kDISK_FULL;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INCOMPATIBLE:
      return Code::kCORRUPT;
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH:
      return Code::kWRONG_FORMAT;
    case MDB_READERS_FULL:
    case MDB_DBS_FULL:
    case MDB_TXN_FULL:
    case MDB_MAP_RESIZED:
      return Code::kLIMIT;
    case MDB_BAD_VALSIZE:
      return Code::kTOO_LARGE;
    case MDB_PANIC:
      return Code::kFAILED;
    case EAGAIN:
      return Code::kBUSY;
    default:
      return Code::kINTERNAL;
  }
}

// What the caller can do about it; empty where LMDB's own text is all there is to say.
const char* remedy_of(int rc) noexcept {
  switch (rc) {
    case MDB_MAP_FULL:
      return "the data map is full: open with a larger map_size";
    case MDB_MAP_RESIZED:
      return "another process uses a larger map: open with at least its map_size";
    case MDB_READERS_FULL:
      return "all reader slots are taken: close what holds them, or set a larger readers_max in every process";
    case MDB_DBS_FULL:
      return "more tables than tables_max: open with a larger tables_max";
    case MDB_TXN_FULL:
      return "too many pages change in one transaction";
    case MDB_VERSION_MISMATCH:
      return "data.mdb or lock.mdb belongs to another version of LMDB";
    case MDB_INVALID:
      return "data.mdb is not an LMDB file, or one of another byte order or word size";
    case MDB_PANIC:
      return "an earlier write failed: close the database in every process and open it again";
    case EAGAIN:
      return "a process with the same process id, in another pid namespace, has this database open: "
             "share the pid namespace between the containers or give them distinct process ids";
    default:
      return "";
  }
}

// Near enough to full that a short write was no fault of the device.
bool is_full(int fd) noexcept {
  constexpr std::uint64_t kMargin = 1u << 20;  // bytes; LMDB writes runs of up to this size at a time
  struct statvfs device;
  if (fstatvfs(fd, &device) == 0 && device.f_bavail * device.f_frsize < kMargin) return true;
  struct stat file;
  rlimit limit;
  return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && fstat(fd, &file) == 0 &&
         static_cast<std::uint64_t>(file.st_size) + kMargin >= limit.rlim_cur;
}

}  // namespace

Status lmdb_status(int rc, const char* call, MDB_env* env) {
  if (rc > 0 && rc != EAGAIN && rc != EINVAL) return Status::from_errno(rc, call, path_of(env));
  std::string message = std::string(call) + " " + path_of(env) + ": " + mdb_strerror(rc);
  if (const char* remedy = remedy_of(rc); *remedy != '\0') message += std::string(" (") + remedy + ")";
  return Status(code_of(rc), std::move(message));
}

// Saying "disk full", after which the caller goes on, is safe even if a sync failed too: LMDB never changes a page in
// place, so the next transaction writes again every page of its own, and those of earlier ones were synced before.
Status lmdb_write_status(int rc, const char* call, MDB_env* env) {
  int fd = -1;
  if (rc == EIO && mdb_env_get_fd(env, &fd) == 0 && is_full(fd)) rc = ENOSPC;
  return lmdb_status(rc, call, env);
}

}  // namespace hf::store
