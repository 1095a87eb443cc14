// SPDX-License-Identifier: Apache-2.0
// Goal: a flipped bit anywhere in a row of a segment (node, key, version, value, expiry, the bucket that leads to it)
// is told to who looks with distrust, or changes nothing; and nothing makes such a look crash.
//
// Method: some commits, then each bit of the bytes in question is flipped, looked at, and flipped back.
#include <gtest/gtest.h>

#include "overlay/skiplist.h"
#include "unit/overlay_fixture.h"

namespace hf::overlay {
namespace {

constexpr TableId kTable = 7;

class OverlayVerify : public testing::Test {
 protected:
  void SetUp() override {
    const Commit first = {RowChange{kTable, "counter", "12345678"}, RowChange{kTable, "plain", "the first value"},
                          RowChange{kTable, "gone", ""}};
    ASSERT_NO_FATAL_FAILURE(run_commit(world_.overlay(), 1, first));
    RowChange expiring{kTable, "plain", "the second value"};
    expiring.expires_ms = 77777;
    RowChange gone{kTable, "gone", ""};
    gone.kind = VersionKind::kDelete;
    ASSERT_NO_FATAL_FAILURE(run_commit(world_.overlay(), 2, {expiring, gone}));
    auto segments = world_.overlay().segments_after(0);
    ASSERT_TRUE(segments.ok());
    segment_ = segments.value().front();
    const std::string path = world_.directory() + "/" + segment_->file();
    auto region = platform::Region::open(path, 1);
    ASSERT_TRUE(region.ok()) << region.status().message();
    region_ = std::move(region).value();
  }

  // Whether a look at the three rows is right or says that something is wrong; *told counts the latter.
  void look(const std::string& where, int* told) {
    struct Want {
      const char* key;
      VersionKind kind;
      const char* value;
      Csn csn;
    };
    bool any = false;
    for (const Want& want :
         {Want{"counter", VersionKind::kPut, "12345678", 1}, Want{"plain", VersionKind::kPut, "the second value", 2},
          Want{"gone", VersionKind::kDelete, "", 2}}) {
      Version version;
      const auto found = segment_->find_verified(kTable, want.key, row_hash(kTable, want.key), 5, &version);
      if (!found.ok()) {
        EXPECT_EQ(found.code(), Code::kCORRUPT);
        EXPECT_NE(found.status().message().find(segment_->file()), std::string::npos) << found.status().message();
        any = true;
        continue;
      }
      ASSERT_TRUE(found.value()) << where << ": " << want.key << " vanished";
      ASSERT_EQ(version.kind, want.kind) << where;
      ASSERT_EQ(version.value, want.value) << where;
      ASSERT_EQ(version.csn, want.csn) << where;
    }
    *told += any;
  }

  // The same by a walk: 3 rows, or an error.
  void walk(const std::string& where, int* told) {
    Iterator row(*segment_, true);
    std::uint64_t rows = 0;
    for (row.seek_at_or_after(0, {}); row.valid(); row.next()) {
      ++rows;
      Version version;
      const auto visible = row.version_verified(5, &version);
      if (!visible.ok()) {
        ++*told;
        return;
      }
      ASSERT_TRUE(visible.value()) << where;
      ASSERT_EQ(version.csn, row.key() == "counter" ? 1u : 2u) << where;
    }
    if (row.damaged() || rows < segment_->rows()) {
      ++*told;
      return;
    }
    ASSERT_EQ(rows, 3u) << where;
  }

  // By seeks and backwards: the right row, or told.
  void seek(const std::string& where) {
    for (const char* key : {"counter", "gone", "plain"}) {
      Iterator at(*segment_, true);
      at.seek_at_or_after(kTable, key);
      ASSERT_TRUE(at.damaged() || (at.valid() && at.key() == key)) << where << ": seek to " << key;
    }
    Iterator row(*segment_, true);
    std::string keys;
    for (row.seek_before(kTable + 1, {}); row.valid(); row.prev()) keys += std::string(row.key()) + " ";
    ASSERT_TRUE(row.damaged() || keys == "plain gone counter ") << where << ": " << keys;
  }

