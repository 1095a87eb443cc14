// SPDX-License-Identifier: Apache-2.0
// The search for a cycle of waits through one owner, across all processes.
//
// Nodes are owners that wait. A request is in the way of another one for the same row when
//
//   it holds the row in a mode that the other one's does not go with, or
//   it waits in front, or for an upgrade, in such a mode; an upgrade itself is held up by holders only.
//
// Who waits for a request waits for whatever its owner waits for. Sessions stretch that: what a session holds it
// gives back only when every transaction inside of it has ended, so all that they wait for is waited for too; and a
// transaction that waits for nothing itself while its session waits is taken to be one line of work with it.
//
// One edge is left out: from a request for exclusive use to those that wait in front. They wait for nothing that this
// one does not wait for itself, so no cycle needs them, and none of them has to give up for one that it is only queued
// beside. It also keeps the search short where it is called most: behind a long queue for one row.
//
// The search goes breadth first, so that what is reported is a shortest cycle, and holds one bucket's latch at a time.
// Meanwhile waits end and begin: what it found may never have been there at one moment. So a cycle is walked a second
// time. Requests are told apart by unit, life and time; each that was there in both walks was there all the while
// between the two, hence all of them at once.
//
// Of the cycles through an owner one is preferred in which it is the youngest. So whenever each waiter looks after
// its cycle has closed, the youngest of every cycle finds that cycle, whatever else it is part of.
//
// Test point: lock.cycle_found (between the two walks).
//
// Bounds: each owner is visited once, kOwnersMax at the most. Nothing is allocated until somebody in the way is found
// to wait too.
#include <algorithm>
#include <bitset>
#include <vector>

#include "lock/impl.h"
#include "platform/test_point.h"

namespace hf::lock {
namespace {

// The request that is in the way: the same one as long as all three are the same and it is linked.
struct Obstacle {
  UnitRef unit = 0;
  std::uint64_t life = 0;
  std::uint64_t since_ns = 0;
};

// An owner that waits, and how the search came to it.
struct Node {
  OwnerRef owner = 0;
  UnitRef unit = 0;  // its request
  std::uint64_t hash = 0;
  std::uint64_t life = 0;
  std::uint64_t since_ns = 0;
  std::uint64_t began_ns = 0;
  std::size_t parent = 0;  // who waits for it
  Obstacle obstacle;       // what the parent's request met
};

// A node of a cycle, and what is in its way on the way to the next one.
struct Step {
  Node node;
  Obstacle obstacle;
};

constexpr bool is_younger(std::uint64_t began_a, OwnerRef a, std::uint64_t began_b, OwnerRef b) noexcept {
  return began_a != began_b ? began_a > began_b : a > b;
}

constexpr std::size_t kTriesMax = 3;  // cycles that had gone before they were looked at again

enum class Part { kNone, kQueued, kHolds };

// In which part the request `other` is in the way of `mine`, which wants `need`.
Part part_of(RequestWord mine, Mode need, RequestWord other, bool in_front) noexcept {
  const bool holds = other.state == State::kGranted || other.state == State::kUpgrading;
  if (holds && !compatible(other.held, need)) return Part::kHolds;
  if (mine.state != State::kWaiting) return Part::kNone;
  const bool queued = other.state == State::kUpgrading || (other.state == State::kWaiting && in_front);
  return queued && !compatible(join(other.held, other.wanted), need) ? Part::kQueued : Part::kNone;
}

// Calls see(ref, unit, part, need) for each request that is in the way of the node's. False: the owner does not wait
// for it any more. Requires: the latch of the node's bucket.
template <typename See>
bool each_obstacle(const LockTable& table, const Node& node, See see) {
  const LockRegion region = table.region();
  const Bucket& bucket = region.bucket(node.hash);
  const Unit& mine = region.unit(node.unit);
  if (!Inside::linked(table, bucket, node.unit) || mine.owner.load(std::memory_order_relaxed) != node.owner) {
    return false;
  }
  const RequestWord word = unpack(mine.word.load(std::memory_order_relaxed));
  if (word.state != State::kWaiting && word.state != State::kUpgrading) return false;
  const Mode need = join(word.held, word.wanted);
  // Long keys lie in pieces.
  const std::string long_key = mine.key_size > kUnitKeySize ? Inside::key_of(table, mine) : std::string();
  const Bytes key = mine.key_size > kUnitKeySize ? Bytes(long_key) : Bytes(mine.key, mine.key_size);
  const Row row{mine.table, key, mine.hash.load(std::memory_order_relaxed)};
  bool in_front = true;
  for (UnitRef at = bucket.first.load(std::memory_order_relaxed); at != 0;) {
    const UnitRef ref = at;
    const Unit& unit = region.unit(ref);
    at = unit.next.load(std::memory_order_relaxed);
    if (ref == node.unit) {
      in_front = false;
      continue;
    }
    const Part part = part_of(word, need, unpack(unit.word.load(std::memory_order_relaxed)), in_front);
    if (part == Part::kNone) continue;
    // See above. A session's transactions count all the same: they are not in this queue.
    if (part == Part::kQueued && need == Mode::kExclusive && row.table != kNames) continue;
    if (unit.owner.load(std::memory_order_relaxed) == node.owner || !Inside::is_row(table, unit, row)) continue;
    see(ref, unit, part, need);
  }
  return true;
}

class Search {
 public:
  // `older_only`: visits nobody who began after `self`.
  Search(const LockTable& table, OwnerRef self, bool older_only)
      : table_(table), region_(table.region()), older_only_(older_only) {
    self_.owner = self;
    const OwnerRow& row = region_.owner(self);
    self_.unit = row.waiting.load(std::memory_order_seq_cst);
    self_.began_ns = row.began_ns.load(std::memory_order_relaxed);
  }

