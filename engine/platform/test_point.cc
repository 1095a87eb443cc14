// SPDX-License-Identifier: Apache-2.0
// Armed points lie in immutable tables; arming publishes a new one. A pass takes no lock, so that a hook may arm, a
// child may pass points after a fork at any moment, and a killed thread leaves nothing held. Replaced tables are
// never freed, since a pass may still read one: tests arm a few thousand at most.
#include "platform/test_point.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <mutex>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::platform {
namespace {

enum class Action { kKill, kStop, kSleep, kErrno, kHook };

struct Point {
  std::string name;
  Action action = Action::kKill;
  std::uint64_t value = 0;  // milliseconds or error number
  std::uint64_t nth = 1;    // the pass that acts first
  std::function<void()> hook;
  std::atomic<std::uint64_t> passes{0};
};

struct Table {
  std::vector<std::shared_ptr<Point>> points;
  const Table* replaced;  // keeps older tables reachable for the leak checker
};

enum class State { kEnvironmentUnread, kIdle, kArmed };

std::mutex arm_mutex;                        // serializes arming
std::atomic<const Table*> current{nullptr};  // written under arm_mutex with release; passes load it with acquire
std::atomic<State> state{State::kEnvironmentUnread};  // written under arm_mutex, after `current`

[[noreturn]] void refuse(std::string_view spec) {
  std::fprintf(stderr, "malformed test point: \"%.*s\"\n", static_cast<int>(spec.size()), spec.data());
  std::abort();
}

// Cuts the text before the first `separator` off the front of `rest`.
std::string_view cut(std::string_view& rest, char separator) {
  const std::size_t end = rest.find(separator);
  const std::string_view head = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return head;
}

std::uint64_t parse_number(std::string_view text, std::string_view spec) {
  if (text.empty() || text.size() > 9) refuse(spec);
  std::uint64_t number = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '9') refuse(spec);
    number = number * 10 + static_cast<std::uint64_t>(digit - '0');
  }
  if (number == 0) refuse(spec);  // no action has a use for it
  return number;
}

std::shared_ptr<Point> parse_point(std::string_view spec) {
  std::string_view rest = spec;
  auto point = std::make_shared<Point>();
  point->name = cut(rest, ':');
  std::string_view action = rest.substr(0, rest.find(':'));
  const bool has_nth = action.size() != rest.size();
  if (has_nth) point->nth = parse_number(rest.substr(action.size() + 1), spec);
  const std::string_view verb = action.substr(0, action.find('='));
  const bool has_value = verb.size() != action.size();
  if (has_value) point->value = parse_number(action.substr(verb.size() + 1), spec);

  if (verb == "kill" && !has_value) {
    point->action = Action::kKill;
  } else if (verb == "stop" && !has_value) {
    point->action = Action::kStop;
  } else if (verb == "sleep_ms" && has_value) {
    point->action = Action::kSleep;
  } else if (verb == "errno" && has_value) {
    point->action = Action::kErrno;
  } else {
    refuse(spec);
  }
  if (point->name.empty()) refuse(spec);
  return point;
}

using Points = std::vector<std::shared_ptr<Point>>;

void remove_point(Points& points, std::string_view name) {
  std::erase_if(points, [name](const std::shared_ptr<Point>& point) { return point->name == name; });
}

// Requires: arm_mutex held.
Points armed_points() {
  const Table* table = current.load(std::memory_order_relaxed);  // relaxed: the mutex orders the writers
  return table == nullptr ? Points() : table->points;
}

// Requires: arm_mutex held.
void publish(Points points) {
  const State next = points.empty() ? State::kIdle : State::kArmed;
  current.store(new Table{std::move(points), current.load(std::memory_order_relaxed)}, std::memory_order_release);
  // Relaxed: a pass that reads the state early or late is a pass before or after the arming.
  state.store(next, std::memory_order_relaxed);
}

// Requires: arm_mutex held.
void add_points(std::string_view spec) {
  Points points = armed_points();
  while (!spec.empty()) {
    std::shared_ptr<Point> point = parse_point(cut(spec, ','));
    remove_point(points, point->name);
    points.push_back(std::move(point));
  }
  publish(std::move(points));
}

// Requires: arm_mutex held.
void read_environment() {
  if (state.load(std::memory_order_relaxed) != State::kEnvironmentUnread) return;
  const char* spec = std::getenv("HOLDFAST_TEST_POINT");
  add_points(spec == nullptr ? "" : spec);
}

void sleep_ms(std::uint64_t ms) noexcept {
  timespec left = {static_cast<time_t>(ms / 1000), static_cast<long>(ms % 1000) * 1'000'000};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

[[noreturn]] void die() noexcept {
  kill(getpid(), SIGKILL);
  for (;;) pause();  // not one instruction of the engine runs after the point
}

// Answers the error number to inject, or 0.
int act(Point& point) noexcept {
  const std::uint64_t pass = point.passes.fetch_add(1, std::memory_order_relaxed) + 1;  // relaxed: only a count
  switch (point.action) {
    case Action::kKill:
      if (pass == point.nth) die();
      return 0;
    case Action::kStop:
      if (pass == point.nth) raise(SIGSTOP);  // to this thread, which so stops before it returns
      return 0;
    case Action::kSleep:
      if (pass >= point.nth) sleep_ms(point.value);
      return 0;
    case Action::kErrno:
      return pass >= point.nth ? static_cast<int>(point.value) : 0;
    case Action::kHook:
      point.hook();
      return 0;
  }
  return 0;
}

}  // namespace

namespace detail {

bool any_armed() noexcept {
  if (state.load(std::memory_order_relaxed) == State::kEnvironmentUnread) {
    const std::lock_guard lock(arm_mutex);
    read_environment();
  }
  return state.load(std::memory_order_relaxed) == State::kArmed;
}

int fault_armed(const char* name) noexcept {
  const Table* table = current.load(std::memory_order_acquire);
  if (table == nullptr) return 0;
  const int saved_errno = errno;
  int injected = 0;
  for (const std::shared_ptr<Point>& point : table->points) {
    if (point->name == name) injected = act(*point);
  }
  errno = saved_errno;
  return injected;
}

void reach_armed(const char* name) noexcept { (void)fault_armed(name); }

}  // namespace detail

void arm(const std::string& spec) {
  const std::lock_guard lock(arm_mutex);
  read_environment();
  if (spec.empty()) {
    publish(Points());
  } else {
    add_points(spec);
  }
}

void arm_hook(const std::string& name, std::function<void()> hook) {
  const std::lock_guard lock(arm_mutex);
  read_environment();
  Points points = armed_points();
  remove_point(points, name);
  if (hook) {
    auto point = std::make_shared<Point>();
    point->name = name;
    point->action = Action::kHook;
    point->hook = std::move(hook);
    points.push_back(std::move(point));
  }
  publish(std::move(points));
}

}  // namespace hf::platform
