// SPDX-License-Identifier: Apache-2.0
// Goal: every mode against every mode: between owners, and for one owner that asks again.
// Method: a table of truth written out by hand; what an owner holds is probed by others, in the same and in another
// member of the table.
#include <gtest/gtest.h>

#include "lock_testing.h"

namespace hf::lock {
namespace {

constexpr Mode N = Mode::kNone, S = Mode::kShared, X = Mode::kExclusive, I = Mode::kIncrement;

struct Truth {
  Mode held, wanted;
  bool together;  // two owners
  Mode joined;    // one owner
};
constexpr Truth kTruth[] = {
    {S, S, true, S},  {S, X, false, X}, {S, I, false, X}, {X, S, false, X}, {X, X, false, X},
    {X, I, false, X}, {I, S, false, X}, {I, X, false, X}, {I, I, true, I},
};

class LockModesTest : public LockTest {
 protected:
  // What of the row others can have besides, found out by asking in every mode.
  static void expect_seen_as(LockTable& table, const Row& row, Mode held) {
    for (const Mode wanted : kModes) {
      bool together = held == N;
      for (const Truth& truth : kTruth) {
        if (truth.held == held && truth.wanted == wanted) together = truth.together;
      }
      EXPECT_EQ(table.probe(nullptr, row, wanted) == LockTable::Probe::kFree, together);
      Life other(table);
      EXPECT_EQ(other.lock(row, wanted), together ? Code::kOK : Code::kLOCKED)
          << mode_name(held) << " is held, " << mode_name(wanted) << " is wanted";
    }
  }
  static std::string told(const Truth& truth) {
    return std::string(mode_name(truth.held)) + " then " + mode_name(truth.wanted);
  }

