// SPDX-License-Identifier: Apache-2.0
// Layer `store`: the base, an LMDB environment with its safe defaults. The only user of lmdb.h. May include `base` and
// `platform`; `txn` uses it.
//
// Every table is one named LMDB database ("t<slot>", reused after a drop, so that handles never have to be closed); a
// row is its key and a value with a short head (store/format.h) that carries version, flags and expiry. applied_csn and
// the table directory are records inside the same transactions, so a snapshot always knows exactly what it holds.
//
// Thread contract. Snapshots may be read by any number of threads at once (transactions without thread binding, every
// database handle touched at open), and end on any thread. Writing (Merge, Load, sweep, set_meta) is for the one
// holder of the maintainer role among all processes, so LMDB's own writer mutex is never contended; a second writer
// in one process gets kMISUSE. A Merge begins, commits and ends on one thread, because that mutex belongs to a
// thread; a Load may move between threads and leaves the base free between two calls.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/status.h"
#include "store/format.h"

namespace hf::store {

struct StoreOptions {
  std::string directory;                            // holds data.mdb and lock.mdb; exists
  std::uint64_t map_size = std::uint64_t{1} << 40;  // bytes of address space, sparse; never changed while open
  std::uint32_t tables_max = 1000;
  std::uint32_t readers_max = 2048;
};

// A row as the base holds it. `value` points into the map, valid as long as the snapshot.
struct Row {
  Csn version = 0;
  std::uint64_t expires_ms = 0;  // 0 = never
  Bytes value;
  std::uint8_t flags = 0;
  bool checked = false;        // has a checksum; in a Merge: `checksum` is to be kept and not computed
  std::uint32_t checksum = 0;  // row_checksum()
};

struct StoreStats {
  std::uint64_t file_bytes;  // size of data.mdb
  std::uint64_t used_bytes;  // pages in use
  std::uint32_t tables;
  std::uint32_t readers;  // LMDB reader slots taken
};

class Image;
class Snapshot;
class Merge;
class Load;
class Cursor;

class Store {
 public:
  // `read_check` first-opener work (dead readers) is done inside. A file that is not LMDB's: kWRONG_FORMAT; a second
  // process with the same pid in another pid namespace: kBUSY with the remedy in the message.
  static Result<std::unique_ptr<Store>> open(const StoreOptions& options);
  // The same for tools, which know nothing of the sizes that the database is used with: as much room for tables, and as
  // large a map, as there can be.
  static Result<std::unique_ptr<Store>> open_any(const std::string& directory);
  ~Store();  // Requires: no snapshot, merge or load left.

  Result<std::shared_ptr<const Snapshot>> snapshot();

  // [maintainer] One synced LMDB transaction that carries sealed commits into the base.
  Result<std::unique_ptr<Merge>> begin_merge();
  // [maintainer] Bulk load of sorted rows into one table that has no row in the base. Invisible until finish().
  Result<std::unique_ptr<Load>> begin_load(TableId table, Csn version);

  // [maintainer] Removes up to `limit` rows of the base that expired before `now_ms`. Returns how many. They were
  // invisible already (readers hide expired rows by the clock), so this needs no commit of its own.
  Result<std::uint64_t> sweep_expired(std::uint64_t now_ms, std::uint64_t limit);
  // [maintainer] Frees reader slots of dead processes.
  Status check_readers();

  // Small named records beside the tables ("clean", "database_id", ...).
  Result<std::string> get_meta(Bytes name);  // kNOT_FOUND
  Status set_meta(Bytes name, Bytes value);  // [maintainer]; synced
  // [maintainer] From now on every row newer than what the base holds must have a checksum: noted once, in files from
  // before rows had any. All openers know it when it returns before they open.
  Status demand_checksums();
  Result<StoreStats> stats();

  // [maintainer, for this call only] The whole base as it is now, for a copy. `changes`: records that the copy has
  // other bytes in, of the same size as here.
  struct MetaChange {
    std::string name, value;
  };
  Result<std::unique_ptr<Image>> image(const std::vector<MetaChange>& changes);
  // [maintainer] Gives the base without its free pages, piece by piece from the beginning, as a file of its own.
  // `take` may refuse a piece: its status is the answer then.
  Status compacted(const std::function<Status(Bytes piece)>& take);

