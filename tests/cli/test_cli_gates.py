"""Verdicts, gates and rollback of a run whose samples and readings are written by hand, so that nothing
depends on how quiet this machine is."""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from icd_cli import DATA, ICD, CliTest  # noqa: E402

QUICK = ["--override", "measure.burst_ms=0", "--override", "measure.ci_half_width=1",
         "--override", "pipeline.warmup_iter=1", "--override", "solver.effort=low", "--override", "runner.seq=16",
         "--override", "transform.sparsity.type=hds", "--override", "transform.quant.dtype=int8",
         "--override", "cache.enabled=false", "-q"]
ARMS = ["linear", "iterative", "gather", "frequency", "dense", "random", "linear A/A", "dense pi1", "dense random"]


class GatesTest(CliTest):
    """A measured run directory whose numbers are then replaced."""

    @classmethod
    def setUpClass(cls):
        cls._kept = tempfile.TemporaryDirectory()
        subprocess.run([ICD, "run", "--model", str(DATA / "use-lite-ffn.safetensors"), "--out", "run", *QUICK],
                       cwd=cls._kept.name, check=True, capture_output=True, timeout=280)

    @classmethod
    def tearDownClass(cls):
        cls._kept.cleanup()

    def start(self, **gates):
        """A copy of the run, with other gates in its configuration."""
        shutil.copytree(pathlib.Path(self._kept.name) / "run", self.dir / "run")
        lock = self.dir / "run/config.lock.json"
        config = json.loads(lock.read_text())
        config["gates"].update(gates)
        lock.write_text(json.dumps(config))
        return self.icd("resume", "run", "-q", "--in-process") if gates else None

    def write_samples(self, **factor):
        """40 blocks around 1 ms; `iterative=.8` is 20 % faster, with 0.1 % of noise."""
        rng = random.Random(7)
        lines = ["block,arm,position,t_start_s,lat_ms,burst"]
        for block in range(40):
            order = ARMS[:]
            rng.shuffle(order)
            for place, arm in enumerate(order):
                ms = factor.get(arm.replace(" ", "_").replace("/", ""), 1) * rng.lognormvariate(0, .001)
                lines.append(f"{block},{arm},{place},{block + place / 10:.3f},{ms:.9f},1")
        (self.dir / "run/samples.csv").write_text("\n".join(lines) + "\n")

    def write_meters(self, **values):
        """`l2_hit_pct=(70, 60)`: linear (and its copy), iterative, each +-.1; MEASURED unless a third item says otherwise."""
        arms = {"linear": {}, "iterative": {}, "linear A/A": {}}
        for key, (linear, iterative, *provenance) in values.items():
            for arm, value in (("linear", linear), ("iterative", iterative), ("linear A/A", linear)):
                arms[arm][key] = {"value": value, "low": value * .998, "high": value * 1.002, "count": 20,
                                  "provenance": provenance[0] if provenance else "MEASURED", "reason": None}
        (self.dir / "run/meters.json").write_text(json.dumps({"arms": arms}))

    def again(self, *more, code=0):
        """What the directory comes to now."""
        done = self.icd("resume", "run", "-q", *more, code=code)
        return json.loads((self.dir / "run/metrics.json").read_text()), done

    def active_is(self, name):
        self.assertEqual((self.dir / "run/perm_active.json").read_bytes(), (self.dir / "run" / name).read_bytes())

    def gates(self, metrics):
        return {row["name"]: row["result"] for row in metrics["gates"]}


