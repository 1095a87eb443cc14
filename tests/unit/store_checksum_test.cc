// SPDX-License-Identifier: Apache-2.0
// Goal: every row of the base carries its checksum, however it got there; a flipped bit of a row is told by verify(),
// or the row is not found under its key any more; rows from before there were checksums are read as ever.
//
// Method: rows with a value that occurs once in data.mdb, so that they can be found there and flipped bit by bit. Old
// rows are written past the store, as the builds before wrote them.
#include <fcntl.h>
#include <lmdb.h>

#include <fstream>
#include <sstream>

#include "base/hash.h"
#include "unit/store_testing.h"

namespace hf::store::testing {
namespace {

constexpr TableId kTable = 16;

std::string file_of(const Directory& directory) { return directory.path() + "/data.mdb"; }

std::uint64_t offset_in(const std::string& file, const std::string& wanted) {
  std::ifstream in(file, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  const std::size_t at = text.str().rfind(wanted);
  EXPECT_NE(at, std::string::npos) << wanted;
  return at;
}

void flip(const std::string& file, std::uint64_t at, int bit) {
  const int fd = ::open(file.c_str(), O_RDWR);
  char byte = 0;
  ASSERT_EQ(::pread(fd, &byte, 1, static_cast<off_t>(at)), 1);
  byte = static_cast<char>(byte ^ (1 << bit));
  ASSERT_EQ(::pwrite(fd, &byte, 1, static_cast<off_t>(at)), 1);
  ::close(fd);
}

Status verify(const Snapshot& snapshot, Bytes key, const Row& row, TableId table = kTable) {
  return snapshot.verify(table, key, row_hash(table, key), row);
}

TEST(StoreChecksum, MergedAndLoadedRowsHaveOne) {
  Directory directory;
  auto store = Store::open(options_for(directory));
  ASSERT_OK(store);
  ASSERT_OK(put_one(**store, kTable, "plain", row_of("value", 7)));
  ASSERT_OK(put_one(**store, kTable, "empty", row_of("", 8)));
  ASSERT_OK(put_one(**store, kTable, "expires", row_of("value", 9, 12345, 1)));
  Row carried = row_of("value", 10);
  carried.checked = true;
  carried.checksum = 0x12345678;  // wrong: a merge keeps what it is given
  ASSERT_OK(put_one(**store, kTable, "carried", carried));
  auto load = (*store)->begin_load(kTable + 1, 11);
  ASSERT_OK(load);
  ASSERT_OK((*load)->add("a", "loaded", 0, 0));
  ASSERT_OK((*load)->add("b", "loaded", 1, 99999));
  ASSERT_OK((*load)->finish());

  const auto snapshot = snapshot_of(**store);
  for (const auto& [table, key] : std::vector<std::pair<TableId, std::string>>{
           {kTable, "plain"}, {kTable, "empty"}, {kTable, "expires"}, {kTable + 1, "a"}, {kTable + 1, "b"}}) {
    Row row;
    const auto found = snapshot->get(table, key, &row);
    ASSERT_OK(found);
    ASSERT_TRUE(found.value()) << key;
    EXPECT_TRUE(row.checked) << key;
    EXPECT_TRUE(verify(*snapshot, key, row, table).ok()) << key;
    EXPECT_EQ(verify(*snapshot, key + "x", row, table).code(), Code::kCORRUPT) << "the key is part of it";
    EXPECT_EQ(verify(*snapshot, key, row, table + 1).code(), Code::kCORRUPT) << "the table is part of it";
  }
  Row row;
  ASSERT_TRUE(snapshot->get(kTable, "carried", &row).value());
  EXPECT_EQ(row.checksum, 0x12345678u);
  const Status told = verify(*snapshot, "carried", row);
  EXPECT_EQ(told.code(), Code::kCORRUPT);
  for (const char* part : {"data.mdb", "'carried'", "#16"}) {
    EXPECT_NE(told.message().find(part), std::string::npos) << told.message();
  }
}

TEST(StoreChecksum, EveryBitOfARow) {
  for (const std::uint64_t expires_ms : {std::uint64_t{0}, std::uint64_t{0x1122334455667788}}) {
    Directory directory;
    const std::string key = "the-only-key", value = "a value that stands nowhere else";
    {
      auto store = Store::open(options_for(directory));
      ASSERT_OK(store);
      ASSERT_OK(put_one(**store, kTable, key, row_of(value, 0x123456, expires_ms, 3)));
    }
    const std::uint64_t value_at = offset_in(file_of(directory), value);
    const std::uint64_t begin = value_at - head_size(expires_ms) - key.size();
    for (std::uint64_t at = begin; at < value_at + value.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        ASSERT_NO_FATAL_FAILURE(flip(file_of(directory), at, bit));
        {
          auto store = Store::open(options_for(directory));
          ASSERT_OK(store);
          const auto snapshot = snapshot_of(**store);
          Row row;
          const auto found = snapshot->get(kTable, key, &row);
          const bool in_key = at < begin + key.size();
          const bool told = !found.ok() || (found.value() && !verify(*snapshot, key, row).ok());
          EXPECT_EQ(told, !in_key) << "byte " << at - begin << " bit " << bit;
          auto cursor = Cursor::open(*snapshot, kTable);
          const auto on = cursor->first();
          const bool told_to_cursor = !on.ok() || !verify(*snapshot, cursor->key(), cursor->row()).ok();
          EXPECT_TRUE(told_to_cursor) << "byte " << at - begin << " bit " << bit;
        }
        ASSERT_NO_FATAL_FAILURE(flip(file_of(directory), at, bit));
      }
    }
  }
}

// As the builds before wrote it, into the first slot.
void write_old_row(const Directory& directory, const std::string& key, Csn version, const std::string& value,
                   bool forget_since) {
  MDB_env* env = nullptr;
  ASSERT_EQ(mdb_env_create(&env), 0);
  mdb_env_set_maxdbs(env, 10);
  ASSERT_EQ(mdb_env_open(env, directory.path().c_str(), 0, 0666), 0);
  MDB_txn* txn = nullptr;
  ASSERT_EQ(mdb_txn_begin(env, nullptr, 0, &txn), 0);
  MDB_dbi rows = 0, meta = 0;
  ASSERT_EQ(mdb_dbi_open(txn, "t0", 0, &rows), 0);
  ASSERT_EQ(mdb_dbi_open(txn, "meta", 0, &meta), 0);
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &version, sizeof version);
  bytes[7] = 5;  // flags
  bytes += value;
  MDB_val name{key.size(), const_cast<char*>(key.data())}, data{bytes.size(), bytes.data()};
  ASSERT_EQ(mdb_put(txn, rows, &name, &data, 0), 0);
  if (forget_since) {
    const std::string since = kCheckedSinceKey;
    MDB_val record{since.size(), const_cast<char*>(since.data())};
    ASSERT_EQ(mdb_del(txn, meta, &record, nullptr), 0);
  }
  ASSERT_EQ(mdb_txn_commit(txn), 0);
  mdb_env_close(env);
}

TEST(StoreChecksum, OldRowsAreReadAndNewOnesWithoutOneAreDamage) {
  Directory directory;
  {
    auto store = Store::open(options_for(directory));
    ASSERT_OK(store);
    ASSERT_OK(put_one(**store, kTable, "new", row_of("value", 20), 20));
  }
  ASSERT_NO_FATAL_FAILURE(write_old_row(directory, "old", 15, "old value", true));
  {
    auto store = Store::open(options_for(directory));
    ASSERT_OK(store);
    ASSERT_OK((*store)->demand_checksums());  // from csn 20 on
    const auto snapshot = snapshot_of(**store);
    Row row;
    ASSERT_TRUE(snapshot->get(kTable, "old", &row).value());
    EXPECT_EQ(row.value, "old value");
    EXPECT_EQ(row.version, 15u);
    EXPECT_EQ(row.flags, 5u);
    EXPECT_FALSE(row.checked);
    EXPECT_TRUE(verify(*snapshot, "old", row).ok());
  }
  ASSERT_NO_FATAL_FAILURE(write_old_row(directory, "newer", 21, "value", false));
  auto store = Store::open(options_for(directory));
  ASSERT_OK(store);
  const auto snapshot = snapshot_of(**store);
  Row row;
  ASSERT_TRUE(snapshot->get(kTable, "newer", &row).value());
  EXPECT_EQ(verify(*snapshot, "newer", row).code(), Code::kCORRUPT);
  ASSERT_TRUE(snapshot->get(kTable, "old", &row).value());
  EXPECT_TRUE(verify(*snapshot, "old", row).ok());
  ASSERT_TRUE(snapshot->get(kTable, "new", &row).value());
  EXPECT_TRUE(row.checked);
}

}  // namespace
}  // namespace hf::store::testing
