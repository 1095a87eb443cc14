// SPDX-License-Identifier: Apache-2.0
// Reads in one thread: point reads inside a snapshot, begin + point read + end, full scans. Google Benchmark decides
// how often; its random interleaving spreads both sides over the same time, so a slow moment of the machine hits both.
//
// Databases, made on first use and kept until the end: `plain` of each side with the data set, and `changed` of
// Holdfast with options.overlay_rows of its rows changed and kept in the overlay. LMDB has one state only.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <tuple>
#include <vector>

#include "workloads.h"

namespace hf::bench {
namespace {

constexpr std::size_t kBatch = 1000;  // rows of one transaction that fills the overlay
constexpr std::uint64_t kRowsChecked = 10'000;

// Distinct rows in random order: the first ones of a shuffle.
std::vector<std::uint64_t> distinct_rows(std::uint64_t rows, std::uint64_t count) {
  if (count > rows) fail("more rows to change than there are");
  std::vector<std::uint64_t> all(rows);
  std::iota(all.begin(), all.end(), 0);
  Random random(kSeed + 1);
  for (std::uint64_t i = 0; i < count; ++i) std::swap(all[i], all[i + random.below(rows - i)]);
  all.resize(count);
  return all;
}

// Faults the memory in, and sees that what is read is what was written.
template <class Side>
void check_and_warm(Side& side, std::uint64_t rows) {
  typename Side::Reader reader(side);
  reader.begin();
  unsigned touched = 0;
  const std::uint64_t found = reader.scan(&touched);
  benchmark::DoNotOptimize(touched);
  if (found != rows) fail("%s: a scan found %llu rows", Side::kName, static_cast<unsigned long long>(found));
  Random random(kSeed + 2);
  for (std::uint64_t i = 0; i < kRowsChecked; ++i) {
    const std::uint64_t row = random.below(rows);
    if (reader.get(Key(row)) != (row & 0xff)) fail("%s: a row has a wrong value", Side::kName);
  }
  reader.end();
}

template <class Side>
std::unique_ptr<Side> make_side(const Options& options, bool changed) {
  const std::string directory = options.directory + "/" + Side::kName + (changed ? "-changed" : "-plain");
  make_directory(directory);
  auto side = std::make_unique<Side>(directory, OpenMode{.keep_unmerged = true});
  side->make_table();
  side->load(options.rows);
  side->merge_all();
  if (changed) {
    const std::vector<std::uint64_t> rows = distinct_rows(options.rows, options.overlay_rows);
    for (std::size_t i = 0; i < rows.size(); i += kBatch) {
      side->write_batch(&rows[i], std::min(kBatch, rows.size() - i), 1);
    }
    const std::uint64_t kept = side->rows_unmerged();
    if (kept < options.overlay_rows) {
      fail("only %llu of %llu changed rows are in the overlay", static_cast<unsigned long long>(kept),
           static_cast<unsigned long long>(options.overlay_rows));
    }
  }
  check_and_warm(*side, options.rows);
  return side;
}

// Each made when it is first asked for; all closed together.
class Databases {
 public:
  explicit Databases(const Options& options) : options_(options) {}

  template <class Side>
  Side& get(bool changed) {
    std::unique_ptr<Side>& side = std::get<Map<Side>>(sides_)[changed];
    if (!side) side = make_side<Side>(options_, changed);
    return *side;
  }
  std::uint64_t rows() const { return options_.rows; }

 private:
  template <class Side>
  using Map = std::map<bool, std::unique_ptr<Side>>;
  const Options& options_;
  std::tuple<Map<HoldfastSide>, Map<LmdbSide>> sides_;
};

template <class Side>
void point_read(benchmark::State& state, Databases& databases, bool changed) {
  typename Side::Reader reader(databases.get<Side>(changed));
  Random random(kSeed + 3);
  reader.begin();
  unsigned touched = 0;
  for (auto _ : state) touched += reader.get(Key(random.below(databases.rows())));
  benchmark::DoNotOptimize(touched);
  reader.end();
  state.SetItemsProcessed(state.iterations());
}

template <class Side>
void begin_read_end(benchmark::State& state, Databases& databases, bool changed) {
  typename Side::Reader reader(databases.get<Side>(changed));
  Random random(kSeed + 3);
  unsigned touched = 0;
  for (auto _ : state) {
    reader.begin();
    touched += reader.get(Key(random.below(databases.rows())));
    reader.end();
  }
  benchmark::DoNotOptimize(touched);
  state.SetItemsProcessed(state.iterations());
}

template <class Side>
void full_scan(benchmark::State& state, Databases& databases, bool changed) {
  typename Side::Reader reader(databases.get<Side>(changed));
  reader.begin();
  unsigned touched = 0;
  std::uint64_t rows = 0;
  for (auto _ : state) rows += reader.scan(&touched);
  benchmark::DoNotOptimize(touched);
  reader.end();
  state.SetItemsProcessed(static_cast<std::int64_t>(rows));
}

using Workload = void (*)(benchmark::State&, Databases&, bool);

void add(const char* name, Workload workload, Databases& databases, bool changed) {
  // The lambda holds a reference: registered arguments are copied, and databases cannot be.
  benchmark::RegisterBenchmark(name, [workload, &databases, changed](benchmark::State& state) {
    workload(state, databases, changed);
  })->UseRealTime();
}

}  // namespace

int run_read(const Options& options, int argc, char** argv) {
  make_directory(options.directory);
  Databases databases(options);
  add("point_read/holdfast", point_read<HoldfastSide>, databases, false);
  add("point_read/lmdb", point_read<LmdbSide>, databases, false);
  add("point_read_changed/holdfast", point_read<HoldfastSide>, databases, true);
  add("begin_read_end/holdfast", begin_read_end<HoldfastSide>, databases, false);
  add("begin_read_end/lmdb", begin_read_end<LmdbSide>, databases, false);
  add("full_scan/holdfast", full_scan<HoldfastSide>, databases, false);
  add("full_scan/lmdb", full_scan<LmdbSide>, databases, false);
  add("full_scan_changed/holdfast", full_scan<HoldfastSide>, databases, true);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  if (benchmark::RunSpecifiedBenchmarks() == 0) fail("no benchmark has such a name");
  benchmark::Shutdown();
  return 0;
}

}  // namespace hf::bench
