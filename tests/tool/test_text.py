# SPDX-License-Identifier: Apache-2.0
"""Text that others rely on stays as it is: help, tables, manual page, completion.

The expected text lies in golden/. After a change that is meant, HOLDFAST_UPDATE_GOLDEN=1 writes it anew.
"""

import os
import re
import shutil
import subprocess
import unittest

from support import HERE, Neighbour, ToolTest

MANUAL = HERE.parent.parent / "docs" / "holdfast.1"
OPTION = re.compile(r"^ {2}(-[-a-z0-9,]+)", re.MULTILINE)


class Golden(ToolTest):
    def compare(self, name, text):
        path = HERE / "golden" / name
        if os.environ.get("HOLDFAST_UPDATE_GOLDEN"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        self.assertEqual(text, path.read_text(), f"{path} differs")

    def commands(self):
        help_text = self.ok("--help").text
        names = re.findall(r"^ {2}([a-z]+) {4,}\S", help_text, re.MULTILINE)
        self.assertEqual(len(names), 19)
        return names

    def test_help(self):
        text = self.ok("--help").text
        for command in self.commands():
            text += f"\n==== {command}\n" + self.ok(command, "--help").text
        self.compare("help.txt", text)

    def test_figures(self):
        """Numbers are not stable, what stands around them is."""
        with Neighbour(self.shop) as neighbour:
            neighbour.order("put stock pear 12")
            neighbour.order("pin")
            neighbour.order("lock stock pear")
            text = ""
            for arguments in [["stat", "--tables"], ["locks"], ["top", "--once", "--interval", "100ms"], ["tables"]]:
                command, *rest = arguments
                shown = self.ok(command, self.shop, *rest).text.replace(str(self.shop), "DIR")
                shown = re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME", shown)
                shown = re.sub(r"[0-9][0-9,.]*( B| KiB| MiB)", "SIZE", shown)
                shown = re.sub(r"\b[0-9][0-9,.]*(ms|s\b)?", "N", shown)
                text += f"==== {' '.join(arguments)}\n" + re.sub(r" {2,}", "  ", shown)
        self.compare("figures.txt", text)

    def test_names_in_json(self):
        """Scripts rely on them: none may vanish or change."""
        with Neighbour(self.shop) as neighbour:
            neighbour.order("put stock pear 12")
            neighbour.order("lock stock pear")
            text = ""
            for arguments in [["stat", "--tables"], ["locks"], ["top", "--once", "--interval", "100ms"], ["tables"]]:
                command, *rest = arguments
                for number, line in enumerate(self.ok(command, self.shop, *rest, "--json").json_lines):
                    text += f"{command} {number}: {' '.join(line)}\n"
        self.compare("json_names.txt", text)

    def test_every_command_and_option_is_in_the_manual(self):
        manual = MANUAL.read_text().replace("\\-", "-")
        missing = []
        for command in self.commands():
            section = re.search(rf"^\.SS {command} .*?(?=^\.S[SH] )", manual, re.MULTILINE | re.DOTALL)
            self.assertIsNotNone(section, f"no section about {command}")
            general = manual[manual.index(".SH OPTIONS OF MOST") : manual.index(".SH COMMANDS FOR ROWS")]
            for names in OPTION.findall(self.ok(command, "--help").text):
                for name in names.split(","):
                    if not re.search(rf"(?<![\w-]){name}(?![\w-])", section.group() + general):
                        missing.append(f"{command} {name}")
        self.assertEqual(missing, [])

    def test_the_manual_has_no_option_that_is_not_there(self):
        manual = MANUAL.read_text().replace("\\-", "-")
        known = {name for command in self.commands() for names in OPTION.findall(self.ok(command, "--help").text)
                 for name in names.split(",")}  # fmt: skip
        self.assertEqual(set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", manual)) - known - {"--version"}, set())

    @unittest.skipUnless(shutil.which("groff"), "no groff here")
    def test_the_manual_is_well_formed(self):
        done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8", MANUAL], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def complete(self, *words):
        """What bash offers for the last of these words."""
        script = self.ok("completion", "bash").text
        line = " ".join(f"'{word}'" for word in words)
        script += f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _holdfast; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=self.home)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.split()

    def test_bash_completion(self):
        self.assertEqual(self.complete("holdfast", "st"), ["stat"])
        self.assertEqual(set(self.complete("holdfast", "")) - {"-h", "--help", "--version"}, set(self.commands()))
        self.assertEqual(self.complete("holdfast", "scan", "shop", "t", "--pre"), ["--prefix"])
        self.assertEqual(self.complete("holdfast", "put", "shop", "t", "k", "--durability", "r"), ["relaxed"])
        self.assertEqual(self.complete("holdfast", "get", "sh"), ["shop"])
        self.assertEqual(self.complete("holdfast", "completion", ""), ["bash", "zsh", "fish"])

    def test_completion_knows_every_option(self):
        for shell in ["bash", "zsh", "fish"]:
            script = self.ok("completion", shell).text
            for command in self.commands():
                self.assertIn(command, script)
                for names in OPTION.findall(self.ok(command, "--help").text):
                    for name in names.split(","):
                        self.assertIn(name.lstrip("-") if shell == "fish" else name, script)
            program = shutil.which(shell)
            if program:
                done = subprocess.run([program, "-n"], input=script, capture_output=True, text=True)
                self.assertEqual((done.returncode, done.stderr), (0, ""), shell)


if __name__ == "__main__":
    unittest.main()
