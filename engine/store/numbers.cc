// SPDX-License-Identifier: Apache-2.0
// What can be counted in an LMDB environment, and the reader table's housekeeping.
#include <sys/stat.h>

#include <cerrno>

#include "store/impl.h"

namespace hf::store {
namespace {

constexpr MDB_dbi kFreeListDatabase = 0;  // LMDB's own: transaction -> count, page numbers

// Pages that LMDB may use again.
int count_free_pages(MDB_txn* txn, std::uint64_t* pages) {
  MDB_cursor* cursor = nullptr;
  if (const int rc = mdb_cursor_open(txn, kFreeListDatabase, &cursor); rc != 0) return rc;
  MDB_val key, value;
  int rc;
  while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
    std::size_t count = 0;
    if (value.mv_size >= sizeof count) std::memcpy(&count, value.mv_data, sizeof count);
    *pages += count;
  }
  mdb_cursor_close(cursor);
  return rc == MDB_NOTFOUND ? 0 : rc;
}

// Called by LMDB once for a title and once per slot that is taken.
int count_line(const char*, void* lines) {
  ++*static_cast<std::uint32_t*>(lines);
  return 0;
}

}  // namespace

Status check_readers_of(MDB_env* env) {
  int dead = 0;
  const int rc = mdb_reader_check(env, &dead);
  return rc == 0 ? Status() : lmdb_status(rc, "mdb_reader_check", env);
}

Result<StoreStats> collect_stats(MDB_txn* txn) {
  MDB_env* const env = mdb_txn_env(txn);
  StoreStats stats{};
  int fd = -1;
  struct stat file;
  MDB_envinfo info;
  MDB_stat root;
  int rc = mdb_env_get_fd(env, &fd);
  if (rc == 0 && fstat(fd, &file) != 0) rc = errno;
  if (rc == 0) rc = mdb_env_info(env, &info);
  if (rc == 0) rc = mdb_env_stat(env, &root);
  std::uint64_t free_pages = 0;
  if (rc == 0) rc = count_free_pages(txn, &free_pages);
  if (rc != 0) return lmdb_status(rc, "mdb_env_info", env);
  const std::uint64_t pages = info.me_last_pgno + 1;
  stats.file_bytes = static_cast<std::uint64_t>(file.st_size);
  stats.used_bytes = (pages > free_pages ? pages - free_pages : 0) * root.ms_psize;
  std::uint32_t lines = 0;
  mdb_reader_list(env, count_line, &lines);
  stats.readers = lines > 0 ? lines - 1 : 0;
  return stats;
}

}  // namespace hf::store
