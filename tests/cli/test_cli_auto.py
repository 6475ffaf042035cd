#!/usr/bin/env python3
"""kernel.kind: auto: every linear of every arm gets the kernel that is the fastest here, once for the whole run."""
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from icd_cli import DATA, CliTest

CONFIG = f"""
model: {{path: {DATA / "tiny-bert"}, input: {DATA / "text/austen.txt"}, calibration_tokens: 512}}
runner: {{seq: 16}}
transform:
  sparsity: {{type: hds, rate: .5, vector: 64}}
solver: {{effort: low}}
kernel: {{kind: auto}}
measure: {{timeout_s: 1, threads: 1, burst_ms: 0.5, meters: [cachesim]}}
"""
NAMES = {1: "dense", 2: "gather", 3: "tile"}


class Auto(CliTest):
    def metrics(self):
        return json.loads((self.dir / "run/metrics.json").read_text())

    def test_kernels_are_chosen_once_and_reported(self):
        (self.dir / "c.yaml").write_text(CONFIG)
        self.icd("run", "-c", "c.yaml", "--out", "run", "--override", "transform.quant.dtype=int8")
        first = self.metrics()
        arms = {a["name"]: a for a in json.loads((self.dir / "run/arms.json").read_text())["arms"]}
        self.assertTrue(all(c["ok"] for c in first["exactness"]))
        # the control is the same thing as linear; alternatives keep their own kernel
        self.assertEqual(arms["linear"]["kernels"], arms["linear A/A"]["kernels"])
        self.assertEqual({k["kind"] for k in arms["gather"]["kernels"].values()}, {2})
        for linear, choice in arms["iterative"]["kernels"].items():
            name = NAMES[choice["kind"]]
            self.assertEqual(choice["kernel"], name, linear)
            self.assertLessEqual(choice[f"{name}_us"], choice["dense_us"])
        told = {a["name"]: a["kernel"] for a in first["arms"]}
        self.assertTrue(told["iterative"].startswith("auto: "), told)
        shapes = {(r["rows"], r["cols"]) for r in first["break_even"]}
        self.assertEqual(shapes, {(128, 128), (512, 128), (128, 512)})
        self.assertTrue(all(0 <= r["tile"] <= 1 for r in first["break_even"]))
        page = (self.dir / "run/report.html").read_text()
        for text in ("Break-even", "Kernels that were chosen"):
            self.assertTrue(text in page, text)
        # what is read back is what the samples were taken with
        self.icd("resume", "run")
        self.assertEqual(self.metrics()["linears"], first["linears"])
        self.assertEqual(self.metrics()["break_even"], first["break_even"])

    def test_small_activations(self):
        """kernel.threshold: the error is measured, checks of orders are made without it."""
        (self.dir / "c.yaml").write_text(CONFIG)
        found = {}
        for threshold in ("0", "0.05", "0.2"):
            self.icd("run", "-c", "c.yaml", "--out", "run", "--no-measure", "--override", "kernel.kind=tile",
                     "--override", f"kernel.threshold={threshold}")
            metrics = self.metrics()
            self.assertTrue(all(c["ok"] for c in metrics["exactness"]))
            found[threshold] = metrics["contextual"]
        self.assertEqual(found["0"]["max_rel"], 0)
        self.assertEqual(found["0"]["below"], found["0"]["zeros"])
        self.assertLess(found["0"]["below"], found["0.05"]["below"])
        self.assertLess(found["0.05"]["below"], found["0.2"]["below"])
        self.assertLess(0, found["0.05"]["max_rel"])
        self.assertGreater(found["0.05"]["cosine"], found["0.2"]["cosine"])
        self.assertTrue("Under the threshold of 0.2" in (self.dir / "run/report.html").read_text())

    def test_packed_models(self):
        (self.dir / "c.yaml").write_text(CONFIG)
        self.icd("transform", DATA / "tiny-bert", "-c", "c.yaml", "-o", "packed", "--q", "int8")
        for kind in ("auto", "tile"):
            self.icd("infer", "packed", "-c", "c.yaml", "--input", DATA / "text/austen.txt", "-o",
                     f"{kind}.safetensors", "--override", f"kernel.kind={kind}")
        self.assertEqual((self.dir / "auto.safetensors").read_bytes(), (self.dir / "tile.safetensors").read_bytes())


if __name__ == "__main__":
    unittest.main()
