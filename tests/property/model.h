// SPDX-License-Identifier: Apache-2.0
// The model: what Holdfast promises of rows, cursors, savepoints, isolation and tables, in ordered maps that keep every
// version. It predicts each answer, each commit's outcome and each csn exactly. It knows nothing of overlay, base, log
// or merges: that those do not show is what the property tests are for.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "txn/row_cursor.h"
#include "txn/transaction.h"

namespace hf::property {

using txn::Isolation;

// How long a row lives. kShort: it has expired by the time that its commit can be seen (the runner waits for that).
enum class Life { kUnlimited, kLong, kShort };

struct ModelRow {
  std::string value;
  Csn version = 0;  // 0: own write
  Life life = Life::kUnlimited;
};

struct ModelVersion {
  Csn csn;
  bool there;
  std::string value;
  Life life;
};

// One life of a table: dropping and making it again gives another one. Numbers are places in Model::tables.
struct ModelTable {
  Csn created = 0;
  Csn dropped = kCsnMax;
  std::map<std::string, std::vector<ModelVersion>> rows;  // versions oldest first

  bool exists_at(Csn csn) const { return created <= csn && csn < dropped; }
  Csn newest(const std::string& key) const;
  const ModelVersion* at(const std::string& key, Csn csn) const;  // null: absent, deleted or expired
};

class Model {
 public:
  Code create(const std::string& name, bool* existed);
  Code drop(const std::string& name);
  Code rename(const std::string& from, const std::string& to);

  Csn published = 0;
  Csn system = 0;  // last commit that changed the tables
  std::vector<ModelTable> tables;
  std::map<std::string, std::size_t> names;
};

// Owns the bytes of a txn::Range.
struct ModelRange {
  std::string low, high, prefix;
  bool low_exclusive = false, high_inclusive = false, reverse = false;
  std::uint64_t skip = 0, limit = 0;

  txn::Range view() const;
  bool admits(const std::string& key) const;
  bool nothing() const;  // the bounds admit no key at all
};

class ModelTxn {
 public:
  explicit ModelTxn(Model& model) : model_(&model) {}

  void begin(const txn::TxnOptions& options, Csn snapshot);
  bool running() const { return running_; }
  void abort() { running_ = false; }
  Csn snapshot() const { return snapshot_; }

  Code get(std::size_t table, const std::string& key, ModelRow* row);
  Code get_more(std::size_t table, const std::string& key, ModelRow* row);
  Code put(std::size_t table, const std::string& key, const std::string& value, Life life);
  Code insert(std::size_t table, const std::string& key, const std::string& value, Life life);
  Code update(std::size_t table, const std::string& key, const std::string& value, Life life);
  Code put_if_version(std::size_t table, const std::string& key, const std::string& value, Csn version, Life life);
  Code check_version(std::size_t table, const std::string& key, Csn version);
  Code remove(std::size_t table, const std::string& key);
  Code erase(std::size_t table, const std::string& key);

  Code savepoint();
  std::size_t savepoints() const { return savepoints_.size(); }
  void rollback_to(std::size_t index);  // that one stays, those after it go
  void release(std::size_t index);      // that one and those after it go

  Code open_cursor(std::size_t table, const ModelRange& range);
  bool has_cursor() const { return cursor_.has_value(); }
  void seek(const std::string& key);           // Requires: has_cursor()
  Code next(std::string* key, ModelRow* row);  // Requires: has_cursor()
  void close_cursor() { cursor_.reset(); }

  // kOK and the csn (0 when nothing was written), or why not.
  Code commit(Csn* csn);

 private:
  struct OwnWrite {
    bool there;
    std::string value;
    Life life;
  };
  using Writes = std::map<std::pair<std::size_t, std::string>, OwnWrite>;
  struct ReadRow {
    std::size_t table;
    std::string key;
    Csn seen_at;
    Code on_change;
  };
  struct ReadRange {
    std::size_t table;
    Csn seen_at;
    ModelRange bounds;
    std::optional<std::string> start;     // of a seek
    std::optional<std::string> progress;  // last row passed over
    bool complete = false;                // all of the bounds
    bool contains(const std::string& key) const;
  };
  struct Cursor {
    std::size_t table;
    Csn snapshot;
    ModelRange range;
    std::uint64_t skip, left;
    std::optional<std::string> start, last;
    bool ended = false;
    ReadRange* read = nullptr;
  };
  struct Touched {
    std::size_t table;
    bool written;
    bool known;  // found at the snapshot, or by a statement since the tables changed
  };

  void statement();
  bool tracks() const { return !options_.read_only && options_.isolation == Isolation::kSerializable; }
  Code resolve(std::size_t table);
  Code enter_write(std::size_t table);
  bool read(std::size_t table, const std::string& key, bool always, Code on_change, ModelRow* row);
  Code match_version(std::size_t table, const std::string& key, Csn version);
  void write(std::size_t table, const std::string& key, OwnWrite write);
  bool row_at(std::size_t table, const std::string& key, Csn snapshot, ModelRow* row) const;
  std::optional<std::string> nearest(const Cursor& cursor) const;
  Code check_tables() const;
  Code validate() const;

  Model* model_;
  txn::TxnOptions options_;
  bool running_ = false;
  Csn snapshot_ = 0, first_snapshot_ = 0;
  Writes writes_;
  std::vector<Writes> savepoints_;
  std::vector<ReadRow> read_rows_;
  std::deque<ReadRange> read_ranges_;
  std::vector<Touched> touched_;
  std::optional<Cursor> cursor_;
};

}  // namespace hf::property
