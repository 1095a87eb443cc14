// SPDX-License-Identifier: Apache-2.0
// Goal: counters end exactly at the sum of the adds that were acknowledged, and never leave their bounds, whatever
// processes do at once and wherever they are killed. What was in flight at a kill is in or out, whole.
//
// Method: a few processes of two threads each commit random transactions on few counters: adds with random bounds, now
// and then a set or a read, at every level and durability. In the same commit goes a journal row that says what the
// transaction did; its version is the place of the commit in the order. An audit replays the journal in that order:
// every bound has to hold at every step, every read has to find what the order says, every value that counter_after()
// told (the worker's next journal row reports it) has to be right, and in the end the counters stand where the journal
// leads. The journal of a worker has no gap, and ends at its last acknowledged commit or at the one in flight; what was
// acknowledged is noted in memory that no kill can take back. Processes are killed by SIGKILL after random times or at
// named points inside the commit; sometimes all of them, so that the next open has to recover.
// HOLDFAST_TEST_SEED repeats a run, as far as the scheduler lets it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "isolation/fixture.h"
#include "platform/test_point.h"
#include "txn/counters.h"

extern char** environ;

namespace hf::property {
namespace {

using txn::RowCursor;
using txn::RowView;
using txn::Transaction;
using txn::TxnOptions;

constexpr std::int64_t kLow = -100;  // bounds of all bounds
constexpr std::int64_t kHigh = 100;
constexpr std::uint32_t kWorkersMax = 1024;
constexpr std::uint32_t kThreads = 2;  // of each process
constexpr const char* kArguments = "HOLDFAST_COUNTERS_CHILD";

using Random = std::mt19937_64;
std::int64_t between(Random& random, std::int64_t low, std::int64_t high) {
  return std::uniform_int_distribution<std::int64_t>(low, high)(random);
}

// --- the board: outlives every kill -------------------------------------------------------------------------------

struct WorkerRow {
  std::atomic<std::uint64_t> tried;
  std::atomic<std::uint64_t> acked;
  std::atomic<std::uint64_t> refused;
  std::atomic<std::uint32_t> code;  // of the answer that ended it; 0 = none
  char message[200];
};
struct Board {
  std::atomic<std::uint32_t> ready;
  std::atomic<std::uint32_t> stop;
  WorkerRow workers[kWorkersMax];
};

Board* map_board(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, sizeof(Board)) != 0) abort();
  void* memory = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) abort();
  close(fd);
  return static_cast<Board*>(memory);
}

// --- what a transaction does --------------------------------------------------------------------------------------

// In the journal as text, for a reader of a failed test.
struct Op {
  char kind;  // 'a' add, 's' set, 'r' read
  int counter;
  std::int64_t value;  // delta, value set, value read
  std::int64_t min;
  std::int64_t max;
};
struct Entry {
  std::vector<Op> ops;
  // What the worker was told about its commit before this one.
  Csn told_csn = 0;
  std::map<int, std::int64_t> told;
};

std::string encode(const Entry& entry) {
  std::string text;
  for (const Op& op : entry.ops) {
    text += op.kind;
    for (const std::int64_t number : {std::int64_t{op.counter}, op.value, op.min, op.max})
      text += ' ' + std::to_string(number);
    text += ';';
  }
  text += '=' + std::to_string(entry.told_csn);
  for (const auto& [counter, value] : entry.told) text += ' ' + std::to_string(counter) + ' ' + std::to_string(value);
  return text;
}

bool decode(Bytes bytes, Entry* entry) {
  const std::string text(bytes);
  const char* at = text.c_str();
  int size = 0;
  Op op{};
  long long value = 0, min = 0, max = 0;
  while (*at != '=' &&
         std::sscanf(at, "%c %d %lld %lld %lld;%n", &op.kind, &op.counter, &value, &min, &max, &size) == 5) {
    op.value = value;
    op.min = min;
    op.max = max;
    entry->ops.push_back(op);
    at += size;
  }
  unsigned long long csn = 0;
  if (std::sscanf(at, "=%llu%n", &csn, &size) != 1) return false;
  entry->told_csn = csn;
  at += size;
  int counter = 0;
  while (std::sscanf(at, " %d %lld%n", &counter, &value, &size) == 2) {
    entry->told[counter] = value;
    at += size;
  }
  return *at == '\0' && !entry->ops.empty();
}

