"""icd calibrate and the dry run that reads what it found."""
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from icd_cli import DATA, CliTest  # noqa: E402

BLOCK = DATA / "use-lite-ffn.safetensors"
QUICK = ["--override", "measure.burst_ms=0", "--override", "measure.ci_half_width=1",
         "--override", "pipeline.warmup_iter=1", "--override", "solver.effort=low", "--override", "runner.seq=16",
         "--override", "transform.quant.dtype=int8", "--override", "cache.enabled=false", "-q"]
SPARSE = ["--override", "transform.sparsity.type=hds"]


class Calibrate(CliTest):
    def run_icd(self, out, *more):
        return self.json("run", "--model", BLOCK, "--out", out, *QUICK, *more)

    def prediction(self, out):
        return json.loads((self.dir / out / "metrics.json").read_text())["prediction"]

    def test_fits_a_line_that_a_dry_run_reads(self):
        self.run_icd("run", *SPARSE)
        found = self.json("calibrate", "run", "--layouts", "12", "-q")
        names = [row["layout"] for row in found["layouts"]]
        self.assertEqual(names[:2], ["linear", "solved"])
        self.assertEqual((len(names), names[-1]), (12, "random 2"))
        live = {row["layout"]: row["live"] for row in found["layouts"]}
        self.assertLess(live["solved"], live["linear"])
        self.assertLess(live["linear"], live["random 1"])
        shares = [row["live"] for row in found["layouts"][1:10]]
        self.assertGreater(shares[-1], shares[0])
        self.assertLessEqual(found["r2_cv"], found["r2"])
        self.assertGreaterEqual(found["blocks"], 30)
        stored = json.loads((self.dir / "run/calibration.json").read_text())
        self.assertEqual(len(stored["points"]), 12)
        self.assertEqual(stored["ms_per_mb"], found["ms_per_mb"])
        good = {**stored, "base_ms": .1, "ms_per_mb": 2, "sd_ms": .001, "cov": [1e-8, 0, 1e-8], "r2_cv": .9}
        (self.dir / "good.json").write_text(json.dumps(good))
        dry = self.run_icd("dry", *SPARSE, "--dry-run", "--override", "measure.cost_model=good.json")
        p = self.prediction("dry")
        self.assertIn("worth it", dry["verdict"][0])
        self.assertTrue(p["time_low"] < p["time_ratio"] < p["time_high"] < 1)
        for change, words in (({"cpu": "another"}, "fitted on 'another'"), ({"r2_cv": -5}, "R2 below"),
                              ({"setting": "m, cuda"}, "fitted for 'm, cuda'"), ({"ms_per_mb": -2}, "do not grow")):
            (self.dir / "bad.json").write_text(json.dumps({**good, **change}))
            done = self.icd("run", "--model", BLOCK, "--out", "bad", *QUICK, *SPARSE, "--dry-run", "--override",
                            "measure.cost_model=bad.json")
            self.assertIn(words, done.stderr)
            self.assertIn("measure it", done.stdout)
            self.assertIsNone(self.prediction("bad")["time_ratio"])
        self.fails(6, "run", "--model", BLOCK, "--out", "x", *QUICK, *SPARSE, "--dry-run", "--override",
                   "measure.cost_model=nothing.json", say=["nothing.json"])

    def test_dry_run_says_when_not_to_bother(self):
        self.assertIn("do not bother", self.run_icd("a", "--dry-run")["verdict"][0])
        sparse = [*SPARSE, "--override", "transform.sparsity.rate=0.004"]
        dry = self.run_icd("b", *sparse, "--dry-run")
        self.assertIn("do not bother", dry["verdict"][0])
        self.assertEqual(self.prediction("b")["advice"], "do not bother")
        self.assertFalse((self.dir / "b/model").exists())
        dry = self.run_icd("c", *SPARSE, "--dry-run")
        self.assertIn("measure it", dry["verdict"][0])
        self.assertIn("no cost model", dry["verdict"][1])
        # quick orders of a dry run are not what a run then builds upon
        self.icd("resume", "c", "--no-measure", "-q")
        stages = json.loads((self.dir / "c/metrics.json").read_text())["stages"]
        self.assertFalse(any(row["cached"] for row in stages))

    def test_what_cannot_be_calibrated(self):
        self.fails(6, "calibrate", "nothing", say=["nothing"])
        self.run_icd("dense")
        self.fails(2, "calibrate", "dense", say=["re-permuted"])
        self.fails(2, "calibrate", "dense", "--layouts", "3", say=["--layouts"])


if __name__ == "__main__":
    unittest.main(verbosity=1)
