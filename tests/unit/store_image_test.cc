// SPDX-License-Identifier: Apache-2.0
// Goal: an image of the base is exactly the base at one commit, whatever merges do meanwhile, and opens as a base of
// its own; a compacted one has the same rows in fewer pages. Method: an image is read piece by piece, with merges
// between the pieces that change every row and free pages that the image still has.
#include <filesystem>
#include <fstream>

#include "platform/file.h"
#include "store_testing.h"

namespace hf::store {
namespace {

constexpr TableId kTable = 20;
constexpr int kRows = 3'000;

std::string key_of(int i) { return "row " + std::to_string(1'000'000 + i); }

class StoreImage : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = ::testing::TempDir() + "hf-image-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    std::filesystem::create_directories(directory_ + "/base");
    std::filesystem::create_directories(directory_ + "/copy");
    auto opened = open(directory_ + "/base");
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    store_ = std::move(opened).value();
    ASSERT_TRUE(store_->set_meta("clean", "0").ok());
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(directory_);
  }
  static Result<std::unique_ptr<Store>> open(const std::string& path) {
    StoreOptions options;
    options.directory = path;
    options.map_size = std::uint64_t{1} << 30;
    return Store::open(options);
  }
  // Every row gets the value of that commit; each third is deleted in odd ones.
  void merge(Csn csn) {
    auto merge = store_->begin_merge();
    ASSERT_TRUE(merge.ok()) << merge.status().message();
    for (int i = 0; i < kRows; ++i) {
      const std::string value = std::to_string(csn) + std::string(50 + 700 * (i % 100 == 0), 'v');
      const Status status = csn % 2 == 1 && i % 3 == 0 ? (*merge)->erase(kTable, key_of(i))
                                                       : (*merge)->put(kTable, key_of(i), {csn, 0, value, 0});
      ASSERT_TRUE(status.ok()) << status.message();
    }
    ASSERT_TRUE((*merge)->commit(csn).ok());
  }
  // All rows are of that commit.
  static void expect_rows(Store& store, Csn csn) {
    auto snapshot = store.snapshot();
    ASSERT_TRUE(snapshot.ok()) << snapshot.status().message();
    EXPECT_EQ((*snapshot)->applied_csn(), csn);
    for (int i = 0; i < kRows; ++i) {
      Row row;
      auto found = (*snapshot)->get(kTable, key_of(i), &row);
      ASSERT_TRUE(found.ok()) << found.status().message();
      ASSERT_EQ(found.value(), !(csn % 2 == 1 && i % 3 == 0)) << i;
      if (found.value()) {
        ASSERT_EQ(row.version, csn) << i;
        ASSERT_EQ(row.value.substr(0, std::to_string(csn).size() + 1), std::to_string(csn) + "v");
      }
    }
  }
  // Copies, with a merge of the next commit after every few pages.
  void copy(Image& image, Csn next_csn, int merges) {
    auto file = platform::File::open(directory_ + "/copy/data.mdb", platform::File::Mode::kCreateNew);
    ASSERT_TRUE(file.ok());
    std::vector<char> piece(16 << 10);
    std::uint64_t bytes = 0, end = 0;
    for (int pieces = 0;; ++pieces) {
      std::uint64_t offset = 0;
      std::size_t size = 0;
      const Status status = image.next(piece.data(), piece.size(), &offset, &size);
      ASSERT_TRUE(status.ok()) << status.message();
      if (size == 0) break;
      ASSERT_GE(offset, end) << "in ascending order";
      ASSERT_TRUE(file->write_at(piece.data(), size, offset).ok());
      bytes += size;
      end = offset + size;
      if (pieces % 4 == 0 && merges-- > 0) merge(next_csn++);
    }
    EXPECT_EQ(bytes, image.data_bytes());
    ASSERT_TRUE(file->truncate(image.file_bytes()).ok());
  }

  std::string directory_;
  std::unique_ptr<Store> store_;
};

TEST_F(StoreImage, IsOneCommitWhileMergesGoOn) {
  Csn csn = 0;
  for (int round = 0; round < 4; ++round) {  // the first has no free page, the later ones many
    SCOPED_TRACE(round);
    merge(++csn);
    auto image = store_->image({{"clean", "1"}});
    ASSERT_TRUE(image.ok()) << image.status().message();
    EXPECT_EQ((*image)->applied_csn(), csn);
    EXPECT_LE((*image)->data_bytes(), (*image)->file_bytes());
    if (round > 0) {
      EXPECT_LT((*image)->data_bytes(), (*image)->file_bytes());
    }
    copy(**image, csn + 1, 5);
    image->reset();
    {
      auto other = open(directory_ + "/copy");
      ASSERT_TRUE(other.ok()) << other.status().message();
      expect_rows(**other, csn);
      EXPECT_EQ((*other)->get_meta("clean").value(), "1");
      // Its free pages are really free: it can be written like any base.
      std::swap(*other, store_);
      for (int i = 1; i <= 4; ++i) merge(csn + static_cast<Csn>(i));
      expect_rows(*store_, csn + 4);
      std::swap(*other, store_);
    }
    EXPECT_EQ(store_->get_meta("clean").value(), "0") << "the base itself is not touched";
    csn += 5;
    std::filesystem::remove_all(directory_ + "/copy");
    std::filesystem::create_directories(directory_ + "/copy");
  }
  expect_rows(*store_, csn);
}

TEST_F(StoreImage, ARecordThatIsNotThereIsRefused) {
  EXPECT_FALSE(store_->image({{"absent", "1"}}).ok());
  EXPECT_EQ(store_->image({{"clean", "longer"}}).code(), Code::kCORRUPT);
  EXPECT_TRUE(store_->image({}).ok());
}

TEST_F(StoreImage, CompactedHasTheSameRows) {
  for (Csn csn = 1; csn <= 6; ++csn) merge(csn);
  std::string whole;
  ASSERT_TRUE(store_
                  ->compacted([&](Bytes piece) {
                    whole.append(piece);
                    return Status();
                  })
                  .ok());
  EXPECT_LT(whole.size(), std::filesystem::file_size(directory_ + "/base/data.mdb"));
  std::ofstream(directory_ + "/copy/data.mdb", std::ios::binary) << whole;
  auto other = open(directory_ + "/copy");
  ASSERT_TRUE(other.ok()) << other.status().message();
  expect_rows(**other, 6);
  // Refused half-way it ends, with that answer and no SIGPIPE.
  EXPECT_EQ(store_->compacted([](Bytes) { return Status(Code::kCANCELLED); }).code(), Code::kCANCELLED);
}

}  // namespace
}  // namespace hf::store
