// SPDX-License-Identifier: Apache-2.0
// Counters that go up and down: their numbers do not name a version, so they give no edges. What must hold of them:
// each add kept its bounds; and the adds, as steps from one number to another, make one walk that begins at 0, so that
// none is lost and none came from nowhere. An add in doubt may mend one break of the walk.
#pragma once

#include <vector>

#include "histories/versions.h"

namespace histories {

void check_stock(const History& history, const Versions& versions, std::vector<Anomaly>& anomalies);

}  // namespace histories
