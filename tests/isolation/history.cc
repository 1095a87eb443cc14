// SPDX-License-Identifier: Apache-2.0
#include "isolation/history.h"

#include <algorithm>
#include <cstring>
#include <map>

namespace hf::isolation {
namespace {

constexpr std::size_t kComplaintsMax = 20;

struct Version {
  Csn csn;
  std::uint64_t value;  // 0 = erased
};

class Checker {
 public:
  Checker(const History& history, Csn start) : history_(history), start_(start) {}

  std::vector<std::string> run() {
    replay();
    for (const Record& record : history_) {
      if (!record.committed) continue;
      check_reads(record);
      if (record.level == Isolation::kSnapshot) check_first_committer(record);
    }
    check_strictness();
    return std::move(complaints_);
  }

 private:
  void complain(const Record& record, const std::string& text) {
    if (complaints_.size() >= kComplaintsMax) return;
    complaints_.push_back("worker " + std::to_string(record.worker) + ", snapshot " + std::to_string(record.snapshot) +
                          ", commit " + std::to_string(record.commit) + ": " + text);
  }

  // The versions of each key, and that csns are unique and dense: a missing one is a commit that nobody made.
  void replay() {
    std::vector<const Record*> writers;
    for (const Record& record : history_) {
      if (record.committed && record.commit != 0) writers.push_back(&record);
      if (record.committed && (record.commit == 0) != record.writes.empty())
        complain(record, "writes and csn do not match");
    }
    std::sort(writers.begin(), writers.end(), [](const Record* a, const Record* b) { return a->commit < b->commit; });
    Csn expected = start_ + 1;
    for (const Record* writer : writers) {
      if (writer->commit != expected) complain(*writer, "the next csn was to be " + std::to_string(expected));
      if (writer->commit <= writer->snapshot) complain(*writer, "committed before its snapshot");
      expected = writer->commit + 1;
      for (const Write& write : writer->writes) versions_[write.key].push_back({writer->commit, write.value});
    }
  }

  // The row at that csn; csn 0 in the answer: absent.
  Seen at(int key, Csn csn) const {
    const auto found = versions_.find(key);
    if (found == versions_.end()) return {key, 0, 0};
    const std::vector<Version>& versions = found->second;
    const auto after = std::upper_bound(versions.begin(), versions.end(), csn,
                                        [](Csn wanted, const Version& version) { return wanted < version.csn; });
    if (after == versions.begin() || (after - 1)->value == 0) return {key, 0, 0};
    return {key, (after - 1)->csn, (after - 1)->value};
  }

  static bool same(const Seen& a, const Seen& b) { return a.key == b.key && a.csn == b.csn && a.value == b.value; }

  static std::string text(const Seen& seen) {
    return seen.csn == 0 ? "absent" : std::to_string(seen.value) + " of csn " + std::to_string(seen.csn);
  }

  void check_reads(const Record& record) {
    const bool moves = record.level == Isolation::kSerializable && record.commit != 0;
    const Csn point = moves ? record.commit - 1 : record.snapshot;
    for (const Seen& seen : record.reads) {
      const Seen there = at(seen.key, point);
      if (!same(seen, there)) {
        complain(record, "read key " + std::to_string(seen.key) + ": saw " + text(seen) + ", at csn " +
                             std::to_string(point) + " it was " + text(there));
      }
    }
    for (const ScanSeen& scan : record.scans) check_scan(record, scan, point);
  }

  void check_scan(const Record& record, const ScanSeen& scan, Csn point) {
    std::size_t next = 0;
    for (int key = scan.low; key <= scan.high; ++key) {
      const bool met = next < scan.rows.size() && scan.rows[next].key == key;
      const Seen seen = met ? scan.rows[next++] : Seen{key, 0, 0};
      const Seen there = at(key, point);
      if (!same(seen, there)) {
        complain(record, "scan of key " + std::to_string(key) + ": saw " + text(seen) + ", at csn " +
                             std::to_string(point) + " it was " + text(there));
      }
    }
    if (next != scan.rows.size()) complain(record, "a scan met rows outside of its range, or out of order");
  }

