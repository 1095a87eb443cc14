// SPDX-License-Identifier: Apache-2.0
// Goal: armed points act at the pass they name and nowhere else; the environment arms a fresh process.
// Method: children are killed and stopped; one is this program executed again with the environment set.
#include "platform/test_point.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "platform_testing.h"

namespace hf::platform {
namespace {

class TestPointTest : public testing::Test {
 protected:
  TestPointTest() { arm(""); }
  void SetUp() override {
    if (!kTestPoints) GTEST_SKIP() << "built without test points";
  }
  ~TestPointTest() override { arm(""); }
};

TEST_F(TestPointTest, UnarmedPointsDoNothing) {
  reach("point.a");
  EXPECT_EQ(fault("point.a"), 0);
  EXPECT_FALSE(detail::any_armed());
}

TEST_F(TestPointTest, InjectsErrorsFromTheNthPassOn) {
  arm("point.a:errno=5:3");
  EXPECT_TRUE(detail::any_armed());
  EXPECT_EQ(fault("point.a"), 0);
  EXPECT_EQ(fault("point.b"), 0);
  EXPECT_EQ(fault("point.a"), 0);
  EXPECT_EQ(fault("point.a"), 5);
  EXPECT_EQ(fault("point.a"), 5);
  EXPECT_EQ(fault("point."), 0);
  EXPECT_EQ(fault("point.aa"), 0);
}

TEST_F(TestPointTest, ArmingAddsAndReplacesByName) {
  arm("point.a:errno=5,point.b:errno=28");
  arm("point.c:errno=12");
  EXPECT_EQ(fault("point.a"), 5);
  EXPECT_EQ(fault("point.b"), 28);
  EXPECT_EQ(fault("point.c"), 12);
  arm("point.a:kill");
  arm("point.a:errno=6:2");
  EXPECT_EQ(fault("point.a"), 0);
  EXPECT_EQ(fault("point.a"), 6);
  EXPECT_EQ(fault("point.b"), 28);
  arm("");
  EXPECT_EQ(fault("point.a"), 0);
  EXPECT_EQ(fault("point.b"), 0);
  EXPECT_FALSE(detail::any_armed());
}

TEST_F(TestPointTest, ErrnoSurvivesAPass) {
  arm("point.a:sleep_ms=1");
  errno = EDOM;
  reach("point.a");
  EXPECT_EQ(errno, EDOM);
}

TEST_F(TestPointTest, Sleeps) {
  arm("point.a:sleep_ms=20:2");
  reach("point.a");
  const std::uint64_t start = monotonic_ns();
  reach("point.a");
  EXPECT_GE(monotonic_ns() - start, 20'000'000u);
}

TEST_F(TestPointTest, CallsHooksInAnyThreadUntilDisarmed) {
  std::atomic<int> calls{0};
  arm_hook("point.a", [&calls] { ++calls; });
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([] {
      for (int pass = 0; pass < 1000; ++pass) reach("point.a");
    });
  }
  for (int i = 0; i < 50; ++i) arm("point.b:errno=1");  // arming others meanwhile loses no pass
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(calls, 4000);
  EXPECT_EQ(fault("point.a"), 0);
  EXPECT_EQ(calls, 4001);
  arm_hook("point.a", {});
  reach("point.a");
  EXPECT_EQ(calls, 4001);
  EXPECT_EQ(fault("point.b"), 1);
}

TEST_F(TestPointTest, AHookMayArmAndPassPoints) {
  arm_hook("point.a", [] {
    arm("point.b:errno=7");
    reach("point.c");
    arm_hook("point.a", {});
  });
  reach("point.a");
  EXPECT_EQ(fault("point.b"), 7);
}

TEST_F(TestPointTest, KillsAtTheNthPass) {
  SharedMemory<std::atomic<int>> passes;
  const pid_t child = fork_child([&passes] {
    arm("point.a:kill:3");
    for (;;) {
      reach("point.a");
      passes->fetch_add(1);
    }
    return 0;
  });
  EXPECT_EQ(wait_for_child(child), 128 + SIGKILL);
  EXPECT_EQ(passes->load(), 2);
}

TEST_F(TestPointTest, StopsOnceAndGoesOn) {
  SharedMemory<std::atomic<int>> passes;
  const pid_t child = fork_child([&passes] {
    arm("point.a:stop:2");
    for (int pass = 0; pass < 4; ++pass) {
      reach("point.a");
      passes->fetch_add(1);
    }
    return 0;
  });
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  EXPECT_EQ(passes->load(), 1);
  kill(child, SIGCONT);
  EXPECT_EQ(wait_for_child(child), 0);
  EXPECT_EQ(passes->load(), 4);
}

TEST_F(TestPointTest, MalformedTextsAbort) {
  for (const char* spec : {"a", "a:", ":kill", "a:die", "a:kill:", "a:kill:0", "a:kill:x", "a:kill:1:2", "a:kill=3",
                           "a:errno", "a:errno=", "a:errno=EIO", "a:errno=0", "a:sleep_ms", "a:errno=-5", ",",
                           "a:kill,,b:kill", "a:errno=99999999999"}) {
    const pid_t child = fork_child([spec] {
      if (freopen("/dev/null", "w", stderr) == nullptr) return 1;
      signal(SIGABRT, SIG_DFL);
      arm(spec);
      return 0;
    });
    EXPECT_EQ(wait_for_child(child), 128 + SIGABRT) << spec;
  }
}

// Not a test of its own: what the executed child does. Exits with the number of passes that injected the error.
TEST(TestPointChild, DISABLED_PassesThePoints) {
  int injected = 0;
  for (int pass = 0; pass < 10; ++pass) {
    if (fault("child.fault") == 28) ++injected;
    reach("child.reach");
  }
  _exit(injected);
}

int run_child(const char* specification) {
  return wait_for_child(fork_child([specification] {
    if (freopen("/dev/null", "w", stdout) == nullptr) return 126;
    setenv("HOLDFAST_TEST_POINT", specification, 1);
    execl("/proc/self/exe", "test", "--gtest_also_run_disabled_tests", "--gtest_filter=TestPointChild.*",
          static_cast<char*>(nullptr));
    return 127;
  }));
}

TEST_F(TestPointTest, TheEnvironmentArmsAProcess) {
  EXPECT_EQ(run_child("child.fault:errno=28:4"), 7);
  EXPECT_EQ(run_child("other:errno=28"), 0);
  EXPECT_EQ(run_child(""), 0);
  EXPECT_EQ(run_child("child.fault:errno=28,child.reach:kill:10"), 128 + SIGKILL);
}

}  // namespace
}  // namespace hf::platform
