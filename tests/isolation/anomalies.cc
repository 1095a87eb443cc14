// SPDX-License-Identifier: Apache-2.0
#include "isolation/anomalies.h"

namespace hf::isolation {
namespace {

constexpr Outcome kForbidden = Outcome::kForbidden;
constexpr Outcome kConflict = Outcome::kConflict;
constexpr Outcome kAdmitted = Outcome::kAdmitted;

Outcome admitted_if(bool happened) { return happened ? kAdmitted : kForbidden; }

// A commit that may be refused decides: refused, the anomaly was prevented by that; else `happened`, asked after it,
// tells.
template <typename Happened>
Outcome unless_refused(Code commit, Happened happened) {
  if (commit == Code::kCONFLICT) return kConflict;
  EXPECT_EQ(commit, Code::kOK);
  return admitted_if(happened());
}

void must_commit(Actor& actor) { EXPECT_EQ(actor.commit(), Code::kOK); }

// --- writes
// -----------------------------------------------------------------------------------------------------------

// G0: the writes of two transactions end up interleaved: x is of one, y of the other.
Outcome dirty_write(const Stage& stage) {
  Actor first = stage.begin(), second = stage.begin();
  first.put("x", 11);
  second.put("x", 12);
  first.put("y", 21);
  must_commit(first);
  second.put("y", 22);
  return unless_refused(second.commit(), [&] {
    const Rows rows = stage.rows();
    return rows != Rows{{"x", "12"}, {"y", "22"}} && rows != Rows{{"x", "11"}, {"y", "21"}};
  });
}

// P4: both read x and write what they read plus one; one increment is lost.
Outcome lost_update(const Stage& stage) {
  Actor first = stage.begin(), second = stage.begin();
  const int a = first.number("x"), b = second.number("x");
  first.put("x", a + 1);
  second.put("x", b + 1);
  must_commit(first);
  return unless_refused(second.commit(), [&] { return stage.rows()[0].second == "11"; });
}

// P4 where the second transaction begins to write only after the first one has committed.
Outcome late_lost_update(const Stage& stage) {
  Actor second = stage.begin();
  const int b = second.number("x");
  Actor first = stage.begin();
  first.put("x", first.number("x") + 1);
  must_commit(first);
  EXPECT_EQ(second.update("x", std::to_string(b + 1)), Code::kOK);
  return unless_refused(second.commit(), [&] { return stage.rows()[0].second == "11"; });
}

// The same with the version named: safe at every level.
Outcome lost_update_with_version(const Stage& stage) {
  Actor first = stage.begin(), second = stage.begin();
  const Csn a = first.version("x"), b = second.version("x");
  EXPECT_EQ(first.put_if_version("x", "11", a), Code::kOK);
  EXPECT_EQ(second.put_if_version("x", "11", b), Code::kOK);
  must_commit(first);
  // Serializable says kCONFLICT, for the version was read by a get of its own; the others had named it only.
  const Code code = second.commit();
  if (code != Code::kOK) {
    EXPECT_EQ(code,
              second.txn().options().isolation == Isolation::kSerializable ? Code::kCONFLICT : Code::kVERSION_MISMATCH);
  }
  return code == Code::kVERSION_MISMATCH || code == Code::kCONFLICT ? kConflict : kAdmitted;
}

// Two transactions insert the same row, and both are told that it was theirs.
Outcome double_insert(const Stage& stage) {
  Actor first = stage.begin(), second = stage.begin();
  EXPECT_EQ(first.insert("z", "1"), Code::kOK);
  EXPECT_EQ(second.insert("z", "2"), Code::kOK);
  must_commit(first);
  return unless_refused(second.commit(), [&] { return true; });
}

// --- dirty reads
// ------------------------------------------------------------------------------------------------------

// G1a: somebody sees a value of a transaction that aborts.
Outcome aborted_read(const Stage& stage) {
  Actor writer = stage.begin(), reader = stage.begin();
  writer.put("x", 101);
  const bool seen = reader.number("x") == 101 || reader.scan() != Rows{{"x", "10"}, {"y", "20"}};
  writer.abort();
  const bool seen_after = reader.number("x") == 101;
  must_commit(reader);
  return admitted_if(seen || seen_after || stage.rows()[0].second == "101");
}

// G1b: somebody sees a value that its writer replaced before it committed.
Outcome intermediate_read(const Stage& stage) {
  Actor writer = stage.begin(), reader = stage.begin();
  writer.put("x", 101);
  const bool seen = reader.number("x") == 101;
  writer.put("x", 11);
  must_commit(writer);
  const bool seen_after = reader.number("x") == 101;
  must_commit(reader);
  return admitted_if(seen || seen_after);
}

// G1c: each of two transactions sees the other's write.
Outcome circular_information_flow(const Stage& stage) {
  Actor first = stage.begin(), second = stage.begin();
  first.put("x", 11);
  second.put("y", 22);
  const bool first_saw = first.number("y") == 22;
  const bool second_saw = second.number("x") == 11;
  must_commit(first);
  return unless_refused(second.commit(), [&] { return first_saw || second_saw; });
}

// OTV: a transaction sees another one's effect on x, and then y or x as they were before it.
Outcome observed_transaction_vanishes(const Stage& stage) {
  Actor first = stage.begin();
  first.put("x", 11);
  first.put("y", 19);
  must_commit(first);
  Actor second = stage.begin(), observer = stage.begin();
  second.put("x", 12);
  second.put("y", 18);
  const int x_before = observer.number("x");
  must_commit(second);
  const int x = observer.number("x"), y = observer.number("y"), x_again = observer.number("x");
  must_commit(observer);
  const bool vanished = (x == 12 && (y == 19 || x_again == 11)) || (x == 11 && x_again == 10);
  return admitted_if(x_before != 11 || vanished);
}

// --- reads that do not hold
// -------------------------------------------------------------------------------------------

// P2: the same row, read twice, is two different ones.
Outcome non_repeatable_read(const Stage& stage) {
  Actor reader = stage.begin(), writer = stage.begin();
  const int before = reader.number("x");
  writer.put("x", 11);
  must_commit(writer);
  const bool changed = reader.number("x") != before;
  must_commit(reader);
  return admitted_if(changed);
}

// P3: the same range, read twice, has another row.
Outcome phantom_read(const Stage& stage) {
  Actor reader = stage.begin(), writer = stage.begin();
  const Rows before = reader.scan();
  EXPECT_EQ(writer.insert("z", "30"), Code::kOK);
  must_commit(writer);
  const bool changed = reader.scan() != before;
  must_commit(reader);
  return admitted_if(changed);
}

// G-single, A5A: x as it was before a transaction, y as that transaction left it.
Outcome read_skew(const Stage& stage) {
  Actor reader = stage.begin(), writer = stage.begin();
  const int x = reader.number("x");
  writer.put("x", 12);
  writer.put("y", 18);
  must_commit(writer);
  const int y = reader.number("y");
  must_commit(reader);
  return admitted_if(x == 10 && y == 18);
}

// G-single whose reader writes what it decided on the ground of the old x.
Outcome read_skew_then_write(const Stage& stage) {
  Actor reader = stage.begin(), writer = stage.begin();
  const int x = reader.number("x");
  writer.put("x", 12);
  writer.put("y", 18);
  must_commit(writer);
  reader.put("y", x + 10);
  return unless_refused(reader.commit(), [&] { return stage.rows() == Rows{{"x", "12"}, {"y", "20"}}; });
}

std::vector<std::string> keys_with(Actor& actor, const std::string& value) {
  std::vector<std::string> keys;
  for (const auto& [key, found] : actor.scan()) {
    if (found == value) keys.push_back(key);
  }
  return keys;
}

// PMP, read predicate: 'rows with 30' is empty first, and then it is not.
Outcome predicate_many_preceders_read(const Stage& stage) {
  Actor reader = stage.begin(), writer = stage.begin();
  const bool empty = keys_with(reader, "30").empty();
  EXPECT_EQ(writer.insert("z", "30"), Code::kOK);
  must_commit(writer);
  const bool empty_again = keys_with(reader, "30").empty();
  must_commit(reader);
  return admitted_if(empty != empty_again);
}

// PMP, write predicate: 'note the rows with 20, then delete the rows with 20' while each row grows by 10. In any serial
// order the row that was noted is the one that is gone.
Outcome predicate_many_preceders_write(const Stage& stage) {
  Actor grower = stage.begin(), deleter = stage.begin();
  for (const auto& [key, value] : grower.scan()) grower.put(key, std::atoi(value.c_str()) + 10);
  for (const std::string& key : keys_with(deleter, "20")) deleter.put("noted", key);
  must_commit(grower);
  for (const std::string& key : keys_with(deleter, "20")) deleter.erase(key);
  return unless_refused(deleter.commit(), [&] { return stage.rows() == Rows{{"noted", "y"}, {"y", "30"}}; });
}

// --- skew
// -------------------------------------------------------------------------------------------------------------

// G2-item, A5B: each reads both rows and takes from one what the sum of both allows once.
Outcome write_skew(const Stage& stage) {
  Actor first = stage.begin(), second = stage.begin();
  EXPECT_EQ(first.number("x") + first.number("y"), 30);
  EXPECT_EQ(second.number("x") + second.number("y"), 30);
  first.put("x", 10 - 30);
  second.put("y", 20 - 30);
  must_commit(first);
  return unless_refused(second.commit(), [&] { return stage.rows() == Rows{{"x", "-20"}, {"y", "-10"}}; });
}

// The same where what was read is that a row is not there.
Outcome write_skew_on_absence(const Stage& stage) {
  Actor first = stage.begin(), second = stage.begin();
  EXPECT_EQ(first.get("b"), "-");
  EXPECT_EQ(second.get("a"), "-");
  first.put("a", 1);
  second.put("b", 1);
  must_commit(first);
  return unless_refused(second.commit(), [&] { return stage.rows().size() == 4; });
}

// G2: each counts the rows of a range and inserts one, as if it were alone.
Outcome phantom_skew(const Stage& stage) {
  Actor first = stage.begin(), second = stage.begin();
  EXPECT_EQ(first.scan().size(), 2u);
  EXPECT_EQ(second.scan().size(), 2u);
  first.put("n1", 1);
  second.put("n2", 1);
  must_commit(first);
  return unless_refused(second.commit(), [&] { return stage.rows().size() == 4; });
}

// G2 with two anti-dependencies and a reader that writes nothing (Fekete, O'Neil, O'Neil, 2004): the reader sees y of
// the second and not x of the first, although the first, by what it read, comes before the second.
Outcome read_only_anomaly(const Stage& stage) {
  Actor first = stage.begin();
  const int x = first.number("x"), y = first.number("y");
  Actor second = stage.begin();
  second.put("y", second.number("y") + 20);
  must_commit(second);
  Actor reader = stage.begin_read_only();
  const bool reader_saw = reader.number("x") == 10 && reader.number("y") == 40;
  EXPECT_EQ(reader.commit(), Code::kOK);
  first.put("x", x + y < 40 ? x - 11 : x - 10);
  return unless_refused(first.commit(), [&] { return reader_saw && stage.rows() == Rows{{"x", "-1"}, {"y", "40"}}; });
}

// G2 around three transactions: each reads the row that the next one writes.
Outcome three_way_cycle(const Stage& stage) {
  Actor first = stage.begin(), second = stage.begin(), third = stage.begin();
  EXPECT_EQ(first.get("c"), "-");
  EXPECT_EQ(second.get("a"), "-");
  EXPECT_EQ(third.get("b"), "-");
  first.put("a", 1);
  second.put("b", 1);
  third.put("c", 1);
  must_commit(third);                 // third before second, by what it read of b
  const Code code = second.commit();  // second before first
  return unless_refused(code == Code::kOK ? first.commit() : code, [&] { return stage.rows().size() == 5; });
}

}  // namespace

const std::vector<Anomaly>& anomalies() {
  static const std::vector<Anomaly> all = {
      // name                                 read committed  snapshot    serializable
      {"dirty write (G0)", {kForbidden, kConflict, kForbidden}, dirty_write},
      {"aborted read (G1a)", {kForbidden, kForbidden, kForbidden}, aborted_read},
      {"intermediate read (G1b)", {kForbidden, kForbidden, kForbidden}, intermediate_read},
      {"circular information flow (G1c)", {kForbidden, kForbidden, kConflict}, circular_information_flow},
      {"observed transaction vanishes (OTV)", {kForbidden, kForbidden, kForbidden}, observed_transaction_vanishes},
      {"two inserts of one row", {kConflict, kConflict, kConflict}, double_insert},
      {"lost update, version named", {kConflict, kConflict, kConflict}, lost_update_with_version},
      {"lost update (P4)", {kAdmitted, kConflict, kConflict}, lost_update},
      {"lost update (P4), late write", {kAdmitted, kConflict, kConflict}, late_lost_update},
      {"non-repeatable read (P2)", {kAdmitted, kForbidden, kForbidden}, non_repeatable_read},
      {"phantom read (P3)", {kAdmitted, kForbidden, kForbidden}, phantom_read},
      {"read skew (G-single)", {kAdmitted, kForbidden, kForbidden}, read_skew},
      {"read skew, then a write (G-single)", {kAdmitted, kConflict, kConflict}, read_skew_then_write},
      {"predicate-many-preceders (PMP), reading", {kAdmitted, kForbidden, kForbidden}, predicate_many_preceders_read},
      {"predicate-many-preceders (PMP), writing", {kAdmitted, kConflict, kConflict}, predicate_many_preceders_write},
      {"write skew (G2-item)", {kAdmitted, kAdmitted, kConflict}, write_skew},
      {"write skew on an absent row (G2-item)", {kAdmitted, kAdmitted, kConflict}, write_skew_on_absence},
      {"write skew on a range, phantom (G2)", {kAdmitted, kAdmitted, kConflict}, phantom_skew},
      {"read-only anomaly (G2)", {kAdmitted, kAdmitted, kConflict}, read_only_anomaly},
      {"cycle of three transactions (G2)", {kAdmitted, kAdmitted, kConflict}, three_way_cycle},
  };
  return all;
}

}  // namespace hf::isolation
