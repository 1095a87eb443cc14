// SPDX-License-Identifier: Apache-2.0
// compact.
#include <memory>

#include <nlohmann/json.hpp>

#include "commands.h"
#include "failure.h"
#include "holdfast/admin.h"
#include "progress.h"
#include "units.h"

namespace tool {
namespace {

int run_compact(const Common& common) {
  ProgressBar bar("compact");
  hf_compact_result result = {};
  result.size = sizeof result;
  hf_error info = HF_ERROR_INIT;
  const int code = hf_compact(common.directory.c_str(), ProgressBar::on_progress, &bar, &result, &info);
  bar.clear();
  if (code != HF_OK) fail("cannot compact " + common.directory, to_error(code, info));
  if (common.json) {
    Json object;
    object["bytes_before"] = result.bytes_before;
    object["bytes_after"] = result.bytes_after;
    out().json(object);
  } else {
    out().line("data file " + format_size(result.bytes_before) + " before, " + format_size(result.bytes_after) +
               " now");
  }
  return kDone;
}

}  // namespace

void add_compact_command(Commands& commands) {
  auto common = std::make_shared<Common>();
  CLI::App& app =
      commands.add({"compact", kKeepGroup, "Write the data file anew, without free pages; nobody may have it open",
                    "  holdfast compact shop"},
                   [common] { return run_compact(*common); });
  add_common(app, *common);
}

}  // namespace tool
