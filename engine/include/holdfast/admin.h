/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holdfast for the person who runs the shop: who has the database open, and figures for monitoring. The conventions of
 * holdfast/holdfast.h hold here too.
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

#ifdef __cplusplus
}
#endif

#endif /* HOLDFAST_ADMIN_H */
