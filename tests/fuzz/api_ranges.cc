// SPDX-License-Identifier: Apache-2.0
#include <optional>

#include "fuzz/api_calls.h"

namespace hf::fuzz {

// --- locks --------------------------------------------------------------------------------------------------------

// Books the answer of a call that locks; false when the lock was not had, or the transaction has ended.
bool Calls::locked(Actor& actor, int code, const Key& key, std::uint32_t mode, const char* call) {
  if (actor.model.read_only) {
    demand_code(code, HF_READ_ONLY, call);
    return false;
  }
  const int owner = number_of(actor);
  if (locks_.is_blocked(owner, key, mode)) {
    demand(code == HF_LOCKED || code == HF_LOCK_TIMEOUT, std::string(call) + " was given a lock that somebody holds");
    return false;
  }
  if (code == HF_CONFLICT) {
    demand(rows_.published > actor.model.first_snapshot, std::string(call) + ": a conflict with nobody");
    ended(actor);
    return false;
  }
  demand(code != HF_LOCKED && code != HF_LOCK_TIMEOUT, std::string(call) + " was refused a free lock");
  locks_.take(owner, key, mode);
  return true;
}

void Calls::lock(Actor& actor, Input& in) {
  const Key key = key_of(in);
  hf_table* const table = table_of(key);
  hf_lock_options options = HF_LOCK_OPTIONS_INIT;
  options.wait = in.one_in(32) ? std::uint32_t{HF_WAIT} : in.below(2) + std::uint32_t{HF_NO_WAIT};
  options.flags = in.one_in(4) ? HF_LOCK_STRICT : 0;
  hf_row row{};
  switch (in.below(5)) {
    case 0: {
      options.mode = 1 + in.below(3);
      const int code = hf_lock(actor.txn, table, view(key.second), &options);
      if (locked(actor, code, key, options.mode, "lock")) demand_code(code, HF_OK, "lock");
      return;
    }
    case 1:
    case 2: {
      const bool is_update = in.one_in(2);
      const auto call = is_update ? hf_get_for_update : hf_get_for_share;
      const int code = call(actor.txn, table, view(key.second), &options, &row);
      const std::uint32_t mode = is_update ? HF_LOCK_EXCLUSIVE : HF_LOCK_SHARED;
      if (!locked(actor, code, key, mode, "a locking read")) return;
      check_row(actor, key, code, row, "a locking read");
      const Value now = rows_.newest(key), then = rows_.at(key, hf_txn_snapshot(actor.txn));
      demand(now.version == then.version, "a locking read does not see the newest commit");
      return actor.model.note_read(key, hf_txn_snapshot(actor.txn), false);
    }
    case 3: {
      const int holds = static_cast<int>(in.below(2));
      int is_locked = -1;
      int asked = holds;
      options.mode = in.below(3);
      const auto predicate = [](const hf_row*, void* context) { return *static_cast<int*>(context); };
      const int code = hf_lock_if(actor.txn, table, view(key.second), &options, predicate, &asked, &row, &is_locked);
      if (holds != 0 || actor.model.read_only) {
        const std::uint32_t mode = options.mode == 0 ? std::uint32_t{HF_LOCK_EXCLUSIVE} : options.mode;
        if (!locked(actor, code, key, mode, "lock_if")) return;
      }
      if (code == HF_CONFLICT) return ended(actor);
      check_row(actor, key, code, row, "lock_if");
      demand(is_locked == holds || code == HF_WRONG_TYPE || code == HF_OUT_OF_RANGE, "lock_if is wrong about the lock");
      return actor.model.note_read(key, hf_txn_snapshot(actor.txn), false);
    }
    default: {
      // Two rows, all or nothing; nothing to say of skipped ones here but that no free one is.
      const Key other = key_of(in);
      options.wait = in.one_in(2) ? HF_NO_WAIT : HF_WAIT;
      hf_lock_request requests[2] = {{table, view(key.second), HF_LOCK_EXCLUSIVE, -1},
                                     {table_of(other), view(other.second), HF_LOCK_EXCLUSIVE, -1}};
      const int code = hf_lock_many(actor.txn, requests, 2, &options);
      if (actor.model.read_only) return demand_code(code, HF_READ_ONLY, "lock_many");
      const int owner = number_of(actor);
      const bool is_blocked =
          locks_.is_blocked(owner, key, HF_LOCK_EXCLUSIVE) || locks_.is_blocked(owner, other, HF_LOCK_EXCLUSIVE);
      if (is_blocked) {
        demand(code == HF_LOCKED || code == HF_LOCK_TIMEOUT, "lock_many was given a lock that somebody holds");
      } else if (locked(actor, code, key, HF_LOCK_EXCLUSIVE, "lock_many")) {
        demand_code(code, HF_OK, "lock_many");
        locks_.take(owner, other, HF_LOCK_EXCLUSIVE);
      }
    }
  }
}

// --- savepoints ---------------------------------------------------------------------------------------------------

void Calls::savepoint(Actor& actor, Input& in) {
  auto& savepoints = actor.model.savepoints;
  const std::uint32_t what = in.below(4);
  if (what == 0 || savepoints.empty()) {
    std::uint64_t id = 0;
    const int code = hf_savepoint(actor.txn, &id);
    demand_code(code, actor.model.read_only ? HF_READ_ONLY : HF_OK, "savepoint");
    if (code == HF_OK) savepoints.emplace_back(id, actor.model.writes);
    return;
  }
  const std::size_t index = in.below(static_cast<std::uint32_t>(savepoints.size()));
  const auto [id, writes] = savepoints[index];
  if (what == 1) {
    demand_code(hf_release(actor.txn, id), HF_OK, "release");
    savepoints.resize(index);
    return demand_code(hf_rollback_to(actor.txn, id), HF_INVALID_ARGUMENT, "rollback_to a released savepoint");
  }
  demand_code(hf_rollback_to(actor.txn, id), HF_OK, "rollback_to");
  actor.model.writes = writes;
  savepoints.resize(index + 1);
}

// --- cursors ------------------------------------------------------------------------------------------------------

void Calls::open_cursor(Actor& actor, Input& in) {
  if (actor.cursor != nullptr) demand_code(hf_cursor_close(&actor.cursor), HF_OK, "cursor_close");
  hf_cursor_options options = HF_CURSOR_OPTIONS_INIT;
  actor.cursor_table = static_cast<int>(in.below(kTables));
  actor.cursor_is_reverse = in.one_in(2);
  options.flags = actor.cursor_is_reverse ? HF_CURSOR_REVERSE : 0;
  demand_code(hf_cursor_open(actor.txn, tables_[static_cast<std::size_t>(actor.cursor_table)], &options, &actor.cursor),
              HF_OK, "cursor_open");
  actor.cursor_started = false;
  actor.cursor_snapshot = hf_txn_snapshot(actor.txn);
}

// The nearest row in the cursor's direction, own writes as they are now.
void Calls::move_cursor(Actor& actor) {
  if (actor.cursor == nullptr) return;
  hf_bytes key{};
  hf_row row{};
  const int code = hf_cursor_next(actor.cursor, &key, &row);
  const bool is_moved = hf_txn_snapshot(actor.txn) != actor.cursor_snapshot;  // by a lock, or by another statement
  if (is_moved || actor.cursor_snapshot < rows_.begin || code == HF_WRONG_TYPE || code == HF_OUT_OF_RANGE) {
    demand_code(hf_cursor_close(&actor.cursor), HF_OK, "cursor_close");
    return;
  }
  std::optional<Key> nearest;
  const auto consider = [&](const Key& candidate) {
    const auto nearer = [&](const Key& a, const Key& b) { return actor.cursor_is_reverse ? b < a : a < b; };
    if (candidate.first != actor.cursor_table) return;
    if (actor.cursor_started && !nearer(actor.cursor_last, candidate)) return;
    Value value;
    if (actor.model.see(rows_, candidate, actor.cursor_snapshot, &value) != HF_OK || !value.there()) return;
    if (!nearest.has_value() || nearer(candidate, *nearest)) nearest = candidate;
  };
  for (const auto& [candidate, versions] : rows_.all()) consider(candidate);
  for (const auto& [candidate, own] : actor.model.writes) consider(candidate);
  demand_code(code, nearest.has_value() ? HF_OK : HF_END, "cursor_next");
  if (code != HF_OK) {
    demand_code(hf_cursor_close(&actor.cursor), HF_OK, "cursor_close");
    return;
  }
  demand(text(key) == nearest->second, "the cursor stands on another row");
  actor.cursor_last = *nearest;
  actor.cursor_started = true;
  check_row(actor, *nearest, code, row, "cursor_next");
  actor.model.note_read(*nearest, actor.cursor_snapshot, false);
}

}  // namespace hf::fuzz
