// SPDX-License-Identifier: Apache-2.0
// Hostile: what lies inside of the base: rows, records, the table directory, the expiry index. The file is a right LMDB
// file; damage to LMDB's own pages is out of scope here, because LMDB trusts them (`holdfast check` walks them).
//
// Must hold: no crash; every answer is OK, NOT_FOUND or a code of damage, and what is handed out lies within bounds:
// rows of at most the sizes that Holdfast writes, versions below the limit. A base that opened still takes a merge, a
// sweep and a load, unless it says that it is damaged; and a row merged into it is there, as it was given, in the next
// snapshot.
//
// Made right by the harness: the input is a list of writes and deletions in the named databases, done with LMDB itself
// in a copy of a small base; keys and values begin as right ones, and the input changes them.
#include <lmdb.h>

#include "fuzz/fuzz.h"
#include "store/store.h"

namespace {

using namespace hf;
using fuzz::demand;
using fuzz::Input;
using store::Row;

constexpr TableId kTables = 4;  // tables 1 to 3 have rows
constexpr std::uint64_t kMapSize = 8u << 20;

void check_legal(const Status& status, const char* what) {
  switch (status.code()) {
    case Code::kOK:
    case Code::kNOT_FOUND:
    case Code::kCORRUPT:
    case Code::kWRONG_FORMAT:
    case Code::kLIMIT:
      return;
    default:
      fuzz::fail(std::string(what) + " answers " + code_name(static_cast<int>(status.code())) + ": " +
                 std::string(status.message()));
  }
}
template <class Value>
void check_legal(const Result<Value>& result, const char* what) {
  check_legal(result.status(), what);
}

store::StoreOptions options_for(const std::string& directory) {
  store::StoreOptions options;
  options.directory = directory;
  options.map_size = kMapSize;
  options.tables_max = 8;
  options.readers_max = 16;
  return options;
}

// A small base, made once by the store itself.
std::string make_template() {
  const fuzz::Scratch scratch;
  {
    Result<std::unique_ptr<store::Store>> opened = store::Store::open(options_for(scratch.path()));
    demand(opened.ok(), "no base");
    Result<std::unique_ptr<store::Merge>> merge = opened.value()->begin_merge();
    demand(merge.ok(), "no merge");
    for (TableId table = 1; table < kTables; ++table) {
      for (int i = 0; i < 4; ++i) {
        const std::string key = "key" + std::to_string(i);
        const Row row{static_cast<Csn>(i + 1), i == 0 ? 1'000u : 0u, "value", 0};
        demand(merge.value()->put(table, key, row).ok(), "no put");
      }
    }
    demand(merge.value()->commit(10).ok(), "no commit");
  }
  return fuzz::read_file(scratch.path("data.mdb"));
}

// --- the hostile writes -------------------------------------------------------------------------------------------

std::string word32(std::uint32_t value) {
  std::string bytes;
  fuzz::append(&bytes, value);
  return bytes;
}
std::string big32(std::uint32_t value) { return word32(__builtin_bswap32(value)); }
std::string big64(std::uint64_t value) {
  return big32(static_cast<std::uint32_t>(value >> 32)) + big32(static_cast<std::uint32_t>(value));
}

class Vandal {
 public:
  Vandal(Input& in, const std::string& directory) : in_(in) {
    MDB_env* env = nullptr;
    demand(mdb_env_create(&env) == 0 && mdb_env_set_mapsize(env, kMapSize) == 0 && mdb_env_set_maxdbs(env, 16) == 0,
           "no environment");
    demand(mdb_env_open(env, directory.c_str(), MDB_NOSYNC | MDB_NOLOCK, 0666) == 0, "the template does not open");
    demand(mdb_txn_begin(env, nullptr, 0, &txn_) == 0, "no transaction");
    for (std::uint32_t count = in_.below(8) + 1; count > 0; --count) write_one();
    demand(mdb_txn_commit(txn_) == 0, "no commit");
    mdb_env_close(env);
  }

 private:
  void write_one() {
    switch (in_.below(6)) {
      case 0:
        return write(row_database(), row_key(), row_value());
      case 1:
        return write("expiry", expiry_key(), in_.one_in(4) ? wild() : row_key());
      case 2:
        return write("tables", changed(big32(in_.below(6))), changed(word32(in_.below(6))));
      case 3:
        return write("meta", "directory", directory_record());
      case 4:
        return write("meta", "applied_csn", in_.one_in(2) ? wild() : number(in_.u64()));
      default:
        return write("meta", in_.one_in(4) ? wild() : "format", changed(std::string("HFBASE01\1\0\0\0\4\3\2\1", 16)));
    }
  }

  // Mostly what it was, with a byte changed or the end cut off.
  std::string changed(std::string bytes) {
    if (in_.one_in(4)) bytes.resize(in_.below(24));
    if (in_.one_in(4) && !bytes.empty())
      bytes[in_.below(static_cast<std::uint32_t>(bytes.size()))] ^= static_cast<char>(in_.u8());
    return bytes;
  }
  std::string wild() { return in_.bytes(in_.below(32)); }
  static std::string number(std::uint64_t value) {
    std::string bytes;
    fuzz::append(&bytes, value);
    return bytes;
  }

  std::string row_database() { return "t" + std::to_string(in_.below(4)); }
  std::string row_key() { return in_.one_in(8) ? std::string(511, 'k') : "key" + std::to_string(in_.below(6)); }
  std::string row_value() {
    if (in_.one_in(4)) return wild();
    char head[store::kHeadSizeExpires];
    const std::uint64_t expires_ms = in_.one_in(2) ? in_.u64() : 0;
    const char* const end = store::encode_head(head, in_.u64() & kCsnMax, in_.u8(), expires_ms, 0);
    return changed(std::string(head, static_cast<std::size_t>(end - head)) + in_.bytes(in_.below(16)));
  }
  std::string expiry_key() {
    return changed(big64(in_.one_in(4) ? in_.u64() : in_.below(3) * 1'000u) + big32(in_.below(5)) + big64(in_.u8()));
  }
  std::string directory_record() {
    return changed(number(in_.below(4)) + word32(in_.one_in(8) ? in_.u32() : in_.below(8)) + word32(0));
  }

  void write(const std::string& database, std::string name, std::string bytes) {
    MDB_dbi dbi = 0;
    if (mdb_dbi_open(txn_, database.c_str(), in_.one_in(8) ? MDB_CREATE : 0, &dbi) != 0) return;
    MDB_val key{name.size(), name.data()}, value{bytes.size(), bytes.data()};
    // Illegal key sizes are LMDB's to refuse.
    if (in_.one_in(8)) {
      (void)mdb_del(txn_, dbi, &key, nullptr);
    } else {
      (void)mdb_put(txn_, dbi, &key, &value, 0);
    }
  }

  Input& in_;
  MDB_txn* txn_ = nullptr;
};

// --- what the store makes of it -----------------------------------------------------------------------------------

volatile unsigned char sink;

void check_row(Bytes key, const Row& row) {
  demand(key.size() <= kKeySizeMax && row.value.size() <= kValueSizeMax, "a row over the limits");
  demand(row.version <= kCsnMax && (row.flags & store::kFlagExpires) == 0, "a row with an illegal head");
  unsigned char sum = 0;  // reads each byte
  for (const char byte : key) sum = static_cast<unsigned char>(sum + byte);
  for (const char byte : row.value) sum = static_cast<unsigned char>(sum + byte);
  sink = sum;
}

void walk(const store::Snapshot& snapshot, TableId table, bool backward) {
  Result<store::Cursor> cursor = store::Cursor::open(snapshot, table);
  check_legal(cursor, "a cursor");
  if (!cursor.ok()) return;
  Result<bool> there = backward ? cursor->last() : cursor->first();
  std::uint64_t rows = 0;
  while (there.ok() && there.value()) {
    check_row(cursor->key(), cursor->row());
    demand(++rows <= 1'000, "a walk without an end");
    there = backward ? cursor->prev() : cursor->next();
  }
  check_legal(there, "a walk");
}

void read_all(store::Store& base) {
  check_legal(base.get_meta("database_id"), "a record");
  check_legal(base.stats(), "figures");
  Result<std::shared_ptr<const store::Snapshot>> snapshot = base.snapshot();
  check_legal(snapshot, "a snapshot");
  if (!snapshot.ok()) return;
  demand(snapshot.value()->applied_csn() <= kCsnMax, "applied_csn over the limit");
  for (TableId table = 0; table < kTables + 2; ++table) {
    (void)snapshot.value()->entries(table);
    for (const char* key : {"key0", "key3", "none", ""}) {
      Row row;
      Result<bool> found = snapshot.value()->get(table, key, &row);
      check_legal(found, "a read");
      if (found.ok() && found.value()) check_row(key, row);
    }
    walk(*snapshot.value(), table, false);
    walk(*snapshot.value(), table, true);
  }
}

// True when the merge said that all is well.
bool merge_into(store::Store& base) {
  Result<std::unique_ptr<store::Merge>> merge = base.begin_merge();
  check_legal(merge, "a merge");
  if (!merge.ok()) return false;
  Status status;
  for (TableId table = 1; table < kTables + 1 && status.ok(); ++table) {
    status = merge.value()->put(table, "key1", {20, 5'000, "merged", 1});
    if (status.ok()) status = merge.value()->erase(table, "key0");
  }
  if (status.ok()) status = merge.value()->drop_table(2);
  if (status.ok()) status = merge.value()->commit(21);
  check_legal(status, "a merge");
  return status.ok();
}

void write_some(store::Store& base) {
  check_legal(base.sweep_expired(2'000, 100), "a sweep");
  if (merge_into(base)) {
    Result<std::shared_ptr<const store::Snapshot>> snapshot = base.snapshot();
    demand(snapshot.ok() && snapshot.value()->applied_csn() == 21, "merged, and no snapshot of it");
    Row row;
    Result<bool> found = snapshot.value()->get(3, "key1", &row);
    demand(found.ok() && found.value() && row.value == "merged" && row.version == 20 && row.expires_ms == 5'000 &&
               row.flags == 1,
           "a row that was merged is not there");
    demand(!snapshot.value()->get(2, "key1", &row).value(), "a row of a dropped table is there");
  }
  Result<std::unique_ptr<store::Load>> load = base.begin_load(7, 22);
  check_legal(load, "a load");
  if (!load.ok()) return;
  Status status = load.value()->add("a", "1", 0, 0);
  if (status.ok()) status = load.value()->add("b", "2", 0, 9'000);
  if (status.ok()) status = load.value()->finish();
  check_legal(status, "a load");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string base_file = make_template();
  static const fuzz::Scratch scratch;
  Input in(data, size);
  fuzz::write_files(scratch.path(), {{"data.mdb", base_file}});
  const Vandal vandal(in, scratch.path());
  Result<std::unique_ptr<store::Store>> opened = store::Store::open(options_for(scratch.path()));
  check_legal(opened, "opening");
  if (!opened.ok()) return 0;
  read_all(*opened.value());
  write_some(*opened.value());
  read_all(*opened.value());
  return 0;
}
