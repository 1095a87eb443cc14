// SPDX-License-Identifier: Apache-2.0
#include "admin/check.h"

#include "capi/call.h"
#include "capi/options.h"
#include "holdfast/admin.h"

namespace hf::capi {
namespace {

hf_check_result translate(const admin::CheckResult& from) noexcept {
  hf_check_result to{};
  to.online = from.online ? 1 : 0;
  to.findings = from.findings;
  to.rows = from.rows;
  to.rows_unchecked = from.rows_unchecked;
  to.pages = from.pages;
  to.log_records = from.log_records;
  to.log_bytes = from.log_bytes;
  to.overlay_versions = from.overlay_versions;
  to.csn_applied = from.csn_applied;
  to.csn_log = from.csn_log;
  return to;
}

Status check(const char* path, const hf_check_options* given, hf_check_result* result) {
  if (path == nullptr) return null_argument("path");
  if (*path == '\0') return Status(Code::kINVALID_ARGUMENT, "the path is empty");
  if (result != nullptr && !output_is_legal(result)) return wrong_size("hf_check_result", result->size);
  hf_check_options wanted;
  if (Status status = read_sized(given, "hf_check_options", &wanted); !status.ok()) return status;
  if (wanted.flags != 0) {
    return Status(Code::kINVALID_ARGUMENT, "flags " + std::to_string(wanted.flags) + " is not legal");
  }
  admin::CheckOptions options;
  if (wanted.visit != nullptr) {
    options.found = [&](const admin::Finding& finding) {
      const hf_finding told{
          sizeof(hf_finding),    static_cast<int>(finding.code), finding.file.c_str(), finding.offset,
          finding.table.c_str(), from_bytes(finding.key),        finding.csn,          finding.text.c_str()};
      return wanted.visit(&told, wanted.visit_context) == 0;
    };
  }
  if (wanted.progress != nullptr) {
    options.progress = [&](std::uint64_t done, std::uint64_t total) {
      return wanted.progress(done, total, wanted.progress_context) == 0;
    };
  }
  admin::CheckResult found;
  Status status = admin::check(path, options, &found);
  if (result != nullptr) write_sized(translate(found), result);
  return status;
}

}  // namespace
}  // namespace hf::capi

using namespace hf::capi;

int hf_check(const char* path, const hf_check_options* options, hf_check_result* result, hf_error* error) {
  if (error != nullptr && !output_is_legal(error)) return HF_INVALID_ARGUMENT;
  return guarded([&] {
    Failure failure;
    hf::Status status;
    try {
      status = check(path, options, result);
    } catch (...) {
      status = thrown_code();
    }
    const int code = status.ok() ? static_cast<int>(HF_OK) : failure.set(std::move(status));
    if (error != nullptr) {
      hf_error full;
      failure.describe(nullptr, &full);
      write_sized(full, error);
    }
    return code;
  });
}
