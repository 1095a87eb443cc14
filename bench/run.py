#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures Holdfast beside LMDB, prints the table and writes it as JSON. scripts/bench builds and calls this."""
import argparse
import dataclasses
import datetime
import json
import os
import re
import shutil
import sys
import tempfile
import time

import machine
import rows

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FULL = {"rows": 1_000_000, "repeat": 5, "seconds": 3.0, "warmup": 0.5, "read_seconds": 1.0, "log_mib": 256,
        "sustained_seconds": 120, "fairness_seconds": 10, "kills": 100}
QUICK = {"rows": 100_000, "repeat": 3, "seconds": 0.5, "warmup": 0.2, "read_seconds": 0.1, "log_mib": 32,
         "sustained_seconds": 5, "fairness_seconds": 2, "kills": 10}


# A quiet disk varies by a few per cent; twice as slow between two repetitions means that the row says nothing.
DISK_UNREST_MAX = 2.0


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small and short: shows that it works, not how fast it is")
    parser.add_argument("--row", default="", metavar="REGEX", help="only these rows: " + ", ".join(rows.ROWS))
    parser.add_argument("--repeat", type=int, help="repetitions of each measurement; the median counts (default 5)")
    parser.add_argument("--dir", default=os.path.join(ROOT, "build/bench/db"),
                        help="where databases are made, on the disk to be measured (default build/bench/db)")
    parser.add_argument("--json", default=os.path.join(ROOT, "build/bench/result.json"), metavar="FILE",
                        help="where the result goes (default build/bench/result.json)")
    parser.add_argument("--binary", default=os.path.join(ROOT, "build/release/holdfast_bench"), metavar="FILE",
                        help="the benchmark program (default build/release/holdfast_bench)")
    parser.add_argument("--check", action="store_true", help="exit code 3 when a target is missed")
    options = parser.parse_args()
    if options.repeat is not None and options.repeat < 1:
        parser.error("--repeat has to be at least 1")
    try:
        if not rows.selected(options.row):
            parser.error(f"no row matches '{options.row}' (there are: {', '.join(rows.ROWS)})")
    except re.error as error:
        parser.error(f"--row: {error}")
    if not os.access(options.binary, os.X_OK):
        parser.error(f"{options.binary} is not there; scripts/bench builds it")
    return options


def shown(value, unit):
    if value is None:
        return "-"
    if unit == "/s":
        for scale, suffix in ((1e6, "M"), (1e3, "k")):
            if value >= scale:
                return f"{value / scale:.3g}{suffix}/s" if value < 1e3 * scale else f"{value / scale:.0f}{suffix}/s"
        return f"{value:.0f}/s"
    if unit == "bytes":
        return f"{value / rows.MIB:.1f} MiB" if value >= rows.MIB / 10 else f"{value / 1024:.0f} KiB"
    if unit == "x":
        return f"{value:.2f}"
    return f"{value:.3g} {unit}".rstrip() if value < 1000 else f"{value:.0f} {unit}".rstrip()


def print_line(cells):
    print("{:<62} {:>11} {:>11} {:>7}  {:<22} {}".format(*cells).rstrip(), flush=True)


def print_head(result):
    computer, settings = result["machine"], result["settings"]
    disk = computer["file_system"]
    print(f"{computer['cpu']}, {computer['cores']} cores, {computer['memory_bytes'] / (1 << 30):.0f} GiB, "
          f"{computer['kernel']}")
    print(f"database on {disk['type']} ({disk['device']}, {disk['options']}): {result['directory']}")
    print(f"Holdfast {result['build']['holdfast_version']}, {result['build']['lmdb_version']}; "
          f"{result['build']['compiler']}, {result['build']['build']}")
    print(f"{result['date']}; {settings['rows']:,} rows of 8-byte key and 100-byte value; medians of "
          f"{settings['repeat']} runs{' (quick: sizes and times too small to judge by)' if settings['quick'] else ''}")
    if disk["type"] in ("tmpfs", "ramfs"):
        print("WARNING: this file system is memory; what durability costs is not seen here. See --dir.")
    if computer["load_average"] > computer["cores"] / 2:
        print(f"WARNING: the machine is busy (load {computer['load_average']:.1f}). Its figures say little.")
    print()
    print_line(("what", "Holdfast", "LMDB", "ratio", "target", "met"))


def measure(bench, chosen, result):
    """Fills result["rows"]; a row that fails is reported, and the others go on."""
    for name, row in chosen.items():
        entry = {"row": name, "lines": []}
        result["rows"].append(entry)
        begin, unrest = time.monotonic(), 1.0
        try:
            for line in row(bench):
                entry["lines"].append(dataclasses.asdict(line))
                unrest = max(unrest, rows.disk_unrest(line.runs))
                ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
                met = "" if line.met is None else "yes" if line.met else "NO"
                print_line((line.what, shown(line.holdfast, line.unit), shown(line.lmdb, line.unit), ratio, line.target,
                            met))
            if unrest > DISK_UNREST_MAX:
                print(f"  NOTE: fdatasync alone varied by {unrest:.1f} x during {name}: something else uses the disk")
        except rows.BenchError as error:
            entry["error"] = str(error)
            print(f"{name}: failed: {error}", flush=True)
        entry["took_seconds"] = round(time.monotonic() - begin, 1)
        bench.clean()


def write(result, path):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    os.replace(path + ".new", path)


def main():
    options = parse()
    settings = {**(QUICK if options.quick else FULL), "quick": options.quick}
    settings["repeat"] = options.repeat or settings["repeat"]
    os.makedirs(options.dir, exist_ok=True)
    # A directory of our own inside, so that cleaning up can touch nothing else.
    directory = tempfile.mkdtemp(prefix="run-", dir=options.dir)
    bench = rows.Bench(options.binary, directory, settings)
    try:
        result = {"date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
                  "machine": machine.describe(directory), "directory": os.path.abspath(options.dir),
                  "build": bench.run("describe"), "settings": settings, "rows": []}
        print_head(result)
        measure(bench, rows.selected(options.row), result)
    except rows.BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    write(result, options.json)
    lines = [line for row in result["rows"] for line in row["lines"] if line["met"] is not None]
    failed = [row["row"] for row in result["rows"] if "error" in row]
    missed = sum(not line["met"] for line in lines)
    print(f"\n{len(lines) - missed} of {len(lines)} targets met{', failed: ' + ', '.join(failed) if failed else ''}; "
          f"written to {os.path.relpath(options.json)}")
    return 1 if failed else 3 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
