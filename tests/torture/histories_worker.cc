// SPDX-License-Identifier: Apache-2.0
#include "torture/histories_worker.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <vector>

namespace torture {

using histories::Key;
using histories::Level;
using histories::make_key;
using histories::Space;
using Found = Recorder::Found;
using Lock = Recorder::Lock;

namespace {

constexpr std::uint64_t kLockTimeoutMs = 1'000;
constexpr std::uint64_t kListMax = 24;         // elements; then a fresh list takes its place
constexpr std::uint64_t kRegisterWrites = 96;  // of one register; then a fresh one
constexpr std::uint64_t kRowsOfRange = 24;     // keys of one range; then a fresh range
constexpr std::uint64_t kCounters = 3;         // of each kind
constexpr std::int64_t kStockMax = 12;

}  // namespace

class Worker::Body {
 public:
  Body(hf_db* db, const Tables& tables, Board& board, const Load& load, const std::string& tapes)
      : db_(db),
        board_(board),
        load_(load),
        recorder_(db, tables, board, tapes),
        random_(load.seed * 1'000'003 + recorder_.number()) {}

  void run() {
    while (!board_.failed.load(std::memory_order_relaxed) && board_.begun.fetch_add(1) < board_.limit) {
      if (!(chance(15) ? retried() : by_hand())) return;
    }
  }

  void read_all();

 private:
  std::uint64_t pick(std::uint64_t count) { return random_() % count; }
  bool chance(unsigned percent) { return pick(100) < percent; }
  std::uint64_t slot() { return pick(load_.slots); }

  // --- transactions --------------------------------------------------------------------------------------------------

  hf_txn_options options() {
    hf_txn_options options = HF_TXN_OPTIONS_INIT;
    const std::uint64_t at = pick(load_.mix.serializable + load_.mix.snapshot + load_.mix.read_committed);
    options.isolation = at < load_.mix.serializable                        ? HF_SERIALIZABLE
                        : at < load_.mix.serializable + load_.mix.snapshot ? HF_SNAPSHOT
                                                                           : HF_READ_COMMITTED;
    options.durability = chance(load_.durable_percent) ? HF_DURABLE : HF_RELAXED;
    options.lock_timeout_ms = kLockTimeoutMs;
    if (!load_.heat) options.flags |= HF_TXN_NO_HEAT;
    return options;
  }

  bool by_hand() {
    hf_txn_options options = this->options();
    if (chance(15)) {
      options.flags |= HF_TXN_READ_ONLY;
      if (options.isolation != HF_READ_COMMITTED && chance(15)) options.flags |= HF_TXN_BASE_ONLY;
    }
    if (chance(2)) options.deadline_ms = 1 + pick(3);  // some are too slow, and others take their locks
    if (!recorder_.begin(options)) return false;
    by_retries_ = false;
    const bool going = steps() && !chance(4);  // some change their mind
    return going ? recorder_.commit(chance(10)) : recorder_.abort();
  }

  bool retried() {
    hf_transact_options options = HF_TRANSACT_OPTIONS_INIT;
    options.attempts_max = 10;
    options.txn = this->options();
    recorder_.begin_retried(options.txn);
    by_retries_ = true;
    const hf_transact_fn attempt = [](hf_txn* txn, void* context) {
      Body& body = *static_cast<Body*>(context);
      body.recorder_.attempt(txn);
      return body.steps() ? body.recorder_.attempt_done() : body.recorder_.attempt_failed();
    };
    return recorder_.end_retried(hf_transact(db_, &options, attempt, this, nullptr));
  }

  bool steps() {
    for (std::uint64_t left = 1 + pick(5); left > 0; --left) {
      if (!(recorder_.read_only() ? look() : step())) return false;
      pause();
    }
    return true;
  }

  void pause() {
    if (chance(20)) sched_yield();
    if (chance(4)) usleep(static_cast<useconds_t>(20 + pick(100)));
  }

  // --- reads ---------------------------------------------------------------------------------------------------------

  Lock lock() {
    if (recorder_.read_only() || chance(75)) return Lock::kNone;
    return chance(65) ? Lock::kUpdate : Lock::kShare;
  }

