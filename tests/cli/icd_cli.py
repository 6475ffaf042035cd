"""What the command-line tests share: running `icd`, temporary folders, the shipped and shared data."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(os.environ.get("ICD_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
ICD = os.environ.get("ICD")
DATA = ROOT / "data"
SHARED = ROOT.parent / "shared"
if not ICD:
    print("skipped: the environment variable ICD does not name the program")
    sys.exit(77)


class CliTest(unittest.TestCase):
    """A test with a temporary folder in which `icd` runs."""

    def setUp(self):
        self._dir = tempfile.TemporaryDirectory()
        self.dir = pathlib.Path(self._dir.name)

    def tearDown(self):
        self._dir.cleanup()

    def icd(self, *args, code=0, env=None, **more):
        """Runs icd; asserts its exit code; returns the finished process."""
        done = subprocess.run([ICD, *map(str, args)], cwd=self.dir, text=True, capture_output=True,
                              env={**os.environ, **(env or {})}, timeout=280, **more)
        self.assertEqual(done.returncode, code, f"icd {args}\n{done.stdout}\n{done.stderr}")
        return done

    def json(self, *args, **more):
        """Runs icd with --json and parses what it prints."""
        return json.loads(self.icd(*args, "--json", **more).stdout)

    def fails(self, code, *args, say=(), **more):
        """Asserts an exit code and that the error, one line, contains every text of `say`."""
        done = self.icd(*args, code=code, **more)
        lines = [line for line in done.stderr.splitlines() if "error" in line]
        self.assertEqual(len(lines), 1, done.stderr)
        for text in say:
            self.assertIn(text, lines[0])
        return done
