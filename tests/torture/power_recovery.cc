// SPDX-License-Identifier: Apache-2.0
#include "torture/power_recovery.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "torture/power_workload.h"
#include "txn/shared.h"

namespace torture::power {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kPage = 4096;
constexpr const char* kDatabase = "db";
constexpr std::uint64_t kArenaSize = 1u << 30;  // of one recovery; only what is used is memory

void write_file(const std::string& path, const std::string& bytes) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  bool good = fd >= 0 && ::ftruncate(fd, static_cast<off_t>(bytes.size())) == 0;
  static const std::string zeros(kPage, '\0');
  for (std::uint64_t at = 0; good && at < bytes.size();) {
    // Runs of pages that are not zero; the rest stays a hole.
    std::uint64_t end = at;
    while (end < bytes.size()) {
      const std::uint64_t size = std::min(kPage, bytes.size() - end);
      if (std::memcmp(bytes.data() + end, zeros.data(), size) == 0) break;
      end += size;
    }
    if (end > at) {
      good = ::pwrite(fd, bytes.data() + at, end - at, static_cast<off_t>(at)) == static_cast<ssize_t>(end - at);
    }
    at = std::max(end, at + kPage);
  }
  if (fd >= 0) ::close(fd);
  if (!good) {
    std::perror(path.c_str());
    std::abort();
  }
}

// The path that the database had when it was recorded stands in a file of it.
std::string moved(const std::string& bytes, const std::string& to) {
  const std::size_t at = bytes.find(std::string("/") + kDatabase + "/memory");
  return at == bytes.npos ? bytes : to + bytes.substr(at);
}

std::string garbage(Random& random, std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    const std::uint64_t word = random();
    std::memcpy(bytes.data() + i, &word, 8);
  }
  return bytes;
}

// Shared memory of a session, its boot's id changed: it is of an earlier boot to everybody who looks.
std::string region_of_earlier_boot(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  const std::size_t at = offsetof(hf::txn::RegionHeader, boot_id);
  if (bytes.size() > at) bytes[at] = bytes[at] == '0' ? '1' : '0';
  return bytes;
}

// What may be left of shared memory: nothing, files of any length with nothing in them or with garbage, or all of the
// region (never with this boot's id: a power failure ends the boot).
void leave_memory(const std::string& database, const std::string& region, Random& random) {
  constexpr const char* kNames[] = {"memory/control", "memory/locks", "memory/overlay-1.hfo", "base/lock.mdb",
                                    "liveness"};
  std::error_code ignored;
  if (random() % 4 != 0) fs::create_directory(database + "/memory", ignored);
  for (const char* name : kNames) {
    const std::uint64_t dice = random() % 4;
    const std::string path = database + "/" + name;
    if (dice == 0 || !fs::exists(fs::path(path).parent_path())) continue;
    if (dice == 3 && random() % 4 == 0 && path.ends_with("control") && !region.empty()) {
      write_file(path, region);
      continue;
    }
    write_file(path, dice == 1 ? std::string() : dice == 2 ? std::string(8192, '\0') : garbage(random, 8192));
  }
}

}  // namespace

// --- what was promised ---------------------------------------------------------------------------------------------

Promises::Promises(const std::vector<const Event*>& events, History* history) {
  for (const Event* event : events) {
    if (event->kind == Kind::kCommit && event->file != 0) history->add(event->file, decode(event->path()));
  }
  place_table_changes(events, history);
  Csn newest = 0;
  for (const Event* event : events) {
    if (event->kind != Kind::kAck) continue;
    newest = std::max(newest, event->file);
    required_[event->begin] = newest;
  }
  if (const Csn gap = history->first_gap(); gap != 0) wrong_ = "commit " + std::to_string(gap) + " is nobody's";
}

// The csns that no other thread had, between the newest commit before and after the change, are its own; what it did is
// visible with the last of them. The acknowledgement follows it in the recording.
void Promises::place_table_changes(const std::vector<const Event*>& events, History* history) {
  for (const Event* event : events) {
    if (event->kind != Kind::kCommit || event->file != 0) continue;
    Csn last = 0;
    for (Csn csn = event->offset + 1; csn <= event->size; ++csn) {
      if (history->has(csn)) continue;
      history->add(csn, {});
      last = csn;
    }
    Changes changes = decode(event->path());
    if (last != 0) {
      const_cast<Event*>(event)->file = last;
      history->add(last, std::move(changes));
    } else if (!changes.empty()) {
      wrong_ = "a change of tables has no csn";
    }
  }
}

