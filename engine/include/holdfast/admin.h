/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holdfast for the person who runs the shop: who has the database open, figures for monitoring, check, backup, restore,
 * compaction, and reading the log. The `holdfast` command is made of these functions. The conventions of
 * holdfast/holdfast.h hold here too.
 *
 * Functions that take a path and no handle work on a directory that nobody may be able to open any more. They say what
 * they hold against others meanwhile. Their failure's detail is in `error`, which may be NULL.
 */
#ifndef HOLDFAST_ADMIN_H
#define HOLDFAST_ADMIN_H

#include <holdfast/holdfast.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- who is there ------------------------------------------------------------------------------------------------ */

typedef struct hf_process_info {
  uint32_t size;           /* sizeof(hf_process_info) */
  uint32_t slot;           /* its place, 0 to 255 */
  uint64_t pid;            /* as the process sees itself */
  uint64_t opened_ms;      /* wall clock, milliseconds since 1970 */
  char label[48];          /* NUL-terminated */
  uint64_t pins;           /* snapshots that its transactions hold */
  uint64_t oldest_pin_csn; /* base csn of the oldest of them; 0: none */
  uint64_t oldest_pin_age_ms;
  uint64_t locks_held;    /* rows and names */
  uint64_t locks_waiting; /* of its transactions, those that wait for one */
  uint32_t is_self;       /* 1: the caller's own process */
  uint32_t is_maintainer; /* 1: does the background work now */
} hf_process_info;

/* Calls `visit` for each process that has the database open, in order of slot, until it answers non-zero, which is then
 * the answer. Whether a process is there is asked of the kernel: one that was killed is not. Valid during the call. */
typedef int (*hf_process_visit)(const hf_process_info* info, void* context);
HF_API HF_NODISCARD int hf_processes(hf_db* db, hf_process_visit visit, void* context);

/*
 * All figures of hf_stat and the times of waits, commits and syncs, as Prometheus text (exposition format 0.0.4, every
 * line with its HELP and TYPE), NUL-terminated. *size is its length without the NUL, also when it answers HF_TOO_LARGE
 * because `capacity` is smaller (nothing is written then). `buffer` may be NULL with capacity 0. Does not block.
 */
HF_API HF_NODISCARD int hf_metrics(hf_db* db, char* buffer, size_t capacity, size_t* size);

/* --- reading the log --------------------------------------------------------------------------------------------- */

enum { HF_LOG_PUT = 1, HF_LOG_DELETE = 2, HF_LOG_DROP_TABLE = 3 };

typedef struct hf_log_operation {
  uint32_t kind;       /* HF_LOG_... */
  uint32_t table_id;   /* tables below 16 are the engine's own */
  const char* table;   /* name as far as the database or the log tells it, else "" */
  hf_bytes key;        /* empty for HF_LOG_DROP_TABLE */
  hf_bytes value;      /* a counter's: its eight bytes, least significant first */
  uint64_t expires_ms; /* wall clock; 0: never */
  uint32_t is_counter; /* 1: HF_LOG_PUT of a counter */
  uint32_t reserved;
} hf_log_operation;

typedef struct hf_log_record {
  uint32_t size; /* set by the caller */
  uint32_t operation_count;
  const hf_log_operation* operations;
  uint64_t csn;
  uint64_t committed_at_ms; /* wall clock */
  const char* file;         /* path of the segment that it lies in */
  uint64_t offset;          /* in that file, bytes */
  uint64_t bytes;           /* its length there */
} hf_log_record;

typedef struct hf_log_reader hf_log_reader; /* one thread at a time */

/* Reads the commits from `from_csn` on (0: the oldest that the log still has) in order, of a database that is open in
 * any number of processes, this one included, or in none. Reads files only, never what is not durable, and disturbs
 * nobody. HF_SNAPSHOT_TOO_OLD: commits from there on are gone; the message names the oldest there is. */
HF_API HF_NODISCARD int hf_log_open(const char* path, uint64_t from_csn, hf_log_reader** reader, hf_error* error);
/* The next record, valid until the next call. HF_NOT_FOUND: the end, and no further durable commit came within
 * timeout_ms. HF_SNAPSHOT_TOO_OLD: the log was used again faster than it was read. HF_CORRUPT: names file and offset. */
HF_API HF_NODISCARD int hf_log_next(hf_log_reader* reader, uint64_t timeout_ms, hf_log_record* record);
HF_API int hf_log_error(hf_log_reader* reader, hf_error* error);
HF_API int hf_log_close(hf_log_reader** reader);

#ifdef __cplusplus
}
#endif

#endif /* HOLDFAST_ADMIN_H */
