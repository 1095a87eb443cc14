// SPDX-License-Identifier: Apache-2.0
#include "fuzz/api_calls.h"

namespace hf::fuzz {

void demand_code(int code, int expected, const char* call) {
  if (code != expected) fail(std::string(call) + " answers " + hf_code_name(code) + ", not " + hf_code_name(expected));
}

namespace {

// Few, so that transactions meet; the longest, neighbours, and bytes that text does not have.
const std::string& key_at(std::uint32_t choice) {
  static const std::string keys[] = {
      "a", "b", "ba", std::string("b\0", 2), "c", "\xff", std::string(HF_KEY_SIZE_MAX, 'z')};
  return keys[choice % std::size(keys)];
}

std::string value_of(Input& in) {
  static constexpr std::size_t kSizes[] = {3, 0, 8, 30, 100, 2'000};
  return std::string(kSizes[in.below(std::size(kSizes))], static_cast<char>('a' + in.below(26)));
}

const Value kAbsent;

}  // namespace

Key Calls::key_of(Input& in) {
  const std::uint8_t choice = in.u8();
  return {choice & 1, key_at(choice >> 1)};
}

// --- begin and end ------------------------------------------------------------------------------------------------

void Calls::begin_txn(Actor& actor, Input& in) {
  hf_txn_options options = HF_TXN_OPTIONS_INIT;
  options.isolation = in.below(4);
  options.durability = in.below(3);
  options.flags = in.one_in(8) ? HF_TXN_READ_ONLY : in.one_in(16) ? HF_TXN_BASE_ONLY | HF_TXN_READ_DURABLE : 0;
  demand_code(hf_begin(db_, &options, &actor.txn), HF_OK, "begin");
  actor.model = TxnModel();
  actor.model.running = true;
  actor.model.read_only = options.flags != 0;
  actor.model.isolation = options.isolation == 0 ? std::uint32_t{HF_SERIALIZABLE} : options.isolation;
  actor.model.first_snapshot = hf_txn_snapshot(actor.txn);
  demand((options.flags & HF_TXN_BASE_ONLY) != 0 || actor.model.first_snapshot == rows_.published,
         "a transaction does not begin at the newest commit");
}

void Calls::ended(Actor& actor) {
  actor.model.running = false;
  locks_.give_all_back(number_of(actor));
}

void Calls::end_txn(Actor& actor, bool by_abort) {
  if (actor.txn == nullptr) return;
  if (by_abort) demand_code(hf_abort(actor.txn), HF_OK, "abort");
  demand_code(hf_txn_end(&actor.txn), HF_OK, "txn_end");
  demand(actor.txn == nullptr, "an ended handle is not NULL");
  actor.cursor = nullptr;  // closed with it
  ended(actor);
}

void Calls::commit(Actor& actor, bool by_ticket) {
  const std::uint64_t snapshot = hf_txn_snapshot(actor.txn);
  std::uint64_t ticket = 0;
  const int code = by_ticket ? hf_commit_ticket(actor.txn, &ticket) : hf_commit(actor.txn);
  if (!actor.model.may_answer(code, rows_, locks_, number_of(actor), snapshot)) {
    fail(std::string("commit must not answer ") + hf_code_name(code));
  }
  ended(actor);
  if (code != HF_OK) return;
  actor.model.commit(&rows_);
  demand(hf_txn_csn(actor.txn) == (actor.model.writes.empty() ? 0 : rows_.published), "the commit has another csn");
  for (const auto& [key, write] : actor.model.writes) {
    const Value value = rows_.newest(key);
    std::int64_t after = 0;
    const int told = hf_counter_after(actor.txn, table_of(key), view(key.second), &after);
    demand_code(told, value.kind == Value::Kind::kCounter ? HF_OK : HF_NOT_FOUND, "counter_after");
    demand(told != HF_OK || after == value.number(), "counter_after tells another number");
  }
  if (by_ticket) demand_code(hf_ticket_wait(db_, ticket, 10'000), HF_OK, "ticket_wait");
}

// --- reading ------------------------------------------------------------------------------------------------------

void Calls::check_row(const Actor& actor, const Key& key, int code, const hf_row& row, const char* call) {
  const std::uint64_t snapshot = hf_txn_snapshot(actor.txn);
  if (snapshot < rows_.begin) return;  // base only: what an earlier input left
  Value expected;
  const int seen = actor.model.see(rows_, key, snapshot, &expected);
  demand_code(code, seen != HF_OK ? seen : expected.there() ? HF_OK : HF_NOT_FOUND, call);
  if (code != HF_OK) return;
  demand(text(row.value) == expected.bytes, std::string(call) + ": another value");
  demand(row.version == expected.version, std::string(call) + ": another version");
  demand((row.expires_ms != 0) == expected.is_limited, std::string(call) + ": another expiry");
}

void Calls::read(Actor& actor, Input& in) {
  const Key key = key_of(in);
  hf_table* const table = table_of(key);
  hf_row row{};
  int code = HF_OK;
  switch (in.below(4)) {
    case 0:
      code = hf_get(actor.txn, table, view(key.second), &row);
      break;
    case 1: {
      hf_bytes keys[2] = {view(key.second), view(key.second)};
      hf_row rows[2] = {};
      code = hf_get_many(actor.txn, table, keys, 2, rows);
      row = rows[1];
      if (code == HF_OK) {
        code = row.code;
        demand(rows[0].code == code && text(rows[0].value) == text(row.value), "get_many gives two different rows");
      }
      break;
    }
    case 2: {
      std::string buffer(in.below(120), '\0');
      std::size_t size = 0;
      code = hf_get_into(actor.txn, table, view(key.second), buffer.data(), buffer.size(), &size);
      Value expected;
      if (code == HF_TOO_LARGE || code == HF_OK) {
        demand((code == HF_OK) == (size <= buffer.size()), "get_into: wrong about the size");
        (void)actor.model.see(rows_, key, hf_txn_snapshot(actor.txn), &expected);
        demand(hf_txn_snapshot(actor.txn) < rows_.begin || expected.bytes.size() == size, "get_into: another size");
        actor.model.note_read(key, hf_txn_snapshot(actor.txn), false);
        return;
      }
      break;
    }
    default: {
      std::int64_t number = 0;
      code = hf_counter_get(actor.txn, table, view(key.second), &number);
      Value expected;
      const int seen = actor.model.see(rows_, key, hf_txn_snapshot(actor.txn), &expected);
      actor.model.note_read(key, hf_txn_snapshot(actor.txn), false);
      if (hf_txn_snapshot(actor.txn) < rows_.begin) return;
      const int plain = expected.kind == Value::Kind::kPlain ? HF_WRONG_TYPE : expected.there() ? HF_OK : HF_NOT_FOUND;
      demand_code(code, seen != HF_OK ? seen : plain, "counter_get");
      demand(code != HF_OK || number == expected.number(), "counter_get gives another number");
      return;
    }
  }
  check_row(actor, key, code, row, "get");
  actor.model.note_read(key, hf_txn_snapshot(actor.txn), false);
}

// --- writing ------------------------------------------------------------------------------------------------------

void Calls::write(Actor& actor, Input& in) {
  const Key key = key_of(in);
  hf_table* const table = table_of(key);
  const std::string bytes = value_of(in);
  const std::uint64_t ttl_ms = in.one_in(4) ? 100'000'000 : 0;
  const std::uint32_t kind = in.below(6);
  Value seen;
  std::uint64_t version = 0;
  if (kind == 3) {
    version = in.one_in(2) ? rows_.at(key, hf_txn_snapshot(actor.txn)).version : in.below(2) * rows_.changed(key);
  }
  int code = HF_OK;
  const hf_bytes name = view(key.second), value = view(bytes);
  switch (kind) {
    case 0:
      code = hf_put(actor.txn, table, name, value, ttl_ms);
      break;
    case 1:
      code = hf_insert(actor.txn, table, name, value, ttl_ms);
      break;
    case 2:
      code = hf_update(actor.txn, table, name, value, ttl_ms);
      break;
    case 3:
      code = hf_put_if_version(actor.txn, table, name, value, version, ttl_ms);
      break;
    case 4:
      code = hf_delete(actor.txn, table, name);
      break;
    default:
      code = hf_erase(actor.txn, table, name);
  }
  if (actor.model.read_only) return demand_code(code, HF_READ_ONLY, "a write");
  const std::uint64_t snapshot = hf_txn_snapshot(actor.txn);
  const int found = actor.model.see(rows_, key, snapshot, &seen);
  int expected = found;
  if (kind == 0 || kind == 5) expected = HF_OK;
  if (expected == HF_OK && kind == 1 && seen.there()) expected = HF_EXISTS;
  if (expected == HF_OK && (kind == 2 || kind == 4) && !seen.there()) expected = HF_NOT_FOUND;
  if (expected == HF_OK && kind == 3) {
    const bool matches = seen.there() ? seen.version != 0 && seen.version == version : version == 0;
    if (!matches) expected = HF_VERSION_MISMATCH;
  }
  demand_code(code, expected, "a write");
  if (kind != 0 && kind != 5) actor.model.note_read(key, snapshot, kind == 1 || kind == 3);
  if (code == HF_OK) actor.model.writes[key] = {kind >= 4 ? kAbsent : Value::plain(bytes, ttl_ms != 0), {}};
}

void Calls::count(Actor& actor, Input& in) {
  static constexpr std::int64_t kNumbers[] = {1, -1, 0, 5, -7, 100, INT64_MAX, INT64_MIN};
  const Key key = key_of(in);
  const std::int64_t number = kNumbers[in.below(8)];
  if (in.one_in(4)) {
    const int code = hf_counter_set(actor.txn, table_of(key), view(key.second), number);
    demand_code(code, actor.model.read_only ? HF_READ_ONLY : HF_OK, "counter_set");
    if (code == HF_OK) actor.model.writes[key] = {Value::counter(number), {}};
    return;
  }
  const bool is_bounded = in.one_in(2);
  const std::int64_t min = is_bounded ? -static_cast<std::int64_t>(in.below(16)) : INT64_MIN;
  const std::int64_t max = is_bounded ? static_cast<std::int64_t>(in.below(16)) : INT64_MAX;
  const int code = hf_add(actor.txn, table_of(key), view(key.second), number, min, max);
  if (actor.model.read_only) return demand_code(code, HF_READ_ONLY, "add");
  const auto own = actor.model.writes.find(key);
  if (own != actor.model.writes.end() && !own->second.adds.has_value()) {
    const Value& value = own->second.value;
    if (value.kind == Value::Kind::kPlain) return demand_code(code, HF_WRONG_TYPE, "add");
    const __int128 sum = (value.there() ? value.number() : 0) + __int128{number};
    demand_code(code, sum < min || sum > max ? HF_OUT_OF_RANGE : HF_OK, "add to an own row");
    if (code == HF_OK) {
      const bool is_limited = value.is_limited;
      own->second.value = Value::counter(static_cast<std::int64_t>(sum));
      own->second.value.is_limited = is_limited;
    }
    return;
  }
  const Value newest = rows_.newest(key);
  if (newest.kind == Value::Kind::kPlain) return demand_code(code, HF_WRONG_TYPE, "add");
  Adds adds = own != actor.model.writes.end() ? *own->second.adds : Adds();
  const __int128 sum = (newest.there() ? newest.number() : 0) + adds.sum + number;
  const bool fits = sum >= min && sum <= max && adds.fold(number, min, max);
  demand_code(code, fits ? HF_OK : HF_OUT_OF_RANGE, "add");
  if (fits) actor.model.writes[key] = {{}, adds};
}

// --- one step -----------------------------------------------------------------------------------------------------

void Calls::take_txn(Input& in) {
  Actor& actor = actors_[in.below(kActors)];
  if (actor.txn == nullptr) begin_txn(actor, in);
  if (!actor.model.running) {
    hf_row row{};
    demand_code(hf_get(actor.txn, tables_[0], {"a", 1}, &row), HF_MISUSE, "get in an ended transaction");
    return end_txn(actor, false);
  }
  switch (in.below(16)) {
    case 0:
    case 1:
      return read(actor, in);
    case 2:
    case 3:
    case 4:
      return write(actor, in);
    case 5:
    case 6:
      return count(actor, in);
    case 7:
    case 8:
      return lock(actor, in);
    case 9:
      return savepoint(actor, in);
    case 10:
      return open_cursor(actor, in);
    case 11:
    case 12:
      return move_cursor(actor);
    case 13:
    case 14:
      return commit(actor, in.one_in(4));
    default:
      if (!in.one_in(4)) return end_txn(actor, in.one_in(2));
      demand_code(hf_cancel(actor.txn), HF_OK, "cancel");
      hf_row row{};
      demand_code(hf_get(actor.txn, tables_[0], {"a", 1}, &row), HF_CANCELLED, "get after a cancel");
      ended(actor);
  }
}

}  // namespace hf::fuzz
