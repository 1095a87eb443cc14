#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that the shared library exports what the public headers declare, and nothing else.

    tools/check_symbols.py libholdfast.so include/holdfast

Prints each symbol that is exported but not declared, or declared but not exported, and exits 1 if there is one.
"""

import pathlib
import re
import subprocess
import sys

COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.)*", re.MULTILINE | re.DOTALL)
LINKAGE = re.compile(r'extern\s+"C"\s*\{?')
FUNCTION = re.compile(r"\b(hf_[a-z0-9_]+)\s*\(")
# A version node is listed as an absolute symbol of its own name.
VERSION_NODE = re.compile(r"HF_[0-9.]+")


def declared_functions(header_dir):
    names = set()
    for header in sorted(header_dir.glob("*.h")):
        text = LINKAGE.sub("", DIRECTIVE.sub("", COMMENT.sub(" ", header.read_text(encoding="utf-8"))))
        for statement in re.split(r"[;{}]", text):
            match = FUNCTION.search(statement)
            if match and not re.match(r"\s*(typedef|static)\b", statement):
                names.add(match.group(1))
    return names


def exported_symbols(library):
    output = subprocess.run(
        ["nm", "-D", "--defined-only", "--format=posix", str(library)], check=True, capture_output=True, text=True
    ).stdout
    names = {line.split()[0].split("@")[0] for line in output.splitlines() if line.strip()}
    return {name for name in names if not VERSION_NODE.fullmatch(name)}


def main():
    if len(sys.argv) != 3:
        print(__doc__.strip(), file=sys.stderr)
        return 2
    declared = declared_functions(pathlib.Path(sys.argv[2]))
    exported = exported_symbols(sys.argv[1])
    for name in sorted(exported - declared):
        print(f"{name}: exported, but no public header declares it")
    for name in sorted(declared - exported):
        print(f"{name}: declared in a public header, but not exported")
    if declared != exported or not declared:
        return 1
    print(f"symbols: {len(exported)} functions, each declared and exported")
    return 0


if __name__ == "__main__":
    sys.exit(main())
