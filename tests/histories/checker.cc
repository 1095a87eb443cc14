// SPDX-License-Identifier: Apache-2.0
#include "histories/checker.h"

#include <algorithm>
#include <set>
#include <unordered_map>
#include <utility>

#include "histories/graph.h"
#include "histories/stock.h"

namespace histories {
namespace {

constexpr std::size_t kCyclesMax = 3;
constexpr std::size_t kOfOneKindMax = 5;

enum Kind : std::uint8_t { kWw, kWr, kRw, kPredicate, kInside, kTime, kCommitOrder };
const char* const kKindNames[] = {"ww", "wr", "rw", "rw by predicate", "inside", "time", "commit order"};

constexpr Graph::Mask bit(Kind kind) { return Graph::Mask{1} << kind; }
constexpr Graph::Mask kWrites = bit(kWw) | bit(kInside);
constexpr Graph::Mask kFlow = kWrites | bit(kWr);
constexpr Graph::Mask kAnti = bit(kRw) | bit(kPredicate);

enum class Part : std::uint8_t { kWhole, kReads, kStatement, kWrites, kAnswer };

struct NodeOf {
  std::uint32_t txn = kNoTxn;
  Part part = Part::kAnswer;
};

struct Detail {
  VersionIndex version = kNoVersion;  // that was read or overwritten
  VersionIndex later = kNoVersion;    // ww, rw: by this one
};

class Checker {
 public:
  explicit Checker(const History& history) : history_(history), versions_(history, report_.anomalies) {}

  Report run() {
    versions_.infer();
    check_stock(history_, versions_, report_.anomalies);
    make_nodes();
    add_write_edges();
    add_read_edges();
    add_time_edges();
    graph_.finish();
    for (const Edge& edge : graph_.edges()) ++report_.edges[kKindNames[edge.kind]];
    find_cycles();
    count();
    drop_repeats();
    return std::move(report_);
  }

 private:
  // --- nodes ---------------------------------------------------------------------------------------------------------

  Node add_node(std::uint32_t txn, Part part, std::uint64_t from_ns, std::uint64_t until_ns) {
    nodes_.push_back({txn, part});
    if (until_ns != 0)
      answers_.push_back({until_ns, graph_.add_node()});
    else
      graph_.add_node();
    begins_.push_back({from_ns, graph_.nodes_count() - 1, kTime});
    return graph_.nodes_count() - 1;
  }

  bool has_writes(std::uint32_t txn) const {
    return versions_.live(txn) && history_[txn].outcome != Outcome::kAborted && !versions_.effects(txn).writes.empty();
  }

  void make_nodes() {
    first_.assign(history_.size(), kNoNode);
    commit_.assign(history_.size(), kNoNode);
    for (std::uint32_t txn = 0; txn < history_.size(); ++txn) {
      const Txn& t = history_[txn];
      if (t.outcome == Outcome::kUnknown && !versions_.live(txn)) continue;
      const std::uint64_t reads_until_ns = t.commit_ns != 0 ? t.commit_ns : t.ended_ns;
      if (t.level == Level::kSerializable) {
        first_[txn] = add_node(txn, Part::kWhole, t.begun_ns, t.ended_ns);
        if (!has_writes(txn)) continue;
        commit_[txn] = first_[txn];
        begins_.push_back({t.commit_ns, first_[txn], kCommitOrder});
        continue;
      }
      if (t.level == Level::kSnapshot) first_[txn] = add_node(txn, Part::kReads, t.begun_ns, reads_until_ns);
      if (has_writes(txn)) commit_[txn] = add_node(txn, Part::kWrites, t.commit_ns, t.ended_ns);
      if (t.level == Level::kSnapshot && has_writes(txn)) add_edge(first_[txn], commit_[txn], kInside, {});
    }
  }

  Node node_of(const ResolvedRead& read) {
    if (history_[read.txn].level != Level::kReadCommitted) return first_[read.txn];
    std::uint32_t first = read.op;
    const std::vector<Op>& ops = history_[read.txn].ops;
    while (first > 0 && ops[first - 1].begun_ns == ops[read.op].begun_ns) --first;
    const std::uint64_t statement = std::uint64_t{read.txn} << 32 | first;
    const auto [place, fresh] = statements_.try_emplace(statement, kNoNode);
    if (fresh) {
      place->second = add_node(read.txn, Part::kStatement, versions_.read_from_ns(read.txn, read.op),
                               versions_.read_until_ns(read.txn, read.op));
      if (commit_[read.txn] != kNoNode) add_edge(place->second, commit_[read.txn], kInside, {});
    }
    return place->second;
  }

  // --- edges ---------------------------------------------------------------------------------------------------------

  void add_edge(Node from, Node to, Kind kind, const Detail& detail) {
    if (from == to || from == kNoNode || to == kNoNode) return;
    graph_.add_edge({from, to, kind, 1, static_cast<std::uint32_t>(details_.size())});
    details_.push_back(detail);
  }

