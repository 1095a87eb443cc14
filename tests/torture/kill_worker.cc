// SPDX-License-Identifier: Apache-2.0
// A worker: some lanes, each a thread that runs one operation after the other, writes its intent down before and the
// answer after, and stands still when the board says pause. SIGTERM: leaves in order.
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "platform/test_point.h"
#include "torture/kill_journal.h"
#include "torture/kill_operations.h"
#include "torture/kill_points.h"
#include "torture/kill_roles.h"

namespace torture::kill {
namespace {

constexpr std::size_t kTicketsMax = 4;        // a lane has in flight
constexpr std::uint32_t kThinkUsMax = 3'000;  // between operations; two cores serve all lanes
constexpr std::uint32_t kMaintainEvery = 20;  // operations, in a process without the engine's thread

std::atomic<bool> leaving{false};
void on_term(int) { leaving.store(true, std::memory_order_relaxed); }

class Lane {
 public:
  Lane(const RoleOptions& options, Board& board, Shop& shop, std::uint32_t thread)
      : options_(options),
        board_(board),
        shop_(shop),
        index_(options.process * options.threads + thread),
        row_(board.lanes[index_]),
        journal_(options.journals(), index_),
        operations_(shop, options.seed, index_),
        pauses_(options.seed ^ (std::uint64_t{options.life} << 32 | index_)),
        maintains_(!options.background && thread == 0) {
    row_.busy_since_ns = 0;
  }

  bool run() {
    while (!leaving.load(std::memory_order_relaxed)) {
      if (const std::uint32_t pause = board_.pause.load(std::memory_order_acquire); pause != 0) {
        if (!wait_tickets(0)) return false;
        row_.paused.store(pause, std::memory_order_release);
        sleep_us(500);
        continue;
      }
      if (!step()) return false;
      sleep_us(pauses_.below(kThinkUsMax));
    }
    return wait_tickets(0);
  }

 private:
  struct Ticket {
    std::uint64_t number;
    std::uint64_t csn;
    Kind kind;
  };

  bool step() {
    const std::uint64_t number = next_number();
    const Plan plan = plan_of(options_.seed, index_, number);
    const auto kind = static_cast<std::uint8_t>(plan.kind);
    begin(number, plan.kind);
    if (plan.kind != Kind::kScan) journal_.append(Event::kIntent, kind, number, 0, 0);
    const Answer answer = operations_.run(plan, number, committed_);
    if (!Operations::is_expected(plan, answer.code)) return fault(plan, number, answer);
    if (plan.kind != Kind::kScan) journal_.append(answer.event, kind, number, answer.csn, answer.code);
    if (answer.event == Event::kRefused) {
      row_.refused.fetch_add(1, std::memory_order_relaxed);
    } else {
      committed_ = number;
      if (answer.event == Event::kTicket) tickets_.push_back({number, answer.csn, plan.kind});
      note_ack(row_, now_ns());
    }
    if (!wait_tickets(kTicketsMax)) return false;
    if (maintains_ && ++steps_ % kMaintainEvery == 0) {
      const holdfast::status done = shop_.database.maintain();
      if (!done && !done.error().is(HF_BUSY)) return report("maintain: " + text_of(done.error()));
    }
    end();
    return true;
  }

  // Until at most that many are left.
  bool wait_tickets(std::size_t left) {
    if (tickets_.size() <= left) return true;
    begin(tickets_.front().number, tickets_.front().kind);
    // Commits become durable in order: the last of them says it of all.
    const holdfast::status durable = shop_.database.wait(holdfast::Ticket(tickets_.back().csn));
    if (!durable) return report("waiting for a ticket: " + text_of(durable.error()));
    for (const Ticket& ticket : tickets_) {
      journal_.append(Event::kWaited, static_cast<std::uint8_t>(ticket.kind), ticket.number, ticket.csn, 0);
    }
    tickets_.clear();
    end();
    return true;
  }

  std::uint64_t next_number() {
    if (number_ == 0) number_ = journal_.next_number();
    return number_++;
  }

  void begin(std::uint64_t number, Kind kind) {
    row_.number.store(number, std::memory_order_relaxed);
    row_.kind.store(static_cast<std::uint32_t>(kind), std::memory_order_relaxed);
    row_.busy_since_ns.store(now_ns(), std::memory_order_release);
  }
  void end() { row_.busy_since_ns.store(0, std::memory_order_release); }

