#!/usr/bin/env python3
"""runner.kind: exec: commands in the place of an engine, measured and judged like one."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from icd_cli import DATA, ICD, CliTest

SLEEP = 200 + os.getpid() / 1e7  # nobody else sleeps so long

FAKE = """#!/bin/sh
# Prints a warm-up and three latencies around $1, in a cycle of seven calls that every arm sees alike.
n=$(($(cat "count.$2" 2>/dev/null || echo 0) + 1)); echo $n > "count.$2"
echo 99
awk -v ms=$1 -v n=$n 'BEGIN { for (i = 0; i < 3; i++) print ms * (1 + .001 * ((n + i) % 7 - 3)) }'
"""

COMMANDS = """
runner:
  kind: exec
  exec:
    linear: "sh fake.sh 2.0 {arm}"
    iterative: "sh fake.sh 1.5 {arm}"
    arms: ["another=sh fake.sh 1.7 {arm}"]
    discard: 1
    lines: 3
    timeout_s: 20
pipeline: {retries: 0}
measure: {timeout_s: 1}
"""

LOOP = f"""
model: {{path: {DATA / "tiny-bert"}, input: {DATA / "text/austen.txt"}, calibration_tokens: 512}}
runner:
  seq: 32
  kind: exec
  exec:
    command: "sh spy.sh {{arm}} {{model}} {{perm}} {{run}}"
transform:
  sparsity: {{type: hds, rate: .5, vector: 64}}
  quant: {{dtype: int8}}
