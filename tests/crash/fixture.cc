// SPDX-License-Identifier: Apache-2.0
#include "crash/fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>
#include <vector>

#include "base/clock.h"
#include "base/hash.h"

extern char** environ;

namespace hf::crash {
namespace {

constexpr unsigned kWatchdogSeconds = kSanitized ? 240 : 60;

std::map<std::string, std::function<int(const Arguments&)>>& roles() {
  static std::map<std::string, std::function<int(const Arguments&)>> instance;
  return instance;
}

extern "C" void on_watchdog(int) {
  constexpr char kText[] = "watchdog: the test did not end in time\n";
  (void)!write(STDERR_FILENO, kText, sizeof kText - 1);
  _exit(99);  // children die with us
}

std::string new_directory() {
  std::string path = testing::TempDir() + "/hf_crash_XXXXXX";
  if (mkdtemp(path.data()) == nullptr) abort();
  return path;
}

}  // namespace

std::uint64_t number_in(const Arguments& arguments, const std::string& name, std::uint64_t otherwise) {
  const auto found = arguments.find(name);
  return found == arguments.end() ? otherwise : std::strtoull(found->second.c_str(), nullptr, 10);
}

// --- processes -----------------------------------------------------------------------------------------------------

Role::Role(const std::string& name, std::function<int(const Arguments&)> body) { roles()[name] = std::move(body); }

int run_role(const std::string& name, const Arguments& arguments) {
  const auto found = roles().find(name);
  if (found == roles().end()) {
    std::fprintf(stderr, "no role %s\n", name.c_str());
    return 90;
  }
  return found->second(arguments);
}

Child::Child(const std::string& role, const Arguments& arguments, const std::string& test_point) {
  std::vector<std::string> texts = {"/proc/self/exe", "--role=" + role};
  for (const auto& [name, value] : arguments) texts.push_back(name + "=" + value);
  std::vector<char*> argv;
  for (std::string& text : texts) argv.push_back(text.data());
  argv.push_back(nullptr);

  std::string point = "HOLDFAST_TEST_POINT=" + test_point;
  std::vector<char*> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.push_back(*entry);
  if (!test_point.empty()) environment.push_back(point.data());
  environment.push_back(nullptr);
  if (posix_spawn(&pid_, "/proc/self/exe", nullptr, nullptr, argv.data(), environment.data()) != 0) abort();
}

Child& Child::operator=(Child&& other) noexcept {
  if (this != &other) {
    if (pid_ != 0) kill_and_wait();
    pid_ = std::exchange(other.pid_, 0);
  }
  return *this;
}

Child::~Child() {
  if (pid_ != 0) kill_and_wait();
}

void Child::signal(int number) const noexcept {
  if (pid_ != 0) kill(pid_, number);
}

int Child::wait(std::uint64_t timeout_ms) {
  const Deadline deadline = Deadline::after_ms(timeout_ms);
  int status = 0;
  for (;;) {
    const pid_t ended = waitpid(pid_, &status, WNOHANG);
    if (ended == pid_) break;
    if (ended < 0 && errno != EINTR) return -1;
    if (deadline.passed()) return -1;
    usleep(500);
  }
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int Child::kill_and_wait() {
  signal(SIGKILL);
  signal(SIGCONT);
  return wait();
}

// --- board, test ---------------------------------------------------------------------------------------------------

SharedBoard::SharedBoard(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0 || ftruncate(fd, sizeof(Board)) != 0) abort();
  void* memory = mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) abort();
  close(fd);
  board_ = static_cast<Board*>(memory);  // all of it is valid as zeros
}

SharedBoard::~SharedBoard() { munmap(board_, sizeof(Board)); }

CrashTest::CrashTest() : directory_(new_directory()), board_(std::make_unique<SharedBoard>(directory_ + "/board")) {
  ::signal(SIGALRM, on_watchdog);
  alarm(kWatchdogSeconds);
}

CrashTest::~CrashTest() {
  alarm(0);
  std::error_code ignored;
  if (std::getenv("HOLDFAST_TEST_KEEP") != nullptr && HasFailure()) {
    std::fprintf(stderr, "kept: %s\n", directory_.c_str());
    return;
  }
  std::filesystem::remove_all(directory_, ignored);
}

Arguments CrashTest::with(Arguments more) const {
  more.emplace("db", db());
  more.emplace("board", path("board"));
  return more;
}

txn::DatabaseOptions small_options() {
  txn::DatabaseOptions options;
  options.map_size = std::uint64_t{4} << 30;  // sanitizers have no room for a terabyte
  options.overlay_bytes_max = 8u << 20;
  options.log_segment_size_max = 1u << 20;
  options.flush_interval_ms = 20;
  options.merge_interval_ms = 5;
  options.tables_max = 50;
  options.open_timeout_ms = 20'000;
  return options;
}

txn::DatabaseOptions options_in(const Arguments& arguments) {
  txn::DatabaseOptions options = small_options();
  options.overlay_bytes_max = number_in(arguments, "overlay", options.overlay_bytes_max);
  options.log_segment_size_max = number_in(arguments, "log", options.log_segment_size_max);
  options.merge_interval_ms = number_in(arguments, "merge_ms", options.merge_interval_ms);
  options.flush_interval_ms = number_in(arguments, "flush_ms", options.flush_interval_ms);
  options.overload_timeout_ms = number_in(arguments, "overload_ms", options.overload_timeout_ms);
  options.background_thread = number_in(arguments, "background", 1) != 0;
  if (const auto label = arguments.find("label"); label != arguments.end()) options.label = label->second;
  return options;
}

// --- odds and ends -------------------------------------------------------------------------------------------------

std::uint64_t random_number(std::uint64_t below) {
  static std::mutex mutex;
  static std::mt19937_64 generator([] {
    const char* text = std::getenv("HOLDFAST_TEST_SEED");
    const std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : monotonic_ns();
    std::fprintf(stderr, "HOLDFAST_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
    return seed;
  }());
  const std::lock_guard lock(mutex);
  return generator() % below;
}

void sleep_ms(std::uint64_t ms) {
  const timespec time = {static_cast<time_t>(ms / 1000), static_cast<long>(ms % 1000) * 1'000'000};
  nanosleep(&time, nullptr);
}

bool eventually(std::uint64_t timeout_ms, const std::function<bool()>& condition) {
  const Deadline deadline = Deadline::after_ms(timeout_ms);
  for (;;) {
    if (condition()) return true;
    if (deadline.passed()) return false;
    usleep(500);
  }
}

std::map<std::string, std::uint64_t> fingerprint(const std::string& directory) {
  std::map<std::string, std::uint64_t> result;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    const std::string name = std::filesystem::relative(entry.path(), directory).string();
    if (!entry.is_regular_file() || name == "liveness" || name == "base/lock.mdb" || name.starts_with("memory/"))
      continue;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    result[name] = checksum(bytes.data(), bytes.size(), 0);
  }
  return result;
}

void copy_tree(const std::string& from, const std::string& to) {
  std::filesystem::remove_all(to);
  std::filesystem::copy(from, to, std::filesystem::copy_options::recursive);
}

}  // namespace hf::crash
