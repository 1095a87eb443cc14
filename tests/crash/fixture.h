// SPDX-License-Identifier: Apache-2.0
// What the crash tests share: real processes, a board that outlives them, a workload whose every cut shows, its audit.
//
// A child is this test binary, executed anew with hidden arguments that name a *role* (main.cc), so that nothing of the
// parent's engine is inherited. It dies with its parent. Each test has a directory of its own and a watchdog.
//
// The workload. Transaction number n of worker w writes, all at once,
//   "g" w i   (i < kGroupRows)  the number n              a half transaction shows as two numbers in one group
//   "h" w n                     a row of its own          a lost or doubled commit shows as a gap; its version is the
//   csn
//   "a" i, "a" j                one point from i to j     a lost update shows as a sum that is not zero
// and tells the board n before it begins and again when the commit was answered OK. The board is memory of the kernel,
// not of the worker, so a SIGKILL between the answer and the note is the only uncertainty: tried = acked + 1.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "catalog/catalog.h"
#include "txn/database.h"
#include "txn/row_cursor.h"
#include "txn/transaction.h"

namespace hf::crash {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// What a survivor may wait at most. Sanitized code is several times slower, and so is what a dead owner left to repair.
inline constexpr std::uint64_t kStallMaxNs = (kSanitized ? 5 : 1) * std::uint64_t{1'000'000'000};

inline constexpr std::uint32_t kWorkersMax = 32;
inline constexpr std::uint32_t kGroupRows = 3;
inline constexpr std::uint32_t kAccounts = 16;

// One worker thread's notes; written by it alone.
struct WorkerRow {
  std::atomic<std::uint64_t> tried;
  std::atomic<std::uint64_t> acked;
  std::atomic<std::uint64_t> acked_csn;
  std::atomic<std::uint64_t> slowest_ns;  // longest that one transaction took, retries included
  std::atomic<std::uint32_t> code;        // of the answer that ended it; 0 = none
  char message[400];                      // of that answer; whole once `code` is set
};

struct Board {
  std::atomic<std::uint32_t> ready;   // processes that have the database open
  std::atomic<std::uint32_t> go;      // workers with wait_go start at 1
  std::atomic<std::uint32_t> stop;    // everybody ends in order
  std::atomic<std::uint32_t> step;    // for scripts between one child and the test
  std::atomic<std::uint32_t> audits;  // audits that live auditors finished
  std::atomic<std::uint32_t> faults;  // audits that found something
  std::atomic<std::uint32_t> code;    // answer of a child's script
  char report[1000];                  // its message, or what an audit found; whole before `faults` or `step` is raised
  WorkerRow workers[kWorkersMax];
};

using Arguments = std::map<std::string, std::string>;
std::uint64_t number_in(const Arguments& arguments, const std::string& name, std::uint64_t otherwise);

// A function that a child runs; its answer is the exit code.
struct Role {
  Role(const std::string& name, std::function<int(const Arguments&)> body);
};
int run_role(const std::string& name, const Arguments& arguments);

// A child process; killed and reaped at the end of its scope, if it still runs.
class Child {
 public:
  Child() = default;
  Child(const std::string& role, const Arguments& arguments, const std::string& test_point = "");
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  Child& operator=(Child&& other) noexcept;
  ~Child();

  pid_t pid() const noexcept { return pid_; }
  void signal(int number) const noexcept;
  // Exit code, or 128 + the signal that ended it, or -1 when it runs on after that time.
  int wait(std::uint64_t timeout_ms = 30'000);
  int kill_and_wait();

 private:
  pid_t pid_ = 0;
};

inline constexpr int kKilled = 128 + 9;

// A board that children map too.
class SharedBoard {
 public:
  explicit SharedBoard(const std::string& path);
  ~SharedBoard();
  SharedBoard(const SharedBoard&) = delete;
  Board* operator->() const noexcept { return board_; }
  Board& operator*() const noexcept { return *board_; }

 private:
  Board* board_;
};

// A test with a directory, a board in it, and a watchdog that ends the whole program (children follow).
class CrashTest : public testing::Test {
 protected:
  CrashTest();
  ~CrashTest() override;

  std::string path(const std::string& name) const { return directory_ + "/" + name; }
  std::string db() const { return path("db"); }
  // Arguments of a role: the database and the board, with these over them.
  Arguments with(Arguments more) const;

  const std::string directory_;
  const std::unique_ptr<SharedBoard> board_;
};

// Small sizes, so that segments roll and rotate and merges run all the time.
txn::DatabaseOptions small_options();
// The same with the arguments' overlay, log, merge_ms, flush_ms, background, overload_ms, label.
txn::DatabaseOptions options_in(const Arguments& arguments);

// An open database with the workload's table.
class Session {
 public:
  Session() = default;
  static Result<Session> open(const std::string& path, const txn::DatabaseOptions& options);
  Session(Session&&) = default;
  Session& operator=(Session&&) = default;

  const std::shared_ptr<txn::Database>& database() const noexcept { return database_; }
  txn::Table& table() const noexcept { return *table_; }
  void close() { *this = Session(); }

 private:
  // Destroyed in reverse: the catalog refers to the database.
  std::shared_ptr<txn::Database> database_;
  std::shared_ptr<catalog::Catalog> catalog_;
  txn::Table* table_ = nullptr;
};

// Transaction `number` of `worker`; repeats what is retryable, kOVERLOADED excepted.
Status write_once(const Session& session, std::uint32_t worker, std::uint64_t number, txn::Durability durability,
                  Csn* csn);
// The number that the newest transaction of that worker had, 0 for none.
Result<std::uint64_t> newest_number(const Session& session, std::uint32_t worker);
// Writes until board.stop, or `count` times (0 = no end), noting all on the board. Answers the status that ended it.
Status work(const Session& session, Board& board, std::uint32_t worker, txn::Durability durability,
            std::uint64_t count);
// A put of one row, durable.
Status put_row(const Session& session, const std::string& key, const std::string& value);

enum class Acked { kMustBeThere, kMayBeGone };
// Looks at one snapshot of everything. Answers "" or what is wrong.
std::string audit(const Session& session, const Board& board, Acked acked);
// Only groups and sum: cheap enough to run beside the workers.
std::string audit_groups(const Session& session);
// Opens, audits, closes; in a process of its own, so that a crash in the engine is a failure and not the end. With a
// test point, the child may be killed at it.
void expect_sound(const Arguments& arguments, Board& board, const std::string& where);

std::uint64_t random_number(
    std::uint64_t below);  // seeded by the environment's HOLDFAST_TEST_SEED, or by time and printed
void sleep_ms(std::uint64_t ms);
// Whether it comes true within that time.
bool eventually(std::uint64_t timeout_ms, const std::function<bool()>& condition);

// Text files of checksums: every regular file's relative path -> checksum of its bytes. Files that may change without
// meaning (liveness, lock.mdb, memory/) are left out.
std::map<std::string, std::uint64_t> fingerprint(const std::string& directory);
void copy_tree(const std::string& from, const std::string& to);

}  // namespace hf::crash
