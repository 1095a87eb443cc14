// SPDX-License-Identifier: Apache-2.0
#include "property/model.h"

#include <algorithm>

namespace hf::property {

// --- tables --------------------------------------------------------------------------------------------------------

Csn ModelTable::newest(const std::string& key) const {
  const auto row = rows.find(key);
  return row == rows.end() ? 0 : row->second.back().csn;
}

const ModelVersion* ModelTable::at(const std::string& key, Csn csn) const {
  const auto row = rows.find(key);
  if (row == rows.end()) return nullptr;
  const ModelVersion* found = nullptr;
  for (const ModelVersion& version : row->second) {
    if (version.csn <= csn) found = &version;
  }
  return found != nullptr && found->there && found->life != Life::kShort ? found : nullptr;
}

Code Model::create(const std::string& name, bool* existed) {
  *existed = names.count(name) != 0;
  if (*existed) return Code::kOK;
  names[name] = tables.size();
  tables.push_back({});
  tables.back().created = system = ++published;
  return Code::kOK;
}

Code Model::drop(const std::string& name) {
  const auto found = names.find(name);
  if (found == names.end()) return Code::kNO_TABLE;
  tables[found->second].dropped = system = ++published;
  names.erase(found);
  return Code::kOK;
}

Code Model::rename(const std::string& from, const std::string& to) {
  const auto found = names.find(from);
  if (found == names.end()) return Code::kNO_TABLE;
  if (names.count(to) != 0) return Code::kEXISTS;
  names[to] = found->second;
  names.erase(from);
  system = ++published;
  return Code::kOK;
}

// --- ranges --------------------------------------------------------------------------------------------------------

txn::Range ModelRange::view() const {
  txn::Range range;
  range.low = low;
  range.high = high;
  range.prefix = prefix;
  range.low_exclusive = low_exclusive;
  range.high_inclusive = high_inclusive;
  range.reverse = reverse;
  range.skip = skip;
  range.limit = limit;
  return range;
}

bool ModelRange::admits(const std::string& key) const {
  if (!low.empty() && (key < low || (low_exclusive && key == low))) return false;
  if (!high.empty() && (key > high || (!high_inclusive && key == high))) return false;
  return key.compare(0, prefix.size(), prefix) == 0;
}

bool ModelRange::nothing() const { return low_exclusive && !low.empty() && low == high; }

// A row that stands on an exclusive lower bound counts as passed over: more than needed, and named in txn/read_set.h.
bool ModelTxn::ReadRange::contains(const std::string& key) const {
  if (!complete && !progress.has_value()) return false;
  if (bounds.nothing()) return false;
  ModelRange inclusive = bounds;
  inclusive.low_exclusive = false;
  if (!bounds.reverse) {
    if (start.has_value() && key < *start) return false;
    return complete ? inclusive.admits(key) : key >= bounds.low && key >= bounds.prefix && key <= *progress;
  }
  if (start.has_value() && key > *start) return false;
  return inclusive.admits(key) && (complete || key >= *progress);
}

// --- reading and writing -------------------------------------------------------------------------------------------

void ModelTxn::begin(const txn::TxnOptions& options, Csn snapshot) {
  options_ = options;
  if (options_.base_only) options_.read_only = true;
  running_ = true;
  snapshot_ = first_snapshot_ = snapshot;
  writes_.clear();
  savepoints_.clear();
  read_rows_.clear();
  read_ranges_.clear();
  touched_.clear();
  cursor_.reset();
}

// Read committed: every statement has a snapshot of its own, and may find that a table is gone.
void ModelTxn::statement() {
  if (options_.isolation != Isolation::kReadCommitted || options_.base_only) return;
  for (Touched& touched : touched_) touched.known &= model_->system <= snapshot_;
  snapshot_ = model_->published;
}

// A table made after the snapshot is there, and empty; one dropped after it is as it was.
Code ModelTxn::resolve(std::size_t table) {
  const auto before =
      std::find_if(touched_.begin(), touched_.end(), [table](const Touched& t) { return t.table == table; });
  if (before != touched_.end() && before->known) return Code::kOK;
  const ModelTable& found = model_->tables[table];
  if (!found.exists_at(snapshot_) && !found.exists_at(model_->published)) return Code::kNO_TABLE;
  if (before == touched_.end()) {
    touched_.push_back({table, false, true});
  } else {
    before->known = true;
  }
  return Code::kOK;
}

bool ModelTxn::row_at(std::size_t table, const std::string& key, Csn snapshot, ModelRow* row) const {
  const auto own = writes_.find({table, key});
  if (own != writes_.end()) {
    *row = {own->second.value, 0, own->second.life};
    return own->second.there;
  }
  const ModelVersion* version = model_->tables[table].at(key, snapshot);
  if (version == nullptr) return false;
  *row = {version->value, version->csn, version->life};
  return true;
}

bool ModelTxn::read(std::size_t table, const std::string& key, bool always, Code on_change, ModelRow* row) {
  const bool own = writes_.count({table, key}) != 0;
  if (!own && !options_.base_only && (always || tracks())) read_rows_.push_back({table, key, snapshot_, on_change});
  return row_at(table, key, snapshot_, row);
}

Code ModelTxn::get(std::size_t table, const std::string& key, ModelRow* row) {
  statement();
  return get_more(table, key, row);
}

Code ModelTxn::get_more(std::size_t table, const std::string& key, ModelRow* row) {
  if (const Code code = resolve(table); code != Code::kOK) return code;
  return read(table, key, false, Code::kCONFLICT, row) ? Code::kOK : Code::kNOT_FOUND;
}

Code ModelTxn::enter_write(std::size_t table) {
  statement();
  return options_.read_only ? Code::kREAD_ONLY : resolve(table);
}

void ModelTxn::write(std::size_t table, const std::string& key, OwnWrite write) {
  for (Touched& touched : touched_) touched.written |= touched.table == table;
  writes_[{table, key}] = std::move(write);
}

Code ModelTxn::put(std::size_t table, const std::string& key, const std::string& value, Life life) {
  if (const Code code = enter_write(table); code != Code::kOK) return code;
  write(table, key, {true, value, life});
  return Code::kOK;
}

Code ModelTxn::insert(std::size_t table, const std::string& key, const std::string& value, Life life) {
  if (const Code code = enter_write(table); code != Code::kOK) return code;
  ModelRow row;
  if (read(table, key, true, Code::kCONFLICT, &row)) return Code::kEXISTS;
  write(table, key, {true, value, life});
  return Code::kOK;
}

Code ModelTxn::update(std::size_t table, const std::string& key, const std::string& value, Life life) {
  if (const Code code = enter_write(table); code != Code::kOK) return code;
  ModelRow row;
  if (!read(table, key, false, Code::kCONFLICT, &row)) return Code::kNOT_FOUND;
  write(table, key, {true, value, life});
  return Code::kOK;
}

Code ModelTxn::match_version(std::size_t table, const std::string& key, Csn version) {
  ModelRow row;
  const bool found = read(table, key, true, Code::kVERSION_MISMATCH, &row);
  // An own row has no version that could be named.
  const bool match = found ? row.version != 0 && row.version == version : version == 0;
  return match ? Code::kOK : Code::kVERSION_MISMATCH;
}

Code ModelTxn::put_if_version(std::size_t table, const std::string& key, const std::string& value, Csn version,
                              Life life) {
  if (const Code code = enter_write(table); code != Code::kOK) return code;
  if (const Code code = match_version(table, key, version); code != Code::kOK) return code;
  write(table, key, {true, value, life});
  return Code::kOK;
}

Code ModelTxn::check_version(std::size_t table, const std::string& key, Csn version) {
  statement();
  if (const Code code = resolve(table); code != Code::kOK) return code;
  return match_version(table, key, version);
}

Code ModelTxn::remove(std::size_t table, const std::string& key) {
  if (const Code code = enter_write(table); code != Code::kOK) return code;
  ModelRow row;
  if (!read(table, key, false, Code::kCONFLICT, &row)) return Code::kNOT_FOUND;
  write(table, key, {false, {}, Life::kUnlimited});
  return Code::kOK;
}

Code ModelTxn::erase(std::size_t table, const std::string& key) {
  if (const Code code = enter_write(table); code != Code::kOK) return code;
  write(table, key, {false, {}, Life::kUnlimited});
  return Code::kOK;
}

// --- savepoints: undone are writes, and never reads ----------------------------------------------------------------

Code ModelTxn::savepoint() {
  if (options_.read_only) return Code::kREAD_ONLY;
  savepoints_.push_back(writes_);
  return Code::kOK;
}

void ModelTxn::rollback_to(std::size_t index) {
  writes_ = savepoints_[index];
  savepoints_.resize(index + 1);
}

void ModelTxn::release(std::size_t index) { savepoints_.resize(index); }

// --- cursors -------------------------------------------------------------------------------------------------------

Code ModelTxn::open_cursor(std::size_t table, const ModelRange& range) {
  cursor_.reset();
  statement();
  if (const Code code = resolve(table); code != Code::kOK) return code;
  cursor_.emplace(
      Cursor{table, snapshot_, range, range.skip, range.limit == 0 ? UINT64_MAX : range.limit, {}, {}, false, nullptr});
  return Code::kOK;
}

void ModelTxn::seek(const std::string& key) {
  cursor_->start.reset();
  if (!key.empty()) cursor_->start = key;
  cursor_->last.reset();
  cursor_->ended = false;
  cursor_->read = nullptr;
}

// The nearest row in the cursor's direction, own writes as they are now.
std::optional<std::string> ModelTxn::nearest(const Cursor& cursor) const {
  std::optional<std::string> best;
  const bool reverse = cursor.range.reverse;
  const auto nearer = [reverse](const std::string& a, const std::string& b) { return reverse ? b < a : a < b; };
  const auto consider = [&](const std::string& key) {
    if (!cursor.range.admits(key)) return;
    if (cursor.start.has_value() && nearer(key, *cursor.start)) return;
    if (cursor.last.has_value() && !nearer(*cursor.last, key)) return;
    ModelRow row;
    if (row_at(cursor.table, key, cursor.snapshot, &row) && (!best.has_value() || nearer(key, *best))) best = key;
  };
  for (const auto& [key, versions] : model_->tables[cursor.table].rows) consider(key);
  for (const auto& [row, write] : writes_) {
    if (row.first == cursor.table) consider(row.second);
  }
  return best;
}

Code ModelTxn::next(std::string* key, ModelRow* row) {
  Cursor& cursor = *cursor_;
  if (cursor.ended || cursor.left == 0) return Code::kEND;
  if (cursor.read == nullptr && tracks()) {
    cursor.read =
        &read_ranges_.emplace_back(ReadRange{cursor.table, cursor.snapshot, cursor.range, cursor.start, {}, false});
  }
  for (;;) {
    const std::optional<std::string> found = nearest(cursor);
    if (!found.has_value()) {
      cursor.ended = true;
      if (cursor.read != nullptr) cursor.read->complete = true;
      return Code::kEND;
    }
    cursor.last = found;
    if (cursor.read != nullptr) cursor.read->progress = found;
    if (cursor.skip == 0) break;
    --cursor.skip;
  }
  --cursor.left;
  *key = *cursor.last;
  (void)row_at(cursor.table, *key, cursor.snapshot, row);
  return Code::kOK;
}

// --- commit --------------------------------------------------------------------------------------------------------

Code ModelTxn::check_tables() const {
  if (model_->system <= first_snapshot_) return Code::kOK;
  for (const Touched& touched : touched_) {
    if (model_->tables[touched.table].exists_at(model_->published)) continue;
    if (touched.written) return Code::kNO_TABLE;
    if (tracks()) return Code::kCONFLICT;
  }
  return Code::kOK;
}

Code ModelTxn::validate() const {
  for (const ReadRow& row : read_rows_) {
    if (model_->tables[row.table].newest(row.key) > row.seen_at) return row.on_change;
  }
  for (const ReadRange& range : read_ranges_) {
    for (const auto& [key, versions] : model_->tables[range.table].rows) {
      if (versions.back().csn > range.seen_at && range.contains(key)) return Code::kCONFLICT;
    }
  }
  if (options_.isolation != Isolation::kSnapshot) return Code::kOK;
  for (const auto& [row, write] : writes_) {
    if (model_->tables[row.first].newest(row.second) > snapshot_) return Code::kCONFLICT;
  }
  return Code::kOK;
}

Code ModelTxn::commit(Csn* csn) {
  running_ = false;
  *csn = 0;
  if (writes_.empty()) return Code::kOK;
  if (const Code code = check_tables(); code != Code::kOK) return code;
  if (const Code code = validate(); code != Code::kOK) return code;
  *csn = ++model_->published;
  for (const auto& [row, write] : writes_) {
    model_->tables[row.first].rows[row.second].push_back({*csn, write.there, write.value, write.life});
  }
  return Code::kOK;
}

}  // namespace hf::property
