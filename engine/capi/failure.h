// SPDX-License-Identifier: Apache-2.0
// Failure: why the last failed call on a handle failed, kept as it came and put into words only when somebody asks.
// Setting one for "no such row" or "end" copies the key and nothing else. One thread at a time.
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/status.h"
#include "catalog/catalog.h"
#include "holdfast/holdfast.h"
#include "txn/transaction.h"

namespace hf::capi {

// What a call was about. All of it may be absent.
struct Concern {
  const hf_table* table = nullptr;
  const char* name = nullptr;  // of a table, where the caller gave no handle
  Bytes key = {};
};

class Failure {
 public:
  // Both answer the code, which is what the caller has to answer. Out of memory costs the text, never the code.
  int set(Status status, const Concern& concern = {}) noexcept;
  int set(Status status, const txn::Obstacle& obstacle) noexcept;
  void set_attempts(std::uint32_t attempts) noexcept { attempts_ = attempts; }
  void clear() noexcept;

  int code() const noexcept { return static_cast<int>(status_.code()); }  // HF_OK: there was none
  // Fills all of *error. `catalog` may be null: the table's name is missing then. May throw std::bad_alloc.
  void describe(catalog::Catalog* catalog, hf_error* error) const;

 private:
  std::string table_name(catalog::Catalog* catalog) const;
  std::string message(const std::string& table) const;
  void set_key(Bytes key) noexcept;

  Status status_;
  const hf_table* table_ = nullptr;  // may have ended when it came from another hf_db of the same engine
  std::string name_;
  txn::Obstacle obstacle_;
  std::uint32_t attempts_ = 0;
  std::uint32_t key_size_ = 0;
  char key_[kKeySizeMax];
};

}  // namespace hf::capi
