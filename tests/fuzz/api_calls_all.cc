// SPDX-License-Identifier: Apache-2.0
#include "fuzz/api_calls.h"

namespace hf::fuzz {
namespace {

constexpr const char* kTableNames[] = {"rows", "others"};
constexpr std::uint64_t kMaintainEvery = 16;  // inputs

}  // namespace

Calls::Calls() {
  std::filesystem::create_directory(scratch_.path("db"));
  open();
}

Calls::~Calls() { close(); }

void Calls::open() {
  hf_open_options options = HF_OPEN_OPTIONS_INIT;
  options.label = "fuzz";
  options.flags = HF_OPEN_NO_THREAD | HF_OPEN_NO_HEAT;
  options.map_size = 64u << 20;
  options.overlay_bytes_max = 16u << 20;
  options.log_segment_size_max = 1u << 20;
  options.locks_max = 256;
  options.lock_timeout_ms = 1;
  options.tables_max = 8;
  hf_error error = HF_ERROR_INIT;
  if (hf_open(scratch_.path("db").c_str(), &options, &db_, &error) != HF_OK)
    fail(std::string("open: ") + error.message);
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    demand_code(hf_table_ensure(db_, kTableNames[i], &tables_[i]), HF_OK, "table_ensure");
  }
}

void Calls::close() {
  end_all();
  demand_code(hf_close(&db_), HF_OK, "close");
  demand(db_ == nullptr, "a closed handle is not NULL");
}

void Calls::end_all() {
  for (Actor& actor : actors_) end_txn(actor, false);
  if (session_ != nullptr) demand_code(hf_session_close(&session_), HF_OK, "session_close");
  locks_ = Locks();
}

// --- an input -----------------------------------------------------------------------------------------------------

void Calls::begin() {
  hf_txn* txn = nullptr;
  demand_code(hf_begin(db_, nullptr, &txn), HF_OK, "begin");
  for (hf_table* table : tables_) {
    hf_cursor* cursor = nullptr;
    demand_code(hf_cursor_open(txn, table, nullptr, &cursor), HF_OK, "cursor_open");
    hf_bytes key{};
    while (hf_cursor_next(cursor, &key, nullptr) == HF_OK) {
      demand_code(hf_erase(txn, table, view(text(key))), HF_OK, "erase");
    }
    demand_code(hf_cursor_close(&cursor), HF_OK, "cursor_close");
  }
  demand_code(hf_commit(txn), HF_OK, "commit");
  rows_ = Rows();
  demand_code(hf_restart(txn), HF_OK, "restart");
  rows_.begin = rows_.published = hf_txn_snapshot(txn);
  demand_code(hf_txn_end(&txn), HF_OK, "txn_end");
}

void Calls::take(Input& in) {
  const std::uint32_t what = in.below(32);
  if (what < 26) return take_txn(in);
  if (what < 30) return take_all(in);
  abuse(in);
}

void Calls::end() {
  end_all();
  compare_everything();
  const std::uint32_t flags = inputs_++ % kMaintainEvery == 0 ? HF_MAINTAIN_MERGE_ALL : HF_MAINTAIN_STEP;
  demand_code(hf_maintain(db_, flags), HF_OK, "maintain");
  if (flags == HF_MAINTAIN_MERGE_ALL) compare_everything();
}

// In both directions, and counted.
void Calls::compare_everything() {
  Actor actor;
  demand_code(hf_begin(db_, nullptr, &actor.txn), HF_OK, "begin");
  demand(hf_txn_snapshot(actor.txn) == rows_.published, "there are commits that the model does not have");
  for (int table = 0; table < kTables; ++table) {
    for (const bool is_reverse : {false, true}) {
      hf_cursor_options options = HF_CURSOR_OPTIONS_INIT;
      options.flags = is_reverse ? HF_CURSOR_REVERSE : 0;
      std::uint64_t rows = 0, counted = 0;
      for (const auto& [key, versions] : rows_.all()) rows += key.first == table && versions.back().there() ? 1u : 0u;
      demand_code(hf_count(actor.txn, tables_[static_cast<std::size_t>(table)], &options, &counted), HF_OK, "count");
      demand(counted == rows, "a table has another number of rows");
      actor.cursor_table = table;
      actor.cursor_is_reverse = is_reverse;
      actor.cursor_started = false;
      actor.cursor_snapshot = rows_.published;
      demand_code(hf_cursor_open(actor.txn, tables_[static_cast<std::size_t>(table)], &options, &actor.cursor), HF_OK,
                  "cursor_open");
      while (actor.cursor != nullptr) move_cursor(actor);
    }
  }
  demand_code(hf_txn_end(&actor.txn), HF_OK, "txn_end");
}

// --- calls on the database ----------------------------------------------------------------------------------------

