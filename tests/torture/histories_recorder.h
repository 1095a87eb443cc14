// SPDX-License-Identifier: Apache-2.0
// A client that writes down what it does: each call of the public C interface, with what came of it, on a tape. What to
// do is decided by Worker (histories_worker.h).
//
// Thread contract: one thread. Board is shared by all processes of a round.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "histories/history.h"
#include "holdfast/holdfast.h"
#include "torture/histories_tape.h"

namespace torture {

// Memory that all processes of a round share: where the rows in use stand, so that all move on together, and how far
// they got. It is the test's own, nothing of the engine's.
struct Board {
  static constexpr unsigned kSlotsMax = 16;
  std::atomic<std::uint64_t> begun;  // transactions
  std::uint64_t limit;
  std::atomic<std::uint64_t> committed, refused;
  std::atomic<std::uint32_t> workers;  // numbers given out
  std::atomic<bool> failed;
  char failure[480];
  std::atomic<std::uint64_t> lists[kSlotsMax];      // generation in use
  std::atomic<std::uint64_t> registers[kSlotsMax];  // writes so far
  std::atomic<std::uint64_t> rows[kSlotsMax];       // inserts so far

  // The first failure stays.
  void fail(const std::string& text);
};

// Rows lie in two tables, so that transactions span both.
struct Tables {
  hf_table* rows = nullptr;
  hf_table* numbers = nullptr;
  hf_table* of(histories::Key key) const {
    const histories::Space space = histories::space_of(key);
    return space == histories::Space::kRegister || space == histories::Space::kRow ? rows : numbers;
  }
};

std::uint64_t now_ns();
// Of eight bytes, most significant first: the order of keys is that of numbers.
struct KeyBytes {
  unsigned char bytes[8];
  explicit KeyBytes(histories::Key key);
  hf_bytes c() const { return {bytes, sizeof bytes}; }
};
histories::Key key_of(const hf_bytes& bytes);

class Recorder {
 public:
  enum class Lock { kNone, kUpdate, kShare };

  struct Found {
    bool going = false;  // the transaction goes on
    bool there = false;
    bool locked_out = false;  // somebody else holds it, and it was skipped
    histories::Value value = 0;
    std::uint64_t version = 0;
    std::vector<histories::Item> items;
  };

  Recorder(hf_db* db, const Tables& tables, Board& board, const std::string& tapes);

  std::uint32_t number() const { return number_; }
  histories::Level level() const { return done_.level; }
  bool read_only() const { return read_only_; }
  // A value that nobody else writes.
  histories::Value fresh() { return std::uint64_t{number_ + 1} << 32 | ++values_; }

  // A transaction by hand. All answer whether to go on; after false it has to be aborted, which is fine after a commit
  // too. commit() and abort() end the handle; they answer false when the round is over.
  bool begin(const hf_txn_options& options);
  bool commit(bool by_ticket);
  bool abort();

  // One by hf_transact: an attempt begins; it is about to be committed; all is over. The last two in place of commit().
  void begin_retried(const hf_txn_options& options);
  void attempt(hf_txn* txn);
  int attempt_failed();
  int attempt_done();
  bool end_retried(int code);

  Found read(histories::Key key, Lock lock = Lock::kNone, bool wait = true);
  // At one point; answers whether to go on. With a lock those that somebody else holds are skipped.
  bool read_many(const std::vector<histories::Key>& keys, Lock lock, std::vector<Found>* found);
  bool read_counter(histories::Key key);
  // [low, high], or what was passed over of it.
  bool scan(histories::Key low, histories::Key high, bool reverse, std::uint64_t limit, bool locking);
  bool lock_many(const std::vector<histories::Key>& keys);

  // With `expected`: only where the row has the version that was found.
  bool put(histories::Key key, histories::Value value, const Found* expected = nullptr);
  bool append(histories::Key key, const Found& list, bool by_version);
  bool insert(histories::Key key, histories::Value value);  // fine, and nothing written, when it is there
  bool update(histories::Key key, histories::Value value);  // these two when it is gone
  bool remove(histories::Key key, bool blindly);
  bool add(histories::Key key, std::int64_t delta, std::int64_t min, std::int64_t max);
  bool savepoint(std::uint64_t* id);
  bool rollback_to(std::uint64_t id);

 private:
  void start(const hf_txn_options& options);
  void conclude(int code);
  bool put_bytes(histories::OpKind kind, histories::Key key, histories::Value value, const std::string& bytes,
                 const Found* expected);
  bool walk(histories::Key key, const hf_cursor_options& options, std::vector<histories::Item>* items);
  bool tape_full();
  bool over() const { return board_.failed.load(std::memory_order_relaxed); }
  void unexpected(const char* call, int code);
  bool goes_on(const char* call, int code);
  histories::Op& note(histories::OpKind kind, histories::Key key, histories::Value value, std::uint64_t begun_ns,
                      bool holds = false);
  void note_found(histories::Key key, const Found& found, std::uint64_t begun_ns, bool holds);
  void take(histories::Key key, const hf_row& row, Found* found);

  hf_db* db_;
  Tables tables_;
  Board& board_;
  std::uint32_t number_;
  Tape tape_;
  hf_txn* txn_ = nullptr;
  bool read_only_ = false;
  bool asked_ = false;  // the attempt waits for its answer
  std::uint64_t values_ = 0;
  histories::Txn done_;
  std::vector<histories::Key> counters_;  // that the transaction added to
};

}  // namespace torture
