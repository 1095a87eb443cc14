# SPDX-License-Identifier: Apache-2.0
"""processes, stat --metrics, check, backup, restore, compact, log: the commands made of holdfast/admin.h."""

import json
import re
import signal
import subprocess
import time
import unittest

from support import DAMAGED, DONE, NOTHING, REFUSED, TROUBLE, USAGE, Neighbour, ToolTest, run


class AdminTest(ToolTest):
    def admin_ok(self, *arguments, **options):
        result = self.admin(*arguments, **options)
        self.assertEqual((result.code, result.err), (DONE, ""), arguments)
        return result

    def fill(self, rows=500):
        lines = "".join(json.dumps({"key": f"{n:05}", "value": "x" * (n % 300)}) + "\n" for n in range(rows))
        self.ok("load", self.shop, "--table", "stock", "--bulk", "never", stdin=lines.encode())
        self.ok("put", self.shop, "stock", "likes", "7", "--counter")


class Processes(AdminTest):
    def test_who_has_it_open(self):
        with Neighbour(self.shop) as neighbour:
            neighbour.order("put stock pear 12")
            neighbour.order("lock stock pear")
            neighbour.order("pin")
            processes = self.admin_ok("processes", self.shop, "--json").json_lines
            self.assertEqual(sorted(process["label"] for process in processes), ["holdfast processes", "neighbour"])
            (other,) = [process for process in processes if not process["is_self"]]
            self.assertEqual(other["pid"], neighbour.process.pid)
            self.assertEqual((other["locks_held"], other["locks_waiting"], other["pins"]), (1, 0, 1))
            self.assertLess(abs(time.time() * 1000 - other["opened_ms"]), 120_000)
            text = self.admin_ok("processes", self.shop).lines
            self.assertEqual(text[0].split()[:4], ["SLOT", "PID", "LABEL", "OPENED"])
            self.assertEqual(len(text), 3)

    def test_the_dead_are_not_there(self):
        with Neighbour(self.shop) as neighbour, Neighbour(self.shop):
            neighbour.kill()
            pids = [process["pid"] for process in self.admin_ok("processes", self.shop, "--json").json_lines]
            self.assertNotIn(neighbour.process.pid, pids)


class Metrics(AdminTest):
    def test_prometheus_text(self):
        self.fill()
        lines = self.admin_ok("stat", self.shop, "--metrics").lines
        sample = re.compile(r'^[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^}]*\})? [-+0-9.eInfNa]+( \d+)?$')
        typed = set()
        for line in lines:
            if line.startswith("# TYPE "):
                typed.add(line.split()[2])
            elif not line.startswith("#"):
                self.assertRegex(line, sample)
                name = re.sub(r"_(bucket|sum|count)$", "", line.split("{")[0].split()[0])
                self.assertTrue(name in typed or line.split("{")[0].split()[0] in typed, line)
        self.assertGreater(len(typed), 10)


class Check(AdminTest):
    def test_a_sound_database(self):
        self.fill()
        result = self.admin_ok("check", self.shop)
        self.assertRegex(result.lines[0], r"^result +sound$")
        summary = self.admin_ok("check", self.shop, "--json").json
        self.assertEqual((summary["result"], summary["online"], summary["findings"]), ("sound", False, 0))
        self.assertGreaterEqual(summary["rows"] + summary["rows_unchecked"], 501)

    def test_a_shop_that_goes_on(self):
        with Neighbour(self.shop) as neighbour:
            neighbour.order("busy stock 100")
            for _ in range(3):
                summary = self.admin_ok("check", self.shop, "--json").json_lines[-1]
                self.assertEqual((summary["result"], summary["online"]), ("sound", True))
            neighbour.order("release")

    def test_damage_is_found_and_named(self):
        self.fill()
        self.admin_ok("check", self.shop)
        path = self.shop / "base" / "data.mdb"
        data = bytearray(path.read_bytes())
        place = data.rindex(b"x" * 200) + 50
        data[place] ^= 1
        path.write_bytes(data)
        result = run("check", self.shop, "--json")
        self.assertEqual((result.code, result.err), (DAMAGED, ""))
        *findings, summary = result.json_lines
        self.assertEqual(summary["findings"], len([f for f in findings if f["finding"] != "NOTE"]))
        self.assertTrue(any(f.get("table") == "stock" and "key" in f for f in findings), findings)
        text = run("check", self.shop)
        self.assertEqual(text.code, DAMAGED)
        self.assertEqual(len(text.lines[0].split("\t")), 7)

    def test_what_is_no_database(self):
        self.admin("check", self.shop)
        (self.home / "file").write_text("hello")
        self.fails(NOTHING, "check", self.home / "nix")
        self.fails(DAMAGED, "check", self.home / "file")


