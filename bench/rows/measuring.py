# SPDX-License-Identifier: Apache-2.0
"""How a row is measured: the program that measures, medians, ratios, lines of the table.

A row is a function that takes a Bench and yields Lines. Both sides are measured in turn, repetition by repetition, so
that a change in the machine's mood hits both. Ratios are those of the medians.
"""
import json
import os
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
    unit: str                # "/s", "ns", "us", "ms", "s", "bytes", "%", "x", "" (as it is)
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

    def google(self, command, pattern="", **options):
        """A command that Google Benchmark runs: name -> time per item in ns, of each repetition."""
        directory, out = self.path(command), self.path(command + ".json")
        arguments = [self.binary, command, "--dir", directory, "--rows", str(self.settings["rows"])]
        for name, value in options.items():
            arguments += ["--" + name.replace("_", "-"), str(value)]
        arguments += [f"--benchmark_filter={pattern or '.'}", f"--benchmark_out={out}", "--benchmark_out_format=json",
                      f"--benchmark_repetitions={self.settings['repeat']}",
                      f"--benchmark_min_time={self.settings['read_seconds']}",
                      "--benchmark_enable_random_interleaving=true"]
        self._output(arguments, 1800)
        shutil.rmtree(directory)
        with open(out, encoding="utf-8") as file:
            result = json.load(file)
        times = {}
        for run in result["benchmarks"]:
            if run["run_type"] == "iteration":
                name = run["name"].replace("/real_time", "")
                times.setdefault(name, []).append(1e9 / run["items_per_second"])
        return times

    def path(self, name):
        return os.path.join(self.directory, name)

    def loaded(self, name="put", engines=ENGINES):
        """A database of each side with the data set: engine -> directory."""
        directories = {engine: self.path(f"{name}-{engine}") for engine in engines}
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


def disk_unrest(runs):
    """Slowest by fastest mean of fdatasync among the runs of a row; 1.0 where it was not measured."""
    means = [run["mean_us"] for run in runs.get("sync", ())]
    return max(means) / min(means) if means else 1.0
