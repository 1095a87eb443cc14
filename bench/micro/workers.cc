// SPDX-License-Identifier: Apache-2.0
#include "workers.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace hf::bench {
namespace {

constexpr std::uint64_t kPollInterval_ns = 1'000'000;
constexpr std::uint64_t kReadyTimeout_ns =
    120'000'000'000;  // recovery of a large database by the first opener included

void check_status(pid_t pid, int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  if (WIFSIGNALED(status)) fail("worker %d was ended by signal %d", static_cast<int>(pid), WTERMSIG(status));
  fail("worker %d failed", static_cast<int>(pid));
}

}  // namespace

void* map_shared(std::size_t size) {
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap: %s", std::strerror(errno));
  return memory;
}

void unmap_shared(void* memory, std::size_t size) { munmap(memory, size); }

void Children::start(const std::function<void()>& body) {
  std::fflush(nullptr);  // or the child prints what is buffered a second time
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) fail("fork: %s", std::strerror(errno));
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);  // it died before the line above
    body();
    std::fflush(nullptr);
    _exit(0);
  }
  pids_.push_back(pid);
}

void Children::check_running() {
  for (const pid_t pid : pids_) {
    int status = 0;
    if (waitpid(pid, &status, WNOHANG) != pid) continue;
    std::erase(pids_, pid);
    check_status(pid, status);
    fail("worker %d ended too early", static_cast<int>(pid));
  }
}

void Children::wait_all() {
  while (!pids_.empty()) {
    const pid_t pid = pids_.back();
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    pids_.pop_back();
    check_status(pid, status);
  }
}

void Children::kill_all() {
  for (const pid_t pid : pids_) kill(pid, SIGKILL);
  for (const pid_t pid : pids_) {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
  }
  pids_.clear();
}

void wait_ready(const Control& control, Children& children, std::uint32_t count) {
  const std::uint64_t end_ns = now_ns() + kReadyTimeout_ns;
  while (control.ready.load(std::memory_order_acquire) < count) {
    children.check_running();
    if (now_ns() > end_ns) fail("workers did not become ready");
    sleep_ns(kPollInterval_ns);
  }
}

Sample take_sample(const Control& control, unsigned workers) {
  Sample sample;
  for (unsigned i = 0; i < workers; ++i) sample.done += control.slots[i].done.load(std::memory_order_relaxed);
  sample.ns = now_ns();
  return sample;
}

}  // namespace hf::bench
