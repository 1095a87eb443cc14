# SPDX-License-Identifier: Apache-2.0
"""create, tables, get, put, delete, scan: what they print, and what they answer when they cannot."""

import base64
import time
import unittest

from support import NOTHING, REFUSED, USAGE, Neighbour, ToolTest, run


class Tables(ToolTest):
    def test_a_database_is_made_once(self):
        self.fails(NOTHING, "create", self.shop, message="is a database already")

    def test_tables_are_listed_made_renamed_and_dropped(self):
        self.ok("tables", self.shop, "--create", "orders", "--create", "a b")
        self.ok("put", self.shop, "stock", "pear", "1")
        self.assertEqual(
            self.ok("tables", self.shop).text,
            "TABLE   ROWS  NOT MERGED\na b        0           0\norders     0           0\nstock      1           0\n",
        )
        self.ok("tables", self.shop, "--rename", "stock", "goods")
        self.ok("tables", self.shop, "--drop", "a b")
        names = [line["table"] for line in self.ok("tables", self.shop, "--json").json_lines]
        self.assertEqual(names, ["goods", "orders"])
        self.assertEqual(self.ok("get", self.shop, "goods", "pear").text, "1\n")

    def test_refusals_about_tables(self):
        self.fails(NOTHING, "tables", self.shop, "--create", "stock", message="EXISTS")
        self.fails(NOTHING, "tables", self.shop, "--drop", "nix", message="NO_TABLE")
        self.fails(USAGE, "tables", self.shop, "--create", "a\nb", message="INVALID_ARGUMENT")
        self.fails(NOTHING, "get", self.shop, "nix", "key", message="nix")
        self.fails(NOTHING, "put", self.shop, "nix", "key", "value", message="nix")

    def test_an_empty_database_has_no_tables(self):
        self.ok("create", self.home / "empty")
        self.assertEqual(self.ok("tables", self.home / "empty").text, "")


