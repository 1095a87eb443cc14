// SPDX-License-Identifier: Apache-2.0
// Goal: a commit that finds the overlay full of what its own snapshot keeps moves the snapshot forward and goes on,
// if nothing that it read has changed, and is refused as any other commit if something has. Method: fill a small
// overlay up to its last free bytes while the transaction is open; nothing but the transaction is then in the way of
// merging.
#include "isolation/fixture.h"

namespace hf::isolation {
namespace {

txn::DatabaseOptions small_overlay() {
  txn::DatabaseOptions options = default_options();
  options.overlay_bytes_max = 4u << 20;
  options.overload_timeout_ms = 2'000;
  return options;
}

class Forwarding : public ::testing::Test {
 protected:
  Forwarding() : world_(small_overlay()), table_(world_.table()) {}

  void put(Bytes key, Bytes value) {
    Actor actor(world_, table_, at_level(Isolation::kSerializable));
    actor.put(key, value);
    ASSERT_EQ(actor.commit(), Code::kOK);
  }
  // Until there is room for `kPiece` once more, and no segment left to go on in.
  void fill() {
    for (int i = 0; i < 200; ++i) {
      Result<txn::DatabaseStats> stats = world_.database()->stats();
      ASSERT_TRUE(stats.ok());
      const bool last = stats->overlay.sealed + stats->overlay.merged >= 3 && stats->overlay.ready == 0;
      if (last && world_.database()->overlay().fullness() > 0.8) return;
      put("filler", std::string(kPiece, 'f'));
    }
    FAIL() << "the overlay never got full";
  }
  Actor begin(Isolation level) { return Actor(world_, table_, at_level(level)); }

  static constexpr std::size_t kPiece = 30'000;
  const std::string big_ = std::string(400'000, 'b');
  World world_;
  txn::Table& table_;
};

TEST_F(Forwarding, GoesOnWhenNothingReadHasChanged) {
  put("x", "0");
  for (const Isolation level : {Isolation::kSerializable, Isolation::kSnapshot, Isolation::kReadCommitted}) {
    Actor actor = begin(level);
    EXPECT_EQ(actor.get("x"), "0");
    EXPECT_EQ(actor.get("gone"), "-");
    txn::Range range;
    range.low = "w";
    EXPECT_EQ(actor.scan(range).size(), 1u);
    actor.put("result", big_);
    const Csn snapshot = actor.txn().snapshot_csn();
    ASSERT_NO_FATAL_FAILURE(fill());
    EXPECT_EQ(actor.commit(), Code::kOK);
    EXPECT_GT(actor.txn().snapshot_csn(), snapshot) << "it went on without moving: the overlay was not full";
    EXPECT_EQ(begin(level).get("result"), big_);
    EXPECT_EQ(world_.merge(), Code::kOK);
  }
}

TEST_F(Forwarding, IsRefusedWhenSomethingReadHasChanged) {
  const std::function<void(Actor&)> reads[] = {
      [](Actor& actor) { actor.get("x"); },
      [](Actor& actor) { actor.get("gone"); },
      [](Actor& actor) { actor.scan(); },
  };
  const char* const changed[] = {"x", "gone", "xx"};
  for (int i = 0; i < 3; ++i) {
    Actor actor = begin(Isolation::kSerializable);
    reads[i](actor);
    actor.put("result", big_);
    ASSERT_NO_FATAL_FAILURE(fill());
    put(changed[i], "1");
    EXPECT_EQ(actor.commit(), Code::kCONFLICT) << i;
    EXPECT_EQ(begin(Isolation::kSerializable).get("result"), "-");
    Actor cleaner = begin(Isolation::kSerializable);
    for (const char* const key : changed) cleaner.erase(key);
    ASSERT_EQ(cleaner.commit(), Code::kOK);
    world_.merge();
  }
}

TEST_F(Forwarding, KeepsFirstCommitterWinsAtSnapshotLevel) {
  Actor actor = begin(Isolation::kSnapshot);
  actor.put("result", big_);
  ASSERT_NO_FATAL_FAILURE(fill());
  put("result", "somebody else's");
  EXPECT_EQ(actor.commit(), Code::kCONFLICT);
  EXPECT_EQ(begin(Isolation::kSnapshot).get("result"), "somebody else's");
}

}  // namespace
}  // namespace hf::isolation
