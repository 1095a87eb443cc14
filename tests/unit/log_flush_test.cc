// SPDX-License-Identifier: Apache-2.0
// Goal: one sync serves many commits of many processes; nobody waits for ever, whoever dies; a failed sync is final.
// Method: threads and child processes on one shared memory, faults and kills at named points.
#include <cerrno>
#include <thread>

#include "log_testing.h"

namespace hf::log {
namespace {

constexpr int kKilled = 128 + SIGKILL;

// Opens the session of `bench` in this child process.
std::unique_ptr<Process> join(Bench& bench) {
  auto process = std::make_unique<Process>(**bench.memory, bench.directory.path());
  auto log = Log::attach((*bench.memory)->log, (*bench.memory)->ring, process->liveness, bench.options);
  process->log = std::move(log).value();
  return process;
}

// Appends and waits, `commits` times in each of `threads` threads. Answers whether each answer was kOK and true.
bool commit_in_threads(Process& process, int threads, int commits, std::size_t size) {
  std::atomic<bool> all_good{true};
  std::vector<std::thread> running;
  for (int i = 0; i < threads; ++i) {
    running.emplace_back([&] {
      const std::string body = make_body(std::string(size, 'x'));
      for (int turn = 0; turn < commits; ++turn) {
        const Csn csn = process.append(body);
        const Status status = process.log->wait_durable(csn, Deadline::after_ms(60'000));
        if (csn == 0 || !status.ok() || process.log->durable_csn() < csn) all_good = false;
      }
    });
  }
  for (std::thread& thread : running) thread.join();
  return all_good;
}

TEST(LogFlush, GroupCommitOfProcessesAndThreads) {
  Bench bench;
  bench.options.segment_size_min = 128 << 10;
  bench.options.segment_size_max = 256 << 10;
  ASSERT_TRUE(bench.create().ok());
  constexpr int kProcesses = 3;
  constexpr int kThreads = 8;
  constexpr int kCommits = 150;
  std::vector<pid_t> children;
  for (int i = 0; i < kProcesses; ++i) {
    children.push_back(platform::fork_child([&] {
      auto process = join(bench);
      return commit_in_threads(*process, kThreads, kCommits, 300) ? 0 : 1;
    }));
  }
  for (const pid_t child : children) EXPECT_EQ(platform::wait_for_child(child), 0);
  constexpr Csn kAll = kProcesses * kThreads * kCommits;
  EXPECT_EQ(bench.log().durable_csn(), kAll);
  EXPECT_LT(bench.log().stats().syncs, kAll / 2);
  ASSERT_TRUE(bench.reopen().ok());
  EXPECT_EQ(bench.replayed.size(), kAll);
}

TEST(LogFlush, WaitEndsAtTheDeadline) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  bench.process->append_numbered(1);
  // A live process holds the flush latch.
  std::atomic<bool> is_held{false};
  std::atomic<bool> may_go{false};
  std::thread holder([&] {
    EXPECT_TRUE(bench.log().lock_direct(100, Deadline::never()).ok());
    is_held = true;
    while (!may_go) platform::sleep_for_ms(1);
    bench.log().unlock_direct();
  });
  while (!is_held) platform::sleep_for_ms(1);
  EXPECT_EQ(bench.log().wait_durable(1, Deadline::after_ms(30)).code(), Code::kTIMEOUT);
  EXPECT_EQ(bench.log().lock_direct(100, Deadline::after_ms(30)).code(), Code::kTIMEOUT);
  may_go = true;
  EXPECT_TRUE(bench.process->flush().ok());
  holder.join();
}

// Whoever gives the flush latch back wakes one who waits for the next flush: no sleeper has to end by its bound of 5
// ms. The best of many turns is taken, because a busy machine only ever makes it longer.
TEST(LogFlush, NextFlusherIsWoken) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  std::uint64_t best_ns = UINT64_MAX;
  for (int turn = 0; turn < 60; ++turn) {
    bench.process->append_numbered(1);
    ASSERT_TRUE(bench.log().lock_direct(10, Deadline::never()).ok());
    std::atomic<std::uint64_t> begun_ns{0};
    std::atomic<std::uint64_t> ended_ns{0};
    std::thread waiter([&] {
      begun_ns = monotonic_ns();
      EXPECT_TRUE(bench.process->flush().ok());
      ended_ns = monotonic_ns();
    });
    while (begun_ns == 0) std::this_thread::yield();
    platform::sleep_for_ms(1);
    bench.log().unlock_direct();
    waiter.join();
    best_ns = std::min(best_ns, ended_ns - begun_ns);
  }
  EXPECT_LT(best_ns, platform::kLookAgainNs);
}

TEST(LogFlush, DurableWordChanges) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  const std::uint32_t before = bench.log().durable_word().load();
  bench.process->append_numbered(1);
  EXPECT_EQ(bench.log().durable_word().load(), before);
  ASSERT_TRUE(bench.process->flush().ok());
  EXPECT_NE(bench.log().durable_word().load(), before);
}

TEST(LogFlush, FailedSyncIsFinalForEverybody) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  bench.process->append_numbered(3);
  ASSERT_TRUE(bench.process->flush().ok());
  bench.process->append_numbered(2);
  const pid_t child = platform::fork_child([&] {
    auto process = join(bench);
    platform::arm("file.sync:errno=5");
    const Status status = process->log->wait_durable(5, Deadline::never());
    return status.code() == Code::kFAILED ? 0 : 1;
  });
  EXPECT_EQ(platform::wait_for_child(child), 0);
  // No fault is armed here.
  Status status = bench.log().wait_durable(5, Deadline::never());
  EXPECT_EQ(status.code(), Code::kFAILED);
  EXPECT_NE(status.message().find(".hfl"), std::string::npos) << status.message();
  EXPECT_TRUE(bench.log().wait_durable(3, Deadline::never()).ok()) << "was durable before";
  EXPECT_EQ(bench.log().durable_csn(), 3u);
  EXPECT_FALSE(bench.log().has_room(10));
  EXPECT_EQ(bench.log().make_room(10, Deadline::never()).code(), Code::kFAILED);
  EXPECT_EQ(bench.log().lock_direct(10, Deadline::never()).code(), Code::kFAILED);
  EXPECT_EQ(bench.log().failure().code(), Code::kFAILED);
  ASSERT_TRUE(bench.reopen().ok());
  EXPECT_TRUE(bench.log().failure().ok());
  EXPECT_GE(bench.found.last_csn, 3u);
}

