# SPDX-License-Identifier: Apache-2.0
"""The rows of the table: how each is measured (measuring), and what it has to reach (a module for each topic)."""
import re

from rows import basics, locks
from rows.measuring import MIB, Bench, BenchError, disk_unrest

__all__ = ["MIB", "ROWS", "Bench", "BenchError", "disk_unrest", "selected"]

# Name of each row, for --row, in the order of the table.
ROWS = {**basics.ROWS, **locks.ROWS}


def selected(pattern):
    return {name: row for name, row in ROWS.items() if re.search(pattern, name)}
