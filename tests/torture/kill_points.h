// SPDX-License-Identifier: Apache-2.0
// Every test point of the engine, and where the kill campaign has processes killed at it. tests/crash/
// kill_table_test.cc compares the names with those in the source: a point that is missing here fails it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace torture::kill {

// What a process is there for when it is to be killed at a point.
enum class Stage : std::uint32_t {
  kCreate,   // makes the database, alone
  kWork,     // one of the workers
  kJoin,     // one more worker, while it opens
  kRecover,  // the first to open after all were killed
  kLeave,    // the last to leave, in order
  kLoad,     // runs a bulk load beside the workers
};
inline constexpr int kStagesCount = 6;
const char* name_of(Stage stage) noexcept;

struct Point {
  const char* name;
  Stage stage;
  std::uint32_t pass_max;  // the pass to die at is random, 1 to this
  // Comes by chance or after somebody else's death: many workers are armed with it at once, and it is waited for.
  bool rare = false;
};

inline constexpr Point kPoints[] = {
    // The commit protocol.
    {"commit.prepared", Stage::kWork, 60},
    {"commit.validated", Stage::kWork, 60},
    {"commit.appended", Stage::kWork, 60},
    {"commit.inserting", Stage::kWork, 200},
    {"commit.inserted", Stage::kWork, 60},
    {"commit.published", Stage::kWork, 60},
    {"txn.locked", Stage::kWork, 40},
    // The log: append, flush, change of segment.
    {"log.append.before_publish", Stage::kWork, 60},
    {"log.append.published", Stage::kWork, 60},
    {"log.flush.written", Stage::kWork, 30},
    {"log.flush.synced", Stage::kWork, 30},
    {"log.roll", Stage::kWork, 1, true},
    {"log.prepare", Stage::kWork, 1, true},
    {"log.recycle", Stage::kWork, 1, true},
    // The overlay: insert, change of segment.
    {"overlay.insert.allocated", Stage::kWork, 200},
    {"overlay.insert.linked", Stage::kWork, 200},
    {"overlay.insert.hashed", Stage::kWork, 200},
    {"overlay.prepare", Stage::kWork, 1},
    {"overlay.prepare.created", Stage::kWork, 1, true},
    {"overlay.rotate.sealed", Stage::kWork, 1},
    {"overlay.rotate.activated", Stage::kWork, 1},
    // Merge.
    {"merge.before_commit", Stage::kWork, 1},
    {"merge.committed", Stage::kWork, 1},
    {"store.merge.before_commit", Stage::kWork, 1},
    {"store.merge.committed", Stage::kWork, 1},
    {"store.commit", Stage::kWork, 2},
    // Row locks: taking, waiting, handing over, giving back.
    {"lock.chunk_claimed", Stage::kWork, 1},
    {"lock.filled", Stage::kWork, 60},
    {"lock.linked", Stage::kWork, 60},
    {"lock.linked_last", Stage::kWork, 5},
    {"lock.waiting", Stage::kWork, 5},
    {"lock.upgrading", Stage::kWork, 2},
    {"lock.upgraded", Stage::kWork, 1, true},
    {"lock.handed", Stage::kWork, 3},
    {"lock.unlinked", Stage::kWork, 60},
    {"lock.released", Stage::kWork, 60},
    {"lock.cycle_found", Stage::kWork, 1, true},
    {"lock.expired", Stage::kWork, 1, true},
    {"lock.dropped", Stage::kWork, 1, true},
    // Taking over from the dead.
    {"latch.holder_dead", Stage::kWork, 1, true},
    {"lock.holder_dead", Stage::kWork, 1, true},
    {"lock.reaping", Stage::kWork, 1, true},
    {"lock.reaped", Stage::kWork, 1, true},
    // Files and maps while at work.
    {"file.write", Stage::kWork, 30},
    {"file.sync", Stage::kWork, 30},
    {"file.sync_directory", Stage::kWork, 1, true},
    {"file.allocate", Stage::kWork, 2},
    {"region.map", Stage::kWork, 6},
    {"region.populate", Stage::kWork, 6},
    // Joining.
    {"file.open", Stage::kJoin, 4},
    {"file.read", Stage::kJoin, 6},
    {"region.map", Stage::kJoin, 3},
    {"region.populate", Stage::kJoin, 2},
    {"file.allocate", Stage::kJoin, 1},
    // Recovery; what is due in it is merged too.
    {"log.recover", Stage::kRecover, 4},
    {"open.recovered", Stage::kRecover, 1},
    {"file.open", Stage::kRecover, 10},
    {"file.read", Stage::kRecover, 20},
    {"file.write", Stage::kRecover, 12},
    {"file.sync", Stage::kRecover, 8},
    {"file.sync_directory", Stage::kRecover, 5},
    {"file.allocate", Stage::kRecover, 5},
    {"file.truncate", Stage::kRecover, 4},
    {"region.map", Stage::kRecover, 5},
    {"region.populate", Stage::kRecover, 4},
    {"overlay.prepare", Stage::kRecover, 1},
    {"overlay.rotate.sealed", Stage::kRecover, 1},
    {"overlay.rotate.activated", Stage::kRecover, 1},
    {"overlay.insert.linked", Stage::kRecover, 50},
    {"merge.before_commit", Stage::kRecover, 1},
    {"merge.committed", Stage::kRecover, 1},
    {"store.merge.committed", Stage::kRecover, 1},
    {"store.commit", Stage::kRecover, 3},
    // The last one out.
    {"close.clean", Stage::kLeave, 1},
    {"merge.before_commit", Stage::kLeave, 1},
    {"merge.committed", Stage::kLeave, 1},
    {"store.merge.before_commit", Stage::kLeave, 1},
    {"overlay.rotate.sealed", Stage::kLeave, 1},
    // A new database.
    {"file.open", Stage::kCreate, 12},
    {"file.write", Stage::kCreate, 12},
    {"file.sync", Stage::kCreate, 10},
    {"file.sync_directory", Stage::kCreate, 6},
    {"file.allocate", Stage::kCreate, 8},
    {"file.truncate", Stage::kCreate, 4},
    {"region.map", Stage::kCreate, 4},
    {"store.commit", Stage::kCreate, 4},
    {"overlay.prepare.created", Stage::kCreate, 1},
    // A bulk load.
    {"store.load.before_commit", Stage::kLoad, 1},
    {"store.load.committed", Stage::kLoad, 1},
};
inline constexpr std::size_t kPointsCount = sizeof kPoints / sizeof kPoints[0];

}  // namespace torture::kill
