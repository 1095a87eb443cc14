// SPDX-License-Identifier: Apache-2.0
#include "histories/graph.h"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <unordered_map>

namespace histories {
namespace {

constexpr std::uint32_t kUnseen = UINT32_MAX;
// A component of a badly broken history has thousands of nodes. Shortest among these many beginnings is short enough.
constexpr std::size_t kStartsMax = 400;

std::size_t length_of(const std::vector<Edge>& edges) {
  std::size_t length = 0;
  for (const Edge& edge : edges) length += edge.length;
  return length;
}

}  // namespace

void Graph::finish() {
  std::stable_sort(edges_.begin(), edges_.end(), [](const Edge& a, const Edge& b) { return a.from < b.from; });
  first_.assign(nodes_count_ + 1, 0);
  for (const Edge& edge : edges_) ++first_[edge.from + 1];
  for (std::uint32_t node = 0; node < nodes_count_; ++node) first_[node + 1] += first_[node];
}

std::vector<std::vector<Node>> Graph::components(Mask mask) const {
  struct Frame {
    Node node;
    std::uint32_t next;  // edge
  };
  std::vector<std::vector<Node>> found;
  std::vector<std::uint32_t> order(nodes_count_, kUnseen), low(nodes_count_, 0);
  std::vector<bool> on_stack(nodes_count_, false);
  std::vector<Node> stack;
  std::vector<Frame> frames;
  std::uint32_t counter = 0;
  const auto enter = [&](Node node) {
    order[node] = low[node] = counter++;
    stack.push_back(node);
    on_stack[node] = true;
    frames.push_back({node, first_[node]});
  };
  for (Node root = 0; root < nodes_count_; ++root) {
    if (order[root] != kUnseen) continue;
    enter(root);
    while (!frames.empty()) {
      Frame& frame = frames.back();
      const Node node = frame.node;
      if (frame.next < first_[node + 1]) {
        const Edge& edge = edges_[frame.next++];
        if ((mask >> edge.kind & 1) == 0) continue;
        if (order[edge.to] == kUnseen) {
          enter(edge.to);
        } else if (on_stack[edge.to]) {
          low[node] = std::min(low[node], order[edge.to]);
        }
        continue;
      }
      frames.pop_back();
      if (!frames.empty()) low[frames.back().node] = std::min(low[frames.back().node], low[node]);
      if (low[node] != order[node]) continue;
      const auto begin = std::find(stack.rbegin(), stack.rend(), node).base() - 1;
      for (auto member = begin; member != stack.end(); ++member) on_stack[*member] = false;
      if (stack.end() - begin > 1) found.emplace_back(begin, stack.end());
      stack.erase(begin, stack.end());
    }
  }
  return found;
}

// Edges of length 0 go to the front of the queue: breadth first by length.
std::vector<Edge> Graph::path(Node from, Node to, Mask mask, const std::vector<bool>& inside,
                              std::size_t length_max) const {
  struct Visit {
    std::size_t length;
    std::uint32_t by;  // edge
  };
  std::unordered_map<Node, Visit> visits;
  std::deque<Node> queue;
  visits[from] = {0, kUnseen};
  queue.push_back(from);
  while (!queue.empty()) {
    const Node node = queue.front();
    queue.pop_front();
    const std::size_t length = visits[node].length;
    if (node == to && (node != from || length > 0)) break;
    if (length > length_max) break;
    for (std::uint32_t at = first_[node]; at < first_[node + 1]; ++at) {
      const Edge& edge = edges_[at];
      if ((mask >> edge.kind & 1) == 0 || !inside[edge.to]) continue;
      const std::size_t there = length + edge.length;
      const auto [visit, fresh] = visits.try_emplace(edge.to, Visit{there, at});
      if (!fresh && visit->second.length <= there) continue;
      visit->second = {there, at};
      if (edge.length == 0) {
        queue.push_front(edge.to);
      } else {
        queue.push_back(edge.to);
      }
    }
  }
  std::vector<Edge> edges;
  const auto end = visits.find(to);
  if (end == visits.end()) return edges;
  for (Node node = to; visits[node].by != kUnseen;) {
    edges.push_back(edges_[visits[node].by]);
    node = edges.back().from;
  }
  std::reverse(edges.begin(), edges.end());
  return edges;
}

std::vector<Edge> Graph::shortest_cycle(const std::vector<Node>& component, Mask mask, Mask first) const {
  std::vector<bool> inside(nodes_count_, false);
  for (const Node node : component) inside[node] = true;
  std::vector<Edge> best;
  std::size_t best_length = SIZE_MAX, starts = 0;
  for (const Node node : component) {
    for (std::uint32_t at = first_[node]; at < first_[node + 1] && starts < kStartsMax; ++at) {
      const Edge& edge = edges_[at];
      const Mask wanted = first != 0 ? first : mask;
      if ((wanted >> edge.kind & 1) == 0 || !inside[edge.to] || edge.length == 0) continue;
      ++starts;
      std::vector<Edge> back = path(edge.to, edge.from, mask, inside, best_length);
      if (back.empty()) continue;
      back.insert(back.begin(), edge);
      const std::size_t length = length_of(back);
      if (length >= best_length) continue;
      best = std::move(back);
      best_length = length;
    }
  }
  return best;
}

}  // namespace histories
