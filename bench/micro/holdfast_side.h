// SPDX-License-Identifier: Apache-2.0
// Holdfast through its C interface, as a program uses it that does not link the engine's inside.
#pragma once

#include "holdfast/holdfast.h"
#include "side.h"

namespace hf::bench {

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
  void check(int code, const char* call);
  static void check(hf_txn* txn, int code, const char* call);

  hf_db* db_ = nullptr;
  hf_table* table_ = nullptr;
};

}  // namespace hf::bench
