// SPDX-License-Identifier: Apache-2.0
// Goal: what threads of one and of two processes do at the same time is serializable (or a snapshot, where they asked
// for that), and strictly so. Method: small random transactions on 20 hot rows that write down what they saw;
// history.h checks it. A merging thread moves rows from the overlay to the base underneath. Seeds are printed; the
// interleaving is the machine's.
#include <sys/wait.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include "isolation/history.h"

namespace hf::isolation {
namespace {

constexpr int kKeys = 20;
constexpr std::uint32_t kThreads = 4;  // of each process

std::string key_name(int key) {
  char name[8];
  std::snprintf(name, sizeof name, "k%03d", key);
  return name;
}
int key_of(Bytes name) { return std::atoi(std::string(name.substr(1)).c_str()); }
std::uint64_t value_of(Bytes value) { return std::strtoull(std::string(value).c_str(), nullptr, 10); }

struct Load {
  std::uint64_t seed;
  int milliseconds;
  std::uint32_t merge_every_ms;
};

// One thread's transactions.
class Worker {
 public:
  Worker(std::shared_ptr<txn::Database> database, txn::Table& table, std::uint32_t number, std::uint64_t seed)
      : database_(std::move(database)),
        table_(&table),
        txn_(database_),
        number_(number),
        random_(seed * 1000 + number) {}

  void run(const std::atomic<bool>& stop) {
    while (!stop.load(std::memory_order_relaxed)) one();
  }
  History& history() { return history_; }
  const std::string& failure() const { return failure_; }

 private:
  int any_key() { return static_cast<int>(random_() % kKeys); }

  void one() {
    Record record;
    record.worker = number_;
    record.level = random_() % 4 == 0 ? Isolation::kSnapshot : Isolation::kSerializable;
    record.read_only = random_() % 8 == 0;
    txn::TxnOptions options = at_level(record.level, record.read_only);
    if (random_() % 8 == 0) options.durability = Durability::kDurable;
    record.begun_ns = monotonic_ns();
    Status status = txn_.begin(options);
    record.snapshot = txn_.snapshot_csn();
    if (status.ok()) status = body(record);
    // A hot row that was locked may have moved it forward, after a look at all that had been read.
    record.snapshot = txn_.snapshot_csn();
    if (status.ok()) status = txn_.commit(true);
    txn_.abort();
    record.answered_ns = monotonic_ns();
    record.committed = status.ok();
    record.commit = txn_.commit_csn();
    if (!status.ok() && !code_is_retryable(static_cast<int>(status.code()))) {
      failure_ = text_of(status);
    }
    if (record.read_only && !status.ok() && status.code() != Code::kSNAPSHOT_TOO_OLD)
      failure_ = "a read-only transaction was refused";
    history_.push_back(std::move(record));
  }

  Status body(Record& record) {
    for (std::uint64_t i = 0, reads = random_() % 4; i < reads; ++i) {
      if (Status status = read(record, any_key()); !status.ok()) return status;
    }
    if (random_() % 3 == 0) {
      if (Status status = scan(record); !status.ok()) return status;
    }
    if (random_() % 4 == 0) std::this_thread::yield();
    if (record.read_only) return {};
    for (std::uint64_t i = 0, writes = random_() % 4; i < writes; ++i) {
      if (Status status = write(record, any_key()); !status.ok()) return status;
    }
    return {};
  }

  Status read(Record& record, int key) {
    txn::RowView row;
    const Status status = txn_.get(*table_, key_name(key), &row);
    if (status.code() != Code::kOK && status.code() != Code::kNOT_FOUND) return status;
    record.reads.push_back(status.ok() ? Seen{key, row.version, value_of(row.value)} : Seen{key, 0, 0});
    return {};
  }

  // Both directions; some stop at a limit, and have passed over no more than up to their last row.
  Status scan(Record& record) {
    const int low = any_key(), high = std::min(kKeys - 1, low + static_cast<int>(random_() % 6));
    const std::string low_name = key_name(low), high_name = key_name(high);
    txn::Range range;
    range.low = low_name;
    range.high = high_name;
    range.high_inclusive = true;
    range.reverse = random_() % 2 == 0;
    range.limit = random_() % 3;
    ScanSeen scan{low, high, {}};
    txn::RowCursor cursor(txn_);
    Status status = cursor.open(*table_, range);
    Bytes key;
    txn::RowView row;
    while (status.ok() && (status = cursor.next(&key, &row)).ok()) {
      scan.rows.push_back({key_of(key), row.version, value_of(row.value)});
    }
    if (status.code() != Code::kEND) return status;
    const bool limited = range.limit != 0 && scan.rows.size() == range.limit;
    if (limited) (range.reverse ? scan.low : scan.high) = scan.rows.back().key;
    if (range.reverse) std::reverse(scan.rows.begin(), scan.rows.end());
    record.scans.push_back(std::move(scan));
    return {};
  }

  // All reads come before the writes, so what a read saw is never the transaction's own.
  Status write(Record& record, int key) {
    for (const Write& other : record.writes) {
      if (other.key == key) return {};
    }
    Write write{key, 0};
    if (random_() % 5 != 0) write.value = (std::uint64_t{number_} + 1) << 32 | ++values_;
    record.writes.push_back(write);
    const std::string name = key_name(key);
    return write.value != 0 ? txn_.put(*table_, name, std::to_string(write.value), 0) : txn_.erase(*table_, name);
  }

