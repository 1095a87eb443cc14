// SPDX-License-Identifier: Apache-2.0
// Comparing: what fails the running property when database and model differ, and counts the answers when they do not.
#pragma once

#include <rapidcheck.h>

#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <utility>

#include "isolation/fixture.h"
#include "property/model.h"

namespace hf::property {

// How often database and model agreed on an answer, by what was asked: shows that programs reach what they are for.
using Answers = std::map<std::pair<std::string, Code>, std::uint64_t>;
inline Answers& answers() {
  static Answers all;
  return all;
}

inline std::string printable(Bytes bytes) {
  if (bytes.size() > 40) return printable(bytes.substr(0, 40)) + "... of " + std::to_string(bytes.size());
  std::string text;
  for (const char c : bytes) {
    char hex[8];
    std::snprintf(hex, sizeof hex, "\\x%02x", static_cast<unsigned char>(c));
    text += c >= 32 && c < 127 ? std::string(1, c) : hex;
  }
  return text;
}

// Thrown where a transaction was told to leave, which is right when a small overlay is full of what its snapshot keeps.
// When that happens depends on the sizes of things that the model does not have.
struct ToldToLeave {};

inline void same(const Status& engine, Code model, const char* what) {
  if (engine.code() == model) {
    ++answers()[{what, model}];
    return;
  }
  if (engine.code() == Code::kSNAPSHOT_TOO_OLD) throw ToldToLeave{};
  RC_FAIL(std::string(what) + ": the engine answers " + isolation::text_of(engine) + ", the model " +
          code_name(static_cast<int>(model)));
}

inline void same_row(const txn::RowView& row, const ModelRow& expected) {
  if (row.value != expected.value) {
    RC_FAIL("value " + printable(row.value) + ", the model has " + printable(expected.value));
  }
  RC_ASSERT(row.version == expected.version);
  RC_ASSERT((row.expires_ms != 0) == (expected.life != Life::kUnlimited));
}

inline void must(const Status& status) {
  if (status.code() == Code::kSNAPSHOT_TOO_OLD) throw ToldToLeave{};
  if (!status.ok()) RC_FAIL(isolation::text_of(status));
}

}  // namespace hf::property
