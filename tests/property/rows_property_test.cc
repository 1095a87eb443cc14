// SPDX-License-Identifier: Apache-2.0
// Goal: rows, cursors, savepoints, isolation levels, expiry and tables do what the model says, whatever merges,
// rotations of the overlay and reopens happen in between. Method: random interleaved programs (program.h, runner.h);
// each answer, commit outcome and csn is compared. RapidCheck prints the seed; RC_PARAMS="seed=..." repeats a run.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>  // needs the other one first

#include <cstdio>
#include <cstdlib>

#include "property/compare.h"
#include "property/runner.h"

namespace hf::property {
namespace {

// Before RapidCheck looks at its parameters, which it does once. What the user says goes first.
const bool kAsMeant = [] {
  if (std::getenv("RC_PARAMS") != nullptr) return false;
  const std::string count = "max_success=" + std::to_string(isolation::scaled(30)) + " max_size=100";
  setenv("RC_PARAMS", count.c_str(), 0);
  return isolation::scaled(100) >= 100;
}();

txn::DatabaseOptions small_overlay() {
  txn::DatabaseOptions options = isolation::default_options();
  options.overlay_bytes_max = 4u << 20;
  options.log_segment_size_max = 1u << 20;
  options.sweep_interval_ms = 1;
  options.overload_timeout_ms = 50;
  return options;
}

RC_GTEST_PROP(Property, RowsAndCursorsInTheOverlay, ()) {
  Mix mix;
  mix.merges = mix.reopens = mix.tables = 0;
  Runner(isolation::default_options()).run(*programs(mix, 300));
}

RC_GTEST_PROP(Property, RangesThatMeetWrites, ()) {
  Mix mix;
  mix.rows = 30;
  mix.cursors = 40;
  mix.ends = 20;
  mix.merges = 1;
  mix.savepoints = mix.versions = mix.reopens = mix.tables = 0;
  Runner(isolation::default_options()).run(*programs(mix, 400));
}

RC_GTEST_PROP(Property, RowsAndCursorsOverMergesAndReopens, ()) {
  Mix mix;
  mix.merges = 12;
  mix.reopens = 2;
  mix.tables = 0;
  Runner(small_overlay()).run(*programs(mix, 250));
}

RC_GTEST_PROP(Property, TablesComeAndGo, ()) {
  Mix mix;
  mix.tables = 14;
  mix.merges = 6;
  mix.reopens = 2;
  Runner(small_overlay()).run(*programs(mix, 200));
}

RC_GTEST_PROP(Property, SmallOverlayThatRotates, ()) {
  Mix mix;
  mix.bursts = 40;
  mix.merges = 2;
  Runner(small_overlay()).run(*programs(mix, 200));
}

RC_GTEST_PROP(Property, MergesByAThreadUnderneath, ()) {
  txn::DatabaseOptions options = small_overlay();
  options.background_thread = true;
  options.merge_interval_ms = 1;
  Mix mix;
  mix.bursts = 20;
  mix.merges = 0;
  Runner(options).run(*programs(mix, 200));
}

RC_GTEST_PROP(Property, SavepointsAndVersions, ()) {
  Mix mix;
  mix.savepoints = 40;
  mix.versions = 30;
  mix.cursors = 30;
  Runner(isolation::default_options()).run(*programs(mix, 250));
}

// The properties above are worth something only if their programs get to where things happen.
TEST(PropertyCoverage, ProgramsReachEveryKindOfAnswer) {
  if (answers().empty()) GTEST_SKIP() << "no property ran";
  for (const auto& [what, count] : answers()) {
    std::printf("%-20s %-18s %10llu\n", what.first.c_str(), code_name(static_cast<int>(what.second)),
                static_cast<unsigned long long>(count));
  }
  if (!kAsMeant) GTEST_SKIP() << "fewer or other programs than the test is made for";
  const std::pair<const char*, Code> wanted[] = {{"commit", Code::kOK},
                                                 {"commit", Code::kCONFLICT},
                                                 {"commit", Code::kVERSION_MISMATCH},
                                                 {"get", Code::kOK},
                                                 {"get", Code::kNOT_FOUND},
                                                 {"get", Code::kNO_TABLE},
                                                 {"insert", Code::kOK},
                                                 {"insert", Code::kEXISTS},
                                                 {"put", Code::kREAD_ONLY},
                                                 {"put_if_version", Code::kOK},
                                                 {"put_if_version", Code::kVERSION_MISMATCH},
                                                 {"next", Code::kOK},
                                                 {"next", Code::kEND},
                                                 {"end of a savepoint", Code::kOK},
                                                 {"drop", Code::kOK},
                                                 {"rename", Code::kOK},
                                                 {"rename", Code::kEXISTS},
                                                 {"open", Code::kOK},
                                                 {"open", Code::kNO_TABLE}};
  for (const auto& [what, code] : wanted) {
    EXPECT_GT((answers()[{what, code}]), 0u) << what << " " << code_name(static_cast<int>(code));
  }
}

}  // namespace
}  // namespace hf::property