  void check_first_committer(const Record& record) {
    for (const Write& write : record.writes) {
      const std::vector<Version>& versions = versions_[write.key];
      const auto first = std::upper_bound(versions.begin(), versions.end(), record.snapshot,
                                          [](Csn wanted, const Version& version) { return wanted < version.csn; });
      if (first != versions.end() && first->csn < record.commit) {
        complain(record, "wrote key " + std::to_string(write.key) + ", which csn " + std::to_string(first->csn) +
                             " wrote first");
      }
    }
  }

  // Whatever was answered before a transaction began is in its snapshot.
  void check_strictness() {
    std::vector<const Record*> answered, begun;
    for (const Record& record : history_) {
      if (record.committed) begun.push_back(&record);
      if (record.committed && record.commit != 0) answered.push_back(&record);
    }
    std::sort(answered.begin(), answered.end(), [](auto a, auto b) { return a->answered_ns < b->answered_ns; });
    std::sort(begun.begin(), begun.end(), [](auto a, auto b) { return a->begun_ns < b->begun_ns; });
    Csn newest = 0;
    std::size_t next = 0;
    for (const Record* record : begun) {
      while (next < answered.size() && answered[next]->answered_ns < record->begun_ns) {
        newest = std::max(newest, answered[next++]->commit);
      }
      if (record->snapshot < newest)
        complain(*record, "began after commit " + std::to_string(newest) + " was answered");
    }
  }

  const History& history_;
  Csn start_;
  std::map<int, std::vector<Version>> versions_;
  std::vector<std::string> complaints_;
};

template <typename T>
void append(std::string& out, T value) {
  static_assert(std::is_trivially_copyable_v<T>);
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
template <typename T>
void append(std::string& out, const std::vector<T>& values) {
  append(out, values.size());
  for (const T& value : values) append(out, value);
}

class Reader {
 public:
  explicit Reader(const std::string& bytes) : bytes_(bytes) {}
  bool at_end() const { return offset_ >= bytes_.size(); }
  template <typename T>
  void take(T& value) {
    if (bytes_.size() - offset_ < sizeof value) std::abort();  // a cut file: the test has failed already
    std::memcpy(&value, bytes_.data() + offset_, sizeof value);
    offset_ += sizeof value;
  }
  template <typename T>
  void take(std::vector<T>& values) {
    std::size_t count = 0;
    take(count);
    values.resize(count);
    for (T& value : values) take(value);
  }

 private:
  const std::string& bytes_;
  std::size_t offset_ = 0;
};

}  // namespace

std::vector<std::string> explain(const History& history, Csn start) { return Checker(history, start).run(); }

std::string encode(const History& history) {
  std::string out;
  for (const Record& r : history) {
    append(out, r.worker);
    append(out, r.level);
    append(out, r.read_only);
    append(out, r.committed);
    append(out, r.snapshot);
    append(out, r.commit);
    append(out, r.begun_ns);
    append(out, r.answered_ns);
    append(out, r.reads);
    append(out, r.writes);
    append(out, r.scans.size());
    for (const ScanSeen& scan : r.scans) {
      append(out, scan.low);
      append(out, scan.high);
      append(out, scan.rows);
    }
  }
  return out;
}

History decode(const std::string& bytes) {
  History history;
  for (Reader in(bytes); !in.at_end();) {
    Record r;
    in.take(r.worker);
    in.take(r.level);
    in.take(r.read_only);
    in.take(r.committed);
    in.take(r.snapshot);
    in.take(r.commit);
    in.take(r.begun_ns);
    in.take(r.answered_ns);
    in.take(r.reads);
    in.take(r.writes);
    std::size_t scans = 0;
    in.take(scans);
    for (; scans > 0; --scans) {
      ScanSeen scan{};
      in.take(scan.low);
      in.take(scan.high);
      in.take(scan.rows);
      r.scans.push_back(std::move(scan));
    }
    history.push_back(std::move(r));
  }
  return history;
}

}  // namespace hf::isolation
