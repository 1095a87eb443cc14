// SPDX-License-Identifier: Apache-2.0
// Layer `log`: the truth about what committed. May include `base`, `platform` and the generated schema; `txn` uses it.
//
// One append-only sequence of bytes, numbered by lsn (log sequence number = byte offset since the database was made),
// kept in preallocated, recycled segment files. Records enter a ring in shared memory under the commit latch, which
// belongs to `txn`; a *flush* by any thread of any process carries the ring into the files and syncs once for
// everybody.
//
// Thread contract. Functions marked [latch] need the commit latch, which makes them the only ones of their kind in all
// processes. All others may be called by any thread of any process at any time.
//
// Invariants
//  1. written_lsn <= end of the record `appended_csn`; end - written_lsn <= ring size, not counting a record that went
//     round the ring.
//  2. Storing appended_csn is the only act that makes a record part of the log. A process killed earlier leaves bytes
//     that the next append overwrites; killed later, the record is whole and the next latch owner finds it by last().
//  3. Everything up to durable_csn is on the device. durable_csn <= appended_csn.
//  4. A segment is written only after all of the segment before it is on the device, so a hole in the middle of the log
//     is damage, never the mark of a power failure.
//  5. Once a sync has failed, `failed` stays set for as long as anybody has the database open.
//
// File and shared layouts: log/format.h and docs/formats.md.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/status.h"
#include "log/format.h"
#include "platform/liveness.h"

namespace hf::log {

struct LogOptions {
  std::string directory;                       // holds the segment files; exists
  std::uint64_t database_id = 0;               // random, seeds every checksum, so a foreign segment never reads as ours
  std::uint64_t segment_size_min = 1u << 20;   // bytes of the first segment
  std::uint64_t segment_size_max = 64u << 20;  // each new one doubles up to this
  // Segments that are wholly in the base stay for readers of the log, the newest of them, as long as they are not more
  // bytes than this together, and half of kSegmentsMax in number with all others.
  std::uint64_t keep_bytes = 0;
};

// What recovery found.
struct Recovered {
  Csn last_csn = 0;             // newest commit in the log, or `applied` when the log has nothing newer
  std::uint64_t records = 0;    // handed to `apply`
  std::uint64_t bytes_cut = 0;  // torn tail that was cut off
};

// Receives one record in csn order. `body` is a verified schema::Record, valid during the call.
using ApplyRecord = std::function<Status(Csn csn, Bytes body)>;

struct LogStats {
  Csn appended_csn, durable_csn;
  std::uint64_t syncs;  // fdatasync calls of all processes since the first open
  std::uint64_t bytes_appended;
  std::uint64_t bytes_on_disk;  // size of all segment files
  std::uint32_t segments;
  Times sync_times;
};

class Log {
 public:
  ~Log();
  Log(const Log&) = delete;

  // First opener, under the gate, before anybody else attaches. `shared` is zero-filled, `ring` is kRingSize bytes.
  // Reads every record newer than `applied` from the files, hands it to `apply`, cuts a torn tail, and makes the log
  // ready for appending the commit after the last one. A corrupt record before the tail, a missing segment, a foreign
  // or newer format: an error that names file and offset; nothing is changed on disk then. `clean` says that the
  // base holds every commit (the last session ended in order), so that an absent log is no loss. Otherwise a log that
  // ends before `applied` has lost commits: kCORRUPT. So a merge must wait until what it merges is durable here.
  static Result<std::unique_ptr<Log>> recover(LogShared& shared, char* ring, const platform::Liveness& liveness,
                                              LogOptions options, Csn applied, bool clean, const ApplyRecord& apply,
                                              Recovered* recovered);

  // Every later opener.
  static Result<std::unique_ptr<Log>> attach(LogShared& shared, char* ring, const platform::Liveness& liveness,
                                             LogOptions options);

  // Whether recover() would refuse the directory for a foreign or newer file. Changes nothing.
  static Status look(const LogOptions& options);

  // Before recover(), when the shared memory of a session whose processes all died is still there: writes the part of
  // the old ring that never reached the files, so that a commit answered with durability=relaxed survives a crash of
  // every process as long as the machine stays up. `shared` and `ring` are untrusted; what does not verify is ignored.
  // A log that recover() would refuse for a foreign file is an error here: the caller has to keep the memory then.
  static Status salvage(const LogShared& shared, const char* ring, const LogOptions& options);

  // --- append -------------------------------------------------------------------------------------------------

  // [latch] Whether append(csn, body of that size) has room in ring and segment right now.
  bool has_room(std::size_t body_size) const noexcept;

  // Not under the latch: makes room for a record of that size: flushes when the ring is full, prepares a segment when
  // the current one is. Blocks on the disk; bounded by the deadline (kTIMEOUT). After kOK try has_room() again, others
  // may have taken the room. A body over kRecordSizeMax: kTOO_LARGE.
  Status make_room(std::size_t body_size, Deadline deadline);

  // [latch] Appends the record. Requires: has_room(body.size()), csn == appended_csn() + 1. Cannot fail.
  void append(Csn csn, Bytes body) noexcept;

  // [latch] For a body over kDirectSizeMin, which never goes through the ring: first lock_direct (outside the commit
  // latch: it waits for a running flush), then the commit latch, then append_direct, which writes to the files without
  // syncing and can fail (nothing appended then; kBUSY when others took the room: begin again), then leave the commit
  // latch, then unlock_direct. Lock order: flush latch before commit latch, here only.
  Status lock_direct(std::size_t body_size, Deadline deadline);
  Status append_direct(Csn csn, Bytes body);
  void unlock_direct() noexcept;

  // [latch] The newest record, for finishing what a killed owner had appended but not made visible. Copies it to *body.
  // kNOT_FOUND: nothing was appended since recover().
  Status last(Csn* csn, std::string* body) const;

  Csn appended_csn() const noexcept;

  // --- durability ---------------------------------------------------------------------------------------------

  Csn durable_csn() const noexcept;
  // Blocks until the commit is on the device: flushes, or sleeps while another thread's flush covers it. kTIMEOUT at
  // the deadline; kFAILED when a sync failed before the commit was durable. Requires: csn <= appended_csn().
  Status wait_durable(Csn csn, Deadline deadline);
  // The word that changes whenever durable_csn() does, the log fails or its ring was emptied; for futex waits of
  // others.
  const platform::FutexWord& durable_word() const noexcept;
  // kFAILED with the first failure's text, once any process met one.
  Status failure() const;
  // Makes the failure of another durable layer final too (the base's, for instance).
  void fail(const Status& why) noexcept;

  // --- upkeep -------------------------------------------------------------------------------------------------

  // Prepares the next segment when the current one is half full. By the maintainer, regularly.
  Status prepare_ahead();
  // Lets segments whose commits are all <= `applied` be used again or removed, oldest first, but for those that
  // keep_bytes keeps. By the maintainer, after a merge.
  Status recycle(Csn applied);
  LogStats stats() const noexcept;

 private:
  class Impl;
  explicit Log(std::unique_ptr<Impl> impl) noexcept;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hf::log
