// SPDX-License-Identifier: Apache-2.0
#include "torture/histories_recorder.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

namespace torture {

using histories::Item;
using histories::Key;
using histories::Level;
using histories::Op;
using histories::OpKind;
using histories::Outcome;
using histories::Space;
using histories::Txn;
using histories::Value;

namespace {

constexpr std::size_t kTapeSize = std::size_t{96} << 20;  // sparse: what is not written takes no room

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

std::uint64_t now_ns() {
  return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

KeyBytes::KeyBytes(Key key) {
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<unsigned char>(key >> (56 - 8 * i));
}

Key key_of(const hf_bytes& bytes) {
  Key key = 0;
  for (std::size_t i = 0; i < bytes.size; ++i) key = key << 8 | static_cast<const unsigned char*>(bytes.data)[i];
  return key;
}

Recorder::Recorder(hf_db* db, const Tables& tables, Board& board, const std::string& tapes)
    : db_(db),
      tables_(tables),
      board_(board),
      number_(board.workers.fetch_add(1)),
      tape_(tapes + std::to_string(number_), kTapeSize) {}

// --- begin and end ---------------------------------------------------------------------------------------------------

void Recorder::start(const hf_txn_options& options) {
  done_ = Txn{};
  done_.worker = number_;
  done_.level = static_cast<Level>(options.isolation - HF_SERIALIZABLE);
  read_only_ = (options.flags & (HF_TXN_READ_ONLY | HF_TXN_BASE_ONLY)) != 0;
  counters_.clear();
}

bool Recorder::begin(const hf_txn_options& options) {
  start(options);
  // The base may lag behind: such a transaction sees a moment of the past, so time says nothing of its begin.
  done_.begun_ns = (options.flags & HF_TXN_BASE_ONLY) != 0 ? 0 : now_ns();
  const int code = hf_begin(db_, &options, &txn_);
  if (code != HF_OK) unexpected("hf_begin", code);
  return code == HF_OK;
}

bool Recorder::commit(bool by_ticket) {
  done_.outcome = Outcome::kUnknown;
  done_.commit_ns = now_ns();
  if (!tape_.put(done_, counters_.size())) return tape_full();
  std::uint64_t ticket = 0;
  conclude(by_ticket ? hf_commit_ticket(txn_, &ticket) : hf_commit(txn_));
  hf_txn_end(&txn_);
  return !over();
}

bool Recorder::abort() {
  hf_abort(txn_);
  done_.ended_ns = now_ns();
  if (!tape_.put(done_, 0)) return tape_full();
  hf_txn_end(&txn_);
  return !over();
}

// The answer to a commit.
void Recorder::conclude(int code) {
  done_.code = code;
  done_.ended_ns = now_ns();
  if (code == HF_OK) {
    done_.outcome = Outcome::kCommitted;
    for (const Key key : counters_) {
      std::int64_t after = 0;
      const int told = hf_counter_after(txn_, tables_.of(key), KeyBytes(key).c(), &after);
      if (told == HF_OK) done_.after.push_back({key, static_cast<Value>(after)});
      if (told != HF_OK && told != HF_NOT_FOUND) unexpected("hf_counter_after", told);
    }
    board_.committed.fetch_add(1, std::memory_order_relaxed);
  } else if (hf_is_not_committed(code) != 0) {
    done_.outcome = Outcome::kAborted;
    board_.refused.fetch_add(1, std::memory_order_relaxed);
  }
  tape_.answer(done_);
  if (code != HF_OK && !may_happen(code)) unexpected("a commit", code);
}

// --- hf_transact -----------------------------------------------------------------------------------------------------

void Recorder::begin_retried(const hf_txn_options& options) {
  start(options);
  done_.begun_ns = now_ns();
  asked_ = false;
}

void Recorder::attempt(hf_txn* txn) {
  if (asked_) conclude(HF_CONFLICT);  // or what else is retried: the commit before was refused
  asked_ = false;
  txn_ = txn;
  if (done_.ops.empty() && done_.ended_ns == 0) return;
  // It began after the one before had ended, and before now.
  Txn next;
  next.worker = number_;
  next.level = done_.level;
  next.begun_ns = done_.commit_ns != 0 ? done_.commit_ns : done_.ended_ns;
  done_ = std::move(next);
}

// The code for hf_transact: it may try again.
int Recorder::attempt_failed() {
  constexpr int kOwnCode = 1000;  // of a function that changed its mind
  done_.ended_ns = now_ns();
  if (!tape_.put(done_, 0)) tape_full();
  return done_.code != 0 ? done_.code : kOwnCode;
}

int Recorder::attempt_done() {
  done_.outcome = Outcome::kUnknown;
  done_.commit_ns = now_ns();
  asked_ = tape_.put(done_, 0);
  if (!asked_) tape_full();
  return asked_ ? HF_OK : HF_CANCELLED;
}

bool Recorder::end_retried(int code) {
  txn_ = nullptr;
  if (asked_) conclude(code);
  return !over();
}

// --- what came of a call ---------------------------------------------------------------------------------------------

bool Recorder::tape_full() {
  board_.fail("the tape of worker " + std::to_string(number_) + " is full");
  return false;
}

void Recorder::unexpected(const char* call, int code) {
  hf_error error = HF_ERROR_INIT;
  if (txn_ != nullptr)
    hf_txn_error(txn_, &error);
  else
    hf_db_error(db_, &error);
  board_.fail(std::string(call) + " answered " + hf_code_name(code) + ": " + error.message);
}

bool Recorder::goes_on(const char* call, int code) {
  if (code == HF_OK) return true;
  done_.code = code;
  if (!may_happen(code)) unexpected(call, code);
  return false;
}

Op& Recorder::note(OpKind kind, Key key, Value value, std::uint64_t begun_ns, bool holds) {
  Op& op = done_.ops.emplace_back();
  op.kind = kind;
  op.key = key;
  op.value = value;
  op.begun_ns = begun_ns;
  op.holds = holds;
  return op;
}

void Recorder::note_found(Key key, const Found& found, std::uint64_t begun_ns, bool holds) {
  note(OpKind::kRead, key, found.value, begun_ns, holds).items = found.items;
}

// What a row says; a torn one ends the round.
void Recorder::take(Key key, const hf_row& row, Found* found) {
  found->there = true;
  found->version = row.version;
  const hf_bytes& bytes = row.value;
  if (histories::space_of(key) == Space::kList) {
    found->items.resize(bytes.size / sizeof(Value));
    for (std::size_t i = 0; i < found->items.size(); ++i) {
      std::memcpy(&found->items[i].value, static_cast<const char*>(bytes.data) + i * sizeof(Value), sizeof(Value));
    }
    found->value = found->items.empty() ? 0 : found->items.back().value;
    return;
  }
  if (bytes.size >= sizeof found->value) std::memcpy(&found->value, bytes.data, sizeof found->value);
  const std::string whole = bytes_of(found->value);
  if (whole.size() != bytes.size || std::memcmp(whole.data(), bytes.data, whole.size()) != 0) {
    board_.fail("a torn value in " + histories::name_of(key));
  }
}

// --- reads -----------------------------------------------------------------------------------------------------------

Recorder::Found Recorder::read(Key key, Lock lock, bool wait) {
  Found found;
  hf_row row;
  const KeyBytes name(key);
  hf_table* const table = tables_.of(key);
  hf_lock_options options = HF_LOCK_OPTIONS_INIT;
  options.wait = wait ? HF_WAIT : HF_NO_WAIT;
  const std::uint64_t begun_ns = now_ns();
  const int code = lock == Lock::kNone     ? hf_get(txn_, table, name.c(), &row)
                   : lock == Lock::kUpdate ? hf_get_for_update(txn_, table, name.c(), &options, &row)
                                           : hf_get_for_share(txn_, table, name.c(), &options, &row);
  found.going = code == HF_NOT_FOUND || goes_on("a read", code);
  if (!found.going) return found;
  if (code == HF_OK) take(key, row, &found);
  note_found(key, found, begun_ns, lock != Lock::kNone);
  return found;
}

bool Recorder::read_many(const std::vector<Key>& keys, Lock lock, std::vector<Found>* found) {
  const std::vector<KeyBytes> names(keys.begin(), keys.end());
  std::vector<hf_bytes> wanted;
  for (const KeyBytes& name : names) wanted.push_back(name.c());
  std::vector<hf_row> rows(keys.size());
  hf_lock_options options = HF_LOCK_OPTIONS_INIT;
  options.wait = HF_SKIP_LOCKED;
  const std::uint64_t begun_ns = now_ns();
  hf_table* const table = tables_.of(keys.front());
  const int code = lock == Lock::kNone ? hf_get_many(txn_, table, wanted.data(), wanted.size(), rows.data())
                   : lock == Lock::kUpdate
                       ? hf_get_many_for_update(txn_, table, wanted.data(), wanted.size(), &options, rows.data())
                       : hf_get_many_for_share(txn_, table, wanted.data(), wanted.size(), &options, rows.data());
  if (!goes_on("a read of many", code)) return false;
  found->assign(keys.size(), Found{});
  for (std::size_t i = 0; i < keys.size(); ++i) {
    Found& one = (*found)[i];
    one.going = true;
    one.locked_out = rows[i].code == HF_LOCKED;
    if (one.locked_out) continue;
    if (rows[i].code == HF_OK) take(keys[i], rows[i], &one);
    note_found(keys[i], one, begun_ns, lock != Lock::kNone);
  }
  return true;
}

bool Recorder::read_counter(Key key) {
  std::int64_t value = 0;
  const std::uint64_t begun_ns = now_ns();
  const int code = hf_counter_get(txn_, tables_.of(key), KeyBytes(key).c(), &value);
  if (code != HF_NOT_FOUND && !goes_on("hf_counter_get", code)) return false;
  note(OpKind::kRead, key, static_cast<Value>(value), begun_ns);
  return true;
}

bool Recorder::scan(Key low, Key high, bool reverse, std::uint64_t limit, bool locking) {
  const KeyBytes low_name(low), high_name(high);
  hf_cursor_options options = HF_CURSOR_OPTIONS_INIT;
  options.flags = HF_CURSOR_HIGH_INCLUSIVE;
  if (reverse) options.flags |= HF_CURSOR_REVERSE;
  options.low = low_name.c();
  options.high = high_name.c();
  options.limit = limit;
  if (locking) options.lock_mode = HF_LOCK_SHARED;
  std::vector<Item> items;
  const std::uint64_t begun_ns = now_ns();
  if (!walk(low, options, &items)) return false;
  if (limit != 0 && items.size() == limit) (reverse ? low : high) = items.back().key;
  if (reverse) std::reverse(items.begin(), items.end());
  Op& op = note(OpKind::kScan, low, 0, begun_ns);
  op.high = high;
  op.items = std::move(items);
  return true;
}

bool Recorder::walk(Key key, const hf_cursor_options& options, std::vector<Item>* items) {
  hf_cursor* cursor = nullptr;
  if (!goes_on("hf_cursor_open", hf_cursor_open(txn_, tables_.of(key), &options, &cursor))) return false;
  int code = HF_OK;
  hf_bytes name;
  hf_row row;
  while ((code = hf_cursor_next(cursor, &name, &row)) == HF_OK) {
    Found found;
    take(key_of(name), row, &found);
    items->push_back({key_of(name), found.value});
    if (items->size() % 16 == number_ % 16) sched_yield();
  }
  hf_cursor_close(&cursor);
  return code == HF_END || goes_on("hf_cursor_next", code);
}

bool Recorder::lock_many(const std::vector<Key>& keys) {
  const std::vector<KeyBytes> names(keys.begin(), keys.end());
  std::vector<hf_lock_request> requests;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    requests.push_back({tables_.of(keys[i]), names[i].c(), HF_LOCK_EXCLUSIVE, HF_OK});
  }
  return goes_on("hf_lock_many", hf_lock_many(txn_, requests.data(), requests.size(), nullptr));
}

// --- writes ----------------------------------------------------------------------------------------------------------

bool Recorder::put(Key key, Value value, const Found* expected) {
  return put_bytes(OpKind::kWrite, key, value, bytes_of(value), expected);
}

bool Recorder::append(Key key, const Found& list, bool by_version) {
  const Value value = fresh();
  std::string bytes(list.items.size() * sizeof value, '\0');
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    std::memcpy(bytes.data() + i * sizeof value, &list.items[i].value, sizeof value);
  }
  bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
  return put_bytes(OpKind::kAppend, key, value, bytes, by_version ? &list : nullptr);
}

bool Recorder::put_bytes(OpKind kind, Key key, Value value, const std::string& bytes, const Found* expected) {
  const KeyBytes name(key);
  hf_table* const table = tables_.of(key);
  const std::uint64_t begun_ns = now_ns();
  const bool own = expected != nullptr && expected->there && expected->version == 0;  // has no version yet
  const bool by_version = expected != nullptr && !own;
  const hf_bytes data{bytes.data(), bytes.size()};
  const int code = by_version ? hf_put_if_version(txn_, table, name.c(), data, expected->version, 0)
                              : hf_put(txn_, table, name.c(), data, 0);
  if (!goes_on("a put", code)) return false;
  if (by_version) note_found(key, *expected, begun_ns, true);
  note(kind, key, value, begun_ns);
  return true;
}

bool Recorder::insert(Key key, Value value) {
  const std::string bytes = bytes_of(value);
  const std::uint64_t begun_ns = now_ns();
  const int code = hf_insert(txn_, tables_.of(key), KeyBytes(key).c(), {bytes.data(), bytes.size()}, 0);
  if (code == HF_EXISTS) return true;
  if (!goes_on("hf_insert", code)) return false;
  note(OpKind::kRead, key, 0, begun_ns, true);
  note(OpKind::kWrite, key, value, begun_ns);
  return true;
}

bool Recorder::update(Key key, Value value) {
  const std::string bytes = bytes_of(value);
  const std::uint64_t begun_ns = now_ns();
  const int code = hf_update(txn_, tables_.of(key), KeyBytes(key).c(), {bytes.data(), bytes.size()}, 0);
  if (code == HF_NOT_FOUND) return true;
  if (!goes_on("hf_update", code)) return false;
  note(OpKind::kWrite, key, value, begun_ns);
  return true;
}

bool Recorder::remove(Key key, bool blindly) {
  const KeyBytes name(key);
  const std::uint64_t begun_ns = now_ns();
  const int code = blindly ? hf_erase(txn_, tables_.of(key), name.c()) : hf_delete(txn_, tables_.of(key), name.c());
  if (code == HF_NOT_FOUND) return true;
  if (!goes_on("hf_delete", code)) return false;
  note(OpKind::kWrite, key, 0, begun_ns);
  return true;
}

bool Recorder::add(Key key, std::int64_t delta, std::int64_t min, std::int64_t max) {
  const std::uint64_t begun_ns = now_ns();
  const int code = hf_add(txn_, tables_.of(key), KeyBytes(key).c(), delta, min, max);
  if (code == HF_OUT_OF_RANGE) return true;
  if (!goes_on("hf_add", code)) return false;
  Op& op = note(OpKind::kAdd, key, static_cast<Value>(delta), begun_ns);
  op.min = min;
  op.max = max;
  if (std::find(counters_.begin(), counters_.end(), key) == counters_.end()) counters_.push_back(key);
  return true;
}

bool Recorder::savepoint(std::uint64_t* id) {
  const std::uint64_t begun_ns = now_ns();
  if (!goes_on("hf_savepoint", hf_savepoint(txn_, id))) return false;
  note(OpKind::kSavepoint, 0, 0, begun_ns);
  return true;
}

bool Recorder::rollback_to(std::uint64_t id) {
  const std::uint64_t begun_ns = now_ns();
  if (!goes_on("hf_rollback_to", hf_rollback_to(txn_, id))) return false;
  note(OpKind::kRollback, 0, 0, begun_ns);
  return true;
}

}  // namespace torture
