// SPDX-License-Identifier: Apache-2.0
// The workload, its audit, and the roles that run them.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "crash/fixture.h"

namespace hf::crash {
namespace {

using txn::Range;
using txn::RowCursor;
using txn::RowView;
using txn::Transaction;
using txn::TxnOptions;

constexpr std::size_t kPaddingSize = 120;  // makes the log roll and the overlay rotate several times a second

std::string be(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes - 1; i >= 0; --i) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}

std::uint64_t from_be(Bytes text) {
  std::uint64_t value = 0;
  for (const char byte : text) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

std::string group_key(std::uint32_t worker, std::uint32_t row) { return "g" + be(worker, 2) + be(row, 1); }
std::string history_key(std::uint32_t worker, std::uint64_t number) { return "h" + be(worker, 2) + be(number, 8); }
std::string account_key(std::uint64_t account) { return "a" + be(account, 2); }

// The number, and bytes that follow from it.
std::string value_of_number(std::uint64_t number) {
  return be(number, 8) + std::string(kPaddingSize, static_cast<char>('a' + number % 26));
}

bool read_number(Bytes value, std::uint64_t* number) {
  if (value.size() != 8 + kPaddingSize) return false;
  *number = from_be(value.substr(0, 8));
  return value == value_of_number(*number);
}

Status add_points(Transaction& txn, txn::Table& table, std::uint64_t account, std::int64_t points) {
  const std::string key = account_key(account);
  RowView row;
  Status status = txn.get(table, key, &row);
  if (!status.ok() && status.code() != Code::kNOT_FOUND) return status;
  const std::uint64_t before = status.ok() ? from_be(row.value) : 0;
  return txn.put(table, key, be(before + static_cast<std::uint64_t>(points), 8), 0);
}

Status write_all(Transaction& txn, txn::Table& table, std::uint32_t worker, std::uint64_t number) {
  const std::string value = value_of_number(number);
  for (std::uint32_t row = 0; row < kGroupRows; ++row) {
    if (Status status = txn.put(table, group_key(worker, row), value, 0); !status.ok()) return status;
  }
  if (Status status = txn.insert(table, history_key(worker, number), value, 0); !status.ok()) return status;
  const std::uint64_t mixed = (number * 0x9E3779B97F4A7C15u) ^ worker;
  const std::uint64_t from = (mixed >> 20) % kAccounts;
  const std::uint64_t to = (from + 1 + (mixed >> 40) % (kAccounts - 1)) % kAccounts;
  if (Status status = add_points(txn, table, from, -1); !status.ok()) return status;
  return add_points(txn, table, to, 1);
}

void note_end(WorkerRow& row, const Status& status) {
  std::snprintf(row.message, sizeof row.message, "%s", status.message().c_str());
  row.code.store(static_cast<std::uint32_t>(status.code()), std::memory_order_release);
}

// Runs `visit` on every row with that prefix; stops at its first complaint.
std::string each_row(Transaction& txn, txn::Table& table, const std::string& prefix,
                     const std::function<std::string(Bytes key, const RowView& row)>& visit) {
  RowCursor cursor(txn);
  Range range;
  range.prefix = prefix;
  if (Status status = cursor.open(table, range); !status.ok()) return "cursor: " + status.message();
  Bytes key;
  RowView row;
  for (;;) {
    const Status status = cursor.next(&key, &row);
    if (status.code() == Code::kEND) return "";
    if (!status.ok()) return "cursor: " + status.message();
    if (std::string wrong = visit(key, row); !wrong.empty()) return wrong;
  }
}

// What one snapshot holds.
struct Findings {
  std::uint64_t last[kWorkersMax] = {};  // newest history row of each worker
  Csn last_csn[kWorkersMax] = {};        // its version
  Csn acked_csn[kWorkersMax] = {};       // version of the newest acknowledged one
  std::uint64_t group[kWorkersMax] = {};
  std::uint32_t group_rows[kWorkersMax] = {};
  std::vector<Csn> versions;
};

std::string read_groups(Transaction& txn, txn::Table& table, Findings& found) {
  std::string wrong = each_row(txn, table, "g", [&](Bytes key, const RowView& row) -> std::string {
    std::uint64_t number = 0;
    const std::uint64_t worker = from_be(key.substr(1, 2));
    if (worker >= kWorkersMax || !read_number(row.value, &number)) return "a damaged group row";
    if (found.group_rows[worker]++ != 0 && found.group[worker] != number) {
      return "half a transaction: worker " + std::to_string(worker) + " has " + std::to_string(found.group[worker]) +
             " and " + std::to_string(number);
    }
    found.group[worker] = number;
    return "";
  });
  for (std::uint32_t worker = 0; worker < kWorkersMax && wrong.empty(); ++worker) {
    if (found.group_rows[worker] != 0 && found.group_rows[worker] != kGroupRows) {
      wrong = "half a transaction: worker " + std::to_string(worker) + " lacks group rows";
    }
  }
  return wrong;
}

std::string check_sum(Transaction& txn, txn::Table& table) {
  std::uint64_t sum = 0;
  std::string wrong = each_row(txn, table, "a", [&](Bytes, const RowView& row) -> std::string {
    if (row.value.size() != 8) return "a damaged account";
    sum += from_be(row.value);
    return "";
  });
  if (wrong.empty() && sum != 0) wrong = "points were made or lost: " + std::to_string(static_cast<std::int64_t>(sum));
  return wrong;
}

std::string read_history(Transaction& txn, txn::Table& table, const Board& board, Findings& found) {
  return each_row(txn, table, "h", [&](Bytes key, const RowView& row) -> std::string {
    const std::uint64_t worker = from_be(key.substr(1, 2));
    const std::uint64_t number = from_be(key.substr(3));
    std::uint64_t inside = 0;
    if (worker >= kWorkersMax || !read_number(row.value, &inside) || inside != number) return "a damaged history row";
    const std::string who = "worker " + std::to_string(worker) + ": commit " + std::to_string(number);
    if (number != found.last[worker] + 1) return who + " follows " + std::to_string(found.last[worker]);
    if (row.version <= found.last_csn[worker]) return who + " has a csn that is not after the one before";
    found.last[worker] = number;
    found.last_csn[worker] = row.version;
    if (number == board.workers[worker].acked.load(std::memory_order_acquire)) found.acked_csn[worker] = row.version;
    found.versions.push_back(row.version);
    return "";
  });
}

std::string check_worker(const Board& board, std::uint32_t worker, const Findings& found, Acked acked) {
  const WorkerRow& row = board.workers[worker];
  const std::uint64_t answered = row.acked.load(std::memory_order_acquire);
  const std::string who = "worker " + std::to_string(worker) + ": ";
  if (found.group[worker] != found.last[worker]) {
    return who + "half a transaction: group says " + std::to_string(found.group[worker]) + ", history says " +
           std::to_string(found.last[worker]);
  }
  if (found.last[worker] > row.tried.load(std::memory_order_acquire)) return who + "a commit that nobody tried";
  if (acked == Acked::kMayBeGone) return "";
  if (found.last[worker] < answered) {
    return who + "an acknowledged commit is gone: " + std::to_string(answered) + " was answered, " +
           std::to_string(found.last[worker]) + " is the newest";
  }
  if (answered != 0 && found.acked_csn[worker] != row.acked_csn.load(std::memory_order_acquire)) {
    return who + "commit " + std::to_string(answered) + " has csn " + std::to_string(found.acked_csn[worker]) +
           ", but was answered with " + std::to_string(row.acked_csn.load(std::memory_order_acquire));
  }
  return "";
}

std::string check_dense(std::vector<Csn>& versions, Csn snapshot) {
  if (versions.empty()) return "";
  std::sort(versions.begin(), versions.end());
  for (std::size_t i = 1; i < versions.size(); ++i) {
    if (versions[i] != versions[i - 1] + 1) {
      return "csn " + std::to_string(versions[i - 1]) + " is followed by " + std::to_string(versions[i]);
    }
  }
  if (versions.back() != snapshot) {
    return "the newest commit is " + std::to_string(versions.back()) + ", the snapshot " + std::to_string(snapshot);
  }
  return "";
}

}  // namespace

// --- writing -------------------------------------------------------------------------------------------------------

Result<Session> Session::open(const std::string& path, const txn::DatabaseOptions& options) {
  Result<std::shared_ptr<txn::Database>> database = txn::Database::open(path, options);
  if (!database.ok()) return std::move(database).status();
  Session session;
  session.database_ = std::move(database).value();
  session.catalog_ = catalog::Catalog::of(session.database_);
  Result<txn::Table*> table = session.catalog_->open("rows");
  bool existed = false;
  if (table.code() == Code::kNO_TABLE) table = session.catalog_->create("rows", &existed);
  if (!table.ok()) return std::move(table).status();
  session.table_ = table.value();
  return session;
}

Status write_once(const Session& session, std::uint32_t worker, std::uint64_t number, txn::Durability durability,
                  Csn* csn) {
  Transaction txn(session.database());
  TxnOptions options;
  options.durability = durability;
  for (;;) {
    Status status = txn.begin(options);
    if (status.ok()) status = write_all(txn, session.table(), worker, number);
    if (status.ok()) status = txn.commit(true);
    *csn = txn.commit_csn();
    if (status.code() != Code::kCONFLICT && status.code() != Code::kSNAPSHOT_TOO_OLD) return status;
    txn.abort();
  }
}

Result<std::uint64_t> newest_number(const Session& session, std::uint32_t worker) {
  Transaction txn(session.database());
  TxnOptions options;
  options.read_only = true;
  if (Status status = txn.begin(options); !status.ok()) return status;
  RowView row;
  const Status status = txn.get(session.table(), group_key(worker, 0), &row);
  if (status.code() == Code::kNOT_FOUND) return std::uint64_t{0};
  std::uint64_t number = 0;
  if (!status.ok()) return status;
  if (!read_number(row.value, &number)) return Status(Code::kCORRUPT, "a damaged group row");
  return number;
}

Status work(const Session& session, Board& board, std::uint32_t worker, txn::Durability durability,
            std::uint64_t count) {
  WorkerRow& row = board.workers[worker];
  Result<std::uint64_t> newest = newest_number(session, worker);
  if (!newest.ok()) {
    note_end(row, newest.status());
    return newest.status();
  }
  const std::uint64_t first = *newest + 1;
  for (std::uint64_t number = first; count == 0 || number < first + count; ++number) {
    if (board.stop.load(std::memory_order_relaxed) != 0) break;
    row.tried.store(number, std::memory_order_release);
    const std::uint64_t began = monotonic_ns();
    Csn csn = 0;
    Status status = write_once(session, worker, number, durability, &csn);
    if (!status.ok()) {
      note_end(row, status);
      return status;
    }
    row.acked_csn.store(csn, std::memory_order_release);
    row.acked.store(number, std::memory_order_release);
    const std::uint64_t took = monotonic_ns() - began;
    if (took > row.slowest_ns.load(std::memory_order_relaxed)) row.slowest_ns.store(took, std::memory_order_relaxed);
  }
  return {};
}

Status put_row(const Session& session, const std::string& key, const std::string& value) {
  Transaction txn(session.database());
  for (;;) {
    if (Status status = txn.begin(TxnOptions{}); !status.ok()) return status;
    Status status = txn.put(session.table(), key, value, 0);
    if (status.ok()) status = txn.commit(true);
    if (status.code() != Code::kCONFLICT && status.code() != Code::kSNAPSHOT_TOO_OLD) return status;
    txn.abort();
  }
}

// --- audit ---------------------------------------------------------------------------------------------------------

std::string audit_groups(const Session& session) {
  Transaction txn(session.database());
  TxnOptions options;
  options.read_only = true;
  if (Status status = txn.begin(options); !status.ok()) return "begin: " + status.message();
  Findings found;
  std::string wrong = read_groups(txn, session.table(), found);
  return wrong.empty() ? check_sum(txn, session.table()) : wrong;
}

std::string audit(const Session& session, const Board& board, Acked acked) {
  Transaction txn(session.database());
  TxnOptions options;
  options.read_only = true;
  if (Status status = txn.begin(options); !status.ok()) return "begin: " + status.message();
  Findings found;
  std::string wrong = read_groups(txn, session.table(), found);
  if (wrong.empty()) wrong = check_sum(txn, session.table());
  if (wrong.empty()) wrong = read_history(txn, session.table(), board, found);
  for (std::uint32_t worker = 0; worker < kWorkersMax && wrong.empty(); ++worker) {
    wrong = check_worker(board, worker, found, acked);
  }
  return wrong.empty() ? check_dense(found.versions, txn.snapshot_csn()) : wrong;
}

namespace {

void report(Board& board, const std::string& text) {
  std::snprintf(board.report, sizeof board.report, "%s", text.c_str());
  board.faults.fetch_add(1, std::memory_order_release);
  std::fprintf(stderr, "[%d] %s\n", getpid(), text.c_str());
}

void audit_until_stop(const Session& session, Board& board) {
  while (board.stop.load(std::memory_order_relaxed) == 0) {
    const std::string wrong = audit_groups(session);
    if (!wrong.empty()) return report(board, "live audit: " + wrong);
    board.audits.fetch_add(1, std::memory_order_relaxed);
    usleep(2000);
  }
}

// first, threads, count, durable (1, 0, or 2: every second worker), wait_go, auditor, stay, and the options. Exit
// code 0: everything was acknowledged; 2: an answer that is noted on the board; 3: the database did not open.
int worker_role(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
  if (!session.ok()) {
    report(*board, "open: " + session.status().message());
    return 3;
  }
  board->ready.fetch_add(1, std::memory_order_release);
  while (number_in(arguments, "wait_go", 0) != 0 && board->go.load(std::memory_order_acquire) == 0) usleep(500);

  const auto first = static_cast<std::uint32_t>(number_in(arguments, "first", 0));
  const std::uint64_t durable = number_in(arguments, "durable", 1);
  std::atomic<bool> failed{false};
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < number_in(arguments, "threads", 1); ++i) {
    const bool waits = durable == 1 || (durable == 2 && i % 2 == 0);
    threads.emplace_back([&, worker = first + i, waits] {
      const auto durability = waits ? txn::Durability::kDurable : txn::Durability::kRelaxed;
      if (!work(*session, *board, worker, durability, number_in(arguments, "count", 0)).ok()) failed = true;
    });
  }
  if (number_in(arguments, "auditor", 0) != 0) threads.emplace_back([&] { audit_until_stop(*session, *board); });
  for (std::thread& thread : threads) thread.join();
  while (number_in(arguments, "stay", 0) != 0) pause();  // to be killed with the database open
  return failed ? 2 : 0;
}
const Role worker_registration("worker", worker_role);

// Opens, audits, and ends in order, or with die=1 by SIGKILL. relaxed_gone=1: acknowledged commits may be missing.
int audit_role(const Arguments& arguments) {
  SharedBoard board(arguments.at("board"));
  Result<Session> session = Session::open(arguments.at("db"), options_in(arguments));
  if (!session.ok()) {
    report(*board, "audit, open: " + session.status().message());
    return 3;
  }
  const Acked acked = number_in(arguments, "acked_gone", 0) != 0 ? Acked::kMayBeGone : Acked::kMustBeThere;
  const std::string wrong = audit(*session, *board, acked);
  if (!wrong.empty()) {
    report(*board, "audit: " + wrong);
    return 4;
  }
  board->audits.fetch_add(1, std::memory_order_relaxed);
  if (number_in(arguments, "die", 0) != 0) kill(getpid(), SIGKILL);
  return 0;
}
const Role audit_registration("audit", audit_role);

}  // namespace

void expect_sound(const Arguments& arguments, Board& board, const std::string& where) {
  const bool dies = number_in(arguments, "die", 0) != 0;
  const int end = Child("audit", arguments).wait();
  EXPECT_EQ(end, dies ? kKilled : 0) << where << ": " << board.report;
}

}  // namespace hf::crash