  // A part of a range, either way, sometimes only its first rows.
  bool scan() {
    const std::uint64_t at = slot();
    const std::uint64_t generation = board_.rows[at].load(std::memory_order_relaxed) / kRowsOfRange;
    const std::uint64_t from = chance(60) ? 0 : pick(kRowsOfRange);
    const std::uint64_t to = from == 0 ? kRowsOfRange - 1 : from + pick(kRowsOfRange - from);
    // A locking cursor reads each row at a moment of its own; only validation makes one of them.
    const bool locking = !recorder_.read_only() && recorder_.level() == Level::kSerializable && chance(8);
    return recorder_.scan(make_key(Space::kRow, at, generation, from), make_key(Space::kRow, at, generation, to),
                          chance(30), chance(30) ? 1 + pick(4) : 0, locking);
  }

  bool look_at_many(Lock lock) {
    std::vector<Key> keys;
    for (std::uint64_t left = 2 + pick(2); left > 0; --left) keys.push_back(register_key(slot()));
    std::vector<Found> found;
    return recorder_.read_many(keys, lock, &found);
  }

  bool look() {
    switch (pick(9)) {
      case 0:
      case 1:
        return recorder_.read(list_key(slot())).going;
      case 2:
        return recorder_.read(register_key(slot())).going;
      case 3:
        return look_at_many(Lock::kNone);
      case 4:
        return recorder_.read(row_key(slot())).going;
      case 5:
        return recorder_.read_counter(counter_key(chance(60) ? Space::kCounter : Space::kStock));
      default:
        return scan();
    }
  }

  // --- rows in use ---------------------------------------------------------------------------------------------------

  Key counter_key(Space space) { return make_key(space, pick(kCounters)); }
  Key list_key(std::uint64_t at) {
    return make_key(Space::kList, at, board_.lists[at].load(std::memory_order_relaxed));
  }
  Key register_key(std::uint64_t at) {
    return make_key(Space::kRegister, at, board_.registers[at].load(std::memory_order_relaxed) / kRegisterWrites);
  }
  void note_register_write(Key key) { board_.registers[key >> 40 & 0xffff].fetch_add(1, std::memory_order_relaxed); }
  // One of the range in use, or of the one before.
  Key row_key(std::uint64_t at) {
    const std::uint64_t count = board_.rows[at].load(std::memory_order_relaxed);
    return row_of(at, count - std::min(count, pick(kRowsOfRange)));
  }
  // Rows are inserted in a mixed order.
  static Key row_of(std::uint64_t at, std::uint64_t count) {
    return make_key(Space::kRow, at, count / kRowsOfRange, count % kRowsOfRange * 7 % kRowsOfRange);
  }

  // --- writes --------------------------------------------------------------------------------------------------------

  bool step() {
    switch (pick(20)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return append();
      case 4:
      case 5:
      case 6:
        return write_register();
      case 7:
      case 8:
      case 9:
        return insert();
      case 10:
      case 11:
        return change_row();
      case 12:
        return add(Space::kCounter);
      case 13:
        return add(Space::kStock);
      case 14:
        return chance(35) ? undo() : write_many();
      case 15:
        return chance(30)
                   ? look_at_many(lock())
                   : recorder_.read(chance(50) ? list_key(slot()) : register_key(slot()), lock(), chance(80)).going;
      default:
        return look();
    }
  }

  // At read committed a list is read under a lock, or written back by version: else updates would be lost, as they
  // may there, and lists would not tell their order any more.
  bool append() {
    const std::uint64_t at = slot();
    const Key key = list_key(at);
    const bool by_version = chance(25);
    const bool plain = by_version || (recorder_.level() != Level::kReadCommitted && chance(60));
    const Found list = recorder_.read(key, plain ? Lock::kNone : Lock::kUpdate);
    if (!list.going) return false;
    if (list.items.size() >= kListMax) {
      std::uint64_t generation = key >> 8 & 0xffffffff;
      board_.lists[at].compare_exchange_strong(generation, generation + 1, std::memory_order_relaxed);
    }
    return recorder_.append(key, list, by_version);
  }

  bool write_register() {
    const Key key = register_key(slot());
    note_register_write(key);
    if (chance(40)) return recorder_.put(key, recorder_.fresh());  // blindly
    const bool by_version = chance(30);
    const Found found = recorder_.read(key, by_version || chance(60) ? Lock::kNone : Lock::kUpdate);
    if (!found.going) return false;
    if (chance(20)) pause();
    return recorder_.put(key, recorder_.fresh(), by_version ? &found : nullptr);
  }

