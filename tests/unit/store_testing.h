// SPDX-License-Identifier: Apache-2.0
// Shared by the tests of the layer `store`: directories, processes, short ways to write and read.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "platform/test_point.h"
#include "store/store.h"

namespace hf::store::testing {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

#define ASSERT_OK(expression)                                                                   \
  do {                                                                                          \
    const auto& asserted = (expression);                                                        \
    ASSERT_TRUE(asserted.ok()) << #expression << ": " << hf::store::testing::text_of(asserted); \
  } while (false)

inline std::string text_of(const Status& status) {
  return std::string(code_name(static_cast<int>(status.code()))) + " " + status.message();
}
template <typename T>
std::string text_of(const Result<T>& result) {
  return text_of(result.status());
}

// A fresh directory, removed at the end.
class Directory {
 public:
  Directory() {
    std::string name = ::testing::TempDir() + "hf_store_XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~Directory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline StoreOptions options_for(const Directory& directory, std::uint64_t map_size = std::uint64_t{1} << 32) {
  StoreOptions options;
  options.directory = directory.path();
  options.map_size = map_size;  // modest: thread sanitizer has little address space to give
  return options;
}

// Runs `body` in a child process and exits with what it answers.
template <typename Body>
pid_t fork_child(Body body) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  return child;
}
// The exit code; 1000 + signal when killed.
inline int wait_child(pid_t child) {
  int state = 0;
  if (waitpid(child, &state, 0) != child) return -1;
  return WIFEXITED(state) ? WEXITSTATUS(state) : 1000 + WTERMSIG(state);
}

inline Row row_of(Bytes value, Csn version = 1, std::uint64_t expires_ms = 0, std::uint8_t flags = 0) {
  Row row;
  row.version = version;
  row.expires_ms = expires_ms;
  row.value = value;
  row.flags = flags;
  return row;
}

// One merge of one row.
inline Status put_one(Store& store, TableId table, Bytes key, const Row& row, Csn applied = 1) {
  Result<std::unique_ptr<Merge>> merge = store.begin_merge();
  if (!merge.ok()) return std::move(merge).status();
  if (Status status = (*merge)->put(table, key, row); !status.ok()) return status;
  return (*merge)->commit(applied);
}

// Null, and a test failure, when there is none.
inline std::shared_ptr<const Snapshot> snapshot_of(Store& store) {
  Result<std::shared_ptr<const Snapshot>> snapshot = store.snapshot();
  EXPECT_TRUE(snapshot.ok()) << text_of(snapshot);
  return snapshot.ok() ? *snapshot : nullptr;
}

// The value, or nothing.
inline std::optional<std::string> value_of(const Snapshot& snapshot, TableId table, Bytes key) {
  Row row;
  const Result<bool> found = snapshot.get(table, key, &row);
  EXPECT_TRUE(found.ok()) << text_of(found);
  if (!found.ok() || !found.value()) return std::nullopt;
  return std::string(row.value);
}

inline std::map<std::string, std::string> rows_of(const Snapshot& snapshot, TableId table) {
  std::map<std::string, std::string> rows;
  Result<Cursor> cursor = Cursor::open(snapshot, table);
  EXPECT_TRUE(cursor.ok()) << text_of(cursor);
  for (Result<bool> on = cursor->first(); on.ok() && *on; on = cursor->next()) {
    rows.emplace(cursor->key(), cursor->row().value);
  }
  return rows;
}

}  // namespace hf::store::testing