class Backup(AdminTest):
    def backup(self, *arguments, **options):
        return self.admin_ok("backup", self.shop, *arguments, **options)

    def same(self, directory):
        self.assertEqual(self.ok("dump", directory).out, self.ok("dump", self.shop).out)

    def test_to_a_directory(self):
        self.fill()
        result = self.backup(self.home / "copy", "--json").json
        self.assertGreater(result["csn"], 0)
        self.same(self.home / "copy")
        self.admin_ok("check", self.home / "copy")
        before = (self.home / "copy" / "HOLDFAST").read_bytes()
        self.fails(NOTHING, "backup", self.shop, self.home / "copy", message="EXISTS")
        self.assertEqual((self.home / "copy" / "HOLDFAST").read_bytes(), before)

    def test_as_a_stream(self):
        self.fill()
        stream = self.backup("-").out
        self.admin_ok("restore", self.home / "one", "--from", "-", stdin=stream)
        self.same(self.home / "one")
        self.backup(self.home / "stream", "--stream")
        self.admin_ok("restore", self.home / "two", "--from", self.home / "stream")
        self.same(self.home / "two")
        self.fails(TROUBLE, "backup", self.shop, self.home / "stream", "--stream", message="File exists")
        for size in (0, 10, len(stream) // 2, len(stream) - 1):
            self.fails(DAMAGED, "restore", self.home / "cut", "--from", "-", stdin=stream[:size])
            self.assertFalse((self.home / "cut" / "HOLDFAST").exists())
        changed = bytearray(stream)
        changed[len(stream) // 2] ^= 4
        self.fails(DAMAGED, "restore", self.home / "cut", "--from", "-", stdin=bytes(changed))

    def test_to_a_stream_that_nobody_reads(self):
        self.fill(5000)
        self.backup(self.home / "there")
        process = self.start("backup", self.shop, "-", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.close()
        self.assertNotEqual(process.wait(timeout=60), DONE)
        self.ok("get", self.shop, "stock", "00001")

    def test_of_a_busy_shop(self):
        with Neighbour(self.shop) as neighbour:
            neighbour.order("busy stock 5")
            time.sleep(0.2)
            self.backup(self.home / "copy")
            neighbour.order("release")
        numbers = sorted(int(row["value"]) for row in self.ok("scan", self.home / "copy", "stock", "--json").json_lines)
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + 5)))

    def test_restore_up_to_a_commit_and_a_time(self):
        self.ok("put", self.shop, "stock", "a", "1")
        with Neighbour(self.shop) as neighbour:  # keeps the log of what follows
            self.backup(self.home / "copy")
            neighbour.order("put stock a 2")
            csn = int(self.ok("get", self.shop, "stock", "a", "--version").text)
            time.sleep(0.05)
            between_ms = int(time.time() * 1000)
            time.sleep(0.05)
            neighbour.order("put stock a 3")
            for number, (options, value) in enumerate([
                ([], "1"),
                (["--log-of", self.shop], "3"),
                (["--log-of", self.shop, "--until-csn", csn], "2"),
                (["--log-of", self.shop, "--until-time", between_ms], "2"),
            ]):  # fmt: skip
                made = self.home / f"made{number}"
                self.admin_ok("restore", made, "--from", self.home / "copy", *options)
                self.assertEqual(self.ok("get", made, "stock", "a").text, value + "\n", options)
            self.fails(USAGE, "restore", self.home / "old", "--from", self.home / "copy", "--log-of", self.shop,
                       "--until-csn", 1)  # fmt: skip

    def test_restore_wants_a_backup(self):
        self.backup(self.home / "copy")
        self.fails(NOTHING, "restore", self.shop, "--from", self.home / "copy", message="EXISTS")
        self.assertNotEqual(run("restore", self.home / "new", "--from", self.home / "nix").code, DONE)
        self.assertFalse((self.home / "new" / "HOLDFAST").exists())


class Compact(AdminTest):
    def test_it_becomes_smaller_and_stays_the_same(self):
        self.fill(5000)
        self.ok("tables", self.shop, "--create", "big")
        rows = "".join(json.dumps({"key": f"{n:05}", "value": "y" * 500}) + "\n" for n in range(5000))
        self.ok("load", self.shop, "--table", "big", stdin=rows.encode())
        self.ok("tables", self.shop, "--drop", "big")
        before = self.ok("dump", self.shop).out
        result = self.admin_ok("compact", self.shop, "--json").json
        self.assertLess(result["bytes_after"], result["bytes_before"])
        self.assertEqual(self.ok("dump", self.shop).out, before)

    def test_not_while_others_have_it_open(self):
        self.admin("compact", self.shop)
        with Neighbour(self.shop):
            self.fails(REFUSED, "compact", self.shop, message="BUSY")


class Log(AdminTest):
    def test_commits_as_json_and_text(self):
        with Neighbour(self.shop) as neighbour:  # the log goes when the last one leaves
            neighbour.order("put stock pear 12")
            self.ok("put", self.shop, "stock", "likes", "7", "--counter")
            self.ok("delete", self.shop, "stock", "pear")
            records = self.admin_ok("log", self.shop, "--table", "stock", "--json").json_lines
            kinds = [(op["kind"], op["key"], op.get("value", op.get("counter"))) for r in records for op in r["operations"]]
            self.assertEqual(kinds, [("put", "pear", "12"), ("counter", "likes", 7), ("delete", "pear", None)])
            csns = [record["csn"] for record in records]
            self.assertEqual(csns, sorted(set(csns)))
            text = self.admin_ok("log", self.shop, "--from", csns[1], "--limit", 1).text
            csn, when, *rest = text.rstrip("\n").split("\t")
            self.assertEqual((int(csn), rest), (csns[1], ["counter", "stock", "likes", "7"]))
            self.assertRegex(when, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_follow(self):
        with Neighbour(self.shop) as neighbour:
            self.admin("log", self.shop, "--limit", 1)
            process = self.start("log", self.shop, "--follow", "--json", "--table", "stock",
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
            for number in range(5):
                neighbour.order(f"put stock pear {number}")
                record = json.loads(process.stdout.readline())
                self.assertEqual(record["operations"][0]["value"], str(number))
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
            self.assertEqual((process.returncode, out, err), (DONE, b"", b""))

    def test_what_is_gone(self):
        self.fill()
        self.admin("log", self.shop)
        self.fails(NOTHING, "log", self.home / "nix")


if __name__ == "__main__":
    unittest.main()
