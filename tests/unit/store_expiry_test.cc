// SPDX-License-Identifier: Apache-2.0
// The sweep removes what has expired, and nothing else.
#include <set>

#include "store_testing.h"

namespace hf::store {
namespace {

using namespace testing;

class StoreExpiry : public ::testing::Test {
 protected:
  void SetUp() override {
    auto store = Store::open(options_for(directory_));
    ASSERT_OK(store);
    store_ = std::move(store).value();
  }
  std::uint64_t sweep(std::uint64_t now_ms, std::uint64_t limit = 1'000'000) {
    auto swept = store_->sweep_expired(now_ms, limit);
    EXPECT_TRUE(swept.ok()) << text_of(swept);
    return swept.ok() ? *swept : 0;
  }

  Directory directory_;
  std::unique_ptr<Store> store_;
};

TEST_F(StoreExpiry, RemovesInOrderOfTime) {
  auto merge = store_->begin_merge();
  ASSERT_OK(merge);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    ASSERT_OK((*merge)->put(1, "key" + std::to_string(i), row_of("v", 1, 1000 + i)));
    ASSERT_OK((*merge)->put(2, std::string(kKeySizeMax - 4, 'k') + std::to_string(i + 1000), row_of("v", 1, 1000 + i)));
    ASSERT_OK((*merge)->put(3, "key" + std::to_string(i), row_of("stays")));
  }
  ASSERT_OK((*merge)->commit(1));
  EXPECT_EQ(sweep(1000), 0u);  // a row is there until its time has passed
  auto old = snapshot_of(*store_);
  EXPECT_EQ(sweep(1100), 200u);
  EXPECT_EQ(sweep(1100), 0u);
  EXPECT_EQ(sweep(1200, 50), 50u);
  EXPECT_EQ(sweep(1200, 0), 0u);
  EXPECT_EQ(sweep(1200), 150u);
  auto snapshot = snapshot_of(*store_);
  EXPECT_EQ(snapshot->applied_csn(), 1u);
  EXPECT_EQ(snapshot->entries(1), 800u);
  EXPECT_EQ(snapshot->entries(2), 800u);
  EXPECT_EQ(snapshot->entries(3), 1000u);
  EXPECT_EQ(value_of(*snapshot, 1, "key199"), std::nullopt);
  EXPECT_EQ(value_of(*snapshot, 1, "key200"), "v");
  EXPECT_EQ(old->entries(1), 1000u);
  EXPECT_EQ(sweep(UINT64_MAX), 1600u);
}

TEST_F(StoreExpiry, RowsThatChangedStay) {
  auto merge = store_->begin_merge();
  ASSERT_OK(merge);
  for (const char* key : {"extended", "made lasting", "erased", "same again", "shortened", "left"}) {
    ASSERT_OK((*merge)->put(1, key, row_of("v", 1, 1000)));
  }
  ASSERT_OK((*merge)->commit(1));
  merge = store_->begin_merge();
  ASSERT_OK(merge);
  ASSERT_OK((*merge)->put(1, "extended", row_of("v", 2, 5000)));
  ASSERT_OK((*merge)->put(1, "made lasting", row_of("v", 2, 0)));
  ASSERT_OK((*merge)->erase(1, "erased"));
  ASSERT_OK((*merge)->put(1, "same again", row_of("w", 2, 1000)));
  ASSERT_OK((*merge)->put(1, "shortened", row_of("w", 2, 500)));
  ASSERT_OK((*merge)->commit(2));
  EXPECT_EQ(sweep(501), 1u);
  EXPECT_EQ(sweep(2000), 2u);
  std::set<std::string> left;
  for (const auto& [key, value] : rows_of(*snapshot_of(*store_), 1)) left.insert(key);
  EXPECT_EQ(left, (std::set<std::string>{"extended", "made lasting"}));
  EXPECT_EQ(sweep(UINT64_MAX), 1u);
}

// Entries of a dropped table lead nowhere; they go without harm, even when its slot serves another table with such
// keys.
TEST_F(StoreExpiry, DroppedTable) {
  auto merge = store_->begin_merge();
  ASSERT_OK(merge);
  for (int i = 0; i < 100; ++i) ASSERT_OK((*merge)->put(1, std::to_string(i), row_of("v", 1, 1000)));
  ASSERT_OK((*merge)->commit(1));
  merge = store_->begin_merge();
  ASSERT_OK(merge);
  ASSERT_OK((*merge)->drop_table(1));
  for (int i = 0; i < 100; ++i) ASSERT_OK((*merge)->put(2, std::to_string(i), row_of("v", 2, i < 50 ? 1000 : 3000)));
  ASSERT_OK((*merge)->commit(2));
  EXPECT_EQ(sweep(2000), 50u);
  EXPECT_EQ(snapshot_of(*store_)->entries(2), 50u);
}

// A bounded sweep gets past any number of entries that lead nowhere.
TEST_F(StoreExpiry, StaleEntriesDoNotBlock) {
  auto merge = store_->begin_merge();
  ASSERT_OK(merge);
  for (int i = 0; i < 100; ++i) ASSERT_OK((*merge)->put(1, std::to_string(i), row_of("v", 1, 1000)));
  ASSERT_OK((*merge)->put(2, "key", row_of("v", 1, 1001)));
  ASSERT_OK((*merge)->commit(1));
  merge = store_->begin_merge();
  ASSERT_OK(merge);
  ASSERT_OK((*merge)->drop_table(1));
  ASSERT_OK((*merge)->commit(2));
  std::uint64_t removed = 0;
  for (int round = 0; round < 30 && removed == 0; ++round) removed += sweep(2000, 1);
  EXPECT_EQ(removed, 1u);
}

// A row that is touched again and again, as a session is, keeps one entry: a sweep of one row is not held up by old
// ones.
TEST_F(StoreExpiry, OverwritingLeavesNoEntryBehind) {
  auto merge = store_->begin_merge();
  ASSERT_OK(merge);
  for (std::uint64_t i = 0; i < 100; ++i) {
    ASSERT_OK((*merge)->put(1, "session", row_of("v", 1, 1000 + i)));
    ASSERT_OK((*merge)->put(1, "lock", row_of("v", 1, 1000 + i)));
    ASSERT_OK((*merge)->erase(1, "lock"));
  }
  ASSERT_OK((*merge)->put(1, "session", row_of("v", 1, 9000)));
  ASSERT_OK((*merge)->put(1, "other", row_of("v", 1, 2000)));
  ASSERT_OK((*merge)->commit(1));
  EXPECT_EQ(sweep(3000, 1), 1u);
  EXPECT_EQ(value_of(*snapshot_of(*store_), 1, "session"), "v");
}

TEST_F(StoreExpiry, LoadedRows) {
  auto load = store_->begin_load(4, 1);
  ASSERT_OK(load);
  for (int i = 100; i < 200; ++i) ASSERT_OK((*load)->add(std::to_string(i), "v", 0, i % 2 == 0 ? 1000 : 0));
  ASSERT_OK((*load)->finish());
  EXPECT_EQ(snapshot_of(*store_)->entries(4), 100u);
  EXPECT_EQ(sweep(2000), 50u);
  EXPECT_EQ(snapshot_of(*store_)->entries(4), 50u);
}

}  // namespace
}  // namespace hf::store
