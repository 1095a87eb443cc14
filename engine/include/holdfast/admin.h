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

/* Called now and then by long work, from the thread that does it. `done` grows up to `total`, in bytes; total may be 0
 * (unknown) and may still grow. Anything but 0 ends the work: it answers HF_CANCELLED and takes back what it made. */
typedef int (*hf_progress)(uint64_t done, uint64_t total, void* context);

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

/* --- check ------------------------------------------------------------------------------------------------------- */

typedef struct hf_finding {
  uint32_t size;     /* sizeof(hf_finding) */
  int code;          /* HF_CORRUPT, HF_WRONG_FORMAT, HF_IO_ERROR; HF_OK: worth knowing, nothing is lost */
  const char* file;  /* path, NUL-terminated; "" when it concerns no one file */
  uint64_t offset;   /* in the file, bytes; UINT64_MAX: unknown */
  const char* table; /* name, or "#<number>" when the name is not known; "" when none */
  hf_bytes key;      /* the row; empty when none */
  uint64_t csn;      /* of the commit or row version; 0: none */
  const char* text;  /* one line */
} hf_finding;
typedef int (*hf_finding_visit)(const hf_finding* finding, void* context); /* non-zero ends the check: HF_CANCELLED */

typedef struct hf_check_options {
  uint32_t size; /* sizeof(hf_check_options) */
  uint32_t flags;
  hf_finding_visit visit; /* may be NULL */
  void* visit_context;
  hf_progress progress; /* may be NULL */
  void* progress_context;
} hf_check_options;
#define HF_CHECK_OPTIONS_INIT \
  { sizeof(hf_check_options), 0, NULL, NULL, NULL, NULL }

typedef struct hf_check_result {
  uint32_t size;           /* set by the caller */
  uint32_t online;         /* 1: other processes had it open: what they share was checked too */
  uint64_t findings;       /* with a code other than HF_OK */
  uint64_t rows;           /* rows of the base whose checksum is right */
  uint64_t rows_unchecked; /* rows written before rows had checksums */
  uint64_t pages;          /* pages of the base that were walked */
  uint64_t log_records;
  uint64_t log_bytes;
  uint64_t overlay_versions;
  uint64_t csn_applied; /* newest commit in the base */
  uint64_t csn_log;     /* newest commit in the log */
} hf_check_result;

/*
 * Reads everything and changes nothing: the log's segments and records, the base's pages, catalog, rows and expiry
 * index, each row's checksum, and, while others have it open, the overlay and the shared structures. Works on damaged
 * directories: each thing found is told to `visit` and the check goes on where it can.
 * Nobody has it open: holds the gate, so that nobody can open it meanwhile. Others have it open: joins them as one more
 * process and disturbs none.
 *   HF_OK           sound
 *   HF_CORRUPT      something was found; HF_WRONG_FORMAT: it is no database, or a newer one
 *   HF_NOT_FOUND    no such directory, or no database in it
 *   HF_BUSY         another process was opening or closing it for 30 s
 */
HF_API HF_NODISCARD int hf_check(const char* path, const hf_check_options* options, hf_check_result* result,
                                 hf_error* error);

/* --- backup and restore ------------------------------------------------------------------------------------------ */

typedef struct hf_backup_options {
  uint32_t size;  /* sizeof(hf_backup_options) */
  uint32_t flags; /* 0 */
  hf_progress progress;
  void* progress_context;
} hf_backup_options;
#define HF_BACKUP_OPTIONS_INIT \
  { sizeof(hf_backup_options), 0, NULL, NULL }

typedef struct hf_backup_result {
  uint32_t size; /* set by the caller */
  uint32_t reserved;
  uint64_t csn;             /* the copy holds exactly the commits up to this one */
  uint64_t committed_at_ms; /* wall clock of that commit, as far as known; else 0 */
  uint64_t bytes;           /* written */
} hf_backup_result;

/*
 * Copies the database as it is at one commit, at least as new as the newest durable one when the call began, while
 * others go on. To a directory, which is made and must not exist or be empty: HF_EXISTS. The copy is a database: it
 * can be opened, checked and backed up itself. Durable when the call returns. Blocks on the disks. Merges first:
 * HF_BUSY when a bulk load, or another merge, holds the base for overload_timeout_ms. On any failure, and when it is
 * ended, what was made is taken back. A backup that was killed leaves the file UNFINISHED, which opening and
 * restoring refuse. The copy has an identity of its own and no log; BACKUP in it is its manifest. Once it was opened
 * as a database it is no longer a backup: hf_restore answers HF_CORRUPT. `result` may be NULL.
 */
