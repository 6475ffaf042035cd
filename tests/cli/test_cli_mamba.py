#!/usr/bin/env python3
"""icd synth, and a Mamba through infer, verify, trace, axes and apply."""
import unittest

from icd_cli import DATA, CliTest

TEXT = DATA / "text" / "austen.txt"


class Synth(CliTest):
    def test_list(self):
        names = self.json("synth", "--list")["shapes"]
        for name in ("bert-base", "bert-large", "minilm", "mamba-130m", "mamba-2.8b", "smollm2-135m"):
            self.assertIn(name, names)

    def test_writes_a_labelled_model(self):
        about = self.json("synth", "mamba-tiny", "--seed", 5, "-o", "m")
        self.assertTrue(about["synthetic"])
        self.assertEqual(about["files"], 1)
        self.assertEqual(about["parameters"], 266112)
        self.assertIn(b'"icd.synthetic":"true"', (self.dir / "m/model.safetensors").read_bytes()[:4096])

    def test_shards_hold_the_same_model(self):
        self.icd("synth", "mamba-tiny", "-o", "one")
        two = self.json("synth", "mamba-tiny", "--layers", 4, "--shard-mib", 1, "-o", "two")
        self.assertGreater(two["files"], 1)
        self.assertTrue((self.dir / "two/model.safetensors.index.json").exists())
        self.icd("infer", "two", "-i", TEXT, "--seq", 16, "-o", "out.safetensors", "--override",
                 "model.calibration_tokens=64")

    def test_wrong_use(self):
        self.fails(2, "synth", "mamba-tiny", say=["-o DIR is missing"])
        self.fails(2, "synth", "-o", "x", say=["SHAPE is missing"])
        self.fails(2, "synth", "gpt-9", "-o", "x", say=["'gpt-9'", "bert-base"])
        self.fails(2, "synth", "mamba-tiny", "--layers", "0", "-o", "x", say=["--layers"])
        self.fails(2, "synth", "mamba-tiny", "--dtype", "f8", "-o", "x", say=["f32 or bf16"])
        self.icd("synth", "mamba-tiny", "-o", "m")
        self.fails(2, "synth", "mamba-tiny", "-o", "m", say=["already holds"])


class Engine(CliTest):
    MODEL = DATA / "tiny-mamba"

    def test_trace_solve_apply_verify(self):
        traced = self.json("trace", self.MODEL, "-i", TEXT, "--axes", "layer.1.d_inner,layer.1.d_state",
                           "--tokens", 512, "-o", "traces")
        self.assertEqual(traced["axes"], 2)
        self.icd("graph", "-t", "traces/axes/layer.1.d_inner/trace.icdt", "-o", "W.csr.npz")
        self.icd("solve", "W.csr.npz", "-o", "perm.json")
        self.icd("apply", self.MODEL, "-a", "layer.1.d_inner=perm.json", "-o", "moved")
        same = self.json("verify", "--models", self.MODEL, "moved", "-i", TEXT, "--seq", 32)
        self.assertTrue(same["equal"])
        self.assertLess(same["max_rel"], 1e-5)

    def test_every_axis_may_move(self):
        self.icd("axes", self.MODEL, "--check")


if __name__ == "__main__":
    unittest.main()
