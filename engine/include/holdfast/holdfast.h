/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holdfast: an embedded transactional storage engine. C interface and reference manual.
 *
 * One directory of files is one database. Any number of threads of any number of processes may open it and run
 * transactions on it; there is no server. A commit that answered HF_OK with full durability survives SIGKILL and power
 * failure.
 *
 *
 * CONVENTIONS (they hold for every function unless its own text says otherwise)
 *
 * Status      Every function that can fail answers an int: HF_OK (0) or another HF_ code. The codes, with their meaning
 *             and the three predicates (retryable, not committed, maybe committed), are in holdfast/errors.def. Codes
 *             listed at a function are those worth acting on; besides them any call may answer HF_INVALID_ARGUMENT,
 *             HF_MISUSE, HF_FORKED, HF_NO_MEMORY, HF_IO_ERROR, HF_CORRUPT, HF_FAILED, HF_INTERNAL.
 * Detail      The detail of the last failure (message, table, key, the other party) is read from the handle that the
 *             call was made on: hf_txn_error() for calls on a transaction or its cursors, hf_db_error() for calls on a
 *             database, hf_session_error() for a session, hf_load_error() for a load. It stays until the next failure
 *             on the same handle. A call refused because of the handle itself (NULL, ended, inherited, in use by
 *             another thread) leaves none.
 * Handles     Opaque. A function that ends a handle takes its address, sets it to NULL and accepts NULL. Using an ended
 *             handle answers HF_MISUSE as long as its memory was not given to a newer handle. The variable is left as
 *             it is only when the handle lives on: in use by another thread, or refused as the text says.
 * Outputs     Come last. On failure an output handle is set to NULL, other outputs are unspecified unless stated.
 * Bytes       Keys and values are hf_bytes: pointer and length, any bytes, not NUL-terminated. A NULL pointer is legal
 *             only with length 0. Inputs are copied before the call returns; the caller may reuse the memory.
 *             Keys: 1 to HF_KEY_SIZE_MAX bytes, ordered as unsigned bytes. Values: 0 to HF_VALUE_SIZE_MAX bytes.
 * Zero copy   Bytes that a call hands out point into shared memory or the database's map. They may be read, never
 *             written, until the transaction ends (hf_commit, hf_commit_ticket, hf_abort, hf_txn_end, or a call on it
 *             that ends it, see Ends). A row that the transaction itself wrote stays readable until the same row is
 *             written again. Addresses have no alignment.
 * Ends        Besides those that are there to end it, these answers of any call on a transaction end it, with nothing
 *             written and every lock given back: HF_EXPIRED, HF_CANCELLED, HF_SNAPSHOT_TOO_OLD, HF_DEADLOCK,
 *             HF_CONFLICT (from a call that locks: what was read before has changed), HF_NO_MEMORY, HF_INTERNAL. The
 *             handle stays: hf_restart() begins anew. HF_LOCK_TIMEOUT, HF_LOCKED, HF_LOCK_ORDER and HF_LOCK_TABLE_FULL,
 *             like all other codes, leave it running and nothing changed; a commit that answers them has ended it, as
 *             any does.
 * Options     Option structs begin with their own size: set `size` to sizeof the struct, or use the HF_..._INIT macro.
 *             Zero in a field means its default. NULL for the whole struct means all defaults. A smaller size, as an
 *             older program has, is legal; a larger one with non-zero unknown bytes is HF_INVALID_ARGUMENT, and so is
 *             one below 8. Structs that a call fills have their `size` set by the caller in the same way: a smaller one
 *             gets the fields that it has, in a larger one the unknown rest is zeroed.
 * Time        Milliseconds unless the name says otherwise. HF_FOREVER means no limit.
 * Threads     hf_db, hf_table: any thread, any number at once. hf_txn with its cursors, hf_session, hf_load: any
 *             thread, one at a time; a second thread at the same moment gets HF_MISUSE. Nothing is bound to a thread,
 *             locks neither. hf_cancel and hf_session_cancel are for any thread.
 * Blocking    Calls block where the text says so, and names the bound. Reading and writing rows inside a transaction
 *             never waits for another transaction, but in two cases: the call is one that locks (section "row locks"),
 *             which bounds the wait itself; or the row is hot (many transactions conflicted over it lately) and is
 *             locked at first touch: waits at most a second, then goes on without. See HF_TXN_NO_HEAT.
 * Fork        A child process must not use handles it inherited: HF_FORKED. The parent is not harmed. The child may
 *             open the database anew.
 * Signals     No function installs signal handlers. None may be called from one, except hf_cancel and
 *             hf_session_cancel.
 */
#ifndef HOLDFAST_HOLDFAST_H
#define HOLDFAST_HOLDFAST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define HF_API __attribute__((visibility("default")))
#define HF_NODISCARD __attribute__((warn_unused_result))
#else
#define HF_API
#define HF_NODISCARD
#endif

#define HF_VERSION_MAJOR 0
#define HF_VERSION_MINOR 1
#define HF_VERSION_PATCH 0

#define HF_KEY_SIZE_MAX 511u        /* bytes */
#define HF_VALUE_SIZE_MAX 16777216u /* bytes, 16 MiB */
#define HF_TABLE_NAME_SIZE_MAX 128u /* bytes */
#define HF_LABEL_SIZE_MAX 47u       /* bytes */
#define HF_FOREVER UINT64_MAX

/* --- status codes ------------------------------------------------------------------------------------------------ */

enum {
#define HF_ERROR(name, number, retryable, not_committed, maybe_committed, text) HF_##name = number,
#include "errors.def"
#undef HF_ERROR
  HF_CODE_FORCE_INT = 0x7fffffff /* not a code: keeps the enum as wide as int */
};

/* Name without prefix ("CONFLICT") and one-line meaning; never NULL, static memory. */
HF_API const char* hf_code_name(int code);
HF_API const char* hf_code_text(int code);
/* 1 when running the same transaction again from its beginning may succeed. */
HF_API int hf_is_retryable(int code);
/* 1 when, answered by a commit, certainly nothing of the transaction happened. */
HF_API int hf_is_not_committed(int code);
/* 1 when, answered by a commit, the transaction may or may not survive: read before you repeat it. */
HF_API int hf_is_maybe_committed(int code);
/* Version of the library that is loaded: major * 10000 + minor * 100 + patch. */
HF_API int hf_version(void);

/* --- types ------------------------------------------------------------------------------------------------------- */

typedef struct hf_db hf_db;           /* an open database; opens of one directory in a process share the engine below */
typedef struct hf_table hf_table;     /* a table; lives as long as the hf_db that gave it, has no close */
typedef struct hf_txn hf_txn;         /* a transaction */
typedef struct hf_cursor hf_cursor;   /* a range of a table, inside a transaction */
typedef struct hf_session hf_session; /* locks on names, not tied to a transaction */
typedef struct hf_load hf_load;       /* a bulk load */

typedef struct hf_bytes {
  const void* data;
  size_t size;
} hf_bytes;

