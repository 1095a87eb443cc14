// SPDX-License-Identifier: Apache-2.0
// Goal: the kill campaign's table of test points (torture/kill_points.h) names every point that the engine has, so that
// no step of a protocol goes without kills because somebody forgot it.
//
// Method: looks for reach("...") and fault("...") in the sources of the engine, and compares both ways.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include "torture/kill_points.h"

namespace hf::crash {
namespace {

// The tree that this program was built from, as the build above it says.
std::filesystem::path source_tree() {
  for (auto at = std::filesystem::read_symlink("/proc/self/exe").parent_path(); at != at.parent_path();
       at = at.parent_path()) {
    std::ifstream cache(at / "CMakeCache.txt");
    const std::string wanted = "CMAKE_HOME_DIRECTORY:INTERNAL=";
    for (std::string line; std::getline(cache, line);) {
      if (line.starts_with(wanted)) return line.substr(wanted.size());
    }
  }
  return {};
}

std::set<std::string> points_in(const std::filesystem::path& folder) {
  const std::regex call("\\b(?:reach|fault)\\(\\s*\"([^\"]+)\"");
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.path().extension() != ".cc") continue;  // the only header with such calls shows them in a comment
    std::ifstream file(entry.path());
    const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    for (auto at = std::sregex_iterator(text.begin(), text.end(), call); at != std::sregex_iterator(); ++at) {
      names.insert((*at)[1]);
    }
  }
  return names;
}

// Points of work that no shop does while it sells; crash/backup_test.cc kills there.
bool is_of_the_operator(const std::string& name) {
  for (const char* prefix : {"backup.", "compact.", "destination.", "restore.", "stream.", "log.reader."}) {
    if (name.starts_with(prefix)) return true;
  }
  return false;
}

TEST(KillTable, HasEveryPointOfTheEngine) {
  const std::filesystem::path tree = source_tree();
  ASSERT_FALSE(tree.empty()) << "no build directory above this program";
  const std::set<std::string> in_source = points_in(tree / "engine");
  ASSERT_GT(in_source.size(), 40u) << "the points were not found";
  std::set<std::string> in_table;
  for (const torture::kill::Point& point : torture::kill::kPoints) in_table.insert(point.name);
  for (const std::string& name : in_source) {
    if (is_of_the_operator(name)) continue;
    EXPECT_EQ(in_table.count(name), 1u) << name << " is missing in tests/torture/kill_points.h";
  }
  for (const std::string& name : in_table) {
    EXPECT_EQ(in_source.count(name), 1u) << name << " of tests/torture/kill_points.h is nowhere in the engine";
  }
}

}  // namespace
}  // namespace hf::crash
