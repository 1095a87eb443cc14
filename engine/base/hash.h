// SPDX-License-Identifier: Apache-2.0
// Checksums and row hashes (xxHash, XXH3 64-bit: https://xxhash.com).
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"

namespace hf {

// Hash of a row's identity; equal in every process, stored in shared memory, never on disk.
inline std::uint64_t row_hash(TableId table, Bytes key) noexcept {
  return XXH3_64bits_withSeed(key.data(), key.size(), table);
}

// Checksum of `data` under `seed`; stored on disk.
inline std::uint64_t checksum(const void* data, std::size_t size, std::uint64_t seed) noexcept {
  return XXH3_64bits_withSeed(data, size, seed);
}

}  // namespace hf
