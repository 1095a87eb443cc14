// SPDX-License-Identifier: Apache-2.0
// Failure: why the last failed call on a handle failed, kept as it came and put into words only when somebody asks.
// Setting one for "no such row" or "end" copies the key and nothing else. One thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "catalog/catalog.h"
#include "holdfast/holdfast.h"
#include "lock/lock.h"
#include "txn/transaction.h"

namespace hf::capi {

// What a call was about. All of it may be absent.
struct Concern {
  const hf_table* table = nullptr;
  const char* name = nullptr;  // of a table, where the caller gave no handle
  Bytes key = {};
};

// Whether a failure with that code is told by a lock::Report.
constexpr bool is_of_locks(Code code) noexcept {
  return code == Code::kLOCK_TIMEOUT || code == Code::kDEADLOCK || code == Code::kLOCKED || code == Code::kLOCK_ORDER ||
         code == Code::kLOCK_TABLE_FULL;
}

class Failure {
 public:
  // All answer the code, which is what the caller has to answer. Out of memory costs the text, never the code.
  int set(Status status, const Concern& concern = {}) noexcept;
  int set(Status status, const txn::Obstacle& obstacle) noexcept;
  int set(Status status, const lock::Report& report) noexcept;
  // After a set(): who was in the way, where it was nobody's commit and no lock.
  void set_other(const lock::Party& other) noexcept;
  void set_attempts(std::uint32_t attempts) noexcept { attempts_ = attempts; }
  void clear() noexcept;

  int code() const noexcept { return static_cast<int>(status_.code()); }  // HF_OK: there was none
  // Fills all of *error. `catalog` may be null: the table's name is missing then. May throw std::bad_alloc.
  void describe(catalog::Catalog* catalog, hf_error* error) const;

 private:
  std::string table_name(catalog::Catalog* catalog) const;
  std::string message(catalog::Catalog* catalog, const std::string& table) const;
  std::string words_of_locks(catalog::Catalog* catalog) const;
  void describe_locks(hf_error* error) const;
  void set_key(Bytes key) noexcept;

  Status status_;
  const hf_table* table_ = nullptr;  // may have ended when it came from another hf_db of the same engine
  std::string name_;
  txn::Obstacle obstacle_;
  bool has_report_ = false;
  lock::Report report_;  // `wanted.row.key` is void, `key` moved to key_
  std::uint32_t attempts_ = 0;
  std::uint32_t key_size_ = 0;
  char key_[kKeySizeMax];
};

}  // namespace hf::capi