  class Impl;  // private to the layer's .cc files
 private:
  explicit Store(std::shared_ptr<Impl> impl) noexcept;
  std::shared_ptr<Impl> impl_;
};

// One consistent, immutable state of the base.
class Snapshot {
 public:
  ~Snapshot();
  Csn applied_csn() const noexcept { return applied_csn_; }
  std::uint64_t transaction() const noexcept;  // LMDB's number of the state
  // False: absent (or the table has no row here). Corruption is an error. Hot path: one LMDB lookup and a few ns.
  Result<bool> get(TableId table, Bytes key, Row* out) const;
  std::uint64_t entries(TableId table) const noexcept;
  // Holds the row, read from this snapshot under that key, against its checksum; `hash` is row_hash(table, key).
  // kCORRUPT names it and the file.
  Status verify(TableId table, Bytes key, std::uint64_t hash, const Row& row) const;

  class Impl;

 private:
  friend class Store;
  friend class Cursor;
  Snapshot() noexcept;
  Csn applied_csn_ = 0;
  std::unique_ptr<Impl> impl_;
};

// data.mdb as of one snapshot, read piece by piece while merges go on: what they write is elsewhere. Free pages are
// left out, a copy has holes there. Holds a reader slot, so the base grows by what merges replace meanwhile. One thread
// at a time.
class Image {
 public:
  ~Image();
  Csn applied_csn() const noexcept;
  std::uint64_t file_bytes() const noexcept;  // length of the copy
  std::uint64_t data_bytes() const noexcept;  // of it, what next() gives
  // The next piece, at most `capacity` bytes (a page at least), in order; *size is 0 at the end. Blocks on the disk.
  Status next(char* out, std::size_t capacity, std::uint64_t* offset, std::size_t* size);

  class Impl;

 private:
  friend class Store;
  Image() noexcept;
  std::unique_ptr<Impl> impl_;
};

// Walks one table of a snapshot. One thread at a time. The snapshot must outlive it.
class Cursor {
 public:
  static Result<Cursor> open(const Snapshot& snapshot, TableId table);  // a table without rows gives an empty cursor
  Cursor(Cursor&&) noexcept;
  Cursor& operator=(Cursor&&) noexcept;
  ~Cursor();
  // Each positions the cursor and answers whether it stands on a row; key() and row() are valid then, until the
  // snapshot ends. next() and prev() go on from a row: where there is none, they answer false and stay there.
  Result<bool> first();
  Result<bool> last();
  Result<bool> seek_at_or_after(Bytes key);
  Result<bool> seek_before(Bytes key);
  Result<bool> next();
  Result<bool> prev();
  // next() or prev() without the wrapping, for walks: whether it stands on a row. If not, outcome() tells why.
  bool step(bool backward) noexcept;
  Result<bool> outcome() const;  // after a step() that answered false
  bool valid() const noexcept { return valid_; }
  const Bytes& key() const noexcept { return key_; }  // Requires: valid()
  const Row& row() const noexcept { return row_; }

 private:
  Cursor() noexcept = default;
  void* cursor_ = nullptr;  // MDB_cursor
  int failed_ = 0;          // LMDB's answer to the last step() that stands on no row
  bool valid_ = false;
  Bytes key_;
  Row row_;
};

// Puts changes in any order, best in key order per table. Dropped without commit(): nothing happened. After a put
// that failed for the world's sake (disk full, limit) the merge cannot commit. Row.flags: the top two bits are the
// store's own.
class Merge {
 public:
  ~Merge();
  Status put(TableId table, Bytes key, const Row& row);
  Status erase(TableId table, Bytes key);
  Status drop_table(TableId table);
  // Blocks on the disk. After kOK the base holds everything up to applied_csn. kDISK_FULL: nothing happened, try
  // again when there is room. kIO_ERROR, kFAILED: final for this open. Over in any case.
  Status commit(Csn applied_csn);

  class Impl;

 private:
  friend class Store;
  Merge() noexcept;
  std::unique_ptr<Impl> impl_;
};

class Load {
 public:
  ~Load();
  // Keys strictly ascending, else kINVALID_ARGUMENT (the load goes on from the last good row). May write a batch to
  // the disk. Any failure leaves the load as it was before the call, so kDISK_FULL can be tried again.
  Status add(Bytes key, Bytes value, std::uint8_t flags, std::uint64_t expires_ms);
  // Blocks on the disk; the rows are in the next snapshot. The table got rows meanwhile: kEXISTS. Another process
  // wrote as maintainer and took the slot: kCONFLICT.
  Status finish();

  class Impl;

 private:
  friend class Store;
  Load() noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hf::store
