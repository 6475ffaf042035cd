#!/usr/bin/env python3
"""What the documentation shows exists: commands, their options, configuration keys, linked files."""
import json
import pathlib
import re
import shlex
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from icd_cli import ICD, ROOT

LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)[^)]*\)")
INLINE = re.compile(r"`(icd [a-z][^`]*)`")
FENCE = re.compile(r"^```\w*\n(.*?)^```", re.M | re.S)
KEYED = {"--override", "--grid"}


def pages():
    """Every page of the repository that a reader would open."""
    found = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, text=True, capture_output=True)
    names = found.stdout.split() if found.returncode == 0 else []
    return [ROOT / n for n in names] or [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(text):
    """Lines `icd COMMAND ...`, continued lines joined, comments and what follows a pipe cut off."""
    for line in text.replace("\\\n", " ").splitlines():
        words = re.match(r"\s*(?:\$ )?icd ((?!\.\.\.)[a-z].*)", line)
        if words:
            yield re.split(r"\s[|>#]|&&|;", words[1])[0].strip()


def shell_words(line):
    return shlex.split(line.replace("'", "").replace("[", "").replace("]", ""))


class Docs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.helps = {}
        keys = set(known_keys(json.loads(run("schema"))))
        cls.keys = keys | {k.removeprefix("transform.") for k in keys}

    def help_of(self, command):
        if command not in self.helps:
            self.helps[command] = run(command, "--help")
        return self.helps[command]

    def check(self, where, line):
        command, *words = shell_words(line)
        if command == "help":
            return
        text = self.help_of(command)
        self.assertTrue(text, f"{where}: icd {line}: there is no command {command}")
        for k, word in enumerate(words):
            option, _, value = word.partition("=")
            if option.startswith("-") and not re.fullmatch(r"-?[\d.:]+", option):
                self.assertRegex(text, rf"(?<![\w-]){re.escape(option)}(?![\w-])",
                                 f"{where}: icd {line}: no option {option}")
            if option in KEYED:
                key = (value or words[k + 1]).partition("=")[0]
                self.assertTrue(key in self.keys, f"{where}: icd {line}: no key {key}")

    def test_commands_of_the_pages(self):
        count = 0
        for page in pages():
            text = page.read_text()
            for block in FENCE.findall(text) + INLINE.findall(text.replace("\n", " ")):
                for line in commands(block):
                    self.check(page.relative_to(ROOT), line)
                    count += 1
        self.assertGreater(count, 20)

    def test_examples_of_the_helps(self):
        for command in re.findall(r"^  ([a-z]+)  ", run("help"), re.M):
            examples = self.help_of(command).partition("examples:")[2]
            lines = list(commands(examples))
            self.assertTrue(lines, f"icd {command} --help ends without an example")
            for line in lines:
                self.check(f"icd {command} --help", line)

    def test_links(self):
        for page in pages():
            for target in LINK.findall(FENCE.sub("", page.read_text())):
                if "://" in target or target.startswith("mailto:"):
                    continue
                self.assertTrue((page.parent / target).exists(),
                                f"{page.relative_to(ROOT)}: there is no {target}")


def run(*args):
    return subprocess.run([ICD, *args], text=True, capture_output=True).stdout


def known_keys(schema, prefix=""):
    for name, node in schema.get("properties", {}).items():
        yield prefix + name
        yield from known_keys(node, prefix + name + ".")


if __name__ == "__main__":
    unittest.main()
