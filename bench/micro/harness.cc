// SPDX-License-Identifier: Apache-2.0
#include "harness.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <system_error>

namespace hf::bench {

void fail(const char* format, ...) {
  std::fputs("holdfast_bench: ", stderr);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputc('\n', stderr);
  std::fflush(nullptr);
  _exit(1);
}

std::uint64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(now.tv_nsec);
}

void sleep_ns(std::uint64_t ns) {
  timespec left{static_cast<time_t>(ns / 1'000'000'000u), static_cast<long>(ns % 1'000'000'000u)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

Value::Value() {
  Random random(kSeed);
  for (unsigned char& byte : bytes_) byte = static_cast<unsigned char>(random.next() >> 56);
}

void Value::stamp(std::uint64_t row, std::uint64_t generation) {
  std::memcpy(bytes_, &row, sizeof row);
  std::memcpy(bytes_ + sizeof row, &generation, sizeof generation);
}

std::uint64_t Value::row_of(const void* data) {
  std::uint64_t row;
  std::memcpy(&row, data, sizeof row);
  return row;
}

std::uint64_t Value::generation_of(const void* data) {
  std::uint64_t generation;
  std::memcpy(&generation, static_cast<const char*>(data) + sizeof generation, sizeof generation);
  return generation;
}

void Report::name(std::string_view name) {
  if (!fields_.empty()) fields_ += ", ";
  fields_.append("\"").append(name).append("\": ");
}

void Report::text(std::string_view name_of_field, std::string_view value) {
  name(name_of_field);
  fields_ += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') fields_ += '\\';
    fields_ += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  fields_ += '"';
}

void Report::number(std::string_view name_of_field, double value) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, "%.9g", value);
  name(name_of_field);
  fields_ += buffer;
}

void Report::count(std::string_view name_of_field, std::uint64_t value) {
  name(name_of_field);
  fields_ += std::to_string(value);
}

void Report::counts(std::string_view name_of_field, const std::uint64_t* values, std::size_t size) {
  name(name_of_field);
  fields_ += '[';
  for (std::size_t i = 0; i < size; ++i) fields_.append(i == 0 ? "" : ", ").append(std::to_string(values[i]));
  fields_ += ']';
}

void Report::print() const {
  std::printf("{%s}\n", fields_.c_str());
  std::fflush(stdout);
}

DiskUse disk_use(const std::string& directory) {
  DiskUse use;
  std::error_code error;
  // A file may vanish while it is looked at: segments come and go.
  for (std::filesystem::recursive_directory_iterator entry(directory, error), end; entry != end;
       entry.increment(error)) {
    if (error) break;
    struct stat status;
    if (lstat(entry->path().c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    use.allocated += static_cast<std::uint64_t>(status.st_blocks) * 512;
    use.apparent += static_cast<std::uint64_t>(status.st_size);
  }
  return use;
}

std::uint64_t private_bytes() {
  std::FILE* maps = std::fopen("/proc/self/smaps", "re");
  if (maps == nullptr) fail("cannot open /proc/self/smaps: %s", std::strerror(errno));
  // Per mapping: what is anonymous, but not what a fork still shares with the parent.
  std::uint64_t total_kib = 0, own_kib = 0, anonymous_kib = 0, value = 0;
  char line[512];
  while (std::fgets(line, sizeof line, maps) != nullptr) {
    if (std::sscanf(line, "Private_Clean: %" SCNu64, &value) == 1) own_kib = value;
    if (std::sscanf(line, "Private_Dirty: %" SCNu64, &value) == 1) own_kib += value;
    if (std::sscanf(line, "Anonymous: %" SCNu64, &value) == 1) {
      anonymous_kib = value;
      total_kib += anonymous_kib < own_kib ? anonymous_kib : own_kib;
    }
  }
  std::fclose(maps);
  return total_kib * 1024;
}

void make_directory(const std::string& directory) {
  if (mkdir(directory.c_str(), 0755) != 0) fail("cannot make %s: %s", directory.c_str(), std::strerror(errno));
}

}  // namespace hf::bench
