// SPDX-License-Identifier: Apache-2.0
#include "lmdb_side.h"

#include <cstring>

namespace hf::bench {
namespace {

constexpr std::size_t kMapSize = std::size_t{1} << 36;  // 64 GiB of address space; more than any run here writes
constexpr unsigned kReadersMax = 1024;  // the default of 126 is less than 64 threads and their readers need

void check(int result, const char* call) {
  if (result != MDB_SUCCESS) fail("lmdb: %s: %s", call, mdb_strerror(result));
}

MDB_val view(const Key& key) { return {kKeySize, const_cast<unsigned char*>(key.bytes)}; }
MDB_val view(const Value& value) { return {kValueSize, const_cast<unsigned char*>(value.data())}; }

unsigned first_byte(const MDB_val& value) { return *static_cast<const unsigned char*>(value.mv_data); }

}  // namespace

LmdbSide::LmdbSide(const std::string& directory, const OpenMode& mode) {
  check(mdb_env_create(&env_), "mdb_env_create");
  check(mdb_env_set_mapsize(env_, kMapSize), "mdb_env_set_mapsize");
  check(mdb_env_set_maxreaders(env_, kReadersMax), "mdb_env_set_maxreaders");
  check(mdb_env_set_maxdbs(env_, 4), "mdb_env_set_maxdbs");
  check(mdb_env_open(env_, directory.c_str(), mode.relaxed ? MDB_NOSYNC : 0, 0644), "mdb_env_open");
}

LmdbSide::~LmdbSide() { mdb_env_close(env_); }

void LmdbSide::make_table() { table_ = ensure_table(kTableName); }

MDB_dbi LmdbSide::ensure_table(const char* name) {
  MDB_txn* txn = nullptr;
  MDB_dbi table = 0;
  check(mdb_txn_begin(env_, nullptr, 0, &txn), "mdb_txn_begin");
  check(mdb_dbi_open(txn, name, MDB_CREATE, &table), "mdb_dbi_open");
  check(mdb_txn_commit(txn), "mdb_txn_commit");
  return table;
}

void LmdbSide::load(std::uint64_t rows) {
  MDB_txn* txn = nullptr;
  MDB_cursor* cursor = nullptr;
  check(mdb_txn_begin(env_, nullptr, 0, &txn), "mdb_txn_begin");
  check(mdb_cursor_open(txn, table_, &cursor), "mdb_cursor_open");
  Value value;
  for (std::uint64_t row = 0; row < rows; ++row) {
    const Key key(row);
    value.stamp(row, 0);
    MDB_val key_view = view(key);
    MDB_val value_view = view(value);
    check(mdb_cursor_put(cursor, &key_view, &value_view, MDB_APPEND), "mdb_cursor_put");
  }
  mdb_cursor_close(cursor);
  check(mdb_txn_commit(txn), "mdb_txn_commit");
}

void LmdbSide::write_batch(const std::uint64_t* rows, std::size_t count, std::uint64_t generation) {
  MDB_txn* txn = nullptr;
  check(mdb_txn_begin(env_, nullptr, 0, &txn), "mdb_txn_begin");
  Value value;
  for (std::size_t i = 0; i < count; ++i) {
    const Key key(rows[i]);
    value.stamp(rows[i], generation);
    MDB_val key_view = view(key);
    MDB_val value_view = view(value);
    check(mdb_put(txn, table_, &key_view, &value_view, 0), "mdb_put");
  }
  check(mdb_txn_commit(txn), "mdb_txn_commit");
}

Figures LmdbSide::figures() {
  MDB_envinfo info;
  MDB_stat stat;
  check(mdb_env_info(env_, &info), "mdb_env_info");
  check(mdb_env_stat(env_, &stat), "mdb_env_stat");
  Figures figures;
  figures.commits = info.me_last_txnid;
  figures.base_bytes = (info.me_last_pgno + 1) * stat.ms_psize;
  return figures;
}

void LmdbSide::Writer::put(const Key& key, const Value& value) {
  MDB_txn* txn = nullptr;
  check(mdb_txn_begin(side_.env_, nullptr, 0, &txn), "mdb_txn_begin");
  MDB_val key_view = view(key);
  MDB_val value_view = view(value);
  check(mdb_put(txn, side_.table_, &key_view, &value_view, 0), "mdb_put");
  check(mdb_txn_commit(txn), "mdb_txn_commit");
}

LmdbSide::Change::Change(LmdbSide& side) { check(mdb_txn_begin(side.env_, nullptr, 0, &txn_), "mdb_txn_begin"); }

LmdbSide::Change::~Change() {
  if (txn_ != nullptr) mdb_txn_abort(txn_);
}

const void* LmdbSide::Change::get(MDB_dbi table, const Key& key) {
  MDB_val key_view = view(key);
  MDB_val value_view;
  const int result = mdb_get(txn_, table, &key_view, &value_view);
  if (result == MDB_NOTFOUND) return nullptr;
  check(result, "mdb_get");
  return value_view.mv_data;
}

void LmdbSide::Change::put(MDB_dbi table, const Key& key, const void* value, std::size_t size) {
  MDB_val key_view = view(key);
  MDB_val value_view{size, const_cast<void*>(value)};
  check(mdb_put(txn_, table, &key_view, &value_view, 0), "mdb_put");
}

void LmdbSide::Change::insert(MDB_dbi table, const Key& key, const void* value, std::size_t size) {
  MDB_val key_view = view(key);
  MDB_val value_view{size, const_cast<void*>(value)};
  check(mdb_put(txn_, table, &key_view, &value_view, MDB_NOOVERWRITE), "mdb_put");
}

std::uint64_t LmdbSide::Change::count(MDB_dbi table) {
  MDB_stat stat;
  check(mdb_stat(txn_, table, &stat), "mdb_stat");
  return stat.ms_entries;
}

void LmdbSide::Change::commit() {
  MDB_txn* txn = txn_;
  txn_ = nullptr;  // freed whatever it answers
  check(mdb_txn_commit(txn), "mdb_txn_commit");
}

LmdbSide::Reader::Reader(LmdbSide& side) : side_(side) {
  check(mdb_txn_begin(side_.env_, nullptr, MDB_RDONLY, &txn_), "mdb_txn_begin");
  mdb_txn_reset(txn_);
}

LmdbSide::Reader::~Reader() { mdb_txn_abort(txn_); }

void LmdbSide::Reader::begin() { check(mdb_txn_renew(txn_), "mdb_txn_renew"); }

unsigned LmdbSide::Reader::get(const Key& key) {
  MDB_val key_view = view(key);
  MDB_val value_view;
  check(mdb_get(txn_, side_.table_, &key_view, &value_view), "mdb_get");
  return first_byte(value_view);
}

std::uint64_t LmdbSide::Reader::scan(unsigned* touched) {
  MDB_cursor* cursor = nullptr;
  check(mdb_cursor_open(txn_, side_.table_, &cursor), "mdb_cursor_open");
  std::uint64_t rows = 0;
  MDB_val key_view;
  MDB_val value_view;
  int result = mdb_cursor_get(cursor, &key_view, &value_view, MDB_FIRST);
  for (; result == MDB_SUCCESS; result = mdb_cursor_get(cursor, &key_view, &value_view, MDB_NEXT)) {
    *touched += first_byte(key_view) + first_byte(value_view);
    ++rows;
  }
  if (result != MDB_NOTFOUND) check(result, "mdb_cursor_get");
  mdb_cursor_close(cursor);
  return rows;
}

}  // namespace hf::bench
