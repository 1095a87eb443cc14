// SPDX-License-Identifier: Apache-2.0
// What the two kinds of check share. Internal to the layer.
#pragma once

#include <string>
#include <vector>

#include "admin/check.h"
#include "admin/check_catalog.h"
#include "log/check.h"
#include "store/inspect.h"
#include "txn/database.h"

namespace hf::admin {

// Passes findings on, counts them, and remembers the first for the answer.
class Told {
 public:
  Told(const CheckOptions& options, CheckResult* result) : options_(options), result_(result) {}

  bool tell(Finding finding);  // false: stop
  bool progress(std::uint64_t done, std::uint64_t total);
  bool stopped() const noexcept { return stopped_; }
  Status answer() const;  // by what was told so far
  CheckResult& result() noexcept { return *result_; }

 private:
  const CheckOptions& options_;
  CheckResult* result_;
  bool stopped_ = false;
  Status first_;
};

// The base, in the state of that LMDB transaction or 0; its names go to `catalog`. `summary` stays as it was when the
// answer is not kOK. Findings of rows are told after the walk, when the names are known.
Status check_base(const std::string& path, std::uint64_t transaction, Told& told, CatalogRows* catalog,
                  store::BaseSummary* summary);
// Fills in where findings and progress go, then checks.
Status check_log(log::LogCheckOptions options, std::uint64_t bytes_before, Told& told);

// Requires: joined. check_live.cc
Status check_live(txn::Database& database, std::uint64_t database_id, Told& told);

}  // namespace hf::admin
