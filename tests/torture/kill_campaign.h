// SPDX-License-Identifier: Apache-2.0
// The supervisor: several databases one after the other; in each workers that trade, are killed and replaced, audits
// beside them and while they stand still, deaths of all at once, recoveries that are killed too.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "torture/kill_board.h"
#include "torture/kill_children.h"
#include "torture/kill_model.h"
#include "torture/kill_points.h"
#include "torture/kill_report.h"
#include "torture/kill_watch.h"

namespace torture::kill {

struct Settings {
  std::uint64_t seed = 0;
  std::uint32_t processes = 8;
  std::uint32_t threads = 2;
  std::uint64_t kills = 0;            // to reach
  std::uint64_t kills_each = 0;       // in one database
  std::uint64_t seconds_max = 0;      // ends orderly then; 0: no limit
  std::uint64_t seconds_for_all = 0;  // goes on that long, at most, until every point was met
  std::string directory;              // of all databases
  bool keep = false;
};

struct Figures {
  KillTable table;
  std::uint64_t databases = 0, audits = 0, massacres = 0, amnesias = 0, leaves = 0, recoveries_killed = 0;
  std::uint64_t acknowledged = 0, durable = 0, refused = 0, lost = 0, in_doubt = 0, in_doubt_there = 0;
  std::vector<std::uint64_t> recoveries;  // ns, from the first process's start to an open database
};

class Campaign {
 public:
  explicit Campaign(const Settings& settings) : settings_(settings), random_(settings.seed), tried_(kPointsCount) {}

  // "" or what was found.
  std::string run();
  const Figures& figures() const noexcept { return figures_; }
  // Points that nobody was killed at so far.
  std::vector<const Point*> unmet() const;

 private:
  // One database.
  std::string run_database();
  std::string create();
  std::string trade();
  std::string finish();

  // One turn of the supervisor's loop: buries, replaces, kills, looks.
  std::string turn();
  std::string bury(Child& worker);
  void replace(Child& worker);
  void kill_one();
  void arm_worker(Child& worker);
  std::string turns_until(std::uint64_t timeout_ms, bool (Campaign::*done)());

  // What is done now and then.
  std::string audit_beside();
  std::string audit_still();
  std::string kill_all();
  void forget_memory();
  std::string recover();
  std::string leave_all();
  std::string load_beside();
  std::string side_process(Child& child, const char* role, bool beside);
  std::string run_audit(Child& child, const std::vector<Armed>& armed, bool fills);
  std::string bury_side(Child& child, Stage stage);

  std::string wrong_end(const Child& child, const char* role) const;
  std::string dump(const std::string& why);
  std::uint64_t mark_of(const Child& child) const;
  void count_kill(const Child& child, std::uint64_t mark, const std::string& role, bool measured);
  Armed choose(Stage stage, bool rare);
  RoleOptions role_options(const char* role) const;
  bool is_running(const Child& worker) const;
  bool nobody_opens();
  bool all_paused();
  bool nobody_pending() { return watch_->settled(); }
  bool over() const;

  const Settings settings_;
  Random random_;
  Figures figures_;
  std::vector<std::uint64_t> tried_;  // how often each point was armed
  std::uint64_t began_ns_ = now_ns();

  // Of the database at hand.
  std::string workspace_;
  std::uint64_t database_seed_ = 0;
  std::uint64_t kills_before_ = 0;
  std::unique_ptr<SharedBoard> board_;
  std::unique_ptr<Watch> watch_;
  std::vector<Child> workers_;
  Child auditor_;
  Child loader_;
  bool replaces_ = true;  // workers that died
  bool measures_ = true;
  bool amnesia_ = false;  // the shared memory is gone, and nobody has looked yet what with it
  std::uint64_t next_kill_ns_ = 0;
  std::uint32_t pauses_ = 0;
};

}  // namespace torture::kill
