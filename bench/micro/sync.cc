// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <vector>

#include "workloads.h"

namespace hf::bench {
namespace {

constexpr std::size_t kFileSize = 16u << 20;  // bytes; much more than a run of a few seconds passes over
constexpr std::size_t kWriteSize = 200;       // bytes, about the log record of one row

int make_zero_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) fail("cannot make %s: %s", path.c_str(), std::strerror(errno));
  const std::vector<char> zeros(1u << 20);
  for (std::size_t size = 0; size < kFileSize; size += zeros.size()) {
    if (write(fd, zeros.data(), zeros.size()) != static_cast<ssize_t>(zeros.size()))
      fail("write: %s", std::strerror(errno));
  }
  if (fsync(fd) != 0) fail("fsync: %s", std::strerror(errno));
  return fd;
}

}  // namespace

int run_sync(const Options& options) {
  const std::string path = options.directory + "/sync-test";
  const int fd = make_zero_file(path);
  const std::vector<char> bytes(kWriteSize, 'x');
  std::vector<double> times_us;
  std::size_t offset = 0;
  const std::uint64_t begin_ns = now_ns() + static_cast<std::uint64_t>(options.warmup_seconds * 1e9);
  const std::uint64_t end_ns = begin_ns + static_cast<std::uint64_t>(options.seconds * 1e9);
  while (now_ns() < end_ns) {
    if (pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset)) != static_cast<ssize_t>(kWriteSize)) {
      fail("pwrite: %s", std::strerror(errno));
    }
    const std::uint64_t before_ns = now_ns();
    if (fdatasync(fd) != 0) fail("fdatasync: %s", std::strerror(errno));
    if (before_ns >= begin_ns) times_us.push_back(static_cast<double>(now_ns() - before_ns) / 1e3);
    offset = offset + 2 * kWriteSize <= kFileSize ? offset + kWriteSize : 0;
  }
  close(fd);
  unlink(path.c_str());
  if (times_us.empty()) fail("no fdatasync ended in the time given");

  std::sort(times_us.begin(), times_us.end());
  const double sum_us = std::accumulate(times_us.begin(), times_us.end(), 0.0);
  Report report;
  report.text("workload", "sync");
  report.count("operations", times_us.size());
  report.number("mean_us", sum_us / static_cast<double>(times_us.size()));
  report.number("p50_us", times_us[times_us.size() / 2]);
  report.number("p99_us", times_us[times_us.size() * 99 / 100]);
  report.print();
  return 0;
}

}  // namespace hf::bench
