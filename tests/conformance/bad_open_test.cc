// SPDX-License-Identifier: Apache-2.0
// Goal: a directory or a limit of the system that does not let us work gives its documented code and a message that
// names the thing, and leaves what was there as it was. Method: build each situation for real, in a child process
// where a limit or a change of user must not reach the rest of the tests. Damaged logs and other formats are tested
// beside the layers.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <fstream>

#include "support.h"

namespace conformance {
namespace {

constexpr int kSkipped = 99;  // answered by a child that cannot build its situation here

// Opening fails with that code, no handle, and a message that has `word` in it. Usable in children: answers 0 or not.
int refused(const std::string& path, int wanted, const std::string& word, std::uint32_t flags = 0) {
  hf_db* db = reinterpret_cast<hf_db*>(1);
  hf_error error = HF_ERROR_INIT;
  const int code = open_small(path, &db, &error, flags);
  const bool is_so = code == wanted && db == nullptr && error.code == wanted &&
                     std::string(error.message).find(word) != std::string::npos;
  if (is_so) return 0;
  fprintf(stderr, "HF_%s instead of HF_%s: %s\n", hf_code_name(code), hf_code_name(wanted), error.message);
  if (code == HF_OK) hf_close(&db);
  return 1;
}

// The database at `path` opens, has the row of write_one(), takes another and closes.
int usable(const std::string& path) {
  hf_db* db = nullptr;
  hf_table* table = nullptr;
  hf_txn* txn = nullptr;
  hf_row row{};
  hf_error error = HF_ERROR_INIT;
  int failed_at = 0;
  if (open_small(path, &db, &error) != HF_OK) {
    fprintf(stderr, "%s\n", error.message);
    return 1;
  }
  if (hf_table_open(db, "rows", &table) != HF_OK) failed_at = 2;
  if (hf_begin(db, nullptr, &txn) != HF_OK) failed_at = 3;
  if (failed_at == 0 && hf_get(txn, table, bytes("present"), &row) != HF_OK) failed_at = 4;
  if (failed_at == 0 && hf_put(txn, table, bytes("another"), bytes("one"), 0) != HF_OK) failed_at = 5;
  if (failed_at == 0 && hf_commit(txn) != HF_OK) failed_at = 6;
  hf_txn_end(&txn);
  if (hf_close(&db) != HF_OK) failed_at = 7;
  return failed_at;
}

// Makes a database with one row.
int write_one(const std::string& path) {
  hf_db* db = nullptr;
  hf_table* table = nullptr;
  hf_txn* txn = nullptr;
  if (open_small(path, &db) != HF_OK) return 1;
  int failed_at = 0;
  if (hf_table_ensure(db, "rows", &table) != HF_OK || hf_begin(db, nullptr, &txn) != HF_OK) failed_at = 2;
  if (failed_at == 0 && hf_put(txn, table, bytes("present"), bytes("value"), 0) != HF_OK) failed_at = 3;
  if (failed_at == 0 && hf_commit(txn) != HF_OK) failed_at = 4;
  hf_txn_end(&txn);
  if (hf_close(&db) != HF_OK) failed_at = 5;
  return failed_at;
}

void write_file(const std::string& path, const std::string& content) { std::ofstream(path) << content; }
std::string read_file(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Only root can become somebody else, and only root has to: permissions do not bind it.
bool become_nobody() {
  if (geteuid() != 0) return true;
  return setgid(65534) == 0 && setuid(65534) == 0;
}

class BadOpen : public testing::Test {
 protected:
  TempDirectory directory_;
  const std::string path_ = directory_.path("db");
};

TEST_F(BadOpen, Arguments) {
  hf_db* db = nullptr;
  hf_error error = HF_ERROR_INIT;
  EXPECT_EQ(hf_open(nullptr, nullptr, &db, &error), HF_INVALID_ARGUMENT);
  EXPECT_NE(std::string(error.message).find("path"), std::string::npos);
  EXPECT_EQ(hf_open("", nullptr, &db, nullptr), HF_INVALID_ARGUMENT);
  EXPECT_EQ(hf_open(path_.c_str(), nullptr, nullptr, nullptr), HF_INVALID_ARGUMENT);
  hf_error unset{};
  EXPECT_EQ(hf_open(path_.c_str(), nullptr, &db, &unset), HF_INVALID_ARGUMENT);
  EXPECT_FALSE(std::filesystem::exists(path_)) << "nothing is made by a call that is not legal";
}

TEST_F(BadOpen, Options) {
  const auto refused_with = [&](const hf_open_options& options, const std::string& word) {
    hf_db* db = nullptr;
    hf_error error = HF_ERROR_INIT;
    EXPECT_EQ(hf_open(path_.c_str(), &options, &db, &error), HF_INVALID_ARGUMENT) << word;
    EXPECT_NE(std::string(error.message).find(word), std::string::npos) << error.message;
    hf_close(&db);
  };
  hf_open_options options = HF_OPEN_OPTIONS_INIT;
  options.size = 0;
  refused_with(options, "hf_open_options");
  options.size = 7;
  refused_with(options, "hf_open_options");
  options = HF_OPEN_OPTIONS_INIT;
  options.flags = 64;
  refused_with(options, "flags");
  options = HF_OPEN_OPTIONS_INIT;
  options.isolation = 17;
  refused_with(options, "isolation");
  options = HF_OPEN_OPTIONS_INIT;
  options.durability = 17;
  refused_with(options, "durability");
  options = HF_OPEN_OPTIONS_INIT;
  options.reserved = 1;
  refused_with(options, "reserved");
  options = HF_OPEN_OPTIONS_INIT;
  options.locks_max = 262'145;
  refused_with(options, "locks_max");
  options = HF_OPEN_OPTIONS_INIT;
  options.lock_reserved = 1;
  refused_with(options, "lock_reserved");
  options = HF_OPEN_OPTIONS_INIT;
  options.txn_bytes_max = (64u << 20) + 1;
  refused_with(options, "txn_bytes_max");
  options = HF_OPEN_OPTIONS_INIT;
  const std::string label(HF_LABEL_SIZE_MAX + 1, 'l');
  options.label = label.c_str();
  refused_with(options, "label");
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(BadOpen, NoParentDirectory) { EXPECT_EQ(refused(directory_.path("no/db"), HF_NOT_FOUND, "no/db"), 0); }

TEST_F(BadOpen, NoDatabase) {
  EXPECT_EQ(refused(path_, HF_NOT_FOUND, path_, HF_OPEN_NO_CREATE), 0);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(BadOpen, PathIsAFile) {
  write_file(path_, "not a directory");
  EXPECT_EQ(refused(path_, HF_WRONG_FORMAT, path_), 0);
  EXPECT_EQ(read_file(path_), "not a directory");
}

TEST_F(BadOpen, ForeignDirectory) {
  std::filesystem::create_directory(path_);
  write_file(path_ + "/data.txt", "somebody's");
  EXPECT_EQ(refused(path_, HF_WRONG_FORMAT, path_), 0);
  EXPECT_EQ(read_file(path_ + "/data.txt"), "somebody's");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(path_), {}), 1) << "nothing was added";
}

TEST_F(BadOpen, ForeignIdentity) {
  ASSERT_EQ(write_one(path_), 0);
  const std::string ours = read_file(path_ + "/HOLDFAST");
  ASSERT_GT(ours.size(), 8u);
  for (const std::size_t size : {std::size_t{0}, std::size_t{5}, ours.size()}) {
    std::string theirs = ours.substr(0, size);
    for (char& c : theirs) c = static_cast<char>(~c);
    write_file(path_ + "/HOLDFAST", theirs);
    EXPECT_EQ(refused(path_, HF_WRONG_FORMAT, "HOLDFAST"), 0) << size;
    EXPECT_EQ(read_file(path_ + "/HOLDFAST"), theirs) << "overwritten";
  }
  write_file(path_ + "/HOLDFAST", ours);
  EXPECT_EQ(usable(path_), 0);
}

TEST_F(BadOpen, EmptyDirectoryIsFine) {
  std::filesystem::create_directory(path_);
  EXPECT_EQ(write_one(path_), 0);
}

TEST_F(BadOpen, ReadOnlyDirectory) {
  ASSERT_EQ(chmod(directory_.path().c_str(), 0755), 0);
  std::filesystem::create_directory(path_);
  ASSERT_EQ(chmod(path_.c_str(), 0555), 0);
  const int answer = in_child([&] {
    if (!become_nobody() || access(path_.c_str(), R_OK) != 0) return kSkipped;
    return refused(path_, HF_IO_ERROR, path_);
  });
  if (answer == kSkipped) GTEST_SKIP() << "no other user reaches " << path_;
  EXPECT_EQ(answer, 0);
  EXPECT_TRUE(std::filesystem::is_empty(path_));
}

TEST_F(BadOpen, ReadOnlyDatabase) {
  ASSERT_EQ(write_one(path_), 0);
  ASSERT_EQ(chmod(directory_.path().c_str(), 0755), 0);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path_)) {
    ASSERT_EQ(chmod(entry.path().c_str(), entry.is_directory() ? 0555 : 0444), 0);
  }
  ASSERT_EQ(chmod(path_.c_str(), 0555), 0);
  const int answer = in_child([&] {
    if (!become_nobody() || access(path_.c_str(), R_OK) != 0) return kSkipped;
    return refused(path_, HF_IO_ERROR, path_);
  });
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path_)) {
    ASSERT_EQ(chmod(entry.path().c_str(), entry.is_directory() ? 0755 : 0644), 0);
  }
  ASSERT_EQ(chmod(path_.c_str(), 0755), 0);
  if (answer == kSkipped) GTEST_SKIP() << "no other user reaches " << path_;
  EXPECT_EQ(answer, 0);
  EXPECT_EQ(usable(path_), 0);
}

