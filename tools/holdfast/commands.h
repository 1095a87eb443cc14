// SPDX-License-Identifier: Apache-2.0
// The commands of `holdfast`, and how they share a command line. Each command lives in a file of its own or with its
// kin, and is added by a function that is named here.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "encoding.h"

namespace tool {

// Groups of commands in --help.
inline constexpr const char* kRowGroup = "Rows";
inline constexpr const char* kWatchGroup = "Watching";
inline constexpr const char* kKeepGroup = "Keeping";
inline constexpr const char* kOtherGroup = "Other";

struct CommandText {
  const char* name;
  const char* group;
  const char* summary;   // one line
  const char* examples;  // one per line
};

class Commands {
 public:
  Commands();
  // `run` answers the exit code; it may throw Failure.
  CLI::App& add(const CommandText& text, std::function<int()> run);
  // Parses and runs; answers the exit code.
  int run(int argc, char** argv);
  const CLI::App& root() const noexcept { return root_; }

 private:
  CLI::App root_;
  std::function<int()> chosen_;
};

void add_table_commands(Commands& commands);     // create, tables
void add_row_commands(Commands& commands);       // get, put, delete
void add_scan_command(Commands& commands);       // scan
void add_dump_command(Commands& commands);       // dump
void add_load_command(Commands& commands);       // load
void add_stat_command(Commands& commands);       // stat
void add_locks_command(Commands& commands);      // locks
void add_top_command(Commands& commands);        // top
void add_processes_command(Commands& commands);  // processes
void add_check_command(Commands& commands);      // check
void add_backup_commands(Commands& commands);    // backup, restore
void add_compact_command(Commands& commands);    // compact
void add_log_command(Commands& commands);        // log
void add_bench_command(Commands& commands);      // bench
void add_completion_command(Commands& commands);

// What every command on a database takes.
struct Common {
  std::string directory;
  bool json = false;
  bool verbose = false;
  std::uint64_t timeout_ms = 0;  // 0: the library's defaults
  std::string memory_directory;
  std::uint64_t map_size = 0;
};
// DIR, --json, --verbose.
void add_common(CLI::App& app, Common& common, const char* directory_text = "Directory of the database");
// --timeout, --memory-directory, --map-size, of commands that open the database as one of its processes.
void add_open_options(CLI::App& app, Common& common);

// For options that take one of some words.
CLI::Validator one_of(std::vector<std::string> words);
void add_encoding(CLI::App& app, Encoding& encoding, bool with_raw);
void add_durability(CLI::App& app, std::uint32_t& durability);
CLI::Option* add_duration(CLI::App& app, const std::string& name, std::uint64_t& duration_ms, const std::string& text);
CLI::Option* add_time(CLI::App& app, const std::string& name, std::uint64_t& time_ms, const std::string& text);
CLI::Option* add_size(CLI::App& app, const std::string& name, std::uint64_t& size, const std::string& text);

}  // namespace tool
