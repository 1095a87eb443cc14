// SPDX-License-Identifier: Apache-2.0
// Memory that the supervisor and all processes of the campaign map, and that outlives each of them: who is where, and
// how long whom a kill held up. The truth about commits is in the journals (kill_journal.h), not here.
//
// Thread contract: a lane's row is written by the thread that works it, alone; a process's row by that process; marks
// by whoever kills; the rest by the supervisor. All valid as zeros.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace torture::kill {

inline constexpr std::uint32_t kProcessesMax = 24;
inline constexpr std::uint32_t kThreadsMax = 4;
inline constexpr std::uint32_t kLanesMax = kProcessesMax * kThreadsMax;
inline constexpr std::uint32_t kMarksMax = 512;  // the newest are kept; few are being watched at one moment
inline constexpr std::uint32_t kAcksMax = 64;    // the newest acknowledged commits of a lane

enum class Phase : std::uint32_t { kNone, kOpening, kRunning, kLeaving };
const char* name_of(Phase phase) noexcept;

struct Ack {
  std::atomic<std::uint64_t> began_ns;  // of the operation
  std::atomic<std::uint64_t> acked_ns;
};

// One stream of operations: a thread of a process, and of each that takes its place.
struct LaneRow {
  std::atomic<std::uint64_t> busy_since_ns;  // begin of the operation under way; 0: none
  std::atomic<std::uint64_t> number;         // of it
  std::atomic<std::uint32_t> kind;           // of it
  std::atomic<std::uint32_t> paused;         // as Board::pause, once it stands still for it
  std::atomic<std::uint64_t> acked;          // commits that were acknowledged
  std::atomic<std::uint64_t> refused;        // operations that were answered otherwise
  Ack acks[kAcksMax];                        // commit number n in place n % kAcksMax
};

struct ProcessRow {
  std::atomic<std::uint32_t> life;
  std::atomic<Phase> phase;
  std::atomic<std::uint64_t> running_since_ns;  // 0: it has not opened the database yet
};

// The instant of one kill.
struct Mark {
  std::atomic<std::uint64_t> ns;
  std::atomic<std::uint32_t> process;
  std::atomic<std::uint32_t> life;
  std::atomic<std::uint32_t> point;  // index into kPoints plus one; 0: at no point
  std::atomic<Phase> phase;
};

// What the newest audit counted.
struct AuditRow {
  std::atomic<std::uint64_t> audits;  // that found nothing
  std::atomic<std::uint64_t> acknowledged, durable, refused, lost, in_doubt, in_doubt_there;
};

struct Board {
  std::atomic<std::uint32_t> pause;  // 0: work; else every lane stands still after its operation
  std::atomic<std::uint32_t> faults;
  char report[1500];  // what was found first; whole before `faults` is 1
  std::atomic<std::uint64_t> marks_count;
  AuditRow audit;
  Mark marks[kMarksMax];
  ProcessRow processes[kProcessesMax];
  LaneRow lanes[kLanesMax];
};

class SharedBoard {
 public:
  explicit SharedBoard(const std::string& path);
  ~SharedBoard();
  SharedBoard(const SharedBoard&) = delete;
  SharedBoard& operator=(const SharedBoard&) = delete;
  Board* operator->() const noexcept { return board_; }
  Board& operator*() const noexcept { return *board_; }

 private:
  Board* board_;
};

// Notes that this instant is a kill of that process; answers the mark's number.
std::uint64_t mark_kill(Board& board, std::uint32_t process, std::uint32_t life, std::uint32_t point_plus_one);
// An acknowledged commit of that lane.
void note_ack(LaneRow& lane, std::uint64_t acked_ns) noexcept;
// What must not be. The first report counts.
void report_fault(Board& board, const std::string& text);

std::uint64_t now_ns() noexcept;
void sleep_us(std::uint64_t us) noexcept;

}  // namespace torture::kill
