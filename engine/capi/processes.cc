// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "capi/call.h"
#include "holdfast/admin.h"

namespace hf::capi {
namespace {

hf_process_info translate(const txn::ProcessInfo& process) noexcept {
  hf_process_info info{};
  info.size = sizeof info;
  info.slot = process.slot;
  info.pid = process.pid;
  info.opened_ms = process.opened_ms;
  std::memcpy(info.label, process.label.data(), std::min(process.label.size(), sizeof info.label - 1));
  info.pins = process.pins;
  info.oldest_pin_csn = process.oldest_pin;
  info.oldest_pin_age_ms = process.oldest_pin_age_ms;
  info.locks_held = process.locks_held;
  info.locks_waiting = process.locks_waiting;
  info.is_self = process.is_self ? 1 : 0;
  info.is_maintainer = process.is_maintainer ? 1 : 0;
  return info;
}

}  // namespace
}  // namespace hf::capi

using namespace hf::capi;

int hf_processes(hf_db* db, hf_process_visit visit, void* context) {
  int answer = 0;
  const int code = db_call(db, {}, [&](hf_db& d) -> hf::Status {
    if (visit == nullptr) return null_argument("visit");
    for (const hf::txn::ProcessInfo& process : d.database->processes()) {
      const hf_process_info info = translate(process);
      answer = visit(&info, context);
      if (answer != 0) break;
    }
    return {};
  });
  return code == HF_OK ? answer : code;
}
