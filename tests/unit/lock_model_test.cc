// SPDX-License-Identifier: Apache-2.0
// Goal: whatever processes do to the lock table at random, and whenever they are killed, no two hold what does not go
// together, nobody who waits is forgotten, and at the end nothing is left behind.
// Method: 8 processes of two threads each make 100,000 random operations on 50 rows against the model in lock_model.h;
// they are stopped, killed at random moments and at random test points, and started anew. HOLDFAST_TEST_SEED repeats
// the choices (not the schedule).
#include <gtest/gtest.h>

#include <cstdlib>

#include "lock_model.h"

namespace hf::lock {
namespace {

using model::Actor;
using model::Board;
using model::kActors;
using model::kProcesses;

constexpr std::uint64_t kOperations = 100'000;
constexpr int kKillsMin = 60;
constexpr const char* kPoints[] = {"lock.filled",      "lock.linked",        "lock.linked_last", "lock.unlinked",
                                   "lock.handed",      "lock.upgraded",      "lock.upgrading",   "lock.waiting",
                                   "lock.dropped",     "lock.expired",       "lock.reaping",     "lock.released",
                                   "lock.holder_dead", "lock.chunk_claimed", "latch.holder_dead"};

class LockModelTest : public LockTest {
 protected:
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

  pid_t start(std::uint32_t process) {
    // As many passes as the point's name lets expect: one per call, or one now and then.
    const bool armed = platform::kTestPoints && below(3) != 0;
    const std::string point = kPoints[below(std::size(kPoints))];
    const std::string spec = point + ":kill:" + std::to_string(1 + below(point == "lock.chunk_claimed" ? 2 : 60));
    const std::uint64_t seed = random_();
    return platform::fork_child([=, this] {
      alarm(kSanitized ? 240 : 90);
      Member member = attach("process " + std::to_string(process));
      if (armed) platform::arm(spec);
      std::unique_ptr<Actor> actors[model::kThreads];
      for (std::uint32_t i = 0; i < model::kThreads; ++i) {
        actors[i] = std::make_unique<Actor>(*board_, *member, *member.liveness, directory_ / "live",
                                            process * model::kThreads + i, seed + i);
      }
      actors[0]->set_peer(actors[1].get());
      actors[1]->set_peer(actors[0].get());
      std::thread second([&] { actors[1]->run(); });
      actors[0]->run();
      second.join();
      for (auto& actor : actors) actor.reset();
      return board_->faults == 0 ? 0 : 1;
    });
  }

  // Whether somebody has waited for too long. Its process may be about to be found dead, or stopped by us.
  void look_for_the_forgotten(const Member& member) {
    const std::uint64_t now = monotonic_ns();
    for (std::uint32_t actor = 0; actor < kActors; ++actor) {
      model::Note& note = board_->notes[actor];
      const std::uint64_t since = note.waiting_since_ns;
      if (since == 0 || now < since || now - since < model::kWaitMaxNs) continue;
      if (!member.liveness->alive(note.life) || note.waiting_since_ns != since) continue;
      board_->fault("actor %u has waited for %llu ms (row %u)", actor,
                    static_cast<unsigned long long>((now - since) / 1'000'000), note.row.load());
      for (const Party& party : member->list()) {
        std::fprintf(stderr, "  pid %llu table %u key %.12s held %d wanted %d since %llu ms expired %d\n",
                     static_cast<unsigned long long>(party.pid), party.table, party.key.c_str(),
                     static_cast<int>(party.held), static_cast<int>(party.wanted),
                     static_cast<unsigned long long>(party.since_ms), party.expired);
      }
      return;
    }
  }

