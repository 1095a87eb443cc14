// SPDX-License-Identifier: Apache-2.0
#include "torture/power_round.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "torture/power_workload.h"

namespace torture::power {
namespace {

namespace fs = std::filesystem;

constexpr int kBatch = 25;                                    // cuts of one child
constexpr unsigned kStateTimeout_s = 120;                     // of one cut with all that follows from it
constexpr std::uint64_t kArenaSize = std::uint64_t{4} << 30;  // of a round; only what is used is memory

// A moment: as often one of a rare thing, or soon after it, as of a frequent one, and now and then one while the
// database is being made.
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

}  // namespace

std::string child_directory(const std::string& directory, int child) {
  return directory + "/child" + std::to_string(child);
}

Round::Round(const RoundOptions& options, std::string directory, Shared& shared)
    : options_(options), directory_(std::move(directory)), shared_(shared) {}

std::string Round::run() {
  const std::string root = child_directory(directory_, 0);
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
  std::printf("seed %llu: %zu events, %llu commits\n", static_cast<unsigned long long>(options_.seed), events.size(),
              static_cast<unsigned long long>(history->last()));
  std::fflush(stdout);
  commits_ = history->last();
  if (options_.only_cut >= 0 && options_.recording.empty()) arena_->save(directory_ + "/recording");
  return cut_all(disk, plan_cuts(events, disk.last_number()));
}

std::string Round::record(const std::string& root) {
  WorkloadPlan plan;
  plan.seed = options_.seed;
  plan.sessions = 2 + static_cast<int>(options_.seed % 2);
  plan.threads = 2 + static_cast<int>(options_.seed / 2 % 3);
  plan.commits_each = options_.commits_each;
  plan.second_process = options_.seed % 3 == 1;
  plan.large_rows = options_.seed % 4 == 1;
  plan.background = options_.seed % 5 != 4;
  plan.dying = static_cast<int>(options_.seed % 2);
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

std::vector<Cut> Round::plan_cuts(const std::vector<const Event*>& events, std::uint64_t last) const {
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
  const std::int64_t end = options_.only_cut >= 0 ? options_.only_cut + 1 : options_.cuts;
  for (std::int64_t cut = first; cut < end; ++cut)
    plan.push_back({point_of(cut, options_.seed, by_kind, made, last), cut});
  std::sort(plan.begin(), plan.end(), [](const Cut& a, const Cut& b) { return a.point < b.point; });
  return plan;
}

// Hands the cuts to children, a batch to each, in order of time, so that the disk is played once only.
std::string Round::cut_all(Disk& disk, const std::vector<Cut>& plan) {
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

void Round::run_child(int slot_number, Disk& disk, const std::vector<Cut>& plan, std::size_t next, std::size_t end) {
  Slot& slot = shared_.slots[slot_number];
  slot.failed = 0;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // nobody would read what it finds
  const fs::path beside =
      options_.recording.empty() ? fs::path(directory_) : fs::path(options_.recording).parent_path();
  Recovery recovery(child_directory(directory_, slot_number), (beside / "region").string(), shared_.tally);
  for (; next < end; ++next) {
    slot.cut = plan[next].number;
    slot.point = plan[next].point;
    ::alarm(kStateTimeout_s);
    disk.advance(slot.point);
    ++shared_.tally.by_kind[kind_of(disk.newest(), disk.newest_ended())];
    Random random(options_.seed ^ static_cast<std::uint64_t>(slot.cut) * 0x2545f4914f6cdd1du);
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
std::string Round::report(int slot_number, int status) const {
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
  text += "\nthe state: " + child_directory(directory_, slot_number);
  text += "\nagain: holdfast_torture power --seed " + std::to_string(options_.seed) + " --cut " +
          std::to_string(slot.cut) + " --recording " + (options_.recording.empty() ? file : options_.recording);
  return text;
}

}  // namespace torture::power
