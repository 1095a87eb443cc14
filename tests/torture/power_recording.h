// SPDX-License-Identifier: Apache-2.0
// Recording: all that a run did to the files below one directory, with the commits it made and the answers it got, in
// one order. Shared memory of the engine (memory/, lock.mdb, liveness) is left out: a power failure leaves nothing
// of it that counts.
//
// The order. Everything takes a number when it begins and another when it has returned, from one counter. So a write
// whose `end` is below a sync's `begin` is covered by that sync; all others may or may not be.
//
// Thread contract: a Recorder observes any threads, also those of processes forked while it observes: its events lie in
// memory that forks share. Recording is one thread's, after the Recorder has stopped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "torture/io.h"

namespace torture::power {

enum class Kind : std::uint8_t {
  kNone,  // failed, or nothing that a disk would show
  kWrite,
  kAllocate,
  kTruncate,
  kSync,
  kSyncDirectory,
  kCreate,
  kMkdir,
  kRename,
  kUnlink,
  kCommit,  // path: its changes, see power_history.h
  kAck,     // its commit, and so every earlier one, was answered durable
};

// Where in its directory a path lies; names the kinds of cuts in reports.
enum class Area : std::uint8_t { kRoot, kLog, kBase };
Area area_of(std::string_view path) noexcept;

// As it lies in the arena, followed by path, target and data.
struct Event {
  std::uint64_t size_in_arena;
  std::uint64_t begin, end;    // numbers; end 0: it never returned
  std::uint64_t file;          // inode. kCommit, kAck: csn, or 0 for a change of tables, see `offset`
  std::uint64_t offset, size;  // kTruncate: size. Change of tables: the newest csn before it, and after it
  std::uint32_t path_size, target_size;
  Kind kind;
  bool synced;  // kWrite: by a descriptor with O_DSYNC: on the device when it returned
  bool zeros;   // kWrite: its data are zeros, and not kept
  std::uint8_t pad[5];

  const char* tail() const noexcept { return reinterpret_cast<const char*>(this + 1); }
  std::string_view path() const noexcept { return {tail(), path_size}; }
  std::string_view target() const noexcept { return {tail() + path_size, target_size}; }
  const char* data() const noexcept { return zeros ? nullptr : tail() + path_size + target_size; }
};

// The memory in which events lie: one mapping, shared with forked children.
class Arena {
 public:
  explicit Arena(std::uint64_t size);
  explicit Arena(const std::string& file);  // as written by save()
  ~Arena();
  Arena(const Arena&) = delete;

  Event* add(std::uint64_t bytes_behind) noexcept;
  std::uint64_t next_number() noexcept;
  void save(const std::string& file) const;
  std::vector<const Event*> events() const;  // by begin

 private:
  struct Head;
  Head* head_;
  std::uint64_t size_;
};

class Recorder : public io::Observer {
 public:
  // Records what happens below `root`, an existing directory, until stop(). Syncs take up to sync_us_max longer, so
  // that more goes on beside them, as on a real disk.
  Recorder(std::string root, Arena& arena, unsigned sync_us_max);
  ~Recorder() override { stop(); }
  void start();
  void stop();

  void commit(std::uint64_t csn, std::string_view changes);
  void acknowledge(std::uint64_t csn);
  // The same for a change of tables, whose csn only the others tell: it is above `before`, at most `after`.
  void commit_between(std::uint64_t before, std::uint64_t after, std::string_view changes);
  void acknowledge_between(std::uint64_t before, std::uint64_t after);

  int before(const io::Call& call) noexcept override;
  void after(const io::Call& call, long result) noexcept override;

 private:
  struct Descriptor {
    bool known, is_directory, synced;
    std::uint64_t file;
    char path[64];  // below root
  };
  static constexpr int kDescriptorsMax = 4096;

  // The part of the path below root; empty: none of ours.
  std::string_view below_root(const char* path) const noexcept;
  const Descriptor* descriptor(int fd) const noexcept;
  Event* add(Kind kind, std::string_view path, std::string_view target, std::uint64_t data_size) noexcept;
  Event* add_write(const io::Call& call, const Descriptor& to) noexcept;
  Event* add_name_change(const io::Call& call) noexcept;
  void add_mark(Kind kind, std::uint64_t csn, std::uint64_t before, std::uint64_t after, std::string_view changes);
  void opened(const io::Call& call, int fd, Event* created) noexcept;

  const std::string root_;
  Arena& arena_;
  const unsigned sync_us_max_;
  std::vector<Descriptor> descriptors_{kDescriptorsMax};
};

}  // namespace torture::power
