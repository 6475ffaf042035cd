#!/usr/bin/env python3
"""tools/acceptance: parts that resume, targets that are never met by a gap, damaged files named."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from icd_cli import ICD, ROOT, CliTest

DRIVER = ROOT / "tools/acceptance/acceptance.py"

# A stand-in for `icd`: notes what it was asked, and behaves as the file `mood` beside it says.
FAKE = '''#!/usr/bin/env python3
import json, os, pathlib, sys, time
here = pathlib.Path(__file__).resolve().parent
mood = (here / "mood").read_text() if (here / "mood").exists() else ""
words = sys.argv[1:]
with open(here / "calls", "a") as log:
    log.write(" ".join(words) + "\\n")

def metric(value, low, high, provenance="MEASURED"):
    return {"value": value, "low": low, "high": high, "count": 9, "unit": "", "provenance": provenance, "reason": None}

def gate(name, result, found):
    return {"name": name, "target": "T", "found": found, "result": result, "reason": "because", "required": True}

def arm(name, lat, size):
    return {"name": name, "role": "baseline", "live": 5, "all": 10, "bytes": size, "lat_ms": metric(lat, lat * .9, lat * 1.1),
            "l2_hit_pct": metric(50, 49, 51), "dram_bytes": metric(1e6, 9e5, 11e5),
            "ept_j_per_tok": {"value": None, "provenance": "ABSENT", "reason": "no counter"}}

def leave(folder):
    folder.mkdir(parents=True, exist_ok=True)
    gates = [gate("latency", "not met" if mood == "slow" else "met", "-30 % [-31, -29]"), gate("l2", "met", "+12 pp"),
             gate("ept", "not evaluated", "-"), gate("quality", "met", "0"), gate("quality_vs_dense", "met", "0")]
    if mood == "gap":
        gates = gates[1:]
    root = {"version": "icd/1", "outcome": "kept", "cause": None, "verdict": ["KEPT: <b>"], "model": {"synthetic": mood == "synthetic"},
            "input": {"tokens_per_step": 64}, "arms": [arm("linear", 2.0, 60 << 20), arm("iterative", 1.0, 20 << 20)], "gates": gates,
            "comparisons": [{"a": "linear", "b": "iterative", "delta": -.5, "low": -.55, "high": -.45, "verdict": "FASTER"}],
            "evidence": [], "linears": [{"rows": 10, "cols": 10}], "environment": {"gpu": "a board"}}
    (folder / "metrics.json").write_text("{\\"arms\\": [" if mood == "damaged" else json.dumps(root))
    meters = [{"arm": a, "meter": m, "metrics": {"l2_hit_pct": metric(v, v, v, p), "dram_bytes": metric(d, d, d, p)}}
              for a in ("linear", "iterative") for m, v, d, p in (("ncu", 50, 1e6, "MEASURED"), ("cachesim", 90, 4e6, "SIMULATED"))]
    (folder / "meters.json").write_text(json.dumps({"version": "icd/1", "arms": {}, "meters": meters}))
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model/weights").write_text("large")
    (folder / "samples.csv").write_text("block,arm\\n")

if words[0] == "doctor":
    there = mood != "no gpu"
    print(json.dumps({"version": "9", "fingerprint": {"gpu": "NVIDIA H100 80GB HBM3" if there else None, "isa": "avx2", "l2": "512K"},
        "capabilities": [{"name": "CUDA driver", "available": there, "found": "no driver", "enable": None}]}))
elif words[0] == "synth":
    out = pathlib.Path(words[words.index("-o") + 1])
    out.mkdir(parents=True)
    (out / "model.safetensors").write_text("x")
elif words[0] == "sweep":
    out = pathlib.Path(words[words.index("-o") + 1])
    leave(out / "runs/rate=.5")
    (out / "sweep.json").write_text(json.dumps({"points": [{"config": "rate=.5", "run": "runs/rate=.5", "error": None},
                                                           {"config": "rate=.9", "run": "runs/rate=.9", "error": "E_RES_101: too large"}]}))
else:
    out = pathlib.Path(words[1] if words[0] == "resume" else words[words.index("-o") + 1])
    if mood == "fails":
        print("icd run: error E_RES_101: out of memory", file=sys.stderr)
        sys.exit(3)
    if mood == "hangs" and words[0] == "run":
        out.mkdir(parents=True)
        (out / "state.json").write_text("{}")
        parent = os.getppid()
        while os.getppid() == parent:
            time.sleep(.02)
        sys.exit(1)
    leave(out)
'''

PLAN = {"sets": {
    "full": {"device": "cuda", "claims": True, "budget_minutes": 25, "l2_mib": {"h100": 50}, "parts": [
        {"name": "a", "kind": "run", "config": "c.yaml", "minutes": 1, "about": "first", "model": {"folder": "m", "synth": ["bert-tiny"]}},
        {"name": "b", "kind": "sweep", "config": "c.yaml", "minutes": 1, "about": "second", "grid": ["sparsity.rate=.5,.9"]},
        {"name": "q", "kind": "quality", "config": "c.yaml", "minutes": 1, "about": "third"},
        {"name": "n", "kind": "quality", "config": "c.yaml", "minutes": 1, "about": "fourth",
         "model": {"path": "no/such/model", "missing": "somebody fetches it"}}]},
    "smoke": {"device": "cpu", "claims": False, "budget_minutes": 3, "parts": [
        {"name": "a", "kind": "run", "config": "c.yaml", "minutes": 1, "about": "first"}]}}}


class Acceptance(CliTest):
    def setUp(self):
        super().setUp()
        self.fake, self.out = self.dir / "icd", self.dir / "results"
        self.fake.write_text(FAKE)
        self.fake.chmod(0o755)
        (self.dir / "c.yaml").write_text("pipeline: {}\n")
        text = json.dumps(PLAN).replace("c.yaml", str(self.dir / "c.yaml"))
        (self.dir / "plan.json").write_text(text)

    def mood(self, text):
        (self.dir / "mood").write_text(text)

    def command(self, *args, icd=None):
        return [sys.executable, str(DRIVER), "--icd", str(icd or self.fake), "--plan", str(self.dir / "plan.json"),
                "--out", str(self.out), "--work", str(self.dir / "work"), *map(str, args)]

    def drive(self, *args, code=0):
        done = subprocess.run(self.command(*args), text=True, capture_output=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def calls(self):
        lines = (self.dir / "calls").read_text().splitlines()
        return [line for line in lines if not line.startswith("doctor")]

    def summary(self):
        return json.loads((self.out / "summary.json").read_text())

    def part(self, name):
        return [p for p in self.summary()["parts"] if p["name"] == name][0]

    def test_all_parts_once(self):
        self.drive()
        words = [line.split()[0] for line in self.calls()]
        self.assertEqual(words, ["synth", "run", "sweep", "run"])
        self.assertIn("--no-measure", self.calls()[3])
        self.assertIn("finished before", self.drive().stdout)
        self.assertEqual(len(self.calls()), 4)
        self.assertEqual(self.summary()["counts"], {"met": 4, "not met": 0, "not evaluated": 1})
        self.assertEqual(self.part("n")["state"], "skipped")
        self.assertIn("somebody fetches it", self.part("n")["reason"])
        self.assertTrue((self.out / "a/samples.csv").exists())
        self.assertFalse((self.out / "a/model").exists())
        self.assertIn("icd run -c", (self.out / "a/commands.txt").read_text())

    def test_curve_and_prediction(self):
        self.drive("--part", "b")
        point, failed = self.part("b")["points"]
        linear = point["arms"][0]
        self.assertAlmostEqual(linear["l2_share"], ((60 << 20) + 20 * 64 * 2) / (50 << 20))
        self.assertIn("hit rate off by +40 pp", linear["prediction"])
        self.assertIn("4 times the measured", linear["prediction"])
        self.assertIn("too large", failed["error"])
        page = (self.out / "summary.html").read_text()
        self.assertIn("<svg", page)
        self.assertIn("too large", page)

    def test_settings_that_changed_run_again(self):
        self.drive("--part", "q")
        (self.dir / "c.yaml").write_text("pipeline: {mode: linear}\n")
        self.drive("--part", "q")
        self.assertEqual([line.split()[0] for line in self.calls()], ["run", "run"])

    def test_killed_part_goes_on(self):
        for kill in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(kill=kill):
                self.mood("hangs")
                (self.dir / "c.yaml").write_text(f"# {kill}\n")
                child = subprocess.Popen(self.command("--part", "a"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                state, end = self.dir / "work/full/a/run/state.json", time.monotonic() + 30
                while not state.exists() and time.monotonic() < end:
                    time.sleep(.02)
                child.send_signal(kill)
                self.assertNotEqual(child.wait(timeout=30), 0)
                self.mood("")
                self.drive("--part", "a")
                self.assertEqual(self.calls()[-1].split()[0], "resume")
                self.assertEqual(self.part("a")["state"], "finished")

    def test_time_limit(self):
        self.mood("hangs")
        self.drive("--part", "a", "--limit", "0.01", code=1)
        self.assertEqual(self.part("a")["state"], "failed")
        self.assertIn("cut off after 0.01 minutes", self.part("a")["reason"])

    def test_budget(self):
        done = self.drive("--budget", "0.5", code=1)
        self.assertIn("[2/4] b: not started", done.stdout)
        self.assertEqual([p["state"] for p in self.summary()["parts"]], ["finished", "not run", "not run", "not run"])

    def test_failure_is_told(self):
        self.mood("fails")
        done = self.drive("--part", "a", code=1)
        self.assertIn("icd run ended with 3: icd run: error E_RES_101: out of memory", done.stdout)
        self.mood("")
        self.drive("--part", "a")

    def test_missing_metric_is_not_evaluated(self):
        self.mood("gap")
        self.drive("--part", "a")
        target = self.part("a")["targets"]["latency"]
        self.assertEqual((target["result"], target["found"]), ("not evaluated", "-"))

    def test_not_met(self):
        self.mood("slow")
        self.drive("--part", "a")
        self.assertEqual(self.part("a")["targets"]["latency"]["result"], "not met")
        self.assertIn("1 not met", self.summary()["headline"])

    def test_synthetic_weights_have_no_quality(self):
        self.mood("synthetic")
        self.drive("--part", "a")
        targets = self.part("a")["targets"]
        self.assertEqual([targets[t]["result"] for t in ("quality", "quality_vs_dense")], ["not evaluated"] * 2)
        self.assertEqual(targets["latency"]["result"], "met")

    def test_damaged_results(self):
        self.drive("--part", "a")
        path = self.out / "a/metrics.json"
        for text in ("{", "[]", '{"arms": 3}', '{"arms": [1]}'):
            path.write_text(text)
            done = self.drive("--summary", code=6)
            self.assertIn("a/metrics.json", done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1)
        path.unlink()
        self.assertIn("is not there", self.drive("--summary", code=6).stderr)

    def test_damaged_by_icd(self):
        self.mood("damaged")
        self.assertIn("no metrics.json that can be read", self.drive("--part", "a", code=1).stdout)

    def test_no_gpu(self):
        self.mood("no gpu")
        done = self.drive(code=3)
        self.assertEqual(len(done.stderr.splitlines()), 1)
        self.assertIn("make acceptance-smoke", done.stderr)
        self.assertFalse(self.out.exists())
        self.drive("--part", "q")
        self.assertEqual(self.part("q")["state"], "finished")

    def test_smoke_supports_no_claim(self):
        self.mood("no gpu")
        self.drive("--smoke")
        for name in ("summary.md", "summary.html", "summary.json"):
            self.assertIn("supports no claim", (self.out / name).read_text())
        self.assertIn("KEPT: &lt;b&gt;", (self.out / "summary.html").read_text())

    def test_usage(self):
        self.assertIn("expected one of a, b, q, n", self.drive("--part", "zzz", code=2).stderr)
        self.assertIn("4.0 min", self.drive("--list").stdout)
        done = subprocess.run(self.command(icd=self.dir / "none"), text=True, capture_output=True, timeout=60)
        self.assertEqual(done.returncode, 2)


class Shipped(CliTest):
    """The plan and the settings that ship, with the real program."""

    def test_settings_are_valid(self):
        plan = json.loads((ROOT / "configs/acceptance/parts.json").read_text())
        for chosen in plan["sets"].values():
            for part in chosen["parts"]:
                words = [w for pair in part.get("set", []) for w in ("--override", pair)]
                self.assertLess(part["minutes"], 10)
                done = subprocess.run([ICD, "run", "-c", part["config"], *words, "--override", "model.path=no/such",
                                       "--out", str(self.dir / "x"), "--dry-run"], cwd=ROOT, text=True, capture_output=True, timeout=60)
                self.assertNotIn("E_CFG_001: configs", done.stderr)
                self.assertIn("no/such", done.stderr, part["name"])
        self.assertLessEqual(sum(p["minutes"] for p in plan["sets"]["full"]["parts"]), 25)


if __name__ == "__main__":
    unittest.main()
