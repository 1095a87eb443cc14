#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that includes point downward only.

    tools/check_layers.py [--root DIR]   check a tree; prints file:line of each violation, exits 1 if there is one
    tools/check_layers.py --self-test    plant each kind of violation in a small tree and demand that it is seen

The rules:
  - engine/<layer> includes itself and lower layers; layers of equal rank are siblings and do not see each other;
  - schema/ (generated headers) is below everything; holdfast/errors.def may be included anywhere;
  - inside the engine the public C headers are for capi only, and the C++ one for nobody;
  - public .h files include C standard headers and each other; the public .hpp includes those and C++ standard headers;
  - bindings, tools, examples and the tests of the public face include public headers and their own files only;
  - boost/ belongs to platform, lmdb.h to store (benchmarks and tests may use both).
"""

import argparse
import pathlib
import re
import sys
import tempfile

# Lowest first. Layers that share a line are siblings.
STACK = [
    ["base"],
    ["platform"],
    ["log", "overlay", "store", "lock"],
    ["txn"],
    ["catalog"],
    ["admin"],
    ["coord"],
    ["commerce"],
    ["capi"],
]
RANK = {layer: rank for rank, layers in enumerate(STACK) for layer in layers}
NOT_LAYERS = {"include", "packaging"}  # other folders of engine/
SOURCE_SUFFIXES = {".h", ".hpp", ".c", ".cc", ".cpp", ".def", ".map"}
THIRD_PARTY_OWNER = [("boost/", "platform"), ("lmdb.h", "store")]
OUTSIDE = ["bindings", "tools", "examples", "tests/conformance", "tests/consumers"]

C99_HEADERS = set(
    "assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdarg stdbool stddef "
    "stdint stdio stdlib string tgmath time wchar wctype".split()
)

INCLUDE = re.compile(r'^\s*#\s*(?:include|include_next|import)\s*(["<])([^">]+)[">]')
BLOCK_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


def includes_of(path):
    """Yields (line number, name, is quoted) for each include outside of comments."""
    text = path.read_text(encoding="utf-8", errors="replace")
    text = BLOCK_COMMENT.sub(lambda comment: "\n" * comment.group().count("\n"), text)
    for number, line in enumerate(text.splitlines(), start=1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(2), match.group(1) == '"'


def sources_below(folder):
    if folder.is_dir():
        yield from sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in SOURCE_SUFFIXES)


def third_party_violation(name, layer):
    for prefix, owner in THIRD_PARTY_OWNER:
        if name.startswith(prefix) and layer != owner:
            return f"<{name}> belongs to layer {owner}"
    return None


def check_engine_include(layer, name, quoted):
    """Returns what is wrong with an include inside engine/<layer>, or None."""
    first = name.split("/")[0]
    if name.startswith("holdfast/"):
        if name == "holdfast/errors.def" or (layer == "capi" and name.endswith(".h")):
            return None
        return f"{name}: public headers are for capi only (and the C++ face for nobody inside)"
    if "/" in name and first in RANK:
        if first == layer or RANK[first] < RANK[layer]:
            return None
        relation = "a sibling of" if RANK[first] == RANK[layer] else "above"
        return f"{name}: layer {first} is {relation} {layer}"
    if name.startswith("schema/"):
        return None
    if quoted:
        return f'"{name}": includes are written relative to engine/ and name a known layer'
    return third_party_violation(name, layer)


def check_public_include(header, name, quoted):
    """Returns what is wrong with an include of a public header, or None."""
    own = name[len("holdfast/"):] if name.startswith("holdfast/") else (name if quoted else None)
    if own is not None:
        if own == "errors.def" or own.endswith(".h") or (header.suffix == ".hpp" and own.endswith(".hpp")):
            is_part = header.suffix == ".hpp" and re.fullmatch(r"hpp/[a-z_]+\.hpp", own)  # of the C++ face
            return None if "/" not in own or is_part else f"{name}: not a public header"
        return f"{name}: not a public header that {header.name} may include"
    if header.suffix == ".hpp":
        is_standard = re.fullmatch(r"[a-z0-9_]+", name) or name[:-2] in C99_HEADERS
        return None if is_standard else f"<{name}>: only standard headers"
    is_c_standard = name.endswith(".h") and name[:-2] in C99_HEADERS
    return None if is_c_standard else f"<{name}>: only C standard headers"


def check_outside_include(path, name, quoted):
    """Returns what is wrong with an include of code that sees the public face only, or None."""
    if name.startswith("holdfast/"):
        return None
    if quoted:
        return None if (path.parent / name).is_file() else f'"{name}": only holdfast/* and files beside this one'
    if "/" in name and (name.split("/")[0] in RANK or name.startswith("schema/")):
        return f"<{name}>: an inside of the engine"
    return third_party_violation(name, layer=None)


def check_tree(root):
    """Returns the violations as (path relative to root, line, text), in path order."""
    found = []

    def check(path, rule):
        for line, name, quoted in includes_of(path):
            text = rule(name, quoted)
            if text is not None:
                found.append((str(path.relative_to(root)), line, text))

    engine = root / "engine"
    for folder in sorted(path for path in engine.iterdir() if path.is_dir()):
        if folder.name in NOT_LAYERS:
            continue
        if folder.name not in RANK:
            found.append((str(folder.relative_to(root)), 1, f"{folder.name} is not a layer: give it a place in STACK"))
            continue
        for path in sources_below(folder):
            check(path, lambda name, quoted: check_engine_include(folder.name, name, quoted))
    for path in sources_below(engine / "include"):
        check(path, lambda name, quoted: check_public_include(path, name, quoted))
    for outside in OUTSIDE:
        for path in sources_below(root / outside):
            check(path, lambda name, quoted: check_outside_include(path, name, quoted))
    return found


# Each: a file, its text, and the line that must be reported (None: the file is right).
SELF_TEST = [
    ("engine/base/status.h", "#pragma once\n", None),
    ("engine/platform/file.h", '#include <boost/interprocess/file_mapping.hpp>\n#include "base/status.h"\n', None),
    ("engine/store/store.h", '#include <lmdb.h>\n#include "platform/file.h"\n#include "schema/row_generated.h"\n', None),
    ("engine/capi/capi.cc", '#include "holdfast/holdfast.h"\n#include "txn/txn.h"\n', None),
    ("engine/txn/comment.h", '/* no:\n#include "capi/capi.h"\n*/\n// #include "capi/capi.h"\n', None),
    ("engine/include/holdfast/holdfast.h", '#include <stdint.h>\n#include "holdfast/errors.def"\n', None),
    ("engine/include/holdfast/holdfast.hpp", '#include <string_view>\n#include "holdfast/holdfast.h"\n', None),
    ("engine/include/holdfast/face.hpp", '#include "holdfast/hpp/bytes.hpp"\n', None),
    ("engine/include/holdfast/face.h", '#include "holdfast/hpp/bytes.hpp"\n', 1),
    ("examples/shop/shop.cc", '#include <CLI/CLI.hpp>\n#include "holdfast/holdfast.hpp"\n#include "cart.h"\n', None),
    ("examples/shop/cart.h", "#include <vector>\n", None),
    ("engine/base/upward.h", '#include <cstdint>\n#include "platform/file.h"\n', 2),
    ("engine/log/sibling.cc", '#include "overlay/overlay.h"\n', 1),
    ("engine/lock/angle.cc", "\n\n#include <txn/txn.h>\n", 3),
    ("engine/txn/public.cc", '#include "holdfast/errors.def"\n#include "holdfast/holdfast.h"\n', 2),
    ("engine/capi/face.cc", '#include "holdfast/holdfast.hpp"\n', 1),
    ("engine/txn/local.cc", '#include "txn.h"\n', 1),
    ("engine/log/mapped.cc", "#include <boost/interprocess/mapped_region.hpp>\n", 1),
    ("engine/catalog/lmdb.cc", "#  include <lmdb.h>\n", 1),
    ("engine/include/holdfast/posix.h", "#include <stddef.h>\n#include <pthread.h>\n", 2),
    ("engine/include/holdfast/inside.h", '#include "base/status.h"\n', 1),
    ("engine/include/holdfast/other.hpp", "#include <vector>\n#include <boost/optional.hpp>\n", 2),
    ("tools/holdfast/peek.cc", '#include "log/log.h"\n', 1),
    ("bindings/python/peek.c", "#include <lmdb.h>\n", 1),
    ("tests/conformance/peek_test.cc", "#include <store/store.h>\n", 1),
    ("engine/attic/old.h", "", 1),  # a folder that is not in the stack; reported at the folder
]


def self_test():
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory)
        for name, text, _ in SELF_TEST:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        got = {(name, line) for name, line, _ in check_tree(root)}
    want = {(name, line) for name, _, line in SELF_TEST if line is not None}
    want = {("engine/attic", 1) if name == "engine/attic/old.h" else (name, line) for name, line in want}
    for name, line in sorted(want - got):
        print(f"self-test: planted violation not seen: {name}:{line}")
    for name, line in sorted(got - want):
        print(f"self-test: false alarm: {name}:{line}")
    if got != want:
        return 1
    print(f"layers self-test: {len(want)} planted violations seen, no false alarm")
    return 0


def main():
    parser = argparse.ArgumentParser(description="Check that includes point downward only.")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    parser.add_argument("--self-test", action="store_true", help="plant violations and demand that they are seen")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    violations = check_tree(arguments.root)
    for name, line, text in violations:
        print(f"{name}:{line}: {text}")
    if violations:
        return 1
    print("layers: every include points downward")
    return 0


if __name__ == "__main__":
    sys.exit(main())
