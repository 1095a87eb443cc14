// SPDX-License-Identifier: Apache-2.0
// Goal: files do what file.h says, and each failure is a Status with the right code that names the path.
// Method: real failures where a test can make them (limits, absent names, closed descriptors), injected ones elsewhere.
#include "platform/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "platform/test_point.h"
#include "platform_testing.h"

namespace hf::platform {
namespace {

class FileTest : public testing::Test {
 protected:
  ~FileTest() override { arm(""); }
  File create(const std::string& name) {
    Result<File> file = File::open(directory_ / name, File::Mode::kCreateNew);
    if (!file.ok()) abort();
    return std::move(file).value();
  }
  // Whether the failure has this code and names the path.
  static bool says(const Status& status, Code code, const std::string& path) {
    return status.code() == code && status.message().find(path) != std::string::npos;
  }
  static void limit_file_size(rlim_t size) {
    const rlimit limit = {size, size};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(99);
  }

  TemporaryDirectory directory_;
};

// Tests that inject faults.
class FileFaultTest : public FileTest {
 protected:
  void SetUp() override {
    if (!kTestPoints) GTEST_SKIP() << "built without test points";
  }
};

TEST_F(FileTest, ModesTreatAbsentAndPresentFiles) {
  const std::string path = directory_ / "file";
  EXPECT_TRUE(says(File::open(path, File::Mode::kReadOnly).status(), Code::kNOT_FOUND, path));
  EXPECT_TRUE(says(File::open(path, File::Mode::kReadWrite).status(), Code::kNOT_FOUND, path));
  EXPECT_TRUE(File::open(path, File::Mode::kCreateNew).ok());
  EXPECT_TRUE(says(File::open(path, File::Mode::kCreateNew).status(), Code::kEXISTS, path));
  EXPECT_TRUE(File::open(path, File::Mode::kCreate).ok());
  EXPECT_TRUE(File::open(path, File::Mode::kReadWrite).ok());
  const std::string below = path + "/below";
  EXPECT_TRUE(says(File::open(below, File::Mode::kCreate).status(), Code::kIO_ERROR, below));
  EXPECT_TRUE(says(File::open(directory_.path(), File::Mode::kReadWrite).status(), Code::kIO_ERROR, directory_.path()));
}

TEST_F(FileTest, CreateKeepsWhatIsThere) {
  ASSERT_TRUE(create("file").write_at("abc", 3, 0).ok());
  Result<File> file = File::open(directory_ / "file", File::Mode::kCreate);
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(value_of(file->size()), 3u);
}

TEST_F(FileTest, DescriptorsCloseOnExec) {
  File file = create("file");
  EXPECT_NE(fcntl(file.fd(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(FileTest, ReadsWhatWasWritten) {
  File file = create("file");
  EXPECT_EQ(value_of(file.size()), 0u);
  ASSERT_TRUE(file.write_at("hello", 5, 3).ok());
  ASSERT_TRUE(file.write_at("", 0, 1000).ok());
  EXPECT_EQ(value_of(file.size()), 8u);
  char out[16];
  EXPECT_EQ(value_of(file.read_at(out, 8, 0)), 8u);
  EXPECT_EQ(Bytes(out, 8), Bytes("\0\0\0hello", 8));
  EXPECT_EQ(value_of(file.read_at(out, 2, 4)), 2u);
  EXPECT_EQ(Bytes(out, 2), "el");
  EXPECT_EQ(value_of(file.read_at(out, sizeof out, 6)), 2u);  // short at the end only
  EXPECT_EQ(value_of(file.read_at(out, sizeof out, 8)), 0u);
  EXPECT_EQ(value_of(file.read_at(out, sizeof out, 1000)), 0u);
  EXPECT_TRUE(file.sync_data().ok());
}

TEST_F(FileTest, TruncateCutsAndExtends) {
  File file = create("file");
  ASSERT_TRUE(file.write_at("hello", 5, 0).ok());
  ASSERT_TRUE(file.truncate(2).ok());
  ASSERT_TRUE(file.truncate(4).ok());
  char out[8];
  EXPECT_EQ(value_of(file.read_at(out, sizeof out, 0)), 4u);
  EXPECT_EQ(Bytes(out, 4), Bytes("he\0\0", 4));
}

TEST_F(FileTest, MovingAndClosing) {
  File file = create("file");
  const int fd = file.fd();
  File moved(std::move(file));
  EXPECT_FALSE(file.is_open());
  EXPECT_EQ(moved.fd(), fd);
  EXPECT_EQ(moved.path(), directory_ / "file");
  File other = create("other");
  const int other_fd = other.fd();
  other = std::move(moved);
  EXPECT_EQ(other.fd(), fd);
  EXPECT_EQ(fcntl(other_fd, F_GETFD), -1);
  other.close();
  EXPECT_EQ(fcntl(fd, F_GETFD), -1);
  EXPECT_FALSE(other.is_open());
  other.close();
}

TEST_F(FileTest, CallsOnAClosedFileFailAndNameIt) {
  File file = create("file");
  const std::string path = file.path();
  file.close();
  char byte = 0;
  EXPECT_TRUE(says(file.read_at(&byte, 1, 0).status(), Code::kIO_ERROR, path));
  EXPECT_TRUE(says(file.write_at(&byte, 1, 0), Code::kIO_ERROR, path));
  EXPECT_TRUE(says(file.sync_data(), Code::kIO_ERROR, path));
  EXPECT_TRUE(says(file.size().status(), Code::kIO_ERROR, path));
  EXPECT_TRUE(says(file.truncate(1), Code::kIO_ERROR, path));
  EXPECT_TRUE(says(file.fill_zero(1), Code::kIO_ERROR, path));
}

TEST_F(FileTest, WritingAReadOnlyFileFails) {
  create("file");
  Result<File> file = File::open(directory_ / "file", File::Mode::kReadOnly);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(says(file->write_at("x", 1, 0), Code::kIO_ERROR, file->path()));
  EXPECT_TRUE(says(file->fill_zero(10), Code::kIO_ERROR, file->path()));
}

TEST_F(FileTest, OffsetsBeyondTheSystemsFail) {
  File file = create("file");
  EXPECT_FALSE(file.write_at("x", 1, UINT64_MAX).ok());
  EXPECT_FALSE(file.write_at("x", 1, INT64_MAX).ok());
  EXPECT_FALSE(file.fill_zero(UINT64_MAX).ok());
  EXPECT_FALSE(file.truncate(UINT64_MAX).ok());
  EXPECT_EQ(value_of(file.size()), 0u);
}

TEST_F(FileTest, FillZeroWritesEveryBlock) {
  constexpr std::size_t kSize = (3u << 20) + 12345;  // not a multiple of the piece that is written at once
  File file = create("file");
  ASSERT_TRUE(file.write_at("left over", 9, 4000).ok());
  ASSERT_TRUE(file.fill_zero(kSize).ok());
  ASSERT_TRUE(file.sync_data().ok());
  EXPECT_EQ(value_of(file.size()), kSize);
  std::vector<char> out(kSize, 'x');
  EXPECT_EQ(value_of(file.read_at(out.data(), kSize, 0)), kSize);
  EXPECT_EQ(out, std::vector<char>(kSize, '\0'));
  struct stat info;
  ASSERT_EQ(fstat(file.fd(), &info), 0);
  EXPECT_GE(static_cast<std::uint64_t>(info.st_blocks) * 512, kSize);
  EXPECT_TRUE(file.fill_zero(0).ok());
  EXPECT_EQ(value_of(file.size()), kSize);
}

TEST_F(FileFaultTest, FillZeroWorksWhereSpaceCannotBeReserved) {
  arm("file.allocate:errno=" + std::to_string(EOPNOTSUPP));
  File file = create("file");
  ASSERT_TRUE(file.fill_zero(100'000).ok());
  struct stat info;
  ASSERT_EQ(fstat(file.fd(), &info), 0);
  EXPECT_EQ(info.st_size, 100'000);
  EXPECT_GE(info.st_blocks * 512, 100'000);
}

TEST_F(FileFaultTest, FillZeroMeetsAFullDiskBeforeWriting) {
  File file = create("file");
  int writes = 0;
  arm_hook("file.write", [&writes] { ++writes; });
  arm("file.allocate:errno=" + std::to_string(ENOSPC));
  EXPECT_TRUE(says(file.fill_zero(5000), Code::kDISK_FULL, file.path()));
  EXPECT_EQ(writes, 0);
  EXPECT_EQ(value_of(file.size()), 0u);
}

TEST_F(FileFaultTest, FillZeroThatFailsInTheMiddleGivesTheSpaceBack) {
  File file = create("file");
  arm("file.write:errno=" + std::to_string(ENOSPC) + ":3");
  EXPECT_TRUE(says(file.fill_zero(8u << 20), Code::kDISK_FULL, file.path()));
  struct stat info;
  ASSERT_EQ(fstat(file.fd(), &info), 0);
  EXPECT_EQ(info.st_size, 0);
  EXPECT_EQ(info.st_blocks, 0);
}

TEST_F(FileFaultTest, InjectedFaultsComeBackAsStatus) {
  File file = create("file");
  char byte = 0;
  arm("file.open:errno=" + std::to_string(EMFILE));
  EXPECT_TRUE(says(File::open(file.path(), File::Mode::kReadOnly).status(), Code::kLIMIT, file.path()));
  arm("file.read:errno=" + std::to_string(EIO));
  EXPECT_TRUE(says(file.read_at(&byte, 1, 0).status(), Code::kIO_ERROR, file.path()));
  arm("file.write:errno=" + std::to_string(EDQUOT));
  EXPECT_TRUE(says(file.write_at(&byte, 1, 0), Code::kDISK_FULL, file.path()));
  arm("file.sync:errno=" + std::to_string(EIO));
  EXPECT_TRUE(says(file.sync_data(), Code::kIO_ERROR, file.path()));
  arm("file.truncate:errno=" + std::to_string(EIO));
  EXPECT_TRUE(says(file.truncate(1), Code::kIO_ERROR, file.path()));
  arm("file.allocate:errno=" + std::to_string(EIO));
  EXPECT_TRUE(says(file.fill_zero(1), Code::kIO_ERROR, file.path()));
  arm("file.sync_directory:errno=" + std::to_string(EIO));
  EXPECT_TRUE(says(sync_directory(directory_.path()), Code::kIO_ERROR, directory_.path()));
  arm("");
  EXPECT_TRUE(file.write_at(&byte, 1, 0).ok());
  EXPECT_TRUE(file.sync_data().ok());
  EXPECT_TRUE(sync_directory(directory_.path()).ok());
}

// The child has the default action for SIGXFSZ, which is to die. Each line answers which check failed.
TEST_F(FileTest, TheFileSizeLimitIsADiskFullAndKillsNobody) {
  const pid_t child = fork_child([this] {
    signal(SIGXFSZ, SIG_DFL);
    File file = create("file");
    const std::vector<char> data(3000, 'x');
    if (!file.write_at(data.data(), 3000, 0).ok()) return 1;
    limit_file_size(4096);
    if (!file.write_at(data.data(), 1096, 3000).ok()) return 2;                       // up to the limit
    if (file.write_at(data.data(), 1, 4096).code() != Code::kDISK_FULL) return 3;     // from the limit on
    if (file.write_at(data.data(), 3000, 3000).code() != Code::kDISK_FULL) return 4;  // across it
    if (file.truncate(5000).code() != Code::kDISK_FULL) return 5;
    if (create("other").fill_zero(1u << 20).code() != Code::kDISK_FULL) return 6;
    arm("file.allocate:errno=" + std::to_string(EOPNOTSUPP));
    if (create("third").fill_zero(1u << 20).code() != Code::kDISK_FULL) return 7;
    if (value_of(file.size()) != 4096) return 8;
    sigset_t set;
    sigpending(&set);
    if (sigismember(&set, SIGXFSZ)) return 9;  // nothing is left behind that kills later
    pthread_sigmask(SIG_BLOCK, nullptr, &set);
    if (sigismember(&set, SIGXFSZ)) return 10;
    return 0;
  });
  EXPECT_EQ(wait_for_child(child), 0);
}

// Overwriting what was written before the limit came down counts too.
TEST_F(FileTest, OverwritingBeyondTheFileSizeLimitKillsNobody) {
  const pid_t child = fork_child([this] {
    signal(SIGXFSZ, SIG_DFL);
    File file = create("file");
    if (!file.fill_zero(16384).ok()) return 1;
    limit_file_size(4096);
    if (file.write_at("x", 1, 8192).code() != Code::kDISK_FULL) return 2;
    return file.write_at("x", 1, 100).ok() ? 0 : 3;
  });
  EXPECT_EQ(wait_for_child(child), 0);
}

TEST_F(FileTest, TheGuardLeavesAPendingSignalOfTheApplication) {
  const pid_t child = fork_child([] {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    {
      const SizeLimitGuard guard;
      raise(SIGXFSZ);
    }
    sigpending(&set);
    if (sigismember(&set, SIGXFSZ)) return 1;  // became pending inside: swallowed
    raise(SIGXFSZ);
    { const SizeLimitGuard guard; }
    sigpending(&set);
    if (!sigismember(&set, SIGXFSZ)) return 2;  // was pending before: kept
    pthread_sigmask(SIG_BLOCK, nullptr, &set);
    return sigismember(&set, SIGXFSZ) ? 0 : 3;  // and so is the application's mask
  });
  EXPECT_EQ(wait_for_child(child), 0);
}

TEST_F(FileTest, TheDescriptorLimitIsALimit) {
  const pid_t child = fork_child([this] {
    create("file");
    const rlimit limit = {3, 3};
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return 1;
    std::vector<int> descriptors;
    for (int fd; (fd = dup(0)) >= 0;) descriptors.push_back(fd);
    if (File::open(directory_ / "file", File::Mode::kReadOnly).code() != Code::kLIMIT) return 2;
    if (File::open(directory_ / "new", File::Mode::kCreate).code() != Code::kLIMIT) return 3;
    if (sync_directory(directory_.path()).code() != Code::kLIMIT) return 4;
    if (list_directory(directory_.path()).code() != Code::kLIMIT) return 5;
    return 0;
  });
  EXPECT_EQ(wait_for_child(child), 0);
}

TEST_F(FileTest, MakesDirectories) {
  const std::string path = directory_ / "sub";
  EXPECT_TRUE(make_directory(path).ok());
  EXPECT_TRUE(make_directory(path).ok());
  EXPECT_TRUE(sync_directory(path).ok());
  const std::string nested = directory_ / "absent/sub";
  EXPECT_TRUE(says(make_directory(nested), Code::kNOT_FOUND, nested));
  create("file");
  EXPECT_TRUE(says(make_directory(directory_ / "file"), Code::kWRONG_FORMAT, directory_ / "file"));
  EXPECT_TRUE(says(sync_directory(directory_ / "absent"), Code::kNOT_FOUND, directory_ / "absent"));
  EXPECT_TRUE(says(sync_directory(directory_ / "file"), Code::kIO_ERROR, directory_ / "file"));
}

TEST_F(FileTest, RemovesFiles) {
  const std::string path = directory_ / "file";
  EXPECT_FALSE(file_exists(path));
  create("file");
  EXPECT_TRUE(file_exists(path));
  EXPECT_TRUE(remove_file(path).ok());
  EXPECT_FALSE(file_exists(path));
  EXPECT_TRUE(remove_file(path).ok());
  EXPECT_TRUE(says(remove_file(directory_.path()), Code::kIO_ERROR, directory_.path()));
}

TEST_F(FileTest, ListsNamesInOrder) {
  for (const char* name : {"b", "a", "c", ".hidden"}) create(name);
  ASSERT_TRUE(make_directory(directory_ / "d").ok());
  Result<std::vector<std::string>> names = list_directory(directory_.path());
  ASSERT_TRUE(names.ok());
  EXPECT_EQ(*names, (std::vector<std::string>{".hidden", "a", "b", "c", "d"}));
  EXPECT_TRUE(list_directory(directory_ / "d")->empty());
  EXPECT_TRUE(says(list_directory(directory_ / "absent").status(), Code::kNOT_FOUND, directory_ / "absent"));
  EXPECT_TRUE(says(list_directory(directory_ / "a").status(), Code::kIO_ERROR, directory_ / "a"));
}

TEST_F(FileTest, ADirectoryIsTheSameHoweverItIsSpelled) {
  ASSERT_TRUE(make_directory(directory_ / "sub").ok());
  ASSERT_EQ(symlink((directory_ / "sub").c_str(), (directory_ / "link").c_str()), 0);
  const Result<DirectoryId> id = directory_id(directory_ / "sub");
  ASSERT_TRUE(id.ok());
  EXPECT_EQ(id.value(), value_of(directory_id(directory_ / "sub/../sub/.")));
  EXPECT_EQ(id.value(), value_of(directory_id(directory_ / "link")));
  EXPECT_FALSE(id.value() == value_of(directory_id(directory_.path())));
  EXPECT_TRUE(says(directory_id(directory_ / "absent").status(), Code::kNOT_FOUND, directory_ / "absent"));
  create("file");
  EXPECT_TRUE(says(directory_id(directory_ / "file").status(), Code::kIO_ERROR, directory_ / "file"));
}

}  // namespace
}  // namespace hf::platform
