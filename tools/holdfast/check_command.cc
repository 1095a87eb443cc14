// SPDX-License-Identifier: Apache-2.0
// check.
#include <memory>

#include <nlohmann/json.hpp>

#include "commands.h"
#include "failure.h"
#include "holdfast/admin.h"
#include "progress.h"
#include "signals.h"
#include "text_table.h"
#include "units.h"

namespace tool {
namespace {

struct CheckOptions {
  Common common;
};

// What passes through the library, which knows no exceptions.
struct Checking {
  const CheckOptions& options;
  ProgressBar bar{"check"};
  std::exception_ptr thrown = nullptr;

  static int on_finding(const hf_finding* finding, void* context) {
    auto& checking = *static_cast<Checking*>(context);
    try {
      checking.print(*finding);
    } catch (...) {
      checking.thrown = std::current_exception();
    }
    return checking.thrown || interrupted() ? 1 : 0;
  }
  static int on_progress(std::uint64_t done, std::uint64_t total, void* context) {
    return ProgressBar::on_progress(done, total, &static_cast<Checking*>(context)->bar);
  }

  // Told as it is found: what is broken may break the check too.
  void print(const hf_finding& finding) {
    bar.clear();
    const std::string_view key = holdfast::to_string_view(finding.key);
    const std::string_view table(finding.table);
    if (options.common.json) {
      Json object;
      object["finding"] = finding.code == HF_OK ? "NOTE" : hf_code_name(finding.code);
      object["file"] = finding.file;
      if (finding.offset != UINT64_MAX) object["offset"] = finding.offset;
      if (!table.empty()) object["table"] = table;
      if (!key.empty()) set_bytes(object, "key", key);
      if (finding.csn != 0) object["csn"] = finding.csn;
      object["text"] = finding.text;
      out().json(object);
    } else {
      std::string line = finding.code == HF_OK ? "NOTE" : hf_code_name(finding.code);
      const auto add = [&](const std::string& text) { line += '\t' + text; };
      add(*finding.file == '\0' ? "-" : escape(finding.file));
      add(finding.offset == UINT64_MAX ? "-" : std::to_string(finding.offset));
      add(table.empty() ? "-" : escape(table));
      add(key.empty() ? "-" : escape(key));
      add(finding.csn == 0 ? "-" : std::to_string(finding.csn));
      add(escape(finding.text));
      out().line(line);
    }
    out().flush();
  }
};

Json result_json(const hf_check_result& result, int code) {
  Json object;
  object["result"] = code == HF_OK ? "sound" : hf_code_name(code);
  object["online"] = result.online != 0;
  object["findings"] = result.findings;
  object["rows"] = result.rows;
  object["rows_unchecked"] = result.rows_unchecked;
  object["pages"] = result.pages;
  object["log_records"] = result.log_records;
  object["log_bytes"] = result.log_bytes;
  object["overlay_versions"] = result.overlay_versions;
  object["csn_applied"] = result.csn_applied;
  object["csn_log"] = result.csn_log;
  return object;
}

std::string result_text(const hf_check_result& result) {
  TextTable text({{""}, {""}});
  const auto line = [&](const char* name, std::string value) { text.add({name, std::move(value)}); };
  const std::string findings = format_count(result.findings) + (result.findings == 1 ? " finding" : " findings");
  line("result", result.findings == 0 ? "sound" : findings);
  line("checked while", result.online != 0 ? "others had it open" : "nobody had it open");
  line("base", format_count(result.pages) + " pages, csn " + format_count(result.csn_applied));
  line("rows", format_count(result.rows) + " with a right checksum, " + format_count(result.rows_unchecked) +
                   " written without one");
  line("log", format_count(result.log_records) + " records, " + format_size(result.log_bytes) + ", to csn " +
                  format_count(result.csn_log));
  if (result.online != 0) line("overlay", format_count(result.overlay_versions) + " versions");
  return text.text(false);
}

int run_check(const CheckOptions& options) {
  Checking checking{options};
  hf_check_options check = HF_CHECK_OPTIONS_INIT;
  check.visit = Checking::on_finding;
  check.visit_context = &checking;
  check.progress = Checking::on_progress;
  check.progress_context = &checking;
  hf_check_result result = {};
  result.size = sizeof result;
  hf_error info = HF_ERROR_INIT;
  const int code = hf_check(options.common.directory.c_str(), &check, &result, &info);
  checking.bar.clear();
  if (checking.thrown) std::rethrow_exception(checking.thrown);
  // Without findings it did not come to a check at all.
  if (code != HF_OK && (code != HF_CORRUPT || result.findings == 0)) {
    fail("cannot check " + options.common.directory, to_error(code, info));
  }
  if (options.common.json) {
    out().json(result_json(result, code));
  } else {
    out().write(result_text(result));
  }
  return exit_code_of(code);
}

}  // namespace

void add_check_command(Commands& commands) {
  auto options = std::make_shared<CheckOptions>();
  CLI::App& app = commands.add({"check", kKeepGroup, "Read all of it, and say what is damaged; changes nothing",
                                "  holdfast check shop\n"
                                "  holdfast check shop --json | jq 'select(.finding)'"},
                               [options] { return run_check(*options); });
  add_common(app, options->common);
}

}  // namespace tool
