// SPDX-License-Identifier: Apache-2.0
// Entry of the crash tests: "--role=<name> key=value..." makes this process a child that plays that role.
#include <signal.h>
#include <sys/prctl.h>

#include <cstring>

#include "crash/fixture.h"

int main(int argc, char** argv) {
  constexpr const char* kRoleFlag = "--role=";
  if (argc >= 2 && std::strncmp(argv[1], kRoleFlag, std::strlen(kRoleFlag)) == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // a failed test leaves no process behind
    hf::crash::Arguments arguments;
    for (int i = 2; i < argc; ++i) {
      const std::string text = argv[i];
      const std::size_t equals = text.find('=');
      if (equals != std::string::npos) arguments[text.substr(0, equals)] = text.substr(equals + 1);
    }
    return hf::crash::run_role(argv[1] + std::strlen(kRoleFlag), arguments);
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
