// SPDX-License-Identifier: Apache-2.0
// Goal: find, seeks, walks and changed_in_range answer as a sorted map of versions does. Method: random commits whose
// keys are hard to order (shared prefixes, zeros at the end, all lengths), compared with the model at random snapshots.
#include "unit/overlay_fixture.h"

namespace hf::overlay {
namespace {

constexpr Csn kCommits = 3000;

// A position in the model, for seeks: any row of the segment's, or a key beside one.
Model::RowId random_place(std::mt19937_64& random, const Model& model) {
  if (random() % 2 == 0) {
    return {static_cast<TableId>(random() % 7 + (random() % 4 == 0 ? 4096 : 0)), hard_key(random)};
  }
  Model::RowId place = std::next(model.rows.begin(), static_cast<long>(random() % model.rows.size()))->first;
  if (random() % 3 == 0) place.second += '\0';
  if (random() % 5 == 0 && !place.second.empty()) place.second.pop_back();
  return place;
}

void expect_at(const Iterator& row, const Model& model,
               std::map<Model::RowId, std::vector<Model::Entry>>::const_iterator wanted, bool none) {
  ASSERT_EQ(row.valid(), !none && wanted != model.rows.end());
  if (!row.valid()) return;
  ASSERT_EQ(row.table(), wanted->first.first);
  ASSERT_EQ(row.key(), Bytes(wanted->first.second));
}

class OverlaySegment : public testing::TestWithParam<std::uint64_t> {
 protected:
  void SetUp() override {
    for (Csn csn = 1; csn <= kCommits; ++csn) {
      const Commit commit = make_commit(GetParam(), csn);
      ASSERT_NO_FATAL_FAILURE(run_commit(world_.overlay(), csn, commit));
      model_.apply(csn, commit);
    }
    Result<std::vector<SegmentRef>> segments = world_.overlay().segments_after(0);
    ASSERT_TRUE(segments.ok());
    ASSERT_EQ(segments->size(), 1u);
    segment_ = segments->front();
  }

