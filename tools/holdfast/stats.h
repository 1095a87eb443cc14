// SPDX-License-Identifier: Apache-2.0
// hf_stats, for people and for programs.
#pragma once

#include <string>

#include "holdfast/holdfast.hpp"
#include "output.h"

namespace tool {

// Every field of the struct, under its own name.
Json stats_json(const hf_stats& stats);
// A line per figure, in groups.
std::string stats_text(const hf_stats& stats);

// Ends the command, with what the handle knows, unless `code` is HF_OK.
void check(holdfast::Database& database, int code, const std::string& what);

}  // namespace tool