Csn Promises::required_at(std::uint64_t number) const {
  const auto next = required_.upper_bound(number);
  return next == required_.begin() ? 0 : std::prev(next)->second;
}

// --- kinds of cuts -------------------------------------------------------------------------------------------------

int kind_of(const Event* event, bool ended) noexcept {
  if (event == nullptr) return 0;
  const Area area = area_of(event->path());
  switch (event->kind) {
    case Kind::kWrite:
      if (area == Area::kLog && event->offset == 0 && !event->zeros) return 15;
      if (area == Area::kLog) return event->zeros && event->size > 4096 ? 1 : 2;
      if (area == Area::kBase) return event->synced ? 5 : 4;
      return 7;
    case Kind::kSync:
      if (area == Area::kRoot) return 7;
      return (area == Area::kLog ? 3 : 6) + (ended ? 8 : 0);
    case Kind::kSyncDirectory:
      return ended ? 13 : 8;
    case Kind::kAllocate:
    case Kind::kTruncate:
      return 12;
    default:
      return area == Area::kRoot ? 9 : 10;
  }
}

const char* name_of_kind(int kind) noexcept {
  constexpr const char* kNames[kKinds] = {"before anything",
                                          "log zero fill",
                                          "log write",
                                          "log sync begun",
                                          "base page write",
                                          "base meta write",
                                          "base sync begun",
                                          "identity, session",
                                          "directory sync begun",
                                          "name in the root",
                                          "name in log, base",
                                          "log sync ended",
                                          "length",
                                          "directory synced",
                                          "base sync ended",
                                          "segment header write"};
  return kNames[kind];
}

// --- recovering ----------------------------------------------------------------------------------------------------

Recovery::Recovery(std::string root, const std::string& region_copy, Tally& tally)
    : root_(std::move(root)), region_(region_of_earlier_boot(region_copy)), tally_(tally) {}

// `random` decides what is left of shared memory; null: nothing.
void Recovery::materialize(const Image& image, const std::string& to, Random* random) const {
  const io::Unobserved unobserved;
  fs::remove_all(to + "/" + kDatabase);
  for (const std::string& directory : image.directories) fs::create_directory(to + "/" + directory);
  for (const auto& [path, bytes] : image.files) {
    const bool names_path = path.find("session") != path.npos;
    write_file(to + "/" + path, names_path ? moved(bytes, root_) : bytes);
  }
  if (random != nullptr && image.directories.contains(kDatabase)) leave_memory(to + "/" + kDatabase, region_, *random);
}

std::string Recovery::open_and_look(const std::shared_ptr<const History>& history, Csn required, hf_db** db, Csn* found,
                                    bool background) {
  const hf_open_options options = small_options(background);
  hf_error error = HF_ERROR_INIT;
  ++tally_.opens;
  if (const int code = hf_open((root_ + "/" + kDatabase).c_str(), &options, db, &error); code != HF_OK) {
    return std::string("hf_open answered ") + hf_code_name(code) + ": " + error.message;
  }
  hf_stats stats{};
  stats.size = sizeof stats;
  if (const int code = hf_stat(*db, &stats); code != HF_OK) return "hf_stat: " + describe(*db, code);
  *found = stats.csn_published;
  if (stats.csn_durable < stats.csn_published) return "what was recovered is not called durable";
  if (*found < required || *found > history->last()) {
    return "it recovered to commit " + std::to_string(*found) + "; " + std::to_string(required) +
           " was acknowledged, " + std::to_string(history->last()) + " is the last there was";
  }
  std::uint64_t rows = 0;
  std::string wrong = compare(*db, history->at(*found), &rows);
  tally_.rows_compared += rows;
  if (!wrong.empty()) wrong = "at commit " + std::to_string(*found) + ": " + wrong;
  return wrong;
}