class Rows(ToolTest):
    def put(self, *arguments, **options):
        return self.ok("put", self.shop, "stock", *arguments, **options)

    def get(self, *arguments):
        return self.ok("get", self.shop, "stock", *arguments)

    def test_put_get_delete(self):
        self.put("pear", "12")
        self.assertEqual(self.get("pear").text, "12\n")
        self.put("pear", "11")
        self.assertEqual(self.get("pear").text, "11\n")
        self.ok("delete", self.shop, "stock", "pear")
        self.fails(NOTHING, "get", self.shop, "stock", "pear", message="no row 'pear' in table 'stock'")

    def test_several_keys_and_one_that_is_missing(self):
        self.put("a", "1")
        self.put("c", "3")
        result = run("get", self.shop, "stock", "a", "b", "c")
        self.assertEqual((result.code, result.text), (NOTHING, "a\t1\nc\t3\n"))
        self.assertIn("'b'", result.err)

    def test_delete_is_all_or_nothing(self):
        self.put("a", "1")
        self.fails(NOTHING, "delete", self.shop, "stock", "a", "b", message="nothing was deleted")
        self.assertEqual(self.get("a").text, "1\n")
        self.assertEqual(self.ok("delete", self.shop, "stock", "a", "b", "--if-exists", "--json").json["deleted"], 1)

    def test_conditions(self):
        self.fails(NOTHING, "put", self.shop, "stock", "a", "1", "--update", message="NOT_FOUND")
        self.put("a", "1", "--insert")
        self.fails(NOTHING, "put", self.shop, "stock", "a", "2", "--insert", message="EXISTS")
        self.put("a", "2", "--update")
        version = self.get("a", "--version").text.strip()
        self.fails(NOTHING, "put", self.shop, "stock", "a", "3", "--if-version", int(version) - 1, message="VERSION")
        self.put("a", "3", "--if-version", version)
        self.put("new", "1", "--if-version", 0)
        self.assertEqual(self.get("a").text, "3\n")

    def test_counters(self):
        self.put("likes", "5", "--counter")
        self.assertEqual(self.put("likes", "--add", "--", "-7").text, "-2\n")
        self.assertEqual(self.put("likes", "3", "--add", "--json").json["counter"], 1)
        self.assertEqual(self.get("likes").text, "1\n")
        row = self.get("likes", "--json").json
        self.assertEqual((row["key"], row["counter"]), ("likes", 1))
        self.assertNotIn("value", row)
        self.put("plain", "12345678")  # eight bytes that are no counter
        self.assertEqual(self.get("plain").text, "12345678\n")
        self.fails(NOTHING, "put", self.shop, "stock", "plain", "1", "--add", message="WRONG_TYPE")
        self.fails(USAGE, "put", self.shop, "stock", "likes", "many", "--counter", message="not a number")
        self.fails(USAGE, "put", self.shop, "stock", "likes", "9223372036854775808", "--counter")
        self.put("likes", "9223372036854775807", "--counter")
        self.fails(NOTHING, "put", self.shop, "stock", "likes", "1", "--add", message="OUT_OF_RANGE")

    def test_expiry(self):
        before_ms = time.time() * 1000
        self.put("session", "x", "--ttl", "1h")
        expires_ms = self.get("session", "--json").json["expires_ms"]
        self.assertTrue(3_590_000 < expires_ms - before_ms < 3_660_000, expires_ms - before_ms)
        self.put("short", "x", "--ttl", "50ms")
        time.sleep(0.1)
        self.fails(NOTHING, "get", self.shop, "stock", "short")
        self.fails(USAGE, "put", self.shop, "stock", "k", "v", "--ttl", "soon", message="'soon' is not a DURATION")

    def test_values_from_stdin_and_files(self):
        value = bytes(range(256)) * 10
        self.put("stdin", "-", stdin=value)
        self.assertEqual(self.get("stdin", "--raw").out, value)
        path = self.home / "value"
        path.write_bytes(value)
        self.put("file", "--file", path)
        self.assertEqual(self.get("file", "--raw").out, value)
        self.put("empty", "-", stdin=b"")
        self.assertEqual(self.get("empty", "--raw").out, b"")
        self.fails(5, "put", self.shop, "stock", "k", "--file", self.home / "nix", message="No such file")
        self.fails(USAGE, "put", self.shop, "stock", "k", message="VALUE is missing")

    def test_the_largest_rows(self):
        key = "k" * 511
        value = b"v" * (16 * 1024 * 1024)
        self.put(key, "-", stdin=value)
        self.assertEqual(self.get(key, "--raw").out, value)
        self.fails(USAGE, "put", self.shop, "stock", "big", "-", stdin=value + b"v", message="16777216")
        self.fails(USAGE, "put", self.shop, "stock", key + "k", "v", message="TOO_LARGE")
        self.fails(USAGE, "put", self.shop, "stock", "", "v", message="INVALID_ARGUMENT")

    def test_meta(self):
        self.put("pear", "12")
        self.assertRegex(
            self.get("pear", "--meta").text,
            r"^key      pear\nkind     row\nversion  \d+\nexpires  never\nsize     2\n$",
        )

    def test_arguments_that_look_like_something_else(self):
        for key in ["get", "--json", "-k", "-1", "{}", "[a,b]", "a=b", "--", "*", "a b", '"', "%d"]:
            self.put("--", key, "value of " + key)
            self.assertEqual(self.get("--", key).text, "value of " + key + "\n", key)

    def test_a_locked_row_is_waited_for_no_longer_than_told(self):
        with Neighbour(self.shop) as neighbour:
            neighbour.order("lock stock pear")
            begin = time.monotonic()
            result = self.fails(REFUSED, "put", self.shop, "stock", "pear", "1", "--timeout", "200ms")
            self.assertLess(time.monotonic() - begin, 20)
            self.assertIn("LOCK_TIMEOUT", result.err)
            self.assertIn("holder", result.err)


