// SPDX-License-Identifier: Apache-2.0
// Goal: mapped files share their bytes, have all their blocks, and fail by Status. Populating never changes a byte.
// Method: two mappings of one file, page fault counts, writers that run while a region is populated.
#include "platform/region.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "platform/file.h"
#include "platform/test_point.h"
#include "platform_testing.h"

namespace hf::platform {
namespace {

// Writes one byte to each page. Sanitizers would add page faults of their own shadow memory.
__attribute__((no_sanitize("address", "thread"), noinline)) void write_pages(char* first, std::size_t pages) {
  for (std::size_t page = 0; page < pages; ++page) first[page * 4096 + 7] = 'x';
}

class RegionTest : public testing::Test {
 protected:
  ~RegionTest() override { arm(""); }
  static bool says(const Status& status, Code code, const std::string& path) {
    return status.code() == code && status.message().find(path) != std::string::npos;
  }
  static long page_faults() {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt + usage.ru_majflt;
  }

  TemporaryDirectory directory_;
  std::string path_ = directory_ / "region";
};

TEST_F(RegionTest, CreatedRegionsAreZeroAndHaveTheirBlocks) {
  constexpr std::size_t kSize = (2u << 20) + 4096;
  Result<Region> region = Region::create(path_, kSize);
  ASSERT_TRUE(region.ok()) << region.status().message();
  ASSERT_TRUE(region->is_mapped());
  EXPECT_EQ(region->size(), kSize);
  EXPECT_EQ(std::string(region->data(), kSize), std::string(kSize, '\0'));
  struct stat info;
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(static_cast<std::size_t>(info.st_size), kSize);
  EXPECT_GE(static_cast<std::size_t>(info.st_blocks) * 512, kSize);
}

TEST_F(RegionTest, SparseRegionsHaveNoBlocksUntilTheyAreReserved) {
  constexpr std::size_t kSize = 1u << 20, kPart = 64u << 10;
  Result<Region> region = Region::create_sparse(path_, kSize);
  ASSERT_TRUE(region.ok()) << region.status().message();
  EXPECT_EQ(region->size(), kSize);
  const auto blocks = [&] {
    struct stat info;
    return stat(path_.c_str(), &info) == 0 ? static_cast<std::size_t>(info.st_blocks) * 512 : SIZE_MAX;
  };
  EXPECT_LT(blocks(), kPart);
  Result<File> file = File::open(path_, File::Mode::kReadWrite);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->reserve(kPart, kPart).ok());
  EXPECT_GE(blocks(), kPart);
  EXPECT_LT(blocks(), kSize);
  region->data()[kPart] = 'x';
  ASSERT_TRUE(file->reserve(0, kSize).ok());  // what is in the file stays
  EXPECT_EQ(region->data()[kPart], 'x');
  EXPECT_EQ(region->data()[0], '\0');
  EXPECT_GE(blocks(), kSize);
}

TEST_F(RegionTest, ReservingMeetsAFullDiskAsStatus) {
  if (!kTestPoints) GTEST_SKIP() << "built without test points";
  ASSERT_TRUE(Region::create_sparse(path_, 8192).ok());
  Result<File> file = File::open(path_, File::Mode::kReadWrite);
  ASSERT_TRUE(file.ok());
  arm("file.allocate:errno=" + std::to_string(ENOSPC));
  EXPECT_TRUE(says(file->reserve(0, 8192), Code::kDISK_FULL, path_));
  arm("file.allocate:errno=" + std::to_string(EOPNOTSUPP));
  EXPECT_TRUE(file->reserve(0, 8192).ok());
}

TEST_F(RegionTest, MappingsOfOneFileShareBytesAcrossProcesses) {
  Result<Region> region = Region::create(path_, 8192);
  ASSERT_TRUE(region.ok());
  memcpy(region->data() + 5000, "parent", 6);
  const pid_t child = fork_child([this] {
    Result<Region> opened = Region::open(path_, 8192);
    if (!opened.ok() || opened->size() != 8192) return 1;
    if (memcmp(opened->data() + 5000, "parent", 6) != 0) return 2;
    memcpy(opened->data(), "child", 5);
    return 0;
  });
  EXPECT_EQ(wait_for_child(child), 0);
  EXPECT_EQ(Bytes(region->data(), 5), "child");
}

TEST_F(RegionTest, CreateReplacesTheFileAndLeavesOldMappingsValid) {
  Result<Region> old_region = Region::create(path_, 65536);
  ASSERT_TRUE(old_region.ok());
  old_region->data()[60000] = 'o';
  Result<Region> new_region = Region::create(path_, 4096);
  ASSERT_TRUE(new_region.ok());
  EXPECT_EQ(new_region->size(), 4096u);
  EXPECT_EQ(new_region->data()[0], 0);
  EXPECT_EQ(old_region->data()[60000], 'o');
  old_region->data()[0] = 'o';
  EXPECT_EQ(new_region->data()[0], 0);
  ASSERT_TRUE(remove_file(path_).ok());
  EXPECT_EQ(old_region->data()[60000], 'o');
  new_region->data()[4095] = 'n';
}

TEST_F(RegionTest, MovingKeepsTheMapping) {
  Result<Region> created = Region::create(path_, 4096);
  ASSERT_TRUE(created.ok());
  char* const data = created->data();
  Region moved(std::move(created).value());
  EXPECT_EQ(moved.data(), data);
  Region assigned;
  EXPECT_FALSE(assigned.is_mapped());
  assigned = std::move(moved);
  EXPECT_EQ(assigned.data(), data);
  EXPECT_EQ(assigned.size(), 4096u);
  EXPECT_FALSE(moved.is_mapped());
  EXPECT_EQ(moved.size(), 0u);
  data[0] = 'x';
  assigned = Region();
  EXPECT_FALSE(assigned.is_mapped());
  moved.populate(0, 4096);  // nothing is mapped: nothing happens
}

TEST_F(RegionTest, OpenChecksTheFile) {
  EXPECT_TRUE(says(Region::open(path_, 1).status(), Code::kNOT_FOUND, path_));
  Result<File> file = File::open(path_, File::Mode::kCreateNew);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(says(Region::open(path_, 0).status(), Code::kCORRUPT, path_));
  ASSERT_TRUE(file->fill_zero(5000).ok());
  EXPECT_TRUE(says(Region::open(path_, 5001).status(), Code::kCORRUPT, path_));
  Result<Region> region = Region::open(path_, 5000);
  ASSERT_TRUE(region.ok());
  EXPECT_EQ(region->size(), 5000u);
  EXPECT_EQ(Region::open(directory_.path(), 1).code(), Code::kIO_ERROR);
}

TEST_F(RegionTest, AFileLargerThanTheAddressSpaceIsNoMemory) {
  const std::string path = "/dev/shm/hf_region_" + std::to_string(getpid());
  Result<File> file = File::open(path, File::Mode::kCreate);
  if (!file.ok()) GTEST_SKIP() << "no /dev/shm";
  const bool sparse = file->truncate(std::uint64_t{1} << 50).ok();  // takes no memory
  Result<Region> region = sparse ? Region::open(path, 4096) : Result<Region>(Code::kNO_MEMORY);
  EXPECT_TRUE(remove_file(path).ok());
  if (!sparse) GTEST_SKIP() << "no file of that size";
  ASSERT_FALSE(region.ok());
  EXPECT_TRUE(says(region.status(), Code::kNO_MEMORY, path)) << region.status().message();
}

TEST_F(RegionTest, CreateThatFailsLeavesNoFile) {
  EXPECT_EQ(Region::create(path_, 0).code(), Code::kINVALID_ARGUMENT);
  EXPECT_EQ(Region::create(directory_ / "absent/region", 4096).code(), Code::kNOT_FOUND);
  EXPECT_EQ(Region::create(directory_.path(), 4096).code(), Code::kIO_ERROR);  // cannot be replaced
  if (!kTestPoints) GTEST_SKIP() << "the rest needs test points";
  for (const char* point : {"file.allocate", "file.write", "region.map"}) {
    arm(std::string(point) + ":errno=" + std::to_string(ENOSPC));
    EXPECT_TRUE(says(Region::create(path_, 4096).status(), Code::kDISK_FULL, path_)) << point;
    EXPECT_FALSE(file_exists(path_)) << point;
    arm("");
  }
  EXPECT_TRUE(Region::create(path_, 4096).ok());
}

TEST_F(RegionTest, AFullDeviceIsAStatusAndWorksAgainOnceThereIsRoom) {
  const std::string mounted = directory_ / "small";
  ASSERT_TRUE(make_directory(mounted).ok());
  if (mount("none", mounted.c_str(), "tmpfs", 0, "size=1m") != 0) GTEST_SKIP() << "mounting is not allowed";
  {
    Result<Region> first = Region::create(mounted + "/first", 700'000);
    EXPECT_TRUE(first.ok());
    EXPECT_TRUE(says(Region::create(mounted + "/second", 700'000).status(), Code::kDISK_FULL, mounted + "/second"));
    EXPECT_FALSE(file_exists(mounted + "/second"));
    EXPECT_TRUE(Region::create(mounted + "/third", 200'000).ok());  // the failure kept no space
  }
  EXPECT_TRUE(remove_file(mounted + "/first").ok());
  EXPECT_TRUE(Region::create(mounted + "/second", 700'000).ok());
  EXPECT_EQ(umount2(mounted.c_str(), MNT_DETACH), 0);
}

// Both ways of populating: by madvise, and by touching where the kernel answers EINVAL.
class PopulateTest : public RegionTest, public testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    if (GetParam() && !kTestPoints) GTEST_SKIP() << "built without test points";
    if (GetParam()) arm("region.populate:errno=" + std::to_string(EINVAL));
  }
};
INSTANTIATE_TEST_SUITE_P(Region, PopulateTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "ByTouch" : "ByAdvice"; });

// In memory, where each page is a fault of its own; on disk the kernel may map many at once, populated or not.
TEST_P(PopulateTest, LaterWritesMeetNoPageFault) {
  constexpr std::size_t kPages = 1024;
  const std::string path = "/dev/shm/hf_region_" + std::to_string(getpid());
  long faults[2];  // without populating, and with it
  for (const bool populated : {false, true}) {
    Result<Region> region = Region::create(path, kPages * 4096);
    if (!region.ok()) GTEST_SKIP() << region.status().message();
    EXPECT_TRUE(remove_file(path).ok());
    if (populated) region->populate(5000, region->size() - 5000);
    const long before = page_faults();
    write_pages(region->data() + 4096, kPages - 1);  // populating began inside of the second page
    faults[populated] = page_faults() - before;
  }
  if (faults[0] < static_cast<long>(kPages / 2)) GTEST_SKIP() << "the kernel maps many pages at once";
  EXPECT_LT(faults[1], static_cast<long>(kPages / 16));
}

TEST_P(PopulateTest, RangesAreCutToTheRegion) {
  Result<Region> region = Region::create(path_, 3 * 4096 + 10);
  ASSERT_TRUE(region.ok());
  region->data()[3 * 4096 + 9] = 'z';
  region->populate(0, 0);
  region->populate(5000, 1);
  region->populate(5000, std::size_t{1} << 40);
  region->populate(5000, SIZE_MAX);
  region->populate(3 * 4096 + 9, 1);
  region->populate(3 * 4096 + 10, 1);
  region->populate(SIZE_MAX, SIZE_MAX);
  EXPECT_EQ(region->data()[3 * 4096 + 9], 'z');
  EXPECT_EQ(std::string(region->data(), 3 * 4096 + 9), std::string(3 * 4096 + 9, '\0'));
}

// One thread counts in a byte of the page that another populates all the time: no step may be undone.
TEST_P(PopulateTest, NeverLosesAConcurrentWrite) {
  constexpr std::uint32_t kPasses = 200'000;
  Result<Region> region = Region::create(path_, 4096);
  ASSERT_TRUE(region.ok());
  auto& counter = *reinterpret_cast<std::atomic<std::uint8_t>*>(region->data());
  std::atomic<std::uint32_t> passes{0};
  std::thread populating([&] {
    while (passes.fetch_add(1) < kPasses) region->populate(0, 1);
  });
  std::uint32_t undone = 0;
  for (std::uint32_t round = 0; passes < kPasses; ++round) {
    if (counter.load(std::memory_order_relaxed) != static_cast<std::uint8_t>(round)) ++undone;
    counter.store(static_cast<std::uint8_t>(round + 1), std::memory_order_seq_cst);
    for (std::uint32_t i = 0; i < round % 32; ++i) (void)passes.load();  // time for the other thread to undo it
  }
  populating.join();
  EXPECT_EQ(undone, 0u);
}

}  // namespace
}  // namespace hf::platform