solver: {{effort: low}}
pipeline: {{retries: 0}}
measure: {{timeout_s: 1}}
"""

SPY = """echo "$1 $2 $3" >> "$4/seen"
echo 1.25
"""


class Exec(CliTest):
    def setUp(self):
        super().setUp()
        (self.dir / "fake.sh").write_text(FAKE)
        (self.dir / "spy.sh").write_text(SPY)
        (self.dir / "c.yaml").write_text(COMMANDS)

    def run_commands(self, *args, **more):
        done = self.icd("run", "-c", "c.yaml", "--out", "run", *args, **more)
        return json.loads((self.dir / "run/metrics.json").read_text()), done

    def cause(self, command, *args, code=4):
        """Why a run whose candidate is this command was rolled back; 4: a measurement failed."""
        metrics, _ = self.run_commands("--override", f"runner.exec.iterative={command}", *args, code=code)
        self.assertEqual(metrics["outcome"], "rolled_back")
        return metrics["cause"]

    def test_commands_are_compared(self):
        metrics, _ = self.run_commands("--gate", "--override", "gates.require=latency")
        self.assertEqual(metrics["outcome"], "kept")
        arms = {a["name"]: a for a in metrics["arms"]}
        self.assertEqual(set(arms), {"linear", "iterative", "another", "linear A/A"})
        self.assertAlmostEqual(arms["iterative"]["lat_ms"]["value"], 1.5, delta=.02)
        self.assertEqual(arms["linear"]["burst"], 3)
        self.assertEqual(arms["linear"]["kernel"], "command")
        self.assertIn("commands of the user", arms["linear"]["ept_j_per_tok"]["reason"])
        found = next(c for c in metrics["comparisons"] if c["b"] == "iterative" and c["a"] == "linear")
        self.assertAlmostEqual(found["delta"], -.25, delta=.01)
        self.assertGreaterEqual(found["blocks"], 30)
        self.assertTrue("iterative is 25" in (self.dir / "run/report.html").read_text())
        self.icd("measure", "run")
        self.icd("resume", "run")

    def test_places_are_interleaved(self):
        self.run_commands()
        rows = [line.split(",") for line in (self.dir / "run/samples.csv").read_text().splitlines()
                if line[0].isdigit()]
        places = {(row[1], row[2]) for row in rows}
        self.assertEqual(len(places), 16)  # four arms at four places

    def test_no_gain_is_rolled_back(self):
        self.assertIn("latency", self.cause("sh fake.sh 2.0 {arm}", code=0))

    def test_what_commands_do_wrong(self):
        self.assertIn("exit code 3; its last words: out of cards", self.cause("echo out of cards >&2; exit 3"))
        self.assertIn("found 'fast'", self.cause("echo fast"))
        self.assertIn("iterative: command:1", self.cause("echo fast"))
        self.assertIn("printed 2 latencies, expected 3 and 1 to leave out", self.cause("echo 9 1"))
        self.assertIn("no latency; its last words: sorry", self.cause("echo sorry >&2"))
        self.assertIn("signal 9", self.cause("kill -9 $$"))

    def test_a_hanging_command_ends_with_its_children(self):
        start = time.monotonic()
        cause = self.cause(f"echo waiting >&2; sleep {SLEEP} & sleep {SLEEP}", "--override", "runner.exec.timeout_s=0.3")
        self.assertIn("longer than 0.3 s", cause)
        self.assertIn("last words: waiting", cause)
        self.assertLess(time.monotonic() - start, 60)
        self.assertEqual(self.sleepers(), [])

    def test_an_interrupt_ends_the_command_too(self):
        run = subprocess.Popen([ICD, "run", "-c", "c.yaml", "--out", "run", "--override",
                                f"runner.exec.linear=touch here; sleep {SLEEP}; echo 1"], cwd=self.dir,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(600):
            if (self.dir / "here").exists():
                break
            time.sleep(.05)
        run.send_signal(signal.SIGINT)
        _, error = run.communicate(timeout=60)
        self.assertEqual(run.returncode, 1, error)
        self.assertIn("cancelled", error)
        self.assertEqual(self.sleepers(), [])

    def sleepers(self):
        """Processes of a hanging command that are still there."""
        found = subprocess.run(["pgrep", "-f", f"sleep {SLEEP}"], capture_output=True, text=True)
        return found.stdout.split()

    def test_wrong_settings(self):
        (self.dir / "d.yaml").write_text("runner: {kind: exec, exec: {linear: echo 1}}\n")
        metrics = self.icd("run", "-c", "d.yaml", "--out", "run", code=2) and json.loads(
            (self.dir / "run/metrics.json").read_text())
        self.assertIn("runner.exec.iterative", metrics["cause"])
        self.assertIn("no model to put there", self.cause("echo {model}", code=2))
        self.assertIn("NAME=COMMAND", self.cause("echo 1", "--override", "runner.exec.arms=echo 3", code=2))
        self.assertIn("twice", self.cause("echo 1", "--override", "runner.exec.arms=a=echo 3,a=echo 4", code=2))

    def test_a_loop_gives_models_and_orders_to_commands(self):
        (self.dir / "loop.yaml").write_text(LOOP)
        self.icd("run", "-c", "loop.yaml", "--out", "run")
        run = self.dir / "run"
        metrics = json.loads((run / "metrics.json").read_text())
        self.assertTrue(all(c["ok"] for c in metrics["exactness"]))
        arms = [a["name"] for a in metrics["arms"]]
        self.assertEqual(arms, ["linear", "iterative", "frequency", "random", "linear A/A"])
        seen = {line.rsplit(" ", 2)[0]: line.rsplit(" ", 2)[1:] for line in (run / "seen").read_text().splitlines()}
        self.assertEqual(set(seen), set(arms))
        for model, perm in seen.values():
            self.assertTrue((pathlib.Path(self.dir, model) / "model.safetensors").exists(), model)
            self.assertTrue(pathlib.Path(self.dir, perm).exists(), perm)
        orders = {arm: json.loads(pathlib.Path(self.dir, seen[arm][1]).read_text())["axes"] for arm in arms}
        self.assertEqual(orders["iterative"], json.loads((run / "perm_after.json").read_text())["axes"])
        self.assertEqual(orders["linear"], json.loads((run / "perm_before.json").read_text())["axes"])
        # models of all arms compute the same: orders of true axes cancel out
        same = self.json("verify", "--models", seen["linear"][0], seen["iterative"][0], "--input", DATA / "text/austen.txt",
                         "--seq", 32)
        self.assertTrue(same["equal"], same)
        ordered = json.loads((pathlib.Path(self.dir, seen["iterative"][0]) / "icd.axes.json").read_text())
        plain = json.loads((pathlib.Path(self.dir, seen["linear"][0]) / "icd.axes.json").read_text())
        self.assertNotEqual(ordered, plain)


if __name__ == "__main__":
    unittest.main()