void Calls::take_all(Input& in) {
  switch (in.below(8)) {
    case 0:
    case 1:
      return execute(in);
    case 2:
    case 3:
      return take_session(in);
    case 4: {
      const int code = hf_maintain(db_, in.below(2));
      return demand(code == HF_OK, std::string("maintain answers ") + hf_code_name(code));
    }
    case 5:
      return demand_code(hf_sync(db_, 10'000), HF_OK, "sync");
    case 6:
      if (in.one_in(4)) return load(in);
      return;
    default:
      if (!in.one_in(8)) return;
      close();
      open();
      compare_everything();
  }
}

// A list of checks and writes; in the model, a transaction that nobody comes between.
void Calls::execute(Input& in) {
  Actor actor;
  actor.model.first_snapshot = rows_.published;
  std::vector<Key> keys;
  for (std::uint32_t count = in.below(4) + 1; count > 0; --count) keys.push_back(key_of(in));
  std::vector<hf_operation> operations(keys.size());
  int expected = HF_OK;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    hf_operation& operation = operations[i];
    operation.table = table_of(keys[i]);
    operation.key = view(keys[i].second);
    Value seen;
    const int code = actor.model.see(rows_, keys[i], rows_.published, &seen);
    int answer = code;
    switch (in.below(4)) {
      case 0:
        operation.kind = HF_OP_PUT;
        operation.value = {"executed", 8};
        if (expected == HF_OK) actor.model.writes[keys[i]] = {Value::plain("executed", false), {}};
        continue;
      case 1:
        operation.kind = HF_OP_CHECK_ABSENT;
        if (code == HF_OK && seen.there()) answer = HF_EXISTS;
        break;
      case 2:
        operation.kind = HF_OP_COUNTER_SET;
        operation.delta = static_cast<std::int64_t>(in.u8());
        if (expected == HF_OK) actor.model.writes[keys[i]] = {Value::counter(operation.delta), {}};
        continue;
      default:
        operation.kind = HF_OP_DELETE;
        if (code == HF_OK && !seen.there()) answer = HF_NOT_FOUND;
        if (expected == HF_OK && answer == HF_OK) actor.model.writes[keys[i]] = {{}, {}};
    }
    if (expected == HF_OK) expected = answer;
  }
  hf_transact_options options = HF_TRANSACT_OPTIONS_INIT;
  options.attempts_max = 1;
  std::vector<hf_operation_result> results(operations.size());
  const int code = hf_execute(db_, &options, operations.data(), operations.size(), results.data(), nullptr);
  if (expected != HF_OK) return demand_code(code, expected, "execute");
  demand(actor.model.may_answer(code, rows_, locks_, kSession + 1, rows_.published),
         std::string("execute must not answer ") + hf_code_name(code));
  if (code == HF_OK) actor.model.commit(&rows_);
}

void Calls::take_session(Input& in) {
  if (session_ == nullptr) demand_code(hf_session_open(db_, "names", &session_), HF_OK, "session_open");
  const Key name{kNames, std::string(1 + in.below(3) * 200u, 'n')};
  hf_lock_options options = HF_LOCK_OPTIONS_INIT;
  options.mode = 1 + in.below(3);
  options.wait = HF_NO_WAIT;
  switch (in.below(4)) {
    case 0:
      demand_code(hf_session_close(&session_), HF_OK, "session_close");
      return locks_.give_all_back(kSession);
    case 1: {
      const bool was_held = locks_.give_back(kSession, name);
      return demand_code(hf_session_unlock(session_, view(name.second)), was_held ? HF_OK : HF_NOT_FOUND,
                         "session_unlock");
    }
    default:
      demand_code(hf_session_lock(session_, view(name.second), &options), HF_OK, "session_lock");
      locks_.take(kSession, name, options.mode);
  }
}

// Into a table of its own, made and dropped here: other transactions do not see it come and go.
void Calls::load(Input& in) {
  hf_table* table = nullptr;
  demand_code(hf_table_create(db_, "loaded", &table), HF_OK, "table_create");
  hf_load* load = nullptr;
  demand_code(hf_load_begin(db_, table, &load), HF_OK, "load_begin");
  std::string last;
  std::uint64_t rows = 0;
  for (std::uint32_t count = in.below(6); count > 0; --count) {
    const std::string key = key_of(in).second;
    const bool ascends = rows == 0 || key > last;
    demand_code(hf_load_add(load, view(key), view(key), in.below(2) * 1'000'000u),
                ascends ? HF_OK : HF_INVALID_ARGUMENT, "load_add");
    if (!ascends) continue;
    last = key;
    ++rows;
  }
  const bool is_finished = in.one_in(2);
  if (is_finished) demand_code(hf_load_finish(load), HF_OK, "load_finish");
  demand_code(hf_load_end(&load), HF_OK, "load_end");
  hf_txn* txn = nullptr;
  std::uint64_t found = 0;
  demand_code(hf_begin(db_, nullptr, &txn), HF_OK, "begin");
  demand_code(hf_count(txn, table, nullptr, &found), HF_OK, "count");
  demand(found == (is_finished ? rows : 0), "a load left another number of rows");
  demand_code(hf_txn_end(&txn), HF_OK, "txn_end");
  demand_code(hf_table_drop(db_, "loaded"), HF_OK, "table_drop");
  demand_code(hf_maintain(db_, HF_MAINTAIN_MERGE_ALL), HF_OK, "maintain");  // its place in the base is free again
  demand_code(hf_begin(db_, nullptr, &txn), HF_OK, "begin");
  rows_.published = hf_txn_snapshot(txn);  // commits of the catalog
  demand_code(hf_txn_end(&txn), HF_OK, "txn_end");
}

}  // namespace hf::fuzz
