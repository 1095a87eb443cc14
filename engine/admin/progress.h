// SPDX-License-Identifier: Apache-2.0
// Progress of long work, told to whoever asked, who may end it.
#pragma once

#include <cstdint>
#include <functional>

#include "base/status.h"

namespace hf::admin {

// Answers whether the work is to go on. May be empty.
using Progress = std::function<bool(std::uint64_t done, std::uint64_t total)>;

// kCANCELLED when it is not.
inline Status tell(const Progress& progress, std::uint64_t done, std::uint64_t total) {
  if (!progress || progress(done, total)) return {};
  return Status(Code::kCANCELLED, "ended by the progress function");
}

}  // namespace hf::admin