  void add_write_edges() {
    const std::vector<Version>& all = versions_.all();
    for (VersionIndex at = 0; at < all.size(); ++at) {
      if (all[at].txn == kNoTxn || !versions_.live(all[at].txn)) continue;
      for (const VersionIndex later : all[at].later) {
        const std::uint32_t next = all[later].txn;
        if (next == kNoTxn || next == all[at].txn || !versions_.live(next)) continue;
        // First committer wins: what a snapshot transaction overwrites, it had in its snapshot. Adds overwrite nothing.
        const bool to_reads = history_[next].level == Level::kSnapshot && space_of(all[at].key) != Space::kCounter;
        add_edge(commit_[all[at].txn], to_reads ? first_[next] : commit_[next], kWw, {at, later});
      }
    }
  }

  void add_read_edges() {
    const std::vector<Version>& all = versions_.all();
    for (const ResolvedRead& read : versions_.reads()) {
      if (history_[read.txn].outcome == Outcome::kUnknown && !versions_.live(read.txn)) continue;
      const Node reader = node_of(read);
      const bool holds = read.holds && history_[read.txn].level != Level::kSerializable && has_writes(read.txn);
      const Version& version = all[read.version];
      if (version.txn != kNoTxn && version.txn != read.txn) {
        add_edge(commit_[version.txn], reader, kWr, {read.version, kNoVersion});
        if (holds) add_edge(commit_[version.txn], commit_[read.txn], kWr, {read.version, kNoVersion});
      }
      for (const VersionIndex later : version.later) {
        const std::uint32_t next = all[later].txn;
        if (next == kNoTxn || next == read.txn || !versions_.live(next)) continue;
        add_edge(reader, commit_[next], read.by_scan ? kPredicate : kRw, {read.version, later});
        if (holds) add_edge(commit_[read.txn], commit_[next], kRw, {read.version, later});
        note_overlooked(read, next);
      }
    }
  }

  // For the count of write skews.
  void note_overlooked(const ResolvedRead& read, std::uint32_t next) {
    if (history_[read.txn].level != Level::kSnapshot || history_[next].level != Level::kSnapshot) return;
    if (!has_writes(read.txn)) return;
    bool& by_scan = overlooked_.try_emplace({read.txn, next}, false).first->second;
    by_scan |= read.by_scan;
  }

  struct At {
    std::uint64_t ns;
    Node node;
    Kind kind = kTime;
  };

  void add_time_edges() {
    report_.nodes = graph_.nodes_count();
    const auto earlier = [](const At& a, const At& b) { return a.ns < b.ns; };
    std::sort(answers_.begin(), answers_.end(), earlier);
    std::sort(begins_.begin(), begins_.end(), earlier);
    Node chain = kNoNode;
    std::size_t next = 0;
    for (const At& begin : begins_) {
      // All answers between two begins can share a helping node.
      const std::size_t first = next;
      while (next < answers_.size() && answers_[next].ns < begin.ns) ++next;
      if (next > first) {
        const Node helper = graph_.add_node();
        nodes_.push_back({});
        if (chain != kNoNode) graph_.add_edge({chain, helper, kTime, 0, 0});
        for (std::size_t i = first; i < next; ++i) graph_.add_edge({answers_[i].node, helper, kTime, 1, 0});
        chain = helper;
      }
      if (chain != kNoNode) graph_.add_edge({chain, begin.node, begin.kind, 0, 0});
    }
  }

  // --- cycles --------------------------------------------------------------------------------------------------------

  // The mildest explanation last: a cycle of writes alone says more than one that needs time.
  void find_cycles() {
    const Graph::Mask deps = kFlow | kAnti, time = bit(kTime), order = bit(kTime) | bit(kCommitOrder);
    if (look(kWrites, 0) || look(kFlow, 0) || look(kFlow, kAnti) || look(deps, 0)) return;
    if (look(kFlow | time, 0) || look(kFlow | time, kAnti) || look(deps | time, 0)) return;
    look(deps | order, 0);
  }

  bool look(Graph::Mask mask, Graph::Mask first) {
    std::size_t found = 0;
    for (const std::vector<Node>& component : graph_.components(mask | first)) {
      if (found == kCyclesMax) break;
      const std::vector<Edge> cycle = graph_.shortest_cycle(component, mask, first);
      if (cycle.empty()) continue;
      describe(cycle);
      ++found;
    }
    return found > 0;
  }

  static std::string kind_of(const std::vector<Edge>& cycle) {
    std::size_t counts[std::size(kKindNames)] = {};
    for (const Edge& edge : cycle) ++counts[edge.kind];
    const std::size_t anti = counts[kRw] + counts[kPredicate];
    std::string kind = anti == 0   ? (counts[kWr] == 0 ? "G0" : "G1c")
                       : anti == 1 ? "G-single"
                                   : (counts[kPredicate] == 0 ? "G2-item" : "G2");
    if (anti == 1 && counts[kPredicate] == 1) kind += " (phantom)";
    if (counts[kCommitOrder] != 0) return kind + ", commit order violated";
    return counts[kTime] != 0 ? kind + ", real time violated" : kind;
  }

