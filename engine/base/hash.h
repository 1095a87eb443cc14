// SPDX-License-Identifier: Apache-2.0
// Checksums and row hashes (xxHash, XXH3 64-bit: https://xxhash.com).
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/bytes.h"

namespace hf {

// Hash of a row's identity; equal in every process and build: it is part of row checksums and of the expiry index.
inline std::uint64_t row_hash(TableId table, Bytes key) noexcept {
  return XXH3_64bits_withSeed(key.data(), key.size(), table);
}

// Checksum of `data` under `seed`; stored on disk.
inline std::uint64_t checksum(const void* data, std::size_t size, std::uint64_t seed) noexcept {
  return XXH3_64bits_withSeed(data, size, seed);
}

// --- row checksums -----------------------------------------------------------------------------------------------

// What a row version says but for its csn, as a number: the part that costs a pass over the value, and can be had
// before the csn is known. `hash` is row_hash(table, key); `kind` is overlay::VersionKind, 1 for every row of the base.
// Stored on disk, folded with the csn: changing any constant here makes every row of older files look damaged.
inline std::uint64_t row_content(std::uint64_t hash, std::uint8_t kind, std::uint8_t flags, std::uint64_t expires_ms,
                                 Bytes value) noexcept {
  const std::uint64_t what = std::uint64_t{kind} << 8 | flags;
  // Odd factors, so that no single bit of any part can vanish; the rotation keeps a value that equals its key from
  // cancelling it out.
  return XXH3_64bits(value.data(), value.size()) ^ (hash << 29 | hash >> 35) ^ (expires_ms * 0x9fb21c651e98df25u) ^
         (what * 0xc2b2ae3d27d4eb4fu);
}

// The 32 bits that are stored beside the row: content and csn, mixed.
inline std::uint32_t row_checksum(std::uint64_t content, Csn csn) noexcept {
  std::uint64_t sum = content ^ (csn * 0x9e3779b97f4a7c15u);
  sum ^= sum >> 32;
  return static_cast<std::uint32_t>((sum * 0xd6e8feb86659fd93u) >> 32);
}

// --- in pieces ---------------------------------------------------------------------------------------------------

// checksum() over bytes that come in pieces; seed 0.
class RunningChecksum {
 public:
  RunningChecksum() noexcept { XXH3_64bits_reset(&state_); }
  void add(const void* data, std::size_t size) noexcept { XXH3_64bits_update(&state_, data, size); }
  void add_zeros(std::uint64_t size) noexcept {
    static constexpr char kZeros[4096] = {};
    for (; size > sizeof kZeros; size -= sizeof kZeros) add(kZeros, sizeof kZeros);
    add(kZeros, static_cast<std::size_t>(size));
  }
  std::uint64_t value() const noexcept { return XXH3_64bits_digest(&state_); }

 private:
  XXH3_state_t state_;
};

}  // namespace hf