// With few descriptors left, at every number of them: HF_LIMIT until it opens, and nothing is broken or lost.
TEST_F(BadOpen, NoDescriptors) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the undefined-behaviour sanitizer looks at memory through a pipe, for which there is no descriptor";
#endif
  ASSERT_EQ(write_one(path_), 0);
  const int answer = in_child([&] {
    const int first_free = dup(0);
    close(first_free);
    for (int spare = 0; spare < 40; ++spare) {
      rlimit limit{};
      getrlimit(RLIMIT_NOFILE, &limit);
      limit.rlim_cur = static_cast<rlim_t>(first_free + spare);
      setrlimit(RLIMIT_NOFILE, &limit);
      hf_db* db = nullptr;
      hf_error error = HF_ERROR_INIT;
      const int code = open_small(path_, &db, &error);
      if (code == HF_OK) {
        if (spare == 0) return 1;
        if (hf_close(&db) != HF_OK) return 2;
        return usable(path_);
      }
      if (code != HF_LIMIT || db != nullptr) {
        fprintf(stderr, "with %d descriptors HF_%s: %s\n", spare, hf_code_name(code), error.message);
        return 3;
      }
    }
    return 4;
  });
  EXPECT_EQ(answer, 0);
  EXPECT_EQ(usable(path_), 0);
}