std::string counter_key(int counter) { return "c" + std::to_string(counter); }
std::string journal_key(std::uint32_t worker, std::uint64_t number) {
  char key[13] = {'j'};
  store_be32(key + 1, worker);
  store_be64(key + 5, number);
  return std::string(key, sizeof key);
}

std::vector<Op> random_ops(Random& random, int counters) {
  std::vector<Op> ops;
  for (std::int64_t i = between(random, 1, 4); i > 0; --i) {
    Op op{'a', static_cast<int>(between(random, 0, counters - 1)), between(random, -30, 30), 0, 0};
    op.min = kLow + between(random, 0, 60);
    op.max = kHigh - between(random, 0, 60);
    const std::int64_t kind = between(random, 0, 39);
    if (kind == 0 && ops.empty()) {  // later it would take the place of adds, and their bounds with them
      op.kind = 's';
      op.value = between(random, kLow, kHigh);
    } else if (kind <= 3) {
      op.kind = 'r';
    }
    ops.push_back(op);
  }
  return ops;
}

// --- worker -------------------------------------------------------------------------------------------------------

struct Session {
  std::shared_ptr<txn::Database> database;
  std::shared_ptr<catalog::Catalog> catalog;
  txn::Table* table = nullptr;

  static Result<Session> open(const std::string& path, const std::string& label) {
    txn::DatabaseOptions options;
    options.map_size = std::uint64_t{4} << 30;
    options.overlay_bytes_max = 4u << 20;
    options.log_segment_size_max = 1u << 20;
    options.flush_interval_ms = 20;
    options.merge_interval_ms = 5;
    options.label = label;
    Session session;
    Result<std::shared_ptr<txn::Database>> opened = txn::Database::open(path, options);
    if (!opened.ok()) return std::move(opened).status();
    session.database = std::move(opened).value();
    session.catalog = catalog::Catalog::of(session.database);
    bool existed = false;
    Result<txn::Table*> table = session.catalog->create("rows", &existed);
    if (!table.ok()) return std::move(table).status();
    session.table = table.value();
    return session;
  }
  void close() {
    catalog.reset();
    database.reset();
  }
};

Status attempt(const Session& session, Transaction& txn, std::uint32_t worker, std::uint64_t number, Random& random,
               Entry& entry) {
  TxnOptions options;
  const bool reads = std::any_of(entry.ops.begin(), entry.ops.end(), [](const Op& op) { return op.kind == 'r'; });
  // What the weaker levels read need not be so at the commit.
  options.isolation = reads ? txn::Isolation::kSerializable : static_cast<txn::Isolation>(between(random, 1, 3));
  options.durability = between(random, 0, 1) == 0 ? txn::Durability::kDurable : txn::Durability::kRelaxed;
  if (between(random, 0, 1) == 0) options.label = "worker " + std::to_string(worker);
  if (Status status = txn.begin(options); !status.ok()) return status;
  for (Op& op : entry.ops) {
    const std::string key = counter_key(op.counter);
    Status status;
    if (op.kind == 'a') {
      status = txn.add(*session.table, key, op.value, op.min, op.max);
    } else if (op.kind == 's') {
      status = txn.counter_set(*session.table, key, op.value);
    } else {
      op.value = 0;
      status = txn.counter_get(*session.table, key, &op.value);
      if (status.code() == Code::kNOT_FOUND) status = {};
    }
    if (!status.ok()) {
      txn.abort();
      return status;
    }
  }
  if (Status status = txn.insert(*session.table, journal_key(worker, number), encode(entry), 0); !status.ok()) {
    txn.abort();
    return status;
  }
  return txn.commit(true);
}

void work(const Session& session, Board& board, std::uint32_t worker, std::uint64_t seed, int counters) {
  WorkerRow& row = board.workers[worker];
  Random random(seed * 0x9E3779B97F4A7C15u + worker);
  Transaction txn(session.database);
  Entry last;
  for (std::uint64_t number = 1; board.stop.load() == 0;) {
    row.tried.store(number);
    Entry entry;
    entry.ops = random_ops(random, counters);
    entry.told_csn = last.told_csn;
    entry.told = last.told;
    const Status status = attempt(session, txn, worker, number, random, entry);
    if (status.code() == Code::kOUT_OF_RANGE) {
      row.refused.fetch_add(1);
      continue;
    }
    if (code_is_retryable(static_cast<int>(status.code()))) continue;
    if (!status.ok()) {
      std::snprintf(row.message, sizeof row.message, "%s", status.message().c_str());
      row.code.store(static_cast<std::uint32_t>(status.code()));
      return;
    }
    row.acked.store(number++);
    last.told_csn = txn.commit_csn();
    last.told.clear();
    for (const Op& op : entry.ops) {
      std::int64_t after = 0;
      if (txn.counter_after(*session.table, counter_key(op.counter), &after).ok()) last.told[op.counter] = after;
    }
  }
}

