// SPDX-License-Identifier: Apache-2.0
// One process makes a database and stays; a second one joins. Each is a fresh process, because a program opens once.
#include "workers.h"
#include "workloads.h"

namespace hf::bench {
namespace {

template <class Side>
void open_and_stay(const Options& options, Control& control) {
  const std::uint64_t begin_ns = now_ns();
  Side side(options.directory, OpenMode{});
  control.elapsed_ns.store(now_ns() - begin_ns, std::memory_order_relaxed);
  control.ready.fetch_add(1, std::memory_order_release);
  while (control.stop.load(std::memory_order_relaxed) == 0) sleep_ns(1'000'000);
}

}  // namespace

int run_open(const Options& options) {
  return with_side(options, [&]<class Side>() {
    make_directory(options.directory);
    SharedControl control;
    Children children;
    children.start([&] { open_and_stay<Side>(options, *control); });
    wait_ready(*control, children, 1);
    const std::uint64_t create_ns = control->elapsed_ns;
    const DiskUse use = disk_use(options.directory);
    children.start([&] { open_and_stay<Side>(options, *control); });
    wait_ready(*control, children, 2);
    const std::uint64_t join_ns = control->elapsed_ns;
    control->stop.store(1, std::memory_order_relaxed);
    children.wait_all();

    Report report;
    report.text("engine", options.engine);
    report.number("create_ms", static_cast<double>(create_ns) / 1e6);
    report.number("join_ms", static_cast<double>(join_ns) / 1e6);
    report.count("directory_bytes", use.allocated);
    report.count("directory_bytes_apparent", use.apparent);
    report.print();
    return 0;
  });
}

}  // namespace hf::bench