  bool run() {
    if (self_.unit == 0 || self_.unit > Inside::units_max(table_)) return false;
    self_.hash = region_.unit(self_.unit).hash.load(std::memory_order_relaxed);
    for (std::size_t at = 0; at <= reached_.size() && !closed_; ++at) expand(at);
    return closed_;
  }

  // Requires: run() was true. The caller first, each in the way of the one before it.
  std::vector<Step> cycle() const {
    std::vector<Step> steps;
    Obstacle next = closing_;
    for (std::size_t at = closing_at_;; at = node(at).parent) {
      steps.push_back({node(at), next});
      if (at == 0) break;
      next = node(at).obstacle;
    }
    std::reverse(steps.begin(), steps.end());
    return steps;
  }

 private:
  // 0 is the owner itself.
  Node& node(std::size_t at) noexcept { return at == 0 ? self_ : reached_[at - 1]; }
  const Node& node(std::size_t at) const noexcept { return at == 0 ? self_ : reached_[at - 1]; }

  // Everybody that the node waits for.
  void expand(std::size_t at) {
    sessions_.clear();
    {
      const Latched latched(table_, region_.bucket(node(at).hash));
      // Whatever is no request of this owner that waits has nothing in its way: the times stay 0 and are never used.
      const Unit& unit = region_.unit(node(at).unit);
      node(at).life = unit.life.load(std::memory_order_relaxed);
      node(at).since_ns = unit.since_ns.load(std::memory_order_relaxed);
      const Node waiter = node(at);  // reach() moves the nodes
      each_obstacle(table_, waiter, [&](UnitRef ref, const Unit& other, Part part, Mode need) {
        const Obstacle obstacle{ref, other.life.load(std::memory_order_relaxed),
                                other.since_ns.load(std::memory_order_relaxed)};
        const OwnerRef owner = other.owner.load(std::memory_order_relaxed);
        if (other.table == kNames) {
          if (part == Part::kHolds || need != Mode::kExclusive) reach(owner, at, obstacle);
          sessions_.push_back({owner, obstacle});
        } else if (!reach(owner, at, obstacle)) {
          reach(region_.owner(owner).session.load(std::memory_order_relaxed), at, obstacle);
        }
      });
    }
    if (!sessions_.empty()) reach_inside(at);
  }

