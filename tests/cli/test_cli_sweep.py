#!/usr/bin/env python3
"""icd sweep: every combination once, resumable, one table in four forms."""
import csv
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from icd_cli import DATA, CliTest

BLOCK = DATA / "use-lite-ffn.safetensors"
CONFIG = f"""
model: {{path: {BLOCK}, calibration_tokens: 256}}
runner: {{batch: 1, seq: 16}}
solver: {{effort: low, seed: 1}}
transform:
  sparsity: {{type: hds, vector: 16}}
  quant: {{dtype: int8}}
kernel: {{vector: 16}}
measure: {{threads: 1, burst_ms: 0.2, timeout_s: 1}}
"""


class Sweep(CliTest):
    def setUp(self):
        super().setUp()
        (self.dir / "c.yaml").write_text(CONFIG)

    def sweep(self, *args, code=0):
        return self.icd("sweep", "-c", "c.yaml", *args, "-o", "s", code=code)

    def test_table_and_resume(self):
        grid = ["--grid", "sparsity.rate=.5,.75", "--grid", "transform.quant.dtype=int8,none", "--no-measure"]
        first = json.loads(self.sweep(*grid, "--json").stdout)
        self.assertEqual(first, {"out": "s", "points": 4, "reused": 0, "failed": 0})
        table = json.loads((self.dir / "s/sweep.json").read_text())
        self.assertEqual([p["config"] for p in table["points"]],
                         ["rate=.5 dtype=int8", "rate=.5 dtype=none", "rate=.75 dtype=int8", "rate=.75 dtype=none"])
        self.assertGreater(table["points"][0]["cosine"], table["points"][2]["cosine"])
        arms = {a["arm"]: a for a in table["points"][2]["arms"]}
        self.assertLess(arms["iterative"]["live"], arms["linear"]["live"])
        self.assertLess(arms["iterative"]["bytes_per_token"], arms["dense"]["bytes_per_token"])
        self.assertIsNone(arms["iterative"]["lat_ms"])
        with open(self.dir / "s/sweep.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(len(rows), sum(len(p["arms"]) for p in table["points"]))
        self.assertEqual(rows[0]["config"], "rate=.5 dtype=int8 / linear")
        page = (self.dir / "s/sweep.html").read_text()
        self.assertIn("4 of 4 combinations", page)
        self.assertIn("runs/rate=.5_dtype=int8/report.html", page)
        (self.dir / "s/runs/rate=.5_dtype=none/metrics.json").unlink()
        again = json.loads(self.sweep(*grid, "--json").stdout)
        self.assertEqual(again["reused"], 3)
        self.assertEqual(json.loads((self.dir / "s/sweep.json").read_text())["points"], table["points"])

    def test_another_model_behind_the_same_name_is_run_again(self):
        model = self.dir / "block.safetensors"
        grid = ["--grid", "sparsity.rate=.75", "--override", f"model.path={model}", "--no-measure", "--json"]
        model.write_bytes(BLOCK.read_bytes())
        self.sweep(*grid)
        self.assertEqual(json.loads(self.sweep(*grid).stdout)["reused"], 1)
        old = json.loads((self.dir / "s/sweep.json").read_text())["points"]
        data = bytearray(model.read_bytes())
        data[-4096:] = bytes(4096)
        model.write_bytes(bytes(data))
        self.assertEqual(json.loads(self.sweep(*grid).stdout)["reused"], 0)
        self.assertNotEqual(json.loads((self.dir / "s/sweep.json").read_text())["points"], old)

    def test_measured(self):
        self.sweep("--grid", "sparsity.rate=.75", "--override", "pipeline.ablation=original")
        arms = {a["arm"]: a for a in json.loads((self.dir / "s/sweep.json").read_text())["points"][0]["arms"]}
        self.assertGreater(arms["original"]["lat_ms"], 0)
        self.assertIsNotNone(arms["iterative"]["change_low"])
        self.assertIn("| rate=.75 | iterative |", (self.dir / "s/sweep.md").read_text())
        self.assertIn("Sweep: time against quality", (self.dir / "s/sweep.html").read_text())

    def test_a_combination_that_fails_does_not_end_the_sweep(self):
        self.sweep("--grid", "model.path=" + f"{BLOCK},{self.dir / 'no-such-model'}", "--no-measure")
        points = json.loads((self.dir / "s/sweep.json").read_text())["points"]
        self.assertIsNone(points[0]["error"])
        self.assertIn("no-such-model", points[1]["error"])
        self.assertEqual(points[1]["arms"], [])

    def test_mistakes(self):
        self.fails(2, "sweep", "-c", "c.yaml", "-o", "s", say=["grid"])
        self.fails(2, "sweep", "-c", "c.yaml", "-o", "s", "--grid", "sparsity.rat=.5", say=["rat", "rate"])
        self.fails(2, "sweep", "-c", "c.yaml", "-o", "s", "--grid", "sparsity.rate=.5,7", say=["7"])
        self.fails(2, "sweep", "-c", "c.yaml", "-o", "s", "--grid", "sparsity.rate", say=["KEY=VALUE"])
        self.fails(2, "sweep", "-c", "c.yaml", "-o", "s", "--grid", "sparsity.rate=.5,,.7", say=["empty"])
        self.fails(2, "sweep", "-c", "c.yaml", "--grid", "sparsity.rate=.5", say=["-o"])
        self.assertFalse((self.dir / "s/runs").exists())


if __name__ == "__main__":
    unittest.main()
