#!/usr/bin/env python3
"""icd transform: what is stored runs as it would have run, and a dense export is an ordinary checkpoint."""
import json
import pathlib
import struct
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from icd_cli import ROOT, CliTest

MINILM = ROOT / ".cache/models/all-MiniLM-L6-v2"
TEXT = ROOT / "data/text/austen.txt"


def header(path):
    data = path.read_bytes()
    return json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])


@unittest.skipUnless(MINILM.exists(), "skipped: the model is not fetched (tools/fetch_model.sh)")
class Transform(CliTest):
    def transform(self, *args):
        return json.loads(self.icd("transform", MINILM, *args, "--json").stdout)

    def verify(self, a, b):
        done = self.icd("verify", "--models", a, b, "--input", TEXT, "--json", "--override",
                        "model.calibration_tokens=256")
        return json.loads(done.stdout)

    def test_packed_and_dense_are_one_model(self):
        spec = ["--s", "hds:V=64,rate=.5", "--q", "int4:group=32", "--input", TEXT, "--tokens", "512"]
        packed = self.transform(*spec, "-o", "packed")
        dense = self.transform(*spec, "-o", "dense", "--format", "dense")
        self.assertEqual({k: v for k, v in packed.items() if k != "out"}, {k: v for k, v in dense.items() if k != "out"})
        self.assertEqual((packed["sparse"], packed["quantized"], packed["skipped"]), (36, 36, 0))
        self.assertAlmostEqual(packed["zeros"] / packed["weights"], .5, delta=.01)
        self.assertLess(packed["bytes_after"], packed["bytes_before"] / 8)
        self.assertEqual(self.verify("packed", "dense")["max_rel"], 0)
        names = set(header(self.dir / "dense/model.safetensors")) - {"__metadata__"}
        self.assertEqual(names, set(header(MINILM / "model.safetensors")) - {"__metadata__"})
        stored = header(self.dir / "packed/model.safetensors")
        about = json.loads(stored["__metadata__"]["icd.packed"])
        self.assertEqual(len(about), 36)
        for name, one in about.items():
            self.assertEqual((one["dtype"], one["vector"], one["group"]), ("int4", 64, 32))
            self.assertEqual(stored[name + ".icd.values"]["dtype"], "U8")
            self.assertNotIn(name, stored)
        meta = json.loads((self.dir / "packed/transform_meta.json").read_text())
        self.assertEqual(len(meta["linears"]), 36)
        self.assertGreater(meta["linears"][0]["sparsity"]["loss"]["retained"], .5)

    def test_int8_runs_in_int8(self):
        self.transform("--q", "int8", "-o", "packed", "--input", TEXT, "--tokens", "512")
        self.icd("infer", "packed", "--input", TEXT, "-o", "a.safetensors", "--override", "model.calibration_tokens=256")
        self.icd("infer", MINILM, "--input", TEXT, "-o", "b.safetensors", "--dtype", "int8", "--override",
                 "model.calibration_tokens=256")
        self.assertEqual((self.dir / "a.safetensors").read_bytes(), (self.dir / "b.safetensors").read_bytes())

    def test_2_4_without_input(self):
        done = self.icd("transform", MINILM, "--s", "2:4:exclude=layer.[1-5].*", "-o", "out", "--json", "--override",
                        "solver.effort=low")
        result = json.loads(done.stdout)
        self.assertIn("magnitude alone", done.stderr)
        self.assertEqual((result["sparse"], result["zeros"] * 12), (6, result["weights"]))
        loss = json.loads((self.dir / "out/transform_meta.json").read_text())["linears"][0]["sparsity"]["loss"]
        self.assertGreater(loss["retained"], loss["retained_in_place"])

    def test_annealed(self):
        spec = "hds:V=64,rate=.5,exclude=layer.[1-5].*"
        more = ["--input", TEXT, "--tokens", "1024"]
        once = self.transform("--s", spec, *more, "-o", "once")
        steps = self.transform("--s", spec + ",anneal=3", *more, "-o", "steps")
        self.assertEqual((once["sparse"], once["zeros"]), (steps["sparse"], steps["zeros"]))
        self.assertNotEqual((self.dir / "once/model.safetensors").read_bytes(),
                            (self.dir / "steps/model.safetensors").read_bytes())

    def test_mistakes(self):
        self.fails(2, "transform", MINILM, "-o", "out", say=["--s", "sparsity"])
        self.fails(2, "transform", MINILM, "--q", "int9", "-o", "out", say=["int9", "int8"])
        self.fails(2, "transform", MINILM, "--s", "hds:ratio=.5", "-o", "out", say=["ratio", "rate"])
        self.fails(2, "transform", MINILM, "--s", "hds:rate=2", "-o", "out", say=["rate"])
        self.fails(2, "transform", MINILM, "--q", "int8", say=["-o"])
        self.fails(6, "transform", "nothing", "--q", "int8", "-o", "out", say=["nothing"])
        self.assertFalse((self.dir / "out").exists())


if __name__ == "__main__":
    unittest.main()
