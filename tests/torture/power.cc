// SPDX-License-Identifier: Apache-2.0
// Power cuts by recorded I/O. Goal: whatever a disk shows after the power failed at any moment, the database opens, and
// holds what a prefix of its commits made, every one that was answered durable included; also when the power fails
// again during that recovery, or soon after it.
//
// Method: rounds. Each records a run of a small shop: its writes, syncs and changes of names, its commits and the
// answers it got, in one order (power_recording.h). Cuts are random moments of that order; for each, one of the states
// that the rules of the file system allow (power_disk.h) is made in memory, written to a directory, opened and compared
// (power_recovery.h). Children do that, so that a crash is caught and told.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "torture/power_recovery.h"
#include "torture/power_workload.h"
#include "torture/torture.h"

namespace torture {
namespace power {
namespace {

namespace fs = std::filesystem;

constexpr int kChildren = 2;
constexpr int kBatch = 25;                                    // cuts of one child
constexpr unsigned kStateTimeout_s = 120;                     // of one cut with all that follows from it
constexpr std::uint64_t kArenaSize = std::uint64_t{4} << 30;  // of a round; only what is used is memory

struct Options {
  std::shared_ptr<Common> common;
  std::int64_t only_cut = -1;
  std::string recording;
  int rounds = 0;
  int cuts = 0;
};

// What a child is at, and what it found; shared with it.
struct Slot {
  std::int64_t cut;
  std::uint64_t point;
  std::atomic<int> failed;
  char text[2048];
};
struct Shared {
  Tally tally;
  Slot slots[kChildren];
};

struct Cut {
  std::uint64_t point;
  std::int64_t number;
};

// A moment: as often one of a rare thing, or soon after it, as of a frequent one, and now and then one while the database
// is being made.
std::uint64_t point_of(std::int64_t cut, std::uint64_t seed, const std::vector<std::vector<std::uint64_t>>& by_kind,
                       std::uint64_t made, std::uint64_t last) {
  Random random(seed * 0x9e3779b97f4a7c15u + static_cast<std::uint64_t>(cut));
  if (random() % 10 == 0) return 1 + random() % made;
  if (random() % 3 == 0) return 1 + random() % last;
  for (;;) {
    const std::vector<std::uint64_t>& numbers = by_kind[random() % by_kind.size()];
    if (numbers.empty()) continue;
    const std::uint64_t number = numbers[random() % numbers.size()];
    return random() % 4 != 0 ? number : std::min(last, number + random() % 64);
  }
}

// The engine must not change a file through a mapping: nobody would see it.
std::string writable_mappings(const std::string& root) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(root) == line.npos || line.find("-s ") == line.npos || line.find(" rw") == line.npos) continue;
    if (line.find("/memory/") == line.npos && line.find("lock.mdb") == line.npos) return line;
  }
  return "";
}

// Whether the recording tells all that happened to the files: played back it has to give what is there now.
std::string compare_with_files(const Image& played, const std::string& root) {
  std::size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string path = fs::relative(entry.path(), root).string();
    if (!entry.is_regular_file() || path.ends_with("lock.mdb") || path.ends_with("liveness") ||
        path.find("/memory") != path.npos) {
      continue;
    }
    ++files;
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const auto found = played.files.find(path);
    if (found == played.files.end()) return "the recording does not know " + path;
    if (found->second != bytes) return "the recording has other bytes of " + path;
  }
  return files == played.files.size() ? "" : "the recording has files that are gone";
}

class Round {
 public:
  Round(const Options& options, std::uint64_t seed, int number, const std::string& directory, Shared& shared)
      : options_(options), seed_(seed), number_(number), directory_(directory), shared_(shared) {}

