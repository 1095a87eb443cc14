// SPDX-License-Identifier: Apache-2.0
#include "catalog/catalog.h"

#include "base/hash.h"
#include "schema/catalog_generated.h"
#include "txn/row_cursor.h"
#include "txn/transact.h"

namespace hf::catalog {
namespace {

using txn::Range;
using txn::RowCursor;
using txn::RowView;
using txn::Transaction;
using txn::TxnOptions;

constexpr std::uint64_t kCountRowsMax = 10'000;  // rows of the overlay that an approximate count looks up one by one

std::string name_key(const std::string& name) { return "n" + name; }

std::string number(std::uint32_t value) {
  char bytes[4];
  store_be32(bytes, value);
  return std::string(bytes, sizeof bytes);
}

std::string id_key(TableId id) { return "i" + number(id); }
std::string load_key(TableId data_id) { return "l" + number(data_id); }

Result<TableId> table_of(Bytes value) {
  alignas(8) std::uint8_t aligned[256];  // rows have no alignment, FlatBuffers want one
  if (value.size() <= sizeof aligned) {
    std::memcpy(aligned, value.data(), value.size());
    flatbuffers::Verifier verifier(aligned, value.size());
    if (schema::VerifyTableInfoBuffer(verifier)) return schema::GetTableInfo(aligned)->id();
  }
  return Status(Code::kCORRUPT, "a row of the catalog does not verify");
}

std::string table_info(TableId id) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(schema::CreateTableInfo(builder, id, wall_ms()));
  return std::string(reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize());
}

Status no_table(const std::string& name) { return Status(Code::kNO_TABLE, "no table \"" + name + "\""); }

// Catalogs alive in this process, by database.
struct Catalogs {
  std::mutex mutex;
  std::map<txn::Database*, std::weak_ptr<Catalog>> alive;
};

Catalogs& catalogs() {
  static Catalogs* instance = new Catalogs;  // never destroyed: databases may outlive static destruction
  return *instance;
}

}  // namespace

std::shared_ptr<Catalog> Catalog::of(const std::shared_ptr<txn::Database>& database) {
  Catalogs& known = catalogs();
  const std::lock_guard lock(known.mutex);
  std::weak_ptr<Catalog>& entry = known.alive[database.get()];
  if (std::shared_ptr<Catalog> catalog = entry.lock()) return catalog;
  auto catalog = std::make_shared<Catalog>(database);
  entry = catalog;
  return catalog;
}

Catalog::Catalog(std::shared_ptr<txn::Database> database) : database_(std::move(database)) {
  system_.id = txn::kSystemTable;
}

txn::Table* Catalog::intern(TableId id) {
  const std::lock_guard lock(mutex_);
  std::unique_ptr<txn::Table>& table = tables_[id];
  if (table == nullptr) {
    table = std::make_unique<txn::Table>();
    table->id = id;
  }
  return table.get();
}

Status Catalog::transact(const std::function<Status(Transaction&)>& body) {
  Transaction txn(database_);
  txn::Retry retry({});
  for (;;) {
    retry.count_attempt();
    Status status = txn.begin(TxnOptions{});
    if (status.ok()) status = body(txn);
    if (status.ok()) status = txn.commit(true);
    txn.abort();
    if (status.ok() || !retry.again(status, txn)) return status;
  }
}

Result<TableId> Catalog::next_id(Transaction& txn) {
  RowView row;
  TableId next = txn::kFirstUserTable;
  const Status status = txn.get(system_, "s", &row);
  if (!status.ok() && status.code() != Code::kNOT_FOUND) return status;
  if (status.ok()) {
    if (row.value.size() != 4) return Status(Code::kCORRUPT, "the catalog's next number does not verify");
    next = load_be32(row.value.data());
  }
  if (next == UINT32_MAX) return Status(Code::kLIMIT, "every table number has been used");
  if (Status put = txn.put(system_, "s", number(next + 1), 0); !put.ok()) return put;
  return next;
}

