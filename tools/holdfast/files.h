// SPDX-License-Identifier: Apache-2.0
// Files and pipes of the user: what is loaded, stored as a value, or written as a stream.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tool {

// Writes all of it; 0, or the errno of what went wrong.
int write_all(int fd, std::string_view text) noexcept;

// A file, or stdin for "-", read from its beginning to its end.
class Input {
 public:
  // Ends the command when it cannot be opened.
  explicit Input(const std::string& path);
  ~Input();
  Input(const Input&) = delete;
  Input& operator=(const Input&) = delete;

  // The next line without its newline; false at the end. Lines longer than `size_max` end the command.
  bool read_line(std::string& line, std::size_t size_max);
  // Exactly `size` bytes; false when the end came before.
  bool read_exactly(void* data, std::size_t size);
  // The next bytes, without taking them. Shorter than asked for at the end only.
  std::string_view peek(std::size_t size);
  // What is left; false when that is more than `size_max` bytes.
  bool read_rest(std::string& bytes, std::size_t size_max);

  const std::string& name() const noexcept { return name_; }
  bool is_file() const noexcept { return is_file_; }
  std::uint64_t size() const noexcept { return size_; }  // of a file
  std::uint64_t position() const noexcept { return position_; }

 private:
  bool fill();  // reads more behind what is buffered; false at the end
  void take(std::size_t size);

  std::string name_;
  int fd_ = -1;
  bool is_file_ = false;
  bool ended_ = false;
  std::uint64_t size_ = 0;
  std::uint64_t position_ = 0;  // bytes taken
  std::string buffer_;
  std::size_t begin_ = 0;  // of what is not taken yet
};

}  // namespace tool
