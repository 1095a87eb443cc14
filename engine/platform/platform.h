// SPDX-License-Identifier: Apache-2.0
// Layer `platform`: files, mapped regions (the only user of Boost.Interprocess), futex, robust latch, liveness of
// processes, test points. May include `base`. Everything above may include it. What is Linux-only stays here.
//
//   file.h       File, directories, size-limit guard        region.h    files mapped into memory
//   futex.h      wait and wake across processes             liveness.h  who is alive, proven by the kernel
//   latch.h      mutual exclusion that survives a kill       test_point.h  forced races and injected faults
//   plant.h      bugs that tests switch on
#pragma once
