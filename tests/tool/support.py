# SPDX-License-Identifier: Apache-2.0
"""What the tests of the `holdfast` command share: running it, a database per test, and a second process beside it.

HOLDFAST_TOOL and HOLDFAST_NEIGHBOUR name the two programs; TEST_TMPDIR the directory for databases.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest

TOOL = os.environ["HOLDFAST_TOOL"]
NEIGHBOUR = os.environ["HOLDFAST_NEIGHBOUR"]
HERE = pathlib.Path(__file__).parent
TIMEOUT_S = 120  # of one command: catches a hang, under sanitizers too

DONE, NOTHING, USAGE, REFUSED, DAMAGED, TROUBLE, BUG = range(7)
INTERRUPTED, PIPE_CLOSED, TERMINATED = 130, 141, 143


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def text(self):
        return self.out.decode()

    @property
    def lines(self):
        return self.text.splitlines()

    @property
    def json(self):
        """The only line, as JSON."""
        (line,) = self.lines
        return json.loads(line)

    @property
    def json_lines(self):
        return [json.loads(line) for line in self.lines]


def run(*arguments, stdin=b"", cwd=None, **options):
    """Runs the command with these arguments and answers what came of it."""
    done = subprocess.run(
        [TOOL, *map(str, arguments)],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=TIMEOUT_S,
        cwd=cwd,
        **options,
    )
    code = done.returncode if done.returncode >= 0 else 128 - done.returncode
    return Result(code, done.stdout, done.stderr.decode())


class Neighbour:
    """Another process that has the database open. A context manager."""

    def __init__(self, directory):
        self.process = subprocess.Popen(
            [NEIGHBOUR, str(directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.answer()

    def answer(self):
        line = self.process.stdout.readline().strip()
        if line != "ok":
            raise AssertionError(f"the neighbour answers {line!r}")

    def order(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        self.answer()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            try:
                self.process.stdin.close()
                self.process.wait(timeout=TIMEOUT_S)
            finally:
                if self.process.poll() is None:
                    self.kill()
        self.process.stdout.close()
        if not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass


class ToolTest(unittest.TestCase):
    """A directory of its own, with a database `shop` in it that has the table `stock`."""

    maxDiff = None

    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="tool.", dir=os.environ.get("TEST_TMPDIR")))
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.shop = self.home / "shop"
        self.ok("create", self.shop, "--table", "stock")

    def ok(self, *arguments, **options):
        """Runs a command that has to succeed, silently on stderr."""
        result = run(*arguments, **options)
        self.assertEqual((result.code, result.err), (DONE, ""), arguments)
        return result

    def fails(self, code, *arguments, message="", **options):
        """Runs a command that has to fail with this code, one line on stderr, and nothing on stdout."""
        result = run(*arguments, **options)
        self.assertEqual(result.code, code, (arguments, result.out, result.err))
        self.assertTrue(result.err.startswith("holdfast: "), result.err)
        self.assertIn(message, result.err)
        return result

    def admin(self, *arguments, **options):
        """Runs a command whose library function may not be there yet; skips the test then."""
        result = run(*arguments, **options)
        if result.code == BUG and "(INTERNAL)" in result.err:
            self.skipTest(f"the library has no {arguments[0]} yet")
        return result

    def start(self, *arguments, **options):
        process = subprocess.Popen([TOOL, *map(str, arguments)], **options)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass
