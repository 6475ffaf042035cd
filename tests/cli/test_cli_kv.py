#!/usr/bin/env python3
"""K in the loop: a decoder's cache is thinned; compaction frees pages and changes nothing else."""
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from icd_cli import DATA, CliTest

CONFIG = f"""
model: {{path: {DATA / "tiny-decoder"}, input: {DATA / "text/austen.txt"}, calibration_tokens: 512}}
runner: {{batch: 2, seq: 128, phase: decode, page: 16}}
solver: {{effort: low, seed: 1}}
transform:
  kv: {{drop: .5, window: 8, sinks: 4}}
quality: {{data: [{DATA / "text/austen.txt"}], examples: 12, seq: 64}}
measure: {{threads: 1, burst_ms: 0.2, timeout_s: 1}}
"""


class Cache(CliTest):
    def run_once(self, *args):
        (self.dir / "c.yaml").write_text(CONFIG)
        done = self.icd("run", "-c", "c.yaml", "--out", "run", *args)
        metrics = json.loads((self.dir / "run/metrics.json").read_text())
        return metrics, {a["name"]: a for a in metrics["arms"]}, done

    def test_compaction_frees_pages_and_keeps_outputs(self):
        metrics, arms, _ = self.run_once()
        kept = {name: arms[name]["kv"]["tokens"] for name in ("linear", "iterative", "full cache")}
        self.assertEqual(kept["linear"], kept["iterative"])
        self.assertLess(abs(kept["linear"] / kept["full cache"] - .5), .02)
        self.assertLess(arms["iterative"]["kv"]["pages"], arms["linear"]["kv"]["pages"])
        self.assertLess(arms["iterative"]["kv"]["bytes"], .6 * arms["full cache"]["kv"]["bytes"])
        check = {c["what"]: c for c in metrics["exactness"]}
        self.assertTrue(check["iterative against linear, f32"]["ok"])
        self.assertGreater(metrics["transform"]["kv"]["retained"], .5)
        self.assertGreater(arms["iterative"]["lat_ms"]["value"], 0)
        quality = json.loads((self.dir / "run/quality.json").read_text())
        self.assertEqual(quality["task"], "next-token")
        self.assertAlmostEqual(quality["perplexity"]["linear"], quality["perplexity"]["iterative"], delta=1e-3)
        self.assertAlmostEqual(quality["perplexity"]["dense"], quality["perplexity"]["full cache"], delta=1e-3)
        self.assertNotEqual(quality["perplexity"]["dense"], quality["perplexity"]["linear"])

    def test_with_weights_transformed_as_well(self):
        metrics, arms, _ = self.run_once("--override", "transform.sparsity.type=hds", "--override",
                                         "transform.sparsity.vector=16", "--override", "kernel.vector=16",
                                         "--override", "transform.quant.dtype=int8", "--override",
                                         "transform.kv.int8=true", "--no-measure")
        self.assertTrue(all(c["ok"] for c in metrics["exactness"]), metrics["exactness"])
        self.assertLess(arms["iterative"]["live"], arms["linear"]["live"])
        self.assertEqual(arms["random"]["kv"]["order"], "in place")
        self.assertEqual(arms["iterative"]["kv"]["order"], "compact")

    def test_prefill_has_nothing_to_thin(self):
        metrics, arms, done = self.run_once("--override", "runner.phase=prefill", "--no-measure")
        self.assertIn("transform.kv was not applied", done.stderr)
        self.assertFalse(metrics["transform"]["kv"]["applied"])
        self.assertNotIn("full cache", arms)

    def test_a_page_of_another_size_is_a_no_op_that_says_so(self):
        metrics, _, done = self.run_once("--override", "transform.kv.block=64", "--no-measure")
        self.assertIn("runner.page", done.stderr)
        self.assertFalse(metrics["transform"]["kv"]["applied"])
        self.assertIn("runner.page", metrics["transform"]["kv"]["reason"])
        self.assertTrue(all(c["ok"] for c in metrics["exactness"]))


if __name__ == "__main__":
    unittest.main()
