// SPDX-License-Identifier: Apache-2.0
#include "die.h"

#include <unistd.h>

#include <cstdio>

namespace flash_sale {

void die(const std::string& what) {
  std::fprintf(stderr, "flash_sale: %s\n", what.c_str());
  // Not exit(): other threads of this process may be in the middle of a transaction.
  _exit(2);
}

void die(const std::string& what, const holdfast::error& why) {
  die("cannot " + what + ": " + why.name() + ": " + why.message());
}

}  // namespace flash_sale