// One open, a few commits, a close. With a recorder all of it is recorded; *opened_at is then the number of hf_open's
// return. *next is what there is afterwards.
std::string Recovery::live(const std::shared_ptr<const History>& history, Csn required, Random& random,
                           Recorder* recorder, std::uint64_t* opened_at, Arena* arena, std::shared_ptr<History>* next) {
  hf_db* db = nullptr;
  Csn found = 0;
  const bool background = recorder == nullptr && random() % 16 == 0;
  std::string wrong = open_and_look(history, required, &db, &found, background);
  if (wrong.empty()) {
    tally_.commits_required += required;
    tally_.commits_found += found;
    *next = std::make_shared<History>(history, found);
    if (recorder != nullptr) {
      *opened_at = arena->next_number();
      recorder->acknowledge(found);
    }
    wrong = run_few(db, random, static_cast<int>(recorder != nullptr ? 2 + random() % 5 : random() % 3), next->get(),
                    recorder);
    tally_.commits_made += (*next)->last() - found;
  }
  const bool record_close = random() % 2 == 0;
  if (recorder != nullptr && !record_close) recorder->stop();
  const int code = hf_close(&db);
  if (recorder != nullptr) recorder->stop();
  if (wrong.empty() && code != HF_OK) wrong = std::string("hf_close answered ") + hf_code_name(code);
  return wrong;
}

std::string Recovery::check(const Image& image, const std::shared_ptr<const History>& history, Csn required,
                            Random& random, int depth) {
  ++tally_.states[depth];
  materialize(image, root_, &random);
  const bool again = depth + 1 < kDepthMax && random() % (depth == 0 ? 10 : 3) == 0;
  std::shared_ptr<History> next;
  std::uint64_t opened_at = 0;
  std::string wrong;
  if (again) {
    Arena arena(kArenaSize);
    Recorder recorder(root_, arena, 0);
    recorder.start();
    wrong = live(history, required, random, &recorder, &opened_at, &arena, &next);
    recorder.stop();
    if (wrong.empty()) return cut_again(image, arena, next, required, opened_at, random, depth);
  } else {
    wrong = live(history, required, random, nullptr, &opened_at, nullptr, &next);
    if (wrong.empty() && random() % 8 == 0) wrong = open_once_more(next);
  }
  if (wrong.empty()) return "";
  const std::string kept = root_ + "/kept";
  fs::create_directory(kept);
  materialize(image, kept, nullptr);
  return "depth " + std::to_string(depth) + ": " + wrong;
}

// What was left in good order opens as well.
std::string Recovery::open_once_more(const std::shared_ptr<const History>& history) {
  hf_db* db = nullptr;
  Csn found = 0;
  const std::string wrong = open_and_look(history, history->last(), &db, &found, false);
  hf_close(&db);
  return wrong.empty() ? "" : "after a clean close: " + wrong;
}

// Cuts of the life that was recorded, which began with `image`. Half of them before hf_open had returned.
std::string Recovery::cut_again(const Image& image, const Arena& arena, const std::shared_ptr<History>& history,
                                Csn required, std::uint64_t opened_at, Random& random, int depth) {
  const std::vector<const Event*> events = arena.events();
  History unused;
  const Promises promises(events, &unused);
  const Disk recorded(image, events);
  const std::uint64_t last = recorded.last_number();
  if (last == 0) return "";
  std::vector<std::uint64_t> points;
  for (int i = 0; i < (depth == 0 ? 6 : 3); ++i) {
    points.push_back(1 + random() % (i % 2 == 0 ? std::min(last, opened_at) : last));
  }
  std::sort(points.begin(), points.end());
  Disk disk = recorded;
  std::string wrong;
  for (const std::uint64_t point : points) {
    disk.advance(point);
    ++(point < opened_at ? tally_.in_recovery : tally_.after_recovery);
    wrong = check(disk.after_cut(random), history, std::max(required, promises.required_at(point)), random, depth + 1);
    if (!wrong.empty()) return "cut again at " + std::to_string(point) + " of " + std::to_string(last) + ": " + wrong;
  }
  return wrong;
}

}  // namespace torture::power
