// SPDX-License-Identifier: Apache-2.0
// Goal: the cursor that locks as it goes does what shops use it for, with threads and processes in each other's way: no
// row goes to two, none is left, nobody is refused who read nothing that changed, and whoever walks in one direction
// never meets a deadlock. Method: small crowds on few rows, every answer counted.
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "isolation/fixture.h"

namespace hf::isolation {
namespace {

constexpr Isolation kAllLevels[] = {Isolation::kReadCommitted, Isolation::kSnapshot, Isolation::kSerializable};

txn::Range locking(lock::Mode mode = lock::Mode::kExclusive) {
  txn::Range range;
  range.locks = true;
  range.lock.mode = mode;
  return range;
}
txn::Range first_free() {
  txn::Range range = locking();
  range.skip_locked = true;
  return range;
}
std::string name(const char* prefix, int number) {
  char text[32];
  std::snprintf(text, sizeof text, "%s%05d", prefix, number);
  return text;
}

// What a crowd was answered.
struct Answers {
  std::atomic<int> done{0}, conflicts{0}, deadlocks{0}, others{0};
  void add(Code code) {
    (code == Code::kOK         ? done
     : code == Code::kCONFLICT ? conflicts
     : code == Code::kDEADLOCK ? deadlocks
                               : others) += 1;
    if (code != Code::kOK && code != Code::kCONFLICT && code != Code::kDEADLOCK) {
      ADD_FAILURE() << code_name(static_cast<int>(code));
    }
  }
};

class LockedReads : public ::testing::Test {
 protected:
  void fill(World& world, txn::Table& table, const char* prefix, int count, Bytes value) {
    Actor actor(world, table, at_level(Isolation::kSerializable));
    for (int i = 0; i < count; ++i) actor.put(name(prefix, i), value);
    ASSERT_EQ(actor.commit(), Code::kOK);
  }
  static void put(World& world, txn::Table& table, Bytes key, Bytes value) {
    Actor actor(world, table, at_level(Isolation::kSerializable));
    actor.put(key, value);
    EXPECT_EQ(actor.commit(), Code::kOK);
  }
  static Rows rows_of(World& world, txn::Table& table) {
    return Actor(world, table, at_level(Isolation::kSerializable, true)).scan();
  }
  static void crowd(int threads, const std::function<void(int)>& body) {
    std::vector<std::thread> all;
    for (int i = 0; i < threads; ++i) all.emplace_back(body, i);
    for (std::thread& one : all) one.join();
  }
};

// --- the first free seat, the next job
// ------------------------------------------------------------------------------

enum class Taking { kDelete, kMark };

// One try to take a row of `seats` into `sold`. kEND: there is none that nobody holds.
Code take_first(World& world, txn::Table& seats, txn::Table& sold, Isolation level, Taking taking, Bytes buyer,
                std::string* taken = nullptr) {
  txn::Transaction txn(world.database());
  Status status = txn.begin(at_level(level));
  if (!status.ok()) return status.code();
  txn::RowCursor cursor(txn);
  status = cursor.open(seats, first_free());
  for (;;) {
    Bytes key;
    txn::RowView row;
    if (status.ok()) status = cursor.next(&key, &row);
    if (!status.ok()) return status.code();
    if (row.value != "free") continue;
    if (taken != nullptr) taken->assign(key);
    status = taking == Taking::kDelete ? txn.remove(seats, key) : txn.update(seats, key, "sold", 0);
    if (status.ok()) status = txn.insert(sold, key, buyer, 0);  // kEXISTS: sold twice
    return status.ok() ? txn.commit(true).code() : status.code();
  }
}

int count_free(World& world, txn::Table& seats) {
  int free = 0;
  Actor reader(world, seats, at_level(Isolation::kSerializable, true));
  for (const auto& [key, value] : reader.scan()) free += value == "free" ? 1 : 0;
  return free;
}

TEST_F(LockedReads, FirstFreeSeatGoesToOneEach) {
  constexpr int kThreads = 8;
  const int seats_count = scaled(400);
  for (const Isolation level : kAllLevels) {
    for (const Taking taking : {Taking::kDelete, Taking::kMark}) {
      World world;
      txn::Table& seats = world.table("seats");
      txn::Table& sold = world.table("sold");
      ASSERT_NO_FATAL_FAILURE(
          fill(world, seats, "seat", taking == Taking::kMark ? seats_count / 4 : seats_count, "free"));
      Answers answers;
      crowd(kThreads, [&](int thread) {
        while (count_free(world, seats) != 0) {
          const Code code = take_first(world, seats, sold, level, taking, std::to_string(thread));
          if (code != Code::kEND) answers.add(code);
        }
      });
      const int all = taking == Taking::kMark ? seats_count / 4 : seats_count;
      EXPECT_EQ(answers.done, all);
      Actor reader(world, sold, at_level(Isolation::kSerializable, true));
      EXPECT_EQ(reader.scan().size(), static_cast<std::size_t>(all));
      EXPECT_EQ(answers.deadlocks, 0);
      if (level != Isolation::kSnapshot || taking == Taking::kDelete) {
        EXPECT_EQ(answers.conflicts, 0) << "nothing was read before the row that was taken";
      }
    }
  }
}

// Two processes, two threads each, and a producer that goes on adding jobs at the end of the queue.
TEST_F(LockedReads, NextJobIsDoneOnceByTwoProcesses) {
  const int jobs_count = scaled(2000);
  const Directory directory;
  const auto consume = [&](World& world, const char* who) {
    txn::Table& jobs = world.table("jobs");
    txn::Table& done = world.table("done");
    txn::Table& started = world.table("started");
    std::atomic<int> taken{0}, out_of_order{0};
    Answers answers;
    const auto both_started = [&] {
      Actor reader(world, started, at_level(Isolation::kSerializable, true));
      return reader.get("child") != "-" && reader.get("parent") != "-";
    };
    const auto no_more_jobs = [&] {
      return Actor(world, started, at_level(Isolation::kSerializable, true)).get("no more jobs") != "-";
    };
    crowd(2, [&](int) {
      std::string last, job;
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      while (std::chrono::steady_clock::now() < deadline) {
        const Code code = take_first(world, jobs, done, Isolation::kSerializable, Taking::kDelete, who, &job);
        if (code == Code::kEND) {
          if (no_more_jobs() && count_free(world, jobs) == 0) return;
          std::this_thread::yield();
          continue;
        }
        answers.add(code);
        if (code != Code::kOK) continue;
        if (job <= last) ++out_of_order;
        if (last.empty()) {  // nobody goes on before both processes have had a job
          put(world, started, who, "1");
          while (!both_started() && std::chrono::steady_clock::now() < deadline) {
            std::this_thread::yield();
          }
        }
        last = job;
        ++taken;
      }
      ADD_FAILURE() << "jobs are left";
    });
    EXPECT_EQ(out_of_order, 0) << "nobody puts a job back, so a worker's jobs only get younger";
    EXPECT_EQ(answers.conflicts + answers.deadlocks, 0);
    return taken.load();
  };
  const pid_t child = fork();  // before anything is open here
  ASSERT_NE(child, -1);
  if (child == 0) {
    World world(default_options(), directory.path());
    consume(world, "child");
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  World world(default_options(), directory.path());
  txn::Table& jobs = world.table("jobs");
  std::thread producer([&] {
    for (int i = 0; i < jobs_count; ++i) put(world, jobs, name("job", i), "free");
    put(world, world.table("started"), "no more jobs", "1");
  });
  const int taken = consume(world, "parent");
  producer.join();
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "the child saw a failure";
  int by_child = 0;
  const Rows done = rows_of(world, world.table("done"));
  for (const auto& [key, who] : done) by_child += who == "child" ? 1 : 0;
  EXPECT_EQ(done.size(), static_cast<std::size_t>(jobs_count));
  EXPECT_GT(by_child, 0);
  EXPECT_EQ(by_child + taken, jobs_count);
  EXPECT_EQ(count_free(world, jobs), 0);
}

// --- walks that wait
// ------------------------------------------------------------------------------------------------------------

// A writer waits for those who read for share, and what they read stays true until they are done.
TEST_F(LockedReads, WalkForShareHoldsWritersBack) {
  World world;
  txn::Table& table = world.table();
  ASSERT_NO_FATAL_FAILURE(fill(world, table, "row", 4, "0"));
  Actor reader(world, table, at_level(Isolation::kSerializable));
  Actor other_reader(world, table, at_level(Isolation::kReadCommitted));
  const txn::Range range = locking(lock::Mode::kShared);
  const Rows before = reader.scan(range);
  EXPECT_EQ(other_reader.scan(range), before);
  std::atomic<bool> written{false};
  std::thread writer([&] {
    Actor actor(world, table, at_level(Isolation::kSerializable));
    actor.put(name("row", 1), "1");
    EXPECT_EQ(actor.commit(), Code::kOK);
    written = true;
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_FALSE(written);
  EXPECT_EQ(other_reader.scan(range), before);
  other_reader.abort();
  EXPECT_EQ(reader.scan(range), before);
  reader.put("elsewhere", "1");
  EXPECT_EQ(reader.commit(), Code::kOK);
  writer.join();
  Actor after(world, table, at_level(Isolation::kSerializable));
  EXPECT_EQ(after.get(name("row", 1)), "1");
}

// Everybody walks the same rows for update and adds to each. Nobody is ever refused: a row that others changed while
// one waited for it had not been read yet.
TEST_F(LockedReads, WalksInOneDirectionAreNeverRefused) {
  constexpr int kThreads = 4, kRows = 12;
  const int rounds = scaled(100);
  for (const Isolation level : {Isolation::kReadCommitted, Isolation::kSerializable}) {
    for (const bool reverse : {false, true}) {
      World world;
      txn::Table& table = world.table();
      ASSERT_NO_FATAL_FAILURE(fill(world, table, "row", kRows, "0"));
      if (reverse) world.merge();
      Answers answers;
      std::atomic<int> added{0};
      crowd(kThreads, [&](int thread) {
        for (int round = 0; round < rounds; ++round) {
          txn::Range range = locking();
          range.reverse = reverse;
          const std::string low = name("row", (thread + round) % 4);
          range.low = low;
          txn::Transaction txn(world.database());
          Status status = txn.begin(at_level(level));
          txn::RowCursor cursor(txn);
          if (status.ok()) status = cursor.open(table, range);
          int here = 0;
          for (;;) {
            Bytes key;
            txn::RowView row;
            if (status.ok()) status = cursor.next(&key, &row);
            if (!status.ok()) break;
            status = txn.update(table, key, std::to_string(std::stoi(std::string(row.value)) + 1), 0);
            ++here;
          }
          if (status.code() == Code::kEND) status = txn.commit(true);
          if (status.ok()) added += here;
          answers.add(status.code());
        }
      });
      EXPECT_EQ(answers.done, kThreads * rounds);
      Actor reader(world, table, at_level(Isolation::kSerializable, true));
      int sum = 0;
      for (const auto& [key, value] : reader.scan()) sum += std::stoi(value);
      EXPECT_EQ(sum, added);
    }
  }
}

// Against each other, walks do meet deadlocks; one of the two goes on, and the sum is right.
TEST_F(LockedReads, WalksAgainstEachOtherGoOn) {
  constexpr int kThreads = 4, kRows = 6;
  const int rounds = scaled(60);
  World world;
  txn::Table& table = world.table();
  ASSERT_NO_FATAL_FAILURE(fill(world, table, "row", kRows, "0"));
  Answers answers;
  crowd(kThreads, [&](int thread) {
    txn::Range range = locking();
    range.reverse = thread % 2 == 0;
    for (int round = 0; round < rounds;) {
      txn::Transaction txn(world.database());
      Status status = txn.begin(at_level(Isolation::kSerializable));
      txn::RowCursor cursor(txn);
      if (status.ok()) status = cursor.open(table, range);
      for (;;) {
        Bytes key;
        txn::RowView row;
        if (status.ok()) status = cursor.next(&key, &row);
        if (!status.ok()) break;
        status = txn.update(table, key, std::to_string(std::stoi(std::string(row.value)) + 1), 0);
      }
      if (status.code() == Code::kEND) status = txn.commit(true);
      answers.add(status.code());
      round += status.ok() ? 1 : 0;
    }
  });
  EXPECT_EQ(answers.done, kThreads * rounds);
  EXPECT_EQ(answers.conflicts, 0);
  Actor reader(world, table, at_level(Isolation::kSerializable, true));
  for (const auto& [key, value] : reader.scan()) EXPECT_EQ(std::stoi(value), kThreads * rounds);
}

// --- what commit refuses
// -----------------------------------------------------------------------------------------------------

// A phantom between two locked rows: two transactions count the free rows and add one if there are few. Locks on the
// rows alone do not keep them apart, validation does.
TEST_F(LockedReads, PhantomBetweenLockedRowsIsAConflict) {
  World world;
  txn::Table& table = world.table();
  ASSERT_NO_FATAL_FAILURE(fill(world, table, "row", 2, "free"));
  for (const bool skip : {false, true}) {
    Actor one(world, table, at_level(Isolation::kSerializable));
    Actor two(world, table, at_level(Isolation::kSerializable));
    txn::Range range = locking(lock::Mode::kShared);
    range.skip_locked = skip;
    EXPECT_EQ(one.scan(range), two.scan(range));
    one.put(skip ? "row00000c" : "row00000a", "free");
    two.put(skip ? "row00000d" : "row00000b", "free");
    EXPECT_EQ(one.commit(), Code::kOK);
    EXPECT_EQ(two.commit(), skip ? Code::kOK : Code::kCONFLICT);
  }
}

// A crowd that inserts into the range, and walks that lock it: whatever is let through saw all that came before it.
TEST_F(LockedReads, WalksAmongInsertsSeeAllOrAreRefused) {
  constexpr int kThreads = 4;
  const int rounds = scaled(150);
  World world;
  txn::Table& table = world.table();
  txn::Table& sums = world.table("sums");
  Answers answers;
  crowd(kThreads, [&](int thread) {
    for (int round = 0; round < rounds; ++round) {
      // Adds the row that follows the number of rows there are: a row missed is a number used twice.
      for (;;) {
        txn::Transaction txn(world.database());
        Status status = txn.begin(at_level(Isolation::kSerializable));
        txn::RowCursor cursor(txn);
        if (status.ok()) status = cursor.open(table, locking(lock::Mode::kShared));
        int rows = 0;
        for (; status.ok(); ++rows) {
          Bytes key;
          txn::RowView row;
          status = cursor.next(&key, &row);
          if (!status.ok()) break;
        }
        const std::string number = name("n", rows);
        if (status.code() == Code::kEND) status = txn.put(table, name("r", thread * 1000 + round), "1", 0);
        if (status.ok()) status = txn.insert(sums, number, "1", 0);
        if (status.ok()) status = txn.commit(true);
        answers.add(status.code());
        if (status.ok() || status.code() != Code::kCONFLICT) break;
      }
    }
  });
  EXPECT_EQ(answers.done, kThreads * rounds);
  Actor reader(world, sums, at_level(Isolation::kSerializable, true));
  const Rows numbers = reader.scan();
  ASSERT_EQ(numbers.size(), static_cast<std::size_t>(kThreads * rounds));
  for (int i = 0; i < kThreads * rounds; ++i) EXPECT_EQ(numbers[static_cast<std::size_t>(i)].first, name("n", i));
}

}  // namespace
}  // namespace hf::isolation
