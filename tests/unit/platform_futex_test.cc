// SPDX-License-Identifier: Apache-2.0
// Goal: a futex wait ends by a wake from another process, by a changed value and by its bound, and never otherwise.
// Method: a shared word between a parent and children; times are checked from one side only, since machines stall.
#include "platform/futex.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <csignal>
#include <thread>

#include "base/clock.h"
#include "platform_testing.h"

namespace hf::platform {
namespace {

TEST(Futex, ReturnsAtOnceWhenTheValueDiffers) {
  FutexWord word{1};
  const std::uint64_t start = monotonic_ns();
  futex_wait(word, 0, 60'000'000'000u);
  EXPECT_LT(monotonic_ns() - start, 10'000'000'000u);
}

TEST(Futex, WaitsForItsBound) {
  FutexWord word{1};
  errno = EDOM;
  const std::uint64_t start = monotonic_ns();
  futex_wait(word, 1, 30'000'000);
  EXPECT_GE(monotonic_ns() - start, 30'000'000u);
  EXPECT_EQ(errno, EDOM);
}

TEST(Futex, TakesTheLongestBound) {
  FutexWord word{0};
  std::thread waker([&word] {
    sleep_for_ms(20);
    word.store(1);
    futex_wake(word, kWakeAll);
  });
  while (word.load() == 0) futex_wait(word, 0, UINT64_MAX);
  waker.join();
}

TEST(Futex, WakingNobodyIsFine) {
  FutexWord word{0};
  EXPECT_EQ(futex_wake(word, 1), 0);
  EXPECT_EQ(futex_wake(word, kWakeAll), 0);
}

TEST(Futex, WakesAcrossProcessesAsManyAsAsked) {
  struct Shared {
    FutexWord word{0};
    std::atomic<int> returned{0};
  };
  SharedMemory<Shared> shared;
  pid_t children[3];
  for (pid_t& child : children) {
    child = fork_child([&shared] {
      futex_wait(shared->word, 0, 60'000'000'000u);
      shared->returned.fetch_add(1);
      return 0;
    });
  }
  // Nobody returns by himself, so three wake-ups of one each have to meet three sleepers.
  for (int woken = 0; woken < 3; ++woken) {
    ASSERT_TRUE(eventually([&shared] { return futex_wake(shared->word, 1) == 1; }));
    EXPECT_TRUE(eventually([&shared, woken] { return shared->returned.load() == woken + 1; }));
  }
  for (const pid_t child : children) EXPECT_EQ(wait_for_child(child), 0);
}

TEST(Futex, ASignalEndsTheWait) {
  SharedMemory<FutexWord> word;
  const pid_t child = fork_child([&word] {
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, nullptr);
    word->store(1);
    futex_wake(*word, 1);
    futex_wait(*word, 1, 60'000'000'000u);
    return 7;
  });
  while (word->load() == 0) futex_wait(*word, 0, 1'000'000'000);
  int status = 0;
  ASSERT_TRUE(eventually([&] {
    kill(child, SIGUSR1);
    return waitpid(child, &status, WNOHANG) == child;
  }));
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

}  // namespace
}  // namespace hf::platform
