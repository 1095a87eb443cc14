// SPDX-License-Identifier: Apache-2.0
// A process commits one row at a time, without waiting for the disk and without any merge, until the log is as large as
// wanted, and is killed in the middle. Then the database is opened by a new process, and it is checked that everything
// that was answered is there: such commits survive the death of a process.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include "workers.h"
#include "workloads.h"

namespace hf::bench {
namespace {

constexpr std::uint64_t kOverlaySize = std::uint64_t{1} << 30;  // bytes; room for a log that is never merged
constexpr std::uint64_t kCommitsToEstimate = 20'000;            // enough to know a record's size to a percent

// Bytes up to the last one that is not zero. A segment that was never recycled is zero behind its records.
std::uint64_t used_bytes(int directory, const char* name) {
  const int fd = openat(directory, name, O_RDONLY | O_CLOEXEC);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) != 0) fail("cannot open %s: %s", name, std::strerror(errno));
  const auto size = static_cast<std::size_t>(status.st_size);
  std::size_t used = size;
  if (size > 0) {
    void* memory = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) fail("cannot map %s: %s", name, std::strerror(errno));
    const char* bytes = static_cast<const char*>(memory);
    while (used > 0 && bytes[used - 1] == 0) --used;
    munmap(memory, size);
  }
  close(fd);
  return used;
}

std::uint64_t log_bytes_used(const std::string& directory) {
  const std::string path = directory + "/log";
  if (access(path.c_str(), F_OK) != 0) return 0;  // no database yet
  DIR* listing = opendir(path.c_str());
  if (listing == nullptr) fail("cannot list %s: %s", path.c_str(), std::strerror(errno));
  std::uint64_t total = 0;
  while (const dirent* entry = readdir(listing)) {
    const std::string_view name = entry->d_name;
    if (name.starts_with("log-") && name.ends_with(".hfl")) total += used_bytes(dirfd(listing), entry->d_name);
  }
  closedir(listing);
  return total;
}

OpenMode mode() { return OpenMode{.relaxed = true, .keep_unmerged = true, .overlay_bytes_max = kOverlaySize}; }

template <class Side>
void write_until_killed(const Options& options, Control& control) {
  Side side(options.directory, mode());
  side.make_table();
  typename Side::Writer writer(side);
  Random random(kSeed);
  Value value;
  control.csn.store(side.figures().csn, std::memory_order_relaxed);
  control.ready.fetch_add(1, std::memory_order_release);
  for (std::uint64_t done = 0;;) {
    const std::uint64_t row = random.below(options.rows);
    value.stamp(row, done);
    writer.put(Key(row), value);
    control.slots[0].done.store(++done, std::memory_order_release);
    // Stands still while the log is looked at, so that what was counted is what is in the files.
    if (done == kCommitsToEstimate) side.flush();
    while (done == kCommitsToEstimate && control.go.load(std::memory_order_acquire) == 0) sleep_ns(100'000);
  }
}

template <class Side>
void open_again(const Options& options, std::uint64_t csn_least, Control& control) {
  const std::uint64_t begin_ns = now_ns();
  Side side(options.directory, mode());
  control.elapsed_ns.store(now_ns() - begin_ns, std::memory_order_relaxed);
  const std::uint64_t csn = side.figures().csn;
  if (csn_least > 0 && csn < csn_least) {
    fail("recovery lost commits: %llu answered, %llu found", static_cast<unsigned long long>(csn_least),
         static_cast<unsigned long long>(csn));
  }
}

std::uint64_t wait_for_commits(const Control& control, Children& children, std::uint64_t count) {
  std::uint64_t done;
  while ((done = control.slots[0].done.load(std::memory_order_acquire)) < count) {
    children.check_running();
    sleep_ns(500'000);
  }
  return done;
}

}  // namespace

int run_recovery(const Options& options) {
  return with_side(options, [&]<class Side>() {
    const bool has_log = options.engine == HoldfastSide::kName;
    const std::uint64_t before = has_log ? log_bytes_used(options.directory) : 0;
    SharedControl control;
    Children writer;
    writer.start([&] { write_until_killed<Side>(options, *control); });
    wait_ready(*control, writer, 1);
    std::uint64_t done = wait_for_commits(*control, writer, kCommitsToEstimate);
    if (has_log) {
      const std::uint64_t bytes = log_bytes_used(options.directory) - before;
      if (bytes == 0) fail("the log does not grow");
      control->go.store(1, std::memory_order_release);
      done = wait_for_commits(*control, writer, (options.log_mib << 20) * done / bytes);
    }
    writer.kill_all();
    done = control->slots[0].done;
    const std::uint64_t log_bytes = has_log ? log_bytes_used(options.directory) : 0;
    const std::uint64_t csn_least = has_log ? control->csn + done : 0;

    Children opener;
    opener.start([&] { open_again<Side>(options, csn_least, *control); });
    opener.wait_all();

    Report report;
    report.text("engine", options.engine);
    report.text("sync", "relaxed");
    report.count("commits", done);
    report.count("log_bytes", log_bytes);
    report.number("seconds", static_cast<double>(control->elapsed_ns.load()) / 1e9);
    report.print();
    return 0;
  });
}

}  // namespace hf::bench
