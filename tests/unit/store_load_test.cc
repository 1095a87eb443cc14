// SPDX-License-Identifier: Apache-2.0
// Bulk loads: order, visibility, ends of every kind.
#include <cerrno>
#include <thread>

#include "store_testing.h"

namespace hf::store {
namespace {

using namespace testing;

constexpr TableId kTable = 3;

std::string key_of(std::uint64_t number) {
  std::string key(8, '\0');
  store_be64(key.data(), number);
  return key;
}

class StoreLoad : public ::testing::Test {
 protected:
  void SetUp() override { reopen(); }
  void TearDown() override { platform::arm(""); }
  void reopen() {
    store_.reset();
    auto store = Store::open(options_for(directory_));
    ASSERT_OK(store);
    store_ = std::move(store).value();
  }
  std::unique_ptr<Load> begin(TableId table = kTable) {
    auto load = store_->begin_load(table, 5);
    EXPECT_TRUE(load.ok()) << text_of(load);
    return load.ok() ? std::move(load).value() : nullptr;
  }
  // Enough for several batches.
  void add_many(Load& load, std::uint64_t count = 100, char fill = 'v') {
    const std::string value(1 << 20, fill);
    for (std::uint64_t i = 0; i < count; ++i) ASSERT_OK(load.add(key_of(i), value, 0, 0));
  }

