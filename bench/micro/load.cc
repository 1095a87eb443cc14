// SPDX-License-Identifier: Apache-2.0
#include "workloads.h"

namespace hf::bench {

int run_load(const Options& options) {
  return with_side(options, [&]<class Side>() {
    make_directory(options.directory);
    std::uint64_t elapsed_ns = 0;
    {
      Side side(options.directory, OpenMode{});
      side.make_table();
      const std::uint64_t begin_ns = now_ns();
      side.load(options.rows);
      elapsed_ns = now_ns() - begin_ns;
    }
    const double seconds = static_cast<double>(elapsed_ns) / 1e9;
    Report report;
    report.text("engine", options.engine);
    report.text("sync", "durable");
    report.count("rows", options.rows);
    report.number("seconds", seconds);
    report.number("rate", static_cast<double>(options.rows) / seconds);
    report.count("directory_bytes", disk_use(options.directory).allocated);
    report.print();
    return 0;
  });
}

}  // namespace hf::bench
