// SPDX-License-Identifier: Apache-2.0
// What the tests of the public face share: directories, bytes, and checks that show the code and its detail.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <functional>
#include <string>

#include "holdfast/holdfast.h"

namespace conformance {

// A new directory, removed in the end. The database itself goes to path("db").
class TempDirectory {
 public:
  TempDirectory() : path_(testing::TempDir() + "/conformance-XXXXXX") {
    if (mkdtemp(path_.data()) == nullptr) abort();
  }
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDirectory(const TempDirectory&) = delete;
  const std::string& path() const { return path_; }
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline hf_bytes bytes(const char* text) { return {text, strlen(text)}; }
inline hf_bytes bytes(const std::string& text) { return {text.data(), text.size()}; }
inline std::string text(hf_bytes bytes) { return std::string(static_cast<const char*>(bytes.data), bytes.size); }

inline hf_error new_error() {
  hf_error error = HF_ERROR_INIT;
  return error;
}
inline hf_error error_of(hf_db* db) {
  hf_error error = HF_ERROR_INIT;
  EXPECT_EQ(hf_db_error(db, &error), HF_OK);
  return error;
}
inline hf_error error_of(hf_txn* txn) {
  hf_error error = HF_ERROR_INIT;
  EXPECT_EQ(hf_txn_error(txn, &error), HF_OK);
  return error;
}

inline int open_small(const std::string& path, hf_db** db, hf_error* error = nullptr, std::uint32_t flags = 0) {
  hf_open_options options = HF_OPEN_OPTIONS_INIT;
  options.label = "conformance";
  options.flags = flags;
  options.map_size = std::uint64_t{1} << 32;  // fits beside a sanitizer's shadow
  return hf_open(path.c_str(), &options, db, error);
}

// An open database with one table and one row, "present" -> "value".
class DatabaseTest : public testing::Test {
 protected:
  void SetUp() override {
    hf_error error = HF_ERROR_INIT;
    ASSERT_EQ(open_small(directory_.path("db"), &db_, &error), HF_OK) << error.message;
    ASSERT_EQ(hf_table_create(db_, "rows", &table_), HF_OK);
    put("present", "value");
  }
  void TearDown() override { EXPECT_EQ(hf_close(&db_), HF_OK) << "something was left open"; }

  void put(const std::string& key, const std::string& value) {
    hf_txn* txn = nullptr;
    ASSERT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
    ASSERT_EQ(hf_put(txn, table_, bytes(key), bytes(value), 0), HF_OK);
    ASSERT_EQ(hf_commit(txn), HF_OK);
    hf_txn_end(&txn);
  }
  // "" when absent.
  std::string get(const std::string& key) {
    hf_txn* txn = nullptr;
    EXPECT_EQ(hf_begin(db_, nullptr, &txn), HF_OK);
    hf_row row{};
    const int code = hf_get(txn, table_, bytes(key), &row);
    const std::string value = code == HF_OK ? text(row.value) : "";
    hf_txn_end(&txn);
    return value;
  }

  TempDirectory directory_;
  hf_db* db_ = nullptr;
  hf_table* table_ = nullptr;
};

// Runs `body` in a child process, which exits by its answer without running anything of the parent's; answers that, or
// 1000 + the signal that killed it.
inline int in_child(const std::function<int()>& body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

}  // namespace conformance
