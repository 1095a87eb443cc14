// SPDX-License-Identifier: Apache-2.0
#include "base/readable.h"

namespace hf {

std::string readable(Bytes key) {
  constexpr std::size_t kShownMax = 64;  // of 511; messages are one line
  constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const char byte : key.substr(0, kShownMax)) {
    const auto value = static_cast<unsigned char>(byte);
    if (value >= 0x20 && value < 0x7f && byte != '\\' && byte != '\'') {
      text += byte;
    } else {
      text += {'\\', 'x', kHex[value >> 4], kHex[value & 15]};
    }
  }
  return key.size() > kShownMax ? text + "..." : text;
}

}  // namespace hf
