# SPDX-License-Identifier: Apache-2.0
"""dump and load: what goes out comes in again, exactly; and what is broken says where."""

import json
import random
import struct
import time
import unittest

from support import DAMAGED, INTERRUPTED, NOTHING, TROUBLE, USAGE, Neighbour, ToolTest, run

SEED = 20260517


def lines_of(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class RoundTrip(ToolTest):
    def fill(self):
        """Rows of every kind: text, bytes, empty values, counters, expiry, an empty table, a name with spaces."""
        choose = random.Random(SEED)
        print(f"seed {SEED}")
        rows = [{"table": "an empty one"}]
        for number in range(500):
            key = choose.randbytes(choose.randint(1, 40))
            rows.append({"table": "bytes", "key_hex": key.hex(), "value_hex": choose.randbytes(choose.randint(0, 300)).hex()})
            rows.append({"table": "stock", "key": f"{number:05}", "value": "grün \\ \n\t" * choose.randint(0, 5)})
        later_ms = int(time.time() * 1000) + 3_600_000
        for number in range(50):
            rows.append({"table": "sessions", "key": str(number), "value": "x", "expires_ms": later_ms + number})
            rows.append({"table": "likes", "key": str(number), "counter": choose.randint(-(2**63), 2**63 - 1)})
        rows.append({"table": "likes", "key": "plain", "value": "12345678"})
        self.ok("load", self.shop, stdin=lines_of(rows))

    def test_json_lines_and_raw(self):
        self.fill()
        dump = self.ok("dump", self.shop).out
        rows = [json.loads(line) for line in dump.splitlines()]
        self.assertEqual(rows[0], {"holdfast": "dump", "format": 1})
        self.assertEqual(rows[-1]["end"]["tables"], 5)
        self.assertEqual(rows[-1]["end"]["rows"], len(rows) - 2 - 5)
        raw = self.ok("dump", self.shop, "--raw").out
        for number, data in enumerate([dump, raw]):
            for bulk in ["always", "never"]:
                copy = self.home / f"copy{number}{bulk}"
                self.ok("create", copy)
                self.ok("load", copy, "--bulk", bulk, stdin=data)
                self.assertEqual(self.ok("dump", copy).out, dump)
                self.assertEqual(self.ok("dump", copy, "--raw").out, raw)

    def test_raw_is_as_documented(self):
        self.ok("put", self.shop, "stock", "pear", "12")
        self.ok("put", self.shop, "stock", "zest", "7", "--counter")
        self.assertEqual(
            self.ok("dump", self.shop, "--raw").out,
            b"HFDUMP1\nT" + struct.pack("<I", 5) + b"stock"
            + b"R" + struct.pack("<IIQ", 4, 2, 0) + b"pear12"
            + b"C" + struct.pack("<Iq", 4, 7) + b"zest"
            + b"E" + struct.pack("<QQ", 1, 2),
        )  # fmt: skip

    def test_some_tables_and_none(self):
        self.ok("tables", self.shop, "--create", "orders")
        names = [row["table"] for row in self.ok("dump", self.shop, "orders").json_lines if "table" in row]
        self.assertEqual(names, ["orders"])
        result = run("dump", self.shop, "nix")
        self.assertEqual((result.code, result.out), (NOTHING, b""))
        self.ok("create", self.home / "empty")
        self.assertEqual(self.ok("dump", self.home / "empty").json_lines[1], {"end": {"tables": 0, "rows": 0}})

    def test_what_scan_prints_can_be_loaded(self):
        self.ok("put", self.shop, "stock", "pear", "12")
        scanned = self.ok("scan", self.shop, "stock", "--json").out
        self.ok("load", self.shop, "--table", "copy", stdin=scanned)
        self.assertEqual(self.ok("get", self.shop, "copy", "pear").text, "12\n")
        self.ok("load", self.shop, "--into", "other", stdin=self.ok("dump", self.shop, "stock").out)
        self.assertEqual(self.ok("get", self.shop, "other", "pear").text, "12\n")

    def test_large_values(self):
        value = b"v" * (16 * 1024 * 1024)
        self.ok("put", self.shop, "stock", "text", "-", stdin=value)
        self.ok("put", self.shop, "stock", "bytes", "-", stdin=b"\xff" * len(value))
        self.ok("create", self.home / "copy")
        self.ok("load", self.home / "copy", stdin=self.ok("dump", self.shop).out)
        self.assertEqual(self.ok("get", self.home / "copy", "stock", "text", "--raw").out, value)
        self.assertEqual(self.ok("get", self.home / "copy", "stock", "bytes", "--raw").out, b"\xff" * len(value))

    def test_a_dump_is_one_moment_of_a_busy_shop(self):
        """The neighbour writes the keys 0 to 4 in turn, each time with the next number: at any moment the five numbers
        follow one another. (The first round has fewer.)"""
        with Neighbour(self.shop) as neighbour:
            neighbour.order("busy stock 5")
            time.sleep(0.2)
            seen = set()
            for _ in range(5):
                rows = [row for row in self.ok("dump", self.shop).json_lines if "key" in row]
                numbers = sorted(int(row["value"]) for row in rows)
                self.assertEqual(numbers, list(range(numbers[0], numbers[0] + 5)))
                seen.add(numbers[0])
            neighbour.order("release")
        self.assertGreater(len(seen), 1)  # it did go on meanwhile


class Load(ToolTest):
    def rows(self):
        return self.ok("scan", self.shop, "stock", "--keys-only").lines

    def test_bulk_where_it_can_batches_where_not(self):
        rows = lines_of({"table": "stock", "key": f"{number:04}", "value": "x"} for number in range(100))
        first = self.ok("load", self.shop, "--json", stdin=rows).json
        self.assertEqual((first["rows"], first["rows_bulk"]), (100, 100))
        second = self.ok("load", self.shop, "--json", stdin=rows).json  # the table is not empty now
        self.assertEqual((second["rows"], second["rows_bulk"]), (100, 0))
        unsorted = lines_of({"table": "new", "key": key, "value": "x"} for key in ["a", "c", "b", "d"])
        third = self.ok("load", self.shop, "--json", stdin=unsorted).json
        self.assertEqual((third["rows"], third["rows_bulk"], third["tables_made"]), (4, 2, 1))
        self.assertEqual(self.ok("scan", self.shop, "new", "--keys-only").lines, ["a", "b", "c", "d"])

    def test_beside_others_a_pipe_is_not_loaded_in_bulk(self):
        rows = lines_of([{"table": "stock", "key": "a", "value": "x"}])
        with Neighbour(self.shop):
            self.assertEqual(self.ok("load", self.shop, "--json", stdin=rows).json["rows_bulk"], 0)

    def test_expired_rows_are_left_out(self):
        rows = lines_of([{"table": "stock", "key": "old", "value": "x", "expires_ms": 1000}])
        self.assertEqual(self.ok("load", self.shop, stdin=rows).text, "loaded 0 rows, left out 1 expired\n")

    BAD = [
        (b"not json\n", "not JSON"),
        (b"[1]\n", "not a JSON object"),
        (b'{"table":"stock","key":"a"}\n', 'no "value"'),
        (b'{"table":"stock","value":"a"}\n', 'no "key"'),
        (b'{"key":"a","value":"b"}\n', 'no "table"'),
        (b'{"table":"stock","key":1,"value":"b"}\n', "not a string"),
        (b'{"table":"stock","key_base64":"a","value":"b"}\n', "not base64"),
        (b'{"table":"stock","key":"a","key_hex":"61","value":"b"}\n', "more than one"),
        (b'{"table":"stock","key":"a","value":"b","counter":1}\n', "both value and counter"),
        (b'{"table":"stock","key":"a","counter":1.5}\n', "not an integer"),
        (b'{"table":"stock","key":"a","counter":9223372036854775808}\n', "not an integer"),
        (b'{"table":"stock","key":"a","value":"b","expires_ms":-1}\n', "not a time"),
        (b'{"table":"stock","key":"a","valeu":"b"}\n', "valeu"),
        (b'{"table":"stock","key":"","value":"b"}\n', "key is empty"),
        (b'{"table":"stock","key":"' + b"k" * 512 + b'","value":"b"}\n', "a key of 512 bytes"),
        (b'{"table":"stock","key":"a","value":"\xff"}\n', "not JSON"),
    ]

    def test_bad_lines_are_named_and_what_is_before_them_is_loaded(self):
        for number, (line, message) in enumerate(self.BAD):
            before = lines_of([{"table": f"t{number}", "key": "before", "value": "x"}])
            after = lines_of([{"table": f"t{number}", "key": "after", "value": "x"}])
            for bulk in ["always", "never"]:
                result = self.fails(USAGE, "load", self.shop, "--bulk", bulk, stdin=before + b"\n" + line + after, message=message)
                self.assertIn("stdin:3: ", result.err)
                self.assertIn("1 rows were loaded before", result.err)
                self.assertEqual(self.ok("scan", self.shop, f"t{number}", "--keys-only").lines, ["before"])
            result = run("load", self.shop, "--on-error", "continue", stdin=before + line + after)
            self.assertEqual((result.code, result.text), (USAGE, "loaded 2 rows, refused 1 bad lines\n"))
            self.assertIn("stdin:2: ", result.err)

    def test_cut_off_dumps_are_found_out(self):
        self.ok("put", self.shop, "stock", "pear", "12")
        dump = self.ok("dump", self.shop).out
        self.fails(DAMAGED, "load", self.shop, stdin=dump[: dump.rindex(b'{"end"')], message="cut off")
        raw = self.ok("dump", self.shop, "--raw").out
        for size in range(8, len(raw)):
            self.fails(DAMAGED, "load", self.shop, stdin=raw[:size], message="cut off")
        self.fails(DAMAGED, "load", self.shop, stdin=raw + b"x", message="follows the end")
        self.fails(DAMAGED, "load", self.shop, stdin=raw[:8] + b"Z" + raw[9:], message="no record begins here")
        self.fails(DAMAGED, "load", self.shop, stdin=raw[:-1] + b"\x09", message="other rows")
        self.fails(DAMAGED, "load", self.shop, stdin=b'{"holdfast":"dump","format":2}\n', message="another format")

    def test_files(self):
        path = self.home / "rows.jsonl"
        path.write_bytes(lines_of([{"table": "stock", "key": "a", "value": "1"}]))
        self.assertEqual(self.ok("load", self.shop, path).text, "loaded 1 rows\n")
        self.fails(TROUBLE, "load", self.shop, self.home / "nix", message="No such file")
        self.fails(TROUBLE, "load", self.shop, self.home, message="directory")
        self.assertEqual(self.ok("load", self.shop, stdin=b"").text, "loaded 0 rows\n")

    def test_an_interrupted_load_leaves_whole_batches(self):
        import signal
        import subprocess

        process = self.start(
            "load", self.shop, "--bulk", "never", "--batch", 10,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        process.stdin.write(lines_of({"table": "stock", "key": f"{n:03}", "value": "x"} for n in range(25)))
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while len(run("scan", self.shop, "stock", "--keys-only").lines) < 20 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=60), INTERRUPTED)
        self.assertEqual(process.stderr.read().decode(), "holdfast: interrupted; 20 rows were loaded before\n")
        self.assertEqual(self.rows(), [f"{n:03}" for n in range(20)])

    def test_an_interrupted_bulk_load_leaves_nothing(self):
        import signal
        import subprocess

        process = self.start(
            "load", self.shop, "--bulk", "always",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        process.stdin.write(lines_of({"table": "stock", "key": f"{n:03}", "value": "x"} for n in range(25)))
        process.stdin.flush()
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(timeout=60), 143)
        self.assertEqual(run("scan", self.shop, "stock").code, NOTHING)


if __name__ == "__main__":
    unittest.main()
