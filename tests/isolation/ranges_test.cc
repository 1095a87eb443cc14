// SPDX-License-Identifier: Apache-2.0
// Goal: a walk depends on what it passed over, no less and no more. Method: a table of walks over the rows b, d, f,
// h; after each walk one row is changed at every place of a fixed list, one place per try, and the commit must be
// refused exactly at the places that the table names. Everything is tried with the rows in the overlay and with the
// rows in the base.
#include "isolation/fixture.h"

namespace hf::isolation {
namespace {

struct Walk {
  const char* name;
  txn::Range range;
  int rows;               // to read, then stop; -1: to the end
  const char* seek;       // before reading, or null
  std::string conflicts;  // those of kPlaces that were passed over
};

// Each is a key to insert or to change.
constexpr char kPlaces[] = "abcdefghi";

txn::Range range(Bytes low, Bytes high, bool reverse = false) {
  txn::Range made;
  made.low = low;
  made.high = high;
  made.reverse = reverse;
  return made;
}
txn::Range with(txn::Range made, std::uint64_t skip, std::uint64_t limit) {
  made.skip = skip;
  made.limit = limit;
  return made;
}
txn::Range edges(txn::Range made, bool low_exclusive, bool high_inclusive) {
  made.low_exclusive = low_exclusive;
  made.high_inclusive = high_inclusive;
  return made;
}
txn::Range prefix(Bytes bytes, bool reverse = false) {
  txn::Range made;
  made.prefix = bytes;
  made.reverse = reverse;
  return made;
}

// The lower edge of an exclusive bound belongs to what is validated: harmless, and named in engine/txn/read_set.h. No
// case here changes a row that stands on one.
const Walk kWalks[] = {
    {"all", range("", ""), -1, nullptr, "abcdefghi"},
    {"all, reverse", range("", "", true), -1, nullptr, "abcdefghi"},
    {"first row", range("", ""), 1, nullptr, "ab"},
    {"first two rows", range("", ""), 2, nullptr, "abcd"},
    {"last row", range("", "", true), 1, nullptr, "hi"},
    {"last two rows", range("", "", true), 2, nullptr, "fghi"},
    {"nothing read", range("", ""), 0, nullptr, ""},
    {"limit 2, to the end", with(range("", ""), 0, 2), -1, nullptr, "abcd"},
    {"limit 2, reverse", with(range("", "", true), 0, 2), -1, nullptr, "fghi"},
    {"limit above the rows", with(range("", ""), 0, 9), -1, nullptr, "abcdefghi"},
    {"skip 1, limit 1", with(range("", ""), 1, 1), -1, nullptr, "abcd"},
    {"skip beyond the end", with(range("", "f"), 9, 1), -1, nullptr, "abcde"},
    {"bounds [c, g)", range("c", "g"), -1, nullptr, "cdef"},
    {"bounds [c, g), reverse", range("c", "g", true), -1, nullptr, "cdef"},
    {"bounds [c, g), first", range("c", "g"), 1, nullptr, "cd"},
    {"bounds [c, g), last", range("c", "g", true), 1, nullptr, "f"},
    {"bounds [d, f)", range("d", "f"), -1, nullptr, "de"},
    {"bounds [d, f]", edges(range("d", "f"), false, true), -1, nullptr, "def"},
    {"bounds [d, f], reverse", edges(range("d", "f", true), false, true), -1, nullptr, "def"},
    {"bounds from g", range("g", ""), -1, nullptr, "ghi"},
    {"bounds below c", range("", "c"), -1, nullptr, "ab"},
    {"bounds below c, reverse", range("", "c", true), -1, nullptr, "ab"},
    {"bounds without rows", range("bb", "d"), -1, nullptr, "c"},
    {"empty bounds", range("g", "c"), -1, nullptr, ""},
    {"prefix d", prefix("d"), -1, nullptr, "d"},
    {"prefix d, reverse", prefix("d", true), -1, nullptr, "d"},
    {"prefix e, no rows", prefix("e"), -1, nullptr, "e"},
    {"seek e, all", range("", ""), -1, "e", "efghi"},
    {"seek e, first", range("", ""), 1, "e", "ef"},
    {"seek e, reverse", range("", "", true), -1, "e", "abcde"},
    {"seek e, reverse, first", range("", "", true), 1, "e", "de"},
    {"seek before the bounds", range("c", "g"), -1, "a", "cdef"},
    {"seek behind the bounds", range("c", "g"), -1, "h", ""},
};

class Ranges : public ::testing::TestWithParam<bool> {
 protected:
  Ranges() : table_(world_.table()), elsewhere_(world_.table("elsewhere")) {}

