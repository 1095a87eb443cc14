// SPDX-License-Identifier: Apache-2.0
// Goal: what each isolation level forbids and admits, as one table. Method: run each interleaving of anomalies.cc at
// each level, without merges and with one merge after every step, compare every cell, and print the table; then
// compare it with the one that docs/isolation.md shows to users.
#include "isolation/anomalies.h"

#include <cstdio>
#include <fstream>
#include <sstream>

namespace hf::isolation {
namespace {

constexpr Isolation kLevels[] = {Isolation::kReadCommitted, Isolation::kSnapshot, Isolation::kSerializable};
constexpr const char* kLevelNames[] = {"read committed", "snapshot", "serializable"};

class Anomalies : public ::testing::Test {
 protected:
  Outcome run(const Anomaly& anomaly, Isolation level, bool merging) {
    txn::Table& table = world_.table(std::string(anomaly.name) + std::to_string(runs_++));
    Actor setup(world_, table, at_level(Isolation::kSerializable));
    setup.put("x", 10);
    setup.put("y", 20);
    EXPECT_EQ(setup.commit(), Code::kOK);
    std::function<void()> between;
    if (merging) between = [this] { world_.merge(); };
    return anomaly.run(Stage(world_, table, level, between));
  }

  World world_;

 private:
  int runs_ = 0;
};

std::string row_of(const std::string& name, const std::string cells[3]) {
  return "| " + name + " | " + cells[0] + " | " + cells[1] + " | " + cells[2] + " |";
}

TEST_F(Anomalies, AreForbiddenOrAdmittedAsTheTableSays) {
  std::printf("| %-40s | %-14s | %-14s | %-14s |\n", "anomaly", kLevelNames[0], kLevelNames[1], kLevelNames[2]);
  for (const Anomaly& anomaly : anomalies()) {
    Outcome seen[3];
    for (int level = 0; level < 3; ++level) {
      SCOPED_TRACE(std::string(anomaly.name) + ", " + kLevelNames[level]);
      seen[level] = run(anomaly, kLevels[level], false);
      EXPECT_EQ(seen[level], anomaly.expected[level]);
    }
    std::printf("| %-40s | %-14s | %-14s | %-14s |\n", anomaly.name, name_of(seen[0]), name_of(seen[1]),
                name_of(seen[2]));
  }
}

TEST_F(Anomalies, AreTheSameWhileMergesRunUnderneath) {
  const std::uint64_t merges_before = world_.merges();
  for (const Anomaly& anomaly : anomalies()) {
    for (int level = 0; level < 3; ++level) {
      SCOPED_TRACE(std::string(anomaly.name) + ", " + kLevelNames[level]);
      EXPECT_EQ(run(anomaly, kLevels[level], true), anomaly.expected[level]);
    }
  }
  EXPECT_GE(world_.merges() - merges_before, anomalies().size() * 3 * 2);
}

TEST(IsolationDocument, ShowsTheTableThatTheTestsProve) {
  const std::filesystem::path path = std::filesystem::path(__FILE__).parent_path() / "../../docs/isolation.md";
  std::ifstream file(path);
  ASSERT_TRUE(file) << path;
  std::vector<std::string> shown;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("| anomaly ", 0) == 0) {
      inside = std::getline(file, line).good();  // the rule under the heads
      continue;
    }
    inside &= !line.empty() && line[0] == '|';
    if (inside) shown.push_back(line);
  }
  ASSERT_EQ(shown.size(), anomalies().size());
  for (std::size_t i = 0; i < shown.size(); ++i) {
    const Anomaly& anomaly = anomalies()[i];
    std::string cells[3];
    for (int level = 0; level < 3; ++level) cells[level] = name_of(anomaly.expected[level]);
    EXPECT_EQ(shown[i], row_of(anomaly.name, cells));
  }
}

}  // namespace
}  // namespace hf::isolation
