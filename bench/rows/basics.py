# SPDX-License-Identifier: Apache-2.0
"""Rows of the engine's base: puts, reads, loading, recovery, opening, memory."""
import shutil
import statistics

from rows.measuring import ENGINES, MIB, Line, at_least, at_most, median


def put_runs(bench, **options):
    """Engine -> runs; and "sync" -> how fast the disk was between them, to judge durable rates by."""
    directories = bench.loaded()
    limits = {"seconds": bench.settings["seconds"], "warmup": bench.settings["warmup"]}
    runs = {"sync": [], **{engine: [] for engine in ENGINES}}
    for _ in bench.repetitions:
        runs["sync"].append(bench.run("sync", bench.directory, **limits))
        for engine in ENGINES:
            runs[engine].append(bench.run("put", directories[engine], engine=engine, rows=bench.settings["rows"],
                                          **limits, **options))
    return runs


def put_one_thread(bench):
    runs = put_runs(bench)
    sync_us = median(runs["sync"], "mean_us")
    yield Line("one fdatasync (200-byte overwrites of a zero-filled file)", "us", sync_us, sync="durable",
               runs={"sync": runs["sync"]})
    ours_us, theirs_us = (1e6 / median(runs[engine], "rate") for engine in ENGINES)
    yield Line("durable put, 1 thread: time, by that of one fdatasync", "us", ours_us, theirs_us, ours_us / sync_us,
               "<= 1.3 x fdatasync", ours_us <= 1.3 * sync_us, "durable", runs)
    yield at_least("durable put, 1 thread", runs, 2.2, sync="durable")


def put_threads(threads, least):
    def measure(bench):
        yield at_least(f"durable put, {threads} threads", put_runs(bench, threads=threads), least, sync="durable")
    return measure


def put_processes(bench):
    yield at_least("durable put, 8 processes x 8 threads", put_runs(bench, processes=8, threads=8), 20, sync="durable")


def put_relaxed(bench):
    yield at_least("relaxed put, 1 thread (LMDB: MDB_NOSYNC)", put_runs(bench, relaxed=True), 2, sync="relaxed")


