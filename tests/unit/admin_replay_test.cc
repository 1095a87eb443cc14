// SPDX-License-Identifier: Apache-2.0
// Goal: replaying commits leaves the base as merges of the same commits would. Method: commits by hand, in one batch
// and in many, and the rows, versions and tables looked up afterwards.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <string>

#include "admin/replay.h"

namespace hf::admin {
namespace {

using overlay::Change;
using overlay::VersionKind;

Change put(TableId table, Bytes key, Bytes value, std::uint64_t expires_ms = 0, std::uint8_t flags = 0) {
  Change change{};
  change.table = table;
  change.key = key;
  change.kind = VersionKind::kPut;
  change.value = value;
  change.expires_ms = expires_ms;
  change.flags = flags;
  return change;
}
Change erase(TableId table, Bytes key) {
  Change change = put(table, key, {});
  change.kind = VersionKind::kDelete;
  return change;
}
Change drop(TableId table) {
  Change change = put(table, {}, {});
  change.kind = VersionKind::kDropTable;
  return change;
}

class AdminReplay : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "hf-replay-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    store::StoreOptions options;
    options.directory = directory_;
    options.map_size = std::uint64_t{1} << 30;
    auto opened = store::Store::open(options);
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    store_ = std::move(opened).value();
    replay_ = std::make_unique<Replay>(*store_);
  }
  void TearDown() override {
    replay_.reset();
    store_.reset();
    std::filesystem::remove_all(directory_);
  }
  Status commit(std::vector<Change> changes) {
    Commit commit;
    commit.record.csn = ++csn_;
    commit.changes = std::move(changes);
    Status status = replay_->add(commit);
    return status.ok() && GetParam() ? replay_->finish() : status;  // each commit a batch of its own, or all one
  }
  // "version value", or "(none)".
  std::string row(TableId table, Bytes key) {
    auto snapshot = store_->snapshot();
    EXPECT_TRUE(snapshot.ok());
    store::Row found;
    auto there = (*snapshot)->get(table, key, &found);
    EXPECT_TRUE(there.ok());
    if (!there.value()) return "(none)";
    return std::to_string(found.version) + " " + std::string(found.value);
  }

  std::string directory_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<Replay> replay_;
  Csn csn_ = 0;
};

TEST_P(AdminReplay, PutsDeletesAndDrops) {
  ASSERT_TRUE(commit({put(16, "a", "1"), put(16, "b", "1"), put(17, "a", "x"), put(17, "z", "x")}).ok());
  ASSERT_TRUE(commit({put(16, "a", "2"), erase(16, "b"), put(18, "keep", "k", 5'000, 1)}).ok());
  ASSERT_TRUE(commit({erase(16, "a"), erase(16, "never there")}).ok());
  ASSERT_TRUE(commit({put(16, "a", "4"), drop(17)}).ok());
  ASSERT_TRUE(commit({put(18, "last", "5")}).ok());
  ASSERT_TRUE(replay_->finish().ok());
  EXPECT_EQ(row(16, "a"), "4 4");
  EXPECT_EQ(row(16, "b"), "(none)");
  EXPECT_EQ(row(17, "a"), "(none)");
  EXPECT_EQ(row(18, "keep"), "2 k");
  EXPECT_EQ(row(18, "last"), "5 5");
  auto snapshot = store_->snapshot();
  ASSERT_TRUE(snapshot.ok());
  EXPECT_EQ((*snapshot)->applied_csn(), 5u);
  EXPECT_EQ((*snapshot)->entries(17), 0u);
  store::Row kept;
  ASSERT_TRUE((*snapshot)->get(18, "keep", &kept).value());
  EXPECT_EQ(kept.expires_ms, 5'000u);
  EXPECT_EQ(kept.flags, 1u);
}

// The rows of a table that was merged before the replay, and is dropped in it.
TEST_P(AdminReplay, DropsWhatTheBaseHasAlready) {
  ASSERT_TRUE(commit({put(20, "old", "1"), put(21, "old", "1")}).ok());
  ASSERT_TRUE(replay_->finish().ok());
  ASSERT_TRUE(commit({put(20, "newer", "2")}).ok());
  ASSERT_TRUE(commit({drop(20), erase(21, "old")}).ok());
  ASSERT_TRUE(replay_->finish().ok());
  EXPECT_EQ(row(20, "old"), "(none)");
  EXPECT_EQ(row(20, "newer"), "(none)");
  EXPECT_EQ(row(21, "old"), "(none)");
  ASSERT_TRUE(replay_->finish().ok()) << "nothing is left to do";
}

// The catalog's row "l" marks a load, "i" gives a table its rows: together they end one.
TEST_P(AdminReplay, RefusesLoadsWhoseRowsAreMissing) {
  const std::string number("\0\0\0\x1e", 4);  // 30
  const std::string mark = "l" + number, table = "i" + std::string("\0\0\0\x10", 4);
  ASSERT_TRUE(commit({put(1, mark, "process")}).ok());
  ASSERT_TRUE(commit({erase(1, mark), drop(30)}).ok()) << "given up";
  ASSERT_TRUE(commit({put(1, table, number)}).ok()) << "made";
  const Status lost = commit({put(1, table, number), erase(1, mark)});
  EXPECT_EQ(lost.code(), Code::kSNAPSHOT_TOO_OLD);
  EXPECT_NE(lost.message().find("up to commit 3"), std::string::npos) << lost.message();
  // With its rows in the base it is an ordinary commit.
  csn_ = 3;
  ASSERT_TRUE(commit({put(30, "k", "loaded")}).ok());
  ASSERT_TRUE(replay_->finish().ok());
  EXPECT_TRUE(commit({put(1, table, number), erase(1, mark)}).ok());
}

INSTANTIATE_TEST_SUITE_P(Batches, AdminReplay, testing::Bool(),
                         [](const auto& info) { return std::string(info.param ? "OneForEachCommit" : "OneForAll"); });

}  // namespace
}  // namespace hf::admin
