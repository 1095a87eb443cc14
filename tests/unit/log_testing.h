// SPDX-License-Identifier: Apache-2.0
// What the tests of layer `log` share: a directory, memory that stands for a session's, and processes that attach.
#pragma once

#include <flatbuffers/flatbuffers.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "log/frame.h"
#include "log/log.h"
#include "platform/latch.h"
#include "platform/test_point.h"
#include "platform_testing.h"
#include "schema/log_generated.h"

namespace hf::log {

constexpr std::uint64_t kDatabaseId = 0x1234567890abcdef;

// What all processes of a session share.
struct Memory {
  LogShared log;
  platform::LatchWord commit_latch;
  platform::ProcessSlot slots[platform::kProcessSlotsMax];
  std::atomic<std::uint64_t> notes[8];  // for the test itself
  alignas(4096) char ring[kRingSize];
};

inline std::string make_body(const std::string& payload) {
  flatbuffers::FlatBufferBuilder builder;
  const auto bytes = builder.CreateVector(reinterpret_cast<const std::uint8_t*>(payload.data()), payload.size());
  schema::RecordBuilder record(builder);
  record.add_committed_at_ms(1);
  record.add_bytes(bytes);
  builder.Finish(record.Finish());
  return std::string(reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize());
}
inline std::string payload_of(Bytes body) {
  const auto* bytes = schema::GetRecord(body.data())->bytes();
  return std::string(reinterpret_cast<const char*>(bytes->data()), bytes->size());
}
// A payload that tells its csn, of that size or a little more.
inline std::string payload_for(Csn csn, std::size_t size = 0) {
  std::string result = "commit " + std::to_string(csn) + " ";
  while (result.size() < size) result.append(result, 0, std::min(result.size(), size - result.size()));
  return result;
}

struct Replayed {
  Csn csn;
  std::string payload;
};

// One process that has the log open.
struct Process {
  explicit Process(Memory& memory, const std::string& directory) : shared(memory) {
    liveness = platform::value_of(platform::Liveness::open(directory + "/live"));
    EXPECT_TRUE(liveness.lock_gate(Deadline::after_ms(10'000)).ok());
    EXPECT_TRUE(liveness.take_slot(memory.slots, "test").ok());
    liveness.unlock_gate();
    latch = std::make_unique<platform::RobustLatch>(memory.commit_latch, liveness);
  }

  Csn append(const std::string& body) {
    for (;;) {
      (void)latch->acquire(Deadline::never());
      if (log->has_room(body.size())) {
        const Csn csn = log->appended_csn() + 1;
        log->append(csn, body);
        latch->release();
        return csn;
      }
      latch->release();
      const Status status = log->make_room(body.size(), Deadline::after_ms(30'000));
      if (!status.ok()) {
        ADD_FAILURE() << status.message();
        return 0;
      }
    }
  }

  Status append_direct(const std::string& body, Csn* csn) {
    for (int attempts_left = 1000;; --attempts_left) {
      Status status = log->lock_direct(body.size(), Deadline::after_ms(30'000));
      if (!status.ok()) return status;
      (void)latch->acquire(Deadline::never());
      *csn = log->appended_csn() + 1;
      status = log->append_direct(*csn, body);
      latch->release();
      log->unlock_direct();
      if (status.code() != Code::kBUSY || attempts_left == 0) return status;
    }
  }

  // Appends commits whose payloads tell their csn: only for a lone appender.
  void append_numbered(Csn count, std::size_t size = 0) {
    for (Csn i = 0; i < count; ++i) append(make_body(payload_for(log->appended_csn() + 1, size)));
  }
  Status flush() { return log->wait_durable(log->appended_csn(), Deadline::after_ms(30'000)); }

  Memory& shared;
  platform::Liveness liveness;
  std::unique_ptr<platform::RobustLatch> latch;
  std::unique_ptr<Log> log;
};

// A database's log, and the session that is open on it.
class Bench {
 public:
  Bench() {
    options.directory = directory.path();
    options.database_id = kDatabaseId;
  }

  // Ends the session as the death of all its processes does, and recovers. A power failure is not played here.
  Status reopen(Csn applied = 0, bool clean = false) {
    process.reset();
    memory = std::make_unique<platform::SharedMemory<Memory>>();
    replayed.clear();
    found = {};
    process = std::make_unique<Process>(**memory, directory.path());
    auto log = Log::recover((*memory)->log, (*memory)->ring, process->liveness, options, applied, clean,
                            [this](Csn csn, Bytes body) {
                              replayed.push_back({csn, payload_of(body)});
                              return Status();
                            },
                            &found);
    if (!log.ok()) return log.status();
    process->log = std::move(log).value();
    return {};
  }
  Status create() { return reopen(0, true); }
  Status salvage() { return Log::salvage((*memory)->log, (*memory)->ring, options); }
  Log& log() { return *process->log; }

  // Every replayed record is the one of its csn, in order, from first to last.
  void expect_replayed(Csn first, Csn last) {
    ASSERT_EQ(replayed.size(), last + 1 - first);
    EXPECT_EQ(found.records, replayed.size());
    for (Csn csn = first; csn <= last; ++csn) {
      const Replayed& record = replayed[csn - first];
      ASSERT_EQ(record.csn, csn);
      const std::string start = payload_for(csn);
      ASSERT_EQ(record.payload.substr(0, start.size()), start);
    }
  }

  std::vector<std::string> segment_files() const {
    std::vector<std::string> result;
    for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
      if (entry.path().extension() == ".hfl") result.push_back(entry.path().string());
    }
    return result;
  }
  // The file whose header has that sequence, or "".
  std::string file_of(std::uint64_t sequence) const {
    for (const std::string& path : segment_files()) {
      SegmentHeader header{};
      std::ifstream(path, std::ios::binary).read(reinterpret_cast<char*>(&header), sizeof header);
      if (std::memcmp(header.magic, kSegmentMagic, 8) == 0 && header.sequence == sequence) return path;
    }
    return "";
  }

  platform::TemporaryDirectory directory;
  LogOptions options;
  std::unique_ptr<platform::SharedMemory<Memory>> memory;
  std::unique_ptr<Process> process;
  std::vector<Replayed> replayed;
  Recovered found;
};

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}
inline void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}
inline void patch_file(const std::string& path, std::uint64_t offset, const std::string& bytes) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(offset));
  file << bytes;
}
inline void flip_bit(const std::string& path, std::uint64_t offset) {
  std::string bytes = read_file(path);
  bytes[offset] = static_cast<char>(bytes[offset] ^ 0x10);
  write_file(path, bytes);
}
// All files of the log, to compare before and after a refused open.
inline std::vector<std::pair<std::string, std::string>> image_of(const Bench& bench) {
  std::vector<std::pair<std::string, std::string>> result;
  for (const std::string& path : bench.segment_files()) result.emplace_back(path, read_file(path));
  return result;
}
inline void restore(const Bench& bench, const std::vector<std::pair<std::string, std::string>>& image) {
  for (const std::string& path : bench.segment_files()) std::filesystem::remove(path);
  for (const auto& [path, bytes] : image) write_file(path, bytes);
}

}  // namespace hf::log