Result<txn::Table*> Catalog::create(const std::string& name, bool* existed) {
  TableId id = 0;
  Status status = transact([&](Transaction& txn) -> Status {
    RowView row;
    *existed = false;
    const Status found = txn.get(system_, name_key(name), &row);
    if (found.ok()) {
      *existed = true;
      Result<TableId> there = table_of(row.value);
      if (!there.ok()) return std::move(there).status();
      id = there.value();
      return {};
    }
    if (found.code() != Code::kNOT_FOUND) return found;
    if (Status full = check_room(txn); !full.ok()) return full;
    Result<TableId> fresh = next_id(txn);
    if (!fresh.ok()) return std::move(fresh).status();
    id = fresh.value();
    if (Status put = txn.put(system_, name_key(name), table_info(id), 0); !put.ok()) return put;
    return txn.put(system_, id_key(id), number(id), 0);
  });
  if (!status.ok()) return status;
  return intern(id);
}

// kLIMIT when there are tables_max tables.
Status Catalog::check_room(Transaction& txn) {
  RowCursor cursor(txn);
  Range range;
  range.prefix = "n";
  if (Status status = cursor.open(system_, range); !status.ok()) return status;
  Bytes key;
  RowView row;
  std::uint64_t tables = 0;
  for (;;) {
    Status status = cursor.next(&key, &row);
    if (status.code() == Code::kEND) break;
    if (!status.ok()) return status;
    ++tables;
  }
  if (tables < database_->options().tables_max) return {};
  return Status(Code::kLIMIT, "there are " + std::to_string(tables) + " tables; tables_max is " +
                                  std::to_string(database_->options().tables_max));
}

Result<txn::Table*> Catalog::open(const std::string& name) {
  Transaction txn(database_);
  TxnOptions options;
  options.read_only = true;
  if (Status status = txn.begin(options); !status.ok()) return status;
  RowView row;
  const Status status = txn.get(system_, name_key(name), &row);
  if (status.code() == Code::kNOT_FOUND) return no_table(name);
  if (!status.ok()) return status;
  Result<TableId> id = table_of(row.value);
  if (!id.ok()) return std::move(id).status();
  return intern(id.value());
}

Status Catalog::drop(const std::string& name) {
  return transact([&](Transaction& txn) -> Status {
    RowView row;
    const Status found = txn.get(system_, name_key(name), &row);
    if (found.code() == Code::kNOT_FOUND) return no_table(name);
    if (!found.ok()) return found;
    Result<TableId> id = table_of(row.value);
    if (!id.ok()) return std::move(id).status();
    if (Status status = txn.get(system_, id_key(id.value()), &row); !status.ok()) return status;
    const TableId data_id = load_be32(row.value.data());
    if (Status status = txn.erase(system_, name_key(name)); !status.ok()) return status;
    if (Status status = txn.erase(system_, id_key(id.value())); !status.ok()) return status;
    return txn.drop_rows(data_id);
  });
}

Status Catalog::rename(const std::string& from, const std::string& to) {
  return transact([&](Transaction& txn) -> Status {
    RowView row;
    const Status found = txn.get(system_, name_key(from), &row);
    if (found.code() == Code::kNOT_FOUND) return no_table(from);
    if (!found.ok()) return found;
    const std::string info(row.value);
    Status status = txn.insert(system_, name_key(to), info, 0);
    if (status.code() == Code::kEXISTS) return Status(Code::kEXISTS, "there is a table \"" + to + "\" already");
    if (!status.ok()) return status;
    return txn.erase(system_, name_key(from));
  });
}

Status Catalog::list(const std::function<bool(const std::string& name)>& visit) {
  Transaction txn(database_);
  TxnOptions options;
  options.read_only = true;
  if (Status status = txn.begin(options); !status.ok()) return status;
  RowCursor cursor(txn);
  Range range;
  range.prefix = "n";
  if (Status status = cursor.open(system_, range); !status.ok()) return status;
  Bytes key;
  RowView row;
  for (;;) {
    Status status = cursor.next(&key, &row);
    if (status.code() == Code::kEND) return {};
    if (!status.ok()) return status;
    if (!visit(std::string(key.substr(1)))) return {};
  }
}