  Directory directory_;
  std::unique_ptr<Store> store_;
};

TEST_F(StoreLoad, RowsAreThereAfterFinish) {
  auto load = begin();
  for (std::uint64_t i = 0; i < 10'000; ++i) ASSERT_OK(load->add(key_of(i), std::to_string(i), i % 64, 0));
  EXPECT_EQ(snapshot_of(*store_)->entries(kTable), 0u);
  ASSERT_OK(load->finish());
  EXPECT_EQ(load->finish().code(), Code::kMISUSE);
  EXPECT_EQ(load->add(key_of(99'999), "", 0, 0).code(), Code::kMISUSE);
  load.reset();
  for (int reopened = 0; reopened < 2; ++reopened) {
    auto snapshot = snapshot_of(*store_);
    EXPECT_EQ(snapshot->entries(kTable), 10'000u);
    for (std::uint64_t i = 0; i < 10'000; i += 37) {
      Row row;
      auto found = snapshot->get(kTable, key_of(i), &row);
      ASSERT_OK(found);
      ASSERT_TRUE(*found);
      EXPECT_EQ(row.value, std::to_string(i));
      EXPECT_EQ(row.version, 5u);
      EXPECT_EQ(row.flags, i % 64);
    }
    snapshot.reset();
    reopen();
  }
}

TEST_F(StoreLoad, KeysMustAscend) {
  auto load = begin();
  ASSERT_OK(load->add("b", "1", 0, 0));
  EXPECT_EQ(load->add("b", "2", 0, 0).code(), Code::kINVALID_ARGUMENT);
  EXPECT_EQ(load->add("a", "2", 0, 0).code(), Code::kINVALID_ARGUMENT);
  EXPECT_EQ(load->add("", "2", 0, 0).code(), Code::kINVALID_ARGUMENT);
  EXPECT_EQ(load->add(std::string(600, 'x'), "2", 0, 0).code(), Code::kTOO_LARGE);
  ASSERT_OK(load->add("\xff", "3", 0, 0));  // bytes are unsigned
  EXPECT_EQ(load->add("c", "4", 0, 0).code(), Code::kINVALID_ARGUMENT);
  ASSERT_OK(load->add(std::string("\xff\0", 2), "5", 0, 0));
  ASSERT_OK(load->finish());
  const std::map<std::string, std::string> expected = {{"b", "1"}, {"\xff", "3"}, {std::string("\xff\0", 2), "5"}};
  EXPECT_EQ(rows_of(*snapshot_of(*store_), kTable), expected);
}

TEST_F(StoreLoad, OrderHoldsAcrossBatches) {
  auto load = begin();
  ASSERT_NO_FATAL_FAILURE(add_many(*load));
  EXPECT_EQ(load->add(key_of(99), "", 0, 0).code(), Code::kINVALID_ARGUMENT);
  EXPECT_EQ(load->add(key_of(3), "", 0, 0).code(), Code::kINVALID_ARGUMENT);
  ASSERT_OK(load->add(key_of(100), "", 0, 0));
  ASSERT_OK(load->finish());
  EXPECT_EQ(snapshot_of(*store_)->entries(kTable), 101u);
}

TEST_F(StoreLoad, NeedsATableWithoutRows) {
  ASSERT_OK(put_one(*store_, kTable, "key", row_of("value")));
  EXPECT_EQ(store_->begin_load(kTable, 5).code(), Code::kEXISTS);
  auto merge = store_->begin_merge();
  ASSERT_OK(merge);
  ASSERT_OK((*merge)->erase(kTable, "key"));
  ASSERT_OK((*merge)->commit(2));
  auto load = begin();
  ASSERT_OK(load->add("other", "value", 0, 0));
  ASSERT_OK(load->finish());  // its old, empty slot is given back
  const std::map<std::string, std::string> expected = {{"other", "value"}};
  EXPECT_EQ(rows_of(*snapshot_of(*store_), kTable), expected);
  EXPECT_EQ(store_->stats().value().tables, 1u);
}

TEST_F(StoreLoad, TableGotRowsMeanwhile) {
  auto load = begin();
  ASSERT_OK(load->add("key", "loaded", 0, 0));
  ASSERT_OK(put_one(*store_, kTable, "key", row_of("merged")));
  EXPECT_EQ(load->finish().code(), Code::kEXISTS);
  load.reset();
  EXPECT_EQ(value_of(*snapshot_of(*store_), kTable, "key"), "merged");
}

TEST_F(StoreLoad, NoRowsIsFine) {
  auto load = begin();
  ASSERT_OK(load->finish());
  EXPECT_EQ(snapshot_of(*store_)->entries(kTable), 0u);
}

// While a load is under way its slot is taken by nobody, although no table owns it; afterwards it is emptied for the
// next.
TEST_F(StoreLoad, AbandonedLoadLeavesNothingVisible) {
  auto load = begin();
  ASSERT_NO_FATAL_FAILURE(add_many(*load));
  ASSERT_OK(put_one(*store_, 1, "key", row_of("another table, another slot"), 1));
  EXPECT_EQ(snapshot_of(*store_)->entries(kTable), 0u);
  load.reset();
  reopen();
  ASSERT_OK(put_one(*store_, 2, "key", row_of("takes the abandoned slot"), 2));
  auto snapshot = snapshot_of(*store_);
  EXPECT_EQ(snapshot->entries(kTable), 0u);
  EXPECT_EQ(rows_of(*snapshot, 1).size(), 1u);
  EXPECT_EQ(rows_of(*snapshot, 2).size(), 1u);
  load = begin();
  ASSERT_NO_FATAL_FAILURE(add_many(*load, 70, 'w'));
  ASSERT_OK(load->finish());
  EXPECT_EQ(snapshot_of(*store_)->entries(kTable), 70u);
}

TEST_F(StoreLoad, TwoAtOnceAndMergesBetween) {
  auto first = begin(10);
  auto second = begin(11);
  const std::string value(1 << 20, 'v');
  for (std::uint64_t i = 0; i < 80; ++i) {
    ASSERT_OK(first->add(key_of(i), value, 0, 0));
    ASSERT_OK(second->add(key_of(i), value, 0, 0));
    if (i % 10 == 0) {
      ASSERT_OK(put_one(*store_, static_cast<TableId>(20 + i), "key", row_of("v"), i));
    }
  }
  ASSERT_OK(second->finish());
  ASSERT_OK(first->finish());
  auto snapshot = snapshot_of(*store_);
  EXPECT_EQ(snapshot->entries(10), 80u);
  EXPECT_EQ(snapshot->entries(11), 80u);
  for (TableId table = 20; table < 100; table += 10) EXPECT_EQ(rows_of(*snapshot, table).size(), 1u);
}

TEST_F(StoreLoad, MovesBetweenThreads) {
  auto load = begin();
  const std::string value(1 << 20, 'v');
  for (std::uint64_t i = 0; i < 8; ++i) {
    std::thread([&] {
      for (std::uint64_t j = 0; j < 10; ++j) EXPECT_TRUE(load->add(key_of(i * 10 + j), value, 0, 0).ok());
    }).join();
  }
  std::thread([&] { EXPECT_TRUE(load->finish().ok()); }).join();
  EXPECT_EQ(snapshot_of(*store_)->entries(kTable), 80u);
}

// Another process became maintainer, although we had not given it up, and reused the slot: noticed, not mixed up.
TEST_F(StoreLoad, SlotTakenByAnotherProcess) {
  store_.reset();
  int ready[2], go[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(go), 0);
  char byte = 'x';
  const pid_t other = fork_child([&] {
    if (read(go[0], &byte, 1) != 1) return 1;
    auto store = Store::open(options_for(directory_));
    if (!store.ok() || !put_one(**store, 50, "key", row_of("v")).ok()) return 2;
    auto merge = (*store)->begin_merge();  // free again, but emptied
    if (!merge.ok() || !(*merge)->drop_table(50).ok() || !(*merge)->commit(2).ok()) return 4;
    return write(ready[1], &byte, 1) == 1 ? 0 : 3;
  });
  reopen();
  auto load = begin();
  ASSERT_NO_FATAL_FAILURE(add_many(*load, 50));
  ASSERT_EQ(write(go[1], &byte, 1), 1);
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(wait_child(other), 0);
  EXPECT_EQ(load->finish().code(), Code::kCONFLICT);
  load.reset();
  auto snapshot = snapshot_of(*store_);
  EXPECT_EQ(snapshot->entries(kTable), 0u);
  for (int fd : {ready[0], ready[1], go[0], go[1]}) close(fd);
}

// Killed in the first, the second and the last transaction of a load, before and after.
TEST_F(StoreLoad, KilledLoad) {
  for (const char* spec :
       {"store.load.before_commit:kill:1", "store.load.before_commit:kill:3", "store.load.committed:kill:1",
        "store.load.committed:kill:2", "store.load.committed:kill:4"}) {
    SCOPED_TRACE(spec);
    store_.reset();
    const pid_t victim = fork_child([&] {
      auto store = Store::open(options_for(directory_));
      if (!store.ok()) return 1;
      platform::arm(spec);
      auto load = (*store)->begin_load(kTable, 5);
      if (!load.ok()) return 2;
      const std::string value(1 << 20, 'v');
      for (std::uint64_t i = 0; i < 100; ++i) {
        if (!(*load)->add(key_of(i), value, 0, 0).ok()) return 3;
      }
      (void)(*load)->finish();
      return 4;
    });
    ASSERT_EQ(wait_child(victim), 1000 + SIGKILL);
    reopen();
    const bool whole = std::string(spec) == "store.load.committed:kill:4";
    EXPECT_EQ(snapshot_of(*store_)->entries(kTable), whole ? 100u : 0u);
    ASSERT_OK(put_one(*store_, 77, "key", row_of("v")));
    EXPECT_EQ(rows_of(*snapshot_of(*store_), 77).size(), 1u);
    auto merge = store_->begin_merge();
    ASSERT_OK(merge);
    ASSERT_OK((*merge)->drop_table(77));
    ASSERT_OK((*merge)->drop_table(kTable));
    ASSERT_OK((*merge)->commit(9));
  }
}

// A full disk in the middle: told, and once there is room the same load goes on.
TEST_F(StoreLoad, FailedBatchCanBeTriedAgain) {
  if (!platform::kTestPoints) GTEST_SKIP() << "built without test points";
  auto load = begin();
  const std::string value(1 << 20, 'v');
  std::uint64_t failures = 0;
  for (std::uint64_t i = 0; i < 100; ++i) {
    platform::arm(i % 2 == 0 ? "store.commit:errno=" + std::to_string(ENOSPC) : "");
    Status status = load->add(key_of(i), value, 0, 0);
    if (status.ok()) continue;
    EXPECT_EQ(status.code(), Code::kDISK_FULL);
    ++failures;
    platform::arm("");
    ASSERT_OK(load->add(key_of(i), value, 0, 0));
  }
  EXPECT_GT(failures, 0u);
  platform::arm("store.commit:errno=" + std::to_string(ENOSPC));
  EXPECT_EQ(load->finish().code(), Code::kDISK_FULL);
  platform::arm("");
  ASSERT_OK(load->finish());
  EXPECT_EQ(snapshot_of(*store_)->entries(kTable), 100u);
}

}  // namespace
}  // namespace hf::store