// Body of a child: "<database> <board> <first worker> <counters> <seed>".
void run_child() {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  char database[400], board_path[400];
  unsigned first = 0;
  int counters = 0;
  unsigned long long seed = 0;
  ASSERT_EQ(
      std::sscanf(std::getenv(kArguments), "%399s %399s %u %d %llu", database, board_path, &first, &counters, &seed),
      5);
  Board& board = *map_board(board_path);
  Result<Session> session = Session::open(database, "process " + std::to_string(first));
  if (!session.ok()) {
    std::snprintf(board.workers[first].message, sizeof board.workers[first].message, "open: %s",
                  session.status().message().c_str());
    board.workers[first].code.store(static_cast<std::uint32_t>(session.code()));
    FAIL();
  }
  board.ready.fetch_add(1);
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] { work(session.value(), board, first + i, seed, counters); });
  }
  for (std::thread& thread : threads) thread.join();
}

// A child is this program, executed anew, with one test more than there are otherwise.
class ChildTest : public testing::Test {
 public:
  void TestBody() override { run_child(); }
};
const bool kIsChild = [] {
  if (std::getenv(kArguments) == nullptr) return false;
  testing::RegisterTest("CountersChild", "Works", nullptr, nullptr, __FILE__, __LINE__,
                        []() -> ChildTest* { return new ChildTest; });
  return true;
}();

pid_t spawn_child(const std::string& arguments, const std::string& test_point) {
  std::vector<std::string> texts = {std::string(kArguments) + "=" + arguments};
  if (!test_point.empty()) texts.push_back("HOLDFAST_TEST_POINT=" + test_point);
  std::vector<char*> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.push_back(*entry);
  for (std::string& text : texts) environment.push_back(text.data());
  environment.push_back(nullptr);
  char program[] = "/proc/self/exe", filter[] = "--gtest_filter=CountersChild.Works", brief[] = "--gtest_brief=1";
  char* const argv[] = {program, filter, brief, nullptr};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  if (posix_spawn(&pid, program, &actions, nullptr, argv, environment.data()) != 0) abort();
  posix_spawn_file_actions_destroy(&actions);
  return pid;
}

// --- audit --------------------------------------------------------------------------------------------------------

struct Commit {
  Csn csn;
  std::uint32_t worker;
  std::uint64_t number;
  Entry entry;
};

class Audit {
 public:
  // "" or what is wrong. `final`: nobody is at work any more.
  std::string run(const Session& session, const Board& board, bool final) {
    std::array<std::uint64_t, kWorkersMax> acked;
    for (std::uint32_t i = 0; i < kWorkersMax; ++i) acked[i] = board.workers[i].acked.load();
    TxnOptions options;
    options.read_only = true;
    Transaction txn(session.database);
    if (Status status = txn.begin(options); !status.ok()) return "begin: " + status.message();
    std::string wrong = read(txn, *session.table);
    if (wrong.empty()) wrong = replay();
    if (!wrong.empty()) return wrong;
    for (const auto& [counter, value] : counters_) {
      if (value != state_[counter]) {
        return "counter " + std::to_string(counter) + " stands at " + std::to_string(value) +
               ", the journal leads to " + std::to_string(state_[counter]);
      }
    }
    for (const auto& [counter, value] : state_) {
      if (counters_.count(counter) == 0) return "counter " + std::to_string(counter) + " is lost";
    }
    return compare(board, acked, final);
  }
  std::size_t commits() const { return commits_.size(); }

