// SPDX-License-Identifier: Apache-2.0
#include "torture/kill_children.h"

#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

extern char** environ;

namespace torture::kill {
namespace {

std::vector<std::string> arguments_of(const RoleOptions& options, const Child& child) {
  std::vector<std::string> texts = {"/proc/self/exe",
                                    "kill",
                                    "--role=" + options.role,
                                    "--workspace=" + options.workspace,
                                    "--seed=" + std::to_string(options.seed),
                                    "--process=" + std::to_string(child.process),
                                    "--life=" + std::to_string(child.life),
                                    "--processes=" + std::to_string(options.processes),
                                    "--threads=" + std::to_string(options.threads)};
  if (!options.background) texts.emplace_back("--no-thread");
  if (options.fills) texts.emplace_back("--fills");
  if (options.alone) texts.emplace_back("--alone");
  if (options.amnesia) texts.emplace_back("--amnesia");
  if (options.quiet) texts.emplace_back("--quiet");
  for (const Armed& armed : child.armed) {
    texts.push_back("--armed=" + std::to_string(armed.point) + ":" + std::to_string(armed.pass));
  }
  return texts;
}

}  // namespace

void spawn(Child& child, RoleOptions options) {
  ++child.life;
  child.end = 0;
  child.kill_mark = 0;
  child.told_to_leave_ns = 0;
  child.kill_at_ns = 0;
  std::vector<std::string> texts = arguments_of(options, child);
  std::vector<char*> argv;
  for (std::string& text : texts) argv.push_back(text.data());
  argv.push_back(nullptr);
  child.spawned_ns = now_ns();
  if (posix_spawn(&child.pid, "/proc/self/exe", nullptr, nullptr, argv.data(), environ) != 0) {
    std::perror("posix_spawn");
    std::exit(2);
  }
}

bool reap(Child& child) {
  if (child.pid == 0) return true;
  int status = 0;
  const pid_t ended = waitpid(child.pid, &status, WNOHANG);
  if (ended == 0 || (ended < 0 && errno == EINTR)) return false;
  child.pid = 0;
  child.end = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return true;
}

bool wait_for(Child& child, std::uint64_t timeout_ms) {
  const std::uint64_t until = now_ns() + timeout_ms * 1'000'000;
  while (!reap(child)) {
    if (now_ns() > until) return false;
    sleep_us(300);
  }
  return true;
}

void kill_and_reap(Child& child) {
  if (child.pid == 0) return;
  ::kill(child.pid, SIGKILL);
  while (!reap(child)) sleep_us(300);
}

void print_stacks(const Child& child) {
  if (child.pid == 0) return;
  std::fprintf(stderr, "--- stacks of process %u, pid %d\n", child.process, static_cast<int>(child.pid));
  std::fflush(stderr);
  const std::string command = "timeout 30 gdb -q -p " + std::to_string(child.pid) +
                              " -batch -ex 'set pagination off' -ex 'thread apply all bt 14' 2>/dev/null"
                              " | grep -E '^(Thread|#)' 1>&2";
  if (std::system(command.c_str()) != 0) std::fprintf(stderr, "(no stacks: no gdb, or it was refused)\n");
}

}  // namespace torture::kill
