// SPDX-License-Identifier: Apache-2.0
#include "property/runner.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "property/compare.h"

namespace hf::property {
namespace {

std::uint64_t ttl_of(Life life) {
  switch (life) {
    case Life::kUnlimited:
      return 0;
    case Life::kLong:
      return 3'600'000;
    case Life::kShort:
      return 1;
  }
  return 0;
}

}  // namespace

struct Runner::Actor {
  Actor(const isolation::World& world, Model& model_world) : txn(world.database()), model(model_world) {}
  txn::Transaction txn;
  ModelTxn model;
  std::unique_ptr<txn::RowCursor> cursor;
  std::vector<std::uint64_t> savepoints;  // beside those of the model
  std::uint64_t dead_savepoint = 0;
};

Runner::Runner(const txn::DatabaseOptions& options) : world_(options), overlay_bytes_max_(options.overlay_bytes_max) {}
Runner::~Runner() = default;

void Runner::run(const std::vector<Step>& steps) {
  for (const Step& step : steps) take(step);
  end_all();
  compare_everything();
  if (world_.merge() != Code::kOK) RC_FAIL("a merge is refused although no transaction is open");
  compare_everything();
  reopen();
  compare_everything();
}

std::size_t Runner::table_of(const Step& step) const {
  std::vector<std::size_t> usable;  // dropped ones too, as long as this process has their handle
  for (std::size_t i = handles_.size(); i-- > 0 && usable.size() < 3;) {
    if (handles_[i] != nullptr) usable.push_back(i);
  }
  return usable[step.table % usable.size()];
}

std::string Runner::new_value(const Step& step) {
  static constexpr std::size_t kSizes[] = {0, 1, 8, 30, 30, 100, 100, 3'000};
  std::string value = std::to_string(++values_) + ".";
  value.append(kSizes[step.choice % std::size(kSizes)], static_cast<char>('a' + values_ % 26));
  return step.choice == 0 ? std::string() : value;
}

void Runner::take(const Step& step) {
  if (take_alone(step)) return;
  if (std::none_of(handles_.begin(), handles_.end(), [](txn::Table* table) { return table != nullptr; })) {
    change_tables({Op::kCreate, 0, 0, 0, 0, 0, 0});
  }
  std::unique_ptr<Actor>& actor = actors_[step.actor % kActors];
  if (actor == nullptr) actor = std::make_unique<Actor>(world_, model_);
  if (!actor->model.running()) begin(*actor, step);
  try {
    take_one(*actor, step);
  } catch (const ToldToLeave&) {
    told_to_leave(*actor);
  }
}

void Runner::told_to_leave(Actor& actor) {
  RC_ASSERT(overlay_bytes_max_ < (16u << 20));
  RC_ASSERT(!actor.txn.running());
  ++answers()[{"told to leave", Code::kSNAPSHOT_TOO_OLD}];
  actor.cursor.reset();
  actor.model.abort();
}

void Runner::take_one(Actor& actor, const Step& step) {
  switch (step.op) {
    case Op::kCommit:
      return commit(actor);
    case Op::kAbort:
      actor.cursor.reset();
      actor.txn.abort();
      return actor.model.abort();
    case Op::kSavepoint:
    case Op::kRollback:
    case Op::kRelease:
      return take_savepoint(actor, step);
    case Op::kCursor:
    case Op::kSeek:
    case Op::kNext:
    case Op::kScan:
      return take_cursor(actor, step);
    default:
      return take_row(actor, step);
  }
}

bool Runner::take_alone(const Step& step) {
  switch (step.op) {
    case Op::kMerge:
      (void)world_.merge();
      return true;
    case Op::kReopen:
      reopen();
      return true;
    case Op::kBurst:
      burst(step);
      return true;
    case Op::kCreate:
    case Op::kDrop:
    case Op::kRename:
    case Op::kList:
      change_tables(step);
      return true;
    default:
      return false;
  }
}

void Runner::begin(Actor& actor, const Step& step) {
  static constexpr Isolation kLevels[] = {Isolation::kSerializable, Isolation::kSerializable, Isolation::kSnapshot,
                                          Isolation::kReadCommitted};
  txn::TxnOptions options = isolation::at_level(kLevels[step.choice % 4], step.flags % 8 == 7);
  options.base_only = step.flags % 32 == 31;
  // One thread plays all parts: a lock by heat would make it wait for itself.
  options.heat = false;
  must(actor.txn.begin(options));
  if (options.base_only) {
    RC_ASSERT(actor.txn.snapshot_csn() <= model_.published);
  } else {
    RC_ASSERT(actor.txn.snapshot_csn() == model_.published);
  }
  actor.model.begin(options, actor.txn.snapshot_csn());
  actor.cursor.reset();
  actor.savepoints.clear();
  actor.dead_savepoint = 0;
}

void Runner::take_row(Actor& actor, const Step& step) {
  const std::size_t table = table_of(step);
  txn::Table& handle = *handles_[table];
  const std::string& key = key_at(step.key);
  const std::string value = new_value(step);
  const Life life = life_of(step.flags);
  const Csn newest = model_.tables[table].newest(key);
  const Csn version = step.other_key % 3 == 0 ? 0 : step.other_key % 3 == 1 ? newest : step.other_key;
  txn::RowView row;
  ModelRow expected;
  Status engine;
  Code model = Code::kOK;
  switch (step.op) {
    case Op::kGet:
      engine = actor.txn.get(handle, key, &row);
      model = actor.model.get(table, key, &expected);
      break;
    case Op::kGetMore:
      engine = actor.txn.get_more(handle, key, &row);
      model = actor.model.get_more(table, key, &expected);
      break;
    case Op::kPut:
      engine = actor.txn.put(handle, key, value, ttl_of(life));
      model = actor.model.put(table, key, value, life);
      break;
    case Op::kInsert:
      engine = actor.txn.insert(handle, key, value, ttl_of(life));
      model = actor.model.insert(table, key, value, life);
      break;
    case Op::kUpdate:
      engine = actor.txn.update(handle, key, value, ttl_of(life));
      model = actor.model.update(table, key, value, life);
      break;
    case Op::kPutIfVersion:
      engine = actor.txn.put_if_version(handle, key, value, version, ttl_of(life));
      model = actor.model.put_if_version(table, key, value, version, life);
      break;
    case Op::kCheckVersion:
      engine = actor.txn.check_version(handle, key, version);
      model = actor.model.check_version(table, key, version);
      break;
    case Op::kRemove:
      engine = actor.txn.remove(handle, key);
      model = actor.model.remove(table, key);
      break;
    default:
      engine = actor.txn.erase(handle, key);
      model = actor.model.erase(table, key);
  }
  same(engine, model, name_of(step.op));
  if (model == Code::kOK && (step.op == Op::kGet || step.op == Op::kGetMore)) same_row(row, expected);
  short_lived_ |= life == Life::kShort;
}

void Runner::take_savepoint(Actor& actor, const Step& step) {
  if (step.op == Op::kSavepoint) {
    const Result<std::uint64_t> made = actor.txn.savepoint();
    same(made.status(), actor.model.savepoint(), "savepoint");
    if (made.ok()) actor.savepoints.push_back(made.value());
    return;
  }
  const bool dead = actor.savepoints.empty() || step.choice % 8 == 0;
  const std::size_t index = dead ? 0 : step.choice % actor.savepoints.size();
  const std::uint64_t id = dead ? actor.dead_savepoint : actor.savepoints[index];
  const Status engine = step.op == Op::kRollback ? actor.txn.rollback_to(id) : actor.txn.release(id);
  same(engine, dead ? Code::kINVALID_ARGUMENT : Code::kOK, "end of a savepoint");
  if (dead) return;
  const std::size_t keep = step.op == Op::kRollback ? index + 1 : index;
  if (keep < actor.savepoints.size()) actor.dead_savepoint = actor.savepoints.back();
  actor.savepoints.resize(keep);
  step.op == Op::kRollback ? actor.model.rollback_to(index) : actor.model.release(index);
}

void Runner::take_cursor(Actor& actor, const Step& step) {
  if (step.op == Op::kCursor || step.op == Op::kScan) {
    const std::size_t table = table_of(step);
    const ModelRange range = range_of(step);
    actor.cursor = std::make_unique<txn::RowCursor>(actor.txn);
    const Status engine = actor.cursor->open(*handles_[table], range.view());
    same(engine, actor.model.open_cursor(table, range), "open of a cursor");
    if (!engine.ok()) actor.cursor.reset();
  }
  if (actor.cursor == nullptr) return;
  if (step.op == Op::kSeek) {
    const std::string key = bound_at(step.key);
    must(actor.cursor->seek(key));
    actor.model.seek(key);
  }
  if (step.op == Op::kScan) return next(actor, 1'000);
  if (step.op == Op::kNext) return next(actor, 1 + step.choice % 3);
}

void Runner::next(Actor& actor, int rows) {
  for (int i = 0; i < rows; ++i) {
    Bytes key;
    txn::RowView row;
    std::string expected_key;
    ModelRow expected;
    const Status engine = actor.cursor->next(&key, &row);
    const Code model = actor.model.next(&expected_key, &expected);
    if (engine.ok() && model == Code::kEND) RC_FAIL("the engine's cursor has a further row, " + printable(key));
    if (engine.code() == Code::kEND && model == Code::kOK)
      RC_FAIL("the engine's cursor misses " + printable(expected_key));
    same(engine, model, "next");
    if (!engine.ok()) return;
    if (key != expected_key) RC_FAIL("cursor on " + printable(key) + ", the model on " + printable(expected_key));
    same_row(row, expected);
  }
}

void Runner::commit(Actor& actor) {
  actor.cursor.reset();
  if (short_lived_) {  // so that nobody can see such a row before it has expired
    const std::uint64_t written_ms = wall_ms();
    while (wall_ms() <= written_ms + 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    short_lived_ = false;
  }
  Csn csn = 0;
  const Status engine = actor.txn.commit(true);
  const bool alone = std::none_of(actors_.begin(), actors_.end(), [&](const std::unique_ptr<Actor>& other) {
    return other != nullptr && other.get() != &actor && other->txn.running();
  });
  // Before the model commits. kOVERLOADED: others were told to leave and cannot, for they have no thread to leave on.
  if (engine.code() == Code::kSNAPSHOT_TOO_OLD || (engine.code() == Code::kOVERLOADED && !alone)) throw ToldToLeave{};
  same(engine, actor.model.commit(&csn), "commit");
  if (engine.ok()) RC_ASSERT(actor.txn.commit_csn() == csn);
  RC_ASSERT(!actor.txn.running());
  relieve(4'000);
}

// Enough rows to fill segments. Those who have kept a snapshot for long are ended first, lest most be told to leave.
void Runner::burst(const Step& step) {
  constexpr int kRows = 24;
  constexpr std::size_t kSize = 4'000;
  relieve(kRows * kSize);
  if (model_.names.empty()) return;
  const std::size_t table = std::next(model_.names.begin(), step.table % static_cast<int>(model_.names.size()))->second;
  Actor actor(world_, model_);
  begin(actor, {Op::kBurst, 0, 0, 0, 0, 0, 0});
  try {
    for (int i = 0; i < kRows; ++i) {
      const std::string key = i == 0 ? key_at(step.key) : "f" + std::to_string((step.key * 7 + i) % 60);
      const std::string value = std::to_string(++values_) + std::string(kSize, static_cast<char>('a' + i));
      same(actor.txn.put(*handles_[table], key, value, 0), actor.model.put(table, key, value, Life::kUnlimited),
           "burst");
    }
    commit(actor);
  } catch (const ToldToLeave&) {
    told_to_leave(actor);
  }
}

void Runner::relieve(std::size_t bytes) {
  pressure_ += bytes;
  if (pressure_ < overlay_bytes_max_ / 16) return;
  end_all();
  pressure_ = bytes;
}

void Runner::end_all() {
  for (std::unique_ptr<Actor>& actor : actors_) {
    if (actor == nullptr) continue;
    actor->cursor.reset();
    actor->txn.abort();
    actor->model.abort();
  }
}

void Runner::change_tables(const Step& step) {
  const std::string name = "t" + std::to_string(step.key % kNames);
  const std::string other = "t" + std::to_string(step.other_key % kNames);
  bool existed = false, model_existed = false;
  switch (step.op) {
    case Op::kCreate: {
      Result<txn::Table*> made = world_.catalog().create(name, &existed);
      same(made.status(), model_.create(name, &model_existed), "create");
      RC_ASSERT(existed == model_existed);
      const std::size_t table = model_.names[name];
      if (table == handles_.size()) handles_.push_back(made.value());
      RC_ASSERT(handles_[table] == made.value());
      break;
    }
    case Op::kDrop:
      same(world_.catalog().drop(name), model_.drop(name), "drop");
      break;
    case Op::kRename:
      same(world_.catalog().rename(name, other), model_.rename(name, other), "rename");
      break;
    default: {
      std::vector<std::string> names, expected;
      must(world_.catalog().list([&](const std::string& found) { return names.push_back(found), true; }));
      for (const auto& [found, table] : model_.names) expected.push_back(found);
      RC_ASSERT(names == expected);
    }
  }
}

void Runner::reopen() {
  end_all();
  for (std::unique_ptr<Actor>& actor : actors_) actor.reset();
  world_.reopen();
  std::fill(handles_.begin(), handles_.end(), nullptr);
  for (int i = 0; i < kNames; ++i) {
    const std::string name = "t" + std::to_string(i);
    Result<txn::Table*> opened = world_.catalog().open(name);
    const auto found = model_.names.find(name);
    same(opened.status(), found != model_.names.end() ? Code::kOK : Code::kNO_TABLE, "open");
    if (opened.ok()) handles_[found->second] = opened.value();
  }
}

void Runner::compare_everything() {
  for (const std::uint8_t flags : {0, 4}) {  // both directions
    Actor actor(world_, model_);
    begin(actor, {Op::kScan, 0, 0, 0, 0, 0, 0});
    for (const auto& [name, table] : model_.names) {
      ModelRange range;
      range.reverse = flags == 4;
      actor.cursor = std::make_unique<txn::RowCursor>(actor.txn);
      must(actor.cursor->open(*handles_[table], range.view()));
      RC_ASSERT(actor.model.open_cursor(table, range) == Code::kOK);
      next(actor, 1'000);
    }
    actor.cursor.reset();
  }
}

}  // namespace hf::property
