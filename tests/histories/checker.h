// SPDX-License-Identifier: Apache-2.0
// The checker of histories: whether what clients saw can be explained by the isolation that they asked for. It knows
// nothing of the engine, only a history (history.h).
//
// The transactions become nodes of a graph, their dependencies edges, and the history is right when the graph has no
// cycle. Which nodes a transaction has says what its level promises:
//
//   serializable     one: it happened at one moment between its begin and the answer to its commit
//   snapshot         two: its reads at one moment, its writes at one later moment, and nobody wrote the same rows
//                    between the two (first committer wins)
//   read committed   one for each statement that reads, and one for its writes
//   aborted          what it read had to be right all the same: nodes without writes
//
// A read that has to hold until the commit (locked, or checked there) belongs to the node of the writes as well.
//
//   ww   wrote the next version of a row            rw   read a row, of which the other wrote a later version
//   wr   read what the other wrote                  rw, by a predicate: scanned a range without the row it inserted
//   time: the other was answered before it began    commit order: ... before it asked to commit (serializable)
//
// Edges of time would be quadratic in number; they lead through a chain of helping nodes, one for each answer.
//
// Sources. The anomalies and their names (G0, G1a-c, G-single, G2-item, G2): A. Adya, "Weak Consistency: A Generalized
// Theory and Optimistic Implementations for Distributed Transactions", PhD thesis, MIT, 1999. Version orders that are
// read off lists and off transactions which write what they read, and the search for the plainest cycle first: K.
// Kingsbury and P. Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations", VLDB 2020. A node each
// for the reads and the writes at snapshot level: R. Biswas and C. Enea, "On the Complexity of Checking Transactional
// Consistency", OOPSLA 2019.
//
// tests/isolation/history.h is another checker, for another question: it replays a history in the order of the csns
// that the engine gave out, which is exact for every single read but believes them. The two share nothing on purpose.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "histories/history.h"
#include "histories/versions.h"

namespace histories {

struct Report {
  std::vector<Anomaly> anomalies;  // empty: the history is right. At most a few of each kind
  std::uint64_t transactions = 0;
  std::uint64_t committed = 0;  // those in doubt that turned out to be included
  std::uint64_t in_doubt = 0;
  std::uint64_t in_doubt_seen = 0;  // of them, somebody saw what they wrote
  std::uint64_t nodes = 0;
  std::map<std::string, std::uint64_t> edges;  // by kind
  std::uint64_t absences_ambiguous = 0;        // reads of absent rows that gave no edge
  // What the levels admit and the history has: proof that the transactions met.
  std::uint64_t write_skews = 0;    // pairs at snapshot level, each overlooking what the other wrote
  std::uint64_t phantom_skews = 0;  // of them, over a range
  std::uint64_t lost_updates = 0;   // read committed
};

Report check(const History& history);

}  // namespace histories
