// SPDX-License-Identifier: Apache-2.0
// The base as docs/formats.md says it must be, on top of what PageWalk says of the pages: names of the databases, their
// records, each table's slot, each row, and the expiry index.
#include "store/inspect.h"

#include <algorithm>
#include <map>
#include <unordered_set>

#include "base/hash.h"
#include "base/readable.h"
#include "store/impl.h"
#include "store/page_walk.h"

namespace hf::store {
namespace {

constexpr std::uint64_t kProgressPages = 256;

// What one entry of the expiry index says, as a number: who has none is told by its absence.
std::uint64_t expiry_mark(std::uint64_t expires_ms, TableId table, std::uint64_t hash, Bytes key) noexcept {
  std::uint64_t parts[4] = {expires_ms, table, hash, checksum(key.data(), key.size(), 1)};
  return checksum(parts, sizeof parts, 0);
}

class Inspector {
 public:
  Inspector(const InspectOptions& options, const platform::File& file, std::uint64_t size)
      : options_(options),
        size_(size),
        walk_(
            file, size, [this](Code code, std::uint64_t offset, std::string text) { report(code, offset, text); },
            options.covers, [this] { return stopped(); }) {}

  Result<BaseSummary> run() {
    Status status = walk_.find_state(options_.transaction);
    if (status.code() == Code::kNOT_FOUND) return status;
    if (status.ok()) status = walk_all();
    if (!status.ok() && status.code() != Code::kCORRUPT) return status;  // kCORRUPT was reported
    if (stop_) return Code::kCANCELLED;
    summary_.pages = walk_.pages();
    return std::move(summary_);
  }

 private:
  void report(Code code, std::uint64_t offset, std::string text) { report({code, offset, 0, {}, 0, std::move(text)}); }
  void report(const BaseFinding& finding) {
    if (!stop_ && options_.found && !options_.found(finding)) stop_ = true;
  }
  bool stopped() {
    if (!stop_ && options_.progress && walk_.pages() >= told_ + kProgressPages) {
      told_ = walk_.pages();
      const std::uint64_t page_size = walk_.state().free.pad;
      stop_ = !options_.progress(std::min(told_ * page_size, size_), size_);
    }
    return stop_;
  }

  Status walk_all() {
    walk_.walk(walk_.state().main, "main", false, [this](const PageWalk::Entry& entry) { take_database(entry); });
    if (stop_) return Code::kCANCELLED;
    if (trees_.empty() && found_nothing_of_ours()) {
      return Status(Code::kWRONG_FORMAT, options_.file + " is an LMDB file, but not Holdfast's");
    }
    walk_tree(kMetaDatabase, [this](const PageWalk::Entry& entry) { take_meta(entry); });
    if (Status status = check_meta(); !status.ok()) return status;
    walk_tree(kTablesDatabase, [this](const PageWalk::Entry& entry) { take_table(entry); });
    walk_tree(kExpiryDatabase, [this](const PageWalk::Entry& entry) { take_expiry(entry); });
    for (std::uint32_t slot = 0; slot < directory_.slots && !stop_; ++slot) walk_slot(slot);
    for (const auto& [name, tree] : trees_) {
      if (!walked_.contains(name)) report(Code::kCORRUPT, UINT64_MAX, "an unknown database '" + name + "'");
    }
    walk_.check_free_pages();
    return stop_ ? Status(Code::kCANCELLED) : Status();
  }

  bool found_nothing_of_ours() const { return walk_.state().main.root == kNoPage; }

  // --- the main database -------------------------------------------------------------------------------------------

  void take_database(const PageWalk::Entry& entry) {
    const std::string name = readable(entry.key);
    if (entry.flags != kNodeSubtree || entry.value.size() != sizeof(TreeRecord)) {
      return report(Code::kCORRUPT, entry.node_offset, "the entry '" + name + "' is no database");
    }
    TreeRecord tree;
    std::memcpy(&tree, entry.value.data(), sizeof tree);
    if (tree.flags != 0 || tree.pad != 0) {
      return report(Code::kCORRUPT, entry.value_offset, "the database '" + name + "' has unknown flags");
    }
    trees_[name] = tree;
  }

  void walk_tree(const std::string& name, const PageWalk::Visit& visit) {
    const auto found = trees_.find(name);
    if (found == trees_.end()) return report(Code::kCORRUPT, UINT64_MAX, "the database '" + name + "' is missing");
    walked_.insert(name);
    walk_.walk(found->second, name, false, visit);
  }

  // --- records -----------------------------------------------------------------------------------------------------

  void take_meta(const PageWalk::Entry& entry) {
    if (entry.flags != 0) return report(Code::kCORRUPT, entry.node_offset, "a record of 'meta' has unknown flags");
    meta_[std::string(entry.key)] = {std::string(entry.value), entry.value_offset};
  }

  template <typename T>
  bool take_record(const char* name, T* out) {
    const auto found = meta_.find(name);
    if (found == meta_.end()) {
      report(Code::kCORRUPT, UINT64_MAX, std::string("the record '") + name + "' is missing");
      return false;
    }
    if (found->second.first.size() != sizeof *out) {
      report(Code::kCORRUPT, found->second.second, std::string("the record '") + name + "' has the wrong size");
      return false;
    }
    std::memcpy(out, found->second.first.data(), sizeof *out);
    return true;
  }

