// SPDX-License-Identifier: Apache-2.0
#include "encoding.h"

#include <algorithm>
#include <cstdint>

#include <nlohmann/json.hpp>

#include "failure.h"

namespace tool {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";
constexpr char kBase64Digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

struct Character {
  std::size_t size = 0;  // bytes; 0: not well-formed UTF-8
  std::uint32_t code = 0;
};

// By the table of well-formed byte sequences of the Unicode standard. Requires: text is not empty.
Character first_character(std::string_view text) noexcept {
  const auto at = [&](std::size_t i) -> std::uint32_t {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  const std::uint32_t lead = at(0);
  if (lead < 0x80) return {1, lead};
  if (lead < 0xC2 || lead > 0xF4) return {};
  const std::uint32_t second_min = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const std::uint32_t second_max = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (at(1) < second_min || at(1) > second_max) return {};
  const std::size_t size = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  std::uint32_t code = (lead & (0xFFu >> (size + 1))) << 6 | (at(1) & 0x3F);
  for (std::size_t i = 2; i < size; ++i) {
    if ((at(i) & 0xC0) != 0x80) return {};
    code = code << 6 | (at(i) & 0x3F);
  }
  return {size, code};
}

struct Range {
  std::uint32_t first;
  std::uint32_t last;
};
// Characters that show nothing, or change how their neighbours are shown: a key could pass for another.
constexpr Range kUnseen[] = {
    {0x00, 0x1F},     {0x7F, 0xA0},     {0xAD, 0xAD},       {0x34F, 0x34F},      {0x61C, 0x61C},   {0x115F, 0x1160},
    {0x1680, 0x1680}, {0x17B4, 0x17B5}, {0x180B, 0x180F},   {0x2000, 0x200F},    {0x2028, 0x202F}, {0x205F, 0x206F},
    {0x3000, 0x3000}, {0x3164, 0x3164}, {0xD800, 0xF8FF},   {0xFE00, 0xFE0F},    {0xFEFF, 0xFEFF}, {0xFFA0, 0xFFA0},
    {0xFFF0, 0xFFFB}, {0xFFFE, 0xFFFF}, {0x1D173, 0x1D17A}, {0xE0000, 0x10FFFF},
};

bool is_seen(std::uint32_t code) noexcept {
  for (const Range& range : kUnseen) {
    if (code >= range.first && code <= range.last) return false;
  }
  return (code & 0xFFFE) != 0xFFFE;
}

void append_escape(std::string& text, unsigned char byte) {
  switch (byte) {
    case '\n':
      text += "\\n";
      return;
    case '\t':
      text += "\\t";
      return;
    case '\r':
      text += "\\r";
      return;
    default:
      text += "\\x";
      text += kHexDigits[byte >> 4];
      text += kHexDigits[byte & 15];
  }
}

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool is_utf8(std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    const std::size_t size = first_character(bytes).size;
    if (size == 0) return false;
    bytes.remove_prefix(size);
  }
  return true;
}

std::string escape(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const Character character = first_character(bytes);
    const std::size_t size = character.size == 0 ? 1 : character.size;
    if (character.size != 0 && is_seen(character.code)) {
      if (character.code == '\\') text += '\\';
      text += bytes.substr(0, size);
    } else {
      for (const char byte : bytes.substr(0, size)) append_escape(text, static_cast<unsigned char>(byte));
    }
    bytes.remove_prefix(size);
  }
  return text;
}

bool unescape(std::string_view text, std::string* bytes) {
  bytes->clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      *bytes += text[i];
      continue;
    }
    if (++i == text.size()) return false;
    switch (text[i]) {
      case 'n':
        *bytes += '\n';
        break;
      case 't':
        *bytes += '\t';
        break;
      case 'r':
        *bytes += '\r';
        break;
      case '\\':
        *bytes += '\\';
        break;
      case 'x': {
        if (i + 2 >= text.size()) return false;
        const int high = hex_digit(text[i + 1]);
        const int low = hex_digit(text[i + 2]);
        if (high < 0 || low < 0) return false;
        *bytes += static_cast<char>(high << 4 | low);
        i += 2;
        break;
      }
      default:
        return false;
    }
  }
  return true;
}

std::string to_hex(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += kHexDigits[byte >> 4];
    text += kHexDigits[byte & 15];
  }
  return text;
}

bool from_hex(std::string_view text, std::string* bytes) {
  bytes->clear();
  if (text.size() % 2 != 0) return false;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = hex_digit(text[i]);
    const int low = hex_digit(text[i + 1]);
    if (high < 0 || low < 0) return false;
    *bytes += static_cast<char>(high << 4 | low);
  }
  return true;
}

std::string to_base64(std::string_view bytes) {
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    for (std::size_t j = i; j < i + 3; ++j) {
      group = group << 8 | (j < bytes.size() ? static_cast<unsigned char>(bytes[j]) : 0u);
    }
    const std::size_t digits = std::min<std::size_t>(bytes.size() - i, 3) + 1;
    for (std::size_t digit = 0; digit < 4; ++digit) {
      text += digit < digits ? kBase64Digits[group >> (18 - 6 * digit) & 63] : '=';
    }
  }
  return text;
}

bool from_base64(std::string_view text, std::string* bytes) {
  bytes->clear();
  if (text.size() % 4 != 0) return false;
  const std::string_view digits(kBase64Digits);
  for (std::size_t i = 0; i < text.size(); i += 4) {
    const bool is_last = i + 4 == text.size();
    const std::size_t padding = !is_last || text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
    std::uint32_t group = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      const std::size_t value = j < 4 - padding ? digits.find(text[i + j]) : 0;
      if (value == std::string_view::npos) return false;
      group = group << 6 | static_cast<std::uint32_t>(value);
    }
    // Bits that say nothing have to be zero: one form for one value.
    if (padding != 0 && (group & (padding == 1 ? 0xFFu : 0xFFFFu)) != 0) return false;
    for (std::size_t j = 0; j < 3 - padding; ++j) *bytes += static_cast<char>(group >> (16 - 8 * j) & 255);
  }
  return true;
}

std::string encode(std::string_view bytes, Encoding encoding) {
  switch (encoding) {
    case Encoding::kHex:
      return to_hex(bytes);
    case Encoding::kBase64:
      return to_base64(bytes);
    case Encoding::kRaw:
      return std::string(bytes);
    default:
      return escape(bytes);
  }
}

std::string decode(const std::string& text, Encoding encoding, const std::string& what) {
  std::string bytes;
  if (encoding == Encoding::kHex) {
    if (!from_hex(text, &bytes)) fail_usage(what + " is not hexadecimal: " + escape(text));
  } else if (encoding == Encoding::kBase64) {
    if (!from_base64(text, &bytes)) fail_usage(what + " is not base64: " + escape(text));
  } else if (encoding == Encoding::kEscaped) {
    if (!unescape(text, &bytes)) fail_usage(what + " has an escape that is none of \\n \\t \\r \\\\ \\xHH: " + text);
  } else {
    bytes = text;
  }
  return bytes;
}

void set_bytes(Json& object, const std::string& name, std::string_view bytes, Encoding encoding) {
  if (encoding == Encoding::kHex) {
    object[name + "_hex"] = to_hex(bytes);
  } else if (encoding == Encoding::kBase64 || !is_utf8(bytes)) {
    object[name + "_base64"] = to_base64(bytes);
  } else {
    object[name] = std::string(bytes);
  }
}

}  // namespace tool
