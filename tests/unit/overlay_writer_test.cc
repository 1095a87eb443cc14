// SPDX-License-Identifier: Apache-2.0
// Goal: readers always see published commits whole, whatever the writer does meanwhile; and a commit that a killed
// writer left half inserted becomes whole by inserting it again, without losing a byte of room.
// Method: threads that check everything they read; children killed at each test point and at random instants.
#include <thread>

#include "unit/overlay_fixture.h"

namespace hf::overlay {
namespace {

// --- concurrent readers ------------------------------------------------------------------------------------------

constexpr const char* kHotKeys[] = {"a", "b", "c"};

std::string cold_key(Csn csn) {
  char key[16];
  store_be64(key, csn * 0x9e3779b97f4a7c15u);  // scattered, and distinct
  store_be64(key + 8, csn);
  return std::string(key, sizeof key);
}

// Commit `csn` writes three hot rows and one row of its own.
Commit reader_commit(Csn csn) {
  Commit commit;
  for (const char* key : kHotKeys) commit.push_back(RowChange{1, key, std::to_string(csn)});
  commit.push_back(RowChange{2, cold_key(csn), std::to_string(csn)});
  return commit;
}

bool find_newest_first(const std::vector<SegmentRef>& segments, TableId table, Bytes key, Csn snapshot, Version* out) {
  for (const SegmentRef& segment : segments) {
    if (segment->find(table, key, row_hash(table, key), snapshot, out)) return true;
  }
  return false;
}

// Rows of table 2 that are visible at the snapshot; the order of the walk is checked.
Csn count_cold(const Segment& segment, Csn snapshot, bool forward) {
  Csn count = 0;
  std::string last;
  Iterator row(segment);
  forward ? row.seek_at_or_after(2, "") : row.seek_before(3, "");
  for (; row.valid() && row.table() == 2; forward ? row.next() : row.prev()) {
    const bool is_in_order = last.empty() || (forward ? Bytes(last) < row.key() : row.key() < Bytes(last));
    EXPECT_TRUE(is_in_order);
    last = row.key();
    Version version;
    if (!row.version(snapshot, &version)) continue;
    EXPECT_EQ(row.key(), cold_key(version.csn));
    ++count;
  }
  return count;
}

void read_until(Overlay& overlay, const Shared& shared, Csn end, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<SegmentRef> segments;
  std::uint64_t layout = 0;
  for (Csn snapshot = 0; snapshot < end && !testing::Test::HasFailure();) {
    snapshot = shared.published.load(std::memory_order_acquire);
    if (const std::uint64_t now = overlay.layout_version(); now != layout || segments.empty()) {
      segments = std::move(overlay.segments_after(0)).value();
      layout = now;
    }
    EXPECT_TRUE(overlay.touch_ahead(1000).ok());
    const std::string coming = cold_key(snapshot + 1);
    segments.front()->warm(2, coming, row_hash(2, coming));
    if (snapshot == 0) continue;
    for (const char* key : kHotKeys) {
      Version version;
      ASSERT_TRUE(find_newest_first(segments, 1, key, snapshot, &version));
      ASSERT_EQ(version.csn, snapshot);
      ASSERT_EQ(version.value, std::to_string(snapshot));
    }
    const Csn any = 1 + random() % snapshot;
    Version version;
    ASSERT_TRUE(find_newest_first(segments, 2, cold_key(any), snapshot, &version));
    ASSERT_EQ(version.csn, any);
    Csn changed = 0;
    for (const SegmentRef& segment : segments) {
      changed = std::max(changed, segment->changed_in_range(1, "b", "b", true, true, snapshot - 1));
    }
    ASSERT_GE(changed, snapshot);
    if (random() % 8 == 0) {
      Csn count = 0;
      const bool forward = random() % 2 == 0;
      for (const SegmentRef& segment : segments) count += count_cold(*segment, snapshot, forward);
      ASSERT_EQ(count, snapshot);
    }
  }
}

TEST(OverlayWriter, ReadersSeeWholeCommitsWhileOneWrites) {
  constexpr Csn kCommits = 6000;
  World world(64u << 20, 256u << 10);
  std::vector<std::thread> readers;
  for (std::uint64_t i = 0; i < 3; ++i) {
    readers.emplace_back([&, i] { read_until(world.overlay(), world.shared(), kCommits, i); });
  }
  for (Csn csn = 1; csn <= kCommits && !testing::Test::HasFailure(); ++csn) {
    run_commit(world.overlay(), csn, reader_commit(csn));
    world.shared().published.store(csn, std::memory_order_release);
    if (csn % 50 == 0) ::usleep(500);  // on few cores the readers need the time
  }
  world.shared().published.store(kCommits, std::memory_order_release);  // also after a failure: readers must end
  for (std::thread& reader : readers) reader.join();
  EXPECT_GT(world.overlay().segments_after(0)->size(), 2u) << "the test wants rotations";
}

// --- idempotence and kills ---------------------------------------------------------------------------------------

TEST(OverlayWriter, InsertIsIdempotent) {
  World world, twin;
  Model model;
  for (Csn csn = 1; csn <= 500; ++csn) {
    const Commit commit = make_commit(4, csn);
    ASSERT_NO_FATAL_FAILURE(run_commit(world.overlay(), csn, commit));
    ASSERT_NO_FATAL_FAILURE(run_commit(world.overlay(), csn, commit));
    ASSERT_NO_FATAL_FAILURE(run_commit(twin.overlay(), csn, commit));
    model.apply(csn, commit);
  }
  ASSERT_NO_FATAL_FAILURE(expect_overlay(world.overlay(), model, 500, 500));
  EXPECT_EQ(world.overlay().stats().bytes_used, twin.overlay().stats().bytes_used);
}

// What the next latch owner does after a kill. Returns the csn that is published then.
Csn take_over(World& world, std::uint64_t seed) {
  Overlay& overlay = world.overlay();
  overlay.finish_rotation();
  const Csn csn = world.shared().published.load() + 1;
  EXPECT_TRUE(overlay.map_active().ok());
  run_commit(overlay, csn, make_commit(seed, csn));
  world.shared().published.store(csn);
  return csn;
}

void run_commits(Overlay& overlay, Shared& shared, std::uint64_t seed, Csn last) {
  for (Csn csn = shared.published.load() + 1; csn <= last; ++csn) {
    run_commit(overlay, csn, make_commit(seed, csn));
    shared.published.store(csn);
  }
}

class OverlayKill : public testing::TestWithParam<const char*> {};

TEST_P(OverlayKill, RepeatingTheCommitRepairs) {
  if (!platform::kTestPoints) GTEST_SKIP() << "built without test points";
  constexpr std::uint64_t kSeed = 6;
  World world, twin;
  Model model;
  Csn published = 0;
  for (int round = 0; round < 60; ++round) {
    const pid_t pid = world.spawn([&](Overlay& overlay) {
      platform::arm(std::string(GetParam()) + ":kill:" + std::to_string(1 + round * 7 % 40));
      run_commits(overlay, world.shared(), kSeed, published + 40);
    });
    const int status = World::wait_for(pid);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << "not killed, status " << status;
    const Csn now = take_over(world, kSeed);
    for (Csn csn = published + 1; csn <= now; ++csn) {
      const Commit commit = make_commit(kSeed, csn);
      model.apply(csn, commit);
      ASSERT_NO_FATAL_FAILURE(run_commit(twin.overlay(), csn, commit));
    }
    published = now;
    ASSERT_NO_FATAL_FAILURE(expect_overlay(world.overlay(), model, published, published)) << "round " << round;
    // Not a byte is lost to the kill.
    ASSERT_EQ(world.overlay().stats().bytes_used, twin.overlay().stats().bytes_used) << "round " << round;
  }
  EXPECT_EQ(world.overlay().segments_after(0)->size(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Points, OverlayKill,
                         testing::Values("overlay.insert.allocated", "overlay.insert.linked", "overlay.insert.hashed"),
                         [](const auto& info) {
                           std::string name = info.param;
                           return name.substr(name.rfind('.') + 1);
                         });

// Goal: before anybody repairs, readers are unharmed: the half inserted row stands in the order, in both directions,
// without a visible version.
TEST(OverlayKillAnywhere, ReadersDoNotWaitForTheRepair) {
  if (!platform::kTestPoints) GTEST_SKIP() << "built without test points";
  World world;
  for (Csn csn = 1; csn <= 2; ++csn) {
    ASSERT_NO_FATAL_FAILURE(run_commit(world.overlay(), csn, {RowChange{1, csn == 1 ? "a" : "c", "v"}}));
  }
  const pid_t pid = world.spawn([&](Overlay& overlay) {
    platform::arm("overlay.insert.linked:kill:1");
    run_commit(overlay, 3, {RowChange{1, "b", "v"}});
  });
  ASSERT_TRUE(WIFSIGNALED(World::wait_for(pid)));
  const SegmentRef segment = world.overlay().segments_after(0)->front();
  Version version;
  EXPECT_FALSE(segment->find(1, "b", row_hash(1, "b"), 2, &version));
  Iterator row(*segment);
  row.seek_before(2, "");
  for (const char* key : {"c", "b", "a"}) {
    ASSERT_TRUE(row.valid());
    EXPECT_EQ(row.key(), key);
    EXPECT_EQ(row.version(2, &version), Bytes(key) != "b");
    row.prev();
  }
  EXPECT_FALSE(row.valid());
}

TEST(OverlayKillAnywhere, RepeatingTheCommitRepairs) {
  const std::uint64_t seed = 11;
  World world(128u << 20, 256u << 10);
  Model model;
  std::mt19937_64 random(seed);
  Csn published = 0;
  for (int round = 0; round < 40; ++round) {
    const pid_t pid =
        world.spawn([&](Overlay& overlay) { run_commits(overlay, world.shared(), seed, published + 100'000); });
    ::usleep(static_cast<useconds_t>(1000 + random() % 8000));
    ::kill(pid, SIGKILL);
    World::wait_for(pid);
    const Csn now = take_over(world, seed);
    for (Csn csn = published + 1; csn <= now; ++csn) model.apply(csn, make_commit(seed, csn));
    published = now;
    if (round % 8 == 7) {
      ASSERT_NO_FATAL_FAILURE(expect_overlay(world.overlay(), model, published, published)) << "round " << round;
    }
  }
  ASSERT_NO_FATAL_FAILURE(expect_overlay(world.overlay(), model, published / 2, published));
  EXPECT_GT(published, 40u);
}

}  // namespace
}  // namespace hf::overlay
