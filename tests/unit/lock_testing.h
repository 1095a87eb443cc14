// SPDX-License-Identifier: Apache-2.0
// What the tests of layer `lock` share: members of a lock table (each with a liveness slot of its own, as a process
// has one; several may live in one process), threads that wait for a lock, forked members, and a watchdog.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"
#include "lock/lock.h"
#include "platform/liveness.h"
#include "platform/test_point.h"
#include "platform_testing.h"

namespace hf::lock {

using platform::eventually;
using platform::sleep_for_ms;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// What anybody may be held up at most by the death of another (DESIGN.md: within a second).
inline constexpr std::uint64_t kStallMaxMs = kSanitized ? 5'000 : 1'000;
inline constexpr int kKilled = 128 + SIGKILL;
inline constexpr TableId kTable = 16;

// The key's bytes have to stay where they are while the row is used: literals, or strings that live on.
inline Row row_of(Bytes key, TableId table = kTable) { return {table, key, row_hash(table, key)}; }

// A member: one process's view of the table.
struct Member {
  std::unique_ptr<platform::Liveness> liveness;
  std::unique_ptr<LockTable> table;  // ends first: it refers to `liveness`

  LockTable& operator*() const noexcept { return *table; }
  LockTable* operator->() const noexcept { return table.get(); }
};

// An owner that lives from here to the end of the scope.
class Life {
 public:
  explicit Life(LockTable& table, const std::string& label = "", std::uint64_t began_ns = monotonic_ns(),
                bool session = false, const Owner* inside_of = nullptr)
      : table_(&table), owner_(table) {
    const Status status = owner_.begin(label, began_ns, session, inside_of);
    if (!status.ok()) ADD_FAILURE() << status.message();
  }
  Owner& operator*() noexcept { return owner_; }
  Owner* operator->() noexcept { return &owner_; }

  Code lock(const Row& row, Mode mode, const WaitRule& rule = no_wait(), Report* report = nullptr) {
    return table_->acquire(owner_, {row, mode}, rule, report).code();
  }
  Code lock_all(std::vector<Request> requests, const WaitRule& rule = no_wait(), Report* report = nullptr) {
    return table_->acquire_all(owner_, requests, rule, report).code();
  }
  Code unlock(const Row& row) { return table_->release(owner_, row).code(); }

  static WaitRule no_wait() {
    WaitRule rule;
    rule.wait = false;
    return rule;
  }

 private:
  LockTable* table_;
  Owner owner_;
};

inline WaitRule wait_ms(std::uint64_t timeout_ms) {
  WaitRule rule;
  rule.timeout_ms = timeout_ms;
  return rule;
}
inline WaitRule wait_strictly() {
  WaitRule rule = wait_ms(UINT64_MAX);
  rule.strict = true;
  return rule;
}

// A thread that wants one row, keeps it until let go, and notes what it was answered. Its owner is made at once.
class Waiter {
 public:
  Waiter(LockTable& table, const Row& row, Mode mode, const WaitRule& rule, const std::string& label = "")
      : table_(table), row_(row), mode_(mode), rule_(rule), owner_(table) {
    if (!owner_.begin(label, monotonic_ns(), false, nullptr).ok()) abort();
  }
  ~Waiter() { finish(); }
  Waiter(const Waiter&) = delete;

  Owner& owner() noexcept { return owner_; }
  // Before start(): what it holds when it begins to wait.
  Code hold(const Row& row, Mode mode) { return table_.acquire(owner_, {row, mode}, Life::no_wait(), nullptr).code(); }
  void start() {
    thread_ = std::thread([this] {
      const std::uint64_t start = monotonic_ns();
      const Status status = table_.acquire(owner_, {row_, mode_}, rule_, &report_);
      waited_ns_ = monotonic_ns() - start;
      if (status.ok() && on_grant_) on_grant_();
      code_.store(static_cast<int>(status.code()), std::memory_order_release);
      while (!let_go_.load(std::memory_order_acquire)) sleep_for_ms(1);
      owner_.end();
    });
  }
  void on_grant(std::function<void()> call) { on_grant_ = std::move(call); }
  bool answered() const noexcept { return code_.load(std::memory_order_acquire) >= 0; }
  // Waits for the answer, at most ten seconds.
  Code answer() {
    EXPECT_TRUE(eventually([this] { return answered(); })) << "no answer";
    return static_cast<Code>(code_.load(std::memory_order_acquire));
  }
  void let_go() noexcept { let_go_.store(true, std::memory_order_release); }
  void finish() {
    let_go();
    if (thread_.joinable()) thread_.join();
  }
  // Require: answered().
  const Report& report() const noexcept { return report_; }
  std::uint64_t waited_ns() const noexcept { return waited_ns_; }