class Bytes(ToolTest):
    KEYS = [b"\x00", b"a\nb", b"a\tb", b"\\n", b"\xff\xfe", "grün".encode(), b"\xc3", "a\u202eb".encode(), b" a ", b"\x7f"]

    def test_different_bytes_never_look_the_same(self):
        for key in self.KEYS:
            self.ok("put", self.shop, "stock", "--hex", key.hex(), b"1".hex())
        shown = self.ok("scan", self.shop, "stock", "--keys-only").lines
        self.assertEqual(len(shown), len(self.KEYS))
        self.assertEqual(len(set(shown)), len(self.KEYS))
        for line, key in zip(shown, sorted(self.KEYS)):
            self.assertEqual(self.ok("get", self.shop, "stock", "--escaped", line).text, "1\n", line)
            self.assertTrue(line.isprintable(), line)
        self.assertIn("grün", shown)
        self.assertIn(r"\\n", shown)
        self.assertIn(r"a\nb", shown)
        self.assertIn(r"a\xe2\x80\xaeb", shown)

    def test_hex_and_base64(self):
        for option, code in [("--hex", bytes.hex), ("--base64", lambda key: base64.b64encode(key).decode())]:
            for key in self.KEYS:
                self.ok("put", self.shop, "stock", option, code(key), code(b"v" + key))
                self.assertEqual(self.ok("get", self.shop, "stock", option, code(key)).text, code(b"v" + key) + "\n")
            self.assertEqual(
                self.ok("scan", self.shop, "stock", option).lines,
                [code(key) + "\t" + code(b"v" + key) for key in sorted(self.KEYS)],
            )
        self.fails(USAGE, "get", self.shop, "stock", "--hex", "abc", message="not hexadecimal")
        self.fails(USAGE, "get", self.shop, "stock", "--base64", "YQ=", message="not base64")
        self.fails(USAGE, "get", self.shop, "stock", "--base64", "YR==", message="not base64")
        self.fails(USAGE, "get", self.shop, "stock", "--escaped", "\\q", message="escape")
        self.fails(USAGE, "get", self.shop, "stock", "--hex", "--base64", "61")

    def test_json_names_say_how_bytes_are_written(self):
        for key in self.KEYS:
            self.ok("put", self.shop, "stock", "--hex", key.hex(), key.hex())
        for row, key in zip(self.ok("scan", self.shop, "stock", "--json").json_lines, sorted(self.KEYS)):
            for name in ("key", "value"):
                if name in row:
                    self.assertEqual(row[name].encode(), key)
                else:
                    self.assertEqual(base64.b64decode(row[name + "_base64"]), key)
                    self.assertRaises(UnicodeDecodeError, key.decode)
        row = self.ok("get", self.shop, "stock", "--hex", "fffe", "--json").json
        self.assertEqual((row["key_hex"], row["value_hex"]), ("fffe", "fffe"))

    def test_coded_values_may_have_line_breaks(self):
        value = bytes(range(200))
        self.ok("put", self.shop, "stock", "--base64", "a2V5", "-", stdin=base64.encodebytes(value))
        self.assertEqual(self.ok("get", self.shop, "stock", "key", "--raw").out, value)


class Scan(ToolTest):
    def setUp(self):
        super().setUp()
        lines = "".join(f'{{"key":"{key}","value":"{key * 2}"}}\n' for key in "abcdefgh")
        self.ok("load", self.shop, "--table", "stock", stdin=lines.encode())

    def scan(self, *arguments):
        return "".join(self.ok("scan", self.shop, "stock", "--keys-only", *arguments).lines)

    def test_ranges(self):
        self.assertEqual(self.scan(), "abcdefgh")
        self.assertEqual(self.scan("--from", "c"), "cdefgh")
        self.assertEqual(self.scan("--to", "c"), "ab")
        self.assertEqual(self.scan("--from", "c", "--to", "f", "--reverse"), "edc")
        self.assertEqual(self.scan("--skip", 2, "--limit", 3), "cde")
        self.assertEqual(self.scan("--prefix", "d"), "d")
        self.assertEqual(self.scan("--base-only"), "abcdefgh")

    def test_forms(self):
        self.assertEqual(self.ok("scan", self.shop, "stock", "--limit", 1).text, "a\taa\n")
        self.assertEqual(self.ok("scan", self.shop, "stock", "--limit", 1, "--values").text, "aa\n")
        self.assertEqual(self.ok("scan", self.shop, "stock", "--count").text, "8\n")
        self.assertEqual(self.ok("scan", self.shop, "stock", "--count", "--json").json, {"count": 8})
        row = self.ok("scan", self.shop, "stock", "--limit", 1, "--json").json
        self.assertEqual((row["key"], row["value"]), ("a", "aa"))

    def test_nothing_found(self):
        for bounds in [["--from", "x"], ["--to", ""], ["--prefix", "zz"]]:
            result = run("scan", self.shop, "stock", *bounds)
            self.assertEqual((result.code, result.text, result.err), (NOTHING, "", ""), bounds)
        self.assertEqual(run("scan", self.shop, "stock", "--count", "--from", "x").text, "0\n")


if __name__ == "__main__":
    unittest.main()
