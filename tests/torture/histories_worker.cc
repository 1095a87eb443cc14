// SPDX-License-Identifier: Apache-2.0
#include "torture/histories_worker.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>
#include <vector>

namespace torture {

using histories::Item;
using histories::Key;
using histories::Level;
using histories::make_key;
using histories::Op;
using histories::OpKind;
using histories::Outcome;
using histories::Space;
using histories::Txn;
using histories::Value;

namespace {

constexpr std::size_t kTapeSize = std::size_t{96} << 20;  // sparse: what is not written takes no room
constexpr std::uint64_t kLockTimeoutMs = 1'000;

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

struct KeyBytes {
  unsigned char bytes[8];
  explicit KeyBytes(Key key) {
    for (int i = 0; i < 8; ++i) bytes[i] = static_cast<unsigned char>(key >> (56 - 8 * i));
  }
  hf_bytes c() const { return {bytes, sizeof bytes}; }
};

Key key_of(const hf_bytes& bytes) {
  Key key = 0;
  for (std::size_t i = 0; i < bytes.size; ++i) key = key << 8 | static_cast<const unsigned char*>(bytes.data)[i];
  return key;
}

// A value is its number and a filling that follows from it, so that a torn one is seen. A few are too large for the
// log's ring and take the way round it.
std::string bytes_of(Value value) {
  const std::uint64_t mixed = value * 0x9e3779b97f4a7c15u >> 32;
  const std::size_t filling = mixed % 1021 == 0 ? 300'000 : mixed % 61;
  std::string bytes(sizeof value + filling, static_cast<char>(mixed));
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

// Codes that an honest run may meet; anything else is a failure of the round.
bool may_happen(int code) {
  switch (code) {
    case HF_CONFLICT:
    case HF_VERSION_MISMATCH:
    case HF_LOCK_TIMEOUT:
    case HF_DEADLOCK:
    case HF_LOCKED:
    case HF_SNAPSHOT_TOO_OLD:
    case HF_OUT_OF_RANGE:
    case HF_OVERLOADED:
    case HF_EXPIRED:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Board::fail(const std::string& text) {
  if (failed.exchange(true)) return;
  std::snprintf(failure, sizeof failure, "%s", text.c_str());
}

class Worker::Body {
 public:
  Body(hf_db* db, hf_table* table, Board& board, const Load& load, const std::string& tape_path)
      : db_(db),
        table_(table),
        board_(board),
        load_(load),
        number_(board.workers.fetch_add(1)),
        random_(load.seed * 1'000'003 + number_),
        tape_(tape_path + std::to_string(number_), kTapeSize) {}

  void run() {
    while (!board_.failed.load(std::memory_order_relaxed) && board_.begun.fetch_add(1) < board_.limit) {
      if (!transaction()) return;
    }
  }

  void read_all();

 private:
  std::uint64_t pick(std::uint64_t count) { return random_() % count; }
  bool chance(unsigned percent) { return pick(100) < percent; }
  std::uint64_t slot() { return pick(load_.slots); }

  // --- one transaction -----------------------------------------------------------------------------------------------

  Level pick_level() {
    const std::uint64_t at = pick(load_.mix.serializable + load_.mix.snapshot + load_.mix.read_committed);
    if (at < load_.mix.serializable) return Level::kSerializable;
    return at < load_.mix.serializable + load_.mix.snapshot ? Level::kSnapshot : Level::kReadCommitted;
  }

  bool begin(bool read_only) {
    done_ = Txn{};
    done_.worker = number_;
    done_.level = pick_level();
    counters_.clear();
    writes_ = !read_only;
    hf_txn_options options = HF_TXN_OPTIONS_INIT;
    options.isolation = static_cast<std::uint32_t>(done_.level) + HF_SERIALIZABLE;
    options.durability = chance(load_.durable_percent) ? HF_DURABLE : HF_RELAXED;
    options.lock_timeout_ms = kLockTimeoutMs;
    if (read_only) options.flags |= HF_TXN_READ_ONLY;
    if (!load_.heat) options.flags |= HF_TXN_NO_HEAT;
    if (limits_ && chance(2)) options.deadline_ms = 1 + pick(3);  // some are too slow, and others take their locks
    done_.begun_ns = now_ns();
    const int code = hf_begin(db_, &options, &txn_);
    if (code != HF_OK) unexpected("hf_begin", code);
    return code == HF_OK;
  }

  bool transaction() {
    const bool read_only = chance(15);
    if (!begin(read_only)) return false;
    bool going = true;
    for (std::uint64_t left = 1 + pick(read_only ? 4 : 5); going && left > 0; --left) {
      going = read_only ? look() : step();
      pause();
    }
    if (going && chance(4)) going = false;  // changed its mind
    const bool kept = going ? commit() : abort();
    hf_txn_end(&txn_);
    return kept && !board_.failed.load(std::memory_order_relaxed);
  }

  void pause() {
    if (chance(20)) sched_yield();
    if (chance(4)) usleep(static_cast<useconds_t>(20 + pick(100)));
  }

  bool commit() {
    done_.outcome = Outcome::kUnknown;
    done_.commit_ns = now_ns();
    if (!tape_.put(done_, counters_.size())) return tape_full();
    done_.code = hf_commit(txn_);
    done_.ended_ns = now_ns();
    if (done_.code == HF_OK) {
      done_.outcome = Outcome::kCommitted;
      for (const Key key : counters_) {
        std::int64_t after = 0;
        const int code = hf_counter_after(txn_, table_, KeyBytes(key).c(), &after);
        if (code == HF_OK) done_.after.push_back({key, static_cast<Value>(after)});
        if (code != HF_OK && code != HF_NOT_FOUND) unexpected("hf_counter_after", code);
      }
      board_.committed.fetch_add(1, std::memory_order_relaxed);
    } else if (hf_is_not_committed(done_.code) != 0) {
      done_.outcome = Outcome::kAborted;
      board_.refused.fetch_add(1, std::memory_order_relaxed);
    }
    tape_.answer(done_);
    if (done_.code != HF_OK && !may_happen(done_.code)) unexpected("hf_commit", done_.code);
    return true;
  }

  bool abort() {
    hf_abort(txn_);
    done_.outcome = Outcome::kAborted;
    done_.ended_ns = now_ns();
    return tape_.put(done_, 0) || tape_full();
  }

  bool tape_full() {
    board_.fail("the tape of worker " + std::to_string(number_) + " is full");
    return false;
  }

  void unexpected(const char* call, int code) {
    hf_error error = HF_ERROR_INIT;
    if (txn_ != nullptr)
      hf_txn_error(txn_, &error);
    else
      hf_db_error(db_, &error);
    board_.fail(std::string(call) + " answered " + hf_code_name(code) + ": " + error.message);
  }

  // Whether the transaction goes on.
  bool goes_on(const char* call, int code) {
    if (code == HF_OK) return true;
    done_.code = code;
    if (!may_happen(code)) unexpected(call, code);
    return false;
  }

  Op& note(OpKind kind, Key key, Value value, std::uint64_t begun_ns, bool holds = false) {
    Op& op = done_.ops.emplace_back();
    op.kind = kind;
    op.key = key;
    op.value = value;
    op.begun_ns = begun_ns;
    op.holds = holds;
    return op;
  }

  // --- reads ---------------------------------------------------------------------------------------------------------

  enum class How { kPlain, kUpdate, kShare };

  How how_to_read() {
    if (!writes_ || chance(75)) return How::kPlain;
    return chance(65) ? How::kUpdate : How::kShare;
  }

  struct Found {
    bool going = false;
    bool there = false;
    Value value = 0;
    std::uint64_t version = 0;
    std::vector<Item> items;
  };

  Found read(Key key, How how) {
    Found found;
    hf_row row;
    const KeyBytes name(key);
    const std::uint64_t begun_ns = now_ns();
    const int code = how == How::kPlain    ? hf_get(txn_, table_, name.c(), &row)
                     : how == How::kUpdate ? hf_get_for_update(txn_, table_, name.c(), nullptr, &row)
                                           : hf_get_for_share(txn_, table_, name.c(), nullptr, &row);
    found.there = code == HF_OK;
    found.going = code == HF_NOT_FOUND || goes_on("a read", code);
    if (!found.going) return found;
    if (found.there) {
      found.version = row.version;
      take(key, row.value, &found.value, &found.items);
    }
    Op& op = note(OpKind::kRead, key, found.value, begun_ns, how != How::kPlain);
    op.items = found.items;
    return found;
  }

  // What a value says; a torn one ends the round.
  void take(Key key, const hf_bytes& bytes, Value* value, std::vector<Item>* items) {
    if (histories::space_of(key) == Space::kList) {
      items->resize(bytes.size / sizeof(Value));
      for (std::size_t i = 0; i < items->size(); ++i) {
        std::memcpy(&(*items)[i].value, static_cast<const char*>(bytes.data) + i * sizeof(Value), sizeof(Value));
      }
      *value = items->empty() ? 0 : items->back().value;
      return;
    }
    if (bytes.size >= sizeof *value) std::memcpy(value, bytes.data, sizeof *value);
    const std::string whole = bytes_of(*value);
    if (whole.size() != bytes.size || std::memcmp(whole.data(), bytes.data, whole.size()) != 0) {
      board_.fail("a torn value in " + histories::name_of(key));
    }
  }

  bool read_counter(Space space) {
    const Key key = make_key(space, slot() % 3);
    std::int64_t value = 0;
    const std::uint64_t begun_ns = now_ns();
    const int code = hf_counter_get(txn_, table_, KeyBytes(key).c(), &value);
    if (code != HF_NOT_FOUND && !goes_on("hf_counter_get", code)) return false;
    note(OpKind::kRead, key, static_cast<Value>(value), begun_ns);
    return true;
  }

  // A part of a range, either way, sometimes only its first rows: what was passed over is what was read.
  bool scan() {
    const std::uint64_t at = slot();
    const std::uint64_t generation = board_.rows[at].load(std::memory_order_relaxed) / kRowsOfRange;
    const std::uint64_t from = chance(60) ? 0 : pick(kRowsOfRange), to = from + pick(kRowsOfRange - from);
    Key low = make_key(Space::kRow, at, generation, from);
    Key high = make_key(Space::kRow, at, generation, from == 0 ? kRowsOfRange - 1 : to);
    const KeyBytes low_name(low), high_name(high);
    hf_cursor_options options = HF_CURSOR_OPTIONS_INIT;
    options.flags = HF_CURSOR_HIGH_INCLUSIVE;
    const bool reverse = chance(30);
    if (reverse) options.flags |= HF_CURSOR_REVERSE;
    options.low = low_name.c();
    options.high = high_name.c();
    options.limit = chance(30) ? 1 + pick(4) : 0;
    // A locking cursor reads each row at a moment of its own, which only the validation makes one.
    if (writes_ && done_.level == Level::kSerializable && chance(8)) options.lock_mode = HF_LOCK_SHARED;
    std::vector<Item> items;
    const std::uint64_t begun_ns = now_ns();
    if (!walk(options, &items)) return false;
    if (options.limit != 0 && items.size() == options.limit) (reverse ? low : high) = items.back().key;
    if (reverse) std::reverse(items.begin(), items.end());
    Op& op = note(OpKind::kScan, low, 0, begun_ns);
    op.high = high;
    op.items = std::move(items);
    return true;
  }

  bool walk(const hf_cursor_options& options, std::vector<Item>* items) {
    hf_cursor* cursor = nullptr;
    if (!goes_on("hf_cursor_open", hf_cursor_open(txn_, table_, &options, &cursor))) return false;
    int code = HF_OK;
    hf_bytes name;
    hf_row row;
    while ((code = hf_cursor_next(cursor, &name, &row)) == HF_OK) {
      Item item{key_of(name), 0};
      std::vector<Item> none;
      take(item.key, row.value, &item.value, &none);
      items->push_back(item);
      if (pick(64) == 0) sched_yield();
    }
    hf_cursor_close(&cursor);
    return code == HF_END || goes_on("hf_cursor_next", code);
  }

  bool look() {
    switch (pick(8)) {
      case 0:
      case 1:
        return read(list_key(slot()), How::kPlain).going;
      case 2:
      case 3:
        return read(register_key(slot()), How::kPlain).going;
      case 4:
        return read(row_key(slot()), How::kPlain).going;
      case 5:
        return read_counter(chance(60) ? Space::kCounter : Space::kStock);
      default:
        return scan();
    }
  }

  // --- writes --------------------------------------------------------------------------------------------------------

  Key list_key(std::uint64_t at) {
    return make_key(Space::kList, at, board_.lists[at].load(std::memory_order_relaxed));
  }
  Key register_key(std::uint64_t at) {
    return make_key(Space::kRegister, at, board_.registers[at].load(std::memory_order_relaxed) / kRegisterWrites);
  }
  // One of the range in use, or of the one before.
  Key row_key(std::uint64_t at) {
    const std::uint64_t count = board_.rows[at].load(std::memory_order_relaxed);
    return row_of(at, count - std::min(count, pick(kRowsOfRange)));
  }
  // Rows are inserted in a mixed order.
  static Key row_of(std::uint64_t at, std::uint64_t count) {
    return make_key(Space::kRow, at, count / kRowsOfRange, count % kRowsOfRange * 7 % kRowsOfRange);
  }

  Value fresh() { return std::uint64_t{number_ + 1} << 32 | ++values_; }
  bool at_read_committed() const { return done_.level == Level::kReadCommitted; }

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
        return chance(35) ? undo() : lock_many();
      case 15:
        return read(chance(50) ? list_key(slot()) : register_key(slot()), how_to_read()).going;
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
    const bool plain = by_version || (!at_read_committed() && chance(60));
    Found found = read(key, plain ? How::kPlain : How::kUpdate);
    if (!found.going) return false;
    const Value value = fresh();
    std::string bytes(found.items.size() * sizeof value, '\0');
    for (std::size_t i = 0; i < found.items.size(); ++i) {
      std::memcpy(bytes.data() + i * sizeof value, &found.items[i].value, sizeof value);
    }
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    if (found.items.size() >= kListMax) {
      std::uint64_t generation = key >> 8 & 0xffffffff;
      board_.lists[at].compare_exchange_strong(generation, generation + 1, std::memory_order_relaxed);
    }
    return put(OpKind::kAppend, key, value, bytes, by_version ? &found : nullptr);
  }

  // With `expected`: only where the row is as it was found.
  bool put(OpKind kind, Key key, Value value, const std::string& bytes, const Found* expected) {
    const KeyBytes name(key);
    const std::uint64_t begun_ns = now_ns();
    const bool own = expected != nullptr && expected->there && expected->version == 0;
    const bool by_version = expected != nullptr && !own;
    const hf_bytes data{bytes.data(), bytes.size()};
    const int code = by_version ? hf_put_if_version(txn_, table_, name.c(), data, expected->version, 0)
                                : hf_put(txn_, table_, name.c(), data, 0);
    if (!goes_on("a put", code)) return false;
    if (by_version) note(OpKind::kRead, key, expected->value, begun_ns, true).items = expected->items;
    note(kind, key, value, begun_ns);
    return true;
  }

  bool write_register() {
    const std::uint64_t at = slot();
    const Key key = register_key(at);
    board_.registers[at].fetch_add(1, std::memory_order_relaxed);
    const Value value = fresh();
    if (chance(40)) return put(OpKind::kWrite, key, value, bytes_of(value), nullptr);  // blindly
    const bool by_version = chance(30);
    const Found found = read(key, by_version || chance(60) ? How::kPlain : How::kUpdate);
    if (!found.going) return false;
    if (chance(20)) pause();
    return put(OpKind::kWrite, key, value, bytes_of(value), by_version ? &found : nullptr);
  }

  bool insert() {
    const std::uint64_t at = slot();
    const bool again = chance(25);  // what somebody else may be inserting now
    const std::uint64_t count = again ? board_.rows[at].load(std::memory_order_relaxed)
                                      : board_.rows[at].fetch_add(1, std::memory_order_relaxed);
    const Key key = row_of(at, again ? count - std::min(count, 1 + pick(4)) : count);
    const Value value = fresh();
    const std::string bytes = bytes_of(value);
    if (!again && chance(15)) return put(OpKind::kWrite, key, value, bytes, nullptr);
    const std::uint64_t begun_ns = now_ns();
    const int code = hf_insert(txn_, table_, KeyBytes(key).c(), {bytes.data(), bytes.size()}, 0);
    if (code == HF_EXISTS) return true;
    if (!goes_on("hf_insert", code)) return false;
    note(OpKind::kRead, key, 0, begun_ns, true);
    note(OpKind::kWrite, key, value, begun_ns);
    return true;
  }

  bool change_row() {
    const Key key = row_key(slot());
    const Found found = read(key, how_to_read());
    if (!found.going || !found.there) return found.going;
    const KeyBytes name(key);
    const std::uint64_t begun_ns = now_ns();
    if (chance(50)) {
      const int code = chance(50) ? hf_delete(txn_, table_, name.c()) : hf_erase(txn_, table_, name.c());
      if (code == HF_NOT_FOUND) return true;  // read committed: gone meanwhile
      if (!goes_on("hf_delete", code)) return false;
      note(OpKind::kWrite, key, 0, begun_ns);
      return true;
    }
    const Value value = fresh();
    const std::string bytes = bytes_of(value);
    const int code = hf_update(txn_, table_, name.c(), {bytes.data(), bytes.size()}, 0);
    if (code == HF_NOT_FOUND) return true;
    if (!goes_on("hf_update", code)) return false;
    note(OpKind::kWrite, key, value, begun_ns);
    return true;
  }

  bool add(Space space) {
    const Key key = make_key(space, slot() % 3);
    const bool stock = space == Space::kStock;
    std::int64_t delta = 1 + static_cast<std::int64_t>(pick(3));
    if (stock && chance(50)) delta = -delta;
    const std::int64_t min = stock ? 0 : INT64_MIN, max = stock ? kStockMax : INT64_MAX;
    const std::uint64_t begun_ns = now_ns();
    const int code = hf_add(txn_, table_, KeyBytes(key).c(), delta, min, max);
    if (code == HF_OUT_OF_RANGE) return true;
    if (!goes_on("hf_add", code)) return false;
    Op& op = note(OpKind::kAdd, key, static_cast<Value>(delta), begun_ns);
    op.min = min;
    op.max = max;
    if (std::find(counters_.begin(), counters_.end(), key) == counters_.end()) counters_.push_back(key);
    return true;
  }

  bool undo() {
    std::uint64_t savepoint = 0;
    if (!goes_on("hf_savepoint", hf_savepoint(txn_, &savepoint))) return false;
    note(OpKind::kSavepoint, 0, 0, now_ns());
    if (!(chance(50) ? write_register() : chance(50) ? insert() : append())) return false;
    if (!goes_on("hf_rollback_to", hf_rollback_to(txn_, savepoint))) return false;
    note(OpKind::kRollback, 0, 0, now_ns());
    return true;
  }

  bool lock_many() {
    const std::size_t count = 2 + pick(2);
    std::vector<Key> keys;
    for (std::size_t i = 0; i < count; ++i) keys.push_back(register_key(slot()));
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    std::vector<KeyBytes> names(keys.begin(), keys.end());
    std::vector<hf_lock_request> requests;
    for (const KeyBytes& name : names) requests.push_back({table_, name.c(), HF_LOCK_EXCLUSIVE, HF_OK});
    if (!goes_on("hf_lock_many", hf_lock_many(txn_, requests.data(), requests.size(), nullptr))) return false;
    for (const Key key : keys) {
      if (!read(key, How::kUpdate).going) return false;
      if (chance(40)) continue;
      board_.registers[key >> 40 & 0xffff].fetch_add(1, std::memory_order_relaxed);
      const Value value = fresh();
      if (!put(OpKind::kWrite, key, value, bytes_of(value), nullptr)) return false;
    }
    return true;
  }

  hf_db* db_;
  hf_table* table_;
  Board& board_;
  Load load_;
  std::uint32_t number_;
  std::mt19937_64 random_;
  Tape tape_;
  hf_txn* txn_ = nullptr;
  bool writes_ = true;
  bool limits_ = true;
  std::uint64_t values_ = 0;
  Txn done_;
  std::vector<Key> counters_;  // that the transaction added to
};

void Worker::Body::read_all() {
  load_.mix = {1, 0, 0};
  limits_ = false;
  if (!begin(true)) return;
  bool going = true;
  for (std::uint64_t at = 0; at < load_.slots && going; ++at) {
    for (std::uint64_t i = 0; i <= board_.lists[at] && going; ++i) {
      going = read(make_key(Space::kList, at, i), How::kPlain).going;
    }
    for (std::uint64_t i = 0; i <= board_.registers[at] / kRegisterWrites && going; ++i) {
      going = read(make_key(Space::kRegister, at, i), How::kPlain).going;
    }
  }
  for (const Space space : {Space::kCounter, Space::kStock}) {
    for (int i = 0; i < 9 && going; ++i) going = read_counter(space);
  }
  // All ranges at once.
  const Key low = make_key(Space::kRow, 0), high = make_key(Space::kRow, 0xffff, 0xffffffff, 0xff);
  const KeyBytes low_name(low), high_name(high);
  hf_cursor_options options = HF_CURSOR_OPTIONS_INIT;
  options.low = low_name.c();
  options.high = high_name.c();
  std::vector<Item> items;
  const std::uint64_t begun_ns = now_ns();
  if (going && walk(options, &items)) {
    Op& op = note(OpKind::kScan, low, 0, begun_ns);
    op.high = high;
    op.items = std::move(items);
    commit();
  }
  hf_txn_end(&txn_);
}

Worker::Worker(hf_db* db, hf_table* table, Board& board, const Load& load, const std::string& tape_path)
    : body_(std::make_unique<Body>(db, table, board, load, tape_path)) {}
Worker::~Worker() = default;
void Worker::run() { body_->run(); }
void Worker::read_all() { body_->read_all(); }

}  // namespace torture
