// SPDX-License-Identifier: Apache-2.0
#include "torture/kill_watch.h"

#include <algorithm>

namespace torture::kill {
namespace {

// The first commits of a lane after an instant, as far back as it remembers: what it has forgotten makes the figures
// larger, not smaller. 0: there is none yet.
struct FirstAcks {
  std::uint64_t any = 0;    // acknowledged after it
  std::uint64_t fresh = 0;  // begun after it, too
};
FirstAcks acks_after(const LaneRow& lane, std::uint64_t ns) {
  FirstAcks first;
  const std::uint64_t count = lane.acked.load(std::memory_order_acquire);
  for (std::uint64_t i = count; i > 0 && count - i < kAcksMax - 1; --i) {
    const Ack& ack = lane.acks[(i - 1) % kAcksMax];
    const std::uint64_t acked = ack.acked_ns.load(std::memory_order_relaxed);
    if (acked <= ns) break;
    first.any = acked;
    if (ack.began_ns.load(std::memory_order_relaxed) > ns) first.fresh = acked;
  }
  return first;
}

}  // namespace

void Watch::killed(std::uint64_t mark, std::uint32_t process, const std::string& role, const std::string& what,
                   bool measured, const std::vector<Child>& workers) {
  ++table_.row(role, what).kills;
  if (!measured) return;
  Pending pending{mark, board_.marks[mark % kMarksMax].ns.load(std::memory_order_acquire), role, what, {}};
  bool any = false;
  for (const Child& worker : workers) {
    const std::uint64_t since = board_.processes[worker.process].running_since_ns.load();
    const bool counts = worker.running() && worker.process != process && worker.told_to_leave_ns == 0 && since != 0 &&
                        since < pending.ns && board_.processes[worker.process].life.load() == worker.life;
    pending.lives.push_back(counts ? worker.life : 0);
    any |= counts;
  }
  if (any) pending_.push_back(std::move(pending));
}

// Those who have died or left meanwhile are not waited for any more.
bool Watch::settle(Pending& pending, const std::vector<Child>& workers) {
  std::uint64_t fresh = UINT64_MAX;
  std::uint64_t last = 0;
  for (std::size_t i = 0; i < workers.size(); ++i) {
    const Child& worker = workers[i];
    if (pending.lives[i] == 0) continue;
    if (!worker.running() || worker.life != pending.lives[i] || worker.told_to_leave_ns != 0 || worker.kill_mark != 0) {
      pending.lives[i] = 0;
      continue;
    }
    for (std::uint32_t thread = 0; thread < threads_; ++thread) {
      const FirstAcks first = acks_after(board_.lanes[worker.process * threads_ + thread], pending.ns);
      if (first.any == 0) return false;
      if (first.fresh != 0) fresh = std::min(fresh, first.fresh);
      last = std::max(last, first.any);
    }
  }
  if (last == 0) return true;  // nobody is left to be measured
  if (fresh == UINT64_MAX) return false;
  KillRow& row = table_.row(pending.role, pending.what);
  row.standstill.push_back(fresh - pending.ns);
  row.slowest.push_back(std::max(last, fresh) - pending.ns);
  return true;
}

std::string Watch::stuck_worker(const std::vector<Child>& workers) const {
  const std::uint64_t now = now_ns();
  for (const Child& worker : workers) {
    if (!worker.running()) continue;
    const ProcessRow& row = board_.processes[worker.process];
    const std::string who = "process " + std::to_string(worker.process) + " (pid " + std::to_string(worker.pid) + ")";
    if (row.life.load() != worker.life || row.phase.load() != Phase::kRunning) {
      const std::uint64_t since = std::max(worker.spawned_ns, worker.told_to_leave_ns);
      if (now < since || now - since < limits_.opening_ns) continue;
      return who + " is stuck: " + name_of(row.phase.load());
    }
    for (std::uint32_t thread = 0; thread < threads_; ++thread) {
      const LaneRow& lane = board_.lanes[worker.process * threads_ + thread];
      const std::uint64_t since = lane.busy_since_ns.load(std::memory_order_acquire);
      if (since == 0 || since > now || now - since < limits_.stuck_ns) continue;
      return who + " is stuck: lane " + std::to_string(worker.process * threads_ + thread) + ", operation " +
             std::to_string(lane.number.load()) + ", kind " + std::to_string(lane.kind.load()) + ", for " +
             std::to_string((now - since) / kMsNs) + " ms";
    }
  }
  return "";
}

std::string Watch::look(const std::vector<Child>& workers) {
  std::erase_if(pending_, [&](Pending& pending) { return settle(pending, workers); });
  if (std::string stuck = stuck_worker(workers); !stuck.empty()) return stuck;
  if (!pending_.empty() && now_ns() - pending_.front().ns > 2 * limits_.stuck_ns) {
    return "somebody has not committed since a kill at " + pending_.front().what;
  }
  return "";
}

}  // namespace torture::kill