std::string Catalog::name_of_data(TableId data_id) {
  if (data_id == txn::kSystemTable) return "(catalog)";
  Transaction txn(database_);
  TxnOptions options;
  options.read_only = true;
  if (!txn.begin(options).ok()) return {};
  RowCursor cursor(txn);
  Range range;
  range.prefix = "n";
  if (!cursor.open(system_, range).ok()) return {};
  Bytes key;
  RowView row;
  while (cursor.next(&key, &row).ok()) {
    Result<TableId> id = table_of(row.value);
    RowView data;
    if (!id.ok() || !txn.get(system_, id_key(id.value()), &data).ok() || data.value.size() != 4) continue;
    if (load_be32(data.value.data()) == data_id) return std::string(key.substr(1));
  }
  return {};
}

Result<TableStats> Catalog::stats(txn::Table& table) {
  TableStats stats{};
  stats.id = table.id;
  Csn snapshot = 0;
  Transaction txn(database_);
  TxnOptions options;
  options.read_only = true;
  if (Status status = txn.begin(options); !status.ok()) return status;
  TableId data_id = table.id;
  if (table.id != txn::kSystemTable) {
    RowView row;
    Status status = txn.get(system_, id_key(table.id), &row);
    if (status.code() == Code::kNOT_FOUND) return Code::kNO_TABLE;
    if (!status.ok()) return status;
    data_id = load_be32(row.value.data());
  }
  Result<txn::View*> view = database_->views().acquire(&snapshot);
  if (!view.ok()) return std::move(view).status();
  stats.rows_base = view.value()->base().entries(data_id);
  Status status = count_overlay(*view.value(), snapshot, data_id, &stats);
  database_->views().release(view.value());
  if (!status.ok()) return status;
  return stats;
}

// Looks up to kCountRowsMax changed rows up in the base, and takes the rest to behave like those.
Status Catalog::count_overlay(const txn::View& view, Csn snapshot, TableId data_id, TableStats* stats) {
  std::uint64_t looked_up = 0;
  std::int64_t change = 0;
  const std::vector<overlay::SegmentRef>& segments = view.segments();
  for (std::size_t i = 0; i < segments.size(); ++i) {
    if (!segments[i]->has_table(data_id)) continue;
    overlay::Iterator row(*segments[i]);
    for (row.seek_at_or_after(data_id, {}); row.valid() && row.table() == data_id; row.next()) {
      overlay::Version version;
      if (row.key().empty() || !row.version(snapshot, &version)) continue;
      ++stats->rows_overlay;
      if (looked_up >= kCountRowsMax) continue;
      ++looked_up;
      bool newer = false;  // in a newer segment: counted there
      const std::uint64_t hash = row_hash(data_id, row.key());
      overlay::Version other;
      for (std::size_t j = 0; j < i && !newer; ++j)
        newer = segments[j]->find(data_id, row.key(), hash, snapshot, &other);
      if (newer) continue;
      store::Row stored;
      Result<bool> in_base = view.base().get(data_id, row.key(), &stored);
      if (!in_base.ok()) return std::move(in_base).status();
      change += (version.kind == overlay::VersionKind::kPut ? 1 : 0) - (in_base.value() ? 1 : 0);
    }
  }
  if (looked_up > 0) {
    change = static_cast<std::int64_t>(static_cast<double>(change) * static_cast<double>(stats->rows_overlay) /
                                       static_cast<double>(looked_up));
  }
  const std::int64_t rows = static_cast<std::int64_t>(stats->rows_base) + change;
  stats->rows_approximate = rows > 0 ? static_cast<std::uint64_t>(rows) : 0;
  return {};
}

