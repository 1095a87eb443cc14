// SPDX-License-Identifier: Apache-2.0
// Goal: a segment's bytes are those of docs/formats.md, section "Overlay". Method: read a segment file with nothing but
// the documented numbers.
#include <fstream>

#include "unit/overlay_fixture.h"

namespace hf::overlay {
namespace {

template <typename T>
T load(const std::string& bytes, std::uint64_t at) {
  T value;
  EXPECT_LE(at + sizeof value, bytes.size());
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

TEST(OverlayFormat, FileHoldsWhatTheTablesSay) {
  World world;
  RowChange first{7, "stock:1234", "first", VersionKind::kPut, 3, 0};
  RowChange second{7, "stock:1234", "second value", VersionKind::kPut, 4, 0x1122334455667788};
  RowChange other{9, "b", "", VersionKind::kDelete, 0, 0};
  ASSERT_NO_FATAL_FAILURE(run_commit(world.overlay(), 1, {first}));
  ASSERT_NO_FATAL_FAILURE(run_commit(world.overlay(), 2, {second, other}));

  std::ifstream file(world.directory() + "/overlay-1.hfo", std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  ASSERT_EQ(bytes.size(), 1u << 20);
  EXPECT_EQ(bytes.substr(0, 8), "HFOVL001");
  EXPECT_EQ(load<std::uint64_t>(bytes, 8), layout_fingerprint());
  EXPECT_EQ(load<std::uint64_t>(bytes, 16), bytes.size());
  EXPECT_EQ(load<std::uint32_t>(bytes, 24), 1u);
  const std::uint32_t mask = load<std::uint32_t>(bytes, 28);
  EXPECT_EQ(mask, 8191u);
  EXPECT_EQ(load<std::uint64_t>(bytes, 64), (1u << 7) | (1u << 9));

  // The head's level 0 leads to the row of table 7, whose key starts behind its next[] links.
  const std::uint64_t node = std::uint64_t{load<std::uint32_t>(bytes, 576 + 28)} * 8;
  ASSERT_EQ(node, 704 + 8 * (mask + 1));
  EXPECT_EQ(load<std::uint64_t>(bytes, node), load_be64("stock:12"));
  EXPECT_EQ(load<std::uint32_t>(bytes, node + 8), 7u);
  EXPECT_EQ(load<std::uint16_t>(bytes, node + 12), 10u);
  const unsigned height = load<std::uint8_t>(bytes, node + 14);
  ASSERT_GE(height, 1u);
  EXPECT_EQ(load<std::uint32_t>(bytes, node + 24), 576u / 8);
  EXPECT_EQ(bytes.substr(node + 28 + 4 * height, 10), "stock:1234");

  const std::uint64_t newest = std::uint64_t{load<std::uint32_t>(bytes, node + 16)} * 8;
  EXPECT_EQ(load<std::uint64_t>(bytes, newest), 2u);
  EXPECT_EQ(load<std::uint32_t>(bytes, newest + 12), 12u);
  EXPECT_EQ(load<std::uint8_t>(bytes, newest + 16), 1u);
  EXPECT_EQ(load<std::uint8_t>(bytes, newest + 17), 4u);
  ASSERT_EQ(load<std::uint8_t>(bytes, newest + 18), 32u);
  EXPECT_EQ(load<std::uint64_t>(bytes, newest + 24), 0x1122334455667788u);
  EXPECT_EQ(bytes.substr(newest + 32, 12), "second value");

  const std::uint64_t oldest = std::uint64_t{load<std::uint32_t>(bytes, newest + 8)} * 8;
  EXPECT_EQ(oldest, (node + 28 + 4 * height + 10 + 7) / 8 * 8);
  EXPECT_EQ(load<std::uint64_t>(bytes, oldest), 1u);
  EXPECT_EQ(load<std::uint32_t>(bytes, oldest + 8), 0u);
  EXPECT_EQ(load<std::uint8_t>(bytes, oldest + 18), 24u);
  EXPECT_EQ(bytes.substr(oldest + 24, 5), "first");

  // The bucket of that row: its offset, or that of a chain which has it; and its bloom bit.
  const std::uint64_t hash = row_hash(7, "stock:1234");
  const std::uint64_t bucket = load<std::uint64_t>(bytes, 704 + 8 * (hash & mask));
  EXPECT_NE(bucket >> 32 & (std::uint64_t{1} << (hash >> 59)), 0u);
  std::uint64_t at = (bucket & 0xffffffff) * 8;
  while (at != 0 && at != node) at = std::uint64_t{load<std::uint32_t>(bytes, at + 20)} * 8;
  EXPECT_EQ(at, node);

  const std::uint64_t next = std::uint64_t{load<std::uint32_t>(bytes, node + 28)} * 8;
  EXPECT_EQ(load<std::uint32_t>(bytes, next + 8), 9u);
  EXPECT_EQ(load<std::uint64_t>(bytes, next), std::uint64_t{'b'} << 56);
  EXPECT_EQ(load<std::uint32_t>(bytes, next + 24) * 8u, node);
}

// Goal: the skip list is one. Method: after random inserts, every level is ascending and has exactly the nodes that are
// high enough, of which three in four are not; every hint names the very predecessor.
TEST(OverlayFormat, LevelsAreWhole) {
  World world(64u << 20, 8u << 20);
  std::mt19937_64 random(8);
  constexpr Csn kRows = 20'000;
  for (Csn csn = 1; csn <= kRows; ++csn) {
    ASSERT_NO_FATAL_FAILURE(run_commit(world.overlay(), csn, {RowChange{1, std::to_string(random()), "v"}}));
  }
  std::ifstream file(world.directory() + "/overlay-1.hfo", std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const auto next_of = [&](std::uint64_t node, unsigned level) {
    return std::uint64_t{load<std::uint32_t>(bytes, node + 28 + 4 * level)} * 8;
  };
  std::vector<Csn> wanted(kHeightMax), linked(kHeightMax);
  std::uint64_t before = 576;
  for (std::uint64_t node = next_of(576, 0); node != 0; before = node, node = next_of(node, 0)) {
    ASSERT_EQ(load<std::uint32_t>(bytes, node + 24) * 8u, before);
    for (unsigned level = 0; level < load<std::uint8_t>(bytes, node + 14); ++level) ++wanted[level];
  }
  for (unsigned level = 0; level < kHeightMax; ++level) {
    Bytes last;
    for (std::uint64_t node = next_of(576, level); node != 0; node = next_of(node, level)) {
      const unsigned height = load<std::uint8_t>(bytes, node + 14);
      const Bytes key = Bytes(bytes).substr(node + 28 + 4 * height, load<std::uint16_t>(bytes, node + 12));
      ASSERT_LT(last, key);
      last = key;
      ++linked[level];
    }
  }
  EXPECT_EQ(linked, wanted);
  EXPECT_EQ(linked[0], kRows);
  EXPECT_NEAR(static_cast<double>(linked[1]), kRows / 4.0, kRows / 50.0);
  EXPECT_NEAR(static_cast<double>(linked[2]), kRows / 16.0, kRows / 100.0);
}

}  // namespace
}  // namespace hf::overlay