  void flip_all(const char* name, std::uint64_t begin, std::uint64_t end, bool all_told, bool links = false) {
    int told = 0, told_by_walk = 0, flips = 0;
    for (std::uint64_t at = begin; at < end; ++at) {
      for (int bit = 0; bit < 8; ++bit, ++flips) {
        region_.data()[at] = static_cast<char>(region_.data()[at] ^ (1 << bit));
        const std::string where =
            std::string(name) + " byte " + std::to_string(at - begin) + " bit " + std::to_string(bit);
        ASSERT_NO_FATAL_FAILURE(look(where, &told));
        ASSERT_NO_FATAL_FAILURE(walk(where, &told_by_walk));
        if (links) {
          ASSERT_NO_FATAL_FAILURE(seek(where));
        }
        region_.data()[at] = static_cast<char>(region_.data()[at] ^ (1 << bit));
      }
    }
    if (all_told) {
      EXPECT_EQ(told, flips) << name;
      EXPECT_EQ(told_by_walk, flips) << name;
    }
  }

  std::uint64_t node_of(Bytes key) {
    auto* header = reinterpret_cast<SegmentHeader*>(region_.data());
    return find_node(region_.data(), header->bucket_mask, RowKey(kTable, key), row_hash(kTable, key)) * kOffsetUnit;
  }

  World world_;
  SegmentRef segment_;
  platform::Region region_;
};

TEST_F(OverlayVerify, NothingWrongIsSeenAsSuch) {
  int told = 0;
  look("untouched", &told);
  walk("untouched", &told);
  EXPECT_EQ(told, 0);
  Version version;
  const auto absent = segment_->find_verified(kTable, "nobody", row_hash(kTable, "nobody"), 5, &version);
  ASSERT_TRUE(absent.ok()) << absent.status().message();
  EXPECT_FALSE(absent.value());
}

TEST_F(OverlayVerify, EveryBitOfAVersion) {
  for (const char* key : {"counter", "plain", "gone"}) {
    const Node* node = node_at(region_.data(), static_cast<Offset>(node_of(key) / kOffsetUnit));
    const std::uint64_t at = std::uint64_t{node->newest.load()} * kOffsetUnit;
    const VersionRecord* record = version_at(region_.data(), node->newest.load());
    flip_all(key, at, at + record->value_offset + record->value_size, true);
  }
}

// `chain`, `prev` and upper levels only make the way longer, or are looked at when something is missing.
TEST_F(OverlayVerify, EveryBitOfANode) {
  for (const char* key : {"counter", "plain", "gone"}) {
    const std::uint64_t at = node_of(key);
    const Node* node = node_at(region_.data(), static_cast<Offset>(at / kOffsetUnit));
    flip_all("prefix, table, key size", at, at + 14, true);
    const std::uint64_t key_at = at + node_key_offset(node->height);
    flip_all("key", key_at, key_at + node->key_size, true);
    flip_all("height and links", at + 14, key_at, false, true);
  }
}

TEST_F(OverlayVerify, EveryBitOfTheHead) {
  auto* header = reinterpret_cast<SegmentHeader*>(region_.data());
  const auto at = static_cast<std::uint64_t>(header->head - region_.data()) + offsetof(Node, next);
  flip_all("links of the head", at, at + kHeightMax * sizeof(AtomicOffset), false, true);
}

TEST_F(OverlayVerify, EveryBitOfABucket) {
  auto* header = reinterpret_cast<SegmentHeader*>(region_.data());
  for (const char* key : {"counter", "plain", "gone"}) {
    const char* bucket =
        reinterpret_cast<const char*>(bucket_of(region_.data(), header->bucket_mask, row_hash(7, key)));
    const auto at = static_cast<std::uint64_t>(bucket - region_.data());
    flip_all("bucket", at, at + sizeof(Bucket), false);
  }
}

}  // namespace
}  // namespace hf::overlay
