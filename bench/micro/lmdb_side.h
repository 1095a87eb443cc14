// SPDX-License-Identifier: Apache-2.0
// LMDB as a careful program uses it: read transactions kept and renewed, sorted input appended through a cursor, a
// write transaction per commit. Without `relaxed` its defaults, which are durable; with it MDB_NOSYNC.
#pragma once

#include <lmdb.h>

#include "side.h"

namespace hf::bench {

class LmdbSide {
 public:
  static constexpr const char* kName = "lmdb";

  LmdbSide(const std::string& directory, const OpenMode& mode);
  ~LmdbSide();
  LmdbSide(const LmdbSide&) = delete;
  LmdbSide& operator=(const LmdbSide&) = delete;

  void make_table();
  void load(std::uint64_t rows);
  void write_batch(const std::uint64_t* rows, std::size_t count, std::uint64_t generation);
  void merge_all() {}  // everything is in the tree already
  void flush() {}      // the row that asks for it is about the log
  std::uint64_t rows_unmerged() { return 0; }
  Figures figures();

  // A commit waits for its turn at LMDB's writer lock, as any commit of it does.
  class Writer {
   public:
    explicit Writer(LmdbSide& side) : side_(side) {}
    void put(const Key& key, const Value& value);
    std::uint64_t retries() const { return 0; }

   private:
    LmdbSide& side_;
  };

  MDB_dbi table() const { return table_; }
  // Made when absent.
  MDB_dbi ensure_table(const char* name);

  // One write transaction of any kind; the constructor waits for its turn. Undone unless it is committed.
  class Change {
   public:
    explicit Change(LmdbSide& side);
    ~Change();
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;

    // The row's value, null when absent; valid until the next put.
    const void* get(MDB_dbi table, const Key& key);
    void put(MDB_dbi table, const Key& key, const void* value, std::size_t size);
    void insert(MDB_dbi table, const Key& key, const void* value, std::size_t size);
    std::uint64_t count(MDB_dbi table);  // rows
    void commit();

   private:
    MDB_txn* txn_ = nullptr;
  };

  class Reader {
   public:
    explicit Reader(LmdbSide& side);
    ~Reader();
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    // The first begin makes the transaction, later ones renew it.
    void begin();
    void end() { mdb_txn_reset(txn_); }
    // Between begin and end: a byte of the row's value.
    unsigned get(const Key& key);
    // Between begin and end: visits every row, touches key and value, answers how many there were.
    std::uint64_t scan(unsigned* touched);

   private:
    LmdbSide& side_;
    MDB_txn* txn_ = nullptr;
  };

 private:
  MDB_env* env_ = nullptr;
  MDB_dbi table_ = 0;
};

}  // namespace hf::bench