HF_API HF_NODISCARD int hf_backup(hf_db* db, const char* destination, const hf_backup_options* options,
                                  hf_backup_result* result);
/* The same as a stream of bytes with checksums, to a pipe, socket or file: for hf_restore_fd. `fd` stays the
 * caller's. A file is synced. HF_IO_ERROR: the reader has gone (no SIGPIPE is raised). */
HF_API HF_NODISCARD int hf_backup_fd(hf_db* db, int fd, const hf_backup_options* options, hf_backup_result* result);

typedef struct hf_restore_options {
  uint32_t size;  /* sizeof(hf_restore_options) */
  uint32_t flags; /* 0 */
  /* Database directory whose log holds the commits after the backup: the one that the backup was made of, dead or
   * alive. NULL: the backup alone. See log_keep_bytes in hf_open_options for how far back a log reaches. */
  const char* log_of;
  uint64_t until_csn; /* the last commit to take over; 0: no limit */
  uint64_t until_ms;  /* stops before the first commit made later, wall clock; 0: no limit */
  hf_progress progress;
  void* progress_context;
} hf_restore_options;
#define HF_RESTORE_OPTIONS_INIT \
  { sizeof(hf_restore_options), 0, NULL, 0, 0, NULL, NULL }

typedef struct hf_restore_result {
  uint32_t size; /* set by the caller */
  uint32_t reserved;
  uint64_t csn;             /* newest commit in the restored database */
  uint64_t committed_at_ms; /* of it, as far as known */
  uint64_t records;         /* taken over from the log */
} hf_restore_result;

/*
 * Makes a database in directory `destination`, which must not exist or be empty (HF_EXISTS), from a backup (a directory
 * or a file that a stream was written to), then takes over commits from a log. The result is a database of its own: it
 * has another identity, so that the logs of the two are never mixed up.
 * Of a log whose database is open, commits durable when the restore began are taken over; of one that nobody has open,
 * all that recovery would find in the files.
 *   HF_NOT_FOUND         no such backup
 *   HF_CORRUPT           the backup is damaged, torn off or was never finished
 *   HF_SNAPSHOT_TOO_OLD  the log does not reach back to the backup; or a commit to be taken over ended a bulk load,
 *                        whose rows no log has: the message names the commit up to which it can be done. Nothing
 *                        is made
 *   HF_INVALID_ARGUMENT  until_csn or until_ms lies before the backup; or log_of is not the database it was made of
 */
HF_API HF_NODISCARD int hf_restore(const char* backup, const char* destination, const hf_restore_options* options,
                                   hf_restore_result* result, hf_error* error);
HF_API HF_NODISCARD int hf_restore_fd(int fd, const char* destination, const hf_restore_options* options,
                                      hf_restore_result* result, hf_error* error);

typedef struct hf_compact_result {
  uint32_t size; /* set by the caller */
  uint32_t reserved;
  uint64_t bytes_before; /* of the data file */
  uint64_t bytes_after;
} hf_compact_result;

/* Writes the data file anew without its free pages and puts it in place of the old one in one step; killed at any
 * moment it leaves one or the other. Needs room for the copy. A database that was not left in order is
 * recovered first. HF_BUSY: somebody has it open. HF_NOT_FOUND: there is none. */
HF_API HF_NODISCARD int hf_compact(const char* path, hf_progress progress, void* progress_context,
                                   hf_compact_result* result, hf_error* error);

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
 * nobody. Of a database that nobody has open, what recovery would find in the files counts as durable. Rows of bulk
 * loads are not in the log. HF_SNAPSHOT_TOO_OLD: commits from there on are gone; the message names the oldest there is.
 * HF_BUSY: somebody was opening or leaving it for 30 s. */
HF_API HF_NODISCARD int hf_log_open(const char* path, uint64_t from_csn, hf_log_reader** reader, hf_error* error);
/* The next record, valid until the next call. HF_NOT_FOUND: the end, and no further durable commit came within
 * timeout_ms. HF_SNAPSHOT_TOO_OLD: the log was used again faster than it was read. HF_CORRUPT: names file and
 * offset. */
HF_API HF_NODISCARD int hf_log_next(hf_log_reader* reader, uint64_t timeout_ms, hf_log_record* record);
HF_API int hf_log_error(hf_log_reader* reader, hf_error* error);
HF_API int hf_log_close(hf_log_reader** reader);

#ifdef __cplusplus
}
#endif

#endif /* HOLDFAST_ADMIN_H */
