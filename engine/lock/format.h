// SPDX-License-Identifier: Apache-2.0
// The lock table in shared memory: the file `locks` beside the control region; the twin of docs/formats.md, section
// "Lock table". Made by the first opener, under the gate, zero-filled; removed by the last one to leave. Nothing of it
// outlives a session: locks are in memory only.
//
//   offset   what
//   0        LockShared
//   4096     OwnerId[4096]           16 KiB    who has which chunk of units
//   ...      HeatCell[8192]          16 KiB
//   ...      Bucket[8192]            512 KiB
//   ...      OwnerRow[4096]          512 KiB   blocks of it are reserved when a process first takes their chunk
//   ...      Unit[locks_max]         128 bytes each, likewise
//
// Who owns what. Owner rows and units belong to processes, chunk by chunk (`owner_chunks`, `unit_chunks` name the
// OwnerId; 0 = free). Only the owning process takes and gives back what is in its chunks, with bookkeeping of its own
// memory; so nothing is left half-allocated by a kill. What a dead process owned is taken back by `reap`, under the
// reaper latch: its units are unlinked, then the chunk is free.
//
// A bucket's list holds every request of the rows that hash there, granted and waiting. Those that wait for one row
// stand in order of arrival.
//
// Repair. A bucket is changed under its latch only. Each change of the list is one store (link in front, link behind
// the last, unlink, a request's new state), so the list is whole after a cut at any point. What can be left behind:
// `last` out of date, a row whose waiters nobody told of its release. The next holder of a dead process's latch sets
// `last` anew and grants what can be granted (`repair`). A unit that was filled but not linked, or unlinked but not
// given back, belongs to the dead process and is free with its chunk.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/histogram.h"
#include "platform/latch.h"
#include "platform/liveness.h"

