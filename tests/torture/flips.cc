// SPDX-License-Identifier: Apache-2.0
// Flipped bits. Goal: a single wrong bit in a database is found by hf_check, or it is shown to be harmless: every row
// reads as it should, by key and by scan. A damaged row is never handed out with HF_OPEN_VERIFY_READS. hf_check neither
// dies nor hangs, whatever the bit.
//
// Method: two databases with the same history, one closed in order and one whose only process was killed. For each flip
// a copy (or, for shared memory, a process that has one open) gets one bit wrong at a random place of a random area, is
// checked, and then read in full; both in child processes. What LMDB makes of a damaged page when it opens the file is
// counted by itself: only check reads past it.
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>

#include "torture/flips.h"
#include "torture/torture.h"

namespace torture {
namespace {

namespace fs = std::filesystem;
using flips::Checked;
using flips::Place;
using flips::Reading;

struct Figures {
  std::uint64_t flips = 0, found = 0, refused = 0, missing = 0, stale = 0, torn_tail = 0, reader_died = 0;
  std::map<std::string, std::uint64_t> harmless;
};

// What may come of a flip in an area, beside "found, and what is read is right or refused".
struct Area {
  std::string name;
  unsigned share;      // of 100
  bool must_be_found;  // nothing there is harmless
  bool
      reader_may_go_wrong;  // if found: LMDB or the session's own numbers are damaged, which verifying rows cannot mend
};

enum AreaNumber {
  kRowBytes,
  kBaseAnywhere,
  kLogClosed,
  kLogCrashed,
  kMemoryCrashed,
  kSmallFiles,
  kVersions,
  kNodes,
  kControl
};
const Area kAreas[] = {
    {"row bytes of the base", 34, true, false},         {"data.mdb anywhere", 16, false, true},
    {"log of a closed database", 7, false, false},      {"log of a crashed one", 10, false, false},
    {"shared files of a crashed one", 5, false, false}, {"HOLDFAST and session", 2, false, false},
    {"versions in a live overlay", 17, true, false},    {"rows in a live overlay", 5, false, false},
    {"control and locks, live", 4, false, true},
};

class Campaign {
 public:
  Campaign(const Common& common, std::uint64_t seed, const std::string& area)
      : root_(make_directory(common, "flips")),
        flips_(common.pick<std::uint64_t>(500, 2'500, 10'000)),
        only_(area),
        random_(seed) {
    closed_ = root_ + "/closed";
    crashed_ = root_ + "/crashed";
    model_ = flips::make_databases(closed_, crashed_, seed);
    base_ = std::make_unique<flips::BaseMap>(closed_);
  }
  ~Campaign() {
    live_.reset();
    fs::remove_all(root_);
  }

  int run() {
    if (!check_untouched()) return 1;
    for (std::uint64_t i = 0; i < flips_ && failures_ < 20; ++i) one(pick_area());
    print();
    return failures_ == 0 ? 0 : 1;
  }

 private:
  std::uint64_t below(std::uint64_t limit) { return random_() % limit; }

  AreaNumber pick_area() {
    for (int area = 0; !only_.empty() && area <= kControl; ++area) {
      if (kAreas[area].name.find(only_) != std::string::npos) return static_cast<AreaNumber>(area);
    }
    std::uint64_t at = below(100);
    int area = 0;
    while (at >= kAreas[area].share) at -= kAreas[area++].share;
    return static_cast<AreaNumber>(area);
  }

  // Without a flip, everything is right and nothing is found: else the campaign would prove nothing.
  bool check_untouched() {
    bool right = true;
    for (const std::string& database : {closed_, crashed_}) {
      const std::string copy = make_copy(database);
      right &= is_untouched(copy, database);
      fs::remove_all(copy);
    }
    start_live();
    return right && is_untouched(live_path_, "live");
  }
  bool is_untouched(const std::string& path, const std::string& name) {
    const Checked checked = flips::run_check(path);
    const Reading reading = flips::run_reads(path, model_);
    if (checked.finished && checked.code == 0 && reads_all(reading) && checked.rows > 0) return true;
    std::printf("not sound before any flip: %s: check %d %s; reads %s (%llu right, %llu refused)\n", name.c_str(),
                checked.code, checked.first, reading.first, static_cast<unsigned long long>(reading.right),
                static_cast<unsigned long long>(reading.refused));
    return false;
  }
  static bool reads_all(const Reading& reading) {
    return reading.finished && reading.open_code == 0 &&
           reading.refused + reading.wrong + reading.stale + reading.missing + reading.lost_commits == 0;
  }

