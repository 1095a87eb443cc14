// SPDX-License-Identifier: Apache-2.0
// What the tests of locks, counters and sessions share: transactions that end by themselves, waits in other threads,
// and another process with the database open.
#pragma once

#include <poll.h>
#include <signal.h>

#include <chrono>
#include <thread>
#include <vector>

#include "support.h"

namespace conformance {

inline hf_lock_options lock_options(std::uint32_t mode, std::uint32_t wait = HF_WAIT, std::uint64_t timeout_ms = 0) {
  hf_lock_options options = HF_LOCK_OPTIONS_INIT;
  options.mode = mode;
  options.wait = wait;
  options.timeout_ms = timeout_ms;
  return options;
}

class Txn {
 public:
  explicit Txn(hf_db* db, const hf_txn_options* options = nullptr) {
    EXPECT_EQ(hf_begin(db, options, &txn_), HF_OK) << error_of(db).message;
  }
  Txn(hf_db* db, const char* label) {
    hf_txn_options options = HF_TXN_OPTIONS_INIT;
    options.label = label;
    EXPECT_EQ(hf_begin(db, &options, &txn_), HF_OK);
  }
  ~Txn() { hf_txn_end(&txn_); }
  Txn(const Txn&) = delete;
  operator hf_txn*() const { return txn_; }

 private:
  hf_txn* txn_ = nullptr;
};

class Stopwatch {
 public:
  std::uint64_t ms() const {
    const auto passed = std::chrono::steady_clock::now() - began_;
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(passed).count());
  }

 private:
  std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
};

// A copy of what hf_locks shows.
inline std::vector<hf_lock_info> list_locks(hf_db* db) {
  std::vector<hf_lock_info> all;
  const hf_lock_visit take = [](const hf_lock_info* info, void* context) {
    static_cast<std::vector<hf_lock_info>*>(context)->push_back(*info);
    return 0;
  };
  EXPECT_EQ(hf_locks(db, take, &all), HF_OK);
  return all;
}

// Until somebody waits for a lock, for 10 seconds at most.
inline bool somebody_waits(hf_db* db, std::size_t count = 1) {
  for (const Stopwatch since; since.ms() < 10'000; poll(nullptr, 0, 1)) {
    std::size_t waiting = 0;
    for (const hf_lock_info& info : list_locks(db)) waiting += info.mode_wanted != 0 ? 1 : 0;
    if (waiting >= count) return true;
  }
  return false;
}

// A call in a thread of its own.
class Later {
 public:
  template <typename Call>
  explicit Later(Call call) : thread_([this, call] { code_ = call(); }) {}
  ~Later() {
    if (thread_.joinable()) thread_.join();
  }
  // Waits for it.
  int code() {
    if (thread_.joinable()) thread_.join();
    return code_;
  }

 private:
  int code_ = -1;
  std::thread thread_;
};

// A child, made before this process opens the database. `body` opens it itself and answers the exit code; tell() and
// heard() are its side of the talk, hear() and say() ours.
class OtherProcess {
 public:
  template <typename Body>
  explicit OtherProcess(Body body) {
    if (pipe(up_) != 0 || pipe(down_) != 0) abort();
    pid_ = fork();
    if (pid_ != 0) return;
    _exit(body(*this));
  }
  ~OtherProcess() {
    kill();
    for (const int fd : {up_[0], up_[1], down_[0], down_[1]}) close(fd);
  }
  OtherProcess(const OtherProcess&) = delete;

  void tell(char word) const { EXPECT_EQ(write(up_[1], &word, 1), 1); }
  char heard() const { return read_one(down_[0]); }
  void say(char word) const { EXPECT_EQ(write(down_[1], &word, 1), 1); }
  char hear() const { return read_one(up_[0]); }

  pid_t pid() const { return pid_; }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }
  // Its exit code; 1000 + the signal that killed it.
  int wait() {
    int status = 0;
    if (pid_ <= 0 || waitpid(pid_, &status, 0) != pid_) return -1;
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }

 private:
  // 0 when nothing comes within 20 seconds.
  static char read_one(int fd) {
    pollfd ready = {fd, POLLIN, 0};
    char word = 0;
    if (poll(&ready, 1, 20'000) != 1 || read(fd, &word, 1) != 1) return 0;
    return word;
  }

  int up_[2] = {};
  int down_[2] = {};
  pid_t pid_ = 0;
};

}  // namespace conformance
