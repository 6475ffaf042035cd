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


class Spec(CliTest):
    """What a SPEC may say, and what a broken model does to it; on models that ship."""

    MODEL = ROOT / "data/tiny-bert"

    def spec_fails(self, spec, *say):
        self.fails(2, "transform", self.MODEL, "--s", spec, "-o", "out", say=list(say))
        self.assertFalse((self.dir / "out").exists())

    def test_contradictions(self):
        self.spec_fails("hds:rate=.5,rate=.6", "rate", "twice")
        self.spec_fails("hds:V=16,vector=32", "vector", "twice")
        self.spec_fails("2:4:rate=.75", "0.75", "0.5")
        self.spec_fails("4:8:rate=.6", "0.6", "0.5")
        run = ["--override", f"model.path={self.MODEL}", "--override", "transform.sparsity.type=1:4", "--override",
               "transform.sparsity.rate=.5"]
        self.fails(2, "run", *run, "--out", "run", say=["transform.sparsity.rate", "0.75", "1:4"])

    def test_q_is_quiet(self):
        done = self.icd("transform", self.MODEL, "-q", "--q", "int8", "-o", "out")
        self.assertNotIn("saliency", done.stderr)

    def test_a_weight_that_is_no_number_costs_its_linear(self):
        data = bytearray((self.MODEL / "model.safetensors").read_bytes())
        size = struct.unpack("<Q", data[:8])[0]
        about = json.loads(data[8:8 + size])["bert.encoder.layer.3.output.dense.weight"]
        at = 8 + size + about["data_offsets"][0]
        data[at:at + 2] = b"\x00\x7e"  # NaN in F16
        self.assertEqual(about["dtype"], "F16")
        broken = self.dir / "broken"
        broken.mkdir()
        for file in self.MODEL.iterdir():
            (broken / file.name).write_bytes(bytes(data) if file.name == "model.safetensors" else file.read_bytes())
        for spec in "hds:rate=.5", "hds:rate=.5,scope=global", "2:4", "block:rate=.5", "channel:rate=.5":
            done = self.icd("transform", broken, "--s", spec, "--q", "int8", "-o", "out", "--json", "--override",
                            "solver.effort=low")
            result = json.loads(done.stdout)
            self.assertEqual((result["sparse"], result["quantized"], result["skipped"]), (23, 23, 1), spec)
            self.assertIn("NaN", done.stderr)


class Activations(CliTest):
    """Outliers, static scales, smoothing: on a model that ships, so that nothing is skipped."""

    MODEL = ROOT / "data/tiny-decoder"

    def transform(self, spec, *args):
        done = self.icd("transform", self.MODEL, "--q", spec, "--input", TEXT, "--tokens", "512", *args, "-o", "out",
                        "--json")
        meta = json.loads((self.dir / "out/transform_meta.json").read_text())["linears"]
        return json.loads(done.stdout), meta, header(self.dir / "out/model.safetensors")

    def test_outliers_and_static_scales_are_stored(self):
        result, meta, stored = self.transform("int8:outliers=.02,activation=static")
        about = json.loads(stored["__metadata__"]["icd.packed"])
        self.assertEqual(len(about), result["linears"])
        for name, one in about.items():
            wide = stored[name + ".icd.outliers"]
            self.assertEqual((wide["dtype"], wide["shape"]), ("BF16", [one["rows"], one["outliers"]]))
            self.assertEqual(stored[name + ".icd.outlier_columns"]["shape"], [one["outliers"]])
            self.assertEqual(stored[name + ".icd.values"]["shape"], [one["rows"] * (one["cols"] - one["outliers"])])
            self.assertGreater(one["input_scale"], 0)
            self.assertIn(name + ".icd.order", stored)
        for one in meta:
            self.assertGreater(one["quant"]["outliers"], 0)
            self.assertGreater(one["quant"]["loss"]["cosine"], .99)
            self.assertGreater(one["quant"]["plain_loss"]["cosine"], .99)

    def test_a_packed_model_runs_and_a_dense_export_is_a_checkpoint(self):
        before, _, _ = self.transform("int8:outliers=.02")
        ids = ["--input", TEXT, "--override", "model.calibration_tokens=128"]
        run = lambda name: (self.icd("infer", "out", *ids, "-o", name), (self.dir / name).read_bytes())[1]
        self.assertEqual(run("a.safetensors"), run("b.safetensors"))
        _, _, stored = self.transform("int8:outliers=.02", "--format", "dense")
        self.assertEqual(set(stored) - {"__metadata__"},
                         set(header(self.MODEL / "model.safetensors")) - {"__metadata__"})
        self.assertLess(before["bytes_after"], before["bytes_before"] / 3.5)

    def test_smoothing_says_what_it_bought(self):
        _, meta, _ = self.transform("int8:smooth=auto")
        kept = [one["smooth"] for one in meta if one["smooth"]["applied"]]
        left = [one["smooth"] for one in meta if not one["smooth"]["applied"]]
        self.assertTrue(kept and left)
        self.assertTrue((self.dir / "out/config.json").exists())
        for one in kept:
            self.assertGreater(one["after"]["cosine"], one["before"]["cosine"])
            self.assertIn("weight", one["into"])
        for one in left:
            self.assertIn("loss", one["reason"])

    def test_excluded_linears_stay(self):
        result, meta, stored = self.transform("int8:exclude=layer.*.mlp.*")
        about = json.loads(stored["__metadata__"]["icd.packed"])
        self.assertEqual(result["skipped"], sum("mlp" in one["linear"] for one in meta))
        self.assertFalse(any("mlp" in name for name in about))
        self.assertTrue(about)

    def test_without_input_a_warning(self):
        done = self.icd("transform", self.MODEL, "--q", "int8:outliers=.01,smooth=auto", "-o", "out", "--json")
        self.assertIn("outliers", done.stderr)
        self.assertIn("smooth", done.stderr)
        self.assertEqual(json.loads(done.stdout)["quantized"], json.loads(done.stdout)["linears"])


if __name__ == "__main__":
    unittest.main()
