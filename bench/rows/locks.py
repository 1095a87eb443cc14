# SPDX-License-Identifier: Apache-2.0
"""Rows of row locks, counters and waiting. All but `lock` and `killed-holder` run threads that want the same rows.

Durable rates are also told by the sync-time, the mean time of one fdatasync between the runs: that a disk is fast is no
merit of ours. 7 commits per sync-time are 78,000/s where a sync takes 90 us.
"""
import shutil
import statistics

from rows.measuring import ENGINES, Line, at_least, median

THREADS_64 = {"threads": 64}
PROCESSES_8 = {"processes": 8, "threads": 8}


def in_turn(bench, measures):
    """Name -> runs, of every measure once in each repetition; and "sync" -> how fast the disk was between them."""
    limits = {"seconds": bench.settings["seconds"], "warmup": bench.settings["warmup"]}
    runs = {"sync": [], **{name: [] for name in measures}}
    for _ in bench.repetitions:
        runs["sync"].append(bench.run("sync", bench.directory, **limits))
        for name, (command, directory, options) in measures.items():
            runs[name].append(bench.run(command, directory, **{**limits, **options}))
    return runs


def on_data_set(bench, variants):
    """For in_turn: name -> (command, engine, options), on the loaded data set."""
    directories = bench.loaded("contest", {engine for _, engine, _ in variants.values()})
    return {name: (command, directories[engine], {"engine": engine, "rows": bench.settings["rows"], **options})
            for name, (command, engine, options) in variants.items()}


def sync_line(runs):
    return Line("one fdatasync (the sync-time below)", "us", median(runs["sync"], "mean_us"), sync="durable", runs=runs)


def by_sync(runs, name):
    """Commits per sync-time."""
    return median(runs[name], "rate") * median(runs["sync"], "mean_us") / 1e6


def rate_line(what, runs, name, least=None, baseline=None):
    """A durable rate, by the sync-time."""
    commits = by_sync(runs, name)
    theirs = median(runs[baseline], "rate") if baseline else None
    return Line(what, "/s", median(runs[name], "rate"), theirs, commits, f">= {least} per sync-time" if least else "",
                commits >= least if least else None, "durable")


def ratio_line(what, ours, to, least, text):
    ratio = ours / to
    return Line(what, "x", ratio, None, ratio, f">= {least} x {text}", ratio >= least)


def times_line(what, runs, name, field, most=None):
    """A time of 64 threads' transactions, by the sync-time."""
    time_us = median(runs[name], field)
    ratio = time_us / median(runs["sync"], "mean_us")
    return Line(what, "us", time_us, None, ratio, f"<= {most} sync-times" if most else "",
                ratio <= most if most else None, "durable")


def lock(bench):
    times = bench.google("lock")

    def line(what, name, most=200):
        ours = statistics.median(times[f"{name}/threads:1"])
        return Line(what, "ns", ours, None, None, f"<= {most} ns", ours <= most, runs=times)

    def scaling(what, name):
        # The time of a pair is that of one, divided by what two threads do at once.
        one, two = (statistics.median(times[f"{name}/threads:{threads}"]) for threads in (1, 2))
        return ratio_line(what, one, two, 1.6, "of one thread")
    yield line("free lock + unlock, in a transaction of 16 random rows", "txn_lock")
    yield scaling("  2 threads on different rows, by 1 thread", "txn_lock")
    yield line("free lock + unlock, a session's on one name", "session_lock")
    yield scaling("  2 threads on different names, by 1 thread", "session_lock")


def hot_row(bench):
    variants = {}
    for name, options in {"1": {}, "16": {"threads": 16}, "64": THREADS_64, "8x8": PROCESSES_8}.items():
        variants[name] = ("hot-row", "holdfast", options)
        variants[f"{name}-lmdb"] = ("hot-row", "lmdb", options)
    variants["strict"] = ("hot-row", "holdfast", {**THREADS_64, "strict": True})
    variants["relaxed"] = ("hot-row", "holdfast", {**THREADS_64, "relaxed": True})
    runs = in_turn(bench, on_data_set(bench, variants))
    yield sync_line(runs)
    for threads in ("1", "16"):
        yield rate_line(f"hot row: lock, read, write, commit, {threads} thread{'s' if threads != '1' else ''}", runs,
                        threads, None, f"{threads}-lmdb")
    yield rate_line("hot row, 64 threads", runs, "64", 7, "64-lmdb")
    for quantile, most in (("p50", None), ("p99", 16), ("max", None)):
        yield times_line(f"  whole transaction, {quantile}", runs, "64", f"transaction_{quantile}_us", most)
    for quantile in ("p50", "p99", "max"):
        yield times_line(f"  wait for the lock, {quantile}", runs, "64", f"wait_{quantile}_us")
    yield rate_line("hot row, 8 processes x 8 threads", runs, "8x8", None, "8x8-lmdb")
    yield ratio_line("  by 64 threads of one process", median(runs["8x8"], "rate"), median(runs["64"], "rate"), 0.8,
                     "64 threads")
    yield rate_line("hot row, strict order of arrival, 64 threads", runs, "strict", 4)
    yield times_line("  whole transaction, p99", runs, "strict", "transaction_p99_us")
    yield Line("hot row, relaxed, 64 threads", "/s", median(runs["relaxed"], "rate"), sync="relaxed")


