// SPDX-License-Identifier: Apache-2.0
// The supervisor's loop. What is done now and then is in kill_events.cc.
#include "torture/kill_campaign.h"

#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>

namespace torture::kill {
namespace {

// A worker that was armed with a point that it does not come to is killed at a random instant instead.
constexpr std::uint64_t kArmedPatienceNs = 4'000 * kMsNs;
constexpr std::uint32_t kPrimariesMax = 4;      // workers armed with a point that they come to soon
constexpr std::uint32_t kKillPauseMsMax = 220;  // between two random kills
constexpr std::uint32_t kEvents = 6;            // kinds of what is done now and then
constexpr std::uint64_t kTurnUs = 400;

}  // namespace

std::string Campaign::run() {
  while (!over()) {
    ++figures_.databases;
    if (std::string wrong = run_database(); !wrong.empty()) return wrong;
  }
  return "";
}

std::vector<const Point*> Campaign::unmet() const {
  std::vector<const Point*> points;
  for (const Point& point : kPoints) {
    if (figures_.table.kills_of(name_of(point.stage), point.name) == 0) points.push_back(&point);
  }
  return points;
}

bool Campaign::over() const {
  const std::uint64_t seconds = (now_ns() - began_ns_) / (1'000 * kMsNs);
  if (figures_.table.kills() >= settings_.kills && (seconds >= settings_.seconds_for_all || unmet().empty())) {
    return true;
  }
  return settings_.seconds_max != 0 && seconds >= settings_.seconds_max;
}

std::string Campaign::run_database() {
  workspace_ = settings_.directory + "/" + std::to_string(figures_.databases);
  std::filesystem::create_directories(workspace_ + "/journal");
  database_seed_ = settings_.seed * 1'000 + figures_.databases;
  kills_before_ = figures_.table.kills();
  board_ = std::make_unique<SharedBoard>(workspace_ + "/board");
  watch_ = std::make_unique<Watch>(**board_, settings_.threads, WatchLimits(), figures_.table);
  workers_.assign(settings_.processes, Child());
  for (std::uint32_t i = 0; i < settings_.processes; ++i) workers_[i].process = i;
  auditor_ = Child();
  auditor_.process = settings_.processes;
  loader_ = Child();
  loader_.process = settings_.processes + 1;
  std::string wrong = create();
  if (wrong.empty()) wrong = trade();
  if (wrong.empty()) wrong = finish();
  const AuditRow& audit = (*board_)->audit;
  figures_.audits += audit.audits;
  figures_.acknowledged += audit.acknowledged;
  figures_.durable += audit.durable;
  figures_.refused += audit.refused;
  figures_.lost += audit.lost;
  figures_.in_doubt += audit.in_doubt;
  figures_.in_doubt_there += audit.in_doubt_there;
  if (wrong.empty()) {
    std::printf("database %llu: %llu kills, %llu commits acknowledged, %llu audits; %.0f s\n",
                static_cast<unsigned long long>(figures_.databases),
                static_cast<unsigned long long>(figures_.table.kills() - kills_before_),
                static_cast<unsigned long long>(audit.acknowledged.load()),
                static_cast<unsigned long long>(audit.audits.load()), static_cast<double>(now_ns() - began_ns_) / 1e9);
    std::fflush(stdout);
  } else {
    wrong = dump(wrong);
  }
  for (Child& worker : workers_) kill_and_reap(worker);
  kill_and_reap(auditor_);
  kill_and_reap(loader_);
  board_.reset();
  std::error_code ignored;
  if (wrong.empty() && !settings_.keep) std::filesystem::remove_all(workspace_, ignored);
  return wrong;
}

std::string Campaign::trade() {
  replaces_ = true;
  measures_ = true;
  std::uint64_t next_event = figures_.table.kills() + 12;
  std::uint32_t event = random_.below(kEvents);
  while (!over() && figures_.table.kills() - kills_before_ < settings_.kills_each) {
    if (std::string wrong = turn(); !wrong.empty()) return wrong;
    if (figures_.table.kills() < next_event) continue;
    std::string wrong;
    switch (event++ % kEvents) {
      case 0:
        wrong = audit_beside();
        break;
      case 1:
        wrong = load_beside();
        break;
      case 2:
        wrong = audit_still();
        break;
      case 3:
      case 4:
        wrong = kill_all();
        break;
      case 5:
        wrong = leave_all();
        break;
    }
    if (!wrong.empty()) return wrong;
    next_event = figures_.table.kills() + 8 + random_.below(8);
  }
  return "";
}

std::string Campaign::turn() {
  sleep_us(kTurnUs);
  for (Child& worker : workers_) {
    if (worker.running() && reap(worker)) {
      if (std::string wrong = bury(worker); !wrong.empty()) return wrong;
    }
    if (!worker.running() && replaces_) replace(worker);
    if (worker.kill_at_ns != 0 && now_ns() >= worker.kill_at_ns && worker.kill_mark == 0 && worker.running()) {
      worker.kill_mark = mark_kill(**board_, worker.process, worker.life, 0) + 1;
      ::kill(worker.pid, SIGKILL);
    }
  }
  if (replaces_ && now_ns() >= next_kill_ns_) kill_one();
  if ((*board_)->faults.load(std::memory_order_acquire) != 0) return (*board_)->report;
  return watch_->look(workers_);
}

// A worker that ended: by a point, by the supervisor, in order, or by what must not be.
std::string Campaign::bury(Child& worker) {
  const std::uint64_t at_point = mark_of(worker);
  if (worker.end == kEndKilled && (at_point != 0 || worker.kill_mark != 0)) {
    const std::uint64_t mark = (at_point != 0 ? at_point : worker.kill_mark) - 1;
    const Phase phase = (*board_)->marks[mark % kMarksMax].phase.load();
    const Stage stage = phase == Phase::kRunning ? Stage::kWork : Stage::kJoin;
    count_kill(worker, mark, phase == Phase::kLeaving ? name_of(Stage::kLeave) : name_of(stage), measures_);
    return "";
  }
  return worker.end == 0 && worker.told_to_leave_ns != 0 ? "" : wrong_end(worker, "worker");
}

void Campaign::count_kill(const Child& child, std::uint64_t mark, const std::string& role, bool measured) {
  const std::uint32_t point = (*board_)->marks[mark % kMarksMax].point.load();
  const std::string what = point == 0 ? "random" : kPoints[point - 1].name;
  watch_->killed(mark, child.process, role, what, measured, workers_);
}

void Campaign::replace(Child& worker) {
  arm_worker(worker);
  RoleOptions options = role_options("worker");
  options.background = worker.process + 2 < settings_.processes;  // two have no thread of the engine's
  spawn(worker, options);
  // Some die while they join.
  if (random_.below(12) == 0) worker.kill_at_ns = now_ns() + random_.below(25'000) * std::uint64_t{1'000};
}

void Campaign::arm_worker(Child& worker) {
  worker.armed.clear();
  const Armed leaving = choose(Stage::kLeave, false);  // only the last to leave comes to it
  const auto primaries = std::count_if(workers_.begin(), workers_.end(), [&](const Child& other) {
    return &other != &worker && other.running() && !other.armed.empty() && !kPoints[other.armed.front().point].rare;
  });
  if (primaries < kPrimariesMax) {
    worker.armed.push_back(choose(random_.below(6) == 0 ? Stage::kJoin : Stage::kWork, false));
  } else {
    // Alone now and then, or the more frequent ones would hide the others.
    const std::uint32_t points = random_.below(2) == 0 ? 1 : 3;
    for (std::uint32_t i = 0; i < points; ++i) worker.armed.push_back(choose(Stage::kWork, true));
  }
  worker.armed.push_back(leaving);
}

// The one that was met least; those that are armed and never met fall behind.
Armed Campaign::choose(Stage stage, bool rare) {
  std::vector<std::uint32_t> best;
  std::uint64_t least = UINT64_MAX;
  for (std::uint32_t i = 0; i < kPointsCount; ++i) {
    if (kPoints[i].stage != stage || kPoints[i].rare != rare) continue;
    // Of those who leave only the last counts, so that trying says little.
    const std::uint64_t score =
        4 * figures_.table.kills_of(name_of(stage), kPoints[i].name) + (stage == Stage::kLeave ? 0 : tried_[i]);
    if (score < least) best.clear();
    if (score <= least) best.push_back(i);
    least = std::min(least, score);
  }
  const std::uint32_t chosen = best[random_.below(static_cast<std::uint32_t>(best.size()))];
  // One that was armed and not come to is tried at earlier and earlier passes.
  const bool met = figures_.table.kills_of(name_of(stage), kPoints[chosen].name) != 0;
  const std::uint64_t halved = met ? 0 : std::min<std::uint64_t>(tried_[chosen], 31);
  ++tried_[chosen];
  return {chosen, 1 + random_.below(std::max(kPoints[chosen].pass_max >> halved, 1u))};
}

// Whether it has the database open and works: knows SIGTERM, and has lanes.
bool Campaign::is_running(const Child& worker) const {
  const ProcessRow& row = (*board_)->processes[worker.process];
  return worker.running() && row.life.load() == worker.life && row.phase.load() == Phase::kRunning;
}

// At a random instant; also one that is leaving.
void Campaign::kill_one() {
  next_kill_ns_ = now_ns() + (20 + random_.below(kKillPauseMsMax)) * kMsNs;
  Child& worker = workers_[random_.below(settings_.processes)];
  if (!worker.running() || worker.kill_mark != 0 || worker.kill_at_ns != 0) return;
  if (!is_running(worker)) return;
  // Who is on the way to a point is let come to it, for a while.
  const bool awaited = !worker.armed.empty() && now_ns() - worker.spawned_ns < kArmedPatienceNs;
  if (awaited && random_.below(3) != 0) return;
  if (random_.below(6) == 0) {
    worker.told_to_leave_ns = now_ns();
    ::kill(worker.pid, SIGTERM);
    worker.kill_at_ns = now_ns() + random_.below(20'000) * std::uint64_t{1'000};
    return;
  }
  worker.kill_mark = mark_kill(**board_, worker.process, worker.life, 0) + 1;
  ::kill(worker.pid, SIGKILL);
}

// Number plus one of the mark that this life of the process set itself, at a point; 0: none.
std::uint64_t Campaign::mark_of(const Child& child) const {
  const std::uint64_t count = (*board_)->marks_count.load(std::memory_order_acquire);
  for (std::uint64_t i = count; i > 0 && count - i < kMarksMax; --i) {
    const Mark& mark = (*board_)->marks[(i - 1) % kMarksMax];
    if (mark.process.load() == child.process && mark.life.load() == child.life && mark.point.load() != 0) return i;
  }
  return 0;
}

RoleOptions Campaign::role_options(const char* role) const {
  RoleOptions options;
  options.role = role;
  options.workspace = workspace_;
  options.seed = database_seed_;
  options.processes = settings_.processes;
  options.threads = settings_.threads;
  return options;
}

std::string Campaign::wrong_end(const Child& child, const char* role) const {
  const Board& board = **board_;
  std::string why = std::string(role) + " " + std::to_string(child.process) + " ended with " +
                    std::to_string(child.end) + (child.end > 128 ? " (128 + the signal)" : "");
  for (const Armed& armed : child.armed) {
    why += std::string("; armed with ") + kPoints[armed.point].name + ":" + std::to_string(armed.pass);
  }
  if (board.faults.load() != 0) why += std::string("; ") + board.report;
  return why;
}

}  // namespace torture::kill
