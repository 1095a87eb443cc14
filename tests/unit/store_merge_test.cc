// SPDX-License-Identifier: Apache-2.0
// Merges: isolation, many tables, slots, other processes, kills and failures.
#include <poll.h>

#include <cerrno>
#include <thread>
#include <vector>

#include "store_testing.h"

namespace hf::store {
namespace {

using namespace testing;

class StoreMerge : public ::testing::Test {
 protected:
  void SetUp() override { reopen(); }
  void TearDown() override { platform::arm(""); }
  void reopen() {
    store_.reset();
    auto store = Store::open(options_for(directory_));
    ASSERT_OK(store);
    store_ = std::move(store).value();
  }

  Directory directory_;
  std::unique_ptr<Store> store_;
};

TEST_F(StoreMerge, OldSnapshotsKeepTheirState) {
  std::vector<std::shared_ptr<const Snapshot>> snapshots;
  for (Csn csn = 1; csn <= 20; ++csn) {
    auto merge = store_->begin_merge();
    ASSERT_OK(merge);
    ASSERT_OK((*merge)->put(1, "changes", row_of(std::to_string(csn), csn)));
    ASSERT_OK((*merge)->put(1, "new " + std::to_string(csn), row_of("here", csn)));
    ASSERT_OK((*merge)->erase(1, "new " + std::to_string(csn - 5)));
    ASSERT_OK((*merge)->commit(csn));
    snapshots.push_back(snapshot_of(*store_));
  }
  for (Csn csn = 1; csn <= 20; ++csn) {
    const Snapshot& snapshot = *snapshots[csn - 1];
    EXPECT_EQ(snapshot.applied_csn(), csn);
    EXPECT_EQ(value_of(snapshot, 1, "changes"), std::to_string(csn));
    EXPECT_EQ(snapshot.entries(1), 1 + std::min<Csn>(csn, 5));
    EXPECT_TRUE(value_of(snapshot, 1, "new " + std::to_string(csn)));
    EXPECT_FALSE(value_of(snapshot, 1, "new " + std::to_string(csn + 1)));
    if (csn > 5) {
      EXPECT_FALSE(value_of(snapshot, 1, "new " + std::to_string(csn - 5)));
    }
  }
}

TEST_F(StoreMerge, DroppedWithoutCommitNothingHappened) {
  {
    auto merge = store_->begin_merge();
    ASSERT_OK(merge);
    ASSERT_OK((*merge)->put(1, "key", row_of("value")));  // takes a slot, too
  }
  EXPECT_EQ(snapshot_of(*store_)->entries(1), 0u);
  EXPECT_EQ(store_->stats().value().tables, 0u);
  ASSERT_OK(put_one(*store_, 2, "other", row_of("value")));
  auto snapshot = snapshot_of(*store_);
  EXPECT_FALSE(value_of(*snapshot, 1, "key"));
  EXPECT_TRUE(value_of(*snapshot, 2, "other"));
}

TEST_F(StoreMerge, OneWriterAtATime) {
  auto merge = store_->begin_merge();
  ASSERT_OK(merge);
  EXPECT_EQ(store_->begin_merge().code(), Code::kMISUSE);
  EXPECT_EQ(store_->set_meta("name", "value").code(), Code::kMISUSE);
  ASSERT_OK((*merge)->commit(1));
  EXPECT_EQ((*merge)->commit(2).code(), Code::kMISUSE);
  EXPECT_EQ((*merge)->put(1, "key", row_of("value")).code(), Code::kMISUSE);
  ASSERT_OK(store_->begin_merge());  // although the old object still lives
}

// Far more tables than a page of the directory, all new in one merge, with numbers near and far.
TEST_F(StoreMerge, ManyTables) {
  const auto table_of = [](int i) { return static_cast<TableId>(i % 3 == 0 ? 4'000'000'000u - i : i + 1); };
  constexpr int kTables = 400;
  auto before = snapshot_of(*store_);
  auto merge = store_->begin_merge();
  ASSERT_OK(merge);
  for (int round = 0; round < 3; ++round) {  // in an order that changes the table with every row
    for (int i = 0; i < kTables; ++i) {
      ASSERT_OK((*merge)->put(table_of(i), "key" + std::to_string(round), row_of(std::to_string(i))));
    }
  }
  auto during = snapshot_of(*store_);  // new slots exist in the merge, and must not disturb
  ASSERT_OK((*merge)->commit(1));
  for (int reopened = 0; reopened < 2; ++reopened) {
    auto snapshot = snapshot_of(*store_);
    for (int i = 0; i < kTables; ++i) {
      ASSERT_EQ(snapshot->entries(table_of(i)), 3u);
      ASSERT_EQ(value_of(*snapshot, table_of(i), "key2"), std::to_string(i));
      if (reopened == 0) {
        ASSERT_FALSE(value_of(*before, table_of(i), "key2"));
        ASSERT_FALSE(value_of(*during, table_of(i), "key2"));
      }
    }
    EXPECT_EQ(snapshot->entries(500), 0u);
    EXPECT_EQ(store_->stats().value().tables, 400u);
    snapshot.reset();
    before.reset();
    during.reset();
    reopen();
  }
}

TEST_F(StoreMerge, TablesMaxIsALimit) {
  store_.reset();
  StoreOptions options = options_for(directory_);
  options.tables_max = 3;
  auto store = Store::open(options);
  ASSERT_OK(store);
  for (TableId table = 1; table <= 3; ++table) ASSERT_OK(put_one(**store, table, "key", row_of("value"), table));
  {
    auto merge = (*store)->begin_merge();
    ASSERT_OK(merge);
    EXPECT_EQ((*merge)->put(4, "key", row_of("value")).code(), Code::kLIMIT);
    EXPECT_EQ((*merge)->commit(4).code(), Code::kLIMIT);  // a merge that lost a row must not commit
  }
  auto merge = (*store)->begin_merge();
  ASSERT_OK(merge);
  ASSERT_OK((*merge)->drop_table(2));
  ASSERT_OK((*merge)->put(4, "key", row_of("value")));
  ASSERT_OK((*merge)->commit(5));
  EXPECT_TRUE(value_of(*snapshot_of(**store), 4, "key"));
  store->reset();
  options.tables_max = 1000;
  ASSERT_OK(Store::open(options));
}

TEST_F(StoreMerge, OpenedWithFewerTablesThanThereAre) {
  for (TableId table = 1; table <= 20; ++table) ASSERT_OK(put_one(*store_, table, "key", row_of("value"), table));
  store_.reset();
  StoreOptions options = options_for(directory_);
  options.tables_max = 5;
  auto store = Store::open(options);
  ASSERT_OK(store);
  EXPECT_EQ((*store)->snapshot().code(), Code::kLIMIT);
}

// A dropped table's slot serves the next one, and a snapshot from before still sees the rows of the first.
TEST_F(StoreMerge, DropAndReuse) {
  std::vector<std::pair<TableId, std::shared_ptr<const Snapshot>>> snapshots;
  for (TableId table = 1; table <= 40; ++table) {
    auto merge = store_->begin_merge();
    ASSERT_OK(merge);
    ASSERT_OK((*merge)->drop_table(table - 1));
    for (int i = 0; i < 300; ++i) ASSERT_OK((*merge)->put(table, std::to_string(i), row_of(std::to_string(table))));
    if (table % 5 == 0) {  // dropped in the same merge that made it
      ASSERT_OK((*merge)->put(1000, "key", row_of("value")));
      ASSERT_OK((*merge)->drop_table(1000));
    }
    ASSERT_OK((*merge)->commit(table));
    snapshots.emplace_back(table, snapshot_of(*store_));
  }
  for (const auto& [table, snapshot] : snapshots) {
    EXPECT_EQ(snapshot->entries(table), 300u);
    EXPECT_EQ(snapshot->entries(table - 1), 0u);
    EXPECT_EQ(snapshot->entries(1000), 0u);
    EXPECT_EQ(rows_of(*snapshot, table).begin()->second, std::to_string(table));
    EXPECT_FALSE(value_of(*snapshot, table + 1, "1"));
  }
  EXPECT_EQ(store_->stats().value().tables, 1u);
  const auto directory = store_->get_meta(kDirectoryKey);
  ASSERT_OK(directory);
  DirectoryRecord record;
  ASSERT_EQ(directory.value().size(), sizeof record);
  std::memcpy(&record, directory.value().data(), sizeof record);
  EXPECT_LE(record.slots, 2u);  // reused, not piled up
}

// Tables come into being in one process while another has the base open and an old snapshot in hand.
TEST_F(StoreMerge, TablesOfAnotherProcess) {
  store_.reset();
  int to_child[2], to_parent[2];
  ASSERT_EQ(pipe(to_child), 0);
  ASSERT_EQ(pipe(to_parent), 0);
  constexpr TableId kRounds = 40;
  char byte = 'x';
  const pid_t child = fork_child([&] {
    auto store = Store::open(options_for(directory_));
    if (!store.ok()) return 1;
    auto old = snapshot_of(**store);
    if (write(to_parent[1], &byte, 1) != 1) return 7;
    for (TableId round = 1; round <= kRounds; ++round) {
      if (read(to_child[0], &byte, 1) != 1) return 2;
      auto snapshot = snapshot_of(**store);
      for (TableId table = 1; table <= round; ++table) {  // all of ours and theirs
        if (value_of(*snapshot, table, "key") != std::to_string(table)) return 3;
        if (old->entries(table) != 0) return 4;
      }
      if (round % 2 == 0 && !put_one(**store, round + 1, "key", row_of(std::to_string(round + 1)), round + 1).ok())
        return 5;
      if (write(to_parent[1], &byte, 1) != 1) return 6;
    }
    return 0;
  });
  close(to_parent[1]);  // so that a child that gives up ends our reads
  reopen();
  ASSERT_EQ(read(to_parent[0], &byte, 1), 1);
  auto old = snapshot_of(*store_);
  ASSERT_OK(put_one(*store_, 1, "key", row_of("1"), 1));
  for (TableId round = 1; round <= kRounds; ++round) {
    ASSERT_EQ(write(to_child[1], &byte, 1), 1);
    ASSERT_EQ(read(to_parent[0], &byte, 1), 1);
    if (round % 2 == 1) {
      ASSERT_OK(put_one(*store_, round + 1, "key", row_of(std::to_string(round + 1)), round + 1));
    }
    ASSERT_EQ(old->entries(round), 0u);
    ASSERT_EQ(value_of(*snapshot_of(*store_), round + 1, "key"), std::to_string(round + 1));
  }
  EXPECT_EQ(wait_child(child), 0);
  for (int fd : {to_child[0], to_child[1], to_parent[0]}) close(fd);
}

// A merge killed before its commit never happened; killed after, it all did. Either way the next one goes on at once,
// in a process that had the base open all the time.
TEST_F(StoreMerge, KilledMerge) {
  for (const auto& [point, applied] :
       {std::pair{"store.merge.before_commit", 1u}, std::pair{"store.merge.committed", 2u}}) {
    SCOPED_TRACE(point);
    ASSERT_OK(put_one(*store_, 1, "key", row_of("one", 1), 1));
    store_.reset();
    int ready[2], go[2];
    ASSERT_EQ(pipe(ready), 0);
    ASSERT_EQ(pipe(go), 0);
    char byte = 'x';
    const pid_t witness = fork_child([&] {
      auto store = Store::open(options_for(directory_));
      if (!store.ok()) return 1;
      auto old = snapshot_of(**store);
      if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1) return 2;
      auto snapshot = snapshot_of(**store);
      if (snapshot->applied_csn() != applied || old->applied_csn() != 1) return 3;
      if (value_of(*snapshot, 1, "key") != (applied == 1 ? "one" : "two")) return 4;
      if (snapshot->entries(2) != (applied == 1 ? 0u : 1000u)) return 5;
      return put_one(**store, 3, "key", row_of("three"), 3).ok() ? 0 : 6;
    });
    ASSERT_EQ(read(ready[0], &byte, 1), 1);
    const pid_t victim = fork_child([&] {
      auto store = Store::open(options_for(directory_));
      if (!store.ok()) return 1;
      platform::arm(std::string(point) + ":kill");
      auto merge = (*store)->begin_merge();
      if (!merge.ok() || !(*merge)->put(1, "key", row_of("two", 2)).ok()) return 2;
      for (int i = 0; i < 1000; ++i) {
        if (!(*merge)->put(2, std::to_string(i), row_of("many", 2)).ok()) return 3;
      }
      (void)(*merge)->commit(2);
      return 4;
    });
    EXPECT_EQ(wait_child(victim), 1000 + SIGKILL);
    ASSERT_EQ(write(go[1], &byte, 1), 1);
    EXPECT_EQ(wait_child(witness), 0);
    for (int fd : {ready[0], ready[1], go[0], go[1]}) close(fd);
    reopen();
    EXPECT_EQ(snapshot_of(*store_)->applied_csn(), 3u);
    auto merge = store_->begin_merge();
    ASSERT_OK(merge);
    for (TableId table = 1; table <= 3; ++table) ASSERT_OK((*merge)->drop_table(table));
    ASSERT_OK((*merge)->commit(4));
  }
}

// Killed at moments nobody chose: the victim merges as fast as it can, and whatever is found must be one of its
// commits.
TEST_F(StoreMerge, KilledAnywhere) {
  store_.reset();
  Csn applied_before = 0;
  int started[2];
  ASSERT_EQ(pipe(started), 0);
  char byte = 'x';
  for (int round = 0; round < (kSanitized ? 10 : 25); ++round) {
    const pid_t victim = fork_child([&] {
      auto store = Store::open(options_for(directory_));
      if (!store.ok()) return 1;
      for (Csn csn = snapshot_of(**store)->applied_csn() + 1;; ++csn) {
        auto merge = (*store)->begin_merge();
        if (!merge.ok()) return 2;
        for (TableId table = 1; table <= 20; ++table) {
          const std::string key = "key" + std::to_string(csn % 50);
          if (!(*merge)->put(table + csn % 3, key, row_of(std::to_string(csn), csn)).ok()) return 3;
          if (!(*merge)->put(table, "csn", row_of(std::to_string(csn), csn)).ok()) return 3;
        }
        if (csn % 10 == 0 && !(*merge)->drop_table(1 + csn % 5).ok()) return 4;
        if (!(*merge)->put(99, "csn", row_of(std::to_string(csn), csn)).ok()) return 5;
        if (!(*merge)->commit(csn).ok()) return 6;
        if (write(started[1], &byte, 1) != 1) return 7;
      }
    });
    ASSERT_EQ(read(started[0], &byte, 1), 1);
    usleep(static_cast<useconds_t>(round) * 777);
    kill(victim, SIGKILL);
    ASSERT_EQ(wait_child(victim), 1000 + SIGKILL);
    auto store = Store::open(options_for(directory_));
    ASSERT_OK(store);
    auto snapshot = snapshot_of(**store);
    const Csn applied = snapshot->applied_csn();
    EXPECT_GT(applied, applied_before);
    applied_before = applied;
    ASSERT_EQ(value_of(*snapshot, 99, "csn"), std::to_string(applied));
    for (TableId table = 6; table <= 20; ++table) ASSERT_EQ(value_of(*snapshot, table, "csn"), std::to_string(applied));
    std::vector<char> rest(1 << 16);  // what the victim told after its first commit
    pollfd more{started[0], POLLIN, 0};
    while (poll(&more, 1, 0) == 1) ASSERT_GT(read(started[0], rest.data(), rest.size()), 0);
  }
  close(started[0]);
  close(started[1]);
}

TEST_F(StoreMerge, FailedCommit) {
  if (!platform::kTestPoints) GTEST_SKIP() << "built without test points";
  ASSERT_OK(put_one(*store_, 1, "key", row_of("one"), 1));
  for (const auto& [error, code] : {std::pair{EIO, Code::kIO_ERROR}, std::pair{ENOSPC, Code::kDISK_FULL}}) {
    platform::arm("store.commit:errno=" + std::to_string(error));
    auto merge = store_->begin_merge();
    ASSERT_OK(merge);
    ASSERT_OK((*merge)->put(1, "key", row_of("two")));
    ASSERT_OK((*merge)->put(50, "key", row_of("in a new slot")));
    EXPECT_EQ((*merge)->commit(2).code(), code);
    platform::arm("");
    auto snapshot = snapshot_of(*store_);
    EXPECT_EQ(snapshot->applied_csn(), 1u);
    EXPECT_EQ(value_of(*snapshot, 1, "key"), "one");
    EXPECT_EQ(snapshot->entries(50), 0u);
  }
  ASSERT_OK(put_one(*store_, 50, "key", row_of("now"), 2));
  EXPECT_EQ(value_of(*snapshot_of(*store_), 50, "key"), "now");
}

// A large merge of its own pages: LMDB has to spill dirty pages to the file before the commit (from 131,071 on).
TEST_F(StoreMerge, LargerThanTheDirtyList) {
  if (kSanitized) GTEST_SKIP() << "half a gigabyte";
  const std::string value(3900, 'v');
  auto merge = store_->begin_merge();
  ASSERT_OK(merge);
  char key[8];
  for (std::uint64_t i = 0; i < 150'000; ++i) {
    store_be64(key, i * 7919 % 150'000);
    ASSERT_OK((*merge)->put(1, Bytes(key, 8), row_of(value)));
  }
  ASSERT_OK((*merge)->commit(1));
  EXPECT_EQ(snapshot_of(*store_)->entries(1), 150'000u);
}

}  // namespace
}  // namespace hf::store
