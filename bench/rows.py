# SPDX-License-Identifier: Apache-2.0
"""The rows of the table: how each is measured, and what it has to reach.

A row is a function that takes a Bench and yields Lines. Both sides are measured in turn, repetition by repetition, so
that a change in the machine's mood hits both. Ratios are those of the medians.
"""
import json
import os
import re
import shutil
import statistics
import subprocess
from dataclasses import dataclass, field

ENGINES = ("holdfast", "lmdb")
MIB = 1 << 20


class BenchError(Exception):
    pass


@dataclass
class Line:
    """One line of the table. `holdfast` and `lmdb` are medians (None: there is no such thing), in `unit`."""
    what: str
    unit: str                # "/s", "us", "ms", "s", "bytes", "x", "" (as it is)
    holdfast: float = None
    lmdb: float = None
    ratio: float = None      # as the target counts it
    target: str = ""
    met: bool = None         # None: no target
    sync: str = ""           # durable or relaxed; empty where nothing is written
    runs: dict = field(default_factory=dict)


class Bench:
    """Runs the benchmark program in a directory of its own."""

    def __init__(self, binary, directory, settings):
        self.binary, self.directory, self.settings = binary, directory, settings

    def run(self, command, directory=None, **options):
        """One measurement: the line of JSON that the program prints."""
        arguments = [self.binary, command]
        if directory:
            arguments += ["--dir", directory]
        for name, value in options.items():
            flag = "--" + name.replace("_", "-")
            arguments += [flag] if value is True else [] if value is False else [flag, str(value)]
        os.sync()  # what the last measurement left in the page cache is not this one's
        return json.loads(self._output(arguments, 300 + 2 * float(options.get("seconds", 0))))

    def read(self, pattern):
        """Google Benchmark: name -> time per item in ns, of each repetition."""
        directory, out = self.path("read"), self.path("read.json")
        self._output([self.binary, "read", "--dir", directory, "--rows", str(self.settings["rows"]),
                      "--overlay-rows", str(self.settings["rows"] // 10), f"--benchmark_filter={pattern}",
                      f"--benchmark_repetitions={self.settings['repeat']}", f"--benchmark_out={out}",
                      f"--benchmark_min_time={self.settings['read_seconds']}",
                      "--benchmark_enable_random_interleaving=true", "--benchmark_out_format=json"], 1800)
        shutil.rmtree(directory)
        with open(out, encoding="utf-8") as file:
            result = json.load(file)
        times = {}
        for run in result["benchmarks"]:
            if run["run_type"] == "iteration":
                name = run["name"].removesuffix("/real_time")
                times.setdefault(name, []).append(1e9 / run["items_per_second"])
        return times

    def path(self, name):
        return os.path.join(self.directory, name)

    def loaded(self, name="put"):
        """A database of each side with the data set: engine -> directory."""
        directories = {engine: self.path(f"{name}-{engine}") for engine in ENGINES}
        for engine, directory in directories.items():
            self.run("load", directory, engine=engine, rows=self.settings["rows"])
        return directories

    def clean(self):
        """Between rows: files that nobody needs any more."""
        for entry in os.scandir(self.directory):
            shutil.rmtree(entry.path) if entry.is_dir() else os.unlink(entry.path)

    @property
    def repetitions(self):
        return range(self.settings["repeat"])

    @staticmethod
    def _output(arguments, timeout):
        try:
            done = subprocess.run(arguments, capture_output=True, text=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"no answer within {timeout:.0f} s: {' '.join(arguments)}") from error
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
            ours = [line for line in lines if line.startswith("holdfast_bench: ")]
            raise BenchError((ours or lines[-1:])[0].removeprefix("holdfast_bench: "))
        return done.stdout


def median(runs, name):
    return statistics.median(run[name] for run in runs)


def at_least(what, runs, least, **rest):
    """Rates of both sides and their ratio, which should be large."""
    ours, theirs = (median(runs[engine], "rate") for engine in ENGINES)
    ratio = ours / theirs
    return Line(what, "/s", ours, theirs, ratio, f">= {least} x LMDB", ratio >= least, runs=runs, **rest)


def at_most(what, unit, ours, theirs, most, runs, text):
    return Line(what, unit, ours, theirs, None, text, ours <= most, runs=runs)


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


def disk_unrest(runs):
    """Slowest by fastest mean of fdatasync among the runs of a row; 1.0 where it was not measured."""
    means = [run["mean_us"] for run in runs.get("sync", ())]
    return max(means) / min(means) if means else 1.0


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
        times = bench.read(f"^{name}{'_changed' if changed else ''}/holdfast|^{name}/lmdb")
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


# Name of each row, for --row, in the order of the table.
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
}


def selected(pattern):
    return {name: row for name, row in ROWS.items() if re.search(pattern, name)}
