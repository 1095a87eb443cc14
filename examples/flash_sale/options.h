// SPDX-License-Identifier: Apache-2.0
// What the command line asks for.
#pragma once

#include <cstdint>
#include <string>

namespace flash_sale {

inline constexpr std::uint32_t kLikesMax = 16;

struct Options {
  std::string directory;  // holds the database; empty: a new one in the working directory, removed at the end
  std::uint32_t processes = 4;
  std::uint32_t threads = 8;  // of each process
  std::uint32_t buyers = 10'000;
  std::uint32_t coupons = 100;
  std::uint32_t stock = 500;     // items over all products
  std::uint32_t points = 1'000;  // of each buyer at the start; enough for every basket
  std::uint32_t likes = 10;      // of each buyer: one per picture of the sale, each a commit of its own
  std::uint64_t seed = 1;        // chooses the baskets
  bool naive = false;
  bool kill = false;
  bool json = false;
};

// Ends the program itself on --help (status 0) and on a wrong argument (status 2).
Options parse_options(int argc, char** argv);

}  // namespace flash_sale