TEST(LogFlush, FailedWriteIsFinal) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  bench.process->append_numbered(1);
  platform::arm("file.write:errno=5");
  EXPECT_EQ(bench.process->flush().code(), Code::kFAILED);
  platform::arm("");
  EXPECT_EQ(bench.process->flush().code(), Code::kFAILED);
  EXPECT_EQ(bench.log().durable_csn(), 0u);
}

// A failure wakes those who sleep for another flush, at once and with the reason.
TEST(LogFlush, FailureOfAnotherLayerWakesWaiters) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  bench.process->append_numbered(2);
  ASSERT_TRUE(bench.log().lock_direct(10, Deadline::never()).ok());
  std::thread waiter([&] {
    const Status status = bench.log().wait_durable(2, Deadline::never());
    EXPECT_EQ(status.code(), Code::kFAILED);
    EXPECT_NE(status.message().find("base gave up"), std::string::npos) << status.message();
  });
  platform::sleep_for_ms(20);
  bench.log().fail(Status(Code::kIO_ERROR, "base gave up"));
  bench.log().fail(Status(Code::kIO_ERROR, "a later failure"));
  waiter.join();
  bench.log().unlock_direct();
}

TEST(LogFlush, KilledFlusherIsTakenOver) {
  for (const char* point : {"log.flush.written", "log.flush.synced"}) {
    Bench bench;
    ASSERT_TRUE(bench.create().ok());
    bench.process->append_numbered(3);
    const pid_t child = platform::fork_child([&] {
      auto process = join(bench);
      platform::arm(std::string(point) + ":kill");
      (void)process->log->wait_durable(3, Deadline::never());
      return 1;
    });
    EXPECT_EQ(platform::wait_for_child(child), kKilled);
    EXPECT_EQ(bench.log().durable_csn(), 0u);
    bench.process->append_numbered(2);
    const std::uint64_t begin = monotonic_ns();
    EXPECT_TRUE(bench.process->flush().ok());
    EXPECT_LT(monotonic_ns() - begin, 1'000'000'000u);
    ASSERT_TRUE(bench.reopen().ok());
    bench.expect_replayed(1, 5);
  }
}

// Sleepers of both batches go on when the flusher they wait for is killed in its flush.
TEST(LogFlush, WaitersSurviveAKilledFlusher) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  for (int turn = 0; turn < 5; ++turn) {
    const pid_t dies = platform::fork_child([&] {
      auto process = join(bench);
      platform::arm("log.flush.written:kill:20");
      commit_in_threads(*process, 4, 1000, 100);
      return 1;
    });
    EXPECT_TRUE(commit_in_threads(*bench.process, 8, 50, 100));
    EXPECT_EQ(platform::wait_for_child(dies), kKilled);
  }
  EXPECT_TRUE(commit_in_threads(*bench.process, 4, 10, 100));
}

TEST(LogFlush, OneSyncPerLoneCommit) {
  Bench bench;
  ASSERT_TRUE(bench.create().ok());
  const std::uint64_t before = bench.log().stats().syncs;
  EXPECT_TRUE(commit_in_threads(*bench.process, 1, 50, 100));
  EXPECT_EQ(bench.log().stats().syncs - before, 50u);
}

}  // namespace
}  // namespace hf::log