  void change(char place) {
    Actor writer(world_, table_, at_level(Isolation::kSerializable));
    const bool there = std::string("bdfh").find(place) != std::string::npos;
    there&& place == 'f' ? writer.erase(Bytes(&place, 1)) : writer.put(Bytes(&place, 1), "changed");
    EXPECT_EQ(writer.commit(), Code::kOK);
  }
  void restore() {
    Actor writer(world_, table_, at_level(Isolation::kSerializable));
    for (const char place : Bytes(kPlaces)) {
      std::string("bdfh").find(place) != std::string::npos ? writer.put(Bytes(&place, 1), "1")
                                                           : writer.erase(Bytes(&place, 1));
    }
    EXPECT_EQ(writer.commit(), Code::kOK);
  }
  void walk(Actor& actor, const Walk& walk) {
    txn::RowCursor cursor(actor.txn());
    ASSERT_OK(cursor.open(table_, walk.range));
    if (walk.seek != nullptr) ASSERT_OK(cursor.seek(walk.seek));
    Bytes key;
    txn::RowView row;
    Status status;
    for (int i = 0; i != walk.rows && status.ok(); ++i) status = cursor.next(&key, &row);
    ASSERT_EQ(status.code(), walk.rows < 0 ? Code::kEND : Code::kOK);
  }
  Code commit_after(const Walk& subject, char place, Isolation level) {
    Actor actor(world_, table_, at_level(level));
    walk(actor, subject);
    change(place);
    EXPECT_TRUE(actor.txn().put(elsewhere_, "k", "1", 0).ok());  // without a write there is nothing to refuse
    return actor.commit();
  }

  World world_;
  txn::Table& table_;
  txn::Table& elsewhere_;
};

TEST_P(Ranges, DependOnWhatWasPassedOver) {
  for (const Walk& subject : kWalks) {
    for (const char place : Bytes(kPlaces)) {
      SCOPED_TRACE(std::string(subject.name) + ", change at " + place);
      restore();
      if (GetParam()) world_.merge();
      const bool conflict = subject.conflicts.find(place) != std::string::npos;
      EXPECT_EQ(commit_after(subject, place, Isolation::kSerializable), conflict ? Code::kCONFLICT : Code::kOK);
    }
  }
}

TEST_P(Ranges, DependOnNothingAtTheOtherLevels) {
  for (const Isolation level : {Isolation::kSnapshot, Isolation::kReadCommitted}) {
    restore();
    if (GetParam()) world_.merge();
    for (const char place : Bytes(kPlaces)) EXPECT_EQ(commit_after(kWalks[0], place, level), Code::kOK);
  }
}

// A row of its own that the walk met is a row passed over: the walk went on from there.
TEST_P(Ranges, ReachUpToTheOwnRowsMet) {
  restore();
  if (GetParam()) world_.merge();
  for (const char place : Bytes(kPlaces)) {
    SCOPED_TRACE(place);
    restore();
    Actor actor(world_, table_, at_level(Isolation::kSerializable));
    actor.put("e", "own");
    walk(actor, {"three rows", range("", ""), 3, nullptr, ""});  // b, d, e
    change(place);
    EXPECT_EQ(actor.commit(), place <= 'e' ? Code::kCONFLICT : Code::kOK);
  }
}

INSTANTIATE_TEST_SUITE_P(Rows, Ranges, ::testing::Bool(),
                         [](const auto& in) { return std::string(in.param ? "InTheBase" : "InTheOverlay"); });

}  // namespace
}  // namespace hf::isolation
