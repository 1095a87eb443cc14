// SPDX-License-Identifier: Apache-2.0
// A test with survivors: processes of two threads each that commit all the time, and may not notice what happens
// beside.
#pragma once

#include <filesystem>
#include <vector>

#include "base/clock.h"
#include "crash/fixture.h"

namespace hf::crash {

class SurvivorsTest : public CrashTest {
 protected:
  void start_survivors(std::uint32_t count, const Arguments& more = {}) {
    for (std::uint32_t i = 0; i < count; ++i) {
      Arguments arguments = with(more);
      arguments["first"] = std::to_string(2 * i);
      arguments["threads"] = "2";
      arguments["auditor"] = i == 0 ? "1" : "0";
      survivors_.emplace_back("worker", arguments);
      ASSERT_TRUE(eventually(20'000, [&] { return (*board_)->workers[2 * i + 1].acked.load() > 0; }))
          << (*board_)->report;
    }
  }

  void stop_survivors() {
    (*board_)->stop = 1;
    for (Child& survivor : survivors_) EXPECT_EQ(survivor.wait(), 0) << (*board_)->report;
    survivors_.clear();
    EXPECT_EQ((*board_)->faults.load(), 0u) << (*board_)->report;
  }

  void forget_waits() {
    for (WorkerRow& row : (*board_)->workers) row.slowest_ns = 0;
  }
  void expect_nobody_waited(std::uint32_t workers, const std::string& what) {
    for (std::uint32_t i = 0; i < workers; ++i) {
      const WorkerRow& row = (*board_)->workers[i];
      EXPECT_LE(row.slowest_ns.load(), kStallMaxNs) << what << ": worker " << i;
      EXPECT_EQ(row.code.load(), 0u) << what << ": worker " << i << ": " << row.message;
    }
  }
  void expect_all_go_on(std::uint32_t workers, const std::string& what) {
    std::vector<std::uint64_t> before;
    for (std::uint32_t i = 0; i < workers; ++i) before.push_back((*board_)->workers[i].acked.load());
    EXPECT_TRUE(eventually(kStallMaxNs / 1'000'000, [&] {
      for (std::uint32_t i = 0; i < workers; ++i) {
        if ((*board_)->workers[i].acked.load() == before[i]) return false;
      }
      return true;
    })) << what;
  }

  void expect_clean_directory() {
    EXPECT_FALSE(std::filesystem::exists(db() + "/session"));
    if (std::filesystem::exists(db() + "/memory")) {
      for (const auto& entry : std::filesystem::directory_iterator(db() + "/memory"))
        ADD_FAILURE() << "left behind: " << entry.path();
    }
    txn::DatabaseOptions options = small_options();
    options.background_thread = false;
    const std::uint64_t began = monotonic_ns();
    Result<Session> session = Session::open(db(), options);
    const std::uint64_t took_ms = (monotonic_ns() - began) / 1'000'000;
    ASSERT_TRUE(session.ok()) << session.status().message();
    EXPECT_LT(took_ms, kSanitized ? 3'000u : 500u) << "there was something to recover";
    auto stats = session->database()->stats();
    ASSERT_TRUE(stats.ok());
    EXPECT_EQ(stats->applied, stats->published) << "the log was not empty";
    EXPECT_EQ(stats->processes, 1u);
    EXPECT_EQ(audit(*session, **board_, Acked::kMustBeThere), "");
  }

  std::vector<Child> survivors_;
};

}  // namespace hf::crash