  // The transactions inside of the sessions that are in the node's way.
  void reach_inside(std::size_t at) {
    const LockShared& shared = region_.shared();
    for (std::uint32_t chunk = 0; chunk < kOwnerChunks; ++chunk) {
      if (shared.owner_chunks[chunk].load(std::memory_order_acquire) == 0) continue;
      for (OwnerRef ref = chunk * kOwnersPerChunk + 1; ref <= (chunk + 1) * kOwnersPerChunk; ++ref) {
        const OwnerRow& row = region_.owner(ref);
        if (row.waiting.load(std::memory_order_seq_cst) == 0) continue;
        const OwnerRef session = row.session.load(std::memory_order_relaxed);
        const auto in_the_way = std::find_if(sessions_.begin(), sessions_.end(),
                                             [&](const InTheWay& one) { return one.session == session; });
        if (session != 0 && in_the_way != sessions_.end()) reach(ref, at, in_the_way->obstacle);
      }
    }
  }

  // Takes up an owner that waits; false when it does not.
  // Sequentially consistent, as the store of `waiting`: of two that begin to wait and then search, one sees the other.
  bool reach(OwnerRef owner, std::size_t parent, const Obstacle& obstacle) {
    if (owner == 0 || owner > kOwnersMax || closed_) return false;
    if (owner == self_.owner) {
      closed_ = true;
      closing_at_ = parent;
      closing_ = obstacle;
      return true;
    }
    const OwnerRow& row = region_.owner(owner);
    const UnitRef unit = row.waiting.load(std::memory_order_seq_cst);
    if (unit == 0 || unit > Inside::units_max(table_)) return false;
    const std::uint64_t began_ns = row.began_ns.load(std::memory_order_relaxed);
    if (visited_[owner] || (older_only_ && is_younger(began_ns, owner, self_.began_ns, self_.owner))) {
      return true;
    }
    visited_[owner] = true;
    const std::uint64_t hash = region_.unit(unit).hash.load(std::memory_order_relaxed);
    reached_.push_back({owner, unit, hash, 0, 0, began_ns, parent, obstacle});
    return true;
  }

  struct InTheWay {
    OwnerRef session;
    Obstacle obstacle;
  };

  const LockTable& table_;
  const LockRegion region_;
  const bool older_only_;
  Node self_;
  std::vector<Node> reached_;  // in the order in which they are expanded
  std::bitset<kOwnersMax + 1> visited_;
  std::vector<InTheWay> sessions_;  // of the node that is being expanded
  bool closed_ = false;
  std::size_t closing_at_ = 0;
  Obstacle closing_;
};

OwnerRef youngest_of(const std::vector<Step>& steps) noexcept {
  const Node* youngest = &steps.front().node;
  for (const Step& step : steps) {
    if (is_younger(step.node.began_ns, step.node.owner, youngest->began_ns, youngest->owner)) youngest = &step.node;
  }
  return youngest->owner;
}

// Whether each wait of the cycle is still what it was, and for what it was.
bool confirm(const LockTable& table, const std::vector<Step>& steps, std::vector<Party>* cycle) {
  const LockRegion region = table.region();
  const std::uint64_t now = monotonic_ns();
  cycle->clear();
  for (const Step& step : steps) {
    const Latched latched(table, region.bucket(step.node.hash));
    const Unit& unit = region.unit(step.node.unit);
    if (unit.life.load(std::memory_order_relaxed) != step.node.life ||
        unit.since_ns.load(std::memory_order_relaxed) != step.node.since_ns) {
      return false;
    }
    bool stands = false;
    each_obstacle(table, step.node, [&](UnitRef ref, const Unit& other, Part, Mode) {
      stands =
          stands || (ref == step.obstacle.unit && other.life.load(std::memory_order_relaxed) == step.obstacle.life &&
                     other.since_ns.load(std::memory_order_relaxed) == step.obstacle.since_ns);
    });
    if (!stands) return false;
    cycle->push_back(Inside::describe(table, unit, now));
  }
  return true;
}

}  // namespace

bool Inside::find_cycle(const LockTable& table, OwnerRef self, std::vector<Party>* cycle, OwnerRef* youngest) {
  for (std::size_t i = 0; i < kTriesMax; ++i) {
    Search any(table, self, false);
    if (!any.run()) return false;
    std::vector<Step> steps = any.cycle();
    if (youngest_of(steps) != self) {
      Search older(table, self, true);
      if (older.run()) steps = older.cycle();
    }
    platform::reach("lock.cycle_found");
    if (confirm(table, steps, cycle)) {
      *youngest = youngest_of(steps);
      return true;
    }
  }
  cycle->clear();
  return false;
}

}  // namespace hf::lock