// A limit on the size of files, too small to make a database, and too small to go on with one.
TEST_F(BadOpen, FileSizeLimit) {
  ASSERT_EQ(write_one(path_), 0);
  const int answer = in_child([&] {
    const rlimit limit{64 << 10, 64 << 10};
    setrlimit(RLIMIT_FSIZE, &limit);
    if (refused(directory_.path("new"), HF_DISK_FULL, directory_.path("new")) != 0) return 1;
    return refused(path_, HF_DISK_FULL, path_);
  });
  EXPECT_EQ(answer, 0);
  EXPECT_EQ(usable(path_), 0);
  EXPECT_EQ(write_one(directory_.path("new")), 0) << "what the failed try left is in the way";
}

// Filled until a write is refused: the data stays readable, and with room again it goes on.
TEST_F(BadOpen, FileSystemFull) {
  const std::string mounted = directory_.path("mounted");
  std::filesystem::create_directory(mounted);
  if (mount("tmpfs", mounted.c_str(), "tmpfs", 0, "size=24m") != 0) GTEST_SKIP() << "mounting needs root";
  const int answer = in_child([&] {
    const std::string path = mounted + "/db";
    if (write_one(path) != 0) return 1;
    hf_db* db = nullptr;
    hf_table* table = nullptr;
    hf_txn* txn = nullptr;
    hf_row row{};
    hf_open_options options = HF_OPEN_OPTIONS_INIT;
    options.overload_timeout_ms = 500;
    options.map_size = std::uint64_t{1} << 32;
    if (hf_open(path.c_str(), &options, &db, nullptr) != HF_OK || hf_table_open(db, "rows", &table) != HF_OK) return 2;
    if (hf_begin(db, nullptr, &txn) != HF_OK) return 3;
    const std::string value(200000, 'v');
    int code = HF_OK;
    for (int i = 0; i < 1000 && code == HF_OK; ++i) {
      code = hf_put(txn, table, bytes("k" + std::to_string(i)), bytes(value), 0);
      if (code == HF_OK) code = hf_commit(txn);
      if (code == HF_OK && hf_restart(txn) != HF_OK) return 4;
    }
    hf_error error = HF_ERROR_INIT;
    hf_txn_error(txn, &error);
    if (code != HF_DISK_FULL && code != HF_OVERLOADED) {
      fprintf(stderr, "HF_%s: %s\n", hf_code_name(code), error.message);
      return 5;
    }
    if (hf_restart(txn) != HF_OK) return 6;
    if (hf_get(txn, table, bytes("present"), &row) != HF_OK) return 7;
    if (hf_get(txn, table, bytes("k0"), &row) != HF_OK || row.value.size != value.size()) return 8;
    hf_txn_end(&txn);
    if (hf_close(&db) != HF_OK) return 9;
    // Room again.
    if (mount("tmpfs", mounted.c_str(), "tmpfs", MS_REMOUNT, "size=256m") != 0) return 10;
    return usable(path) == 0 ? 0 : 11;
  });
  EXPECT_EQ(answer, 0);
  umount2(mounted.c_str(), MNT_DETACH);
}

// Too small for even an empty database: a clear answer, and nothing left behind that would be in the way later.
TEST_F(BadOpen, FileSystemTooSmall) {
  const std::string mounted = directory_.path("mounted");
  std::filesystem::create_directory(mounted);
  if (mount("tmpfs", mounted.c_str(), "tmpfs", 0, "size=1m") != 0) GTEST_SKIP() << "mounting needs root";
  EXPECT_EQ(in_child([&] { return refused(mounted + "/db", HF_DISK_FULL, "db"); }), 0);
  EXPECT_EQ(mount("tmpfs", mounted.c_str(), "tmpfs", MS_REMOUNT, "size=64m"), 0);
  EXPECT_EQ(in_child([&] { return write_one(mounted + "/db"); }), 0);
  umount2(mounted.c_str(), MNT_DETACH);
}

}  // namespace
}  // namespace conformance
