// SPDX-License-Identifier: Apache-2.0
// Where text goes: data to stdout, through one buffer whose failures end the command; messages to stderr.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace tool {

using Json = nlohmann::ordered_json;

// A missing standard stream would be given to the next file that is opened, which may be the database's: takes its
// number first. To be called before anything else.
void guard_standard_streams();

class Output {
 public:
  void write(std::string_view text);
  void line(std::string_view text);
  // One line. Strings that are no UTF-8 lose what is not.
  void json(const Json& value);
  void flush();
  // What was not flushed is dropped: after a failure of stdout itself.
  void discard() noexcept { buffer_.clear(); }
  bool is_terminal() const noexcept;

 private:
  std::string buffer_;
};

// The one of this process.
Output& out();

// "holdfast: text" to stderr.
void say(const std::string& text);

}  // namespace tool