  std::string make_copy(const std::string& database) {
    std::string copy = root_ + "/copy";
    fs::remove_all(copy);
    fs::copy(database, copy, fs::copy_options::recursive);
    return copy;
  }

  void start_live() {
    live_.reset();
    live_path_ = root_ + "/live";
    fs::remove_all(live_path_);
    fs::copy(crashed_, live_path_, fs::copy_options::recursive);
    live_ = std::make_unique<flips::Holder>(live_path_);
    if (!live_->open()) {
      std::fprintf(stderr, "flips: the live database did not open\n");
      std::exit(2);
    }
    overlay_ = flips::map_overlay(live_path_ + "/memory");
  }

  // --- places ------------------------------------------------------------------------------------------------------

  Place place_in_file(const std::string& database, const std::string& file, std::uint64_t limit,
                      const std::string& what) {
    const std::uint64_t size = fs::file_size(database + "/" + file);
    return {file, below(limit == 0 ? size : std::min(size, limit)), static_cast<int>(below(8)), what};
  }

  std::string any_file(const std::string& directory) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(directory)) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names[below(names.size())];
  }

  Place place_in_log(const std::string& database) {
    const std::string file = "log/" + any_file(database + "/log");
    const std::uint64_t end = flips::log_end(database + "/" + file);
    // Mostly where something is.
    Place place = place_in_file(database, file, below(8) == 0 ? 0 : end, "log");
    place.what = end == 0              ? "log: a segment made ahead of need"
                 : place.offset >= end ? "log: behind the end of the records"
                 : place.offset < 64   ? "log: a segment's header"
                 : place.offset < 4096 ? "log: unused part of a segment's header"
                                       : "log: records";
    return place;
  }

  template <typename Extents>
  Place place_in_overlay(const Extents& extents, const std::string& what) {
    const auto& extent = extents[below(extents.size())];
    return {"memory/" + extent.file, extent.offset + below(extent.size), static_cast<int>(below(8)), what};
  }