 private:
  std::string read(Transaction& txn, txn::Table& table) {
    RowCursor cursor(txn);
    if (Status status = cursor.open(table, {}); !status.ok()) return "cursor: " + status.message();
    Bytes key;
    RowView row;
    for (;;) {
      const Status status = cursor.next(&key, &row);
      if (status.code() == Code::kEND) return "";
      if (!status.ok()) return "cursor: " + status.message();
      if (key[0] == 'c') {
        if (row.flags != txn::kFlagCounter || row.value.size() != txn::kCounterSize) return "a damaged counter";
        counters_[std::atoi(std::string(key.substr(1)).c_str())] = txn::load_counter(row.value.data());
      } else {
        Commit commit{row.version, load_be32(key.data() + 1), load_be64(key.data() + 5), {}};
        if (key.size() != 13 || row.flags != 0 || !decode(row.value, &commit.entry)) {
          return "a damaged journal row: " + std::string(row.value);
        }
        commits_.push_back(std::move(commit));
      }
    }
  }

  std::string replay() {
    std::sort(commits_.begin(), commits_.end(), [](const Commit& a, const Commit& b) { return a.csn < b.csn; });
    std::map<Csn, std::map<int, std::int64_t>> left;  // what each commit left in the counters that it wrote
    Csn before = 0;
    for (const Commit& commit : commits_) {
      const std::string where = "commit " + std::to_string(commit.csn) + " (worker " + std::to_string(commit.worker) +
                                ", number " + std::to_string(commit.number) + ", " + encode(commit.entry) + "): ";
      if (commit.csn <= before) return where + "two with one csn";
      before = commit.csn;
      for (const Op& op : commit.entry.ops) {
        if (op.kind == 'r') {
          const std::int64_t value = state_.count(op.counter) != 0 ? state_[op.counter] : 0;
          if (value != op.value) return where + "read, where the order says " + std::to_string(value);
          continue;
        }
        std::int64_t& value = state_[op.counter];
        value = op.kind == 's' ? op.value : value + op.value;
        if (op.kind == 'a' && (value < op.min || value > op.max)) {
          return where + "out of bounds at " + std::to_string(value);
        }
        left[commit.csn][op.counter] = value;
      }
      if (commit.entry.told_csn != 0 && left[commit.entry.told_csn] != commit.entry.told) {
        return where + "was told another new value by the commit before";
      }
    }
    return "";
  }

  std::string compare(const Board& board, const std::array<std::uint64_t, kWorkersMax>& acked, bool final) {
    std::map<std::uint32_t, std::uint64_t> last;
    std::sort(commits_.begin(), commits_.end(), [](const Commit& a, const Commit& b) {
      return a.worker != b.worker ? a.worker < b.worker : a.number < b.number;
    });
    for (const Commit& commit : commits_) {
      if (commit.number != ++last[commit.worker]) return "a gap in worker " + std::to_string(commit.worker);
    }
    for (std::uint32_t worker = 0; worker < kWorkersMax; ++worker) {
      const std::uint64_t there = last.count(worker) != 0 ? last[worker] : 0;
      const WorkerRow& row = board.workers[worker];
      if (there < acked[worker] || (final && there > row.tried.load())) {
        return "worker " + std::to_string(worker) + " ends at " + std::to_string(there) + ", acknowledged were " +
               std::to_string(acked[worker]) + ", tried " + std::to_string(row.tried.load());
      }
      if (row.code.load() != 0) return "worker " + std::to_string(worker) + " was told: " + row.message;
    }
    return "";
  }

  std::vector<Commit> commits_;
  std::map<int, std::int64_t> counters_;
  std::map<int, std::int64_t> state_;
};

// --- the property -------------------------------------------------------------------------------------------------

class Scenario {
 public:
  Scenario(Random& random, const std::string& directory)
      : random_(random),
        db_(directory + "/db"),
        board_path_(directory + "/board"),
        board_(map_board(board_path_)),
        counters_(static_cast<int>(between(random, 1, 4))) {}
  ~Scenario() {
    for (const pid_t child : children_) end(child, SIGKILL);
    munmap(board_, sizeof(Board));
  }