 private:
  LockTable& table_;
  const Row row_;
  const Mode mode_;
  const WaitRule rule_;
  Owner owner_;
  Report report_;
  std::function<void()> on_grant_;
  std::uint64_t waited_ns_ = 0;
  std::atomic<int> code_{-1};
  std::atomic<bool> let_go_{false};
  std::thread thread_;
};

// A test with a directory, a lock file in it that the first member makes, and a watchdog that ends the program.
class LockTest : public testing::Test {
 protected:
  static constexpr std::uint32_t kRows = 6;

  LockTest() { alarm(kSanitized ? 240 : 90); }
  ~LockTest() override {
    platform::arm("");
    alarm(0);
  }

  // The first member, who makes the file.
  Member create(std::uint32_t locks_max = 4096, const std::string& label = "creator") {
    return make_member(
        label, [&](const platform::Liveness& liveness) { return LockTable::create(path(), liveness, locks_max); });
  }
  Member attach(const std::string& label = "member") {
    return make_member(
        label, [&](const platform::Liveness& liveness) { return LockTable::attach(path(), liveness, slots_->rows); });
  }
  // A forked child that is a member while `body` runs; answers what it answers.
  template <typename Body>
  pid_t fork_member(Body body, const std::string& label = "child") {
    return platform::fork_child([&] {
      alarm(kSanitized ? 240 : 90);  // alarms are not inherited
      Member member = attach(label);
      return body(*member.table);
    });
  }
  static void kill_child(pid_t child) {
    kill(child, SIGKILL);
    EXPECT_EQ(platform::wait_for_child(child), kKilled);
  }

  std::string path() const { return directory_ / "locks"; }

  // A few rows in two buckets; one key is long.
  static Row row(std::uint32_t i) {
    static const std::string keys[kRows] = {"a", "b", "c", std::string(300, 'd'), "e", "f"};
    return {kTable, keys[i], i % 2 + std::uint64_t{i} * kBuckets};
  }
  static std::vector<Row> all_rows() {
    std::vector<Row> rows;
    for (std::uint32_t i = 0; i < kRows; ++i) rows.push_back(row(i));
    return rows;
  }

  // How many wait for that row now, as `list` tells it.
  static std::size_t waiting(const LockTable& table, const Row& row) {
    const std::vector<Party> parties = table.list();
    return static_cast<std::size_t>(std::count_if(parties.begin(), parties.end(), [&](const Party& party) {
      return party.table == row.table && party.key == row.key && party.wanted != Mode::kNone;
    }));
  }
  static bool eventually_waiting(const LockTable& table, const Row& row, std::size_t count) {
    return eventually([&] { return waiting(table, row) == count; });
  }

  // Nothing is held or waited for, no unit is used, and this row can be had.
  static void expect_clean(Member& member, const std::vector<Row>& rows) {
    member->reap();
    for (const Party& party : member->list()) {
      ADD_FAILURE() << "left in the list: pid " << party.pid << " key " << party.key << " held "
                    << static_cast<int>(party.held) << " wanted " << static_cast<int>(party.wanted);
    }
    EXPECT_EQ(member->stats().units_in_use, 0u);
    EXPECT_EQ(member->stats().owners_in_use, 0u);
    for (const Row& row : rows) {
      Life life(*member);
      EXPECT_EQ(life.lock(row, Mode::kExclusive), Code::kOK) << row.key;
    }
  }

  struct Slots {
    platform::ProcessSlot rows[platform::kProcessSlotsMax];
  };
  platform::TemporaryDirectory directory_;
  platform::SharedMemory<Slots> slots_;

 private:
  template <typename Make>
  Member make_member(const std::string& label, Make make) {
    Member member;
    member.liveness =
        std::make_unique<platform::Liveness>(platform::value_of(platform::Liveness::open(directory_ / "live")));
    if (!member.liveness->lock_gate(Deadline::after_ms(30'000)).ok()) abort();
    if (!member.liveness->take_slot(slots_->rows, label).ok()) abort();
    member.table = platform::value_of(make(*member.liveness));
    member.table->set_slots(slots_->rows);
    member.liveness->unlock_gate();
    return member;
  }
};

inline constexpr Mode kModes[] = {Mode::kShared, Mode::kExclusive, Mode::kIncrement};
inline const char* mode_name(Mode mode) {
  constexpr const char* kNames[] = {"none", "shared", "exclusive", "increment"};
  return kNames[static_cast<int>(mode)];
}

}  // namespace hf::lock
