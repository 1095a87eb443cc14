// SPDX-License-Identifier: Apache-2.0
// Flipped bits: the parts of the campaign. A database is made by child processes, so that this one never has one open;
// what looks at a damaged copy of it runs in a child too, because it may die.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace torture::flips {

// --- flips_database.cc -------------------------------------------------------------------------------------------

// What the database holds: by table, then key. Every tail commit writes the row "serial" of table "tail", its number.
using Rows = std::map<std::string, std::string>;
using State = std::map<std::string, Rows>;
struct Model {
  State full;                // after all commits
  std::vector<State> after;  // after the first n tail commits; the last is `full`
  std::uint64_t tail_commits() const { return after.size() - 1; }
};
// Makes it twice over from one seed: closed in order at `closed`, and at `crashed` the same with commits that no merge
// has seen, left by a process that was killed.
Model make_databases(const std::string& closed, const std::string& crashed, std::uint64_t seed);

// A process that has the database open and does nothing; the tail commits are in its overlay.
class Holder {
 public:
  explicit Holder(const std::string& path);  // a database of a killed session
  ~Holder();                                 // kills it
  Holder(const Holder&) = delete;
  bool open() const { return open_; }

 private:
  pid_t pid_ = -1;
  bool open_ = false;
};

// --- flips_look.cc -----------------------------------------------------------------------------------------------

struct Checked {
  bool finished = false;  // else it died or hung
  int signal = 0;
  int code = 0;
  std::uint64_t findings = 0, notes = 0;
  char first[512] = {};  // of the findings; else of the notes
  std::uint64_t overlay_versions = 0, rows = 0, log_records = 0;
};
Checked run_check(const std::string& path);

struct Reading {
  bool finished = false;
  int signal = 0;
  int open_code = 0;
  std::uint64_t right = 0, refused = 0;  // refused: answered with an error
  std::uint64_t wrong = 0;               // a value that is none of the row's
  std::uint64_t stale = 0;               // one that the row had before
  std::uint64_t missing = 0;             // said to be absent
  std::uint64_t lost_commits = 0;        // tail commits that recovery cut off
  char first[512] = {};
};
// Opens with HF_OPEN_VERIFY_READS and reads all, by key and by cursor.
Reading run_reads(const std::string& path, const Model& model);

// --- flips_places.cc ---------------------------------------------------------------------------------------------

struct Place {
  std::string file;  // below the database directory
  std::uint64_t offset;
  int bit;
  std::string what;
};
// Of data.mdb of a sound database: what each byte is.
class BaseMap {
 public:
  explicit BaseMap(const std::string& path);
  std::string what(std::uint64_t offset) const;
  struct Extent {
    std::uint64_t offset, size;
  };
  const std::vector<Extent>& row_bytes() const { return rows_; }  // key, head and value of each row
  std::uint64_t size() const { return kinds_.size(); }

 private:
  std::vector<std::uint8_t> kinds_;
  std::vector<std::string> names_;
  std::vector<Extent> rows_;
};
// Of the overlay segment files of a live session: the bytes of versions, and of the nodes with their keys.
struct OverlayMap {
  struct Extent {
    std::string file;
    std::uint64_t offset, size;
  };
  std::vector<Extent> versions, nodes;
};
OverlayMap map_overlay(const std::string& memory);
// Bytes of a log segment up to the end of its last whole record; 0: none.
std::uint64_t log_end(const std::string& file);

void flip(const std::string& directory, const Place& place);

}  // namespace torture::flips