def fairness(bench):
    seconds = bench.settings["fairness_seconds"]
    runs = in_turn(bench, on_data_set(bench, {"64": ("hot-row", "holdfast", {**THREADS_64, "seconds": seconds})}))
    # A bound is held by the worst run, not by the median.
    longest_ms = max(run["wait_max_us"] for run in runs["64"]) / 1e3
    least = min(run["thread_min"] / max(1, run["thread_mean"]) for run in runs["64"])
    yield Line(f"hot row, 64 threads, {seconds:g} s: longest wait for the lock", "ms", longest_ms, None, None,
               "<= 5 ms", longest_ms <= 5, "durable", runs)
    yield Line("  thread served least, by the mean", "x", least, None, least, ">= 0.5", least >= 0.5, "durable")


def hot_counter(bench):
    runs = in_turn(bench, on_data_set(bench, {
        "64": ("hot-counter", "holdfast", THREADS_64), "64-lmdb": ("hot-counter", "lmdb", THREADS_64),
        "8x8": ("hot-counter", "holdfast", PROCESSES_8), "8x8-lmdb": ("hot-counter", "lmdb", PROCESSES_8)}))
    yield sync_line(runs)
    yield rate_line("hot counter with bounds, 64 threads", runs, "64", 10, "64-lmdb")
    yield rate_line("hot counter with bounds, 8 processes x 8 threads", runs, "8x8", 10, "8x8-lmdb")


def hot_counter_relaxed(bench):
    variants = {engine: ("hot-counter", engine, {"relaxed": True}) for engine in ENGINES}
    runs = in_turn(bench, on_data_set(bench, variants))
    yield at_least("hot counter, relaxed, 1 thread (LMDB: MDB_NOSYNC)", runs, 4, sync="relaxed")


def hot_transact(bench):
    runs = in_turn(bench, on_data_set(bench, {
        "pessimistic": ("hot-row", "holdfast", THREADS_64),
        "optimistic": ("hot-row", "holdfast", {**THREADS_64, "optimistic": True})}))
    yield sync_line(runs)
    yield rate_line("hot row by hf_transact without locks, 64 threads", runs, "optimistic")
    ours, pessimistic = (median(runs[name], "rate") for name in ("optimistic", "pessimistic"))
    yield ratio_line("  by the pessimistic way", ours, pessimistic, 0.7, "pessimistic")
    attempts = median(runs["optimistic"], "attempts_mean")
    yield Line("  attempts, mean", "x", attempts, None, None, "<= 1.3", attempts <= 1.3)


def pairs(bench):
    runs = in_turn(bench, on_data_set(bench, {"pairs": ("pairs", "holdfast", THREADS_64),
                                              "puts": ("put", "holdfast", THREADS_64)}))
    yield sync_line(runs)
    yield rate_line("two random rows read, one written, 64 threads", runs, "pairs")
    yield ratio_line("  by blind puts", median(runs["pairs"], "rate"), median(runs["puts"], "rate"), 0.8, "blind puts")
    aborts = median(runs["pairs"], "aborts_percent")
    yield Line("  aborts", "%", aborts, None, None, "< 0.1 %", aborts < 0.1)


def killed_holder(bench):
    runs = {name: [] for name in ("64", "8x8")}
    for _ in bench.repetitions:
        for name, options in (("64", THREADS_64), ("8x8", PROCESSES_8)):
            directory = bench.path("killed-holder")
            runs[name].append(bench.run("killed-holder", directory, kills=bench.settings["kills"], **options))
            shutil.rmtree(directory)
    kills = bench.settings["kills"]
    for name, waiters in (("64", "64 threads"), ("8x8", "8 x 8 threads")):
        middle = median(runs[name], "median_ms")
        yield Line(f"holder killed, {waiters} wait: next grant, median of {kills}", "ms", middle, None, None,
                   "<= 50 ms", middle <= 50, runs={name: runs[name]})
        yield Line("  longest", "ms", max(run["max_ms"] for run in runs[name]))


def basket(bench):
    limits = {"seconds": bench.settings["seconds"], "warmup": bench.settings["warmup"]}
    runs = {"sync": [], **{engine: [] for engine in ENGINES}}
    for _ in bench.repetitions:
        runs["sync"].append(bench.run("sync", bench.directory, **limits))
        for engine in ENGINES:  # each in a new database, which it fills
            runs[engine].append(bench.run("basket", bench.path(engine), engine=engine, **limits, **THREADS_64))
            shutil.rmtree(bench.path(engine))
    yield at_least("basket of 5 zipf(0.9) products, order, points, 64 threads", runs, 15, sync="durable")
    yield times_line("  whole transaction, p99", runs, "holdfast", "transaction_p99_us")
    yield times_line("  wait for the locks, p99", runs, "holdfast", "wait_p99_us")


# In the order of the table.
ROWS = {
    "lock": lock,
    "hot-row": hot_row,
    "fairness": fairness,
    "hot-counter": hot_counter,
    "hot-counter-relaxed": hot_counter_relaxed,
    "hot-transact": hot_transact,
    "pairs": pairs,
    "killed-holder": killed_holder,
    "basket": basket,
}
