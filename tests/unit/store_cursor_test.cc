// SPDX-License-Identifier: Apache-2.0
// Goal: merges and cursors do what a std::map does, for every kind of key and value.
// Method: random merges on the base and a map; after each, every way to position a cursor is compared. Seeds printed.
#include <random>

#include "store_testing.h"

namespace hf::store {
namespace {

using namespace testing;
using Model = std::map<std::string, std::string>;

constexpr TableId kTable = 5;

class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {}
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

  std::string key() {
    switch (below(6)) {
      case 0:
        return std::string(1, static_cast<char>(below(256)));
      case 1:
        return std::string(kKeySizeMax, static_cast<char>('a' + below(20)));  // as long as a key may be
      case 2:
        return std::string(kKeySizeMax - 1, 'm') + static_cast<char>(below(256));  // differ in the last byte
      case 3:
        return std::string(1 + below(4), '\0') + static_cast<char>(below(3));
      default:
        return "key" + std::to_string(below(500));
    }
  }
  std::string value() {
    switch (below(8)) {
      case 0:
        return "";
      case 1:
        return std::string(2000 + below(100), 'x');  // around the page split and compose limits
      case 2:
        return std::string(3000 + below(20'000), 'y');  // overflow pages
      default:
        return std::string(below(200), static_cast<char>(below(256)));
    }
  }

 private:
  std::mt19937_64 random_;
};

// The cursor must stand on `expected`, or nowhere when that is the end.
void expect_at(Result<bool> on, Cursor& cursor, const Model& model, Model::const_iterator expected) {
  ASSERT_OK(on);
  ASSERT_EQ(*on, expected != model.end());
  ASSERT_EQ(cursor.valid(), *on);
  if (!*on) return;
  ASSERT_EQ(cursor.key(), expected->first);
  ASSERT_EQ(cursor.row().value, expected->second);
}

Model::const_iterator before(const Model& model, Model::const_iterator at) {
  return at == model.begin() ? model.end() : std::prev(at);
}

void compare_scans(const Snapshot& snapshot, const Model& model) {
  auto cursor = Cursor::open(snapshot, kTable);
  ASSERT_OK(cursor);
  auto at = model.begin();
  Result<bool> on = cursor->first();
  for (; at != model.end(); ++at, on = cursor->next()) ASSERT_NO_FATAL_FAILURE(expect_at(on, *cursor, model, at));
  ASSERT_NO_FATAL_FAILURE(expect_at(on, *cursor, model, model.end()));
  ASSERT_FALSE(cursor->next().value());
  ASSERT_FALSE(cursor->prev().value());
  on = cursor->last();
  for (at = before(model, model.end()); at != model.end(); at = before(model, at), on = cursor->prev()) {
    ASSERT_NO_FATAL_FAILURE(expect_at(on, *cursor, model, at));
  }
  ASSERT_NO_FATAL_FAILURE(expect_at(on, *cursor, model, model.end()));
}

// From one probe: both seeks on a cursor that has been anywhere, then some steps both ways.
void compare_seeks(Cursor& cursor, const Model& model, const std::string& probe, Generator& generator) {
  auto at = model.lower_bound(probe);
  ASSERT_NO_FATAL_FAILURE(expect_at(cursor.seek_at_or_after(probe), cursor, model, at));
  for (int step = 0; step < 4 && at != model.end(); ++step) {
    const bool forward = generator.below(2) == 0;
    at = forward ? std::next(at) : before(model, at);
    ASSERT_NO_FATAL_FAILURE(expect_at(forward ? cursor.next() : cursor.prev(), cursor, model, at));
  }
  at = before(model, model.lower_bound(probe));
  ASSERT_NO_FATAL_FAILURE(expect_at(cursor.seek_before(probe), cursor, model, at));
  if (at == model.end()) return;
  at = std::next(at);
  ASSERT_NO_FATAL_FAILURE(expect_at(cursor.next(), cursor, model, at));
}

void compare(const Snapshot& snapshot, const Model& model, Generator& generator) {
  ASSERT_EQ(snapshot.entries(kTable), model.size());
  ASSERT_NO_FATAL_FAILURE(compare_scans(snapshot, model));
  auto cursor = Cursor::open(snapshot, kTable);
  ASSERT_OK(cursor);
  ASSERT_NO_FATAL_FAILURE(compare_seeks(*cursor, model, "", generator));
  ASSERT_NO_FATAL_FAILURE(compare_seeks(*cursor, model, std::string(kKeySizeMax, '\xff'), generator));
  for (int i = 0; i < 60; ++i) {
    const std::string probe = generator.key();
    ASSERT_NO_FATAL_FAILURE(compare_seeks(*cursor, model, probe, generator));
    const auto found = model.find(probe);
    const auto value = value_of(snapshot, kTable, probe);
    ASSERT_EQ(value.has_value(), found != model.end());
    if (value) {
      ASSERT_EQ(*value, found->second);
    }
  }
}

void merge_randomly(Store& store, Model& model, Generator& generator, Csn csn) {
  auto merge = store.begin_merge();
  ASSERT_OK(merge);
  const unsigned erase_percent = generator.below(3) == 0 ? 90 : 20;  // some rounds nearly empty the table
  const std::uint64_t changes = generator.below(400);
  for (std::uint64_t i = 0; i < changes; ++i) {
    std::string key = generator.key();
    if (generator.below(100) < erase_percent) {
      if (generator.below(2) == 0 && !model.empty()) {
        key = std::next(model.begin(), static_cast<long>(generator.below(model.size())))->first;
      }
      ASSERT_OK((*merge)->erase(kTable, key));
      model.erase(key);
    } else {
      const std::string value = generator.value();
      // Some rows expire, in a far future: the index is kept beside, and must not disturb.
      const std::uint64_t expires_ms = generator.below(4) == 0 ? 1'000'000 + generator.below(100) : 0;
      ASSERT_OK((*merge)->put(kTable, key, row_of(value, csn, expires_ms)));
      model[key] = value;
    }
  }
  if (generator.below(10) == 0) {
    ASSERT_OK((*merge)->drop_table(kTable));
    model.clear();
    ASSERT_OK((*merge)->put(kTable, "after the drop", row_of("x", csn)));
    model["after the drop"] = "x";
  }
  ASSERT_OK((*merge)->commit(csn));
}

TEST(StoreCursor, BehavesLikeAMap) {
  const unsigned rounds = kSanitized ? 15 : 60;
  for (std::uint64_t seed : {1u, 2u, 3u}) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Directory directory;
    auto store = Store::open(options_for(directory));
    ASSERT_OK(store);
    Generator generator(seed);
    Model model;
    for (Csn csn = 1; csn <= rounds; ++csn) {
      auto old_snapshot = (*store)->snapshot();
      ASSERT_OK(old_snapshot);
      const Model old_model = model;
      ASSERT_NO_FATAL_FAILURE(merge_randomly(**store, model, generator, csn));
      auto snapshot = (*store)->snapshot();
      ASSERT_OK(snapshot);
      ASSERT_EQ((*snapshot)->applied_csn(), csn);
      ASSERT_NO_FATAL_FAILURE(compare(**snapshot, model, generator));
      ASSERT_NO_FATAL_FAILURE(compare_scans(**old_snapshot, old_model));
    }
    // Every index entry belongs to a row that is still there: all can be swept, and then nothing is left of them.
    const std::uint64_t with_expiry = [&] {
      std::uint64_t count = 0;
      auto snapshot = (*store)->snapshot();
      auto cursor = Cursor::open(**snapshot, kTable);
      for (Result<bool> on = cursor->first(); *on; on = cursor->next()) count += cursor->row().expires_ms != 0;
      return count;
    }();
    auto swept = (*store)->sweep_expired(UINT64_MAX, UINT64_MAX);
    ASSERT_OK(swept);
    EXPECT_EQ(*swept, with_expiry);
    EXPECT_EQ(snapshot_of(**store)->entries(kTable), model.size() - with_expiry);
  }
}

TEST(StoreCursor, LargestValues) {
  Directory directory;
  auto store = Store::open(options_for(directory));
  ASSERT_OK(store);
  std::string value(kValueSizeMax, 'v');
  value.front() = 'a';
  value.back() = 'z';
  ASSERT_OK(put_one(**store, kTable, std::string(kKeySizeMax, 'k'), row_of(value, kCsnMax, UINT64_MAX, 0x3f)));
  auto snapshot = (*store)->snapshot();
  Row row;
  auto found = (*snapshot)->get(kTable, std::string(kKeySizeMax, 'k'), &row);
  ASSERT_OK(found);
  ASSERT_TRUE(*found);
  EXPECT_TRUE(row.value == value);
  EXPECT_EQ(row.version, kCsnMax);
  EXPECT_EQ(row.expires_ms, UINT64_MAX);
  EXPECT_EQ(row.flags, 0x3f);
  value.assign(kValueSizeMax, 'w');  // overwritten at the same size, then shrunk
  ASSERT_OK(put_one(**store, kTable, std::string(kKeySizeMax, 'k'), row_of(value, 2)));
  EXPECT_TRUE(value_of(*snapshot_of(**store), kTable, std::string(kKeySizeMax, 'k')) == value);
  ASSERT_OK(put_one(**store, kTable, std::string(kKeySizeMax, 'k'), row_of("", 3)));
  EXPECT_EQ(value_of(*snapshot_of(**store), kTable, std::string(kKeySizeMax, 'k')), "");
}

TEST(StoreCursor, RefusesWhatIsTooLarge) {
  Directory directory;
  auto store = Store::open(options_for(directory));
  ASSERT_OK(store);
  auto merge = (*store)->begin_merge();
  ASSERT_OK(merge);
  EXPECT_EQ((*merge)->put(kTable, std::string(kKeySizeMax + 1, 'k'), row_of("v")).code(), Code::kTOO_LARGE);
  EXPECT_EQ((*merge)->put(kTable, "", row_of("v")).code(), Code::kINVALID_ARGUMENT);
  EXPECT_EQ((*merge)->put(kTable, "k", row_of(std::string(kValueSizeMax + 1, 'v'))).code(), Code::kTOO_LARGE);
  ASSERT_OK((*merge)->put(kTable, "k", row_of("v")));  // a refused argument does not spoil the merge
  ASSERT_OK((*merge)->commit(1));
  auto snapshot = (*store)->snapshot();
  EXPECT_EQ((*snapshot)->entries(kTable), 1u);
  EXPECT_EQ(value_of(**snapshot, kTable, ""), std::nullopt);
  EXPECT_EQ(value_of(**snapshot, kTable, std::string(600, 'k')), std::nullopt);
}

TEST(StoreCursor, Moves) {
  Directory directory;
  auto store = Store::open(options_for(directory));
  ASSERT_OK(store);
  ASSERT_OK(put_one(**store, kTable, "k", row_of("v")));
  auto snapshot = (*store)->snapshot();
  Cursor first = std::move(Cursor::open(**snapshot, kTable)).value();
  ASSERT_TRUE(first.first().value());
  Cursor second = std::move(first);
  EXPECT_EQ(second.key(), "k");
  second = std::move(Cursor::open(**snapshot, kTable)).value();
  EXPECT_FALSE(second.valid());
  EXPECT_FALSE(second.next().value());
  EXPECT_TRUE(second.last().value());
}

}  // namespace
}  // namespace hf::store