class Verdicts(GatesTest):
    def test_a_meter_without_its_control_decides_nothing(self):
        self.start()
        self.write_samples(iterative=1)
        self.write_meters(ept_j_per_tok=(2, 1))
        metrics, _ = self.again()
        self.assertEqual((metrics["outcome"], self.gates(metrics)["ept"]), ("kept", "met"))
        meters = json.loads((self.dir / "run/meters.json").read_text())
        del meters["arms"]["linear A/A"]
        (self.dir / "run/meters.json").write_text(json.dumps(meters))
        metrics, _ = self.again()
        self.assertEqual((metrics["outcome"], self.gates(metrics)["ept"]), ("rolled_back", "not evaluated"))
        self.assertIn("control was not read", next(e["reason"] for e in metrics["evidence"] if e["name"] == "ept"))

    def test_the_headline_says_what_decided(self):
        """Latency alone would be better; beside a second metric it does not survive Holm."""
        self.start()
        self.write_samples(iterative=.99)
        self.write_meters(ept_j_per_tok=(2, 2))
        metrics, _ = self.again()
        latency = next(e for e in metrics["evidence"] if e["name"] == "latency")
        word = {"BETTER": "FASTER", "WORSE": "SLOWER"}.get(latency["verdict"], latency["verdict"])
        self.assertIn(f"({word}, 95 % CI", metrics["verdict"][0])

    def test_better_worse_same_and_a_broken_control(self):
        self.start()
        self.write_samples(iterative=.75)
        m, _ = self.again()
        self.assertEqual(m["outcome"], "kept")
        self.active_is("perm_after.json")
        self.assertEqual(self.gates(m)["latency"], "met")
        self.assertEqual(self.gates(m)["l2"], "not evaluated")
        self.assertLess(m["prediction"]["live_ratio"], 1)
        self.assertAlmostEqual(m["prediction"]["measured_ratio"], .75, delta=.01)

        self.write_samples(iterative=1.1)
        m, _ = self.again()
        self.assertEqual(m["outcome"], "rolled_back")
        self.active_is("perm_before.json")
        for text in ("latency is worse", "+10", "cost model predicted", "no layer touches more"):
            self.assertIn(text, m["cause"])
        self.assertEqual(m["root_cause"]["metric"], "latency")

        self.write_samples(iterative=1.002)
        m, _ = self.again()
        self.assertEqual((m["outcome"], m["evidence"][0]["verdict"]), ("rolled_back", "SAME"))
        self.active_is("perm_before.json")

        self.write_samples(iterative=.7, linear_AA=1.05)
        m, done = self.again("--gate", code=7)
        self.assertEqual(m["outcome"], "rolled_back")
        self.assertIn("A/A", m["cause"])
        self.assertEqual(self.gates(m)["latency"], "not evaluated")

    def test_any_measured_metric_that_is_worse_rolls_back(self):
        self.start()
        self.write_samples(iterative=.8)
        self.write_meters(l2_hit_pct=(70, 60), dram_bytes=(1e6, 1e6))
        m, _ = self.again()
        self.assertEqual(m["outcome"], "rolled_back")
        self.assertIn("l2 is worse", m["cause"])
        self.active_is("perm_before.json")

        self.write_meters(l2_hit_pct=(70, 60), dram_bytes=(1e6, .5e6))
        m, _ = self.again()
        self.assertEqual(m["outcome"], "kept")
        self.assertIn("no regression", [e["reason"] for e in m["evidence"] if e["name"] == "l2"][0])

        self.write_meters(ept_j_per_tok=(.01, .02))
        self.assertIn("ept is worse", self.again()[0]["cause"])

        self.write_meters(ept_j_per_tok=(.01, .02, "MODELLED"), l2_hit_pct=(70, 20, "SIMULATED"))
        m, _ = self.again()
        self.assertEqual(m["outcome"], "kept")
        self.assertEqual(self.gates(m)["ept"], "not evaluated")
        self.assertIn("SIMULATED", [g["reason"] for g in m["gates"] if g["name"] == "l2"][0])

        self.write_samples()
        self.write_meters(ept_j_per_tok=(.02, .01))
        m, _ = self.again()
        self.assertEqual((m["outcome"], self.gates(m)["ept"]), ("kept", "met"))

    def test_gate_exit_codes(self):
        self.start(latency_pct=-15, require=["latency"])
        self.write_samples(iterative=.8)
        m, _ = self.again("--gate")
        self.assertEqual(self.gates(m)["latency"], "met")
        self.write_samples(iterative=.9)
        _, done = self.again("--gate", code=7)
        self.assertIn("E_GATE_701", done.stderr)
        self.again()

    def test_a_missing_metric_is_no_pass(self):
        self.start()
        self.write_samples(iterative=.5)
        _, done = self.again("--gate", code=7)
        self.assertIn("not evaluated", done.stderr)
        self.write_meters(l2_hit_pct=(50, 70), ept_j_per_tok=(.02, .01), dram_bytes=(2, 1))
        m, _ = self.again("--gate")
        self.assertEqual(self.gates(m), {"latency": "met", "l2": "met", "ept": "met", "quality": "met",
                                         "quality_vs_dense": "not evaluated"})

    def test_quality_of_labelled_examples(self):
        self.start()
        self.write_samples(iterative=.8)
        right = [1] * 900 + [0] * 100
        wrong = [1] * 600 + [0] * 400
        (self.dir / "run/quality.json").write_text(json.dumps(
            {"scores": {"dense": right, "linear": wrong, "iterative": wrong}}))
        m, _ = self.again()
        self.assertEqual(self.gates(m)["quality_vs_dense"], "not met")
        self.assertEqual(self.gates(m)["quality"], "met")
        self.assertIn("unusable model", m["verdict"][0])


class Retries(GatesTest):
    """A measuring process that is killed is started again; one that finds damage is not."""

    @classmethod
    def setUpClass(cls):
        cls._kept = tempfile.TemporaryDirectory()

    def worker_of(self, child):
        for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
            try:
                stat = path.read_text()
                line = (path.parent / "cmdline").read_text()
            except OSError:
                continue
            if stat.rsplit(")", 1)[1].split()[1] == str(child.pid) and "--worker" in line:
                return int(path.parent.name)
        return None

    def test_a_killed_worker_is_started_again(self):
        child = subprocess.Popen(
            [ICD, "run", "--model", str(DATA / "use-lite-ffn.safetensors"), "--out", "run", *QUICK, "--override",
             "measure.min_blocks=200"], cwd=self.dir, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        worker = None
        while worker is None and child.poll() is None:
            worker = self.worker_of(child)
            time.sleep(.01)
        if worker is None:
            self.skipTest("the worker was too quick to be caught")
        os.kill(worker, signal.SIGKILL)
        _, err = child.communicate(timeout=280)
        self.assertEqual(child.returncode, 0, err)
        self.assertIn("trying again", err)
        stages = json.loads((self.dir / "run/metrics.json").read_text())["stages"]
        self.assertEqual([row["ok"] for row in stages if row["stage"] == "measure"], [False, True])


if __name__ == "__main__":
    unittest.main(verbosity=1)