  // Where something is, mostly: the numbers that all share (docs/formats.md, "Control region"), the held locks.
  Place place_in_shared() {
    const int bit = static_cast<int>(below(8));
    switch (below(6)) {
      case 0:
        return place_in_file(live_path_, "memory/control", 0, "control region anywhere");
      case 1:
        return {"memory/control", 282'624 + below(320), bit, "control region: transactions"};
      case 2:
        return {"memory/control", 348'480 + below(64 + 2 * 128), bit, "control region: overlay"};
      case 3:
        return {"memory/control", 356'736 + below(448 + 2 * 64), bit, "control region: log"};
      case 4:
        return {"memory/locks", 1'085'440 + below(27 * 128), bit, "lock table: requests"};
      default:
        return place_in_file(live_path_, "memory/locks", 0, "lock table anywhere");
    }
  }

  Place pick_place(AreaNumber area) {
    switch (area) {
      case kRowBytes: {
        const auto& row = base_->row_bytes()[below(base_->row_bytes().size())];
        return {"base/data.mdb", row.offset + below(row.size), static_cast<int>(below(8)), "base: row"};
      }
      case kBaseAnywhere: {
        Place place = place_in_file(closed_, "base/data.mdb", 0, "");
        place.what = base_->what(place.offset);
        return place;
      }
      case kLogClosed:
        return place_in_log(closed_);
      case kLogCrashed:
        return place_in_log(crashed_);
      case kMemoryCrashed: {
        const std::string name = any_file(crashed_ + "/memory");
        return place_in_file(crashed_, "memory/" + name, 0, "memory of a crashed session: made anew");
      }
      case kSmallFiles:
        return below(2) == 0 ? place_in_file(closed_, "HOLDFAST", 0, "HOLDFAST")
                             : place_in_file(crashed_, "session", 0, "session of a crashed database");
      case kVersions:
        return place_in_overlay(overlay_.versions, "overlay: version");
      case kNodes:
        return place_in_overlay(overlay_.nodes, "overlay: row");
      case kControl:
        return place_in_shared();
    }
    return {};
  }

  // --- one flip ----------------------------------------------------------------------------------------------------

  void one(AreaNumber area) {
    const bool is_live = area == kVersions || area == kNodes || area == kControl;
    if (area == kControl) start_live();  // who joins writes there
    const Place place = pick_place(area);
    std::string path = live_path_;
    if (!is_live) {
      const bool closed = area == kRowBytes || area == kBaseAnywhere || area == kLogClosed || place.file == "HOLDFAST";
      path = make_copy(closed ? closed_ : crashed_);
    }
    flips::flip(path, place);
    const Checked checked = flips::run_check(path);
    const Reading reading = flips::run_reads(path, model_);
    if (is_live) flips::flip(path, place);
    if (area == kControl) start_live();
    judge(area, place, checked, reading);
  }

  void judge(AreaNumber number, const Place& place, const Checked& checked, const Reading& reading) {
    const Area& area = kAreas[number];
    Figures& figures = figures_[number];
    ++figures.flips;
    const bool found = checked.finished && checked.code != 0;
    const bool right = reads_all(reading);
    const auto fail = [&](const char* why) {
      ++failures_;
      std::printf(
          "FAILED: %s: %s at %llu bit %d (%s): check %d (signal %d) %s; open %d, signal %d, wrong %llu, stale %llu, "
          "missing %llu, refused %llu, lost %llu: %s\n",
          why, place.file.c_str(), static_cast<unsigned long long>(place.offset), place.bit, place.what.c_str(),
          checked.code, checked.signal, checked.first, reading.open_code, reading.signal,
          static_cast<unsigned long long>(reading.wrong), static_cast<unsigned long long>(reading.stale),
          static_cast<unsigned long long>(reading.missing), static_cast<unsigned long long>(reading.refused),
          static_cast<unsigned long long>(reading.lost_commits), reading.first);
      std::fflush(stdout);
    };
    if (!checked.finished) return fail("check died or hung");
    if (reading.wrong != 0) return fail("wrong data was handed out");
    figures.found += found;
    figures.reader_died += !reading.finished;
    figures.stale += reading.stale != 0;
    figures.missing += reading.missing != 0;
    figures.refused += reading.refused != 0 || reading.open_code != 0;
    if (area.must_be_found && !found) return fail("not found");
    if (found) {
      if (area.reader_may_go_wrong) return;
      if (!reading.finished) return fail("a reader died");
      if (reading.stale != 0) return fail("an old value was handed out");
      return;
    }
    // Nothing was found: then nothing may be wrong. A torn tail is told as such, and costs the last commits only.
    const bool only_tail = reading.finished && reading.open_code == 0 && reading.lost_commits != 0 &&
                           reading.refused + reading.stale + reading.missing == 0;
    if (only_tail && checked.notes != 0) {
      ++figures.torn_tail;
      return;
    }
    if (!right) return fail("neither found nor harmless");
    ++figures.harmless[place.what];
  }

  void print() {
    std::string text = "{\"campaign\": \"flips\", \"flips\": " + std::to_string(flips_) +
                       ", \"failures\": " + std::to_string(failures_) + ", \"areas\": {";
    const char* separator = "";
    for (const auto& [number, f] : figures_) {
      text += separator;
      text += "\"" + kAreas[number].name + "\": {\"flips\": " + std::to_string(f.flips) +
              ", \"found\": " + std::to_string(f.found) + ", \"torn_tail\": " + std::to_string(f.torn_tail) +
              ", \"readers_refused\": " + std::to_string(f.refused) +
              ", \"rows_missing\": " + std::to_string(f.missing) + ", \"rows_stale\": " + std::to_string(f.stale) +
              ", \"readers_died\": " + std::to_string(f.reader_died) + ", \"harmless\": {";
      const char* comma = "";
      for (const auto& [what, count] : f.harmless) {
        text += comma;
        text += "\"" + what + "\": " + std::to_string(count);
        comma = ", ";
      }
      text += "}}";
      separator = ", ";
    }
    std::printf("%s}}\n", text.c_str());
  }

  const std::string root_;
  const std::uint64_t flips_;
  const std::string only_;
  std::mt19937_64 random_;
  std::string closed_, crashed_, live_path_;
  flips::Model model_;
  std::unique_ptr<flips::BaseMap> base_;
  std::unique_ptr<flips::Holder> live_;
  flips::OverlayMap overlay_;
  std::map<AreaNumber, Figures> figures_;
  std::uint64_t failures_ = 0;
};

}  // namespace

void add_flips(CLI::App& app, int* exit_code) {
  CLI::App* command = app.add_subcommand("flips", "single flipped bits, each checked for and read over");
  auto common = add_common(*command);
  auto area = std::make_shared<std::string>();
  command->add_option("--area", *area, "only in the first area whose name holds this text");
  command->callback([=] {
    const std::uint64_t seed = settle_seed(*common);
    *exit_code = Campaign(*common, seed, *area).run();
  });
}

}  // namespace torture