// --- bulk load
// --------------------------------------------------------------------------------------------------------

Status Catalog::check_empty(Transaction& txn, txn::Table& table) {
  RowCursor cursor(txn);
  if (Status status = cursor.open(table, {}); !status.ok()) return status;
  Bytes key;
  RowView row;
  Status status = cursor.next(&key, &row);
  if (status.ok()) return Status(Code::kEXISTS, "the table has rows");
  return status.code() == Code::kEND ? Status() : status;
}

Status Catalog::begin_load(txn::Table& table, txn::BulkLoad* load, Deadline deadline) {
  if (Status status = drop_dead_loads(); !status.ok()) return status;
  TableId data_id = 0;
  Status status = transact([&](Transaction& txn) -> Status {
    if (Status empty = check_empty(txn, table); !empty.ok()) return empty;
    Result<TableId> fresh = next_id(txn);
    if (!fresh.ok()) return std::move(fresh).status();
    data_id = fresh.value();
    return txn.put(system_, load_key(data_id), database_->process_mark(), 0);
  });
  if (!status.ok()) return status;
  if (status = load->begin(data_id, deadline); !status.ok()) {
    forget_load(data_id);
    return status;
  }
  const std::lock_guard lock(mutex_);
  loads_[load] = data_id;
  return {};
}

Status Catalog::finish_load(txn::Table& table, txn::BulkLoad* load) {
  TableId data_id = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto running = loads_.find(load);
    if (running == loads_.end()) return Status(Code::kMISUSE, "the load has ended");
    data_id = running->second;
    loads_.erase(running);
  }
  if (Status status = load->finish(); !status.ok()) return status;
  Status status = transact([&](Transaction& txn) -> Status {
    if (Status empty = check_empty(txn, table); !empty.ok()) return empty;
    RowView row;
    if (Status found = txn.get(system_, id_key(table.id), &row); !found.ok()) {
      return found.code() == Code::kNOT_FOUND ? Status(Code::kNO_TABLE) : found;
    }
    if (Status dropped = txn.drop_rows(load_be32(row.value.data())); !dropped.ok()) return dropped;
    if (Status marked = txn.erase(system_, load_key(data_id)); !marked.ok()) return marked;
    return txn.put(system_, id_key(table.id), number(data_id), 0);
  });
  if (!status.ok() && !code_is_maybe_committed(static_cast<int>(status.code()))) forget_load(data_id);
  return status;
}

void Catalog::abandon_load(txn::BulkLoad* load) {
  TableId data_id = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto running = loads_.find(load);
    if (running == loads_.end()) return;
    data_id = running->second;
    loads_.erase(running);
  }
  forget_load(data_id);
}

// Nobody will ever read what was loaded under that number. What fails here is done by the next load.
void Catalog::forget_load(TableId data_id) {
  (void)transact([&](Transaction& txn) -> Status {
    if (Status status = txn.erase(system_, load_key(data_id)); !status.ok()) return status;
    return txn.drop_rows(data_id);
  }).ok();
}

// Rows of loads whose process died between writing them and naming them.
Status Catalog::drop_dead_loads() {
  return transact([&](Transaction& txn) -> Status {
    RowCursor cursor(txn);
    Range range;
    range.prefix = "l";
    if (Status status = cursor.open(system_, range); !status.ok()) return status;
    std::vector<TableId> dead;
    for (;;) {
      Bytes key;
      RowView row;
      Status status = cursor.next(&key, &row);
      if (status.code() == Code::kEND) break;
      if (!status.ok()) return status;
      if (key.size() == 5 && !database_->mark_alive(row.value)) dead.push_back(load_be32(key.data() + 1));
    }
    for (const TableId data_id : dead) {
      if (Status status = txn.erase(system_, load_key(data_id)); !status.ok()) return status;
      if (Status status = txn.drop_rows(data_id); !status.ok()) return status;
    }
    return {};
  });
}

}  // namespace hf::catalog
