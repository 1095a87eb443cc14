// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share. Each target is one file, fuzz_<name>.cc, with one function of the shape that libFuzzer
// calls; it opens with what is hostile, what must hold, and what the harness makes right so that the fuzzer gets past
// the checksums. The same function is run over the corpus by replay.cc, in every build with tests.
//
// A demand that does not hold aborts, which libFuzzer keeps as a crash.
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "base/bytes.h"
#include "base/status.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace hf::fuzz {

[[noreturn]] inline void fail(const std::string& what) {
  std::fprintf(stderr, "fuzz: %s\n", what.c_str());
  std::abort();
}
inline void demand(bool holds, const std::string& what) {
  if (!holds) fail(what);
}

// Reads decisions off the fuzzer's bytes. Past the end everything is 0, so that a shortened input still means
// something.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(reinterpret_cast<const char*>(data)), left_(size) {}

  bool empty() const { return left_ == 0; }
  std::size_t left() const { return left_; }
  std::uint8_t u8() { return number<std::uint8_t>(); }
  std::uint16_t u16() { return number<std::uint16_t>(); }
  std::uint32_t u32() { return number<std::uint32_t>(); }
  std::uint64_t u64() { return number<std::uint64_t>(); }
  std::uint32_t below(std::uint32_t end) { return end <= 256 ? u8() % end : u32() % end; }
  bool one_in(std::uint32_t n) { return below(n) == n - 1; }  // rare where bytes are 0
  std::string bytes(std::size_t size) {
    size = std::min(size, left_);
    std::string taken(data_, size);
    skip(size);
    return taken;
  }
  std::string rest() { return bytes(left_); }

 private:
  template <class Number>
  Number number() {
    Number value = 0;
    const std::size_t size = std::min(sizeof value, left_);
    std::memcpy(&value, data_, size);
    skip(size);
    return value;
  }
  void skip(std::size_t size) {
    data_ += size;
    left_ -= size;
  }

  const char* data_;
  std::size_t left_;
};

// A directory of this process, removed at exit: in memory where there is such a file system, because fuzzing is all
// small files; or where HOLDFAST_FUZZ_SCRATCH says.
class Scratch {
 public:
  Scratch() {
    const char* const given = getenv("HOLDFAST_FUZZ_SCRATCH");
    path_ = given != nullptr ? given : std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
    path_ += "/holdfast-fuzz-XXXXXX";
    demand(mkdtemp(path_.data()) != nullptr, "no scratch directory");
  }
  ~Scratch() {
    std::error_code ignored;
    if (getpid() == owner_) std::filesystem::remove_all(path_, ignored);
  }
  Scratch(const Scratch&) = delete;
  const std::string& path() const { return path_; }
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
  pid_t owner_ = getpid();
};

inline void write_file(const std::string& path, const std::string& data) {
  std::ofstream(path, std::ios::binary) << data;
}
inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

using Files = std::map<std::string, std::string>;

// Names and contents of the regular files in one directory.
inline Files read_files(const std::string& directory) {
  Files files;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.is_regular_file()) files[entry.path().filename()] = read_file(entry.path());
  }
  return files;
}
// Makes them the only ones.
inline void write_files(const std::string& directory, const Files& files) {
  for (const auto& entry : std::filesystem::directory_iterator(directory)) std::filesystem::remove_all(entry.path());
  for (const auto& [name, data] : files) write_file(directory + "/" + name, data);
}

template <class Value>
void append(std::string* out, const Value& value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace hf::fuzz
