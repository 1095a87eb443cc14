// SPDX-License-Identifier: Apache-2.0
// What the tests of layer `platform` share: a directory of their own, child processes, memory shared with them.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <new>
#include <string>
#include <system_error>
#include <utility>

#include "base/status.h"

namespace hf::platform {

// A fresh directory, removed with all it holds.
class TemporaryDirectory {
 public:
  TemporaryDirectory() : path_(testing::TempDir() + "/hf_platform_XXXXXX") {
    if (mkdtemp(path_.data()) == nullptr) abort();
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// One zeroed T that children share with their parent.
template <typename T>
class SharedMemory {
 public:
  SharedMemory() {
    void* memory = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) abort();
    object_ = new (memory) T();
  }
  ~SharedMemory() { munmap(object_, sizeof(T)); }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }

 private:
  T* object_;
};

// Runs `body` in a child, which exits with what it answers. No destructor of the parent's objects runs there. The child
// is killed when its parent ends, so that a failed test leaves no process behind.
template <typename Body>
pid_t fork_child(Body body) {
  const pid_t child = fork();
  if (child < 0) abort();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    _exit(body());
  }
  return child;
}

// The child's exit code, or 128 + the signal that killed it.
inline int wait_for_child(pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// The value of a result that has to have one.
template <typename T>
T value_of(Result<T> result) {
  if (!result.ok()) {
    ADD_FAILURE() << result.status().message();
    abort();
  }
  return std::move(result).value();
}

inline void sleep_for_ms(long ms) {
  const timespec time = {ms / 1000, (ms % 1000) * 1'000'000};
  nanosleep(&time, nullptr);
}

// Waits until `condition` holds, at most ten seconds. Answers whether it does.
template <typename Condition>
bool eventually(Condition condition) {
  for (int turn = 0; turn < 10'000; ++turn) {
    if (condition()) return true;
    sleep_for_ms(1);
  }
  return condition();
}

}  // namespace hf::platform
