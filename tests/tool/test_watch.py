# SPDX-License-Identifier: Apache-2.0
"""stat, locks, top: what an operator sees of a shop that goes on, and that looking does not stand in its way."""

import signal
import subprocess
import time
import unittest

from support import DONE, Neighbour, ToolTest, run


class Stat(ToolTest):
    def test_text_and_json(self):
        figures = self.ok("stat", self.shop, "--json").json
        self.assertEqual(figures["processes"], 1)
        self.assertGreaterEqual(figures["csn_published"], figures["csn_applied"])
        self.assertEqual(self.ok("stat", self.shop).lines[0], "processes      1")
        with Neighbour(self.shop) as neighbour:
            for number in range(20):
                neighbour.order(f"put stock {number} x")
            figures = self.ok("stat", self.shop, "--json", "--tables").json
            self.assertEqual((figures["processes"], figures["commits"]), (2, 20))
            (table,) = figures["tables"]
            self.assertEqual((table["table"], table["rows"]), ("stock", 20))
            self.assertIn("commits        20, 0 refused by conflicts", self.ok("stat", self.shop).text)

    def test_the_oldest_pin_is_named(self):
        with Neighbour(self.shop) as neighbour:
            neighbour.order("put stock a 1")
            neighbour.order("pin")
            time.sleep(0.05)
            figures = self.ok("stat", self.shop, "--json").json
            self.assertEqual(figures["oldest_pin_pid"], neighbour.process.pid)
            self.assertGreaterEqual(figures["oldest_pin_age_ms"], 50)
            self.assertIn(f"of process {neighbour.process.pid}", self.ok("stat", self.shop).text)


class Locks(ToolTest):
    def test_holders_and_waiters(self):
        self.assertEqual(self.ok("locks", self.shop).text, "")
        with Neighbour(self.shop) as neighbour:
            neighbour.order("lock stock pear")
            neighbour.order("lock stock apple")
            neighbour.order("name nightly")
            neighbour.order("wait stock pear")
            deadline = time.monotonic() + 30
            waiting = []
            while not waiting and time.monotonic() < deadline:
                rows = self.ok("locks", self.shop, "--json").json_lines
                waiting = [row for row in rows if row["wanted"]]
            (waiter,) = waiting
            self.assertEqual((waiter["table"], waiter["key"]), ("stock", "pear"))
            self.assertEqual((waiter["held"], waiter["wanted"], waiter["label"]), (None, "exclusive", "waiter"))
            holders = {row.get("key", row.get("name")): row for row in rows if row["held"]}
            self.assertEqual(sorted(holders), ["apple", "nightly", "pear"])
            self.assertEqual(holders["pear"]["label"], "holder")
            self.assertEqual(holders["pear"]["pid"], neighbour.process.pid)
            text = self.ok("locks", self.shop).lines
            self.assertEqual(text[0].split(), ["ROW", "HELD", "WANTED", "AGE", "PID", "THREAD", "TXN", "LABEL"])
            self.assertEqual(text[1].split()[:3], ["stock/pear", "exclusive", "-"])  # the longest line first
            self.assertEqual(text[2].split()[:3], ["stock/pear", "-", "exclusive"])
            self.assertEqual(text[4].split()[0], "name:nightly")
            self.assertEqual(len(self.ok("locks", self.shop, "--waiting").lines), 3)
            self.assertEqual(len(self.ok("locks", self.shop, "--table", "stock").lines), 4)
            self.assertEqual(self.ok("locks", self.shop, "--table", "nix").text, "")

    def test_locks_of_the_dead_are_gone(self):
        with Neighbour(self.shop) as neighbour:
            neighbour.order("lock stock pear")
            neighbour.kill()
        deadline = time.monotonic() + 10
        while self.ok("locks", self.shop).text and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertEqual(self.ok("locks", self.shop).text, "")


class Top(ToolTest):
    def test_rates_of_a_busy_shop(self):
        with Neighbour(self.shop) as neighbour:
            neighbour.order("busy stock 5")
            neighbour.order("lock stock pear")
            picture = self.ok("top", self.shop, "--once", "--interval", "500ms", "--json").json
            self.assertGreater(picture["commits_per_s"], 1)
            self.assertGreater(picture["syncs_per_s"], 1)
            self.assertEqual(picture["processes"], 2)
            (row,) = [row for row in picture["rows"] if row["key"] == "pear"]
            self.assertEqual((row["table"], row["waiting"], row["holders"][0]["label"]), ("stock", 0, "holder"))
            text = self.ok("top", self.shop, "--count", 2, "--interval", "100ms").text
            self.assertEqual(text.count("commits/s"), 2)
            self.assertNotIn("\x1b", text)  # plain where stdout is no terminal
            self.assertIn("stock/pear", text)
            neighbour.order("release")

    def test_a_signal_ends_it_well(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            process = self.start("top", self.shop, "--interval", "50ms", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            process.stdout.readline()
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
            self.assertEqual((process.returncode, err), (DONE, b""))


class Guests(ToolTest):
    def test_looking_takes_nothing_from_the_shop(self):
        """While commands come and go, the shop commits on; none of them leaves a pin or a process behind."""
        with Neighbour(self.shop) as neighbour:
            neighbour.order("busy stock 100")
            before = self.ok("stat", self.shop, "--json").json
            for _ in range(10):
                self.ok("stat", self.shop)
                self.ok("get", self.shop, "stock", "0")
                self.ok("scan", self.shop, "stock", "--limit", 3)
                self.ok("locks", self.shop)
            after = self.ok("stat", self.shop, "--json").json
            neighbour.order("release")
            self.assertGreater(after["commits"], before["commits"] + 20)
            self.assertEqual(after["processes"], 2)
            self.assertEqual(after["takeovers"], 0)

    def test_the_last_to_leave_merges(self):
        with Neighbour(self.shop) as neighbour:
            neighbour.order("put stock pear 12")
            neighbour.kill()
        # The first to come recovers, says so, and leaves a clean directory.
        first = run("get", self.shop, "stock", "pear")
        self.assertEqual((first.code, first.text), (DONE, "12\n"), first.err)
        self.assertIn("after a crash: 1 commits taken from the log", first.err)
        self.assertFalse((self.shop / "session").exists())

    def test_two_may_write_at_once(self):
        writers = [self.start("put", self.shop, "stock", "n", "1", "--add", stdout=subprocess.DEVNULL) for _ in range(8)]
        for writer in writers:
            self.assertEqual(writer.wait(timeout=120), DONE)
        self.assertEqual(self.ok("get", self.shop, "stock", "n").text, "8\n")


if __name__ == "__main__":
    unittest.main()
