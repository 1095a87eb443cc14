// SPDX-License-Identifier: Apache-2.0
// The anomalies of isolation, each as one deterministic interleaving of two or three transactions in one thread:
// nothing in the engine blocks, so an interleaving is a list of calls. The names are those of Adya's thesis (G0 to
// G2) and of Berenson et al., "A Critique of ANSI SQL Isolation Levels" (P3, P4, A5); the choice of cases was learned
// from the Hermitage suite.
#pragma once

#include <functional>
#include <ostream>
#include <vector>

#include "isolation/fixture.h"

namespace hf::isolation {

enum class Outcome {
  kForbidden,  // everybody went on, and nobody saw it
  kConflict,   // a commit was refused, or else it would have happened
  kAdmitted,   // it happened
};

inline const char* name_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::kForbidden:
      return "forbidden";
    case Outcome::kConflict:
      return "conflict";
    case Outcome::kAdmitted:
      return "admitted";
  }
  return "?";
}
inline void PrintTo(Outcome outcome, std::ostream* out) { *out << name_of(outcome); }

// The table starts with x = 10 and y = 20. Every transaction of an interleaving runs at the level that is tried.
class Stage {
 public:
  Stage(World& world, txn::Table& table, Isolation level, std::function<void()> between)
      : world_(&world), table_(&table), level_(level), between_(std::move(between)) {}

  Actor begin() const { return Actor(*world_, *table_, at_level(level_), between_); }
  Actor begin_read_only() const { return Actor(*world_, *table_, at_level(level_, true), between_); }
  // What a transaction begun now sees.
  Rows rows() const { return Actor(*world_, *table_, at_level(Isolation::kSnapshot, true)).scan(); }

 private:
  World* world_;
  txn::Table* table_;
  Isolation level_;
  std::function<void()> between_;
};

struct Anomaly {
  const char* name;     // as in docs/isolation.md
  Outcome expected[3];  // read committed, snapshot, serializable
  Outcome (*run)(const Stage& stage);
};

const std::vector<Anomaly>& anomalies();

}  // namespace hf::isolation