def reading(name, changed, what, speed=None, time=None):
    """A row of the read benchmarks; the ratio is of speeds (at least) or of times (at most)."""
    def measure(bench):
        times = bench.google("read", f"^{name}{'_changed' if changed else ''}/holdfast|^{name}/lmdb",
                             overlay_rows=bench.settings["rows"] // 10)
        ours, theirs = (statistics.median(next(times[key] for key in times if f"/{engine}" in key))
                        for engine in ("holdfast", "lmdb"))
        ratio = theirs / ours if speed else ours / theirs
        met = ratio >= speed if speed else ratio <= time
        target = f">= {speed} x LMDB's speed" if speed else f"<= {time} x LMDB's time"
        yield Line(what, "ns", ours, theirs, ratio, target, met, runs=times)
    return measure


def load(bench):
    runs = {engine: [] for engine in ENGINES}
    for _ in bench.repetitions:
        for engine in ENGINES:
            runs[engine].append(bench.run("load", bench.path(engine), engine=engine, rows=bench.settings["rows"]))
            shutil.rmtree(bench.path(engine))
    yield at_least("bulk load of sorted rows (LMDB: MDB_APPEND)", runs, 0.6, sync="durable")


def recovery(bench):
    runs = {engine: [] for engine in ENGINES}
    for _ in bench.repetitions:
        for engine, directory in bench.loaded("recovery").items():
            runs[engine].append(bench.run("recovery", directory, engine=engine, rows=bench.settings["rows"],
                                          log_mib=bench.settings["log_mib"]))
            shutil.rmtree(directory)
    ours, theirs = (median(runs[engine], "seconds") for engine in ENGINES)
    log_mib = median(runs["holdfast"], "log_bytes") / MIB
    yield at_most(f"recovery of a {log_mib:.0f} MiB log (LMDB: has none)", "s", ours, theirs, 3, runs, "<= 3 s")


def sustained(bench):
    seconds = bench.settings["sustained_seconds"]
    runs = {}
    for engine, directory in bench.loaded().items():
        runs[engine] = [bench.run("put", directory, engine=engine, rows=bench.settings["rows"], threads=64,
                                  seconds=seconds, warmup=bench.settings["warmup"])]
    evenness = {}
    for engine in ENGINES:
        per_second = runs[engine][0]["per_second"]
        evenness[engine] = min(per_second) / max(1, statistics.median(per_second))
    what = f"durable put, 64 threads, {seconds:g} s"
    yield Line(f"{what}: rate", "/s", *(runs[engine][0]["rate"] for engine in ENGINES), sync="durable", runs=runs)
    yield Line(f"{what}: slowest second by median second", "x", *(evenness[engine] for engine in ENGINES), None,
               ">= 0.5", evenness["holdfast"] >= 0.5, "durable")
    ours, theirs = (runs[engine][0] for engine in ENGINES)
    yield Line("  largest size of the log", "bytes", ours["log_bytes_max"])
    yield at_most("  largest size of the overlay, by its budget", "bytes", ours["overlay_bytes_max"], None,
                  ours["overlay_bytes_budget"], {}, f"<= {ours['overlay_bytes_budget'] // MIB} MiB")
    yield Line("  largest size of the base", "bytes", ours["base_bytes_max"], theirs["base_bytes_max"])
    yield Line("  largest size of the directory", "bytes", ours["directory_bytes_max"], theirs["directory_bytes_max"])


def opening(bench):
    runs = {engine: [] for engine in ENGINES}
    for _ in bench.repetitions:
        for engine in ENGINES:
            runs[engine].append(bench.run("open", bench.path(engine), engine=engine))
            shutil.rmtree(bench.path(engine))

    def line(what, unit, name, most, text):
        return at_most(what, unit, *(median(runs[engine], name) for engine in ENGINES), most, runs, text)
    yield line("create a database", "ms", "create_ms", 50, "<= 50 ms")
    yield line("  its size on disk", "bytes", "directory_bytes", 8 * MIB, "<= 8 MiB")
    yield line("join an open one", "ms", "join_ms", 5, "<= 5 ms")


def memory(bench):
    runs = put_runs(bench, processes=2, threads=16, memory=True)
    # A bound is held by the worst run, not by the median.
    ours, theirs = (max(run["private_bytes_max"] for run in runs[engine]) for engine in ENGINES)
    yield at_most("private memory of a process (2 x 16 threads put)", "bytes", ours, theirs, 16 * MIB, runs,
                  "<= 16 MiB + write sets")
    overlay = max(run["overlay_bytes_max"] for run in runs["holdfast"])
    budget = runs["holdfast"][0]["overlay_bytes_budget"]
    yield at_most("overlay, by its budget", "bytes", overlay, None, budget, {}, f"<= {budget // MIB} MiB")


def backup(bench):
    directory = bench.loaded("backup", ["holdfast"])["holdfast"]
    runs = [bench.run("backup", directory, rows=bench.settings["rows"], processes=2, threads=4,
                      seconds=bench.settings["seconds"], warmup=bench.settings["warmup"]) for _ in bench.repetitions]
    runs = {"holdfast": runs}
    # Each run has both sides, one after the other; the ratio is the median of theirs.
    ratio = median(runs["holdfast"], "ratio")
    yield Line("durable put, 2 processes x 4 threads, during a backup: by without", "/s",
               median(runs["holdfast"], "rate"), None, ratio, ">= 0.7 x the rate without", ratio >= 0.7, "durable", runs)
    yield Line("  the same without", "/s", median(runs["holdfast"], "quiet_rate"), sync="durable")
    yield Line("  time of a backup", "s", median(runs["holdfast"], "backup_seconds"))
    yield Line("  its size", "bytes", median(runs["holdfast"], "backup_bytes"))


# In the order of the table.
ROWS = {
    "put-1": put_one_thread,
    "put-16": put_threads(16, 14),
    "put-64": put_threads(64, 22),
    "put-8x8": put_processes,
    "put-relaxed": put_relaxed,
    "read": reading("point_read", False, "point read in a snapshot, overlay empty", speed=0.85),
    "read-changed": reading("point_read", True, "point read in a snapshot, 10% of rows in the overlay", speed=0.6),
    "begin-read-end": reading("begin_read_end", False, "begin + point read + end (LMDB: renew + get + reset)",
                              time=1.2),
    "scan": reading("full_scan", False, "full scan, a row, overlay empty", speed=0.8),
    "scan-changed": reading("full_scan", True, "full scan, a row, 10% of rows in the overlay", speed=0.4),
    "load": load,
    "recovery": recovery,
    "sustained": sustained,
    "open": opening,
    "memory": memory,
    "backup": backup,
}
