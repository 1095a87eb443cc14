// SPDX-License-Identifier: Apache-2.0
// A directed graph whose edges have kinds, and the two questions that the checker has: which nodes lie on cycles when
// only some kinds of edges count (strongly connected components, by Tarjan's algorithm of 1972 without recursion), and
// which is a shortest such cycle.
#pragma once

#include <cstdint>
#include <vector>

namespace histories {

using Node = std::uint32_t;

struct Edge {
  Node from = 0;
  Node to = 0;
  std::uint8_t kind = 0;     // bit number in a mask
  std::uint8_t length = 1;   // 0 or 1
  std::uint32_t detail = 0;  // the owner's
};

class Graph {
 public:
  using Mask = std::uint32_t;

  Node add_node() { return nodes_count_++; }
  void add_edge(const Edge& edge) { edges_.push_back(edge); }
  // Before any question, after the last edge.
  void finish();

  std::uint32_t nodes_count() const { return nodes_count_; }
  const std::vector<Edge>& edges() const { return edges_; }

  // Components of more than one node.
  std::vector<std::vector<Node>> components(Mask mask) const;
  // A shortest cycle inside of the component, as its edges in order; empty when there is none. With `first` non-zero
  // the first edge is of such a kind, and the others are of `mask`.
  std::vector<Edge> shortest_cycle(const std::vector<Node>& component, Mask mask, Mask first = 0) const;

 private:
  std::vector<Edge> path(Node from, Node to, Mask mask, const std::vector<bool>& inside, std::size_t length_max) const;

  std::uint32_t nodes_count_ = 0;
  std::vector<Edge> edges_;           // sorted by `from` once finished
  std::vector<std::uint32_t> first_;  // of each node, in edges_; one more at the end
};

}  // namespace histories
