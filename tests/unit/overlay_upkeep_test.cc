// SPDX-License-Identifier: Apache-2.0
// Goal: segments go round (ready, active, sealed, merged, free) within the budget; a kill in the middle of a rotation
// or of upkeep is finished by whoever comes next; processes see each other's segments, old mappings included.
#include <thread>

#include "unit/overlay_fixture.h"

namespace hf::overlay {
namespace {

std::size_t count_files(const std::string& directory) { return platform::list_directory(directory)->size(); }

// Merges and frees all that is sealed.
void merge_all(Overlay& overlay, Csn oldest_pin = kCsnMax) {
  for (;;) {
    Result<SegmentRef> segment = overlay.oldest_sealed();
    ASSERT_TRUE(segment.ok()) << segment.status().message();
    if (*segment == nullptr) break;
    overlay.set_merged(**segment);
  }
  const Status status = overlay.free_merged(oldest_pin);
  ASSERT_TRUE(status.ok()) << status.message();
}

TEST(OverlayUpkeep, RotationSplitsTheCommits) {
  World world;
  Overlay& overlay = world.overlay();
  EXPECT_FALSE(overlay.has_ready());
  EXPECT_FALSE(overlay.can_rotate(1));
  EXPECT_EQ(overlay.fullness(), 0.0);
  ASSERT_TRUE(overlay.prepare(1000).ok());
  EXPECT_TRUE(overlay.has_ready());
  EXPECT_EQ(overlay.stats().bytes_mapped, 3u << 20) << "the second segment is twice the first";
  ASSERT_NO_FATAL_FAILURE(run_commit(overlay, 1, {RowChange{1, "old", "1"}}));
  EXPECT_GT(overlay.fullness(), 0.0);
  const std::uint64_t layout = overlay.layout_version();
  overlay.rotate(1);
  EXPECT_GT(overlay.layout_version(), layout);
  ASSERT_NO_FATAL_FAILURE(run_commit(overlay, 2, {RowChange{1, "new", "2"}}));

  const std::vector<SegmentRef> segments = overlay.segments_after(0).value();
  ASSERT_EQ(segments.size(), 2u);
  EXPECT_EQ(segments[0]->first_csn(), 2u);
  EXPECT_EQ(segments[0]->last_csn(), kCsnMax);
  EXPECT_EQ(segments[1]->first_csn(), 1u);
  EXPECT_EQ(segments[1]->last_csn(), 1u);
  EXPECT_EQ(segments[0]->newest(1, "old", row_hash(1, "old")), 0u);
  EXPECT_EQ(segments[1]->newest(1, "old", row_hash(1, "old")), 1u);
  EXPECT_EQ(overlay.segments_after(1)->size(), 1u) << "the sealed one has nothing newer";

  const OverlayStats stats = overlay.stats();
  EXPECT_EQ(stats.active, 1u);
  EXPECT_EQ(stats.sealed, 1u);
  EXPECT_EQ(stats.ready, 0u);
}

TEST(OverlayUpkeep, PinsKeepMergedSegments) {
  World world;
  Overlay& overlay = world.overlay();
  ASSERT_TRUE(overlay.prepare(1000).ok());
  ASSERT_NO_FATAL_FAILURE(run_commit(overlay, 1, {RowChange{1, "k", "v"}}));
  overlay.rotate(1);
  ASSERT_NO_FATAL_FAILURE(merge_all(overlay, 0));
  EXPECT_EQ(overlay.stats().merged, 1u);
  EXPECT_EQ(overlay.segments_after(0)->size(), 2u);
  ASSERT_NO_FATAL_FAILURE(merge_all(overlay, 1));
  EXPECT_EQ(overlay.stats().merged, 0u);
  EXPECT_EQ(overlay.segments_after(0)->size(), 1u);
}

TEST(OverlayUpkeep, SizesDoubleUpToAQuarterAndFilesAreReused) {
  World world(16u << 20, 1u << 20);
  Overlay& overlay = world.overlay();
  Csn csn = 0;
  std::vector<std::uint64_t> sizes;
  for (int turn = 0; turn < 12; ++turn) {
    ASSERT_TRUE(overlay.prepare(1000).ok());
    ASSERT_NO_FATAL_FAILURE(run_commit(overlay, ++csn, {RowChange{1, std::to_string(turn), "v"}}));
    overlay.rotate(csn);
    sizes.push_back(world.shared().overlay.segments[world.shared().overlay.active].size);
    ASSERT_NO_FATAL_FAILURE(merge_all(overlay));
    EXPECT_LE(overlay.stats().bytes_mapped, 16u << 20);
  }
  EXPECT_EQ(sizes[0], 2u << 20);
  for (std::size_t i = 1; i < sizes.size(); ++i) EXPECT_EQ(sizes[i], 4u << 20);
  EXPECT_EQ(world.shared().overlay.files_made.load(), 4u) << "1, 2, 4 and 4 MiB; then they go round";
}

TEST(OverlayUpkeep, BudgetIsKept) {
  World world(4u << 20, 1u << 20);
  Overlay& overlay = world.overlay();
  const std::string value(1000, 'v');
  Csn csn = 0;
  Status status;
  for (int i = 0; i < 100'000; ++i) {
    const Commit commit = {RowChange{1, std::to_string(i), value}};
    const std::uint64_t bytes = space_of_commit(commit);
    ASSERT_TRUE(overlay.touch_ahead(bytes).ok());
    if (!overlay.has_room(bytes)) {
      status = overlay.prepare(bytes);
      if (!status.ok()) break;
      overlay.rotate(csn);
    }
    ASSERT_NO_FATAL_FAILURE(run_commit(overlay, ++csn, commit));
  }
  EXPECT_EQ(status.code(), Code::kOVERLOADED);
  EXPECT_EQ(overlay.stats().bytes_mapped, 4u << 20);
  EXPECT_EQ(overlay.stats().sealed, 3u);
  ASSERT_NO_FATAL_FAILURE(merge_all(overlay));
  EXPECT_TRUE(overlay.prepare(1000).ok());
  EXPECT_LE(overlay.stats().bytes_mapped, 4u << 20);
}

// The largest request always fits once all else is free, whatever was asked before.
TEST(OverlayUpkeep, LargeRequests) {
  World world(16u << 20, 1u << 20);
  Overlay& overlay = world.overlay();
  EXPECT_EQ(overlay.prepare(6u << 20).code(), Code::kTOO_LARGE);
  Csn csn = 0;
  for (const std::uint64_t size : {10u << 10, 3u << 20, 5u << 20, 5u << 20, 1u << 20, 5u << 20}) {
    const Commit commit = {RowChange{1, "large" + std::to_string(csn), std::string(size, 'x')}};
    ASSERT_TRUE(overlay.prepare(space_of_commit(commit)).ok()) << size;
    ASSERT_TRUE(overlay.can_rotate(space_of_commit(commit)));
    ASSERT_NO_FATAL_FAILURE(run_commit(overlay, ++csn, commit)) << size;
    EXPECT_LE(overlay.stats().ready, 1u);
    EXPECT_LE(overlay.stats().bytes_mapped, 16u << 20);
    ASSERT_NO_FATAL_FAILURE(merge_all(overlay));
  }
}

TEST(OverlayUpkeep, KilledRotationIsFinished) {
  if (!platform::kTestPoints) GTEST_SKIP() << "built without test points";
  for (const char* point : {"overlay.rotate.sealed", "overlay.rotate.activated"}) {
    World world;
    Model model;
    Commit first = make_commit(1, 1), second = make_commit(1, 2);
    ASSERT_NO_FATAL_FAILURE(run_commit(world.overlay(), 1, first));
    ASSERT_TRUE(world.overlay().prepare(100'000).ok());
    const std::uint64_t layout = world.overlay().layout_version();
    const pid_t pid = world.spawn([&](Overlay& overlay) {
      platform::arm(std::string(point) + ":kill:1");
      overlay.rotate(1);
    });
    EXPECT_TRUE(WIFSIGNALED(World::wait_for(pid)));
    // Readers meanwhile still find the published commit, and no maintainer takes the segment away.
    model.apply(1, first);
    Result<std::vector<SegmentRef>> segments = world.overlay().segments_after(0);
    ASSERT_TRUE(segments.ok());
    ASSERT_NO_FATAL_FAILURE(expect_segment(*segments->back(), model, 1, 1));
    EXPECT_FALSE(world.overlay().can_rotate(1));
    EXPECT_TRUE(world.overlay().prepare(1000).ok());

    world.overlay().finish_rotation();
    world.overlay().finish_rotation();
    EXPECT_GT(world.overlay().layout_version(), layout);
    ASSERT_NO_FATAL_FAILURE(run_commit(world.overlay(), 2, second));
    model.apply(2, second);
    ASSERT_NO_FATAL_FAILURE(expect_overlay(world.overlay(), model, 2, 2)) << point;
    EXPECT_EQ(world.overlay().stats().sealed, 1u);
    EXPECT_EQ(world.overlay().stats().active, 1u);
    EXPECT_TRUE(world.overlay().prepare(1000).ok());
    EXPECT_TRUE(world.overlay().can_rotate(1000));
  }
}

TEST(OverlayUpkeep, KilledMaintainerLeavesNothingBehind) {
  if (!platform::kTestPoints) GTEST_SKIP() << "built without test points";
  for (const char* point : {"overlay.prepare", "overlay.prepare.created"}) {
    World world;
    for (int i = 0; i < 3; ++i) {
      const pid_t pid = world.spawn([&](Overlay& overlay) {
        platform::arm(std::string(point) + ":kill:1");
        (void)overlay.prepare(1000);
      });
      EXPECT_TRUE(WIFSIGNALED(World::wait_for(pid)));
      EXPECT_FALSE(world.overlay().has_ready());
    }
    ASSERT_TRUE(world.overlay().prepare(1000).ok());
    EXPECT_EQ(count_files(world.directory()), 2u) << point;
  }
}

TEST(OverlayUpkeep, ProcessesSeeEachOther) {
  World world(16u << 20, 256u << 10);
  Model model;
  for (Csn csn = 1; csn <= 200; ++csn) model.apply(csn, make_commit(3, csn));
  for (Csn start = 0; start < 200; start += 50) {
    if (start % 100 == 0) {
      for (Csn csn = start + 1; csn <= start + 50; ++csn) {
        ASSERT_NO_FATAL_FAILURE(run_commit(world.overlay(), csn, make_commit(3, csn)));
      }
      continue;
    }
    const pid_t pid = world.spawn([&](Overlay& overlay) {
      Model seen;
      for (Csn csn = 1; csn <= start; ++csn) seen.apply(csn, make_commit(3, csn));
      expect_overlay(overlay, seen, start, start);
      for (Csn csn = start + 1; csn <= start + 50; ++csn) run_commit(overlay, csn, make_commit(3, csn));
    });
    ASSERT_EQ(World::wait_for(pid), 0);
  }
  ASSERT_NO_FATAL_FAILURE(expect_overlay(world.overlay(), model, 200, 200));
}

// Goal: a process whose cached mappings are of older uses of the files reads and writes the new ones. Two attachments
// stand for two processes: nothing process-local is common to them.
TEST(OverlayUpkeep, StaleMappingsAreNoticed) {
  World world(1u << 20, 128u << 10);
  const std::unique_ptr<Overlay> other = world.attach();
  Csn csn = 0;
  const std::string value(2000, 'v');
  for (int turn = 0; turn < 400; ++turn) {
    Overlay& writer = turn % 7 < 4 ? world.overlay() : *other;
    Overlay& reader = turn % 7 < 4 ? *other : world.overlay();
    const std::string key = std::to_string(turn);
    ASSERT_NO_FATAL_FAILURE(run_commit(writer, ++csn, {RowChange{1, key, value}}));
    const std::vector<SegmentRef> segments = reader.segments_after(csn - 1).value();
    ASSERT_EQ(segments.size(), 1u);
    ASSERT_EQ(segments[0]->newest(1, key, row_hash(1, key)), csn);
    ASSERT_EQ(segments[0]->newest(1, "none", row_hash(1, "none")), 0u);
    Iterator row(*segments[0]);
    Csn rows = 0;
    for (row.seek_at_or_after(1, ""); row.valid(); row.next()) ++rows;
    ASSERT_EQ(rows, csn - segments[0]->first_csn() + 1) << "rows of an older use, or lost ones";
    if (turn % 5 == 0) merge_all(turn % 2 == 0 ? world.overlay() : *other);
  }
  EXPECT_LT(world.shared().overlay.files_made.load(), 8u);
  EXPECT_GT(world.shared().overlay.layout_version.load(), 10u);
}

TEST(OverlayUpkeep, FailuresAreReported) {
  OverlayOptions options{testing::TempDir() + "hf_overlay_absent", 16u << 20, 1u << 20};
  auto shared = std::make_unique<OverlayShared>();
  EXPECT_FALSE(Overlay::attach(*shared, options).ok()) << "never created";
  EXPECT_FALSE(Overlay::create(*shared, options, 1).ok()) << "no directory";
  World world;
  std::unique_ptr<Overlay> other = world.attach();
  ASSERT_TRUE(platform::remove_file(world.directory() + "/overlay-1.hfo").ok());
  EXPECT_FALSE(other->segments_after(0).ok());
  EXPECT_FALSE(other->touch_ahead(100).ok());
  EXPECT_FALSE(other->has_room(100));
  EXPECT_TRUE(world.overlay().has_room(100)) << "a mapping outlives the name";
}

}  // namespace
}  // namespace hf::overlay
