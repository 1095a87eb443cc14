// SPDX-License-Identifier: Apache-2.0
// Goal: a planted bug is on exactly when a test asked for it by its right name. That each does harm, and is seen to, is
// what the campaign `histories --planted` of tests/torture shows.
#include "platform/plant.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <set>
#include <string>

namespace hf::platform {
namespace {

TEST(Plant, HasOneNamePerBug) {
  std::set<std::string> names;
  std::set<Plant> plants;
  for (const PlantName& known : kPlants) {
    EXPECT_TRUE(names.insert(known.name).second) << known.name;
    EXPECT_TRUE(plants.insert(known.plant).second) << known.name;
    EXPECT_NE(known.plant, Plant::kNone);
  }
  EXPECT_EQ(plants.size(), static_cast<std::size_t>(Plant::kRollbackKeepsWrites)) << "a bug without a name";
}

TEST(Plant, IsOffUnlessAskedFor) {
  for (const PlantName& known : kPlants) EXPECT_FALSE(planted(known.plant)) << known.name;
}

TEST(Plant, SwitchesOneOnByName) {
  if (!kPlantedBugs) GTEST_SKIP() << "bugs can not be planted in this build";
  for (const PlantName& known : kPlants) {
    plant(known.name);
    for (const PlantName& other : kPlants) EXPECT_EQ(planted(other.plant), other.plant == known.plant) << other.name;
    EXPECT_TRUE(planted_widely(known.plant));
  }
  plant("");
  for (const PlantName& known : kPlants) EXPECT_FALSE(planted(known.plant)) << known.name;
}

TEST(PlantDeathTest, RefusesAnUnknownName) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(plant("validation.skiped"), kPlantedBugs ? "no bug is named" : "can not be planted");
}

TEST(PlantDeathTest, ListensToTheEnvironment) {
  if (!kPlantedBugs) GTEST_SKIP() << "bugs can not be planted in this build";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  setenv("HOLDFAST_PLANT", "counter.bounds", 1);  // read once, so only a fresh process sees it
  EXPECT_EXIT(std::_Exit(planted(Plant::kCounterBounds) ? 7 : 0), ::testing::ExitedWithCode(7), "");
  unsetenv("HOLDFAST_PLANT");
}

}  // namespace
}  // namespace hf::platform