  Member first_ = create();
  Member second_ = attach();
  const Row row_ = row_of("row");
};

TEST_F(LockModesTest, RulesOfModes) {
  for (const Truth& truth : kTruth) {
    EXPECT_EQ(compatible(truth.held, truth.wanted), truth.together) << told(truth);
    EXPECT_EQ(join(truth.held, truth.wanted), truth.joined) << told(truth);
    EXPECT_EQ(covers(truth.held, truth.wanted), truth.joined == truth.held) << told(truth);
  }
  for (const Mode mode : kModes) {
    EXPECT_TRUE(compatible(mode, N) && compatible(N, mode));
    EXPECT_EQ(join(mode, N), mode);
    EXPECT_EQ(join(N, mode), mode);
    EXPECT_TRUE(covers(mode, N));
    EXPECT_FALSE(covers(N, mode));
  }
}

TEST_F(LockModesTest, EveryModeAgainstEveryModeOfAnother) {
  for (Member* other_member : {&first_, &second_}) {
    for (const Truth& truth : kTruth) {
      Life holder(*first_);
      ASSERT_EQ(holder.lock(row_, truth.held), Code::kOK);
      Life other(**other_member);
      Report report;
      EXPECT_EQ(other.lock(row_, truth.wanted, Life::no_wait(), &report), truth.together ? Code::kOK : Code::kLOCKED)
          << told(truth);
      EXPECT_EQ(other->held(row_), truth.together ? truth.wanted : N) << told(truth);
      EXPECT_EQ(holder->held(row_), truth.held) << told(truth);
      if (!truth.together) {
        EXPECT_EQ(report.other.held, truth.held) << told(truth);
        EXPECT_EQ(report.other.number, holder->number()) << told(truth);
      }
      // Waiting changes nothing about it.
      Life third(**other_member);
      EXPECT_EQ(third.lock(row_, truth.wanted, wait_ms(2)), truth.together ? Code::kOK : Code::kLOCK_TIMEOUT)
          << told(truth);
    }
  }
  expect_clean(first_, {row_});
}

TEST_F(LockModesTest, OneOwnerThatAsksAgainHoldsBoth) {
  for (const Truth& truth : kTruth) {
    Life owner(*first_);
    ASSERT_EQ(owner.lock(row_, truth.held), Code::kOK);
    ASSERT_EQ(owner.lock(row_, truth.wanted), Code::kOK) << told(truth);
    EXPECT_EQ(owner->held(row_), truth.joined) << told(truth);
    EXPECT_EQ(owner->held_count(), 1u);
    expect_seen_as(*second_, row_, truth.joined);
    // Held once, however often it was asked for.
    EXPECT_EQ(owner.unlock(row_), Code::kOK);
    EXPECT_EQ(owner->held(row_), N);
    EXPECT_EQ(owner.unlock(row_), Code::kNOT_FOUND);
    expect_seen_as(*second_, row_, N);
  }
}

TEST_F(LockModesTest, AnUpgradeIsRefusedWhileOthersHold) {
  for (const Truth& truth : kTruth) {
    if (!truth.together || truth.held == X) continue;
    for (const Mode wanted : kModes) {
      if (covers(truth.held, wanted)) continue;
      Life owner(*first_);
      ASSERT_EQ(owner.lock(row_, truth.held), Code::kOK);
      {
        Life other(*second_);
        ASSERT_EQ(other.lock(row_, truth.wanted), Code::kOK);
        EXPECT_EQ(owner.lock(row_, wanted), Code::kLOCKED);
        EXPECT_EQ(owner.lock(row_, wanted, wait_ms(5)), Code::kLOCK_TIMEOUT);
        EXPECT_EQ(owner->held(row_), truth.held) << "keeps what it held";
        // The failed upgrade stands in nobody's way.
        Life third(*second_);
        EXPECT_EQ(third.lock(row_, truth.held), Code::kOK);
      }
      EXPECT_EQ(owner.lock(row_, wanted), Code::kOK);
      EXPECT_EQ(owner->held(row_), X);
      expect_seen_as(*second_, row_, X);
    }
  }
}

TEST_F(LockModesTest, AWaitingUpgradeIsGrantedWhenTheOthersLeaveAndBeforeThoseThatWait) {
  for (const Mode shared : {S, I}) {
    Life other(*second_);
    ASSERT_EQ(other.lock(row_, shared), Code::kOK);
    Waiter upgrader(*first_, row_, X, wait_ms(10'000));
    Waiter writer(*second_, row_, X, wait_ms(10'000));
    ASSERT_EQ(upgrader.hold(row_, shared), Code::kOK);
    writer.start();
    ASSERT_TRUE(eventually_waiting(*first_, row_, 1));
    sleep_for_ms(3);
    upgrader.start();
    ASSERT_TRUE(eventually_waiting(*first_, row_, 2));
    EXPECT_FALSE(upgrader.answered());
    other->end();
    EXPECT_EQ(upgrader.answer(), Code::kOK);
    EXPECT_EQ(upgrader.owner().held(row_), X);
    EXPECT_FALSE(writer.answered());
    upgrader.finish();
    EXPECT_EQ(writer.answer(), Code::kOK);
  }
  expect_clean(first_, {row_});
}

// Whoever wants to join the readers while one of them waits to become the writer would make it wait for ever.
TEST_F(LockModesTest, NewReadersDoNotPassAnUpgraderForLong) {
  Life reader(*second_);
  ASSERT_EQ(reader.lock(row_, S), Code::kOK);
  WaitRule rule = wait_strictly();
  Waiter upgrader(*first_, row_, X, rule);
  ASSERT_EQ(upgrader.hold(row_, S), Code::kOK);
  upgrader.start();
  ASSERT_TRUE(eventually_waiting(*first_, row_, 1));
  sleep_for_ms(5);
  Life late(*second_);
  EXPECT_EQ(late.lock(row_, S), Code::kLOCKED);
  reader->end();
  EXPECT_EQ(upgrader.answer(), Code::kOK);
}

TEST_F(LockModesTest, OfTwoUpgradersTheSecondIsToldAtOnce) {
  for (const bool search : {true, false}) {
    for (const Mode shared : {S, I}) {
      const std::uint64_t deadlocks = first_->stats().deadlocks;
      Waiter first(*first_, row_, X, wait_ms(UINT64_MAX), "first");
      ASSERT_EQ(first.hold(row_, shared), Code::kOK);
      Life second(*second_, "second", 1);  // began long before: which of them is younger does not count
      ASSERT_EQ(second.lock(row_, shared), Code::kOK);
      first.start();
      ASSERT_TRUE(eventually_waiting(*first_, row_, 1));
      WaitRule rule = wait_ms(UINT64_MAX);
      rule.search = search;
      Report report;
      const std::uint64_t start = monotonic_ns();
      EXPECT_EQ(second.lock(row_, X, rule, &report), Code::kDEADLOCK);
      EXPECT_LT(monotonic_ns() - start, 500'000'000u);
      EXPECT_EQ(second->held(row_), shared) << "keeps what it held";
      EXPECT_FALSE(first.answered());
      EXPECT_EQ(first_->stats().deadlocks, deadlocks + 1);
      ASSERT_EQ(report.cycle.size(), 2u);
      EXPECT_EQ(report.cycle[0].number, second->number());
      EXPECT_EQ(report.cycle[1].number, first.owner().number());
      for (const Party& party : report.cycle) {
        EXPECT_EQ(party.held, shared);
        EXPECT_EQ(party.wanted, X);
        EXPECT_EQ(party.key, "row");
      }
      EXPECT_EQ(report.other.number, first.owner().number());
      second->end();
      EXPECT_EQ(first.answer(), Code::kOK);
    }
  }
}

// A second upgrader that would not wait is locked out, and no deadlock.
TEST_F(LockModesTest, AnImpatientSecondUpgraderIsToldLocked) {
  Waiter first(*first_, row_, X, wait_ms(10'000));
  ASSERT_EQ(first.hold(row_, S), Code::kOK);
  Life second(*second_);
  ASSERT_EQ(second.lock(row_, S), Code::kOK);
  first.start();
  ASSERT_TRUE(eventually_waiting(*first_, row_, 1));
  EXPECT_EQ(second.lock(row_, X), Code::kLOCKED);
  EXPECT_EQ(first_->stats().deadlocks, 0u);
  EXPECT_EQ(second.unlock(row_), Code::kOK);
  EXPECT_EQ(first.answer(), Code::kOK);
}

TEST_F(LockModesTest, RestoreGoesBackToWhatWasHeld) {
  for (const Mode before : {N, S, I}) {
    Life owner(*first_);
    if (before != N) {
      ASSERT_EQ(owner.lock(row_, before), Code::kOK);
    }
    ASSERT_EQ(owner.lock(row_, X), Code::kOK);
    first_->restore(*owner, row_, before);
    EXPECT_EQ(owner->held(row_), before);
    EXPECT_EQ(owner->held_count(), before == N ? 0u : 1u);
    expect_seen_as(*second_, row_, before);
  }
}

// Who waits behind an exclusive lock gets in when it is turned back into a weaker one.
TEST_F(LockModesTest, RestoreGrantsWhatWaited) {
  Life owner(*first_);
  ASSERT_EQ(owner.lock(row_, S), Code::kOK);
  ASSERT_EQ(owner.lock(row_, X), Code::kOK);
  Waiter reader(*second_, row_, S, wait_ms(10'000));
  reader.start();
  ASSERT_TRUE(eventually_waiting(*first_, row_, 1));
  first_->restore(*owner, row_, S);
  EXPECT_EQ(reader.answer(), Code::kOK);
  EXPECT_LT(reader.waited_ns(), 5'000'000'000u);
}

TEST_F(LockModesTest, ManyMayShare) {
  std::vector<std::unique_ptr<Life>> readers;
  for (int i = 0; i < 100; ++i) {
    readers.push_back(std::make_unique<Life>(i % 2 == 0 ? *first_ : *second_));
    ASSERT_EQ(readers.back()->lock(row_, S), Code::kOK);
  }
  Life writer(*first_);
  while (!readers.empty()) {
    EXPECT_EQ(writer.lock(row_, X), Code::kLOCKED);
    readers.pop_back();
  }
  EXPECT_EQ(writer.lock(row_, X), Code::kOK);
}

TEST_F(LockModesTest, NeighboursAreFree) {
  Life owner(*first_);
  ASSERT_EQ(owner.lock(row_of("b"), X), Code::kOK);
  ASSERT_EQ(owner.lock(row_of("b", kNames), X), Code::kOK);
  Life other(*second_);
  for (const Bytes key : {Bytes("a"), Bytes("c"), Bytes(""), Bytes("b\0", 2), Bytes("bb")}) {
    EXPECT_EQ(other.lock(row_of(key), X), Code::kOK) << key;
  }
  EXPECT_EQ(other.lock(row_of("b", kTable + 1), X), Code::kOK);
  EXPECT_EQ(other.lock(row_of("b"), S), Code::kLOCKED);
  EXPECT_EQ(other.lock(row_of("b", kNames), S), Code::kLOCKED);
}

TEST_F(LockModesTest, AProbeKnowsTheOwnersOwn) {
  Life owner(*first_);
  for (const Truth& truth : kTruth) {
    ASSERT_EQ(owner.lock(row_, truth.held), Code::kOK);
    EXPECT_EQ(first_->probe(&*owner, row_, truth.wanted), LockTable::Probe::kFree) << told(truth);
    EXPECT_EQ(second_->probe(nullptr, row_, truth.wanted) == LockTable::Probe::kFree, truth.together) << told(truth);
    EXPECT_EQ(second_->probe(nullptr, row_of("other"), truth.wanted), LockTable::Probe::kFree);
    ASSERT_EQ(owner.unlock(row_), Code::kOK);
  }
}

}  // namespace
}  // namespace hf::lock