  Status check_meta() {
    FormatRecord format;
    if (take_record(kFormatKey, &format)) {
      if (std::memcmp(format.magic, kFormatMagic, sizeof format.magic) != 0) {
        report(Code::kCORRUPT, meta_[kFormatKey].second, "the format record has another magic");
      } else if (format.version != kFormatVersion || format.byte_order != kByteOrder) {
        report(Code::kWRONG_FORMAT, meta_[kFormatKey].second,
               "format version " + std::to_string(format.version) + ", or another byte order");
      }
    }
    if (take_record(kDirectoryKey, &directory_)) {
      if (directory_.zero != 0 || directory_.slots > trees_.size()) {
        report(Code::kCORRUPT, meta_[kDirectoryKey].second,
               "the directory record names " + std::to_string(directory_.slots) + " slots");
        directory_.slots = std::min<std::uint32_t>(directory_.slots, static_cast<std::uint32_t>(trees_.size()));
      }
      owners_.assign(directory_.slots, 0);
    }
    summary_.has_applied = take_record(kAppliedCsnKey, &summary_.applied_csn);
    if (meta_.contains(kCheckedSinceKey)) take_record(kCheckedSinceKey, &checked_since_);
    if (const auto clean = meta_.find("clean"); clean != meta_.end()) {
      const std::string& value = clean->second.first;
      summary_.clean = value == "1";
      if (value != "1" && value != "0") report(Code::kCORRUPT, clean->second.second, "the record 'clean' is damaged");
    }
    if (const auto id = meta_.find("database_id"); id != meta_.end()) summary_.database_id = id->second.first;
    for (const auto& [name, record] : meta_) {
      constexpr const char* kKnown[] = {kFormatKey,       kDirectoryKey, kAppliedCsnKey,
                                        kCheckedSinceKey, "clean",       "database_id"};
      if (std::find(std::begin(kKnown), std::end(kKnown), name) != std::end(kKnown)) continue;
      report(Code::kCORRUPT, record.second, "an unknown record '" + readable(name) + "' in 'meta'");
    }
    return {};
  }

  void take_table(const PageWalk::Entry& entry) {
    std::uint32_t slot = 0;
    if (entry.flags != 0 || entry.key.size() != sizeof(TableId) || entry.value.size() != sizeof slot) {
      return report(Code::kCORRUPT, entry.node_offset, "an entry of the table directory has the wrong size");
    }
    const TableId table = load_be32(entry.key.data());
    std::memcpy(&slot, entry.value.data(), sizeof slot);
    if (table == 0 || slot >= owners_.size() || owners_[slot] != 0) {
      return report({Code::kCORRUPT,
                     entry.node_offset,
                     table,
                     {},
                     0,
                     "the table directory gives table #" + std::to_string(table) + " slot " + std::to_string(slot)});
    }
    owners_[slot] = table;
  }

  // --- rows --------------------------------------------------------------------------------------------------------

  void take_expiry(const PageWalk::Entry& entry) {
    const std::size_t extra = entry.key.size() - kExpiryKeySize;
    if (entry.is_lost) return;
    if (entry.key.size() < kExpiryKeySize || extra > 1 || entry.flags != 0) {
      return report(Code::kCORRUPT, entry.node_offset, "an entry of the expiry index has the wrong size");
    }
    const char* const bytes = entry.key.data();
    expiries_.insert(expiry_mark(load_be64(bytes), load_be32(bytes + 8), load_be64(bytes + 12), entry.value));
  }

  void walk_slot(std::uint32_t slot) {
    const TableId table = owners_[slot];
    walk_tree(kSlotPrefix + std::to_string(slot), [&](const PageWalk::Entry& entry) {
      if (table != 0) {
        take_row(table, entry);
      } else {
        ++summary_.rows_unnamed;
      }
    });
  }

  void take_row(TableId table, const PageWalk::Entry& entry) {
    if (entry.is_lost || stop_) return;
    BaseFinding finding{Code::kCORRUPT, entry.value_offset, table, std::string(entry.key), 0, {}};
    BaseRow found{table, entry.key, {}, entry.value_offset};
    const MDB_val value = to_val(entry.value);
    if ((entry.flags & ~kNodeBig) != 0 || !decode_row(value, &found.row)) {
      finding.text = "the row is shorter than its head, or of no known kind";
      return report(finding);
    }
    finding.csn = found.row.version;
    const std::uint64_t hash = row_hash(table, entry.key);
    if (!found.row.checked && found.row.version > checked_since_) {
      finding.text = "the row has no checksum, but is too new to have none";
    } else if (found.row.checked && checksum_of(hash, found.row) != found.row.checksum) {
      finding.text = "the row does not match its checksum";
    } else if (found.row.expires_ms != 0 &&
               !expiries_.contains(expiry_mark(found.row.expires_ms, table, hash, entry.key))) {
      finding.text = "the row expires, but the expiry index has no entry of it";
    }
    if (!finding.text.empty()) return report(finding);
    ++(found.row.checked ? summary_.rows : summary_.rows_unchecked);
    if (options_.row) options_.row(found);
  }

  const InspectOptions& options_;
  const std::uint64_t size_;
  PageWalk walk_;
  bool stop_ = false;
  std::uint64_t told_ = 0;
  BaseSummary summary_;
  std::map<std::string, TreeRecord> trees_;
  std::unordered_set<std::string> walked_;
  std::map<std::string, std::pair<std::string, std::uint64_t>> meta_;  // value, offset
  DirectoryRecord directory_{};
  std::vector<TableId> owners_;  // by slot
  Csn checked_since_ = kCsnMax;
  std::unordered_set<std::uint64_t> expiries_;
};

}  // namespace

Result<BaseSummary> inspect_base(const InspectOptions& options) {
  Result<platform::File> file = platform::File::open(options.file, platform::File::Mode::kReadOnly);
  if (!file.ok()) return std::move(file).status();
  const Result<std::uint64_t> size = file->size();
  if (!size.ok()) return size.status();
  return Inspector(options, file.value(), size.value()).run();
}

}  // namespace hf::store
