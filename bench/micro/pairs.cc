// SPDX-License-Identifier: Apache-2.0
// Two uniformly random rows are read and one of them is written, serializable, through hf_transact: what write skew is
// made of. Each commit has to find both reads unchanged. Holdfast only: LMDB runs one writer at a time.
#include "contest.h"
#include "workloads.h"

namespace hf::bench {
namespace {

class HoldfastPairs {
 public:
  using Side = HoldfastSide;
  static constexpr std::uint64_t kTallyStep = 0;

  HoldfastPairs(Side& side, const Options& options) : side_(side), rows_(options.rows) {}
  static std::uint64_t tally() { return 0; }

  class Client {
   public:
    Client(HoldfastPairs& workload, unsigned worker)
        : workload_(workload), transactor_(workload.side_), random_(kSeed + worker) {}
    void run(Moment&) {
      const std::uint64_t written = random_.below(workload_.rows_);
      std::uint64_t other = random_.below(workload_.rows_ - 1);
      if (other >= written) ++other;
      hf_table* table = workload_.side_.table();
      transactor_.run([&](hf_txn* txn) {
        std::uint64_t generation = 0;
        for (const std::uint64_t row : {written, other}) {
          hf_row read;
          const int code = hf_get(txn, table, view(Key(row)), &read);
          if (code != HF_OK) return code;
          if (Value::row_of(read.value.data) != row) fail("another row was read than was asked for");
          generation += Value::generation_of(read.value.data);
        }
        value_.stamp(written, generation + 1);
        return hf_put(txn, table, view(Key(written)), view(value_), 0);
      });
    }
    std::uint64_t retries() const { return transactor_.retries(); }

   private:
    HoldfastPairs& workload_;
    Side::Transactor transactor_;
    Random random_;
    Value value_;
  };

 private:
  Side& side_;
  std::uint64_t rows_;
};

}  // namespace

int run_pairs(const Options& options) {
  check_holdfast(options);
  if (options.rows < 2) fail("--rows has to be at least 2");
  return run_contest<HoldfastPairs>(options, "pairs");
}

}  // namespace hf::bench
