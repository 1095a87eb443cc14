// SPDX-License-Identifier: Apache-2.0
// Holdfast through its C interface, as a program uses it that does not link the engine's inside.
#pragma once

#include "holdfast/holdfast.h"
#include "side.h"

namespace hf::bench {

inline hf_bytes view(const Key& key) { return {key.bytes, kKeySize}; }
inline hf_bytes view(const Value& value) { return {value.data(), kValueSize}; }

class HoldfastSide {
 public:
  static constexpr const char* kName = "holdfast";

  HoldfastSide(const std::string& directory, const OpenMode& mode);
  ~HoldfastSide();
  HoldfastSide(const HoldfastSide&) = delete;
  HoldfastSide& operator=(const HoldfastSide&) = delete;

  void make_table();
  void load(std::uint64_t rows);
  void write_batch(const std::uint64_t* rows, std::size_t count, std::uint64_t generation);
  void merge_all();
  void flush();  // what was committed relaxed is on the disk
  std::uint64_t rows_unmerged();
  Figures figures();

  hf_db* db() const { return db_; }
  hf_table* table() const { return table_; }
  hf_table* ensure_table(const char* name);
  // Fail the benchmark unless `code` is HF_OK; the detail is read from the handle that the call was made on.
  void check(int code, const char* call);
  static void check(hf_txn* txn, int code, const char* call);

  // Keeps one transaction handle and restarts it. Retryable answers are counted and retried: they are part of the cost.
  class Writer {
   public:
    explicit Writer(HoldfastSide& side);
    ~Writer();
    Writer(const Writer&) = delete;
    Writer& operator=(const Writer&) = delete;
    void put(const Key& key, const Value& value);
    std::uint64_t retries() const { return retries_; }

   private:
    HoldfastSide& side_;
    hf_txn* txn_ = nullptr;
    bool running_ = true;  // a begun transaction is there; false after a commit
    std::uint64_t retries_ = 0;
  };

  // One thread's transactions of any kind: keeps a handle, restarts it, and runs what is retryable again at once.
  class Runner {
   public:
    explicit Runner(HoldfastSide& side) {
      side.check(hf_begin(side.db_, nullptr, &txn_), "hf_begin");
      hf_abort(txn_);
    }
    ~Runner() { hf_txn_end(&txn_); }
    Runner(const Runner&) = delete;
    Runner& operator=(const Runner&) = delete;

    // `body` gets the transaction and answers an HF_ code.
    template <class Body>
    void run(Body body) {
      for (;;) {
        check(txn_, hf_restart(txn_), "hf_restart");
        int code = body(txn_);
        if (code == HF_OK) code = hf_commit(txn_);
        if (code == HF_OK) return;
        if (!hf_is_retryable(code)) check(txn_, code, "a transaction");
        hf_abort(txn_);
        ++retries_;
      }
    }
    std::uint64_t retries() const { return retries_; }

   private:
    hf_txn* txn_ = nullptr;
    std::uint64_t retries_ = 0;
  };

  // The same by hf_transact with default options.
  class Transactor {
   public:
    explicit Transactor(HoldfastSide& side) : side_(side) {}

    // As Runner::run; `body` may not commit, abort or restart.
    template <class Body>
    void run(Body body) {
      run_function([](hf_txn* txn, void* context) { return (*static_cast<Body*>(context))(txn); }, &body);
    }
    std::uint64_t retries() const { return retries_; }

   private:
    void run_function(hf_transact_fn attempt, void* context);

    HoldfastSide& side_;
    std::uint64_t retries_ = 0;
  };

  class Reader {
   public:
    explicit Reader(HoldfastSide& side) : side_(side) {}
    ~Reader() { hf_txn_end(&txn_); }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    void begin();
    void end() { hf_txn_end(&txn_); }
    unsigned get(const Key& key);
    std::uint64_t scan(unsigned* touched);

   private:
    HoldfastSide& side_;
    hf_txn* txn_ = nullptr;
  };

 private:
  hf_db* db_ = nullptr;
  hf_table* table_ = nullptr;
};

}  // namespace hf::bench