  bool insert() {
    const std::uint64_t at = slot();
    std::atomic<std::uint64_t>& rows = board_.rows[at];
    if (chance(25)) {  // what somebody else may be inserting now
      const std::uint64_t count = rows.load(std::memory_order_relaxed);
      return recorder_.insert(row_of(at, count - std::min(count, 1 + pick(4))), recorder_.fresh());
    }
    const Key key = row_of(at, rows.fetch_add(1, std::memory_order_relaxed));
    return chance(15) ? recorder_.put(key, recorder_.fresh()) : recorder_.insert(key, recorder_.fresh());
  }

  bool change_row() {
    const Key key = row_key(slot());
    const Found found = recorder_.read(key, lock());
    if (!found.going || !found.there) return found.going;
    return chance(50) ? recorder_.remove(key, chance(50)) : recorder_.update(key, recorder_.fresh());
  }

  bool add(Space space) {
    if (by_retries_) return look();  // hf_transact does not tell what the counter came to
    const Key key = counter_key(space);
    const auto delta = 1 + static_cast<std::int64_t>(pick(3));
    if (space == Space::kCounter) return recorder_.add(key, delta, INT64_MIN, INT64_MAX);
    return recorder_.add(key, chance(50) ? -delta : delta, 0, kStockMax);
  }

  bool undo() {
    std::uint64_t savepoint = 0;
    if (!recorder_.savepoint(&savepoint)) return false;
    if (!(chance(50) ? write_register() : chance(50) ? insert() : append())) return false;
    return recorder_.rollback_to(savepoint);
  }

  bool write_many() {
    std::vector<Key> keys;
    for (std::uint64_t left = 2 + pick(2); left > 0; --left) keys.push_back(register_key(slot()));
    std::vector<Found> found;
    if (chance(50)) {
      if (!recorder_.read_many(keys, Lock::kUpdate, &found)) return false;
    } else {
      if (!recorder_.lock_many(keys)) return false;
      for (const Key key : keys) {
        found.push_back(recorder_.read(key, Lock::kUpdate));
        if (!found.back().going) return false;
      }
    }
    for (std::size_t i = 0; i < keys.size(); ++i) {
      if (found[i].locked_out || chance(40)) continue;
      note_register_write(keys[i]);
      if (!recorder_.put(keys[i], recorder_.fresh())) return false;
    }
    return true;
  }

  hf_db* db_;
  Board& board_;
  Load load_;
  Recorder recorder_;
  std::mt19937_64 random_;
  bool by_retries_ = false;
};

void Worker::Body::read_all() {
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.isolation = HF_SERIALIZABLE;
  options.flags = HF_TXN_READ_ONLY;
  if (!recorder_.begin(options)) return;
  bool going = true;
  for (std::uint64_t at = 0; at < load_.slots && going; ++at) {
    for (std::uint64_t i = 0; i <= board_.lists[at] && going; ++i) {
      going = recorder_.read(make_key(Space::kList, at, i)).going;
    }
    for (std::uint64_t i = 0; i <= board_.registers[at] / kRegisterWrites && going; ++i) {
      going = recorder_.read(make_key(Space::kRegister, at, i)).going;
    }
  }
  for (const Space space : {Space::kCounter, Space::kStock}) {
    for (std::uint64_t i = 0; i < kCounters && going; ++i) going = recorder_.read_counter(make_key(space, i));
  }
  // All ranges at once.
  const Key low = make_key(Space::kRow, 0), high = make_key(Space::kRow, 0xffff, 0xffffffff, 0xff);
  going = going && recorder_.scan(low, high, false, 0, false);
  if (going)
    recorder_.commit(false);
  else
    recorder_.abort();
}

Worker::Worker(hf_db* db, const Tables& tables, Board& board, const Load& load, const std::string& tapes)
    : body_(std::make_unique<Body>(db, tables, board, load, tapes)) {}
Worker::~Worker() = default;
void Worker::run() { body_->run(); }
void Worker::read_all() { body_->read_all(); }

}  // namespace torture
