// SPDX-License-Identifier: Apache-2.0
// Goal: a process killed at any named point, holding whatever it holds there, hurts nobody. The others go on within a
// second, and at the end every acknowledged commit is there, once, in one dense order, and nothing is half there.
//
// Method: two survivors with two threads each commit durably from beginning to end, one of them audits snapshots
// meanwhile. For each point a victim joins them, works like them, and is killed at its n-th pass of the point. After
// each death every survivor thread has to have another commit acknowledged in time, and no commit of a survivor may
// ever take longer than that.
#include <filesystem>
#include <vector>

#include "base/bytes.h"
#include "crash/fixture.h"

namespace hf::crash {
namespace {

constexpr std::uint32_t kSurvivorThreads = 4;
constexpr std::uint32_t kVictimFirst = 8;

struct KillPoint {
  const char* name;
  std::uint64_t pass_max;  // the victim dies at a random pass of 1 to this
};

// Passes that come with every commit are met at any of many; rare ones at one of the first.
constexpr KillPoint kCommitPoints[] = {
    {"commit.validated", 60},          {"commit.appended", 60},        {"commit.inserting", 200},
    {"commit.inserted", 60},           {"commit.published", 60},       {"log.append.before_publish", 60},
    {"log.append.published", 60},      {"log.flush.written", 40},      {"log.flush.synced", 40},
    {"overlay.insert.allocated", 300}, {"overlay.insert.linked", 300}, {"overlay.insert.hashed", 300},
};
constexpr KillPoint kUpkeepPoints[] = {
    {"log.roll", 1},
    {"overlay.prepare", 2},
    {"overlay.rotate.sealed", 2},
    {"overlay.rotate.activated", 2},
    {"merge.before_commit", 2},
    {"merge.committed", 2},
    {"store.merge.before_commit", 2},
    {"store.merge.committed", 2},
};

class KillPointsTest : public CrashTest {
 protected:
  void start_survivors() {
    for (std::uint32_t i = 0; i < 2; ++i) {
      survivors_.emplace_back("worker", with({{"first", std::to_string(2 * i)},
                                              {"threads", "2"},
                                              {"auditor", i == 0 ? "1" : "0"},
                                              {"label", "survivor"}}));
      ASSERT_TRUE(eventually(20'000, [&] { return (*board_)->ready.load() == i + 1; })) << "a survivor did not open";
    }
  }

  std::vector<std::uint64_t> acked() const {
    std::vector<std::uint64_t> result;
    for (std::uint32_t i = 0; i < kSurvivorThreads; ++i) result.push_back((*board_)->workers[i].acked.load());
    return result;
  }

  void expect_survivors_go_on(const std::string& where) {
    const std::vector<std::uint64_t> before = acked();
    const bool all = eventually(kStallMaxNs / 1'000'000, [&] {
      const std::vector<std::uint64_t> now = acked();
      for (std::uint32_t i = 0; i < kSurvivorThreads; ++i) {
        if (now[i] == before[i]) return false;
      }
      return true;
    });
    EXPECT_TRUE(all) << where << ": a survivor stands still";
    for (std::uint32_t i = 0; i < kSurvivorThreads; ++i) {
      WorkerRow& row = (*board_)->workers[i];
      EXPECT_LE(row.slowest_ns.exchange(0), kStallMaxNs) << where << ": survivor " << i << " waited";
      EXPECT_EQ(row.code.load(), 0u) << where << ": survivor " << i << ": " << row.message;
    }
    EXPECT_EQ((*board_)->faults.load(), 0u) << where << ": " << (*board_)->report;
  }

  void kill_one_at(const KillPoint& point) {
    const std::string spec = std::string(point.name) + ":kill:" + std::to_string(1 + random_number(point.pass_max));
    // Another number each time: what the one before left half done is finished by whoever takes the latch next, and
    // until then a newcomer of the same number would not see where it has to go on.
    const std::uint32_t first = kVictimFirst + 2 * (victims_++ % 4);
    Child victim("worker", with({{"first", std::to_string(first)}, {"threads", "2"}, {"label", "victim"}}), spec);
    EXPECT_EQ(victim.wait(10'000), kKilled) << spec << " was never reached; " << (*board_)->report;
    expect_survivors_go_on(spec);
  }

  void run(const KillPoint* points, std::size_t count, int rounds) {
    start_survivors();
    for (int round = 0; round < rounds && !HasFailure(); ++round) {
      for (std::size_t i = 0; i < count && !HasFailure(); ++i) kill_one_at(points[i]);
    }
    (*board_)->stop = 1;
    for (Child& survivor : survivors_) EXPECT_EQ(survivor.wait(), 0);
    EXPECT_GT((*board_)->audits.load(), 0u);
    expect_sound(with({}), **board_, "final audit");
  }

  // Two processes with the database open, none of whose threads takes a latch before `go`.
  void start_patient() {
    (*board_)->go = 0;
    (*board_)->stop = 0;
    (*board_)->ready = 0;
    survivors_.clear();
    for (std::uint32_t i = 0; i < 2; ++i) {
      survivors_.emplace_back(
          "worker", with({{"first", std::to_string(2 * i)}, {"threads", "2"}, {"wait_go", "1"}, {"background", "0"}}));
      ASSERT_TRUE(eventually(20'000, [&] { return (*board_)->ready.load() == i + 1; }));
    }
  }

  // One that does all its upkeep in the threads that commit.
  Arguments lone_victim(std::uint32_t first) const {
    return with({{"first", std::to_string(first)}, {"threads", "1"}, {"background", "0"}, {"label", "victim"}});
  }

  void let_patient_go(const std::string& where) {
    (*board_)->go = 1;
    ASSERT_TRUE(eventually(kStallMaxNs / 1'000'000,
                           [&] {
                             for (const std::uint64_t number : acked()) {
                               if (number == 0) return false;
                             }
                             return true;
                           }))
        << where << ": a survivor stands still";
    expect_survivors_go_on(where);
    (*board_)->stop = 1;
    for (Child& child : survivors_) EXPECT_EQ(child.wait(), 0) << where;
    expect_sound(with({}), **board_, where);
  }

  std::vector<Child> survivors_;
  std::uint32_t victims_ = 0;
};

TEST_F(KillPointsTest, OfTheCommit) { run(kCommitPoints, std::size(kCommitPoints), kSanitized ? 1 : 3); }

TEST_F(KillPointsTest, OfUpkeep) { run(kUpkeepPoints, std::size(kUpkeepPoints), kSanitized ? 1 : 2); }

// A process that takes the commit latch from a dead one is killed before it has repaired anything; the next in the
// middle of the repair. Only then come those who survive. They had the database open all the time, else the next open
// would recover.
TEST_F(KillPointsTest, OwnersWhoTakeOverFromTheDeadDieToo) {
  for (const char* point : {"commit.appended", "overlay.insert.linked", "log.append.before_publish",
                            "log.append.published", "overlay.insert.hashed", "commit.inserted"}) {
    start_patient();
    EXPECT_EQ(Child("worker", lone_victim(8), std::string(point) + ":kill:20").wait(10'000), kKilled) << point;
    EXPECT_EQ(Child("worker", lone_victim(9), "latch.holder_dead:kill:1").wait(10'000), kKilled) << point;
    EXPECT_EQ(Child("worker", lone_victim(10), "overlay.insert.linked:kill:2").wait(10'000), kKilled) << point;
    let_patient_go(point);
    if (HasFailure()) return;
  }
}

// In a new database the log and the overlay grow, which later, when segments are used again, hardly happens.
TEST_F(KillPointsTest, OfGrowth) {
  for (const char* point : {"log.prepare", "overlay.prepare.created"}) {
    start_patient();
    EXPECT_EQ(Child("worker", lone_victim(8), std::string(point) + ":kill:1").wait(10'000), kKilled) << point;
    EXPECT_EQ(Child("worker", lone_victim(9), std::string(point) + ":kill:1").wait(10'000), kKilled) << point;
    let_patient_go(point);
    std::filesystem::remove_all(db());
    for (WorkerRow& row : (*board_)->workers) row.tried = row.acked = row.acked_csn = 0;
    if (HasFailure()) return;
  }
}

// A process is killed inside a bulk load, which holds the maintainer role and LMDB's writer lock. The others go on, and
// take the role; of the load nothing is to be seen, or all.
int load_role(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  Result<std::shared_ptr<txn::Database>> database = txn::Database::open(arguments.at("db"), options_in(arguments));
  if (!database.ok()) return 3;
  const std::shared_ptr<catalog::Catalog> catalog = catalog::Catalog::of(*database);
  bool existed = false;
  Result<txn::Table*> table = catalog->create("loaded", &existed);
  if (!table.ok()) return 4;
  txn::BulkLoad load(*database);
  if (!catalog->begin_load(**table, &load, Deadline::after_ms(10'000)).ok()) return 5;
  const std::string value(100, 'v');
  for (std::uint32_t i = 0; i < 5'000; ++i) {
    char key[4];
    store_be32(key, i);
    if (!load.add(Bytes(key, sizeof key), value, 0).ok()) return 6;
  }
  return catalog->finish_load(**table, &load).ok() ? 0 : 7;
}
const Role load_registration("load", load_role);

std::uint64_t count_rows(const Session& session, const std::string& name) {
  const std::shared_ptr<catalog::Catalog> catalog = catalog::Catalog::of(session.database());
  Result<txn::Table*> table = catalog->open(name);
  if (!table.ok()) return 0;
  txn::Transaction txn(session.database());
  txn::TxnOptions options;
  options.read_only = true;
  if (!txn.begin(options).ok()) return UINT64_MAX;
  txn::RowCursor cursor(txn);
  if (!cursor.open(**table, {}).ok()) return UINT64_MAX;
  Bytes key;
  txn::RowView row;
  std::uint64_t rows = 0;
  while (cursor.next(&key, &row).ok()) ++rows;
  return rows;
}

TEST_F(KillPointsTest, OfABulkLoad) {
  start_survivors();
  for (const char* point : {"store.load.before_commit", "store.load.committed"}) {
    EXPECT_EQ(Child("load", with({}), std::string(point) + ":kill:1").wait(), kKilled) << point;
    expect_survivors_go_on(point);
    Result<Session> session = Session::open(db(), small_options());
    ASSERT_TRUE(session.ok()) << session.status().message();
    EXPECT_EQ(count_rows(*session, "loaded"), 0u) << point;
    const std::uint64_t merges = session->database()->stats()->merges;
    EXPECT_TRUE(eventually(kStallMaxNs / 1'000'000, [&] { return session->database()->stats()->merges > merges; }))
        << point << ": nobody merges after the loader's death";
  }
  EXPECT_EQ(Child("load", with({})).wait(), 0);
  Result<Session> session = Session::open(db(), small_options());
  ASSERT_TRUE(session.ok());
  EXPECT_EQ(count_rows(*session, "loaded"), 5'000u);
  session->close();
  (*board_)->stop = 1;
  for (Child& survivor : survivors_) EXPECT_EQ(survivor.wait(), 0);
}

}  // namespace
}  // namespace hf::crash
