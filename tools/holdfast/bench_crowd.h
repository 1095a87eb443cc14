// SPDX-License-Identifier: Apache-2.0
// The processes of `holdfast bench`, and the memory that they share. The command itself never opens the database: each
// process that does is a fresh child, so that no handle crosses a fork.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>

#include "bench_shop.h"

namespace tool::bench {

// Latencies in buckets of an eighth of a power of two.
class Histogram {
 public:
  void add(std::uint64_t value_us) noexcept;
  // Upper end of the bucket in which that share of the values ends; 0 when there are none.
  std::uint64_t quantile_us(double share) const noexcept;
  std::uint64_t max_us() const noexcept { return max_us_.load(std::memory_order_relaxed); }

 private:
  static constexpr unsigned kBuckets = 8 * 42;
  std::atomic<std::uint64_t> counts_[kBuckets];
  std::atomic<std::uint64_t> max_us_;
};

// Shared by all processes of a run; relaxed order is enough for figures, `open` carries the start.
struct Board {
  std::atomic<std::uint32_t> ready;  // workers that have the database open
  std::atomic<std::uint32_t> open;   // 1: begin
  std::atomic<std::uint32_t> done;   // workers that have sold their last
  std::atomic<std::uint32_t> stop;   // 1: end now
  std::atomic<std::uint64_t> started_ns;
  std::atomic<std::uint64_t> ended_ns;  // of the last worker
  std::atomic<std::uint64_t> orders;
  std::atomic<std::uint64_t> sold_out;
  std::atomic<std::uint64_t> attempts;
  Histogram latency;  // of orders, retries included
  hf_stats before;    // written by the worker that opens the doors; read when all have ended
  hf_stats after;     // written by the last one, before it leaves: then the counters begin anew
  std::atomic<std::uint32_t> audited;
  std::atomic<std::uint32_t> failures;
  static constexpr std::uint32_t kFailuresShownMax = 10;
  char failure_texts[kFailuresShownMax][120];  // NUL-terminated

  static Board* make();  // lives as long as the process
};

// Runs `work` in a child and waits for it. Ends the command when it fails; it has said why.
void run_in_child(const std::function<void()>& work);
// Runs the sale: `plan.processes` children, until its time is over or a signal comes.
void run_crowd(const std::string& database_path, const Plan& plan, Board& board);

holdfast::Database open_for(const std::string& database_path, const std::string& who, bool make);

}  // namespace tool::bench
