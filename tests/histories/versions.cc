// SPDX-License-Identifier: Apache-2.0
#include "histories/versions.h"

#include <algorithm>
#include <map>

namespace histories {

std::string title_of(const History& history, std::uint32_t txn) {
  const Txn& t = history[txn];
  return "T" + std::to_string(txn) + " (worker " + std::to_string(t.worker) + ", " + name_of(t.level) +
         (t.outcome == Outcome::kAborted   ? ", aborted)"
          : t.outcome == Outcome::kUnknown ? ", in doubt)"
                                           : ")");
}

Versions::Versions(const History& history, std::vector<Anomaly>& anomalies)
    : history_(history), anomalies_(anomalies) {}

void Versions::infer() {
  register_writes();
  see_lists();
  resolve_values();
  resolve_absences();
  std::stable_sort(reads_.begin(), reads_.end(), [](const ResolvedRead& a, const ResolvedRead& b) {
    return a.txn != b.txn ? a.txn < b.txn : a.op < b.op;
  });
  order_by_reads();
  order_counters();
  order_by_time();
  order_initial();
  check_lost_updates();
}

std::uint64_t Versions::read_from_ns(std::uint32_t txn, std::uint32_t op) const {
  const Txn& t = history_[txn];
  return t.level == Level::kReadCommitted ? t.ops[op].begun_ns : t.begun_ns;
}

std::uint64_t Versions::read_until_ns(std::uint32_t txn, std::uint32_t op) const {
  const Txn& t = history_[txn];
  if (t.level == Level::kReadCommitted) {
    for (std::uint32_t next = op + 1; next < t.ops.size(); ++next) {
      if (t.ops[next].begun_ns != t.ops[op].begun_ns) return t.ops[next].begun_ns;
    }
  }
  return t.commit_ns != 0 ? t.commit_ns : t.ended_ns;
}

void Versions::report(const std::string& kind, std::vector<std::uint32_t> txns, const std::string& text) {
  anomalies_.push_back({kind, text, std::move(txns)});
}

VersionIndex Versions::add(Key key, Value value, std::uint32_t txn, Version::Kind kind) {
  const auto index = static_cast<VersionIndex>(versions_.size());
  versions_.push_back({key, value, txn, kind, {}});
  if (kind == Version::Kind::kFinal || kind == Version::Kind::kInitial) by_key_[key].push_back(index);
  return index;
}

VersionIndex Versions::find(Key key, Value value) const {
  const auto found = index_.find({key, value});
  return found == index_.end() ? kNoVersion : found->second;
}

VersionIndex Versions::initial(Key key) {
  const auto [place, fresh] = index_.try_emplace(Item{key, 0}, kNoVersion);
  if (fresh) {
    const VersionIndex made = add(key, 0, kNoTxn, Version::Kind::kInitial);
    index_[{key, 0}] = made;
    return made;
  }
  return place->second;
}

std::string Versions::writer_of(VersionIndex version) const {
  const std::uint32_t txn = versions_[version].txn;
  return txn == kNoTxn ? "nobody" : title_of(history_, txn);
}

// --- what was written ------------------------------------------------------------------------------------------------

void Versions::register_writes() {
  effects_.reserve(history_.size());
  live_.resize(history_.size());
  for (std::uint32_t txn = 0; txn < history_.size(); ++txn) {
    const bool aborted = history_[txn].outcome == Outcome::kAborted;
    live_[txn] = history_[txn].outcome == Outcome::kCommitted;
    const Effects& effects = effects_.emplace_back(effects_of(history_[txn]));
    for (const std::string& mistake : effects.mistakes) {
      report("internal", {txn}, title_of(history_, txn) + " " + mistake);
    }
    const auto index = [&](Key key, Value value, Version::Kind kind) {
      if (index_.contains({key, value})) {
        report("not unique", {txn},
               title_of(history_, txn) +
                   " wrote a value that was written before: the checker "
                   "cannot tell the two apart; " +
                   name_of(key) + " = " + std::to_string(value));
        return;
      }
      const VersionIndex made = add(key, value, txn, kind);
      index_[{key, value}] = made;
    };
    for (const Item& item : effects.hidden) {
      index(item.key, item.value, aborted ? Version::Kind::kAborted : Version::Kind::kHidden);
    }
    for (const FinalWrite& write : effects.writes) {
      const Space space = space_of(write.key);
      if (space == Space::kRow && !aborted) rows_.push_back(write.key);
      if (space == Space::kCounter || space == Space::kStock) continue;
      if (write.value != 0) {
        index(write.key, write.value, aborted ? Version::Kind::kAborted : Version::Kind::kFinal);
      } else if (!aborted) {
        deletions_[write.key].push_back(add(write.key, 0, txn, Version::Kind::kFinal));
      }
    }
    register_numbers(txn);
  }
  std::sort(rows_.begin(), rows_.end());
  rows_.erase(std::unique(rows_.begin(), rows_.end()), rows_.end());
}

void Versions::register_numbers(std::uint32_t txn) {
  for (const Item& item : history_[txn].after) {
    if (space_of(item.key) != Space::kCounter || !live_[txn]) continue;
    if (const VersionIndex other = find(item.key, item.value); other != kNoVersion) {
      report("lost update", {versions_[other].txn, txn},
             "both " + writer_of(other) + " and " + title_of(history_, txn) + " left " + name_of(item.key) + " at " +
                 std::to_string(item.value));
      continue;
    }
    const VersionIndex made = add(item.key, item.value, txn, Version::Kind::kFinal);
    index_[item] = made;
  }
}

// --- what was seen ---------------------------------------------------------------------------------------------------

// A list tells its whole past: it has to be what the writer of its last element left, and all of it was committed.
void Versions::see_lists() {
  for (std::uint32_t txn = 0; txn < history_.size(); ++txn) {
    for (const ExternalRead& read : effects_[txn].reads) {
      if (space_of(read.key) != Space::kList) continue;
      const std::vector<Item>& items = history_[txn].ops[read.op].items;
      for (const Item& item : items) {
        const VersionIndex version = find(read.key, item.value);
        if (version != kNoVersion && versions_[version].kind == Version::Kind::kFinal)
          live_[versions_[version].txn] = true;
      }
      const VersionIndex last = items.empty() ? kNoVersion : find(read.key, items.back().value);
      if (last == kNoVersion || versions_[last].kind != Version::Kind::kFinal) continue;
      for (const FinalWrite& write : effects_[versions_[last].txn].writes) {
        if (write.key != read.key || write.elements == items) continue;
        report("incompatible order", {txn, versions_[last].txn},
               title_of(history_, txn) + " " + text_of(history_[txn].ops[read.op]) + ", but its last element was put " +
                   "behind others by " + writer_of(last));
      }
    }
  }
}

void Versions::resolve_values() {
  for (std::uint32_t txn = 0; txn < history_.size(); ++txn) {
    for (const ExternalRead& read : effects_[txn].reads) {
      const Space space = space_of(read.key);
      if (space == Space::kStock || (read.value == 0 && space == Space::kRow)) continue;
      const std::string what =
          title_of(history_, txn) + " read " + name_of(read.key) + " = " + std::to_string(read.value);
      const VersionIndex version = read.value == 0 ? initial(read.key) : find(read.key, read.value);
      if (version == kNoVersion) {
        // What a commit in doubt had made of a counter is not known.
        if (space != Space::kCounter) report("garbage read", {txn}, what + ", which nobody wrote");
        continue;
      }
      const Version& seen = versions_[version];
      if (seen.kind == Version::Kind::kAborted) {
        report("G1a", {txn, seen.txn}, what + ", written by " + writer_of(version) + ": aborted read");
      } else if (seen.kind == Version::Kind::kHidden) {
        report("G1b", {txn, seen.txn},
               what + ", which " + writer_of(version) + " overwrote or rolled back itself: intermediate read");
      } else {
        if (seen.txn != kNoTxn) live_[seen.txn] = true;
        reads_.push_back({txn, read.op, version, read.holds, false});
      }
    }
  }
}

void Versions::resolve_absences() {
  for (std::uint32_t txn = 0; txn < history_.size(); ++txn) {
    for (const ExternalRead& read : effects_[txn].reads) {
      if (read.value == 0 && space_of(read.key) == Space::kRow) {
        resolve_absence(txn, read.op, read.key, read.holds, false);
      }
    }
    for (const ExternalScan& scan : effects_[txn].scans) {
      const Op& op = history_[txn].ops[scan.op];
      std::size_t met = 0;
      for (auto key = std::lower_bound(rows_.begin(), rows_.end(), op.key); key != rows_.end() && *key <= op.high;
           ++key) {
        while (met < op.items.size() && op.items[met].key < *key) ++met;
        if (met < op.items.size() && op.items[met].key == *key) continue;
        if (std::find(scan.own.begin(), scan.own.end(), *key) != scan.own.end()) continue;
        resolve_absence(txn, scan.op, *key, op.holds, true);
      }
    }
  }
}

void Versions::resolve_absence(std::uint32_t txn, std::uint32_t op, Key key, bool holds, bool by_scan) {
  const std::uint64_t from = read_from_ns(txn, op), until = read_until_ns(txn, op);
  const auto overwritten_since = [&](std::uint64_t ns) {  // by a commit that was answered before the reader began
    const auto versions = by_key_.find(key);
    if (versions == by_key_.end()) return false;
    return std::any_of(versions->second.begin(), versions->second.end(), [&](VersionIndex at) {
      const std::uint32_t writer = versions_[at].txn;
      return writer != kNoTxn && writer != txn && live_[writer] && history_[writer].commit_ns > ns &&
             history_[writer].ended_ns != 0 && history_[writer].ended_ns < from;
    });
  };
  VersionIndex last = initial(key), only = kNoVersion;
  std::size_t left = 0;
  if (!overwritten_since(0)) {
    only = last;
    ++left;
  }
  if (const auto deletions = deletions_.find(key); deletions != deletions_.end()) {
    for (const VersionIndex deletion : deletions->second) {
      const Txn& by = history_[versions_[deletion].txn];
      if (versions_[deletion].txn == txn || by.commit_ns >= until) continue;
      if (versions_[last].txn == kNoTxn || history_[versions_[last].txn].commit_ns < by.commit_ns) last = deletion;
      if (by.ended_ns != 0 && overwritten_since(by.ended_ns)) continue;
      only = deletion;
      ++left;
    }
  }
  if (left > 1) {
    ++ambiguous_count_;
    return;
  }
  const VersionIndex seen = left == 1 ? only : last;  // nothing fits: the newest that it could be shows the cycle
  if (versions_[seen].txn != kNoTxn) live_[versions_[seen].txn] = true;
  reads_.push_back({txn, op, seen, holds, by_scan});
}

// --- in which order --------------------------------------------------------------------------------------------------

void Versions::add_later(VersionIndex before, VersionIndex after) {
  if (before == after) return;
  std::vector<VersionIndex>& later = versions_[before].later;
  if (std::find(later.begin(), later.end(), after) == later.end()) later.push_back(after);
}

void Versions::order_by_reads() {
  std::size_t next = 0;
  for (std::uint32_t txn = 0; txn < history_.size(); ++txn) {
    const std::size_t begin = next;
    while (next < reads_.size() && reads_[next].txn == txn) ++next;
    if (!live_[txn] || history_[txn].outcome == Outcome::kAborted) continue;
    for (const FinalWrite& write : effects_[txn].writes) {
      VersionIndex written = write.value != 0 ? find(write.key, write.value) : kNoVersion;
      if (write.value == 0) {
        const auto deletions = deletions_.find(write.key);
        if (deletions == deletions_.end()) continue;
        for (const VersionIndex at : deletions->second) written = versions_[at].txn == txn ? at : written;
      }
      if (written == kNoVersion || versions_[written].txn != txn) continue;
      for (std::size_t at = next; at-- > begin;) {  // the last read of the row counts
        if (versions_[reads_[at].version].key != write.key) continue;
        add_later(reads_[at].version, written);
        break;
      }
    }
  }
}

void Versions::order_counters() {
  std::map<Key, std::int64_t> in_doubt;
  for (std::uint32_t txn = 0; txn < history_.size(); ++txn) {
    if (history_[txn].outcome != Outcome::kUnknown) continue;
    for (const FinalWrite& write : effects_[txn].writes) in_doubt[write.key] += write.delta;
  }
  for (auto& [key, versions] : by_key_) {
    if (space_of(key) != Space::kCounter) continue;
    std::sort(versions.begin(), versions.end(),
              [this](VersionIndex a, VersionIndex b) { return versions_[a].value < versions_[b].value; });
    std::int64_t before = 0;
    VersionIndex previous = kNoVersion;
    for (const VersionIndex at : versions) {
      const Version& version = versions_[at];
      if (version.txn != kNoTxn) {
        std::int64_t delta = 0;
        for (const FinalWrite& write : effects_[version.txn].writes) delta = write.key == key ? write.delta : delta;
        const std::int64_t gap = static_cast<std::int64_t>(version.value) - delta - before;
        const std::string text = writer_of(at) + " added " + std::to_string(delta) + " to " + name_of(key) +
                                 " and left it at " + std::to_string(version.value) + ", but it had stood at " +
                                 std::to_string(before);
        std::vector<std::uint32_t> txns{version.txn};
        if (previous != kNoVersion && versions_[previous].txn != kNoTxn) txns.push_back(versions_[previous].txn);
        if (gap < 0) report("lost update", txns, text);
        if (gap > in_doubt[key]) report("garbage read", txns, text + ", and nobody added the rest");
        if (gap > 0) in_doubt[key] -= gap;
      }
      if (previous != kNoVersion) add_later(previous, at);
      previous = at;
      before = static_cast<std::int64_t>(version.value);
    }
  }
}

void Versions::order_by_time() {
  for (const auto& [key, versions] : by_key_) {
    if (space_of(key) != Space::kRegister && space_of(key) != Space::kRow) continue;
    std::vector<VersionIndex> live;
    for (const VersionIndex at : versions) {
      if (versions_[at].txn != kNoTxn && live_[versions_[at].txn]) live.push_back(at);
    }
    const auto asked = [this](VersionIndex at) { return history_[versions_[at].txn].commit_ns; };
    const auto ended = [this](VersionIndex at) {
      const std::uint64_t ns = history_[versions_[at].txn].ended_ns;
      return ns == 0 ? UINT64_MAX : ns;
    };
    std::sort(live.begin(), live.end(), [&](VersionIndex a, VersionIndex b) { return asked(a) < asked(b); });
    std::vector<std::uint64_t> first_end(live.size() + 1, UINT64_MAX);
    for (std::size_t i = live.size(); i-- > 0;) first_end[i] = std::min(first_end[i + 1], ended(live[i]));
    for (const VersionIndex before : live) {
      const std::uint64_t end = ended(before);
      auto after = std::upper_bound(live.begin(), live.end(), end,
                                    [&](std::uint64_t ns, VersionIndex at) { return ns < asked(at); });
      if (after == live.end()) continue;
      const std::uint64_t limit = first_end[static_cast<std::size_t>(after - live.begin())];
      for (; after != live.end() && asked(*after) <= limit; ++after) add_later(before, *after);
    }
  }
}

void Versions::order_initial() {
  std::vector<bool> has_before(versions_.size(), false);
  for (const Version& version : versions_) {
    for (const VersionIndex later : version.later) has_before[later] = true;
  }
  for (const auto& [key, versions] : by_key_) {
    const VersionIndex first = find(key, 0);
    if (first == kNoVersion || versions_[first].kind != Version::Kind::kInitial) continue;
    for (const VersionIndex at : versions) {
      if (!has_before[at] && versions_[at].txn != kNoTxn && live_[versions_[at].txn]) add_later(first, at);
    }
  }
}

// --- lost updates ----------------------------------------------------------------------------------------------------

bool Versions::strict(const ResolvedRead& read) const {
  return read.holds || history_[read.txn].level != Level::kReadCommitted;
}

// Two transactions changed the same version of a row. Where the level forbids that for both, one of them is lost. At
// read committed it is admitted, and counted.
void Versions::check_lost_updates() {
  struct Changes {
    std::uint32_t strict_by = kNoTxn;
    std::uint32_t other_by = kNoTxn;
  };
  std::unordered_map<VersionIndex, Changes> changes;
  for (std::size_t at = 0; at < reads_.size(); ++at) {
    const ResolvedRead& read = reads_[at];
    if (!live_[read.txn] || history_[read.txn].outcome == Outcome::kAborted) continue;
    const Version& version = versions_[read.version];
    const std::vector<FinalWrite>& writes = effects_[read.txn].writes;
    const bool wrote = std::any_of(writes.begin(), writes.end(), [&](const FinalWrite& write) {
      return write.key == version.key && write.delta == 0;
    });
    if (!wrote || space_of(version.key) == Space::kCounter) continue;
    Changes& by = changes[read.version];
    if (!strict(read)) {
      if (by.other_by != read.txn && by.strict_by != read.txn) {
        if (by.other_by != kNoTxn || by.strict_by != kNoTxn) ++lost_updates_admitted_;
        by.other_by = read.txn;
      }
      continue;
    }
    if (by.strict_by != kNoTxn && by.strict_by != read.txn) {
      report("lost update", {by.strict_by, read.txn},
             title_of(history_, by.strict_by) + " and " + title_of(history_, read.txn) + " both changed " +
                 name_of(version.key) + " = " + std::to_string(version.value) + " of " + writer_of(read.version));
    }
    by.strict_by = read.txn;
  }
}

}  // namespace histories
