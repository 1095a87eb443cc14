// SPDX-License-Identifier: Apache-2.0
// A commit's changes as the body of a log record (schema/log.fbs), both ways.
#pragma once

#include <functional>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "overlay/overlay.h"

namespace hf::txn {

// Codes the changes. The bytes stay valid until the next call in the same thread. Throws std::bad_alloc.
Bytes encode_record(const std::vector<overlay::Change>& changes, std::uint64_t committed_at_ms);

// Calls `visit` for each change, in order; bytes point into `body`, which must be verified (Log does that, and its
// checksum covers it). kCORRUPT when the sizes inside do not add up.
Status decode_record(Bytes body, const std::function<void(const overlay::Change&)>& visit);

// Bytes that the changes of a record take in an overlay segment, at most.
std::uint64_t space_of_record(Bytes body);

}  // namespace hf::txn
