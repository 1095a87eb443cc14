// SPDX-License-Identifier: Apache-2.0
// Layer `admin`: what the operator of a database needs, made of the layers below: figures for monitoring, check,
// backup, restore, compaction, reading the log. May include everything up to `catalog`; used by `capi`.
//
//   metrics.h   figures as Prometheus text
#pragma once

#include <string>

#include "txn/database.h"

namespace hf::admin {

// Exposition format 0.0.4 (prometheus.io, "Exposition formats"). Names do not change between releases; new ones may
// come.
std::string metrics_text(const txn::DatabaseStats& stats);

}  // namespace hf::admin