  // Empty: all held.
  std::string run(int cuts) {
    const std::string root = directory_ + "/child0";
    if (options_.recording.empty()) {
      arena_ = std::make_unique<Arena>(kArenaSize);
      if (std::string wrong = record(root); !wrong.empty()) return wrong;
    } else {
      arena_ = std::make_unique<Arena>(options_.recording);
    }
    const std::vector<const Event*> events = arena_->events();
    auto history = std::make_shared<History>();
    promises_ = std::make_unique<Promises>(events, history.get());
    if (!promises_->wrong().empty()) return promises_->wrong();
    history_ = history;
    Disk disk(Image{}, events);
    if (options_.recording.empty()) {
      Disk whole = disk;
      whole.advance(whole.last_number());
      if (std::string wrong = compare_with_files(whole.as_written(), root); !wrong.empty()) return wrong;
    }
    std::printf("round %d: seed %llu, %zu events, %llu commits\n", number_, static_cast<unsigned long long>(seed_),
                events.size(), static_cast<unsigned long long>(history->last()));
    std::fflush(stdout);
    commits_ = history->last();
    if (options_.only_cut >= 0 && options_.recording.empty()) arena_->save(directory_ + "/recording");
    return cut_all(disk, plan_cuts(events, disk.last_number(), cuts));
  }
  std::uint64_t commits() const noexcept { return commits_; }

