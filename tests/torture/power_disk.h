// SPDX-License-Identifier: Apache-2.0
// Disk: what a file system may show after a power failure at any moment of a recording.
//
// What is assumed of the file system, and no more (POSIX.1-2017, synchronized I/O completion, as Linux's local file
// systems give it):
//  - fsync or fdatasync of a file that has returned without an error: every byte written, every length set or grown
//    by calls that had returned before the sync was called is there. Nothing is assumed of calls beside it.
//  - A write through a descriptor with O_DSYNC that has returned: that write's own bytes are there, and the file
//    reaches to their end. Earlier writes elsewhere in the file need not be.
//  - fsync of a directory: the names made, changed and removed in it before are there. A sync of a file says nothing
//    about its name; a sync of a directory says nothing about its files.
//  - rename is atomic: both names as before, or both as after.
//  - A disk writes sectors of 512 bytes whole or not at all. A write that touches two of them may be torn between them.
// Everything that no sync covers may be there or not, each write, each sector of it, each change of a length and of a
// name for itself, in whatever order. A file that has grown without its data reads zeros there. Lost names make what
// was behind them unreachable, however well synced it is.
//
// Files that lie in mapped memory (memory/, lock.mdb) are not part of a Disk.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "torture/power_recording.h"

namespace torture::power {

using Random = std::mt19937_64;

// A directory tree, paths relative to the recorder's root.
struct Image {
  std::set<std::string> directories;
  std::map<std::string, std::string> files;
};

// Which unsynced changes made it to the disk. The choice is made anew for every file and directory.
enum class Luck : std::uint8_t {
  kNothing,     // of what was not synced
  kEverything,  // whatever was written is there
  kPrefix,      // in the order written, up to one that is torn
  kWrites,      // each write whole, or not
  kSectors,     // each sector of each write, or not
  kMoments,     // each sector as it stood at some moment: what a cache shows that writes it back late
};
inline constexpr int kLuckCount = 6;

class Disk {
 public:
  // Begins with `start` as what the disk has for sure. The events stay alive as long as this.
  Disk(Image start, const std::vector<const Event*>& events);

  std::uint64_t last_number() const noexcept { return steps_.empty() ? 0 : steps_.back().number; }
  // Goes on to the moment just after that number was taken.
  void advance(std::uint64_t number);
  // The last thing that began or ended before that moment.
  const Event* newest() const noexcept { return newest_; }
  bool newest_ended() const noexcept { return newest_ended_; }

  // What a cut here may leave.
  Image after_cut(Random& random) const;
  // What a machine that stays up has.
  Image as_written() const;

 private:
  struct Change {  // of a file's bytes or length, not known to be on the device as a whole
    const Event* event;
    bool settled;  // it is, but something before it is not
  };
  struct File {
    std::string bytes;  // for sure
    std::deque<Change> changes;
  };
  struct Step {
    std::uint64_t number;
    const Event* event;
    bool is_end;
  };
  static constexpr std::uint64_t kDirectory = UINT64_MAX;
  using Names = std::map<std::string, std::uint64_t>;  // path -> file, or kDirectory

  void begin(const Event& event);
  void end(const Event& event);
  void settle(File* file) noexcept;
  static void apply_name(Names* names, const Event& event, std::uint64_t file);
  std::uint64_t file_of(const Event& event);
  Names names_after_cut(Random& random) const;
  static std::string bytes_of(const File& file, Random* random);
  Image make_image(const Names& names, Random* random) const;  // null: as written

  std::vector<Step> steps_;
  std::size_t next_step_ = 0;
  std::map<std::uint64_t, File> files_;
  std::map<std::uint64_t, std::uint64_t> inodes_;  // inode number -> file that has it now
  std::uint64_t files_made_ = 0;
  Names names_;       // for sure
  Names live_names_;  // as the running machine sees them
  struct NameChange {
    const Event* event;
    std::uint64_t file;
  };
  std::vector<NameChange> name_changes_;
  const Event* newest_ = nullptr;
  bool newest_ended_ = false;
};

}  // namespace torture::power
