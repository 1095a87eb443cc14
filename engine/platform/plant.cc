// SPDX-License-Identifier: Apache-2.0
#include "platform/plant.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace hf::platform {
namespace {

constexpr int kUnread = -1;             // the environment was not looked at yet
std::atomic<int> planted_bug{kUnread};  // relaxed everywhere: it is set before the threads that look at it are made

int number_of(const std::string& name) {
  if (name.empty()) return static_cast<int>(Plant::kNone);
  for (const PlantName& known : kPlants) {
    if (name == known.name) return static_cast<int>(known.plant);
  }
  std::fprintf(stderr, "no bug is named \"%s\"\n", name.c_str());
  std::abort();
}

}  // namespace

Plant detail::planted_now() noexcept {
  int number = planted_bug.load(std::memory_order_relaxed);
  if (number == kUnread) {
    const char* const wanted = std::getenv("HOLDFAST_PLANT");
    number = number_of(wanted != nullptr ? wanted : "");
    planted_bug.store(number, std::memory_order_relaxed);
  }
  return static_cast<Plant>(number);
}

void detail::widen_planted() noexcept {
  constexpr long kWidenNs = 20'000;
  const timespec moment{0, kWidenNs};
  nanosleep(&moment, nullptr);
}

void plant(const std::string& name) {
  if (!kPlantedBugs && !name.empty()) {
    std::fprintf(stderr, "bugs can not be planted in this build\n");
    std::abort();
  }
  planted_bug.store(number_of(name), std::memory_order_relaxed);
}

}  // namespace hf::platform
