#!/usr/bin/env python3
"""pipeline.iterations: transforms redone under the layout that was found, round after round."""
import array
import json
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from icd_cli import DATA, ICD, CliTest  # noqa: E402

QUICK = ["--override", "measure.burst_ms=1", "--override", "measure.ci_half_width=1",
         "--override", "measure.timeout_s=5", "--override", "pipeline.warmup_iter=1",
         "--override", "pipeline.repeats=30", "--override", "solver.effort=low",
         "--override", "runner.seq=16", "-q"]


def block(path, seed, width=64, inner=128, rows=64):
    """A feed-forward block whose channels differ in size, as trained ones do."""
    rng = random.Random(seed)

    def matrix(r, c, sizes):
        return [rng.gauss(0, 1) * sizes[k] / c ** .5 for _ in range(r) for k in range(c)]

    sizes = {n: [rng.lognormvariate(0, .8) for _ in range(n)] for n in (width, inner)}
    tensors = {"input": ([rows, width], matrix(rows, width, [1] * width)),
               "layer.0.ffn.b1": ([inner], [rng.gauss(0, .1) for _ in range(inner)]),
               "layer.0.ffn.b2": ([width], [0.0] * width),
               "layer.0.ffn.w1": ([inner, width], matrix(inner, width, sizes[width])),
               "layer.0.ffn.w2": ([width, inner], matrix(width, inner, sizes[inner]))}
    header, data = {}, b""
    for name, (shape, values) in tensors.items():
        raw = array.array("f", values).tobytes()
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def tensors(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    out = {}
    for name, one in json.loads(data[8:8 + length]).items():
        if name == "__metadata__" or one["dtype"] != "F32":
            continue
        begin, end = one["data_offsets"]
        out[name] = (one["shape"], array.array("f", data[8 + length + begin:8 + length + end]))
    return out


def sets(*pairs):
    return [word for pair in pairs for word in ("--override", f"transform.{pair}")]


NM = sets("sparsity.type=2:4", "quant.dtype=int8")
SCALES = sets("quant.dtype=int4", "quant.group=32")
VECTORS = sets("sparsity.type=hds", "sparsity.rate=.5", "sparsity.vector=16", "quant.dtype=int4", "quant.group=16")
TILES = sets("sparsity.type=block", "sparsity.rate=.75", "sparsity.vector=16", "sparsity.granule=4")


class RoundsTest(CliTest):
    def setUp(self):
        super().setUp()
        block(self.dir / "block.safetensors", 7)

    def args(self, out, *more, rounds=3):
        return ["run", "--model", "block.safetensors", "--out", out, *QUICK, "--override", f"cache.dir={self.dir}/cache",
                "--override", f"pipeline.iterations={rounds}", "--override", "kernel.vector=16", *more]

    def run_rounds(self, out, *more, **how):
        self.icd(*self.args(out, *more, **how))
        metrics = json.loads((self.dir / out / "metrics.json").read_text())
        for check in metrics["exactness"]:
            self.assertTrue(check["ok"], check)
        return metrics

    def assert_published(self, out, number):
        for name in ("perm_after.json", "transform_meta.json", "model/model.safetensors", "round.json"):
            self.assertEqual((self.dir / out / name).read_bytes(),
                             (self.dir / out / "rounds" / str(number) / name).read_bytes(), name)


class Loss(RoundsTest):
    """What a redone transform loses, without a clock."""

    def assert_falls(self, metrics, what):
        rounds = metrics["rounds"]
        self.assertGreaterEqual(rounds["kept"], 2, rounds)
        first, second = rounds["round"][:2]
        self.assertEqual((first["against"], second["against"]), ("pi0", "round 1"))
        self.assertEqual(first["loss_after"], second["loss_before"])
        self.assertLess(second["loss_after"], second["loss_before"])
        self.assertTrue(second["kept"])
        for group in second["groups"]:
            self.assertEqual(group["what"], what)
            self.assertEqual(group["redone"], group["loss_after"] < group["loss_before"] * (1 - 1e-6), group)
        self.assertTrue(rounds["stopped"])
        names = [check["what"] for check in metrics["exactness"]]
        self.assertTrue(any(name.startswith(f"round {rounds['kept'] - 1} against its own") for name in names), names)
        return rounds

    def test_n_m(self):
        block(self.dir / "block.safetensors", 7, width=32, inner=48)
        metrics = self.run_rounds("run", *NM, "--no-measure", rounds=2)
        rounds = self.assert_falls(metrics, "N:M groups")
        self.assertIn("linear against its own unpermuted self, int8", [c["what"] for c in metrics["exactness"]])
        self.assert_published("run", rounds["kept"])

    def test_scale_groups(self):
        rounds = self.assert_falls(self.run_rounds("run", *SCALES, "--no-measure"), "scale groups")
        self.assert_published("run", rounds["kept"])

    def test_what_would_lose_more_stays(self):
        """Survivors of a row brought together share a scale with more of their like: the old scales are better."""
        rounds = self.run_rounds("run", *VECTORS, "--no-measure")["rounds"]
        self.assertEqual((rounds["kept"], rounds["shown"]), (1, 1))
        self.assertIn("redoing lowered no loss", rounds["stopped"])
        for group in rounds["round"][1]["groups"]:
            self.assertFalse(group["redone"])
            self.assertGreater(group["loss_after"], group["loss_before"])
        self.assert_published("run", 1)

    def test_tiles(self):
        self.assert_falls(self.run_rounds("run", *TILES, "--no-measure"), "tiles")

    def test_nothing_depends_on_the_layout(self):
        metrics = self.run_rounds("run", *sets("sparsity.type=hds", "sparsity.rate=.5", "sparsity.vector=16"),
                                  "--no-measure")
        self.assertEqual(len(metrics["rounds"]["round"]), 1)
        self.assertIn("nothing to redo", metrics["rounds"]["stopped"])
        self.assertFalse((self.dir / "run/rounds/2").exists())

    def test_one_iteration_is_the_run_it_was(self):
        metrics = self.run_rounds("run", *TILES, "--no-measure", rounds=1)
        self.assertNotIn("rounds", metrics)
        self.assertFalse((self.dir / "run/rounds").exists())


class Exact(RoundsTest):
    """What is stored after a redone transform is what the metadata says, for random blocks."""

    def local(self, out, group, axis):
        """Where the columns of a linear's weights stand: its place from the frame of the stored model."""
        place = json.loads((self.dir / out / "perm_place.json").read_text())["axes"][group]["pi"]
        before = json.loads((self.dir / out / "perm_before.json").read_text())["axes"].get(axis)
        if not before:
            return place, list(range(len(place)))
        back = {old: new for new, old in enumerate(before["pi"])}
        return [back[old] for old in place], before["pi"]

    def weights(self, out):
        return (tensors(self.dir / out / "model/model.safetensors")["layer.0.ffn.w2"],
                tensors(self.dir / "block.safetensors")["layer.0.ffn.w2"])

    def test_n_m_keeps_the_weights_it_keeps(self):
        for seed in range(2):
            rng = random.Random(seed)
            block(self.dir / "block.safetensors", seed, width=4 * rng.randint(3, 5), inner=4 * rng.randint(4, 8))
            self.run_rounds(f"run{seed}", *sets("sparsity.type=2:4"), "--no-measure", rounds=2)
            order, pi0 = self.local(f"run{seed}", "layer.0.ffn.down", "layer.0.ffn.inner")
            (shape, now), (_, was) = self.weights(f"run{seed}")
            for r in range(shape[0]):
                row = now[r * shape[1]:(r + 1) * shape[1]]
                for g in range(0, shape[1], 4):
                    self.assertLessEqual(sum(row[c] != 0 for c in order[g:g + 4]), 2)
                for c, value in enumerate(row):
                    self.assertIn(value, (0, was[r * shape[1] + pi0[c]]))

    def test_scales_are_those_of_neighbours_in_the_place(self):
        for seed in range(3):
            block(self.dir / "block.safetensors", seed)
            self.run_rounds(f"run{seed}", *sets("quant.dtype=int4", "quant.group=16"), "--no-measure")
            order, _ = self.local(f"run{seed}", "layer.0.ffn.down", "layer.0.ffn.inner")
            (shape, now), _ = self.weights(f"run{seed}")
            for r in range(shape[0]):
                for g in range(0, shape[1], 16):
                    group = [now[r * shape[1] + c] for c in order[g:g + 16]]
                    largest = max(map(abs, group))
                    for value in group:
                        steps = 7 * value / largest if largest else 0
                        self.assertAlmostEqual(steps, round(steps), delta=1e-4)


class Measured(RoundsTest):
    def check_rounds(self, out, metrics):
        rounds = metrics["rounds"]
        for number, one in enumerate(rounds["round"], 1):
            self.assertEqual(one["round"], number)
            stored = json.loads((self.dir / out / "rounds" / str(number) / "round.json").read_text())
            self.assertEqual(stored, one)
            last = number == len(rounds["round"])
            self.assertEqual(bool(one["stop"]), last)
        kept = [one["round"] for one in rounds["round"] if one["kept"]]
        self.assertEqual(rounds["kept"], max(kept) if kept else 0)
        self.assertEqual(rounds["shown"], rounds["kept"] or 1)
        self.assert_published(out, rounds["shown"])
        return rounds

    def test_rounds_are_timed_against_each_other(self):
        metrics = self.run_rounds("run", *SCALES, rounds=2)
        rounds = self.check_rounds("run", metrics)
        if len(rounds["round"]) == 1:
            self.skipTest("round 1 ended the iteration")
        second = rounds["round"][1]
        self.assertEqual(sorted(second["gain"]), ["change", "high", "low", "verdict"])
        self.assertLessEqual(second["gain"]["low"], second["gain"]["high"])
        samples = (self.dir / "run/rounds/2/samples.csv").read_text()
        self.assertIn(",round 1,", samples)
        self.assertIn("model.round-1", (self.dir / "run/rounds/2/arms.json").read_text())
        names = [arm["name"] for arm in metrics["arms"]]
        self.assertEqual("round 1" in names, rounds["kept"] == 2)
        if rounds["kept"] == 1:  # this machine may not tell two copies apart within 1 %
            self.assertIn("ROLLBACK", metrics["state"])
            self.assertIn("not kept", rounds["stopped"])

    def test_a_bad_layout_has_no_second_round(self):
        metrics = self.run_rounds("run", *TILES, "--override", "layout.repermute=scatter")
        rounds = self.check_rounds("run", metrics)
        self.assertEqual((len(rounds["round"]), metrics["outcome"]), (1, "rolled_back"))
        self.assertEqual((self.dir / "run/perm_active.json").read_bytes(),
                         (self.dir / "run/perm_before.json").read_bytes())

    def test_report_and_resume_of_a_finished_run(self):
        self.run_rounds("run", *SCALES, rounds=2)
        before = (self.dir / "run/rounds/1/samples.csv").read_bytes()
        page = (self.dir / "run/report.html").read_text()
        self.assertTrue('id="rounds"' in page and "Why it ended" in page)
        self.icd("resume", "run", "-q")
        self.assertEqual((self.dir / "run/rounds/1/samples.csv").read_bytes(), before)
        self.icd("report", "run", "--format", "md,csv,html")
        self.assertIn("## Rounds", (self.dir / "run/report.md").read_text())
        lines = (self.dir / "run/rounds.csv").read_text().splitlines()
        self.assertEqual(lines[0].split(",")[:3], ["round", "against", "redone"])

    def test_ablation_rows_on_demand(self):
        rows = ["identity", "true-axes", "transform-aware", "block-tiles", "block-quality", "original"]
        metrics = self.run_rounds("run", *sets("sparsity.type=hds", "sparsity.rate=.5", "sparsity.vector=16",
                                               "quant.dtype=int8"),
                                  "--override", f"pipeline.ablation={','.join(rows)}", rounds=1)
        arms = {arm["name"]: arm for arm in metrics["arms"]}
        for name in ("linear", "iterative", "random", "frequency", "identity", "true axes", "transform-aware",
                     "block tiles", "block quality", "original"):
            self.assertIn(name, arms)
            self.assertEqual(arms[name]["lat_ms"]["provenance"], "MEASURED")
        self.assertLess(arms["transform-aware"]["live"], arms["identity"]["live"])
        self.assertLessEqual(arms["iterative"]["live"], arms["transform-aware"]["live"])
        checks = [check["what"] for check in metrics["exactness"]]
        self.assertIn("pi0 of transform-aware against the checkpoint, f32", checks)


class Decided(RoundsTest):
    """What the rounds come to when the clock says what this test makes it say."""
    AWAY = 1.4  # arms that decide nothing

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.base = tempfile.TemporaryDirectory()
        test = cls("run_once")
        test.setUp()
        test.run_once(pathlib.Path(cls.base.name))
        test.tearDown()

    @classmethod
    def tearDownClass(cls):
        cls.base.cleanup()

    def run_once(self, into):
        """Two rounds, the second in any case: a first measurement that is a clear gain."""
        self.icd(*self.args("run", *TILES, "--override", "measure.meters=rapl", rounds=2))
        if not (self.dir / "run/rounds/2").exists():
            self.say("run", 1, {"iterative": .8})
            self.stage("run", 8)
            self.icd("resume", "run", "-q")
        for name in ("run", "block.safetensors"):
            source = self.dir / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, into / name)

    def setUp(self):
        super().setUp()
        if any(pathlib.Path(self.base.name).iterdir()):
            shutil.copytree(pathlib.Path(self.base.name) / "run", self.dir / "run")

    def stage(self, out, stage):
        path = self.dir / out / "state.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "stage": stage}))

    def say(self, out, number, times):
        """Rewrites the samples of a round: every arm takes its time, give or take 1 in 1000."""
        path = self.dir / out / "rounds" / str(number) / "samples.csv"
        lines = path.read_text().splitlines()
        for k, line in enumerate(lines):
            if not line[0].isdigit():
                continue
            block, arm, position, start, _, *rest = line.split(",")
            time_ms = times.get(arm, 1 if arm.startswith("linear") else self.AWAY)
            noise = random.Random(f"{arm}, block {block}").uniform(-.001, .001)
            lines[k] = ",".join([block, arm, position, start, f"{time_ms * (1 + noise):.6f}", *rest])
        path.unlink()
        path.write_text("\n".join(lines) + "\n")

    def come_to(self, first, second, more=()):
        self.say("run", 1, first)
        self.say("run", 2, second)
        self.stage("run", 13)
        self.icd("resume", "run", "-q", *more)
        metrics = json.loads((self.dir / "run/metrics.json").read_text())
        rounds = metrics["rounds"]
        self.assert_published("run", rounds["shown"])
        kept = {0: "perm_before.json", 1: "rounds/1/perm_after.json", 2: "rounds/2/perm_after.json"}[rounds["kept"]]
        self.assertEqual((self.dir / "run/perm_active.json").read_bytes(), (self.dir / "run" / kept).read_bytes())
        return metrics, rounds

    def test_faster_is_kept(self):
        metrics, rounds = self.come_to({"iterative": .8}, {"iterative": .7, "round 1": .8})
        self.assertEqual((rounds["kept"], metrics["outcome"]), (2, "kept"))
        self.assertIn("latency is better than in round 1", rounds["round"][1]["why"])
        self.assertAlmostEqual(rounds["round"][1]["gain"]["change"], .7 / .8 - 1, delta=.002)
        self.assertIn("pipeline.iterations, 2, is reached", rounds["stopped"])

    def test_as_fast_with_less_loss_is_kept_and_ends(self):
        metrics, rounds = self.come_to({"iterative": .8}, {"iterative": .8, "round 1": .8})
        self.assertEqual((rounds["kept"], metrics["outcome"]), (2, "kept"))
        self.assertIn("no metric is worse", rounds["round"][1]["why"])
        self.assertIn("includes zero", rounds["stopped"])

    def test_slower_returns_the_whole_model(self):
        metrics, rounds = self.come_to({"iterative": .8}, {"iterative": .85, "round 1": .8})
        self.assertEqual((rounds["kept"], metrics["outcome"]), (1, "kept"))
        self.assertIn("latency is worse than in round 1", rounds["stopped"])
        self.assertIn("ROLLBACK", metrics["state"])
        self.assertNotIn("round 1", [arm["name"] for arm in metrics["arms"]])
        self.assertAlmostEqual(metrics["comparisons"][0]["delta"], -.2, delta=.002)

    def test_a_second_pi1_that_is_no_better_than_pi0(self):
        metrics, rounds = self.come_to({"iterative": .8}, {"iterative": 1, "round 1": 1.1})
        self.assertEqual((rounds["kept"], metrics["outcome"]), (1, "kept"))
        self.assertIn("pi1 is not better than pi0", rounds["stopped"])

    def test_a_failed_control_keeps_what_was(self):
        _, rounds = self.come_to({"iterative": .8}, {"iterative": .7, "round 1": .8, "linear A/A": 1.05})
        self.assertEqual(rounds["kept"], 1)
        self.assertIn("A/A", rounds["stopped"])

    def test_a_first_gain_that_includes_zero_is_the_end(self):
        metrics, rounds = self.come_to({"iterative": 1}, {"iterative": .7, "round 1": .8})
        self.assertEqual((rounds["kept"], len(rounds["round"]), metrics["outcome"]), (0, 1, "rolled_back"))
        self.assertIn("includes zero", rounds["stopped"])