  // One life of the database: processes come, are killed, come again; at last all end, one way or the other.
  void life() {
    board_->stop = 0;
    Session watcher;
    const bool watched = between(random_, 0, 1) == 0;
    for (std::int64_t i = between(random_, 2, 3); i > 0; --i) start();
    if (watched) open(&watcher);
    for (std::int64_t kills = between(random_, 1, 3); kills > 0 && !testing::Test::HasFailure(); --kills) {
      usleep(static_cast<useconds_t>(between(random_, 10, 150)) * 1'000);
      if (watched) audit(watcher, false);
      const auto victim = children_.begin() + between(random_, 0, static_cast<std::int64_t>(children_.size()) - 1);
      end(*victim, SIGKILL);
      children_.erase(victim);
      ++killed_;
      start();
    }
    usleep(static_cast<useconds_t>(between(random_, 10, 100)) * 1'000);
    const bool all_killed = between(random_, 0, 1) == 0;
    if (!all_killed) board_->stop = 1;
    for (const pid_t child : children_) end(child, all_killed ? SIGKILL : 0);
    killed_ += all_killed ? children_.size() : 0;
    children_.clear();
    if (watched) {
      audit(watcher, true);
      watcher.close();
    }
    Session reader;
    open(&reader);  // recovers, if nobody was left
    audit(reader, true);
    reader.close();
  }

  std::size_t commits() const { return commits_; }
  std::size_t killed() const { return killed_; }
  std::uint64_t refused() const {
    std::uint64_t sum = 0;
    for (const WorkerRow& row : board_->workers) sum += row.refused.load();
    return sum;
  }
  bool room_for_more() const { return workers_ + 32 < kWorkersMax; }

 private:
  void start() {
    static constexpr const char* kPoints[] = {
        "commit.prepared",       "commit.validated", "commit.appended",          "commit.inserting",
        "commit.inserted",       "commit.published", "overlay.insert.allocated", "overlay.insert.linked",
        "overlay.rotate.sealed", "merge.committed"};
    std::string point;
    if (platform::kTestPoints && between(random_, 0, 2) == 0) {
      point = std::string(kPoints[between(random_, 0, std::size(kPoints) - 1)]) +
              ":kill:" + std::to_string(between(random_, 1, 1'500));
    }
    children_.push_back(spawn_child(db_ + " " + board_path_ + " " + std::to_string(workers_) + " " +
                                        std::to_string(counters_) + " " + std::to_string(random_() % 1'000'000),
                                    point));
    workers_ += kThreads;
  }

  // With 0: it ends by itself.
  void end(pid_t child, int signal_number) {
    if (signal_number != 0) kill(child, signal_number);
    int status = 0;
    const Deadline deadline = Deadline::after_ms(60'000);
    while (waitpid(child, &status, WNOHANG) == 0) {
      if (deadline.passed()) {
        ADD_FAILURE() << "a process does not end";
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        return;
      }
      usleep(500);
    }
    // A named point may have killed it.
    EXPECT_TRUE((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
        << "ended with " << status;
  }

  void open(Session* session) {
    Result<Session> opened = Session::open(db_, "auditor");
    ASSERT_TRUE(opened.ok()) << opened.status().message();
    *session = std::move(opened).value();
  }

  void audit(const Session& session, bool final) {
    if (session.database == nullptr) return;
    Audit audit;
    EXPECT_EQ(audit.run(session, *board_, final), "") << (final ? "in the end" : "beside the workers");
    commits_ = audit.commits();
  }

  Random& random_;
  const std::string db_;
  const std::string board_path_;
  Board* board_;
  const int counters_;
  std::uint32_t workers_ = 0;
  std::vector<pid_t> children_;
  std::size_t commits_ = 0;
  std::size_t killed_ = 0;
};

TEST(Counters, EndAtTheSumOfWhatWasAcknowledgedWhoeverIsKilled) {
  const char* text = std::getenv("HOLDFAST_TEST_SEED");
  const std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : monotonic_ns();
  std::fprintf(stderr, "HOLDFAST_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  const char* wanted = std::getenv("HOLDFAST_TEST_SECONDS");
  const Deadline deadline = Deadline::after_ms(wanted != nullptr ? std::strtoull(wanted, nullptr, 10) * 1'000 : 12'000);
  std::size_t commits = 0, killed = 0, lives = 0;
  std::uint64_t refused = 0;
  do {
    const isolation::Directory directory;
    Scenario scenario(random, directory.path());
    for (std::int64_t i = between(random, 1, 4); i > 0 && scenario.room_for_more() && !HasFailure(); --i) {
      scenario.life();
      ++lives;
    }
    commits += scenario.commits();
    killed += scenario.killed();
    refused += scenario.refused();
  } while (!deadline.passed() && !HasFailure());
  std::printf("%zu lives, %zu commits, %llu refused, %zu kills\n", lives, commits,
              static_cast<unsigned long long>(refused), killed);
  EXPECT_GT(commits, isolation::kSanitized ? 500u : 5'000u);
  EXPECT_GT(refused, 100u);
  EXPECT_GE(killed, 4u);
}

}  // namespace
}  // namespace hf::property
