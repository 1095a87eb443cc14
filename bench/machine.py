# SPDX-License-Identifier: Apache-2.0
"""What a figure was measured on: processor, memory, kernel, file system."""
import os
import platform


def _first_value(path, key):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""


def _unescape(text):
    """mountinfo writes space, tab, newline and backslash as octal."""
    for octal, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(octal, char)
    return text


def file_system(directory):
    """Type, device and options of the mount that holds `directory`."""
    device = os.stat(directory).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    best = None
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            fields, (kind, source, *_) = left.split(), right.split()
            point = _unescape(fields[4])
            inside = os.path.realpath(directory).startswith(point.rstrip("/") + "/") or point == "/"
            # The device number settles it where it can; some file systems (btrfs, overlay) report another one.
            rank = (inside, fields[2] == number, len(point))
            if inside and (best is None or rank > best[0]):
                best = (rank, {"type": kind, "device": _unescape(source), "options": fields[5]})
    return best[1] if best else {"type": "unknown", "device": "", "options": ""}


def describe(directory):
    return {
        "cpu": _first_value("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "file_system": file_system(directory),
        "load_average": os.getloadavg()[0],  # of the last minute, before measuring
    }
