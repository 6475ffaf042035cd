#!/usr/bin/env python3
"""A GPT-2 through infer, verify, axes, trace, solve, apply, transform and the loop."""
import json
import struct
import unittest

from icd_cli import ROOT, CliTest

MODEL = ROOT / "tests/data/gpt2_tied"
SEQ = 24


def tensor_names(path):
    data = path.read_bytes()
    header = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])
    return sorted(name for name in header if name != "__metadata__")


class Gpt2(CliTest):
    def setUp(self):
        super().setUp()
        count = 8 * SEQ  # ids below 50, as .npy
        text = f"{{'descr': '<i4', 'fortran_order': False, 'shape': (8, {SEQ}), }}"
        text += " " * (-(len(text) + 11) % 64) + "\n"
        ids = [(7 * i * i + 3 * i) % 50 for i in range(count)]
        (self.dir / "ids.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()
                                           + struct.pack(f"<{count}i", *ids))

    def test_infer(self):
        for dtype in ("f32", "int8"):
            self.icd("infer", MODEL, "-i", "ids.npy", "--dtype", dtype, "-o", f"{dtype}.safetensors")
        self.assertIn("hidden", tensor_names(self.dir / "f32.safetensors"))

    def test_every_axis_may_move(self):
        self.icd("axes", MODEL, "--check")

    def test_trace_solve_apply_verify(self):
        self.icd("trace", MODEL, "-i", "ids.npy", "--axes", "layer.1.ffn.inner,layer.0.kv,residual", "-o", "traces")
        self.assertTrue((self.dir / "traces/axes/layer.0.kv/trace.icdt").exists())
        for name, axis in (("inner", "layer.1.ffn.inner"), ("stream", "residual")):
            self.icd("graph", "-t", f"traces/axes/{axis}/trace.icdt", "-o", f"{name}.csr.npz")
            self.icd("solve", f"{name}.csr.npz", "-o", f"{name}.json")
        self.icd("apply", MODEL, "-a", "layer.1.ffn.inner=inner.json", "-a", "residual=stream.json", "-o", "moved")
        same = self.json("verify", "--models", MODEL, "moved", "-i", "ids.npy", "--seq", SEQ)
        self.assertTrue(same["equal"])
        self.assertLess(same["max_rel"], 1e-5)
        self.assertEqual(tensor_names(self.dir / "moved/model.safetensors"), tensor_names(MODEL / "model.safetensors"))

    def test_transform(self):
        self.icd("transform", MODEL, "--s", "2:4", "--q", "int8:smooth=auto", "-i", "ids.npy", "-o", "packed")
        self.icd("infer", "packed", "-i", "ids.npy", "-o", "out.safetensors")
        self.icd("transform", MODEL, "--q", "int8:smooth=auto", "-i", "ids.npy", "--format", "dense", "-o", "dense")
        self.assertEqual(tensor_names(self.dir / "dense/model.safetensors"), tensor_names(MODEL / "model.safetensors"))
        near = self.json("verify", "--models", MODEL, "dense", "-i", "ids.npy", "--seq", SEQ, code=1)
        self.assertGreater(near["cosine"], .99)

    def test_loop(self):
        keys = ("measure.burst_ms=1", "measure.ci_half_width=1", "measure.timeout_s=1", "pipeline.warmup_iter=1",
                "solver.effort=low", f"runner.seq={SEQ}", "model.input=ids.npy", "transform.sparsity.type=hds",
                "transform.quant.dtype=int8", f"cache.dir={self.dir}/cache")
        self.icd("run", "--model", MODEL, "--out", "run", "-q", *(a for key in keys for a in ("--override", key)))
        metrics = json.loads((self.dir / "run/metrics.json").read_text())
        self.assertEqual(metrics["state"][-1], "REPORTED")
        self.assertIn("iterative", [arm["name"] for arm in metrics["arms"]])


if __name__ == "__main__":
    unittest.main()