class Resume(RoundsTest):
    def same(self, out, other):
        for name in ("perm_after.json", "perm_place.json", "model/model.safetensors", "rounds/2/round.json",
                     "rounds/1/perm_after.json", "rounds/1/model/model.safetensors"):
            self.assertEqual((self.dir / out / name).read_bytes(), (self.dir / other / name).read_bytes(), name)

    def test_state_of_every_step_of_the_second_round(self):
        self.run_rounds("ref", *TILES, "--no-measure")
        self.run_rounds("run", *TILES, "--no-measure")
        path = self.dir / "run/state.json"
        state = json.loads(path.read_text())
        self.assertGreater(state["stage"], 8)
        for stage in range(3, 11):
            path.write_text(json.dumps({**state, "stage": stage}))
            for name in ("perm_after.json", "round.json", "rounds/2/round.json"):
                (self.dir / "run" / name).unlink()
            if stage < 10:
                (self.dir / "run/rounds/2/perm_after.json").unlink()
            self.icd("resume", "run", "--no-measure", "-q")
            self.same("run", "ref")

    def test_killed_and_resumed(self):
        self.run_rounds("ref", *TILES, "--no-measure")
        for delay in (.05, .2, .4, .7):
            out = f"run{delay}"
            child = subprocess.Popen([ICD, *map(str, self.args(out, *TILES, "--no-measure"))], cwd=self.dir,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
            child.wait()
            if not (self.dir / out / "config.lock.json").exists():
                continue
            self.icd("resume", out, "--no-measure", "-q")
            self.same(out, "ref")
            self.assertEqual([p for p in (self.dir / out).rglob("*.tmp.*")], [])


class Model(CliTest):
    def test_tiny_bert_two_rounds(self):
        self.icd("run", "--model", DATA / "tiny-bert", "--out", "run", *QUICK, "--override",
                 f"model.input={DATA}/text/austen.txt", "--override", "model.calibration_tokens=512", "--override",
                 f"cache.dir={self.dir}/cache", "--override", "pipeline.iterations=2", *SCALES, "--no-measure")
        metrics = json.loads((self.dir / "run/metrics.json").read_text())
        self.assertEqual(metrics["rounds"]["kept"], 2)
        one, two = metrics["rounds"]["round"]
        self.assertLess(two["loss_after"], one["loss_after"])
        self.assertEqual(two["redone"], 16)
        for check in metrics["exactness"]:
            self.assertTrue(check["ok"], check)


if __name__ == "__main__":
    unittest.main(verbosity=1)
