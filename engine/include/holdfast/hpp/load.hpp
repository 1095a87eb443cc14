// SPDX-License-Identifier: Apache-2.0
// Part of holdfast.hpp: bulk loads.
#ifndef HOLDFAST_HPP_LOAD_HPP
#define HOLDFAST_HPP_LOAD_HPP

#include <utility>

#include "holdfast/holdfast.h"
#include "holdfast/hpp/bytes.hpp"
#include "holdfast/hpp/error.hpp"
#include "holdfast/hpp/time.hpp"

namespace holdfast {

class Load {
 public:
  Load() noexcept = default;
  explicit Load(hf_load* load) noexcept : load_(load) {}
  Load(Load&& other) noexcept : load_(std::exchange(other.load_, nullptr)) {}
  Load& operator=(Load&& other) noexcept {
    if (this != &other) {
      hf_load_end(&load_);
      load_ = std::exchange(other.load_, nullptr);
    }
    return *this;
  }
  ~Load() { hf_load_end(&load_); }

  // Keys strictly ascending.
  status add(bytes_view key, bytes_view value, milliseconds ttl = {}) {
    return answer(hf_load_add(load_, key.c_bytes(), value.c_bytes(), detail::to_ms(ttl)));
  }
  status finish() { return answer(hf_load_finish(load_)); }
  [[nodiscard]] hf_load* c_load() const noexcept { return load_; }

 private:
  status answer(int code) const {
    if (code == HF_OK) return {};
    return detail::make_error(code, [this](hf_error* info) { return hf_load_error(load_, info); });
  }

  hf_load* load_ = nullptr;
};

}  // namespace holdfast

#endif  // HOLDFAST_HPP_LOAD_HPP
