// SPDX-License-Identifier: Apache-2.0
// What the supervisor does now and then: making the database, audits, bulk loads, the death of all, recovery, leaving.
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "torture/kill_campaign.h"

namespace torture::kill {
namespace {

constexpr std::uint64_t kSideTimeoutMs = 30'000;
constexpr std::uint64_t kTurnsTimeoutMs = 20'000;
constexpr std::uint32_t kCreationsKilled = 6;   // in each database
constexpr std::uint32_t kRecoveriesKilled = 8;  // at most, in a row

}  // namespace

bool Campaign::nobody_opens() {
  return std::all_of(workers_.begin(), workers_.end(),
                     [&](const Child& worker) { return !worker.running() || is_running(worker); });
}

bool Campaign::all_paused() {
  return std::all_of(workers_.begin(), workers_.end(), [&](const Child& worker) {
    if (!worker.running()) return true;
    if (!is_running(worker)) return false;
    for (std::uint32_t thread = 0; thread < settings_.threads; ++thread) {
      if ((*board_)->lanes[worker.process * settings_.threads + thread].paused.load() != pauses_) return false;
    }
    return true;
  });
}

std::string Campaign::turns_until(std::uint64_t timeout_ms, bool (Campaign::*done)()) {
  const std::uint64_t until = now_ns() + timeout_ms * kMsNs;
  while (!(this->*done)()) {
    if (std::string wrong = turn(); !wrong.empty()) return wrong;
    if (now_ns() > until) return "the workers did not get there in time";
  }
  return "";
}

// --- making the database ---------------------------------------------------------------------------------------------

// Who makes it is killed some times, and the next goes on with what is there; then it is made.
std::string Campaign::create() {
  for (std::uint32_t i = 0; i < kCreationsKilled; ++i) {
    if (std::string wrong = run_audit(auditor_, {choose(Stage::kCreate, false)}, true); !wrong.empty()) return wrong;
    if (std::string wrong = bury_side(auditor_, Stage::kCreate); !wrong.empty()) return wrong;
    // It was made, past the point: the next is to make it too.
    if (auditor_.end == 0) std::filesystem::remove_all(workspace_ + "/db");
  }
  if (std::string wrong = run_audit(auditor_, {}, true); !wrong.empty()) return wrong;
  return auditor_.end == 0 ? "" : wrong_end(auditor_, "creation");
}

std::string Campaign::run_audit(Child& child, const std::vector<Armed>& armed, bool fills) {
  RoleOptions options = role_options("audit");
  options.alone = true;
  options.fills = fills;
  options.amnesia = amnesia_;
  child.armed = armed;
  spawn(child, options);
  if (!wait_for(child, kSideTimeoutMs)) return "the process that is alone is stuck";
  return "";
}

// A process beside the workers, or alone, that ended in order or was killed at its point.
std::string Campaign::bury_side(Child& child, Stage stage) {
  if (child.end == 0) return "";
  const std::uint64_t mark = mark_of(child);
  if (child.end != kEndKilled || mark == 0) return wrong_end(child, name_of(stage));
  count_kill(child, mark - 1, name_of(stage), stage == Stage::kLoad);
  return "";
}

// --- beside the workers ----------------------------------------------------------------------------------------------

// While the process runs, the workers go on and are killed, unless they stand still.
std::string Campaign::side_process(Child& child, const char* role, bool still) {
  RoleOptions options = role_options(role);
  options.quiet = still;
  spawn(child, options);
  const std::uint64_t until = now_ns() + kSideTimeoutMs * kMsNs;
  while (!reap(child)) {
    if (std::string wrong = turn(); !wrong.empty()) return wrong;
    if (now_ns() > until) return std::string(role) + ": stuck";
  }
  return "";
}

std::string Campaign::audit_beside() {
  auditor_.armed.clear();
  if (std::string wrong = side_process(auditor_, "audit", false); !wrong.empty()) return wrong;
  return auditor_.end == 0 ? "" : wrong_end(auditor_, "audit");
}

// Nobody is in the middle of anything: what is left of the dead has to go by itself.
std::string Campaign::audit_still() {
  replaces_ = false;
  std::string wrong = turns_until(kTurnsTimeoutMs, &Campaign::nobody_pending);
  measures_ = false;
  if (wrong.empty()) {
    (*board_)->pause.store(++pauses_, std::memory_order_release);
    wrong = turns_until(kTurnsTimeoutMs, &Campaign::all_paused);
  }
  if (wrong.empty()) {
    auditor_.armed.clear();
    wrong = side_process(auditor_, "audit", true);
    if (wrong.empty() && auditor_.end != 0) wrong = wrong_end(auditor_, "audit while all stand still");
  }
  (*board_)->pause.store(0, std::memory_order_release);
  replaces_ = true;
  measures_ = true;
  return wrong;
}

std::string Campaign::load_beside() {
  loader_.armed = {choose(Stage::kLoad, false)};
  if (std::string wrong = side_process(loader_, "load", false); !wrong.empty()) return wrong;
  if (std::string wrong = bury_side(loader_, Stage::kLoad); !wrong.empty()) return wrong;
  loader_.armed.clear();
  if (random_.below(2) == 0) return "";
  if (std::string wrong = side_process(loader_, "load", false); !wrong.empty()) return wrong;
  return loader_.end == 0 ? "" : wrong_end(loader_, "load");
}

// --- all at once -----------------------------------------------------------------------------------------------------

std::string Campaign::kill_all() {
  ++figures_.massacres;
  replaces_ = false;
  watch_->forget_measures();
  std::vector<std::uint32_t> order;
  for (Child& worker : workers_) {
    if (!worker.running()) continue;
    worker.kill_mark = mark_kill(**board_, worker.process, worker.life, 0) + 1;
    order.push_back(worker.process);
  }
  for (std::size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[random_.below(static_cast<std::uint32_t>(i))]);
  for (const std::uint32_t process : order) ::kill(workers_[process].pid, SIGKILL);
  for (Child& worker : workers_) {
    if (!worker.running()) continue;
    if (!wait_for(worker, kSideTimeoutMs)) return "a killed process does not end";
    if (worker.end != kEndKilled) {
      if (worker.end != 0 || worker.told_to_leave_ns == 0) return wrong_end(worker, "worker");
      continue;
    }
    ++figures_.table.row("all", "random").kills;
  }
  if (random_.below(3) == 0) forget_memory();
  std::string wrong = recover();
  amnesia_ = false;
  replaces_ = true;
  return wrong;
}

// The machine went down, and what had been written came through: the shared memory is no more. Now it counts which
// commits were durable, and not only visible.
void Campaign::forget_memory() {
  ++figures_.amnesias;
  amnesia_ = true;
  std::error_code ignored;
  std::filesystem::remove_all(workspace_ + "/db/memory", ignored);
}

// Recovery is killed some times; then either one process recovers, audits and leaves, or all come at once.
std::string Campaign::recover() {
  for (std::uint32_t i = 1 + random_.below(kRecoveriesKilled); i > 0; --i) {
    // One that gets past its point recovers all and leaves nothing for the next.
    if (std::string wrong = run_audit(auditor_, {choose(Stage::kRecover, false)}, false); !wrong.empty()) return wrong;
    if (std::string wrong = bury_side(auditor_, Stage::kRecover); !wrong.empty()) return wrong;
    if (auditor_.end == 0) return "";  // past the point: it has recovered, audited and left
    ++figures_.recoveries_killed;
  }
  if (!amnesia_ && random_.below(3) == 0) return "";
  if (std::string wrong = run_audit(auditor_, {}, false); !wrong.empty()) return wrong;
  if (auditor_.end != 0) return wrong_end(auditor_, "audit after recovery");
  const std::uint64_t opened = (*board_)->processes[auditor_.process].running_since_ns.load();
  if (opened > auditor_.spawned_ns) figures_.recoveries.push_back(opened - auditor_.spawned_ns);
  return "";
}

// All leave in order. The last one, who leaves the directory clean, may be killed at that.
std::string Campaign::leave_all() {
  ++figures_.leaves;
  replaces_ = false;
  if (std::string wrong = turns_until(kTurnsTimeoutMs, &Campaign::nobody_pending); !wrong.empty()) return wrong;
  if (std::string wrong = turns_until(kTurnsTimeoutMs, &Campaign::nobody_opens); !wrong.empty()) return wrong;
  measures_ = false;
  for (Child& worker : workers_) {
    if (!worker.running() || worker.kill_mark != 0) continue;
    worker.told_to_leave_ns = now_ns();
    ::kill(worker.pid, SIGTERM);
  }
  for (Child& worker : workers_) {
    if (!worker.running()) continue;
    if (!wait_for(worker, kSideTimeoutMs)) return "process " + std::to_string(worker.process) + " does not leave";
    if (std::string wrong = bury(worker); !wrong.empty()) return wrong;
  }
  watch_->forget_measures();
  // The last of them may have died at that. The next opens, reads, and dies on its way out.
  std::string wrong = run_audit(auditor_, {choose(Stage::kLeave, false)}, false);
  if (wrong.empty()) wrong = bury_side(auditor_, Stage::kLeave);
  if (!wrong.empty()) return wrong;
  if (wrong = run_audit(auditor_, {}, false); !wrong.empty()) return wrong;
  if (auditor_.end != 0) return wrong_end(auditor_, "audit after leaving");
  replaces_ = true;
  measures_ = true;
  return "";
}

std::string Campaign::finish() {
  if (std::string wrong = leave_all(); !wrong.empty()) return wrong;
  if ((*board_)->faults.load() != 0) return (*board_)->report;
  if (std::string wrong = run_audit(auditor_, {}, false); !wrong.empty()) return wrong;
  return auditor_.end == 0 ? "" : wrong_end(auditor_, "last audit");
}

// --- when something is wrong -----------------------------------------------------------------------------------------

std::string Campaign::dump(const std::string& why) {
  std::fprintf(stderr, "\nFAILED: %s\n", why.c_str());
  std::fprintf(stderr, "database %llu, seed of it %llu, %llu kills; kept: %s\n",
               static_cast<unsigned long long>(figures_.databases), static_cast<unsigned long long>(database_seed_),
               static_cast<unsigned long long>(figures_.table.kills()), workspace_.c_str());
  const std::uint64_t now = now_ns();
  for (const Child& worker : workers_) {
    const ProcessRow& row = (*board_)->processes[worker.process];
    std::fprintf(stderr, "process %u: pid %d, life %u, %s, end %d\n", worker.process, static_cast<int>(worker.pid),
                 worker.life, name_of(row.phase.load()), worker.end);
    for (std::uint32_t thread = 0; thread < settings_.threads; ++thread) {
      const LaneRow& lane = (*board_)->lanes[worker.process * settings_.threads + thread];
      const std::uint64_t since = lane.busy_since_ns.load();
      std::fprintf(stderr, "  lane %u: operation %llu (%s), busy for %llu ms; %llu acknowledged, %llu refused\n",
                   worker.process * settings_.threads + thread, static_cast<unsigned long long>(lane.number.load()),
                   name_of(static_cast<Kind>(lane.kind.load())),
                   static_cast<unsigned long long>(since == 0 || since > now ? 0 : (now - since) / kMsNs),
                   static_cast<unsigned long long>(lane.acked.load()),
                   static_cast<unsigned long long>(lane.refused.load()));
    }
  }
  for (const Child& worker : workers_) print_stacks(worker);
  print_stacks(auditor_);
  print_stacks(loader_);
  Child lister;
  lister.process = settings_.processes + 2;
  spawn(lister, role_options("locks"));
  if (!wait_for(lister, 10'000)) kill_and_reap(lister);
  return why;
}

}  // namespace torture::kill