/* A row as read. */
typedef struct hf_row {
  hf_bytes value;
  uint64_t version;    /* csn of the commit that wrote it; 0 for a row written by this transaction itself */
  uint64_t expires_ms; /* wall clock, milliseconds since 1970; 0 = never */
  int code;            /* HF_OK; in the answers of multi-gets also HF_NOT_FOUND and HF_LOCKED */
  int reserved;        /* 0 */
} hf_row;

/* Why a call failed. Fields that do not apply, or that nobody knows, are zero. The other party is who held or stood
 * before the lock (HF_LOCK_TIMEOUT, HF_LOCKED, HF_LOCK_ORDER; HF_DEADLOCK: the next in the cycle, see hf_txn_cycle),
 * who took the locks away (HF_EXPIRED), who committed (HF_CONFLICT, HF_VERSION_MISMATCH), who keeps the overlay full
 * (HF_OVERLOADED). It is as it was at that moment, and kept when it is over. */
typedef struct hf_error {
  uint32_t size;              /* set by the caller: sizeof(hf_error) */
  int code;                   /* HF_ code */
  char message[384];          /* one line, NUL-terminated, names the thing */
  char table[136];            /* name of the table concerned, NUL-terminated, "" when none */
  uint8_t key[512];           /* the row concerned; of a session: the name of the lock */
  uint32_t key_size;          /* bytes; 0 when none */
  uint32_t attempts;          /* how often hf_transact ran the function */
  char other_label[48];       /* the other party: label of its process or transaction */
  uint64_t other_pid;         /* its process, as it sees itself */
  uint64_t other_age_ms;      /* how long it has been there: has held the lock, or has waited for it */
  uint64_t other_csn;         /* the commit that was in the way */
  uint32_t mode_wanted;       /* HF_LOCK_...: what the caller wanted of the row */
  uint32_t mode_held;         /* and what it held of it when it was refused */
  uint32_t other_mode_held;   /* what the other party held of it; 0: it waited too */
  uint32_t other_mode_wanted; /* 0: it did not wait */
  uint64_t waited_ms;         /* how long the caller waited */
  uint64_t other_txn;         /* number of the other transaction (hf_txn_number) or session */
  uint64_t other_thread;      /* Linux thread id that began it */
} hf_error;
#define HF_ERROR_INIT \
  { sizeof(hf_error), 0, {0}, {0}, {0}, 0, 0, {0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }

/* Isolation levels. Read uncommitted does not exist: asking for it would give read committed, as in PostgreSQL. */
enum {
  HF_ISOLATION_DEFAULT = 0, /* the database's default, itself serializable unless set */
  HF_SERIALIZABLE = 1,      /* strict: as if transactions ran one after another, in the order of their commits */
  HF_SNAPSHOT = 2,          /* repeatable reads of one point; only write-write conflicts are refused */
  HF_READ_COMMITTED = 3     /* every call sees the newest commits; at commit only inserts and named versions are
                               checked */
};

/* Durability of a commit. */
enum {
  HF_DURABILITY_DEFAULT = 0, /* the database's default, itself full unless set */
  HF_DURABLE = 1,            /* hf_commit returns when the commit is on the device */
  HF_RELAXED = 2             /* hf_commit returns when it is visible; on the device within flush_interval_ms where some
                                process has its background thread; survives the death of every process, not a power
                                failure */
};

/* --- opening ----------------------------------------------------------------------------------------------------- */

enum {
  HF_OPEN_NO_CREATE = 1, /* HF_NOT_FOUND instead of making a database */
  HF_OPEN_NO_THREAD = 2, /* start no background thread in this process; call hf_maintain() by hand, or rely on
                            another process's thread. Call it now and then also while idle: it lets go of the last
                            snapshot, which keeps the data file's freed pages from being used again */
  /* What every transaction of this process's handles has, as if it asked for it: */
  HF_OPEN_LOCK_ORDERED = 4,       /* HF_TXN_LOCK_ORDERED; sessions too, by name */
  HF_OPEN_NO_DEADLOCK_SEARCH = 8, /* HF_TXN_NO_DEADLOCK_SEARCH; sessions too */
  HF_OPEN_NO_HEAT = 16,           /* HF_TXN_NO_HEAT */
  /* Every row that is read is held against its checksum: HF_CORRUPT instead of a damaged row. The first open of the
   * process decides. Costs a pass over each value that is read. */
  HF_OPEN_VERIFY_READS = 32
};

/* Lines about what an operator should know: recovery, a full overlay, a failed disk, processes found dead. */
enum { HF_MESSAGE_INFO = 1, HF_MESSAGE_WARNING = 2, HF_MESSAGE_ERROR = 3 };
/* `text` is one line, NUL-terminated, valid during the call. Called from any thread of the engine, also during hf_open
 * and hf_close, never two at once for one database. Must not call functions of that database, and should not block. */
typedef void (*hf_message_fn)(int level, const char* text, void* context);

typedef struct hf_open_options {
  uint32_t size;                 /* sizeof(hf_open_options) */
  uint32_t flags;                /* HF_OPEN_... */
  const char* label;             /* name of this process in reports, NUL-terminated, at most HF_LABEL_SIZE_MAX bytes;
                                    NULL: the program's name */
  const char* memory_directory;  /* where the shared memory files live; NULL: the database directory. Every process has
                                    to name the same one, or HF_INVALID_ARGUMENT */
  uint64_t map_size;             /* address space for the base, bytes; default 1 TiB, sparse; lower it under
                                    ulimit -v */
  uint64_t overlay_bytes_max;    /* budget of shared memory for recent commits; default 256 MiB; the first
                                    opener's counts */
  uint64_t log_segment_size_max; /* default 64 MiB; segments start small and double up to it */
  uint64_t txn_bytes_max;        /* largest write set, keys and values; at most, and by default not more than
                                    64 MiB of it, a quarter of overlay_bytes_max */
  uint64_t open_timeout_ms;      /* wait for a process that is opening or closing; default 30,000 */
  uint64_t overload_timeout_ms;  /* wait for room in a full overlay; default 10,000 */
  uint64_t flush_interval_ms;    /* relaxed commits are on the device after at most this; default 100 */
  uint64_t merge_interval_ms;    /* commits reach the base after at most this while idle; default 1,000 */
  uint64_t sweep_interval_ms;    /* expired rows are removed this often; default 1,000 */
  uint64_t txn_deadline_ms;      /* default for transactions; 0 = none */
  uint64_t txn_idle_ms;          /* default for transactions; 0 = none */
  uint32_t isolation;            /* default for transactions */
  uint32_t durability;           /* default for transactions */
  uint32_t tables_max;           /* default 1,000; every process should name the same */
  uint32_t reserved;             /* 0 */
  uint64_t lock_timeout_ms;      /* default for transactions and sessions, itself 5,000; HF_FOREVER: none */
  /* Room of the lock table, in units of 128 bytes of shared memory that is taken when it is used; default 65,536, at
   * most 262,144. A lock takes a unit, and one more for each 120 bytes that the key has over 80; each process takes
   * units by the 64. The first opener's counts. */
  uint32_t locks_max;
  uint32_t lock_reserved; /* 0 */
  /* The log keeps commits that are in the base already until it is larger than this, for hf_log_open and hf_restore;
   * default 0: they go as soon as possible. At most half of the 128 segments are kept. Every process that maintains,
   * and
   * the first that opens, goes by its own value: set it in all of them; tools open with UINT64_MAX. */
  uint64_t log_keep_bytes;
  hf_message_fn on_message; /* of the first open of the process; NULL: none */
  void* message_context;
} hf_open_options;
#define HF_OPEN_OPTIONS_INIT \
  { sizeof(hf_open_options), 0, NULL, NULL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, NULL }

/*
 * Opens the database in directory `path`, making both when absent (the parent directory has to exist). The first
 * process recovers what a crash left, others join. Opening the same directory again in one process, by whatever
 * spelling, gives another handle of the same engine; the options have to be legal but those of the first open stay.
 * Blocks on the disk (recovery: about a second per 100 MiB of log) and for at most open_timeout_ms on other processes.
 * `error`, when not NULL, gets the detail, code HF_OK when there is none; there is no handle to read it from.
 *   HF_BUSY          another process is opening or closing and did not finish; or a process with the same pid in
 *                    another pid namespace is there: the message names the remedy
 *   HF_WRONG_FORMAT  a file in place of the directory, a foreign file in it, a newer version, another byte order
 *   HF_CORRUPT       damaged file: message names file and offset; nothing was changed
 *   HF_NOT_FOUND     HF_OPEN_NO_CREATE and no database, or no parent directory
 *   HF_DISK_FULL     no room to make the files; nothing is left half-done
 *   HF_LIMIT         process slots (256), descriptors (RLIMIT_NOFILE) or address space (see map_size) used up
 */
HF_API HF_NODISCARD int hf_open(const char* path, const hf_open_options* options, hf_db** db, hf_error* error);

/*
 * Closes this handle and ends its tables. The engine itself closes with the last handle of the process; the last
 * process merges everything and leaves the directory clean. HF_MISUSE, and nothing happens, while transactions,
 * sessions or loads of the handle are open or calls on it under way. Blocks on the disk. Whatever else it answers, the
 * handle is gone; every durable commit is safe. NULL and a NULL handle are fine.
 */
HF_API int hf_close(hf_db** db);

/* Detail of the last failed call on this handle by any thread. Never fails on a live handle. */
HF_API int hf_db_error(hf_db* db, hf_error* error);

/* --- tables ------------------------------------------------------------------------------------------------------ */

/* Names: 1 to HF_TABLE_NAME_SIZE_MAX bytes, NUL-terminated UTF-8, no control characters. Each of these is a durable
 * transaction of its own and blocks for one disk sync. */

/* Makes a table. HF_EXISTS: it is there (*table is set to it all the same). HF_LIMIT: tables_max. */
HF_API HF_NODISCARD int hf_table_create(hf_db* db, const char* name, hf_table** table);
/* Finds a table. HF_NO_TABLE when absent. Does not block. */
HF_API HF_NODISCARD int hf_table_open(hf_db* db, const char* name, hf_table** table);
/* Finds a table or makes it. */
HF_API HF_NODISCARD int hf_table_ensure(hf_db* db, const char* name, hf_table** table);
/* Drops a table with its rows. Transactions that began before go on reading it; those that write it get HF_NO_TABLE at
 * commit. Handles of it answer HF_NO_TABLE from then on. */
HF_API HF_NODISCARD int hf_table_drop(hf_db* db, const char* name);
/* Gives a table another name; handles stay valid. HF_EXISTS: the new name is taken. HF_NO_TABLE: no such table. */
HF_API HF_NODISCARD int hf_table_rename(hf_db* db, const char* from, const char* to);
/* Calls `visit` for each table in order of name until it answers non-zero, which is then the answer. The name is valid
 * during the call. */
typedef int (*hf_table_visit)(const char* name, void* context);
HF_API HF_NODISCARD int hf_table_list(hf_db* db, hf_table_visit visit, void* context);

typedef struct hf_table_stats {
  uint32_t size; /* set by the caller */
  uint32_t table_id;
  uint64_t rows_approximate; /* exact when few rows are not merged yet; expired rows not swept yet count */
  uint64_t rows_base;        /* rows in the base */
  uint64_t rows_overlay;     /* rows changed since, at most */
} hf_table_stats;
HF_API HF_NODISCARD int hf_table_stat(hf_db* db, hf_table* table, hf_table_stats* stats);

/* --- transactions ------------------------------------------------------------------------------------------------ */

enum {
  HF_TXN_READ_ONLY = 1,    /* sees one consistent point, never fails for others' sake, tracks nothing */
  HF_TXN_BASE_ONLY = 2,    /* read-only, on the last merged state (up to merge_interval_ms old): pins no shared memory;
                              for long reports and backups */
  HF_TXN_READ_DURABLE = 4, /* hf_commit of a read-only transaction waits until all that it could see is durable */
  /* To prevent deadlocks: a wait for a row that comes before one already locked, by table and key, is HF_LOCK_ORDER.
   * What is free can be locked in any order. */
  HF_TXN_LOCK_ORDERED = 8,
  /* A deadlock ends by the lock timeout instead of at once. */
  HF_TXN_NO_DEADLOCK_SEARCH = 16,
  /* Rows that transactions often conflict over are not locked at first touch: for one that would rather conflict at
   * commit than wait. Others still lock them. */
  HF_TXN_NO_HEAT = 32
};

typedef struct hf_txn_options {
  uint32_t size;        /* sizeof(hf_txn_options) */
  uint32_t flags;       /* HF_TXN_... */
  uint32_t isolation;   /* HF_SERIALIZABLE, ... */
  uint32_t durability;  /* HF_DURABLE, HF_RELAXED */
  uint64_t deadline_ms; /* from begin on; when it has passed the transaction is ended: HF_EXPIRED. Whoever waits for its
                           locks takes them then; it can not commit any more. HF_FOREVER: none */
  uint64_t idle_ms;     /* the same, from its last call on */
  const char* label;    /* its name in reports, at most HF_LABEL_SIZE_MAX bytes; NULL: the process's */
  uint64_t lock_timeout_ms; /* of calls that lock and name none, and of the commit; 0: the database's; HF_FOREVER, or
                               more than any clock holds: none */
  hf_session* session;      /* runs inside of it: no lock of the session goes before this transaction has ended, however
                               it ends. NULL: none. HF_MISUSE: it has ended, or is of another database */
} hf_txn_options;
#define HF_TXN_OPTIONS_INIT \
  { sizeof(hf_txn_options), 0, 0, 0, 0, 0, NULL, 0, NULL }

/*
 * Begins a transaction: a snapshot of everything committed so far. Does not block, costs about 100 ns.
 * The handle has to be given to hf_txn_end() in the end. A thread may have several transactions at once; they do not
 * see each other.
 */
HF_API HF_NODISCARD int hf_begin(hf_db* db, const hf_txn_options* options, hf_txn** txn);

/*
 * Commits. Blocks for about one disk sync when durable, on nothing when relaxed or when nothing was written. Before
 * that it locks the rows to be written that it has not locked yet, in order of table and key (exclusive; counters that
 * it only adds to: increment), and waits for who holds them, at most the transaction's lock timeout for all of them;
 * and at most overload_timeout_ms for room in a full overlay. Locks go when the commit is visible, before the disk.
 * After any answer the transaction has ended (not the handle).
 *   HF_CONFLICT          serializable: something read (row, absence, range) or, at snapshot level, something written
 *                        has changed since the snapshot. Run it again; hf_transact does.
 *   HF_VERSION_MISMATCH  the row of a put-if-version changed
 *   HF_LOCK_TIMEOUT      somebody holds a row to be written; the detail names row and holder. Run it again
 *   HF_DEADLOCK          somebody waits for a row of this one and holds one that it writes: this one began last and
 *                        gives way. Run it again; lock in one order, or all at once, to avoid it
 *   HF_LOCK_TABLE_FULL   no room to lock what is written: see locks_max
 *   HF_OUT_OF_RANGE      an hf_add would take the counter, as it is now, out of the bounds: the detail names it
 *   HF_WRONG_TYPE        a row to add to is not a counter any more
 *   HF_NO_TABLE          a table written was dropped
 *   HF_EXPIRED, HF_CANCELLED, HF_SNAPSHOT_TOO_OLD, HF_OVERLOADED, HF_DISK_FULL, HF_FAILED: nothing happened
 *   HF_MAYBE_COMMITTED   it became visible but the sync failed or the wait was cancelled
 */
HF_API HF_NODISCARD int hf_commit(hf_txn* txn);

/* Commits without waiting: *ticket can be waited for later; one thread may have any number in flight. A transaction
 * that wrote nothing gives the ticket of what it saw. Codes as hf_commit. */
HF_API HF_NODISCARD int hf_commit_ticket(hf_txn* txn, uint64_t* ticket);

/* Undoes everything. Never fails on a live handle; an ended transaction is fine. */
HF_API int hf_abort(hf_txn* txn);
/* Aborts if still running, closes its cursors, gives the handle back. */
HF_API int hf_txn_end(hf_txn** txn);
/* Begins anew on a handle whose transaction has ended, with the same options: saves the cost of a handle. HF_MISUSE
 * while it runs. Nothing of before is there but the detail of its last failure. */
HF_API HF_NODISCARD int hf_restart(hf_txn* txn);
/* Ends whatever the transaction waits for (locks, room, durability) and makes its next call answer HF_CANCELLED. Any
 * thread; the handle must be alive: HF_MISUSE after hf_txn_end. Of a transaction that has ended on a handle that has
 * not: HF_OK, and nothing happens, as hf_restart begins afresh. A commit that is visible already answers
 * HF_MAYBE_COMMITTED. Inside of hf_transact it ends the retries too. */
HF_API int hf_cancel(hf_txn* txn);
HF_API int hf_txn_error(hf_txn* txn, hf_error* error);
/* Csn that it reads at; and that it committed with (0 before, or when nothing was written). 0 for an illegal handle. */
HF_API uint64_t hf_txn_snapshot(hf_txn* txn);
HF_API uint64_t hf_txn_csn(hf_txn* txn);

/* Marks a point to come back to. Ids grow; they nest. */
HF_API HF_NODISCARD int hf_savepoint(hf_txn* txn, uint64_t* savepoint);
/* Undoes every write and add since the savepoint, which stays; later ones are gone. Reads stay part of the validation,
 * and locks stay held. */
HF_API HF_NODISCARD int hf_rollback_to(hf_txn* txn, uint64_t savepoint);
/* Forgets a savepoint and later ones, keeping the writes. */
HF_API HF_NODISCARD int hf_release(hf_txn* txn, uint64_t savepoint);

/* --- waiting for durability -------------------------------------------------------------------------------------- */

/* Blocks until the commit of that ticket is on the device, at most timeout_ms: HF_TIMEOUT then, and 0 only asks.
 * HF_MAYBE_COMMITTED: a sync failed before. HF_INVALID_ARGUMENT: no such commit yet. */
HF_API HF_NODISCARD int hf_ticket_wait(hf_db* db, uint64_t ticket, uint64_t timeout_ms);
/* The same for everything committed by anybody before the call. */
HF_API HF_NODISCARD int hf_sync(hf_db* db, uint64_t timeout_ms);
/* An eventfd(2), non-blocking, that becomes readable each time tickets of this process became durable, or never will
 * (its counter is how many flushes did so): read it, then ask hf_ticket_wait(.., 0). Owned by the engine, closed with
 * the last handle of the process; the first call starts one thread that flushes on behalf of tickets. */
HF_API HF_NODISCARD int hf_event_fd(hf_db* db, int* fd);

/* --- rows -------------------------------------------------------------------------------------------------------- */

/* Reads a row. HF_NOT_FOUND when absent or expired; absence is validated too. */
HF_API HF_NODISCARD int hf_get(hf_txn* txn, hf_table* table, hf_bytes key, hf_row* row);
/* Reads a row's value into the caller's memory. *size is the value's size, also when it answers HF_TOO_LARGE because
 * `capacity` is smaller (nothing is copied then). `buffer` may be NULL with capacity 0. */
HF_API HF_NODISCARD int hf_get_into(hf_txn* txn, hf_table* table, hf_bytes key, void* buffer, size_t capacity,
                                    size_t* size);
/* Reads `count` rows at one point; rows[i].code says which were there. HF_OK even when none was. */
HF_API HF_NODISCARD int hf_get_many(hf_txn* txn, hf_table* table, const hf_bytes* keys, size_t count, hf_row* rows);

/* ttl_ms: the row vanishes that long after the call; 0 or HF_FOREVER = never. All writes: HF_READ_ONLY in a read-only
 * transaction, HF_TOO_LARGE over a limit of key, value or transaction, HF_NO_TABLE. */

/* Writes a row, present or not. Depends on nothing: blind puts never conflict at serializable level. */
HF_API HF_NODISCARD int hf_put(hf_txn* txn, hf_table* table, hf_bytes key, hf_bytes value, uint64_t ttl_ms);
/* Writes a row that is absent. HF_EXISTS when it is there. */
HF_API HF_NODISCARD int hf_insert(hf_txn* txn, hf_table* table, hf_bytes key, hf_bytes value, uint64_t ttl_ms);
/* Writes a row that is present. HF_NOT_FOUND when it is not. */
HF_API HF_NODISCARD int hf_update(hf_txn* txn, hf_table* table, hf_bytes key, hf_bytes value, uint64_t ttl_ms);
/* Writes a row whose version is `version` (0: absent), now and at commit, at every isolation level. HF_VERSION_MISMATCH
 * otherwise. */
HF_API HF_NODISCARD int hf_put_if_version(hf_txn* txn, hf_table* table, hf_bytes key, hf_bytes value, uint64_t version,
                                          uint64_t ttl_ms);
/* Removes a row. HF_NOT_FOUND when it is absent. */
HF_API HF_NODISCARD int hf_delete(hf_txn* txn, hf_table* table, hf_bytes key);
/* Removes a row if it is there; depends on nothing. */
HF_API HF_NODISCARD int hf_erase(hf_txn* txn, hf_table* table, hf_bytes key);

/* --- ranges ------------------------------------------------------------------------------------------------------ */

enum {
  HF_CURSOR_REVERSE = 1,       /* from high to low */
  HF_CURSOR_LOW_EXCLUSIVE = 2, /* default: low is part of the range */
  HF_CURSOR_HIGH_INCLUSIVE = 4 /* default: high is not part of the range */
};

typedef struct hf_cursor_options {
  uint32_t size;   /* sizeof(hf_cursor_options) */
  uint32_t flags;  /* HF_CURSOR_... */
  hf_bytes low;    /* size 0: from the table's first row */
  hf_bytes high;   /* size 0: to the table's last row */
  hf_bytes prefix; /* only keys that begin with it; with low and high: the intersection */
  uint64_t skip;   /* rows to pass over first */
  uint64_t limit;  /* rows to give at most; 0 = all */
  /* Locks each row before giving it, as hf_get_for_update or hf_get_for_share would: see "row locks". */
  uint32_t lock_mode;       /* HF_LOCK_EXCLUSIVE, HF_LOCK_SHARED; 0: locks nothing */
  uint32_t lock_wait;       /* HF_WAIT, HF_NO_WAIT; HF_SKIP_LOCKED: rows that others hold are left out, and count
                               neither for skip nor for limit. Without lock_mode: has to be legal, means nothing */
  uint64_t lock_timeout_ms; /* for each row; 0: the transaction's */
} hf_cursor_options;
#define HF_CURSOR_OPTIONS_INIT \
  { sizeof(hf_cursor_options), 0, {NULL, 0}, {NULL, 0}, {NULL, 0}, 0, 0, 0, 0, 0 }

/* Opens a range in front of its first row. Sees the transaction's own writes, also later ones. What it has passed over
 * is validated at commit (serializable), phantoms included. NULL options: the whole table. When the transaction ends
 * the cursor does, and answers HF_MISUSE until it is closed; hf_txn_end closes it. HF_TOO_LARGE: a bound longer than a
 * key.
 * With lock_mode each row is locked, then read as it is now, and left out if it has gone meanwhile; rows that `skip`
 * passes over do not stay locked. With HF_SKIP_LOCKED that makes 'the first free seat', 'the next job': such a cursor
 * says nothing about the rows that it did not give, and they are not validated. HF_READ_ONLY: locks in a read-only
 * transaction. */
HF_API HF_NODISCARD int hf_cursor_open(hf_txn* txn, hf_table* table, const hf_cursor_options* options,
                                       hf_cursor** cursor);
/* Goes to the next row and gives it. HF_END after the last. `key` or `row` may be NULL. A cursor that locks blocks as
 * hf_lock does, and answers its codes; after one that does not end the transaction the next call tries that row
 * again. */
HF_API HF_NODISCARD int hf_cursor_next(hf_cursor* cursor, hf_bytes* key, hf_row* row);
/* The same for up to `count` rows, at least 1: *found says how many. HF_OK when at least one, HF_END otherwise. */
HF_API HF_NODISCARD int hf_cursor_next_many(hf_cursor* cursor, size_t count, hf_bytes* keys, hf_row* rows,
                                            size_t* found);
/* Stands in front of the first row at or after `key` in the cursor's direction, inside its bounds; limit and skip do
 * not start anew. */
HF_API HF_NODISCARD int hf_cursor_seek(hf_cursor* cursor, hf_bytes key);
HF_API int hf_cursor_close(hf_cursor** cursor);
/* Counts the rows of a range, exactly, by walking it; skip and limit count too. lock_mode has to be 0. */
HF_API HF_NODISCARD int hf_count(hf_txn* txn, hf_table* table, const hf_cursor_options* options, uint64_t* count);

/* --- row locks --------------------------------------------------------------------------------------------------- */

/*
 * A lock is on one row of one table, whether the row is there or not, and on no neighbour. It belongs to a transaction
 * and goes when that is visible or aborted, not before: hf_rollback_to gives none back. Locks are in memory only: a
 * process that dies leaves none, and who waits for it goes on within a second.
 *
 * A lock keeps out other locks, and thereby commits, since a commit locks what it writes (see hf_commit). It does not
 * keep out reads: hf_get and cursors without lock_mode see their snapshot, whoever holds what.
 *
 *                            another transaction wants
 *                            shared     exclusive  increment
 *     held: shared           fine       waits      waits         read it, and nobody changes it
 *           exclusive        waits      waits      waits         read it and write it
 *           increment        waits      waits      fine          add to a counter; what hf_add takes at commit
 *
 * A transaction never waits for itself. Wanting more of a row that it holds upgrades the lock (anything but the same
 * mode twice makes it exclusive): it waits until it is alone. Of two that upgrade one row the one that came second gets
 * HF_DEADLOCK at once: where a row is to be written in the end, lock it exclusive from the start.
 *
 * Order. Who waits for a row is served in order of arrival, with one exception: a running thread may take a row that is
 * free past sleepers none of which has waited for more than about a millisecond. HF_LOCK_STRICT rules that out for the
 * call that gives it: nobody that came later is served before it.
 *
 * Codes of every call that locks, besides its own:
 *   HF_LOCK_TIMEOUT      not had in time; the detail names who holds it and how long. Nothing changed: try again, do
 *                        something else, or abort
 *   HF_LOCKED            the same at once, with HF_NO_WAIT or HF_SKIP_LOCKED
 *   HF_DEADLOCK          the wait would never have ended, and of all in the cycle this transaction began last. It has
 *                        ended; the others go on. Run it again (hf_transact does). hf_txn_cycle() has the whole cycle
 *   HF_LOCK_ORDER        HF_TXN_LOCK_ORDERED, and it would have to wait for a row that comes before one it holds:
 *                        nothing changed. A mistake of the program: lock with hf_lock_many, or from low to high
 *   HF_LOCK_TABLE_FULL   more locks are held than locks_max has room for: nothing changed. Abort and run again later;
 *                        if it is no accident, raise locks_max, or lock fewer rows at once
 *   HF_EXPIRED, HF_CANCELLED  while it waited, or before: it has ended
 *   HF_LIMIT             4,096 transactions and sessions hold locks already
 *   HF_READ_ONLY         the transaction is read-only; it needs no locks
 *   HF_NO_TABLE          the table was dropped
 *   HF_TOO_LARGE         a key over HF_KEY_SIZE_MAX; nothing is locked
 *   HF_MISUSE            the transaction has ended, or a table is of another database; nothing is locked
 *   HF_INVALID_ARGUMENT  an illegal mode, policy, flag or key; nothing is locked
 */

/* Modes. */
enum { HF_LOCK_SHARED = 1, HF_LOCK_EXCLUSIVE = 2, HF_LOCK_INCREMENT = 3 };

/* What to do when the lock is not to be had at once. */
enum {
  HF_WAIT = 0,       /* wait for it */
  HF_NO_WAIT = 1,    /* HF_LOCKED */
  HF_SKIP_LOCKED = 2 /* calls for many rows: go on without it. Calls for one row: HF_LOCKED */
};

enum {
  HF_LOCK_STRICT = 1 /* exact order of arrival, for whoever comes first gets the coupon. Costs throughput */
};

typedef struct hf_lock_options {
  uint32_t size;       /* sizeof(hf_lock_options) */
  uint32_t mode;       /* HF_LOCK_...; 0: what the call is for, and exclusive where it is for any */
  uint32_t wait;       /* HF_WAIT, HF_NO_WAIT, HF_SKIP_LOCKED */
  uint32_t flags;      /* HF_LOCK_STRICT */
  uint64_t timeout_ms; /* HF_WAIT: for all rows of the call together; 0: the transaction's, HF_FOREVER: none. What no
                          clock can hold is as HF_FOREVER. To wait for no time at all: HF_NO_WAIT */
} hf_lock_options;
#define HF_LOCK_OPTIONS_INIT \
  { sizeof(hf_lock_options), 0, 0, 0, 0 }

/* Locks a row, and moves the snapshot forward so that a later read of it sees the newest commit, as hf_get_for_update
 * does (HF_CONFLICT too); reads nothing. NULL options: exclusive, wait. Blocks for the timeout at most. */
HF_API HF_NODISCARD int hf_lock(hf_txn* txn, hf_table* table, hf_bytes key, const hf_lock_options* options);

typedef struct hf_lock_request {
  hf_table* table;
  hf_bytes key;
  uint32_t mode; /* HF_LOCK_...; 0: that of the options */
  int code;      /* out, when the call answers HF_OK: HF_OK, or HF_LOCKED for one that was skipped */
} hf_lock_request;

/* Locks rows of any tables, in canonical order (table, key) whatever order the list has, so that calls like it never
 * deadlock with each other. A row named twice is locked once, in a mode as good as both. All or none: on any failure
 * what the call had locked is given back. The whole list is checked before: `message` names the request at fault.
 * HF_SKIP_LOCKED: locks each that is free at once; HF_OK even when none was. HF_LOCK_TABLE_FULL leaves locked what was
 * locked until then. The snapshot moves as with hf_lock. `requests` may be NULL with count 0. Blocks for the timeout at
 * most. */
HF_API HF_NODISCARD int hf_lock_many(hf_txn* txn, hf_lock_request* requests, size_t count,
                                     const hf_lock_options* options);

/*
 * Lock a row, then read it as it is now: the newest commit, not the snapshot's. The snapshot moves forward to it, which
 * is allowed because nothing that was read before has changed; where something has, the answer is HF_CONFLICT, with
 * the row that changed in the detail, and the transaction has ended. So what was locked first and read then never
 * conflicts: not now, and not at commit. `row` may be NULL.
 * for_update: exclusive, to be written. for_share: shared, to be relied on. options->mode is 0 or that mode.
 *   HF_NOT_FOUND   the row is absent, and locked: nobody else can insert it
 * NULL options: wait. Block for the timeout at most.
 */
HF_API HF_NODISCARD int hf_get_for_update(hf_txn* txn, hf_table* table, hf_bytes key, const hf_lock_options* options,
                                          hf_row* row);
HF_API HF_NODISCARD int hf_get_for_share(hf_txn* txn, hf_table* table, hf_bytes key, const hf_lock_options* options,
                                         hf_row* row);

/* The same for `count` rows of one table, locked in canonical order, all or none, and read at one point. rows[i]
 * belongs to keys[i]; its code says whether it was there (HF_OK, HF_NOT_FOUND) or, with HF_SKIP_LOCKED, was left out
 * because somebody holds it (HF_LOCKED). HF_OK even when none was. HF_LOCK_TABLE_FULL with HF_SKIP_LOCKED leaves locked
 * what was locked until then. `keys` and `rows` may be NULL with count 0. */
HF_API HF_NODISCARD int hf_get_many_for_update(hf_txn* txn, hf_table* table, const hf_bytes* keys, size_t count,
                                               const hf_lock_options* options, hf_row* rows);
HF_API HF_NODISCARD int hf_get_many_for_share(hf_txn* txn, hf_table* table, const hf_bytes* keys, size_t count,
                                              const hf_lock_options* options, hf_row* rows);

/* Whether a row is worth a lock: non-zero is yes. `row` is NULL when it is absent; its bytes are valid during the call.
 * Runs inside of hf_lock_if: calls on the same transaction answer HF_MISUSE. */
typedef int (*hf_lock_predicate)(const hf_row* row, void* context);

/* Looks at the newest commit of a row and locks it only when `holds` says so ('the stock is below the threshold'), asks
 * again under the lock, and gives the lock back when the answer has changed. *locked (may be NULL) tells whether it was
 * locked; then the row is read as hf_get_for_update reads it, else as hf_get does. `row` may be NULL.
 *   HF_NOT_FOUND   the row is absent; *locked is set all the same
 * options->mode: exclusive (0) or shared. Blocks for the timeout at most, and not when `holds` says no. */
HF_API HF_NODISCARD int hf_lock_if(hf_txn* txn, hf_table* table, hf_bytes key, const hf_lock_options* options,
                                   hf_lock_predicate holds, void* context, hf_row* row, int* locked);

/* Number of the transaction in reports and lists, unique while the database is open; 0 as long as it has locked
 * nothing, and for an illegal handle. */
HF_API uint64_t hf_txn_number(hf_txn* txn);

enum {
  HF_LOCK_INFO_SESSION = 1, /* a session's lock on a name: no table, and the name is the key */
  HF_LOCK_INFO_EXPIRED = 2  /* its transaction passed its deadline or idle limit; the lock is there to be taken */
};

/* One owner's part in one row. */
typedef struct hf_lock_info {
  uint32_t size;        /* sizeof(hf_lock_info) */
  uint32_t mode_held;   /* HF_LOCK_...; 0: holds nothing of it */
  uint32_t mode_wanted; /* 0: does not wait */
  uint32_t flags;       /* HF_LOCK_INFO_... */
  char table[136];      /* name, NUL-terminated; "" when the table is gone */
  uint8_t key[512];
  uint32_t key_size; /* bytes */
  uint32_t reserved; /* 0 */
  char label[48];    /* of the transaction or session, or of its process; NUL-terminated */
  uint64_t pid;      /* as the process sees itself */
  uint64_t thread;   /* Linux thread id that began it */
  uint64_t txn;      /* hf_txn_number() of it, or the session's own number */
  uint64_t age_ms;   /* how long it has waited; of one that does not wait: has held it */
} hf_lock_info;

/* Calls `visit` for everybody who holds or waits for a lock, in all processes, until it answers non-zero, which is then
 * the answer. One moment's picture, taken before the first visit: it stops the lock table for about a millisecond. What
 * `info` points to is valid during the call. For operators and tests; nothing in it holds still. */
typedef int (*hf_lock_visit)(const hf_lock_info* info, void* context);
HF_API HF_NODISCARD int hf_locks(hf_db* db, hf_lock_visit visit, void* context);

/* The cycle of the last HF_DEADLOCK that a call on this handle answered: each party with the row that it waits for and
 * the next one holds, this transaction first; the last waits for the first. Stays over hf_restart. *count is how many
 * there were, also when only the first `capacity` are given; 0: there was none. The caller sets parties[0].size, a
 * multiple of 8, which is how far apart the entries are; `parties` may be NULL with capacity 0. */
HF_API HF_NODISCARD int hf_txn_cycle(hf_txn* txn, hf_lock_info* parties, size_t capacity, size_t* count);

/* --- session locks ----------------------------------------------------------------------------------------------- */

/* Locks on names that mean something to the program ('nightly invoices', a customer's number), for longer than one
 * transaction: same table, modes, policies, order and reports as row locks. Names: 1 to HF_KEY_SIZE_MAX bytes; they
 * have nothing to do with tables. Held until unlocked, until the session is closed, or until the process dies. */

/* Opens a session. `label`: its name in reports, at most HF_LABEL_SIZE_MAX bytes; NULL: the process's. Does not block.
 * HF_LIMIT: 4,096 transactions and sessions have locks already. */
HF_API HF_NODISCARD int hf_session_open(hf_db* db, const char* label, hf_session** session);

/* Locks a name. Codes as hf_lock, but none ends anything (HF_DEADLOCK too), and a session does not expire. A name held
 * already in a mode that is as good is fine, and needs no second unlock. options->timeout_ms 0: the database's. Blocks
 * for it at most. HF_CANCELLED: hf_session_cancel ended the wait. */
HF_API HF_NODISCARD int hf_session_lock(hf_session* session, hf_bytes name, const hf_lock_options* options);

/* Gives a name back. While transactions run inside of the session (hf_txn_options.session) it stays locked, and goes
 * with the last of them. HF_NOT_FOUND: not held, or unlocked before. Does not block. */
HF_API HF_NODISCARD int hf_session_unlock(hf_session* session, hf_bytes name);

/* Ends the hf_session_lock that waits, if one does: HF_CANCELLED. One that begins later is not concerned. Any thread;
 * the handle must be alive: HF_MISUSE after hf_session_close. */
HF_API int hf_session_cancel(hf_session* session);

/* Gives every name back and ends the handle. HF_MISUSE, and it lives on, while a call on it is under way, or while
 * there are handles of transactions begun inside of it (also ended ones: hf_restart would be inside again). NULL and a
 * NULL handle are fine. */
HF_API int hf_session_close(hf_session** session);
HF_API int hf_session_error(hf_session* session, hf_error* error);

/* --- counters ---------------------------------------------------------------------------------------------------- */

/*
 * A counter is a row of any table that holds a signed 64-bit number, made by the first hf_add or by hf_counter_set. An
 * absent one counts as 0. Adds read nothing, and take the row in increment mode at commit: they never conflict with
 * each other, in any number of transactions. hf_get gives a counter's eight bytes, least significant first; writing
 * them by hf_put makes a plain row of it. Counters do not expire.
 *   HF_WRONG_TYPE     the row is there and is not a counter: it is as it was
 */

/*
 * Adds `delta` (any sign) at commit, to whatever the counter is then. The sum has to lie in [min, max]; for no bounds
 * INT64_MIN and INT64_MAX. Checked now, so that 'sold out' is known at once, and at commit, which is the truth. Of
 * several adds of one transaction to one counter each has to keep its own bounds, in their order. Does not block.
 *   HF_OUT_OF_RANGE      now, as far as one can see, the sum lies outside, or leaves 64 bits: nothing was added, the
 *                        transaction runs on. Answered by hf_commit: nothing of it happened
 *   HF_INVALID_ARGUMENT  min is greater than max
 */
HF_API HF_NODISCARD int hf_add(hf_txn* txn, hf_table* table, hf_bytes key, int64_t delta, int64_t min, int64_t max);

/* Reads a counter at the snapshot, with the transaction's own adds: a dependency as any read, so that a commit after it
 * conflicts when others added meanwhile. To show a number: a read-only transaction. HF_NOT_FOUND: absent, and *value is
 * 0. */
HF_API HF_NODISCARD int hf_counter_get(hf_txn* txn, hf_table* table, hf_bytes key, int64_t* value);

/* Writes a number, present or not; depends on nothing, as hf_put. Own adds from before it are gone with it, those
 * after it count. Also makes a counter of a plain row. hf_counter_reset writes 0. */
HF_API HF_NODISCARD int hf_counter_set(hf_txn* txn, hf_table* table, hf_bytes key, int64_t value);
HF_API HF_NODISCARD int hf_counter_reset(hf_txn* txn, hf_table* table, hf_bytes key);

/* After hf_commit: what the counter stood at right after that commit ('you are buyer number 1,000'). Until the handle
 * is restarted or ended. HF_NOT_FOUND: this commit neither added to it nor set it. HF_MISUSE: it runs, or did not
 * commit. Where hf_transact commits: hf_execute, or begin and commit by hand. */
HF_API HF_NODISCARD int hf_counter_after(hf_txn* txn, hf_table* table, hf_bytes key, int64_t* value);

/* --- whole transactions in one call ------------------------------------------------------------------------------ */

typedef struct hf_transact_options {
  uint32_t size;             /* sizeof(hf_transact_options) */
  uint32_t attempts_max;     /* default 100 */
  uint64_t total_timeout_ms; /* over all attempts and pauses; default 30,000 */
  uint64_t backoff_min_us;   /* first pause, doubled each time, jittered; default 20 */
  uint64_t backoff_max_us;   /* default 5,000 */
  hf_txn_options txn;        /* of each attempt; set txn.size too, or leave all of it zero */
} hf_transact_options;
#define HF_TRANSACT_OPTIONS_INIT                                                 \
  {                                                                              \
    sizeof(hf_transact_options), 0, 0, 0, 0, { 0, 0, 0, 0, 0, 0, NULL, 0, NULL } \
  }

typedef struct hf_transact_result {
  uint32_t size;     /* set by the caller */
  uint32_t attempts; /* how often the function ran */
  uint64_t csn;      /* of the commit; 0 when nothing was written */
  uint64_t elapsed_us;
  hf_error error; /* the last failed attempt's, also when a later one succeeded; code 0 when there was none. Its size
                     is what this struct has room for */
} hf_transact_result;

/* Runs inside a fresh transaction; may run several times, so it must have no other lasting effect. Anything but HF_OK
 * aborts and is the answer of hf_transact, unless it is retryable; codes of the caller's own from 1000 on are fine.
 * Must not commit, abort, restart or end `txn`: HF_MISUSE. Cursors that it leaves open are closed. */
typedef int (*hf_transact_fn)(hf_txn* txn, void* context);

/*
 * Runs `fn` and commits; on a retryable code runs it again after a pause. Gives up after attempts_max or
 * total_timeout_ms with the last code (its class stays), and `result` has the number of attempts. Blocks as hf_commit
 * does and for the pauses. HF_MAYBE_COMMITTED is never retried. A row that an attempt met a conflict in is locked at
 * the start of the next one (not with HF_TXN_NO_HEAT), so that retries are few: a function that has such a row written
 * by another transaction while it runs waits for itself, until the lock timeout.
 */
HF_API HF_NODISCARD int hf_transact(hf_db* db, const hf_transact_options* options, hf_transact_fn fn, void* context,
                                    hf_transact_result* result);

enum {
  HF_OP_GET = 1,           /* into buffer; HF_NOT_FOUND in its result does not end the transaction */
  HF_OP_CHECK_EXISTS = 2,  /* HF_NOT_FOUND otherwise */
  HF_OP_CHECK_ABSENT = 3,  /* HF_EXISTS otherwise */
  HF_OP_CHECK_VERSION = 4, /* HF_VERSION_MISMATCH otherwise; version 0 = absent */
  HF_OP_CHECK_VALUE = 5,   /* value equals; HF_VERSION_MISMATCH otherwise */
  HF_OP_PUT = 6,
  HF_OP_INSERT = 7,
  HF_OP_UPDATE = 8,
  HF_OP_PUT_IF_VERSION = 9,
  HF_OP_DELETE = 10,
  HF_OP_ERASE = 11,
  HF_OP_ADD = 12,        /* as hf_add, with delta, min, max */
  HF_OP_LOCK = 13,       /* exclusive; those that follow one another are taken as by one hf_lock_many */
  HF_OP_COUNTER_SET = 14 /* as hf_counter_set, to delta */
};

typedef struct hf_operation {
  uint32_t kind;     /* HF_OP_... */
  uint32_t reserved; /* 0 */
  hf_table* table;
  hf_bytes key;
  hf_bytes value;
  uint64_t version;
  uint64_t ttl_ms;
  void* buffer;    /* HF_OP_GET: where the value goes; NULL with capacity 0 asks for size and version only */
  size_t capacity; /* bytes at buffer */
  int64_t delta;   /* HF_OP_ADD, HF_OP_COUNTER_SET */
  int64_t min;     /* HF_OP_ADD: both 0 are bounds as any others; none: INT64_MIN and INT64_MAX */
  int64_t max;
} hf_operation;

typedef struct hf_operation_result {
  int code; /* of this operation; HF_CANCELLED for those after the one that failed */
  int reserved;
  uint64_t version; /* HF_OP_GET, checks: of the row that was read */
  size_t size;      /* HF_OP_GET: bytes of the value, also when the buffer was too small (code HF_TOO_LARGE) */
  int64_t counter;  /* HF_OP_ADD: what the counter stands at after the commit, see hf_counter_after */
} hf_operation_result;

/* Runs the operations in order as one transaction, with the retries of hf_transact, and commits. The first operation
 * that fails ends it: nothing is done, its code is the answer. `results` (count of them) may be NULL. What is read and
 * checked is validated at commit as the isolation level demands, HF_OP_CHECK_VERSION at every level. */
HF_API HF_NODISCARD int hf_execute(hf_db* db, const hf_transact_options* options, const hf_operation* operations,
                                   size_t count, hf_operation_result* results, hf_transact_result* result);

/* --- bulk load --------------------------------------------------------------------------------------------------- */

/* Loads sorted rows into an empty table at near the speed of an LMDB append, past the log. Until hf_load_finish the
 * table is empty for everybody; the load then appears at once, durable. HF_EXISTS: not empty; answered by
 * hf_load_finish when somebody wrote to it meanwhile. HF_BUSY: another load or a merge holds the base; waits for it at
 * most overload_timeout_ms. Merges wait for the load: what others commit meanwhile has to fit the overlay. */
HF_API HF_NODISCARD int hf_load_begin(hf_db* db, hf_table* table, hf_load** load);
/* Keys strictly ascending, else HF_INVALID_ARGUMENT and the row is left out. */
HF_API HF_NODISCARD int hf_load_add(hf_load* load, hf_bytes key, hf_bytes value, uint64_t ttl_ms);
/* Blocks on the disk. The load has ended then: HF_MISUSE for a further add or finish. */
HF_API HF_NODISCARD int hf_load_finish(hf_load* load);
/* Gives the handle back; an unfinished load leaves the table empty. */
HF_API int hf_load_end(hf_load** load);
HF_API int hf_load_error(hf_load* load, hf_error* error);

/* --- upkeep and figures ------------------------------------------------------------------------------------------ */

enum {
  HF_MAINTAIN_STEP = 0,     /* what is due: prepare segments, merge sealed ones, sweep, take dead processes'
                               things back */
  HF_MAINTAIN_MERGE_ALL = 1 /* besides: seal and merge everything committed so far */
};
/* Does background work now, in this thread. HF_BUSY: another thread or process is at it (fine). Blocks on the disk. */
HF_API HF_NODISCARD int hf_maintain(hf_db* db, uint32_t flags);

typedef struct hf_stats {
  uint32_t size;          /* set by the caller */
  uint32_t processes;     /* that have the database open */
  uint64_t csn_published; /* newest visible commit */
  uint64_t csn_durable;   /* newest commit on the device */
  uint64_t csn_applied;   /* newest commit in the base */
  uint64_t syncs;         /* log syncs by all processes since the first open */
  uint64_t commits;       /* by all processes since the first open */
  uint64_t conflicts;     /* refused commits by all processes since the first open */
  uint64_t log_bytes;     /* log files */
  uint64_t log_segments;
  uint64_t overlay_bytes; /* shared memory files for recent commits */
  uint64_t overlay_bytes_used;
  uint64_t overlay_bytes_max;
  uint64_t overlay_segments;
  uint64_t base_bytes;      /* data file */
  uint64_t base_bytes_used; /* of it, pages in use */
  uint64_t merges;
  uint64_t rows_swept;
  uint64_t transactions_open; /* of this process */
  uint64_t oldest_pin_csn;    /* base csn of the oldest pin; what is newer has to be kept */
  uint64_t oldest_pin_age_ms;
  uint64_t oldest_pin_pid;
  uint64_t private_bytes; /* anonymous memory of this whole process, resident */
  uint64_t takeovers;     /* latches taken over from dead processes */
  uint64_t locks_max;     /* units of the lock table, see hf_open_options */
  uint64_t locks_held;    /* of them, in use */
  /* By all processes since the first open: */
  uint64_t lock_waits;
  uint64_t lock_timeouts;
  uint64_t deadlocks;
  uint64_t lock_handovers; /* waits that ended by the lock being handed over */
  uint64_t lock_expiries;  /* transactions whose locks were taken away when they passed a limit */
  uint64_t lock_wait_longest_us;
  uint64_t lock_waited_us; /* by all waits together */
  uint64_t hot_buckets;    /* groups of rows that are locked at first touch now, of 8,192 */
} hf_stats;
HF_API HF_NODISCARD int hf_stat(hf_db* db, hf_stats* stats);

#ifdef __cplusplus
}
#endif

#endif /* HOLDFAST_HOLDFAST_H */
