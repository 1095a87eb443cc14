// SPDX-License-Identifier: Apache-2.0
// Logs for fuzz_log and fuzz_shared: segment files out of an input, and their recovery in a scratch directory.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "fuzz/fuzz.h"
#include "log/format.h"
#include "log/log.h"
#include "platform/liveness.h"

namespace hf::fuzz {

inline constexpr std::uint64_t kDatabaseId = 0x1234567890abcdef;

// A right frame of a record.
std::string make_frame(Csn csn, Csn durable_csn, const std::string& body, std::uint64_t sequence);
// A body that is a record, and tells its csn.
std::string make_body(Csn csn, std::size_t payload_size);

// Some segment files by the input's decisions: a right log where all of it is 0.
Files build_log(Input& in);

struct Recovery {
  Status status;
  std::vector<std::string> records;
  Csn last_csn = 0;
  std::string text() const { return status.ok() ? "OK" : std::string(status.message()); }
};

// The session memory and the directory of a log, used again by each input.
class LogDirectory {
 public:
  LogDirectory();
  ~LogDirectory();
  const std::string& log_path() const { return log_path_; }
  log::LogOptions options() const;

  // Recovers in fresh shared memory, checks what recovery promises of its records, and appends `appends` commits.
  Recovery recover(Csn applied, bool clean, int appends = 0);

  // For fuzz_shared. Recovers from nothing merged, calls, and leaves memory and files as a killed session would. The
  // ring has to be given back as zeros.
  void with_log(const std::function<void(log::Log&)>& body);
  log::LogShared& shared() { return *shared_; }
  char* ring() { return ring_.get(); }
  void clear_shared();

 private:
  void append(log::Log& log, int count);

  Scratch scratch_;
  std::string log_path_;
  platform::Liveness liveness_;
  std::unique_ptr<platform::ProcessSlot[]> slots_;
  std::unique_ptr<log::LogShared> shared_;
  std::unique_ptr<char[]> ring_;
};

}  // namespace hf::fuzz
