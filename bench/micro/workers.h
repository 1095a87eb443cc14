// SPDX-License-Identifier: Apache-2.0
// Worker processes and what they share with the process that measures.
//
// Processes are forked before any database is open, and each opens it for itself. Workers count what they did in shared
// memory and read no clock (but see contest.h); the measuring process takes the counts and the time at both ends of an
// interval.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <new>
#include <vector>

#include "side.h"

namespace hf::bench {

inline constexpr unsigned kWorkersMax = 1024;  // threads of all processes
inline constexpr unsigned kProcessesMax = 64;

// One per thread, on a cache line of its own. Written by that thread only; read by the measuring process, which needs
// no order: a count may be a moment old.
struct alignas(64) WorkerSlot {
  std::atomic<std::uint64_t> done;
  std::atomic<std::uint64_t> retries;
};

// Each word has one writer, named here. All are zero at first.
struct Control {
  std::atomic<std::uint32_t>
      ready;                      // workers add 1 when they could start; release, pairs with the acquire in wait_ready
  std::atomic<std::uint32_t> go;  // measuring process
  std::atomic<std::uint32_t> stop;                          // measuring process
  std::atomic<std::uint64_t> elapsed_ns;                    // a child that times one thing
  std::atomic<std::uint64_t> private_bytes[kProcessesMax];  // each process: the most that it saw
  std::atomic<std::uint64_t> retries;                       // each process adds those of its threads at the end
  // Figures of the engine, by process 0.
  std::atomic<std::uint64_t> csn;
  std::atomic<std::uint64_t> syncs;    // during the run
  std::atomic<std::uint64_t> commits;  // during the run
  std::atomic<std::uint64_t> log_bytes_max;
  std::atomic<std::uint64_t> overlay_bytes_seen;
  std::atomic<std::uint64_t> overlay_bytes_max;
  std::atomic<std::uint64_t> base_bytes_max;
  std::atomic<std::uint64_t> engine_private_bytes;
  WorkerSlot slots[kWorkersMax];
};

// Zeroed memory that processes forked from now on share.
void* map_shared(std::size_t size);
void unmap_shared(void* memory, std::size_t size);

// A T in such memory.
template <class T>
class Shared {
 public:
  Shared() : object_(new (map_shared(sizeof(T))) T{}) {}
  ~Shared() { unmap_shared(object_, sizeof(T)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  T& operator*() const { return *object_; }
  T* operator->() const { return object_; }

 private:
  T* object_;
};
using SharedControl = Shared<Control>;

// Forked children. One that fails ends the whole run, since it has said why on stderr. They die with their parent.
class Children {
 public:
  Children() = default;
  ~Children() { kill_all(); }
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  void start(const std::function<void()>& body);
  // Fails when one has ended: for the time when all should be running.
  void check_running();
  void wait_all();
  // SIGKILL, and waits for the deaths.
  void kill_all();

 private:
  std::vector<pid_t> pids_;
};

// Waits until `count` workers are ready.
void wait_ready(const Control& control, Children& children, std::uint32_t count);

struct Sample {
  std::uint64_t ns = 0;
  std::uint64_t done = 0;
};
Sample take_sample(const Control& control, unsigned workers);

// The larger of what is there and `value`; one writer, so no exchange loop.
inline void raise(std::atomic<std::uint64_t>& word, std::uint64_t value) {
  if (value > word.load(std::memory_order_relaxed)) word.store(value, std::memory_order_relaxed);
}

}  // namespace hf::bench
