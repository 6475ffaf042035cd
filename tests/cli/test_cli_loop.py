"""The loop as a user runs it: on the trained block that ships, and on MiniLM where it was fetched."""
import csv
import json
import pathlib
import random
import signal
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from icd_cli import DATA, ICD, ROOT, CliTest  # noqa: E402

MINILM = ROOT / ".cache/models/all-MiniLM-L6-v2"
BLOCK = DATA / "use-lite-ffn.safetensors"
TEXT = DATA / "text/austen.txt"
QUICK = ["--override", "measure.burst_ms=1", "--override", "measure.ci_half_width=1",
         "--override", "measure.timeout_s=20", "--override", "pipeline.warmup_iter=1",
         "--override", "solver.effort=low", "--override", "runner.seq=64", "-q"]
SPARSE = ["--override", "transform.sparsity.type=hds", "--override", "transform.quant.dtype=int8"]


class LoopTest(CliTest):
    """A run directory of the shipped block."""

    def setUp(self):
        super().setUp()
        self.cache = ["--override", f"cache.dir={self.dir}/cache"]

    def args(self, out, *more):
        return ["run", "--model", BLOCK, "--out", out, *QUICK, *SPARSE, *self.cache, *more]

    def metrics(self, out):
        return json.loads((self.dir / out / "metrics.json").read_text())


class Loop(LoopTest):
    def test_artifacts_states_and_arms(self):
        summary = self.json(*self.args("run"))
        out = self.dir / "run"
        for name in ("config.lock.json", "run.log", "perm_before.json", "perm_after.json", "perm_active.json",
                     "transform_meta.json", "model/model.safetensors", "samples.csv", "metrics.json",
                     "report.html", "report.csv", "axes/layer.1.ffn.inner/W.csr.npz",
                     "axes/layer.1.ffn.inner/W.meta.json", "axes/layer.1.ffn.inner/trace.icdt"):
            self.assertTrue((out / name).exists(), name)
        m = self.metrics("run")
        self.assertIn(summary["outcome"], ("kept", "rolled_back"))
        self.assertEqual(m["state"][:5], ["READY", "W_BUILT", "PERMUTED", "TRANSFORMED", "REPERMUTED"])
        self.assertEqual(m["state"][-1], "REPORTED")
        names = [arm["name"] for arm in m["arms"]]
        for arm in ("dense", "linear", "iterative", "gather", "random", "frequency", "linear A/A"):
            self.assertIn(arm, names)
        for arm in m["arms"]:
            self.assertGreaterEqual(arm["repeats"], 30)
            self.assertEqual(arm["lat_ms"]["provenance"], "MEASURED")
            for absent in ("l2_hit_pct", "ept_j_per_tok"):
                self.assertIn(arm[absent]["provenance"], ("ABSENT", "SIMULATED", "MEASURED"))
                self.assertEqual(arm[absent]["value"] is None, arm[absent]["provenance"] == "ABSENT")
                self.assertTrue(arm[absent]["value"] is not None or arm[absent]["reason"])
        for check in m["exactness"]:
            self.assertTrue(check["ok"], check)
        live = {row["linear"]: row["live"] for row in m["linears"]}
        for row in live.values():
            self.assertLess(row["iterative"], row["linear"])
        with open(out / "samples.csv", newline="") as file:
            self.assertEqual(next(csv.reader(file)), ["block", "arm", "position", "t_start_s", "lat_ms", "burst", "core_mhz"])
        events = [json.loads(line) for line in (out / "run.log").read_text().splitlines()]
        self.assertEqual([e["stage"] for e in events][:4], ["trace", "graph", "permute", "transform"])

    def test_active_is_after_when_kept_and_before_when_not(self):
        outcome = self.json(*self.args("run"))["outcome"]
        active = (self.dir / "run/perm_active.json").read_bytes()
        other = "perm_after.json" if outcome == "kept" else "perm_before.json"
        self.assertEqual(active, (self.dir / "run" / other).read_bytes())

    def test_second_run_gives_the_same_bytes(self):
        self.icd(*self.args("a", "--no-measure"))
        self.icd(*self.args("b", "--no-measure", "--override", "cache.enabled=false"))
        for name in ("perm_before.json", "perm_after.json", "axes/layer.1.ffn.inner/W.csr.npz",
                     "axes/layer.1.ffn.down/W_after.csr.npz", "model/model.safetensors"):
            self.assertEqual((self.dir / "a" / name).read_bytes(), (self.dir / "b" / name).read_bytes(), name)

    def test_bad_layout_is_rolled_back_with_its_cause(self):
        summary = self.json(*self.args("run", "--override", "layout.repermute=scatter"))
        self.assertEqual(summary["outcome"], "rolled_back")
        self.assertIn("iterative", summary["cause"] + summary["verdict"][0])
        out = self.dir / "run"
        self.assertEqual((out / "perm_active.json").read_bytes(), (out / "perm_before.json").read_bytes())
        self.assertIn("ROLLBACK", self.metrics("run")["state"])
        self.assertIn("rolled back", (out / "report.html").read_text())
        self.assertIn('"rollback"', (out / "run.log").read_text())

    def test_orders_are_in_the_frame_of_the_checkpoint(self):
        self.icd(*self.args("run", "--no-measure"))
        after = json.loads((self.dir / "run/perm_after.json").read_text())
        self.assertTrue(after["tag"])
        for entry in after["axes"].values():
            self.assertEqual(entry["frame"], "checkpoint")
            self.assertEqual(sorted(entry["pi"]), list(range(entry["D"])))
        self.assertFalse(after["axes"]["layer.1.ffn.inner"]["local"])
        self.assertTrue(after["axes"]["layer.1.ffn.down"]["local"])

    def test_reuse_perm_dry_run_no_measure(self):
        self.icd(*self.args("a", "--no-measure"))
        self.assertFalse((self.dir / "a/samples.csv").exists())
        self.assertEqual(self.metrics("a")["outcome"], "not_measured")
        self.icd(*self.args("b", "--no-measure", "--reuse-perm", "a/perm_after.json"))
        self.assertEqual((self.dir / "a/perm_after.json").read_bytes(), (self.dir / "b/perm_after.json").read_bytes())
        dry = self.json(*self.args("c", "--dry-run"))
        self.assertEqual(dry["outcome"], "dry_run")
        self.assertFalse((self.dir / "c/model").exists())

    def test_linear_mode_and_report_again(self):
        self.icd(*self.args("run", "--override", "pipeline.mode=linear"))
        self.assertNotIn("iterative", [arm["name"] for arm in self.metrics("run")["arms"]])
        before = (self.dir / "run/report.html").read_bytes()
        (self.dir / "run/report.html").unlink()
        self.icd("report", "run")
        self.assertEqual(before, (self.dir / "run/report.html").read_bytes())

    def test_gate(self):
        done = subprocess.run([ICD, *map(str, self.args("run", "--gate", "--override", "gates.latency_pct=-99"))],
                              cwd=self.dir, capture_output=True, text=True)
        self.assertEqual(done.returncode, 7, done.stderr)
        self.assertTrue((self.dir / "run/report.html").exists())


