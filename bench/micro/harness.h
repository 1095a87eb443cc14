// SPDX-License-Identifier: Apache-2.0
// What every benchmark here shares: the data set, options of the command line, clocks, and how a result is printed.
//
// The data set is the same for every engine: `rows` rows, key = row number as 8 bytes big-endian, value of 100 bytes
// that follows from the row number and a generation. Random rows come from seeded generators, so two runs do the same.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace hf::bench {

inline constexpr std::size_t kKeySize = 8;      // bytes
inline constexpr std::size_t kValueSize = 100;  // bytes
inline constexpr const char* kTableName = "rows";
inline constexpr std::uint64_t kSeed = 0x486f6c6466617374;  // any fixed number

struct Options {
  std::string engine = "holdfast";  // or "lmdb"
  std::string directory;            // of the database, or where databases are made
  std::uint64_t rows = 1'000'000;
  std::uint64_t overlay_rows = 100'000;  // rows changed and not merged, where a workload wants some
  std::uint64_t log_mib = 256;           // log to recover
  unsigned processes = 1;
  unsigned threads = 1;  // of each process
  double seconds = 3.0;  // measured, after the warm-up
  double warmup_seconds = 0.5;
  bool relaxed = false;     // commits do not wait for the disk
  bool memory = false;      // also watch the private memory of the processes; costs speed
  bool strict = false;      // locks in exact order of arrival
  bool optimistic = false;  // no locks asked for: hf_transact
  unsigned kills = 100;     // of holders of a lock
};

// Prints a message and ends the process without running destructors: other threads may be in the engine.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

std::uint64_t now_ns();
void sleep_ns(std::uint64_t ns);

// xorshift64*, seeded by splitmix64: a few instructions, so that it costs the same nothing on every side.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(mix(seed + 0x9e3779b97f4a7c15)) {}

  std::uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1d;
  }
  // Uniform in [0, bound), by multiplication instead of division.
  std::uint64_t below(std::uint64_t bound) {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64);
  }

 private:
  static std::uint64_t mix(std::uint64_t value) {
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    value ^= value >> 31;
    return value != 0 ? value : 1;  // zero is the one state that never changes
  }
  std::uint64_t state_;
};

struct Key {
  explicit Key(std::uint64_t row) {
    for (std::size_t i = 0; i < kKeySize; ++i) bytes[i] = static_cast<unsigned char>(row >> (8 * (kKeySize - 1 - i)));
  }
  unsigned char bytes[kKeySize];
};

// A value buffer that is made once and stamped per row, so that making data does not hide what is measured.
class Value {
 public:
  Value();
  void stamp(std::uint64_t row, std::uint64_t generation);
  const unsigned char* data() const { return bytes_; }
  // What a value was stamped with.
  static std::uint64_t row_of(const void* data);
  static std::uint64_t generation_of(const void* data);

 private:
  unsigned char bytes_[kValueSize];
};

// One line of JSON on stdout, built field by field.
class Report {
 public:
  void text(std::string_view name, std::string_view value);
  void number(std::string_view name, double value);
  void count(std::string_view name, std::uint64_t value);
  void counts(std::string_view name, const std::uint64_t* values, std::size_t size);
  void print() const;

 private:
  void name(std::string_view name);
  std::string fields_;
};

struct DiskUse {
  std::uint64_t allocated = 0;  // bytes of blocks, as du counts
  std::uint64_t apparent = 0;   // bytes of file lengths
};
// Of all regular files directly in the directory.
DiskUse disk_use(const std::string& directory);

// Memory of this process that no other process shares and no file backs: what it costs to have it run.
std::uint64_t private_bytes();

// mkdir of one level; fails when it exists, so that no measurement runs on somebody's data.
void make_directory(const std::string& directory);

}  // namespace hf::bench