 private:
  std::string record(const std::string& root) {
    WorkloadPlan plan;
    plan.seed = seed_;
    plan.sessions = 2 + static_cast<int>(seed_ % 2);
    plan.threads = 2 + static_cast<int>(seed_ / 2 % 3);
    plan.commits_each = options_.common->pick(150, 200, 250);
    plan.second_process = seed_ % 3 == 1;
    plan.large_rows = seed_ % 4 == 1;
    plan.background = seed_ % 5 != 4;
    plan.dying = static_cast<int>(seed_ % 2);
    plan.region_copy = directory_ + "/region";
    Recorder recorder(root, *arena_, 400);
    recorder.start();
    std::string wrong = run_workload(plan, root + "/db", recorder);
    if (wrong.empty()) {
      // A life that the power cut ended would still have it open.
      hf_db* db = nullptr;
      const hf_open_options options = small_options(false);
      if (hf_open((root + "/db").c_str(), &options, &db, nullptr) != HF_OK) wrong = "the run cannot be opened again";
      if (const std::string line = writable_mappings(root); !line.empty()) wrong = "a mapping is written to: " + line;
      hf_close(&db);
    }
    recorder.stop();
    ::usleep(50'000);  // rows with a time to live are gone by then
    return wrong.empty() ? "" : "the run itself: " + wrong;
  }

  std::vector<Cut> plan_cuts(const std::vector<const Event*>& events, std::uint64_t last, int cuts) const {
    std::vector<std::vector<std::uint64_t>> by_kind(kKinds);
    std::uint64_t made = last;  // the first commit: the database had been made
    for (const Event* event : events) {
      if (event->kind == Kind::kCommit) made = std::min(made, event->begin);
      if (event->kind == Kind::kCommit || event->kind == Kind::kAck) continue;
      by_kind[static_cast<std::size_t>(kind_of(event, false))].push_back(event->begin);
      if (event->end != 0) by_kind[static_cast<std::size_t>(kind_of(event, true))].push_back(event->end);
    }
    std::vector<Cut> plan;
    const std::int64_t first = options_.only_cut >= 0 ? options_.only_cut : 0;
    const std::int64_t end = options_.only_cut >= 0 ? options_.only_cut + 1 : cuts;
    for (std::int64_t cut = first; cut < end; ++cut) plan.push_back({point_of(cut, seed_, by_kind, made, last), cut});
    std::sort(plan.begin(), plan.end(), [](const Cut& a, const Cut& b) { return a.point < b.point; });
    return plan;
  }

  // Hands the cuts to children, a batch to each, in order of time, so that the disk is played once only.
  std::string cut_all(Disk& disk, const std::vector<Cut>& plan) {
    pid_t children[kChildren] = {};
    std::string wrong;
    std::size_t next = 0;
    for (int running = 0; (next < plan.size() && wrong.empty()) || running > 0;) {
      const auto free_slot = std::find(std::begin(children), std::end(children), 0);
      if (next < plan.size() && wrong.empty() && free_slot != std::end(children)) {
        const std::size_t end = std::min(plan.size(), next + kBatch);
        disk.advance(plan[next].point);
        const int slot = static_cast<int>(free_slot - std::begin(children));
        *free_slot = ::fork();
        if (*free_slot == 0) run_child(slot, disk, plan, next, end);
        next = end;
        ++running;
        continue;
      }
      int status = 0;
      const pid_t pid = ::wait(&status);
      const auto ended = std::find(std::begin(children), std::end(children), pid);
      if (pid <= 0 || ended == std::end(children)) continue;
      *ended = 0;
      --running;
      if (status != 0 && wrong.empty()) wrong = report(static_cast<int>(ended - std::begin(children)), status);
    }
    return wrong;
  }

  [[noreturn]] void run_child(int slot_number, Disk& disk, const std::vector<Cut>& plan, std::size_t next,
                              std::size_t end) {
    Slot& slot = shared_.slots[slot_number];
    slot.failed = 0;
    Recovery recovery(directory_ + "/child" + std::to_string(slot_number), directory_ + "/child0",
                      directory_ + "/region", shared_.tally);
    for (; next < end; ++next) {
      slot.cut = plan[next].number;
      slot.point = plan[next].point;
      ::alarm(kStateTimeout_s);
      disk.advance(slot.point);
      ++shared_.tally.by_kind[kind_of(disk.newest(), disk.newest_ended())];
      Random random(seed_ ^ static_cast<std::uint64_t>(slot.cut) * 0x2545f4914f6cdd1du);
      const Image image = disk.after_cut(random);
      const std::string wrong = recovery.check(image, history_, promises_->required_at(slot.point), random, 0);
      if (wrong.empty()) continue;
      slot.failed = 1;
      std::snprintf(slot.text, sizeof slot.text, "%s", wrong.c_str());
      ::_exit(1);
    }
    ::_exit(0);
  }

  // Keeps the recording, and says how to see it again.
  std::string report(int slot_number, int status) {
    const Slot& slot = shared_.slots[slot_number];
    const std::string file = directory_ + "/recording";
    if (options_.recording.empty()) arena_->save(file);
    std::string text = "cut " + std::to_string(slot.cut) + " at " + std::to_string(slot.point) + ": ";
    if (slot.failed != 0) {
      text += slot.text;
    } else if (WIFSIGNALED(status)) {
      text += WTERMSIG(status) == SIGALRM ? "no end in sight" : strsignal(WTERMSIG(status));
    } else {
      text += "exit code " + std::to_string(WEXITSTATUS(status));
    }
    text += "\nthe state: " + directory_ + "/child" + std::to_string(slot_number);
    text += "\nagain: holdfast_torture power --seed " + std::to_string(seed_) + " --cut " + std::to_string(slot.cut) +
            " --recording " + (options_.recording.empty() ? file : options_.recording);
    return text;
  }

  const Options& options_;
  const std::uint64_t seed_;
  const int number_;
  const std::string directory_;
  Shared& shared_;
  std::unique_ptr<Arena> arena_;
  std::shared_ptr<const History> history_;
  std::unique_ptr<Promises> promises_;
  std::uint64_t commits_ = 0;
};

void print_figures(const Options& options, const Tally& tally, int rounds, std::uint64_t commits, double seconds,
                   bool good) {
  std::uint64_t states = 0;
  for (const auto& count : tally.states) states += count;
  std::printf("{\"campaign\":\"power\",\"seed\":%llu,\"ok\":%s,\"rounds\":%d,\"commits_recorded\":%llu,\"states\":%llu",
              static_cast<unsigned long long>(options.common->seed), good ? "true" : "false", rounds,
              static_cast<unsigned long long>(commits), static_cast<unsigned long long>(states));
  std::printf(",\"cuts\":{");
  const char* comma = "";
  for (int kind = 0; kind < kKinds; ++kind) {
    if (tally.by_kind[kind] == 0) continue;
    std::printf("%s\"%s\":%llu", comma, name_of_kind(kind), static_cast<unsigned long long>(tally.by_kind[kind]));
    comma = ",";
  }
  std::printf("},\"cuts_in_a_row\":[");
  for (int depth = 0; depth < kDepthMax; ++depth) {
    std::printf("%s%llu", depth == 0 ? "" : ",", static_cast<unsigned long long>(tally.states[depth]));
  }
  std::printf("],\"cuts_in_recovery\":%llu,\"cuts_after_recovery\":%llu,\"opens\":%llu",
              static_cast<unsigned long long>(tally.in_recovery), static_cast<unsigned long long>(tally.after_recovery),
              static_cast<unsigned long long>(tally.opens));
  std::printf(",\"commits_required\":%llu,\"commits_found\":%llu,\"commits_after\":%llu,\"rows_compared\":%llu",
              static_cast<unsigned long long>(tally.commits_required),
              static_cast<unsigned long long>(tally.commits_found), static_cast<unsigned long long>(tally.commits_made),
              static_cast<unsigned long long>(tally.rows_compared));
  std::printf(",\"seconds\":%.1f}\n", seconds);
}

// Memory when there is room for it: thousands of databases are made and thrown away.
void settle_directory(Common& common) {
  if (!common.directory.empty()) return;
  std::error_code error;
  const fs::space_info room = fs::space("/dev/shm", error);
  if (!error && room.available > (std::uintmax_t{1} << 30) && ::access("/dev/shm", W_OK) == 0) {
    common.directory = "/dev/shm";
  }
}

int run(Options options) {
  settle_seed(*options.common);
  settle_directory(*options.common);
  void* const memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 2;
  auto& shared = *new (memory) Shared{};
  const bool single = options.only_cut >= 0;
  const int rounds = single ? 1 : options.rounds != 0 ? options.rounds : options.common->pick(2, 4, 24);
  const int cuts = options.cuts != 0 ? options.cuts : options.common->pick(250, 400, 400);
  const auto began = std::chrono::steady_clock::now();
  std::uint64_t commits = 0;
  std::string wrong;
  for (int number = 0; number < rounds && wrong.empty(); ++number) {
    const std::string directory = make_directory(*options.common, "power");
    for (int child = 0; child < kChildren; ++child) fs::create_directory(directory + "/child" + std::to_string(child));
    Round round(options, options.common->seed + static_cast<std::uint64_t>(number), number, directory, shared);
    wrong = round.run(cuts);
    commits += round.commits();
    if (wrong.empty() && !single) {
      fs::remove_all(directory);
    } else {
      std::printf("kept: %s\n", directory.c_str());
    }
  }
  if (!wrong.empty()) std::printf("FAILED: %s\n", wrong.c_str());
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - began;
  print_figures(options, shared.tally, rounds, commits, taken.count(), wrong.empty());
  return wrong.empty() ? 0 : 1;
}

}  // namespace
}  // namespace power

void add_power(CLI::App& app, int* exit_code) {
  CLI::App* command = app.add_subcommand("power", "states that a disk can show after a power failure, recovered");
  auto options = std::make_shared<power::Options>();
  options->common = add_common(*command);
  command->add_option("--cut", options->only_cut, "this cut of the seed's first round only; keeps its directory");
  command->add_option("--recording", options->recording, "cuts this recording, as an earlier failure kept it");
  command->add_option("--rounds", options->rounds, "recorded runs");
  command->add_option("--cuts", options->cuts, "cuts of each run");
  command->callback([options, exit_code] { *exit_code = power::run(*options); });
}

}  // namespace torture