namespace hf::lock {

enum class Mode : std::uint8_t { kNone = 0, kShared = 1, kExclusive = 2, kIncrement = 3 };

// Whether two owners may hold one row in these modes at once.
constexpr bool compatible(Mode a, Mode b) noexcept {
  return a == Mode::kNone || b == Mode::kNone || (a == b && a != Mode::kExclusive);
}
// The weakest mode that is as good as both.
constexpr Mode join(Mode a, Mode b) noexcept {
  return a == b || b == Mode::kNone ? a : a == Mode::kNone ? b : Mode::kExclusive;
}
constexpr bool covers(Mode held, Mode wanted) noexcept { return join(held, wanted) == held; }

inline constexpr char kLockMagic[8] = {'H', 'F', 'L', 'O', 'C', 'K', '0', '1'};
inline constexpr std::uint32_t kBuckets = 8192;  // a power of two
inline constexpr std::uint32_t kUnitsPerChunk = 64;
inline constexpr std::uint32_t kUnitChunksMax = 4096;
inline constexpr std::uint32_t kLocksMax = kUnitsPerChunk * kUnitChunksMax;  // 262,144
inline constexpr std::uint32_t kOwnersPerChunk = 16;
inline constexpr std::uint32_t kOwnerChunks = 256;                           // one for each process at least
inline constexpr std::uint32_t kOwnersMax = kOwnersPerChunk * kOwnerChunks;  // 4,096

// Numbers of units and owner rows are stored plus one; 0 = none.
using UnitRef = std::uint32_t;
using OwnerRef = std::uint32_t;

// What a request is at. One word, so that every change is one store:
// state | mode held << 8 | mode wanted << 16 | flags << 24.
enum class State : std::uint8_t {
  kUnused = 0,
  kWaiting = 1,    // wants `wanted`, holds nothing
  kGranted = 2,    // holds `held`
  kUpgrading = 3,  // holds `held`, waits for `wanted`
  kDropped = 4,    // taken away from an expired or dead owner; not in the list, or about to leave it
  kMore = 5        // no request: further bytes of a key
};
inline constexpr std::uint8_t kFlagStrict = 1;  // never passed by anybody; handed the lock directly
inline constexpr std::uint8_t kFlagWoken = 2;   // was told that the row may be free and has not looked yet

struct RequestWord {
  State state;
  Mode held;
  Mode wanted;
  std::uint8_t flags;
};
constexpr std::uint32_t pack(RequestWord word) noexcept {
  return static_cast<std::uint32_t>(word.state) | static_cast<std::uint32_t>(word.held) << 8 |
         static_cast<std::uint32_t>(word.wanted) << 16 | static_cast<std::uint32_t>(word.flags) << 24;
}
constexpr RequestWord unpack(std::uint32_t word) noexcept {
  return {static_cast<State>(word & 255), static_cast<Mode>(word >> 8 & 255), static_cast<Mode>(word >> 16 & 255),
          static_cast<std::uint8_t>(word >> 24)};
}

inline constexpr std::uint32_t kUnitKeySize = 80;    // bytes of a key in the request's own unit
inline constexpr std::uint32_t kUnitMoreSize = 120;  // in each further unit

// One request of one owner for one row. Written by the owner's process before it is linked; `word` and `next` by
// whoever holds the bucket's latch.
struct alignas(64) Unit {
  std::atomic<std::uint32_t> word;      // RequestWord
  std::atomic<std::uint32_t> next;      // UnitRef, in the bucket's list
  std::atomic<std::uint64_t> hash;      // of the row; chooses the bucket
  std::atomic<std::uint64_t> life;      // of the owner, see OwnerRow::status
  std::atomic<std::uint64_t> since_ns;  // monotonic: granted (coarse clock), or waiting, since
  std::atomic<std::uint32_t> owner;     // OwnerRef
  std::uint32_t table;                  // 0: a name, not a row
  std::uint32_t more;                   // UnitRef of the unit with the key's further bytes
  std::uint16_t key_size;
  std::uint16_t pad;  // zero
  char key[kUnitKeySize];
};
static_assert(sizeof(Unit) == 128);

// The further bytes of a long key take the place of a Unit.
struct UnitMore {
  std::atomic<std::uint32_t> word;  // State::kMore
  std::uint32_t more;               // UnitRef
  char key[kUnitMoreSize];
};
static_assert(sizeof(UnitMore) == sizeof(Unit) && offsetof(Unit, word) == offsetof(UnitMore, word));

struct alignas(64) Bucket {
  platform::FutexWord latch;             // as platform/latch.h; protects the list
  std::atomic<std::uint32_t> first;      // UnitRef
  std::atomic<std::uint32_t> last;       // UnitRef; out of date after a kill only
  std::uint32_t pad0;                    // zero
  std::atomic<std::uint64_t> handed_ns;  // monotonic: when one of its rows was last handed to an old sleeper
  std::uint32_t pad1[10];                // zero
};
static_assert(sizeof(Bucket) == 64);

// A transaction or a session that holds or wants locks.
enum class OwnerState : std::uint8_t {
  kIdle = 0,
  kRunning = 1,
  kCommitting = 2,  // past the point where its limits could take its locks away
  kExpired = 3      // somebody found it past its limits and takes its locks away
};
constexpr std::uint64_t make_status(std::uint64_t life, OwnerState state) noexcept {
  return life << 2 | static_cast<std::uint64_t>(state);
}
constexpr OwnerState state_of(std::uint64_t status) noexcept { return static_cast<OwnerState>(status & 3); }
constexpr std::uint64_t life_of(std::uint64_t status) noexcept { return status >> 2; }

// Written by the owning process; `status` also by who expires it (compare-and-swap kRunning -> kExpired), `wake` by
// everybody. Label and process are constant while a unit of the owner is linked.
struct alignas(64) OwnerRow {
  std::atomic<std::uint64_t> status;         // life << 2 | OwnerState; `life` counts what it was used for
  std::atomic<std::uint64_t> expires_at_ns;  // monotonic; UINT64_MAX = never
  std::atomic<std::uint64_t> began_ns;       // monotonic; the youngest of a deadlock has the greatest
  std::atomic<std::uint32_t> process;        // OwnerId
  platform::FutexWord wake;                  // raised and woken to make a waiter look
  std::atomic<std::uint32_t> waiting;        // UnitRef of what it waits for
  std::atomic<std::uint32_t> session;        // OwnerRef of the session that it runs inside of
  std::atomic<std::uint32_t> expired_by;     // OwnerId of the process that took its locks away
  std::uint32_t thread;                      // Linux thread id that began it; for reports
  char label[48];                            // NUL-terminated
  char pad[32];                              // zero
};
static_assert(sizeof(OwnerRow) == 128);

// Score of conflicts in the rows of one bucket: lower byte among rows only read, upper byte among rows read and
// written. Decays with time. Written by anybody, relaxed: a lost update is a lost hint.
using HeatCell = std::atomic<std::uint16_t>;

struct LockShared {
  char magic[8];
  std::uint32_t locks_max;  // units; the first opener's option
  std::uint32_t pad0;       // zero
  alignas(64) platform::LatchWord reaper_latch;
  alignas(64) std::atomic<std::uint64_t> hot;    // not zero: some heat cell may be (read by every first touch)
  std::atomic<std::uint64_t> cooled_at_ns;       // when the heat was last let decay; monotonic
  alignas(64) std::atomic<std::uint64_t> waits;  // statistics, since the first open
  std::atomic<std::uint64_t> timeouts;
  std::atomic<std::uint64_t> deadlocks;
  std::atomic<std::uint64_t> handovers;  // granted to a sleeper directly
  std::atomic<std::uint64_t> expiries;   // owners whose locks were taken away
  std::atomic<std::uint64_t> takeovers;  // bucket latches taken over from dead processes
  std::atomic<std::uint64_t> longest_wait_ns;
  std::atomic<std::uint64_t> waited_ns;                               // by all waits together
  alignas(64) std::atomic<std::uint32_t> owner_chunks[kOwnerChunks];  // OwnerId
  TimeHistogram wait_times;                                           // statistics, as `waits`
  char pad1[4096 - 512 - 4 * kOwnerChunks];                           // zero
};
static_assert(sizeof(LockShared) == 4096);

inline constexpr std::size_t kUnitChunksOffset = sizeof(LockShared);  // std::atomic<OwnerId>[kUnitChunksMax]
inline constexpr std::size_t kHeatOffset = kUnitChunksOffset + kUnitChunksMax * sizeof(std::uint32_t);
inline constexpr std::size_t kBucketsOffset = kHeatOffset + kBuckets * sizeof(HeatCell);
inline constexpr std::size_t kOwnersOffset = kBucketsOffset + kBuckets * sizeof(Bucket);
inline constexpr std::size_t kUnitsOffset = kOwnersOffset + kOwnersMax * sizeof(OwnerRow);
static_assert(kOwnersOffset % 4096 == 0 && kUnitsOffset % 4096 == 0);

constexpr std::size_t lock_file_size(std::uint32_t locks_max) noexcept {
  return kUnitsOffset + std::size_t{locks_max} * sizeof(Unit);
}

// Typed access to a mapped lock file.
struct LockRegion {
  char* base = nullptr;
  LockShared& shared() const noexcept { return *reinterpret_cast<LockShared*>(base); }
  std::atomic<std::uint32_t>* unit_chunks() const noexcept {
    return reinterpret_cast<std::atomic<std::uint32_t>*>(base + kUnitChunksOffset);
  }
  HeatCell& heat(std::uint64_t hash) const noexcept {
    return reinterpret_cast<HeatCell*>(base + kHeatOffset)[hash & (kBuckets - 1)];
  }
  Bucket& bucket(std::uint64_t hash) const noexcept {
    return reinterpret_cast<Bucket*>(base + kBucketsOffset)[hash & (kBuckets - 1)];
  }
  OwnerRow& owner(OwnerRef ref) const noexcept { return reinterpret_cast<OwnerRow*>(base + kOwnersOffset)[ref - 1]; }
  Unit& unit(UnitRef ref) const noexcept { return reinterpret_cast<Unit*>(base + kUnitsOffset)[ref - 1]; }
  UnitMore& more(UnitRef ref) const noexcept { return reinterpret_cast<UnitMore*>(base + kUnitsOffset)[ref - 1]; }
};

}  // namespace hf::lock
