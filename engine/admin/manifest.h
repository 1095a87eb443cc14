// SPDX-License-Identifier: Apache-2.0
// Manifest: what a backup says of itself; the file `BACKUP` of a backup directory, and the head of a backup stream. The
// twin of docs/formats.md, section "Backup".
#pragma once

#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/status.h"

namespace hf::admin {

inline constexpr const char* kManifestName = "BACKUP";
inline constexpr std::uint32_t kBackupVersion = 1;

struct Manifest {
  std::uint64_t source_id = 0;        // database that it was made of
  Csn csn = 0;                        // it holds exactly the commits up to this one
  std::uint64_t committed_at_ms = 0;  // of that commit; 0: not known
  std::uint64_t made_at_ms = 0;       // wall clock
  std::uint64_t base_bytes = 0;       // length of base/data.mdb
  std::uint64_t base_checksum = 0;    // of all of it, holes as zeros
};

std::string to_text(const Manifest& manifest);
// kCORRUPT, kWRONG_FORMAT; `path` is for the message.
Result<Manifest> from_text(const std::string& text, const std::string& path);

// Writes and syncs the file; its name becomes durable with the directory.
Status write_manifest(const std::string& directory, const Manifest& manifest);
// kNOT_FOUND: no such directory. kCORRUPT: no backup that was finished.
Result<Manifest> read_manifest(const std::string& directory);

}  // namespace hf::admin
