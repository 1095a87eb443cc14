// SPDX-License-Identifier: Apache-2.0
// The model that random lock operations are checked against, in memory that all test processes share.
//
// Every actor (one thread of one process) has a cell per row. It writes there what it holds, after the lock was granted
// and before it is given back; then it looks at the others' cells. Of two that hold a row in modes that do not go
// together at least one so sees the other. Cells name the life of their process, because a killed one leaves its cells
// behind: what a dead process wrote does not count. Whether it was dead is asked under the gate, where the answer is
// exact. An owner that others may expire writes its cells only once it is committing, when its locks are its own.
#pragma once

#include <atomic>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "lock_testing.h"

namespace hf::lock::model {

inline constexpr std::uint32_t kProcesses = 8;
inline constexpr std::uint32_t kThreads = 2;  // in each process
inline constexpr std::uint32_t kActors = kProcesses * kThreads;
inline constexpr std::uint32_t kRows = 50;
// A wait that takes longer than this has been forgotten. Nobody holds a row for longer than a few milliseconds.
inline constexpr std::uint64_t kWaitMaxNs = (kSanitized ? 12 : 3) * std::uint64_t{1'000'000'000};

struct Note {
  std::atomic<std::uint64_t> waiting_since_ns{0};  // in a call that may wait; 0: not
  std::atomic<std::uint32_t> life{0};              // of its process
  std::atomic<std::uint32_t> row{0};
};

struct Board {
  std::atomic<std::uint64_t> cells[kRows][kActors];  // life << 8 | Mode
  Note notes[kActors];
  std::atomic<std::uint64_t> operations{0};
  std::atomic<std::uint64_t> grants{0};
  std::atomic<std::uint64_t> codes[64];  // how often each was answered
  std::atomic<std::uint64_t> longest_wait_ns{0};
  std::atomic<bool> stop{false};
  std::atomic<int> faults{0};
  char report[1000];  // of the first fault; whole before the process that found it ends

  void fault(const char* format, ...) __attribute__((format(printf, 2, 3))) {
    if (faults.fetch_add(1) == 0) {
      va_list arguments;
      va_start(arguments, format);
      std::vsnprintf(report, sizeof report, format, arguments);
      va_end(arguments);
    }
    stop = true;
  }
};

// Rows in a few buckets only, some with keys of several units, some names.
class Rows {
 public:
  Rows() {
    for (std::uint32_t i = 0; i < kRows; ++i) {
      keys_.push_back((i % 10 == 3 ? std::string(100 + i * 8, 'k') : std::string("key")) + std::to_string(i));
      tables_.push_back(i % 10 == 7 ? kNames : kTable + i % 2);
    }
  }
  Row operator[](std::uint32_t i) const {
    return {tables_[i], keys_[i], i / 2 % 11 + std::uint64_t{i / 2} * kBuckets};  // pairs of rows have one hash
  }

 private:
  std::vector<std::string> keys_;
  std::vector<TableId> tables_;
};

// One actor's cells.
class Cells {
 public:
  Cells(Board& board, const platform::Liveness& liveness, std::string live_path, std::uint32_t actor)
      : board_(board), liveness_(liveness), live_path_(std::move(live_path)), actor_(actor) {}

  // Granted in that mode, which is not weaker than before.
  void check_in(std::uint32_t row, Mode mode) {
    // Sequentially consistent, both: of two that come at once at least one sees the other.
    board_.cells[row][actor_].store(std::uint64_t{liveness_.me()} << 8 | static_cast<std::uint64_t>(mode));
    for (std::uint32_t other = 0; other < kActors; ++other) {
      if (other == actor_) continue;
      const std::uint64_t cell = board_.cells[row][other].load();
      if (compatible(static_cast<Mode>(cell & 255), mode)) continue;
      const auto life = static_cast<platform::OwnerId>(cell >> 8);
      if (!alive(life)) continue;
      board_.fault("row %u is held by actor %u (%s, life %u) and by actor %u (%s, life %u)", row, actor_,
                   mode_name(mode), liveness_.me(), other, mode_name(static_cast<Mode>(cell & 255)), life);
    }
    board_.grants.fetch_add(1, std::memory_order_relaxed);
  }
  // About to be made weaker, or given back.
  void check_out(std::uint32_t row, Mode left) {
    board_.cells[row][actor_].store(
        left == Mode::kNone ? 0 : std::uint64_t{liveness_.me()} << 8 | static_cast<std::uint64_t>(left));
  }

 private:
  // Exact, unlike Liveness::alive() alone: nobody is between its lock and its generation while the gate is held.
  bool alive(platform::OwnerId life) const {
    if (life == liveness_.me()) return true;
    if (!liveness_.alive(life)) return false;
    platform::Liveness gate = platform::value_of(platform::Liveness::open(live_path_));
    if (!gate.lock_gate(Deadline::after_ms(30'000)).ok()) abort();
    return liveness_.alive(life);
  }

  Board& board_;
  const platform::Liveness& liveness_;
  const std::string live_path_;
  const std::uint32_t actor_;
};

// One thread that locks at random, as long as the board says. It knows what it ought to hold.
class Actor {
 public:
  Actor(Board& board, LockTable& table, const platform::Liveness& liveness, const std::string& live_path,
        std::uint32_t number, std::uint64_t seed)
      : board_(board),
        table_(table),
        number_(number),
        random_(seed),
        cells_(board, liveness, live_path, number),
        owner_(table),
        held_(kRows, Mode::kNone) {
    board_.notes[number].life = liveness.me();
  }

  void run() {
    while (!board_.stop.load()) transaction();
    board_.notes[number_].waiting_since_ns = 0;
  }
  // From another thread.
  void cancel() noexcept {
    cancelled_ = true;
    owner_.interrupt();
  }
  void set_peer(Actor* peer) noexcept { peer_ = peer; }

 private:
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  Mode random_mode() { return kModes[below(3)]; }
  void pause() {
    if (one_in(20)) {
      sleep_for_ms(static_cast<long>(below(3)));
    } else {
      for (std::uint64_t spins = below(3'000); spins > 0; --spins) (void)board_.stop.load(std::memory_order_relaxed);
    }
  }
  WaitRule random_rule() {
    WaitRule rule;
    rule.wait = !one_in(4);
    rule.strict = one_in(3);
    rule.search = !one_in(4);
    rule.ordered = one_in(6);
    // Where nobody looks for deadlocks, time ends them.
    rule.timeout_ms = rule.search && one_in(3) ? UINT64_MAX : below(rule.search ? 400 : 8);
    rule.cancelled = &cancelled_;
    return rule;
  }

  void transaction() {
    cancelled_ = false;
    const std::uint64_t now = monotonic_ns();
    if (!owner_.begin("", now, one_in(10), nullptr).ok()) return board_.fault("begin failed");
    limited_ = one_in(5);
    if (limited_) owner_.set_expiry(now + below(4'000'000));
    bool go_on = true;
    for (std::uint64_t steps = 1 + below(5); steps > 0 && go_on; --steps) {
      go_on = step();
      compare();
    }
    if (go_on) pause();
    if (limited_ && !one_in(3) && owner_.start_commit()) {
      limited_ = false;
      for (std::uint32_t row = 0; row < kRows; ++row) {
        if (held_[row] != Mode::kNone) cells_.check_in(row, held_[row]);
      }
      pause();
    }
    for (std::uint32_t row = 0; row < kRows; ++row) {
      if (held_[row] != Mode::kNone) forget(row);
    }
    owner_.end();
  }

  // False: the transaction can only end.
  bool step() {
    const std::uint64_t choice = below(100);
    if (choice < 45) return lock_one(static_cast<std::uint32_t>(below(kRows)), random_mode());
    if (choice < 65) return lock_many();
    if (choice < 75) return unlock_one();
    if (choice < 85) return strengthen();
    if (choice < 90) return lock_and_restore();
    if (choice < 96) {
      if (peer_ != nullptr) peer_->cancel();
    } else if (choice < 98) {
      table_.reap();
    } else if (one_in(4)) {
      (void)table_.list();
    } else {
      (void)table_.probe(&owner_, rows_[static_cast<std::uint32_t>(below(kRows))], random_mode());
    }
    return true;
  }

  bool lock_one(std::uint32_t row, Mode mode) {
    const WaitRule rule = random_rule();
    Report report;
    const Code code = call(row, [&] { return table_.acquire(owner_, {rows_[row], mode}, rule, &report); });
    if (code == Code::kOK) grant(row, mode);
    return judge(code, rule, report);
  }

  bool lock_many() {
    std::vector<Request> requests;
    std::vector<std::pair<std::uint32_t, Mode>> wanted;
    for (std::uint64_t count = 1 + below(6); count > 0; --count) {
      wanted.emplace_back(static_cast<std::uint32_t>(below(kRows)), random_mode());
      requests.push_back({rows_[wanted.back().first], wanted.back().second});
    }
    const WaitRule rule = random_rule();
    Report report;
    const Code code = call(wanted[0].first, [&] { return table_.acquire_all(owner_, requests, rule, &report); });
    if (code == Code::kOK) {
      for (const auto& [row, mode] : wanted) grant(row, mode);
    }
    return judge(code, rule, report);
  }

  bool unlock_one() {
    const auto row = static_cast<std::uint32_t>(below(kRows));
    const bool held = held_[row] != Mode::kNone;
    forget(row);
    const Code code = call(row, [&] { return table_.release(owner_, rows_[row]); });
    if (code != (held ? Code::kOK : Code::kNOT_FOUND)) {
      board_.fault("actor %u gave row %u back and was told %d", number_, row, static_cast<int>(code));
    }
    return true;
  }

  bool strengthen() {
    for (std::uint32_t row = 0; row < kRows; ++row) {
      if (held_[row] == Mode::kShared || held_[row] == Mode::kIncrement) return lock_one(row, Mode::kExclusive);
    }
    return true;
  }

  bool lock_and_restore() {
    const auto row = static_cast<std::uint32_t>(below(kRows));
    const Mode before = held_[row];
    if (!lock_one(row, Mode::kExclusive)) return false;
    if (held_[row] != Mode::kExclusive) return true;
    if (before == Mode::kNone) {
      forget(row);
    } else {
      held_[row] = before;
      if (!limited_) cells_.check_out(row, before);
    }
    table_.restore(owner_, rows_[row], before);
    return true;
  }

  void grant(std::uint32_t row, Mode mode) {
    const Mode joined = join(held_[row], mode);
    held_[row] = joined;
    if (!limited_) cells_.check_in(row, joined);
  }
  void forget(std::uint32_t row) {
    held_[row] = Mode::kNone;
    cells_.check_out(row, Mode::kNone);
  }

  // Makes a call that may wait, with the clock on it.
  template <typename Body>
  Code call(std::uint32_t row, Body body) {
    Note& note = board_.notes[number_];
    note.row = row;
    const std::uint64_t start = monotonic_ns();
    note.waiting_since_ns = start;
    const Code code = body().code();
    note.waiting_since_ns = 0;
    const std::uint64_t waited = monotonic_ns() - start;
    std::uint64_t longest = board_.longest_wait_ns.load();
    while (waited > longest && !board_.longest_wait_ns.compare_exchange_weak(longest, waited)) {
    }
    if (waited > kWaitMaxNs) {
      board_.fault("actor %u waited %llu ms for row %u until it was told %d", number_,
                   static_cast<unsigned long long>(waited / 1'000'000), row, static_cast<int>(code));
    }
    board_.operations.fetch_add(1, std::memory_order_relaxed);
    board_.codes[static_cast<int>(code) & 63].fetch_add(1, std::memory_order_relaxed);
    return code;
  }

  // Whether that answer was possible, and whether the transaction can go on.
  bool judge(Code code, const WaitRule& rule, const Report& report) {
    bool legal = false;
    switch (code) {
      case Code::kOK:
        return true;
      case Code::kLOCKED:
        legal = !rule.wait;
        break;
      case Code::kLOCK_TIMEOUT:
        legal = rule.wait && rule.timeout_ms != UINT64_MAX;
        break;
      case Code::kDEADLOCK:
        legal = rule.wait && (report.cycle.size() >= 2 || report.cycle.empty());
        break;
      case Code::kLOCK_ORDER:
        legal = rule.ordered;
        break;
      case Code::kCANCELLED:
        legal = cancelled_.load();
        break;
      case Code::kEXPIRED:
        legal = limited_;
        break;
      default:
        break;
    }
    if (!legal) {
      board_.fault("actor %u was told %d: wait %d timeout %llu", number_, static_cast<int>(code), rule.wait,
                   static_cast<unsigned long long>(rule.timeout_ms));
    }
    return code != Code::kDEADLOCK && code != Code::kEXPIRED;
  }

  // What the owner says it holds is what it ought to.
  void compare() {
    std::size_t count = 0;
    for (std::uint32_t row = 0; row < kRows; ++row) {
      if (held_[row] != Mode::kNone) ++count;
      if (const Mode told = owner_.held(rows_[row]); told != held_[row]) {
        board_.fault("actor %u holds row %u %s and says %s", number_, row, mode_name(held_[row]), mode_name(told));
      }
    }
    if (count != owner_.held_count()) {
      board_.fault("actor %u holds %zu rows and says %zu", number_, count, owner_.held_count());
    }
  }

  Board& board_;
  LockTable& table_;
  const std::uint32_t number_;
  std::mt19937_64 random_;
  const Rows rows_;
  Cells cells_;
  Owner owner_;
  std::vector<Mode> held_;
  bool limited_ = false;  // others may take the locks away
  std::atomic<bool> cancelled_{false};
  Actor* peer_ = nullptr;
};

}  // namespace hf::lock::model
