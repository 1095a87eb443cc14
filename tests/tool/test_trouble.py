# SPDX-License-Identifier: Apache-2.0
"""What is wrong around the command: the directory, the standard streams, signals, arguments."""

import os
import pathlib
import signal
import subprocess
import time
import unittest

from support import (
    DAMAGED, DONE, INTERRUPTED, NOTHING, PIPE_CLOSED, TOOL, TROUBLE, USAGE, Neighbour, ToolTest, run,
)  # fmt: skip

# Of each command that opens a database, arguments that would be fine.
ON_A_DATABASE = [
    ["tables"], ["get", "stock", "k"], ["put", "stock", "k", "v"], ["delete", "stock", "k"], ["scan", "stock"],
    ["load"], ["dump"], ["stat"], ["locks"], ["top", "--once", "--interval", "10ms"],
]  # fmt: skip


class Directories(ToolTest):
    def on(self, directory):
        for command, *rest in ON_A_DATABASE:
            yield [command, directory, *rest]

    def test_none_but_create_makes_a_database(self):
        empty = self.home / "empty"
        empty.mkdir()
        for directory in (empty, self.home / "nix", self.home / "no" / "parent"):
            for arguments in self.on(directory):
                self.fails(NOTHING, *arguments, message="cannot open")
        self.assertEqual(list(empty.iterdir()), [])
        self.assertFalse((self.home / "nix").exists())

    def test_a_file_in_its_place(self):
        path = self.home / "file"
        path.write_text("hello")
        for arguments in self.on(path):
            self.fails(DAMAGED, *arguments, message="not a database directory")
        self.fails(DAMAGED, "create", path)
        self.assertEqual(path.read_text(), "hello")

    def test_a_directory_of_others(self):
        (self.home / "music").mkdir()
        (self.home / "music" / "song").write_text("la")
        for arguments in self.on(self.home / "music"):
            self.fails(DAMAGED, *arguments, message="not a Holdfast database")
        self.fails(DAMAGED, "create", self.home / "music", message="WRONG_FORMAT")
        self.assertEqual([path.name for path in (self.home / "music").iterdir()], ["song"])

    def test_a_damaged_directory(self):
        (self.shop / "HOLDFAST").write_bytes(b"HOLDFAST" + bytes(32))
        for arguments in self.on(self.shop):
            self.fails(DAMAGED, *arguments, message="HOLDFAST")
        self.fails(DAMAGED, "create", self.shop, message="HOLDFAST")

    def test_a_lost_data_file(self):
        (self.shop / "base" / "data.mdb").unlink()
        for arguments in self.on(self.shop):
            self.fails(DAMAGED, *arguments, message="data.mdb is missing")

    def test_no_permission(self):
        """The database of somebody else: as nobody, when the tests run as root, who is forbidden nothing."""
        self.home.chmod(0o755)
        options = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        for path in [self.shop, *self.shop.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        for arguments in self.on(self.shop):
            self.fails(TROUBLE, *arguments, message="ermission denied", **options)
        if options:
            self.fails(TROUBLE, "create", self.home / "new", message="ermission denied", **options)

    def test_wrong_memory_directory(self):
        with Neighbour(self.shop):
            self.fails(USAGE, "stat", self.shop, "--memory-directory", self.home, message="INVALID_ARGUMENT")


class Arguments(ToolTest):
    def test_usage(self):
        for arguments in [
            [], ["nix"], ["get"], ["get", self.shop], ["get", self.shop, "stock"], ["stat", self.shop, "--nix"],
            ["put", self.shop, "stock", "k", "v", "--insert", "--update"],
            ["put", self.shop, "stock", "k", "v", "w"], ["put", self.shop, "stock", "k", "v", "--durability", "some"],
            ["scan", self.shop, "stock", "--limit", "many"], ["scan", self.shop, "stock", "--limit", "-1"],
            ["top", self.shop, "--interval", "-1s"], ["load", self.shop, "--batch", "0"],
            ["stat", self.shop, "--metrics", "--json"], ["restore", self.home / "new"],
            ["restore", self.home / "new", "--from", "x", "--until-time", "yesterday"], ["completion", "tcsh"],
        ]:  # fmt: skip
            self.fails(USAGE, *arguments)

    def test_help_and_version(self):
        self.assertRegex(self.ok("--version").text, r"^holdfast \d+\.\d+\.\d+\n$")
        for arguments in [["--help"], ["get", "--help"], ["bench", "-h"]]:
            self.assertIn("Examples:", self.ok(*arguments).text)


class Streams(ToolTest):
    def fill(self, rows=2000):
        lines = "".join(f'{{"key":"{number:06}","value":"{"x" * 100}"}}\n' for number in range(rows))
        self.ok("load", self.shop, "--table", "stock", stdin=lines.encode())

    def test_a_reader_that_goes_ends_it_quietly(self):
        self.fill()
        for command in ["scan", "dump"]:
            arguments = [command, self.shop] + (["stock"] if command == "scan" else [])
            process = self.start(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            process.stdout.readline()
            process.stdout.close()
            self.assertEqual(process.stderr.read(), b"")
            self.assertEqual(process.wait(timeout=60), PIPE_CLOSED)
        self.assertEqual(self.ok("scan", self.shop, "stock", "--count").text, "2000\n")

    def test_a_full_disk_behind_stdout(self):
        self.fill(10)
        with open("/dev/full", "wb") as full:
            process = self.start("scan", self.shop, "stock", stdout=full, stderr=subprocess.PIPE)
            self.assertEqual(process.wait(timeout=60), TROUBLE)
            self.assertIn(b"No space left", process.stderr.read())

    def test_closed_streams_are_not_the_database(self):
        """Without stdout the next file opened would be number 1: what is printed must not get into it."""
        for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            script = f'"{TOOL}" put "{self.shop}" stock key value {closed}'
            self.assertEqual(subprocess.run(["sh", "-c", script], timeout=60).returncode, DONE, closed)
            script = f'"{TOOL}" get "{self.shop}" stock key {closed}'
            done = subprocess.run(["sh", "-c", script], capture_output=True, timeout=60)
            self.assertEqual(done.returncode, TROUBLE if ">&- " in closed + " " and closed != "2>&-" else DONE, closed)
        self.assertEqual(self.ok("scan", self.shop, "stock").text, "key\tvalue\n")
        script = f'"{TOOL}" put "{self.shop}" stock key - <&-'
        done = subprocess.run(["sh", "-c", script], capture_output=True, timeout=60)
        self.assertEqual(done.returncode, TROUBLE)


class Signals(ToolTest):
    def test_a_wait_for_a_lock_can_be_interrupted(self):
        with Neighbour(self.shop) as neighbour:
            neighbour.order("lock stock pear")
            for number, code in [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, 143)]:
                process = self.start("put", self.shop, "stock", "pear", "1", "--timeout", "100s", stderr=subprocess.PIPE)
                deadline = time.monotonic() + 60
                while not self.ok("locks", self.shop, "--waiting").text and time.monotonic() < deadline:
                    time.sleep(0.02)
                process.send_signal(number)
                self.assertEqual(process.wait(timeout=30), code)
                self.assertRegex(process.stderr.read(), rb"^holdfast: (interrupted|terminated)\n$")
        self.assertEqual(run("get", self.shop, "stock", "pear").code, NOTHING)

    def test_a_killed_command_leaves_the_shop_as_it_was(self):
        with Neighbour(self.shop) as neighbour:
            neighbour.order("put stock pear 12")
            process = self.start("top", self.shop, "--interval", "10ms", stdout=subprocess.PIPE)
            process.stdout.readline()
            process.kill()
            process.wait()
            neighbour.order("put stock pear 13")
        self.assertEqual(self.ok("get", self.shop, "stock", "pear").text, "13\n")


class Bench(ToolTest):
    def test_a_small_sale_is_exact(self):
        result = self.ok(
            "bench", self.home, "--processes", 2, "--threads", 2, "--duration", "500ms", "--stock", 200,
            "--products", 5, "--stations", 2, "--json",
        ).json  # fmt: skip
        self.assertEqual((result["audit"], result["failures"]), ("exact", []))
        self.assertGreater(result["orders"], 0)
        self.assertLessEqual(result["orders"], 1000)  # five products of 200
        self.assertEqual(result["commits"], result["orders"])
        self.assertEqual([path.name for path in self.home.iterdir()], ["shop"])  # took its own away

    def test_a_kept_sale_is_a_database_with_exact_books(self):
        result = self.ok("bench", self.home, "--processes", 1, "--threads", 1, "--duration", "200ms", "--keep")
        path = pathlib.Path(result.lines[-1].split(None, 1)[1])
        orders = self.ok("scan", path, "orders", "--values", "--hex").lines
        self.assertIn(f"({len(orders):,} orders", result.text)
        sold = sum(int.from_bytes(bytes.fromhex(order)[:4], "little") for order in orders)
        stock = [row["counter"] for row in self.ok("scan", path, "stock", "--json").json_lines]
        self.assertEqual(sum(stock) + sold, 100 * 1_000_000)

    def test_it_refuses_what_is_no_directory(self):
        self.fails(TROUBLE, "bench", self.home / "nix", message="cannot make a directory")

    def test_it_can_be_interrupted(self):
        process = self.start("bench", self.home, "--duration", "60s", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, INTERRUPTED, err)
        self.assertIn(b"audit", out)
        self.assertEqual([path.name for path in self.home.iterdir()], ["shop"])


if __name__ == "__main__":
    unittest.main()
