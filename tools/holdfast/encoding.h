// SPDX-License-Identifier: Apache-2.0
// Keys and values are bytes; people and JSON want text.
//
// Text is printed as it is when it is well-formed UTF-8 of characters that one can see; everything else becomes \n, \t,
// \r, \\ or \xHH (one byte), so that different bytes never look the same and a row never breaks its line. In JSON,
// bytes that are UTF-8 are a string, "key"; others are "key_base64".
#pragma once

#include <string>
#include <string_view>

#include "output.h"

namespace tool {

enum class Encoding {
  kText,     // arguments as they are, output escaped
  kEscaped,  // the same, and arguments may have the escapes of the output
  kHex,
  kBase64,
  kRaw,  // as they are in both directions
};

bool is_utf8(std::string_view bytes) noexcept;

std::string escape(std::string_view bytes);
std::string to_hex(std::string_view bytes);
std::string to_base64(std::string_view bytes);
// False: it is not of that form.
[[nodiscard]] bool unescape(std::string_view text, std::string* bytes);
[[nodiscard]] bool from_hex(std::string_view text, std::string* bytes);
[[nodiscard]] bool from_base64(std::string_view text, std::string* bytes);

std::string encode(std::string_view bytes, Encoding encoding);
// Of an argument; ends the command when it is not of that form. `what` names it.
std::string decode(const std::string& text, Encoding encoding, const std::string& what);

// Sets `name`, or `name`_base64 or `name`_hex, of the object.
void set_bytes(Json& object, const std::string& name, std::string_view bytes, Encoding encoding = Encoding::kText);

}  // namespace tool
