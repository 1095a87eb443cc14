// SPDX-License-Identifier: Apache-2.0
// Places where perf, bpftrace and SystemTap can look into a running shop: static probes of provider `holdfast`
// (sys/sdt.h). One that nobody watches costs one no-operation instruction and the loads of its arguments; a build
// without that header has none. docs/operating.md lists them with their arguments.
#pragma once

#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define HF_PROBE1(name, a) DTRACE_PROBE1(holdfast, name, a)
#define HF_PROBE2(name, a, b) DTRACE_PROBE2(holdfast, name, a, b)
#define HF_PROBE3(name, a, b, c) DTRACE_PROBE3(holdfast, name, a, b, c)
#else
#define HF_PROBE1(name, a) ((void)0)
#define HF_PROBE2(name, a, b) ((void)0)
#define HF_PROBE3(name, a, b, c) ((void)0)
#endif