class Failure(LoopTest):
    def test_killed_in_any_stage_then_resumed(self):
        reference = None
        self.icd(*self.args("ref", "--no-measure"))
        reference = (self.dir / "ref/perm_after.json").read_bytes()
        for delay in (0.05, 0.15, 0.3, 0.6, 1.2):
            out = f"run{delay}"
            child = subprocess.Popen([ICD, *map(str, self.args(out, "--override", "cache.enabled=false"))],
                                     cwd=self.dir, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
            child.wait()
            time.sleep(0.1)
            if not (self.dir / out / "config.lock.json").exists():
                continue
            for path in (self.dir / out).rglob("*.json"):
                json.loads(path.read_text())
            self.icd("resume", out, "--no-measure", "-q")
            self.assertEqual((self.dir / out / "perm_after.json").read_bytes(), reference)
            self.assertEqual([p for p in (self.dir / out).rglob("*.tmp.*")], [])

    def test_resume_reuses_what_was_done(self):
        self.icd(*self.args("run", "--no-measure"))
        self.icd("resume", "run", "-q")
        stages = {row["stage"]: row["cached"] for row in self.metrics("run")["stages"]}
        self.assertTrue(stages["trace"] and stages["permute"] and stages["repermute"])
        self.assertFalse(stages["measure"])
        self.assertIn(self.metrics("run")["outcome"], ("kept", "rolled_back"))

    def test_busy_directory_is_refused_naming_the_holder(self):
        child = subprocess.Popen([ICD, *map(str, self.args("run", "--override", "measure.min_blocks=100000"))],
                                 cwd=self.dir, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (self.dir / "run/config.lock.json").exists():
            time.sleep(0.02)
        self.fails(3, *self.args("run"), say=[str(child.pid)])
        child.send_signal(signal.SIGTERM)
        child.wait()

    def test_worker_that_dies_is_a_rollback(self):
        self.icd(*self.args("run", "--no-measure"))
        model = self.dir / "run/model/model.safetensors"
        model.write_bytes(model.read_bytes()[:1000])
        self.fails(6, "measure", "run", say=["model.safetensors"])

    def test_what_the_machine_lacks_is_an_exit_code_with_a_report(self):
        self.fails(3, "run", "--model", ROOT / "data/tiny-bert", "--input", TEXT, "--out", "run", *QUICK, *SPARSE, *self.cache,
                   "--override", "runner.device=cuda", "--override", "runner.driver=libnothing.so",
                   say=["E_RES_103", "libnothing.so"])
        self.assertTrue((self.dir / "run/report.html").exists())

    def test_wrong_settings(self):
        self.fails(2, "run", "--out", "x", say=["model.path"])
        self.fails(6, "run", "--model", "nothing", "--out", "x", say=["nothing"])
        self.fails(2, *self.args("x", "--override", "transform.sparsity.rate=1.5"), say=["rate"])
        self.fails(2, *self.args("x", "--override", "transform.sparsity.type=2:8"), say=["hds"])
        self.fails(6, *self.args("/proc/x"), say=["/proc"])

    def test_lying_safetensors(self):
        good = BLOCK.read_bytes()
        length = struct.unpack("<Q", good[:8])[0]
        header = json.loads(good[8:8 + length])

        def write(change):
            h = json.loads(json.dumps(header))
            change(h)
            text = json.dumps(h).encode()
            (self.dir / "bad.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + good[8 + length:])

        def wrong_shape(h):
            h["layer.1.ffn.w1"]["shape"] = h["layer.1.ffn.w1"]["shape"][::-1]

        def overlap(h):
            h["layer.1.ffn.b1"]["data_offsets"] = [0, h["layer.1.ffn.b1"]["data_offsets"][1] -
                                                   h["layer.1.ffn.b1"]["data_offsets"][0]]

        def outside(h):
            h["layer.1.ffn.b2"]["data_offsets"][1] += 1 << 40

        def missing(h):
            del h["layer.1.ffn.b2"]

        for change in (wrong_shape, overlap, outside, missing):
            write(change)
            self.fails(6, "axes", "bad.safetensors", say=["bad.safetensors"])
        (self.dir / "bad.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + good[8:])
        self.fails(6, "axes", "bad.safetensors", say=["bad.safetensors"])
        (self.dir / "bad.safetensors").write_bytes(good[:5])
        self.fails(6, "axes", "bad.safetensors", say=["bad.safetensors"])


@unittest.skipUnless((MINILM / "model.safetensors").exists(), "MiniLM was not fetched")
class Transformer(CliTest):
    """MiniLM: permuting any legal axis leaves the outputs as they are."""

    def perm(self, name, n):
        pi = list(range(n))
        random.Random(n).shuffle(pi)
        (self.dir / name).write_text(json.dumps({"D": n, "pi": pi}))
        return name

    def test_apply_and_verify(self):
        axes = {row["axis"]: row["n"] for row in self.json("axes", MINILM)["axes"]}
        args = []
        for axis in ("residual", "layer.0.ffn.inner", "layer.3.heads", "layer.5.head.7.qk", "layer.2.head.1.v"):
            args += ["--axis", f"{axis}={self.perm(axis + '.json', axes[axis])}"]
        self.icd("apply", MINILM, *args, "-o", "moved")
        self.assertNotEqual((self.dir / "moved/model.safetensors").read_bytes(),
                            (MINILM / "model.safetensors").read_bytes())
        result = self.json("verify", "--models", MINILM, "moved", "--input", TEXT, "--override",
                           "model.calibration_tokens=512")
        self.assertTrue(result["equal"])
        self.assertLessEqual(result["max_rel"], 1e-5)

    def test_order_of_a_wrong_size_or_axis(self):
        self.perm("p.json", 7)
        self.fails(2, "apply", MINILM, "--axis", "residual=p.json", "-o", "x", say=["7", "384"])
        self.fails(2, "apply", MINILM, "--axis", "nonsense=p.json", "-o", "x", say=["nonsense"])
        self.assertFalse((self.dir / "x").exists())

    def test_infer_writes_what_it_computed(self):
        self.icd("infer", MINILM, "--input", TEXT, "-o", "out.safetensors", "--dtype", "f32", "--override",
                 "model.calibration_tokens=256")
        data = (self.dir / "out.safetensors").read_bytes()
        header = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])
        self.assertEqual(header["hidden"]["shape"][1:], [128, 384])
        self.assertIn("ids", header)
        self.assertIn("pooled", header)

    def test_missing_vocabulary(self):
        self.icd("apply", MINILM, "--axis", f"residual={self.perm('r.json', 384)}", "-o", "m")
        (self.dir / "m/vocab.txt").unlink()
        self.fails(3, "infer", "m", "--input", TEXT, "-o", "o.safetensors", say=["WordPiece", "vocab.txt"])
        (self.dir / "m/tokenizer.json").unlink()
        self.fails(6, "infer", "m", "--input", TEXT, "-o", "o.safetensors", say=["vocab.txt"])

    def test_trace(self):
        self.icd("trace", MINILM, "--input", TEXT, "-o", "t", "--tokens", 1024)
        got = self.json("graph", "-t", "t/axes/layer.0.ffn.inner/trace.icdt", "-o", "W.npz")
        self.assertEqual(got["n"], 1536)
        self.assertEqual(got["events"], 1024)


if __name__ == "__main__":
    unittest.main(verbosity=1)
