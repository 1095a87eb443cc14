// SPDX-License-Identifier: Apache-2.0
// A commit's changes as the body of a log record (schema/log.fbs), both ways.
#pragma once

#include <functional>
#include <vector>

#include "base/bytes.h"
#include "base/status.h"
#include "overlay/overlay.h"

namespace hf::txn {

// Where one change lies in a coded record, for what is known only when the commit is made.
struct RecordPlace {
  char* value;  // its bytes; their number is fixed
  void* op;
};

// Codes the changes. The bytes stay valid until the next call in the same thread. Throws std::bad_alloc. `places`, if
// not null, gets one element for each change.
Bytes encode_record(const std::vector<overlay::Change>& changes, std::uint64_t committed_at_ms,
                    std::vector<RecordPlace>* places = nullptr);

// Makes the record say the change's expiry anew. Requires: coded from that change, of which nothing else has changed.
void recode_expiry(const RecordPlace& place, const overlay::Change& change) noexcept;

// Calls `visit` for each change, in order; bytes point into `body`, which must be verified (Log does that, and its
// checksum covers it). kCORRUPT, and no call, when the sizes inside do not add up or a change is none that commits
// make.
Status decode_record(Bytes body, const std::function<void(const overlay::Change&)>& visit);

// Bytes that the changes of a record take in an overlay segment, at most.
std::uint64_t space_of_record(Bytes body);

}  // namespace hf::txn