  World world_{64u << 20, 8u << 20};
  Model model_;
  SegmentRef segment_;
};

TEST_P(OverlaySegment, AnswersAsTheModelAtAnySnapshot) {
  std::mt19937_64 random(GetParam());
  EXPECT_EQ(segment_->rows(), model_.rows.size());
  for (const Csn snapshot :
       {Csn{0}, Csn{1}, random() % kCommits, random() % kCommits, kCommits - 1, kCommits, kCsnMax}) {
    ASSERT_NO_FATAL_FAILURE(expect_segment(*segment_, model_, snapshot, kCommits)) << "snapshot " << snapshot;
  }
}

TEST_P(OverlaySegment, AbsentRowsAreAbsent) {
  std::mt19937_64 random(GetParam() + 1);
  for (int i = 0; i < 20000; ++i) {
    const Model::RowId place = random_place(random, model_);
    Version version;
    EXPECT_EQ(segment_->find(place.first, place.second, row_hash(place.first, place.second), kCsnMax, &version),
              model_.rows.contains(place));
  }
  EXPECT_FALSE(segment_->has_table(77));
  EXPECT_EQ(segment_->changed_in_range(77, "", "", false, false, 0), 0u);
}

TEST_P(OverlaySegment, SeeksAsTheModel) {
  std::mt19937_64 random(GetParam() + 2);
  for (int i = 0; i < 20000; ++i) {
    const Model::RowId place = random_place(random, model_);
    const auto at_or_after = model_.rows.lower_bound(place);
    const auto after = model_.rows.upper_bound(place);
    Iterator row(*segment_);
    row.seek_at_or_after(place.first, place.second);
    ASSERT_NO_FATAL_FAILURE(expect_at(row, model_, at_or_after, false));
    row.seek_before(place.first, place.second);
    const bool none_before = at_or_after == model_.rows.begin();
    ASSERT_NO_FATAL_FAILURE(
        expect_at(row, model_, none_before ? model_.rows.end() : std::prev(at_or_after), none_before));
    row.seek_at_or_before(place.first, place.second);
    const bool none = after == model_.rows.begin();
    ASSERT_NO_FATAL_FAILURE(expect_at(row, model_, none ? model_.rows.end() : std::prev(after), none));
    // There and back.
    if (row.valid() && after != model_.rows.end()) {
      row.next();
      ASSERT_NO_FATAL_FAILURE(expect_at(row, model_, after, false));
      row.prev();
      ASSERT_NO_FATAL_FAILURE(expect_at(row, model_, std::prev(after), false));
    }
  }
}

TEST_P(OverlaySegment, ChangedInRangeAsTheModel) {
  std::mt19937_64 random(GetParam() + 3);
  for (int i = 0; i < 5000; ++i) {
    const Model::RowId low = random_place(random, model_);
    const Model::RowId high{low.first, random_place(random, model_).second};
    const bool has_high = random() % 4 != 0;
    const bool inclusive = random() % 2 != 0;
    const Csn after = kCommits - random() % (random() % 2 == 0 ? 50 : kCommits);
    Csn wanted = 0;
    for (auto row = model_.rows.lower_bound(low); row != model_.rows.end() && row->first.first == low.first; ++row) {
      if (has_high && (inclusive ? row->first > high : row->first >= high)) break;
      wanted = std::max(wanted, row->second.back().csn);
    }
    if (wanted <= after) wanted = 0;
    ASSERT_EQ(segment_->changed_in_range(low.first, low.second, high.second, has_high, inclusive, after), wanted);
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, OverlaySegment, testing::Values(1, 2, 3));

// Goal: the order of two rows is that of (table, key bytes) for every pair of awkward keys, in either order of
// insertion.
TEST(OverlaySegmentOrder, PrefixTies) {
  const std::vector<std::string> keys = {"",
                                         std::string(1, '\0'),
                                         std::string(8, '\0'),
                                         std::string(9, '\0'),
                                         std::string(511, '\0'),
                                         "a",
                                         std::string("a\0", 2),
                                         std::string("a\0\0\0\0\0\0\0", 8),
                                         std::string("a\0\0\0\0\0\0\0\0", 9),
                                         std::string("a\0\0\0\0\0\0\0x", 9),
                                         std::string("a\0x", 3),
                                         "abcdefgh",
                                         "abcdefgha",
                                         "abcdefghb",
                                         std::string("abcdefgh\0", 9),
                                         std::string("abcdefgh") + std::string(503, 'z'),
                                         std::string("abcdefgh") + std::string(502, 'z'),
                                         std::string(8, '\xff'),
                                         std::string(9, '\xff'),
                                         std::string(511, '\xff')};
  std::mt19937_64 random(5);
  for (int round = 0; round < 50; ++round) {
    World world(1u << 20, 128u << 10);
    Model model;
    std::vector<std::string> order = keys;
    std::shuffle(order.begin(), order.end(), random);
    Csn csn = 0;
    for (const std::string& key : order) {
      const Commit commit = {RowChange{1 + static_cast<TableId>(random() % 2), key, key}};
      ASSERT_NO_FATAL_FAILURE(run_commit(world.overlay(), ++csn, commit));
      model.apply(csn, commit);
      ASSERT_NO_FATAL_FAILURE(expect_overlay(world.overlay(), model, csn, csn));
    }
  }
}

// Goal: a hot row with very many versions is found at old and new snapshots, and is one row in scans.
TEST(OverlaySegmentOrder, HotRow) {
  World world(64u << 20, 16u << 20);
  constexpr Csn kVersions = 100'000;
  for (Csn csn = 1; csn <= kVersions; ++csn) {
    ASSERT_NO_FATAL_FAILURE(run_commit(world.overlay(), csn, {RowChange{1, "hot", std::to_string(csn)}}));
  }
  const SegmentRef segment = world.overlay().segments_after(0)->front();
  for (const Csn snapshot : {Csn{1}, kVersions / 2, kVersions}) {
    Version version;
    ASSERT_TRUE(segment->find(1, "hot", row_hash(1, "hot"), snapshot, &version));
    EXPECT_EQ(version.value, std::to_string(snapshot));
  }
  EXPECT_EQ(segment->rows(), 1u);
}

}  // namespace
}  // namespace hf::overlay
