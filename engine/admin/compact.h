// SPDX-License-Identifier: Apache-2.0
// The base written anew without its free pages, and put in place of the old one by a rename. The gate is held all the
// time: nobody can open the database.
#pragma once

#include <cstdint>
#include <string>

#include "admin/progress.h"
#include "base/status.h"

namespace hf::admin {

struct CompactResult {
  std::uint64_t bytes_before = 0;  // of data.mdb
  std::uint64_t bytes_after = 0;
};

// A database that was not left in order is recovered first. kBUSY: somebody has it open. kNOT_FOUND: there is none.
Status compact(const std::string& path, const Progress& progress, CompactResult* result);

}  // namespace hf::admin
