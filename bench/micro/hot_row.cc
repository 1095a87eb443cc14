// SPDX-License-Identifier: Apache-2.0
// One row that everybody changes: begin, lock and read, decide, write, commit. With options.optimistic the same without
// a lock asked for, through hf_transact. The row's generation counts its changes.
#include "contest.h"
#include "workloads.h"

namespace hf::bench {
namespace {

constexpr std::uint64_t kHotRow = 4711;  // somewhere inside the data set

std::uint64_t hot_row(const Options& options) { return kHotRow % options.rows; }

// The decision: what the row becomes, from what it is.
void stamp_next(Value& value, const void* before, std::uint64_t row) {
  if (Value::row_of(before) != row) fail("another row was read than was asked for");
  value.stamp(row, Value::generation_of(before) + 1);
}

class HoldfastHotRow {
 public:
  using Side = HoldfastSide;
  static constexpr std::uint64_t kTallyStep = 1;

  HoldfastHotRow(Side& side, const Options& options) : side_(side), row_(hot_row(options)), key_(row_) {
    if (options.strict) lock_.flags = HF_LOCK_STRICT;
  }

  std::uint64_t tally() {
    std::uint64_t generation = 0;
    Side::Runner(side_).run([&](hf_txn* txn) {
      hf_row row;
      const int code = hf_get(txn, side_.table(), view(key_), &row);
      if (code == HF_OK) generation = Value::generation_of(row.value.data);
      return code;
    });
    return generation;
  }

  class Client {
   public:
    Client(HoldfastHotRow& workload, unsigned) : workload_(workload), runner_(workload.side_) {}
    void run(Moment& had) {
      const HoldfastHotRow& all = workload_;
      runner_.run([&](hf_txn* txn) {
        hf_row row;
        const int code = hf_get_for_update(txn, all.side_.table(), view(all.key_), &all.lock_, &row);
        if (code != HF_OK) return code;
        had.mark();
        stamp_next(value_, row.value.data, all.row_);
        return hf_put(txn, all.side_.table(), view(all.key_), view(value_), 0);
      });
    }
    std::uint64_t retries() const { return runner_.retries(); }

   private:
    HoldfastHotRow& workload_;
    Side::Runner runner_;
    Value value_;
  };

 protected:
  Side& side_;
  std::uint64_t row_;
  Key key_;
  hf_lock_options lock_ = HF_LOCK_OPTIONS_INIT;
};

class HoldfastHotTransact : public HoldfastHotRow {
 public:
  using HoldfastHotRow::HoldfastHotRow;

  class Client {
   public:
    Client(HoldfastHotTransact& workload, unsigned) : workload_(workload), transactor_(workload.side_) {}
    void run(Moment&) {
      const HoldfastHotTransact& all = workload_;
      transactor_.run([&](hf_txn* txn) {
        hf_row row;
        const int code = hf_get(txn, all.side_.table(), view(all.key_), &row);
        if (code != HF_OK) return code;
        stamp_next(value_, row.value.data, all.row_);
        return hf_put(txn, all.side_.table(), view(all.key_), view(value_), 0);
      });
    }
    std::uint64_t retries() const { return transactor_.retries(); }

   private:
    HoldfastHotTransact& workload_;
    Side::Transactor transactor_;
    Value value_;
  };
};

class LmdbHotRow {
 public:
  using Side = LmdbSide;
  static constexpr std::uint64_t kTallyStep = 1;

  LmdbHotRow(Side& side, const Options& options) : side_(side), row_(hot_row(options)), key_(row_) {}

  std::uint64_t tally() {
    Side::Change change(side_);
    const void* value = change.get(side_.table(), key_);
    if (value == nullptr) fail("the hot row is not there");
    return Value::generation_of(value);
  }

  class Client {
   public:
    Client(LmdbHotRow& workload, unsigned) : workload_(workload) {}
    void run(Moment& had) {
      const LmdbHotRow& all = workload_;
      Side::Change change(all.side_);
      had.mark();
      const void* before = change.get(all.side_.table(), all.key_);
      if (before == nullptr) fail("the hot row is not there");
      stamp_next(value_, before, all.row_);
      change.put(all.side_.table(), all.key_, value_.data(), kValueSize);
      change.commit();
    }
    std::uint64_t retries() const { return 0; }

   private:
    LmdbHotRow& workload_;
    Value value_;
  };

 private:
  Side& side_;
  std::uint64_t row_;
  Key key_;
};

}  // namespace

int run_hot_row(const Options& options) {
  if (options.engine == LmdbSide::kName) {
    if (options.strict || options.optimistic) fail("LMDB has one way only");
    return run_contest<LmdbHotRow>(options, "hot-row");
  }
  check_holdfast(options);
  if (options.optimistic) return run_contest<HoldfastHotTransact>(options, "hot-row, hf_transact");
  return run_contest<HoldfastHotRow>(options, options.strict ? "hot-row, strict" : "hot-row");
}

}  // namespace hf::bench
