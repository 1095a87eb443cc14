// SPDX-License-Identifier: Apache-2.0
// Who has the database open.
#pragma once

#include <vector>

#include "holdfast/admin.h"
#include "holdfast/holdfast.hpp"
#include "output.h"

namespace tool {

// In order of slot. Ends the command when the library cannot tell.
std::vector<hf_process_info> processes_of(holdfast::Database& database);
Json process_json(const hf_process_info& process);

}  // namespace tool