  bool fault(const Plan& plan, std::uint64_t number, const Answer& answer) {
    return report("lane " + std::to_string(index_) + ", operation " + std::to_string(number) + " (" +
                  name_of(plan.kind) + ", way " + std::to_string(plan.way) + ", finish " +
                  std::to_string(static_cast<int>(plan.finish)) + ") was answered " + std::to_string(answer.code) +
                  " " + answer.message);
  }
  bool report(const std::string& text) {
    report_fault(board_, text);
    return false;
  }

  const RoleOptions& options_;
  Board& board_;
  Shop& shop_;
  const std::uint32_t index_;
  LaneRow& row_;
  Journal journal_;
  Operations operations_;
  Random pauses_;
  const bool maintains_;
  std::uint32_t steps_ = 0;
  std::uint64_t number_ = 0;
  std::uint64_t committed_ = 0;
  std::vector<Ticket> tickets_;
};

}  // namespace

namespace {

Phase phase_of(Stage stage) {
  return stage == Stage::kWork ? Phase::kRunning : stage == Stage::kLeave ? Phase::kLeaving : Phase::kOpening;
}

}  // namespace

// A hook and not the environment's "kill", because the instant of the death has to be on the board: the kernel takes
// milliseconds to bury a process, and those count as standstill.
void begin_stage(const RoleOptions& options, Board& board, Phase phase) {
  ProcessRow& me = board.processes[options.process];
  if (phase == Phase::kRunning) me.running_since_ns.store(now_ns());
  me.phase.store(phase, std::memory_order_release);
  for (const std::string& text : options.armed) {
    const auto point = static_cast<std::uint32_t>(std::stoul(text));
    const std::uint64_t pass = std::stoul(text.substr(text.find(':') + 1));
    if (point >= kPointsCount || pass == 0) _exit(kExitUsage);
    if (phase_of(kPoints[point].stage) != phase) continue;
    auto passes = std::make_shared<std::atomic<std::uint64_t>>(0);
    hf::platform::arm_hook(kPoints[point].name, [=, &board, process = options.process, life = options.life] {
      if (passes->fetch_add(1) + 1 != pass) return;
      mark_kill(board, process, life, point + 1);
      ::kill(getpid(), SIGKILL);
      for (;;) pause();
    });
  }
}

int work(const RoleOptions& options, Board& board) {
  holdfast::open_options open = small_options("worker " + std::to_string(options.process));
  open.background_thread = options.background;
  std::atomic<bool> failed{false};
  {
    holdfast::result<Shop> shop = open_shop(options.database(), open, false);
    if (!shop) {
      report_fault(board, "worker, open: " + text_of(shop.error()));
      return kExitFault;
    }
    std::vector<std::unique_ptr<Lane>> lanes;
    for (std::uint32_t i = 0; i < options.threads; ++i) {
      lanes.push_back(std::make_unique<Lane>(options, board, *shop, i));
    }
    begin_stage(options, board, Phase::kRunning);
    std::vector<std::thread> threads;
    for (const std::unique_ptr<Lane>& lane : lanes) {
      threads.emplace_back([&failed, raw = lane.get()] {
        if (!raw->run()) {
          failed = true;
          leaving = true;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    begin_stage(options, board, Phase::kLeaving);
    lanes.clear();
    if (holdfast::status closed = shop->database.close(); !closed) {
      report_fault(board, "worker, close: " + text_of(closed.error()));
      failed = true;
    }
  }
  return failed ? kExitFault : 0;
}

int run_role(const RoleOptions& options) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGTERM, on_term);
  SharedBoard board(options.workspace + "/board");
  ProcessRow& me = board->processes[options.process];
  me.running_since_ns.store(0);
  me.life.store(options.life);
  begin_stage(options, *board, Phase::kOpening);
  if (options.role == "worker") return work(options, *board);
  if (options.role == "audit") return audit(options, *board);
  if (options.role == "load") return load(options, *board);
  if (options.role == "locks") return list_locks(options, *board);
  return kExitUsage;
}

}  // namespace torture::kill
