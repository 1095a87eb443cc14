// SPDX-License-Identifier: Apache-2.0
// Part of holdfast.hpp: bytes that go in.
#ifndef HOLDFAST_HPP_BYTES_HPP
#define HOLDFAST_HPP_BYTES_HPP

#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "holdfast/holdfast.h"

namespace holdfast {

// Borrowed bytes, as an argument. A literal is taken without its NUL.
class bytes_view {
 public:
  constexpr bytes_view() noexcept = default;
  constexpr bytes_view(std::string_view text) noexcept : data_(text.data()), size_(text.size()) {}
  constexpr bytes_view(const char* text) noexcept : bytes_view(std::string_view(text)) {}
  bytes_view(const std::string& text) noexcept : data_(text.data()), size_(text.size()) {}
  template <typename Byte, std::size_t Extent>
  requires(sizeof(Byte) == 1 &&
           std::is_trivially_copyable_v<Byte>) constexpr bytes_view(std::span<Byte, Extent> bytes) noexcept
      : data_(bytes.data()), size_(bytes.size()) {}

  constexpr const void* data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr hf_bytes c_bytes() const noexcept { return {data_, size_}; }

 private:
  const void* data_ = nullptr;
  std::size_t size_ = 0;
};

// The bytes of a number or a plain struct, in this machine's byte order: fine as a value, out of order as a key.
template <typename T>
requires std::is_trivially_copyable_v<T>
[[nodiscard]] bytes_view bytes_of(const T& object) noexcept {
  return std::span(reinterpret_cast<const std::byte*>(&object), sizeof object);
}

[[nodiscard]] inline std::string_view to_string_view(hf_bytes bytes) noexcept {
  return {static_cast<const char*>(bytes.data), bytes.size};
}

}  // namespace holdfast

#endif  // HOLDFAST_HPP_BYTES_HPP
