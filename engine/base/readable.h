// SPDX-License-Identifier: Apache-2.0
// Keys in messages.
#pragma once

#include <string>

#include "base/bytes.h"

namespace hf {

// Printable ASCII as it is, all else as \xhh; a long key is cut, and ends in "...".
std::string readable(Bytes key);

}  // namespace hf
