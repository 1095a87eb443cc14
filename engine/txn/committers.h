// SPDX-License-Identifier: Apache-2.0
// Who made the last commits: the ring of CommitterRow in the control region (txn/shared.h), written and asked.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "platform/liveness.h"
#include "txn/shared.h"

namespace hf::txn {

// A label as a row holds it; all zeros for none.
using CommitterLabel = std::array<std::uint64_t, 5>;
// As much of it as fits, never a part of a UTF-8 character.
CommitterLabel committer_label(const std::string& label) noexcept;

// Requires: the commit latch.
void note_committer(CommitterRow& row, Csn csn, platform::OwnerId process, std::uint64_t at_ms,
                    const CommitterLabel& label) noexcept;

struct Committer {
  std::string label;  // the transaction's, else its process's
  std::uint64_t pid = 0;
  std::uint64_t age_ms = 0;
};
// False when it is not known any more. pid is 0, and a process's label missing, when that process has left.
bool find_committer(const SharedRegion& shared, Csn csn, Committer* out);

}  // namespace hf::txn