  std::shared_ptr<txn::Database> database_;
  txn::Table* table_;
  txn::Transaction txn_;
  std::uint32_t number_;
  std::mt19937_64 random_;
  std::uint64_t values_ = 0;
  History history_;
  std::string failure_;
};

// What one process does: kThreads workers and, if asked for, merges underneath. Answers what went wrong, or "".
std::string run_workers(World& world, const Load& load, std::uint32_t first_worker, History& history) {
  txn::Table& table = world.table();
  std::atomic<bool> stop{false};
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < kThreads; ++i) {
    workers.push_back(std::make_unique<Worker>(world.database(), table, first_worker + i, load.seed));
    threads.emplace_back([&worker = *workers.back(), &stop] { worker.run(stop); });
  }
  const std::uint64_t end_ns = monotonic_ns() + static_cast<std::uint64_t>(load.milliseconds) * 1'000'000;
  while (monotonic_ns() < end_ns) {
    std::this_thread::sleep_for(std::chrono::milliseconds(load.merge_every_ms == 0 ? 20 : load.merge_every_ms));
    if (load.merge_every_ms != 0) world.merge();
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  std::string failure;
  for (const auto& worker : workers) {
    if (!worker->failure().empty()) failure = worker->failure();
    std::move(worker->history().begin(), worker->history().end(), std::back_inserter(history));
  }
  return failure;
}

void expect_explained(const History& history, Csn start, const Load& load) {
  std::size_t commits = 0, conflicts = 0;
  for (const Record& record : history) {
    commits += record.committed && record.commit != 0 ? 1 : 0;
    conflicts += record.committed ? 0 : 1;
  }
  std::printf("seed %llu: %zu transactions, %zu commits, %zu refused\n", static_cast<unsigned long long>(load.seed),
              history.size(), commits, conflicts);
  EXPECT_GT(commits, 50u);
  EXPECT_GT(conflicts, 0u) << "the transactions did not meet: this run proves little";
  for (const std::string& complaint : explain(history, start)) ADD_FAILURE() << complaint;
}

Csn published(World& world) {
  return Actor(world, world.table(), at_level(Isolation::kSnapshot, true)).txn().snapshot_csn();
}

txn::DatabaseOptions options_for(bool background) {
  txn::DatabaseOptions options = default_options();
  options.background_thread = background;
  options.overlay_bytes_max = 4u << 20;
  options.merge_interval_ms = 10;
  return options;
}

std::uint64_t fresh_seed() {
  const char* const wanted = std::getenv("HOLDFAST_TEST_SEED");
  return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : std::random_device()();
}

class Histories : public ::testing::TestWithParam<bool> {};

TEST_P(Histories, OfThreadsAreSerializable) {
  const Load load{fresh_seed(), scaled(1'200), GetParam() ? 15u : 0u};
  World world(options_for(GetParam()));
  world.table();
  const Csn start = published(world);
  History history;
  EXPECT_EQ(run_workers(world, load, 0, history), "");
  expect_explained(history, start, load);
}

int child_main(const std::string& path, const Load& load, int go, const std::string& file) {
  char byte;
  if (read(go, &byte, 1) != 1) return 2;  // the table is there
  History history;
  std::string failure;
  {
    World world(options_for(load.merge_every_ms != 0), path);
    failure = run_workers(world, load, 100, history);
  }
  std::ofstream(file, std::ios::binary) << encode(history);
  if (!failure.empty()) std::fprintf(stderr, "child: %s\n", failure.c_str());
  return failure.empty() && !::testing::Test::HasFailure() ? 0 : 1;
}

TEST_P(Histories, OfTwoProcessesAreSerializable) {
  const Load load{fresh_seed(), scaled(1'500), GetParam() ? 15u : 0u};
  Directory directory;
  const std::string file = directory.path() + ".history";
  int go[2];
  ASSERT_EQ(pipe(go), 0);
  const pid_t child = fork();  // before anything is open
  ASSERT_GE(child, 0);
  if (child == 0) _exit(child_main(directory.path(), load, go[0], file));
  Csn start = 0;
  History history;
  {
    World world(options_for(GetParam()), directory.path());
    world.table();
    start = published(world);
    EXPECT_EQ(write(go[1], "g", 1), 1);
    EXPECT_EQ(run_workers(world, load, 0, history), "");
  }
  close(go[0]);
  close(go[1]);
  int state = 0;
  ASSERT_EQ(waitpid(child, &state, 0), child);
  ASSERT_TRUE(WIFEXITED(state));
  EXPECT_EQ(WEXITSTATUS(state), 0);
  std::stringstream bytes;
  bytes << std::ifstream(file, std::ios::binary).rdbuf();
  std::filesystem::remove(file);
  const History others = decode(bytes.str());
  EXPECT_GT(others.size(), 50u);
  history.insert(history.end(), others.begin(), others.end());
  expect_explained(history, start, load);
}

INSTANTIATE_TEST_SUITE_P(Engine, Histories, ::testing::Bool(),
                         [](const auto& in) { return std::string(in.param ? "WithMerges" : "WithoutMerges"); });

}  // namespace
}  // namespace hf::isolation
