// SPDX-License-Identifier: Apache-2.0
// The log's layouts, on disk and in shared memory; the twin of docs/formats.md, sections "Log segment" and "Log
// shared". All integers are little endian.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/histogram.h"
#include "platform/futex.h"
#include "platform/latch.h"

namespace hf::log {

// --- on disk ---------------------------------------------------------------------------------------------------

inline constexpr char kSegmentMagic[8] = {'H', 'F', 'L', 'O', 'G', '0', '0', '1'};
inline constexpr std::uint32_t kSegmentVersion = 1;
inline constexpr std::uint32_t kByteOrder = 0x01020304;
inline constexpr std::size_t kSegmentHeaderSize = 4096;  // records start here; one block, written with the first flush

// First bytes of a segment file. Written by the flusher, under the flush latch, before the segment's first record.
struct SegmentHeader {
  char magic[8];
  std::uint32_t version;
  std::uint32_t byte_order;  // kByteOrder
  std::uint64_t database_id;
  std::uint64_t sequence;   // 1, 2, 3...: order of segments; part of every checksum seed in this use of the file
  std::uint64_t base_lsn;   // lsn of the byte at kSegmentHeaderSize
  std::uint64_t first_csn;  // csn that the first record here has
  std::uint64_t size;       // bytes of the whole file
  std::uint64_t checksum;   // XXH3 of the bytes above, seeded with database_id
};
static_assert(sizeof(SegmentHeader) == 64);
static_assert(offsetof(SegmentHeader, version) == 8 && offsetof(SegmentHeader, byte_order) == 12);
static_assert(offsetof(SegmentHeader, database_id) == 16 && offsetof(SegmentHeader, sequence) == 24);
static_assert(offsetof(SegmentHeader, base_lsn) == 32 && offsetof(SegmentHeader, first_csn) == 40);
static_assert(offsetof(SegmentHeader, size) == 48 && offsetof(SegmentHeader, checksum) == 56);

inline constexpr std::uint32_t kFrameMagic = 0x31524648;  // "HFR1": a commit record
inline constexpr std::uint32_t kRollMagic = 0x31534648;   // "HFS1": the log goes on in the next segment; body empty

// Before each record; frames are 8-byte aligned, the body is padded with zeros to 8. Each flush also writes one frame
// header of zeros after its last record, the terminator: a reused file has an older use's bytes there otherwise.
struct FrameHeader {
  std::uint32_t magic;
  std::uint32_t body_size;    // bytes without padding
  std::uint64_t csn;          // of the record; of a roll frame: that of the record before it
  std::uint64_t durable_csn;  // durable when this was appended: tells damage from a torn tail at recovery. Of a roll
                              // frame: the file_no of the next segment
  std::uint64_t checksum;     // XXH3 of the body, seeded with the XXH3 of the 24 bytes above, seeded with frame_seed()
};
static_assert(sizeof(FrameHeader) == 32);
static_assert(offsetof(FrameHeader, csn) == 8 && offsetof(FrameHeader, durable_csn) == 16);
static_assert(offsetof(FrameHeader, checksum) == 24);

// --- in shared memory ------------------------------------------------------------------------------------------

inline constexpr std::size_t kRingSize = 4u << 20;            // fits a level-3 cache; holds thousands of small commits
inline constexpr std::size_t kDirectSizeMin = kRingSize / 4;  // bodies over this go round the ring
inline constexpr std::size_t kRecordSizeMax = 256u << 20;     // largest body: a transaction's write set
inline constexpr std::uint32_t kSegmentsMax = 128;
inline constexpr std::uint32_t kSegmentsKeptMax = kSegmentsMax / 2;  // with merged ones among them; the rest is room

// State of a row:
//
//   kNone --prepare--> kMaking --file is zeros and synced--> kReady --append rolls--> kLive
//     ^                  |  ^                                  ^                        |
//     +---file removed---+  +------------- recycle: all its commits are in the base ----+
//                        +------------------ kept for use again -----> kReady
enum class SegmentState : std::uint32_t {
  kNone = 0,    // the row is unused
  kMaking = 1,  // a file is being prepared or removed under the prepare latch; after a kill the next holder removes it
  kReady = 2,   // waits to become current; all fields but file_no and size mean nothing
  kLive = 3,    // holds records; or, with a sequence above that of the tail's row: taken by an append that was killed
                // before its commit point. The next append that rolls uses such a row or gives it back.
};

// One segment file in use. State kReady -> kLive and all fields of a row in kLive: under the commit latch, stored
// before the appended_csn that makes them part of the log. Other changes: the prepare latch.
struct SegmentRow {
  std::atomic<std::uint32_t> state;    // SegmentState; stored last (release) when a row is filled
  std::atomic<std::uint32_t> file_no;  // names the file: log-<file_no>.hfl
  std::atomic<std::uint64_t> sequence;
  std::atomic<std::uint64_t> size;  // bytes of the file
  std::atomic<std::uint64_t> base_lsn;
  std::atomic<std::uint64_t> first_csn;
  std::atomic<std::uint64_t> last_csn;  // holds once a segment of greater sequence is the tail's
  std::uint64_t pad[2];                 // zero
};
static_assert(sizeof(SegmentRow) == 64);

// Where record `csn` lies; two of them alternate by csn parity, so that the one of appended_csn is never overwritten.
struct TailSlot {
  std::atomic<std::uint64_t> record_lsn;  // its frame; equal to end_lsn when the log has no record yet
  std::atomic<std::uint64_t> end_lsn;     // after its padding
  std::atomic<std::uint32_t> row;         // of the segment it is in, which is the one that takes appends
  std::atomic<std::uint32_t> in_file;     // 1: never was in the ring; read it from the file
};
static_assert(sizeof(TailSlot) == 24);

// Who may write: line one: the commit latch. Line two: the flush latch. Words and failed*: anybody. next_file_no: the
// prepare latch. segments: see SegmentRow. A kill at any moment leaves all of it valid; see docs/formats.md.
struct alignas(64) LogShared {
  std::atomic<std::uint64_t> appended_csn;  // release: the commit point of an append
  TailSlot tail[2];
  std::atomic<std::uint64_t> direct_csn;  // record whose bytes went round the ring, when it is not over appended_csn
  // -- flush
  std::atomic<std::uint64_t> written_lsn;  // the ring below this may be overwritten
  std::atomic<std::uint64_t> durable_csn;
  std::atomic<std::uint64_t> flush_state;       // csn that the newest flush covers << 1 | parity of that flush's number
  std::atomic<std::uint64_t> header_sequence;   // newest segment whose header is in its file: the one flushed into
  std::atomic<std::uint64_t> durable_sequence;  // newest segment whose header is on the device
  std::atomic<std::uint64_t> direct_lsn;        // of direct_csn's frame
  std::atomic<std::uint64_t> direct_end;        // after its padding
  std::atomic<std::uint64_t> syncs;
  // -- waits, failure
  platform::FutexWord durable_word;   // counts changes of durable_csn and failure
  platform::FutexWord batch_word[2];  // [parity of a flush's number]: those whose commits that flush covers
  std::atomic<std::uint32_t> next_file_no;
  std::atomic<std::uint32_t> failed;             // 0, or the code of the first failure
  std::atomic<std::uint32_t> failed_text_ready;  // 1 (release) once failed_text is whole
  std::uint64_t pad0[5];                         // zero
  char failed_text[128];                         // NUL-terminated
  platform::LatchWord flush_latch;
  platform::LatchWord prepare_latch;
  TimeHistogram sync_times;  // of the syncs that flushes waited for; anybody
  SegmentRow segments[kSegmentsMax];
};
static_assert(offsetof(LogShared, tail) == 8 && offsetof(LogShared, direct_csn) == 56);
static_assert(offsetof(LogShared, written_lsn) == 64 && offsetof(LogShared, syncs) == 120);
static_assert(offsetof(LogShared, durable_word) == 128 && offsetof(LogShared, failed) == 144);
static_assert(offsetof(LogShared, failed_text) == 192 && offsetof(LogShared, flush_latch) == 320);
static_assert(offsetof(LogShared, sync_times) == 448 && offsetof(LogShared, segments) == 704);
static_assert(sizeof(LogShared) == 704 + kSegmentsMax * 64);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::uint32_t>::is_always_lock_free);

}  // namespace hf::log
