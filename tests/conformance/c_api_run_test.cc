// SPDX-License-Identifier: Apache-2.0
// Runs the tests that are written in C: header_test.c and c_api_test.c.
#include "support.h"

extern "C" int header_test_failures(void);
extern "C" int c_api_failures(const char* directory);

namespace conformance {
namespace {

TEST(CApi, HeaderAlone) { EXPECT_EQ(header_test_failures(), 0); }

TEST(CApi, EveryFunction) {
  const TempDirectory directory;
  EXPECT_EQ(c_api_failures(directory.path("db").c_str()), 0);
}

}  // namespace
}  // namespace conformance
