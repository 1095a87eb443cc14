// SPDX-License-Identifier: Apache-2.0
#include "torture/kill_board.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "torture/kill_points.h"

namespace torture::kill {

const char* name_of(Stage stage) noexcept {
  constexpr const char* kNames[kStagesCount] = {"create", "work", "join", "recover", "leave", "load"};
  return kNames[static_cast<int>(stage)];
}

const char* name_of(Phase phase) noexcept {
  constexpr const char* kNames[] = {"not started", "opening", "running", "leaving"};
  return kNames[static_cast<int>(phase)];
}

SharedBoard::SharedBoard(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0 || ftruncate(fd, sizeof(Board)) != 0) abort();
  void* memory = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) abort();
  close(fd);
  board_ = static_cast<Board*>(memory);
}

SharedBoard::~SharedBoard() { munmap(board_, sizeof(Board)); }

std::uint64_t mark_kill(Board& board, std::uint32_t process, std::uint32_t life, std::uint32_t point_plus_one) {
  const std::uint64_t number = board.marks_count.fetch_add(1, std::memory_order_acq_rel);
  Mark& mark = board.marks[number % kMarksMax];
  mark.process.store(process, std::memory_order_relaxed);
  mark.life.store(life, std::memory_order_relaxed);
  mark.point.store(point_plus_one, std::memory_order_relaxed);
  mark.phase.store(board.processes[process].phase.load(std::memory_order_relaxed), std::memory_order_relaxed);
  mark.ns.store(now_ns(), std::memory_order_release);
  return number;
}

void note_ack(LaneRow& lane, std::uint64_t acked_ns) noexcept {
  const std::uint64_t number = lane.acked.load(std::memory_order_relaxed);
  Ack& ack = lane.acks[number % kAcksMax];
  ack.began_ns.store(lane.busy_since_ns.load(std::memory_order_relaxed), std::memory_order_relaxed);
  ack.acked_ns.store(acked_ns, std::memory_order_relaxed);
  lane.acked.store(number + 1, std::memory_order_release);
}

void report_fault(Board& board, const std::string& text) {
  std::fprintf(stderr, "[%d] %s\n", getpid(), text.c_str());
  // Two at once may mix their texts; the error output has both.
  if (board.faults.load(std::memory_order_acquire) == 0) {
    std::snprintf(board.report, sizeof board.report, "%s", text.c_str());
  }
  board.faults.fetch_add(1, std::memory_order_release);
}

std::uint64_t now_ns() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

void sleep_us(std::uint64_t us) noexcept {
  const timespec time = {static_cast<time_t>(us / 1'000'000), static_cast<long>(us % 1'000'000) * 1'000};
  nanosleep(&time, nullptr);
}

}  // namespace torture::kill