  void describe(const std::vector<Edge>& cycle) {
    Anomaly anomaly{kind_of(cycle), "a cycle:", {}};
    for (std::size_t i = 0; i < cycle.size(); ++i) {
      const Edge& edge = cycle[i];
      const std::uint32_t from = nodes_[edge.from].txn;
      if (from == kNoTxn) continue;  // told with the edge that led here
      std::size_t end = i;
      while (nodes_[cycle[end].to].txn == kNoTxn) end = (end + 1) % cycle.size();
      anomaly.text += "\n    " + text_of_edge(edge, from, nodes_[cycle[end].to].txn, cycle[end].kind);
      anomaly.txns.push_back(from);
    }
    std::set<std::uint32_t> told(anomaly.txns.begin(), anomaly.txns.end());
    anomaly.txns.assign(told.begin(), told.end());
    for (const std::uint32_t txn : told) anomaly.text += "\n  " + text_of_txn(txn);
    report_.anomalies.push_back(std::move(anomaly));
  }

  std::string text_of_edge(const Edge& edge, std::uint32_t from, std::uint32_t to, std::uint8_t last_kind) const {
    const std::string a = "T" + std::to_string(from), b = "T" + std::to_string(to);
    const std::string arrow = a + " -> " + b + " ";
    if (edge.kind == kInside) return arrow + "inside: its reads come before its writes";
    if (edge.kind == kTime) {
      return arrow + "time: " + a + " was over before " + b +
             (last_kind == kCommitOrder               ? " asked to commit"
              : nodes_[edge.to].part == Part::kWrites ? " wrote"
                                                      : " began");
    }
    const Detail& detail = details_[edge.detail];
    const std::vector<Version>& all = versions_.all();
    const Version& version = all[detail.version];
    const std::string row =
        name_of(version.key) + " = " + (version.value == 0 ? "absent" : std::to_string(version.value));
    if (edge.kind == kWr) return arrow + "wr: " + b + " read " + row + ", which " + a + " left";
    const Value value = all[detail.later].value;
    const std::string later = value == 0 ? "deleted it" : "made it " + std::to_string(value);
    if (edge.kind == kWw) return arrow + "ww: " + a + " left " + row + ", " + b + " " + later + " later";
    return arrow + (edge.kind == kPredicate ? "rw by predicate: " : "rw: ") + a + " read " + row + ", " + b + " " +
           later + " later";
  }

  std::string text_of_txn(std::uint32_t txn) const {
    constexpr std::size_t kOpsMax = 16;
    const Txn& t = history_[txn];
    std::string text = title_of(history_, txn) + " began at " + std::to_string(t.begun_ns) +
                       " ns, asked to commit at " + std::to_string(t.commit_ns) + ", answered at " +
                       std::to_string(t.ended_ns);
    for (std::size_t i = 0; i < t.ops.size() && i < kOpsMax; ++i) text += "\n    " + histories::text_of(t.ops[i]);
    return t.ops.size() > kOpsMax ? text + "\n    ..." : text;
  }

  // --- figures -------------------------------------------------------------------------------------------------------

  void count() {
    report_.transactions = history_.size();
    for (std::uint32_t txn = 0; txn < history_.size(); ++txn) {
      const bool in_doubt = history_[txn].outcome == Outcome::kUnknown;
      report_.in_doubt += in_doubt ? 1 : 0;
      report_.in_doubt_seen += in_doubt && versions_.live(txn) ? 1 : 0;
      report_.committed += versions_.live(txn) ? 1 : 0;
    }
    report_.absences_ambiguous = versions_.ambiguous_count();
    report_.lost_updates = versions_.lost_updates_admitted();
    for (const auto& [pair, by_scan] : overlooked_) {
      const auto back = overlooked_.find({pair.second, pair.first});
      if (pair.first > pair.second || back == overlooked_.end()) continue;
      ++report_.write_skews;
      report_.phantom_skews += by_scan || back->second ? 1 : 0;
    }
  }

  void drop_repeats() {
    std::map<std::string, std::size_t> seen;
    std::erase_if(report_.anomalies, [&](const Anomaly& anomaly) { return ++seen[anomaly.kind] > kOfOneKindMax; });
  }

  static constexpr Node kNoNode = UINT32_MAX;

  const History& history_;
  Report report_;
  Versions versions_;
  Graph graph_;
  std::vector<NodeOf> nodes_;
  std::vector<Detail> details_;
  std::vector<Node> first_;   // of each transaction: the whole of it, or its reads
  std::vector<Node> commit_;  // its writes
  std::unordered_map<std::uint64_t, Node> statements_;
  std::vector<At> answers_, begins_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, bool> overlooked_;
};

}  // namespace

Report check(const History& history) { return Checker(history).run(); }

}  // namespace histories
