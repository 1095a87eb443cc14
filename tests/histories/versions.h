// SPDX-License-Identifier: Apache-2.0
// Versions: which write each read saw, and in which order the writes of one row came, as far as that follows from what
// the clients saw.
//
// What tells the order of two versions of a row:
//   - a transaction that read one and wrote the other (Elle's traceability: every append is of this kind, and most
//     other writes);
//   - the numbers of a counter that only grows;
//   - time: one commit was answered before the other was asked for;
//   - absence comes before everything that has no version before it.
// "Before" need not be "right before": an anti-dependency to a later version follows from one to the next and the
// write dependencies between, so it is a sound edge all the same.
//
// An absent row may be one not yet written or one deleted. Of these candidates the impossible are struck out: a
// deletion not yet asked for when the read was over, and what had been overwritten by a commit that was answered before
// the reader began. What is left ambiguous gives no edge.
//
// A transaction in doubt counts as committed as soon as anybody saw anything of it, and as never run otherwise.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "histories/effects.h"
#include "histories/history.h"

namespace histories {

using VersionIndex = std::uint32_t;
inline constexpr VersionIndex kNoVersion = UINT32_MAX;
inline constexpr std::uint32_t kNoTxn = UINT32_MAX;

struct Anomaly {
  std::string kind;  // in Adya's terms where there is one
  std::string text;
  std::vector<std::uint32_t> txns;  // positions in the history
};

struct Version {
  enum class Kind : std::uint8_t { kInitial, kFinal, kHidden, kAborted };
  Key key = 0;
  Value value = 0;             // 0: absent
  std::uint32_t txn = kNoTxn;  // who wrote it
  Kind kind = Kind::kFinal;
  std::vector<VersionIndex> later;  // versions known to come after it
};

struct ResolvedRead {
  std::uint32_t txn = 0;
  std::uint32_t op = 0;
  VersionIndex version = kNoVersion;
  bool holds = false;
  bool by_scan = false;  // and absent: met by a predicate only
};

class Versions {
 public:
  Versions(const History& history, std::vector<Anomaly>& anomalies);

  // Everything, in order; what is wrong by itself goes to `anomalies`.
  void infer();

  bool live(std::uint32_t txn) const { return live_[txn]; }
  const Effects& effects(std::uint32_t txn) const { return effects_[txn]; }
  const std::vector<Version>& all() const { return versions_; }
  const std::vector<ResolvedRead>& reads() const { return reads_; }
  std::uint64_t ambiguous_count() const { return ambiguous_count_; }
  // Pairs of transactions that changed the same version of a row without seeing each other, where the level admits it.
  std::uint64_t lost_updates_admitted() const { return lost_updates_admitted_; }

  // When the snapshot of an operation was taken at the earliest, and when it was surely over.
  std::uint64_t read_from_ns(std::uint32_t txn, std::uint32_t op) const;
  std::uint64_t read_until_ns(std::uint32_t txn, std::uint32_t op) const;

 private:
  struct KeyHash {
    std::size_t operator()(const Item& item) const {
      return static_cast<std::size_t>((item.key * 0x9e3779b97f4a7c15u) ^ (item.value * 0xc2b2ae3d27d4eb4fu));
    }
  };

  void report(const std::string& kind, std::vector<std::uint32_t> txns, const std::string& text);
  VersionIndex add(Key key, Value value, std::uint32_t txn, Version::Kind kind);
  VersionIndex find(Key key, Value value) const;
  VersionIndex initial(Key key);

  void register_writes();
  void register_numbers(std::uint32_t txn);
  void see_lists();
  void resolve_values();
  void resolve_absences();
  void resolve_absence(std::uint32_t txn, std::uint32_t op, Key key, bool holds, bool by_scan);
  void order_by_reads();
  void order_counters();
  void order_by_time();
  void order_initial();
  void check_lost_updates();
  void add_later(VersionIndex before, VersionIndex after);
  bool strict(const ResolvedRead& read) const;
  std::string writer_of(VersionIndex version) const;

  const History& history_;
  std::vector<Anomaly>& anomalies_;
  std::vector<Effects> effects_;
  std::vector<bool> live_;
  std::vector<Version> versions_;
  std::vector<ResolvedRead> reads_;
  std::unordered_map<Item, VersionIndex, KeyHash> index_;
  std::unordered_map<Key, std::vector<VersionIndex>> by_key_;  // final ones and the initial one
  std::unordered_map<Key, std::vector<VersionIndex>> deletions_;
  std::vector<Key> rows_;  // of Space::kRow, sorted: what a scan may have missed
  std::uint64_t ambiguous_count_ = 0;
  std::uint64_t lost_updates_admitted_ = 0;
};

// Of what is told of a transaction: its place and worker, its level.
std::string title_of(const History& history, std::uint32_t txn);

}  // namespace histories
