// SPDX-License-Identifier: Apache-2.0
// One counter that everybody adds 1 to, with bounds that are never met: hf_add; on LMDB a row of eight bytes, read,
// compared and written.
#include <cstring>
#include <limits>

#include "contest.h"
#include "workloads.h"

namespace hf::bench {
namespace {

constexpr const char* kCounters = "counters";
constexpr std::uint64_t kCounter = 1;
constexpr std::int64_t kLeast = 0;
constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / 2;

class HoldfastCounter {
 public:
  using Side = HoldfastSide;
  static constexpr std::uint64_t kTallyStep = 1;

  HoldfastCounter(Side& side, const Options&) : side_(side), table_(side.ensure_table(kCounters)) {}

  std::uint64_t tally() {
    std::int64_t value = 0;
    Side::Runner(side_).run([&](hf_txn* txn) {
      const int code = hf_counter_get(txn, table_, view(key_), &value);
      return code == HF_NOT_FOUND ? static_cast<int>(HF_OK) : code;  // nobody has added yet
    });
    return static_cast<std::uint64_t>(value);
  }

  class Client {
   public:
    Client(HoldfastCounter& workload, unsigned) : workload_(workload), runner_(workload.side_) {}
    void run(Moment&) {
      runner_.run([&](hf_txn* txn) { return hf_add(txn, workload_.table_, view(workload_.key_), 1, kLeast, kMost); });
    }
    std::uint64_t retries() const { return runner_.retries(); }

   private:
    HoldfastCounter& workload_;
    Side::Runner runner_;
  };

 private:
  Side& side_;
  hf_table* table_;
  Key key_{kCounter};
};

class LmdbCounter {
 public:
  using Side = LmdbSide;
  static constexpr std::uint64_t kTallyStep = 1;

  LmdbCounter(Side& side, const Options&) : side_(side), table_(side.ensure_table(kCounters)) {}

  std::uint64_t tally() {
    Side::Change change(side_);
    return static_cast<std::uint64_t>(read(change));
  }

  class Client {
   public:
    Client(LmdbCounter& workload, unsigned) : workload_(workload) {}
    void run(Moment& had) {
      Side::Change change(workload_.side_);
      had.mark();
      const std::int64_t value = workload_.read(change) + 1;
      if (value < kLeast || value > kMost) fail("the counter left its bounds");
      change.put(workload_.table_, workload_.key_, &value, sizeof value);
      change.commit();
    }
    std::uint64_t retries() const { return 0; }

   private:
    LmdbCounter& workload_;
  };

 private:
  std::int64_t read(Side::Change& change) {
    std::int64_t value = 0;
    const void* bytes = change.get(table_, key_);
    if (bytes != nullptr) std::memcpy(&value, bytes, sizeof value);
    return value;
  }

  Side& side_;
  MDB_dbi table_;
  Key key_{kCounter};
};

}  // namespace

int run_hot_counter(const Options& options) {
  if (options.engine == LmdbSide::kName) return run_contest<LmdbCounter>(options, "hot-counter");
  check_holdfast(options);
  return run_contest<HoldfastCounter>(options, "hot-counter");
}

}  // namespace hf::bench
