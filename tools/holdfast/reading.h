// SPDX-License-Identifier: Apache-2.0
// Reading much, beside a shop that goes on.
#pragma once

#include "database.h"

namespace tool {

// A snapshot for a long read. It is taken of the base alone, once that has everything that was committed before now:
// such a one pins no shared memory, however long it takes. Where the base does not catch up (a bulk load holds it) it
// is an ordinary one, which an overfull overlay may end.
holdfast::Transaction begin_long_read(holdfast::Database& database);

// Ends the command when the range ended early.
void check_range(const holdfast::Rows& range);

}  // namespace tool
