// SPDX-License-Identifier: Apache-2.0
// The small files that say what a database directory is: HOLDFAST (for ever) and `session` (while it is open). Both are
// read and written under the gate. Twin of docs/formats.md, section "Directory".
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace hf::txn {

inline constexpr std::uint32_t kFormatVersion = 1;

struct Identity {
  std::uint64_t database_id = 0;
  bool complete = false;  // false: the first open did not get to its end, the directory holds no commit
};

// Looks only. kNOT_FOUND: a directory that may become a database (absent files, nothing foreign in it).
// kWRONG_FORMAT: not a directory, foreign files, another version or byte order. kCORRUPT: damaged.
Result<Identity> read_identity(const std::string& directory);
Status write_identity(const std::string& directory, const Identity& identity);

// Where the shared memory of the running session is. kNOT_FOUND when there is none. A memory_path that is not inside of
// `directory` must be absolute.
Result<std::string> read_session(const std::string& directory);
Status write_session(const std::string& directory, const std::string& memory_path);
Status remove_session(const std::string& directory);

// A new database id; never 0.
std::uint64_t random_database_id();
// An id as it is written in names and in the base: 16 hexadecimal digits.
std::string hex(std::uint64_t value);
// The control region's file in a session's memory directory.
std::string control_path(const std::string& memory_path);

// Records of the base that say whose it is, and whether the last session left in order ("1") or not.
inline constexpr const char* kDatabaseIdKey = "database_id";
inline constexpr const char* kCleanKey = "clean";

// The base while it is written anew; a killed compaction leaves it, and the next opener removes it.
inline constexpr const char* kCompactName = "base/data.mdb.compact";

// Identity of the running kernel, "" when unknown.
std::string boot_id();

}  // namespace hf::txn