  platform::SharedMemory<Board> board_;
  std::mt19937_64 random_;
};

TEST_F(LockModelTest, RandomOperationsWithRandomKills) {
  const char* text = std::getenv("HOLDFAST_TEST_SEED");
  const std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : monotonic_ns();
  std::fprintf(stderr, "HOLDFAST_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  random_.seed(seed);

  Member member = create(4096);
  pid_t children[kProcesses];
  for (std::uint32_t i = 0; i < kProcesses; ++i) children[i] = start(i);
  int kills = 0, own_deaths = 0;
  const std::uint64_t began = monotonic_ns();
  while (!board_->stop && (board_->operations < kOperations || kills < kKillsMin)) {
    sleep_for_ms(static_cast<long>(1 + below(kSanitized ? 60 : 12)));
    const auto victim = static_cast<std::uint32_t>(below(kProcesses));
    if (below(4) == 0) {
      kill(children[victim], SIGSTOP);
      sleep_for_ms(static_cast<long>(below(8)));
      kill(children[victim], SIGCONT);
    } else {
      kill_child(children[victim]);
      ++kills;
      children[victim] = start(victim);
    }
    for (std::uint32_t i = 0; i < kProcesses; ++i) {  // those that died at a test point
      int status = 0;
      if (waitpid(children[i], &status, WNOHANG) != children[i]) continue;
      if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        board_->fault("process %u ended with status %d", i, status);
      }
      ++own_deaths;
      children[i] = start(i);
    }
    look_for_the_forgotten(member);
  }
  board_->stop = true;
  for (const pid_t child : children) {
    const int code = platform::wait_for_child(child);
    EXPECT_TRUE(code == 0 || code == kKilled) << code;
  }
  EXPECT_EQ(board_->faults, 0) << board_->report;
  const LockStats stats = member->stats();
  std::fprintf(stderr,
               "%llu operations, %llu grants checked in %.1f s; %d kills, %d deaths at points; ok %llu locked %llu "
               "timeout %llu deadlock %llu cancelled %llu expired %llu order %llu; handovers %llu takeovers %llu "
               "expiries %llu longest %.0f ms\n",
               static_cast<unsigned long long>(board_->operations), static_cast<unsigned long long>(board_->grants),
               static_cast<double>(monotonic_ns() - began) / 1e9, kills, own_deaths,
               static_cast<unsigned long long>(board_->codes[0]),
               static_cast<unsigned long long>(board_->codes[static_cast<int>(Code::kLOCKED)]),
               static_cast<unsigned long long>(board_->codes[static_cast<int>(Code::kLOCK_TIMEOUT)]),
               static_cast<unsigned long long>(board_->codes[static_cast<int>(Code::kDEADLOCK)]),
               static_cast<unsigned long long>(board_->codes[static_cast<int>(Code::kCANCELLED)]),
               static_cast<unsigned long long>(board_->codes[static_cast<int>(Code::kEXPIRED)]),
               static_cast<unsigned long long>(board_->codes[static_cast<int>(Code::kLOCK_ORDER)]),
               static_cast<unsigned long long>(stats.handovers), static_cast<unsigned long long>(stats.takeovers),
               static_cast<unsigned long long>(stats.expiries), static_cast<double>(board_->longest_wait_ns) / 1e6);
  if (HasFailure()) return;
  EXPECT_LT(board_->longest_wait_ns, model::kWaitMaxNs);
  // Else the random choices missed what they are for.
  for (const Code code : {Code::kOK, Code::kLOCKED, Code::kLOCK_TIMEOUT, Code::kDEADLOCK, Code::kCANCELLED,
                          Code::kEXPIRED, Code::kLOCK_ORDER}) {
    EXPECT_GT(board_->codes[static_cast<int>(code)], 0u) << static_cast<int>(code);
  }
  EXPECT_GT(stats.handovers, 0u);
  EXPECT_GT(stats.expiries, 0u);
  std::vector<Row> rows;
  const model::Rows all;
  for (std::uint32_t i = 0; i < model::kRows; ++i) rows.push_back(all[i]);
  expect_clean(member, rows);
}

}  // namespace
}  // namespace hf::lock
