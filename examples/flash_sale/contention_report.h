// SPDX-License-Identifier: Apache-2.0
// Prints what contention did to the sale (contention.h): attempts, waits, queues, and two refused buyers' reports, one
// by a lock and one by a counter.
#pragma once

#include "contention.h"

namespace flash_sale {

void print_contention(const Contention& contention);
void print_refusals(const Contention& contention);
// Members of a JSON object, each with a comma after it.
void print_contention_json(const Contention& contention);

}  // namespace flash_sale
