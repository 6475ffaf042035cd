"""icd compare on runs written by hand: deltas, refusals, baselines, formats."""
import html.parser
import json
import pathlib
import random
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from icd_cli import CliTest  # noqa: E402


class Page(html.parser.HTMLParser):
    """Checks that every element that is opened is closed, and keeps the text."""

    VOID = {"meta", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.text, self.tags = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        self.text += data


class Compare(CliTest):
    def write_run(self, name, environment=None, seed=1, noise=.01, metrics=None, **ms):
        """A measured run of 40 blocks; every arm has 1 % of noise. AA: the second copy of linear."""
        ms = {arm.replace("AA", "linear A/A"): value for arm, value in ms.items()}
        out = self.dir / name
        out.mkdir()
        rng = random.Random(seed)
        lines = ["block,arm,position,t_start_s,lat_ms,burst"]
        for block in range(40):
            order = list(ms)
            rng.shuffle(order)
            lines += [f"{block},{arm},{place},{block},{ms[arm] * rng.lognormvariate(0, noise):.9f},1"
                      for place, arm in enumerate(order)]
        (out / "samples.csv").write_text("\n".join(lines) + "\n")
        env = {"cpu": "a cpu", "isa": "avx2", "threads": 1, "clocks": "unlocked", "config_hash": "0" * 16,
               **(environment or {})}
        (out / "metrics.json").write_text(json.dumps({
            "outcome": "kept", "verdict": ["line"], "environment": env, "clock": {"mode": "warm"},
            "input": {"name": "text", "batch": 1, "seq": 16}, "model": {"name": "m", "arch": "bert"}, **(metrics or {})}))

    def two(self, **second):
        self.write_run("a", linear=2, iterative=1.5)
        self.write_run("b", seed=2, linear=2, iterative=1.5 * 1.1, **second)

    def test_deltas_against_the_first_run(self):
        self.two()
        self.write_run("c", seed=3, linear=1)
        found = self.json("compare", "a", "b", "c")
        rows = {row["arm"]: row["runs"] for row in found["arms"]}
        self.assertIsNone(rows["iterative"][2])
        self.assertIsNone(rows["iterative"][0]["against_first"])
        delta = rows["iterative"][1]["against_first"]
        self.assertTrue(delta["low"] < .1 < delta["high"])
        self.assertAlmostEqual(delta["delta"], .1, delta=.01)
        self.assertEqual((delta["verdict"], rows["linear"][1]["against_first"]["verdict"]), ("SLOWER", "SAME"))
        self.assertAlmostEqual(rows["linear"][2]["against_first"]["delta"], -.5, delta=.01)
        self.assertAlmostEqual(found["runs"][0]["gain"]["delta"], -.25, delta=.01)
        self.assertIsNone(found["runs"][2]["gain"])
        self.assertEqual(found["differences"], [])

    def test_other_environments_are_refused(self):
        self.write_run("a", linear=2, iterative=1.5)
        self.write_run("b", environment={"cpu": "another <cpu>"}, linear=1, iterative=.7)
        self.fails(2, "compare", "a", "b", say=["environment cpu", "'another <cpu>'", "'a cpu'", "--anyway"])
        found = self.json("compare", "a", "b", "--anyway")
        self.assertEqual([d["member"] for d in found["differences"]], ["cpu"])
        for row in found["arms"]:
            self.assertIsNone(row["runs"][1]["against_first"])
        text = self.icd("compare", "a", "b", "--anyway", "--html", "c.html").stdout
        self.assertIn("Times are not compared", text)
        self.assertNotIn("<cpu>", (self.dir / "c.html").read_text())

    def test_baseline_is_a_gate(self):
        self.two()
        self.icd("compare", "a", "--save-baseline", "base.json")
        self.icd("compare", "a", "--baseline", "base.json")
        self.icd("compare", "b", "--baseline", "base.json", "--max-regression", "12%")
        self.icd("compare", "b", "--baseline", "base.json", "--max-regression", ".12")
        done = self.fails(7, "compare", "b", "--baseline", "base.json", "--max-regression", "2%",
                          say=["E_GATE_701", "iterative", "+10", "2.00 %"])
        self.assertIn("regression", done.stdout)
        self.fails(7, "compare", "b", "--baseline", "base.json", "--relative", "--max-regression", "2%",
                   say=["multiple of linear"])
        # twice as fast a machine: times are refused, ratios are judged
        self.write_run("c", environment={"cpu": "x"}, linear=1, iterative=.75)
        self.fails(2, "compare", "c", "--baseline", "base.json", say=["environment cpu"])
        self.icd("compare", "c", "--baseline", "base.json", "--relative", "--max-regression", "2%")
        self.write_run("d", linear=2)
        done = self.fails(7, "compare", "d", "--baseline", "base.json", "--max-regression", "2%", "--json",
                          say=["iterative", "not measured"])
        results = {r["arm"]: r["result"] for r in json.loads(done.stdout)["baseline"]["arms"]}
        self.assertEqual(results, {"linear": "ok", "iterative": "missing"})

    def test_what_cannot_be_told_is_no_pass(self):
        self.write_run("a", linear=2, iterative=1.5)
        self.icd("compare", "a", "--save-baseline", "base.json")
        self.write_run("b", seed=2, noise=.4, linear=2, iterative=1.4)
        done = self.fails(7, "compare", "b", "--baseline", "base.json", "--max-regression", "2%", "--json",
                          say=["too wide to tell"])
        self.assertEqual(json.loads(done.stdout)["baseline"]["result"], "undecided")

    def test_a_baseline_is_of_one_machine_and_task(self):
        self.write_run("a", linear=2, iterative=1.5)
        self.icd("compare", "a", "--save-baseline", "base.json")
        for name, change, words in (
                ("gpu", {"environment": {"gpu": "B"}}, "environment gpu"),
                ("kernel", {"environment": {"kernel": "6.2"}}, "environment kernel"),
                ("machine", {"environment": {"machine": "00"}}, "environment machine"),
                ("hash", {"metrics": {"model": {"name": "m", "arch": "bert", "hash": "2"}}}, "model hash"),
                ("rate", {"metrics": {"transform": {"sparsity": {"rate": .5}}}}, "transform sparsity")):
            self.write_run(name, linear=2, iterative=1.5, **change)
            self.fails(2, "compare", name, "--baseline", "base.json", say=[words])
            if name in ("hash", "rate"):  # another task: multiples of linear say nothing either
                self.fails(2, "compare", name, "--baseline", "base.json", "--relative", say=[words])
            else:
                self.icd("compare", name, "--baseline", "base.json", "--relative")

    def test_a_baseline_without_arms_judges_nothing(self):
        self.write_run("a", linear=2, iterative=1.5)
        self.write_run("b", linear=2)
        self.icd("compare", "b", "--save-baseline", "base.json")
        self.fails(6, "compare", "a", "--baseline", "base.json", "--relative", say=["no arm that could be judged"])
        (self.dir / "base.json").write_text(json.dumps({**json.loads((self.dir / "base.json").read_text()), "arms": []}))
        self.fails(6, "compare", "a", "--baseline", "base.json", say=["no arm that could be judged"])

    def test_a_run_whose_control_failed_decides_nothing(self):
        self.write_run("a", linear=2, iterative=1, AA=2.1)
        self.write_run("b", linear=2, iterative=1, AA=2)
        gain = [run["gain"] for run in self.json("compare", "a", "b")["runs"]]
        self.assertEqual([g["verdict"] for g in gain], ["UNDECIDED", "FASTER"])
        self.assertEqual([g["control_failed"] for g in gain], [True, False])
        self.fails(4, "compare", "a", "--save-baseline", "base.json", say=["two copies of linear"])
        self.icd("compare", "b", "--save-baseline", "base.json")
        self.write_run("c", linear=2, iterative=1, AA=3)
        self.fails(7, "compare", "c", "--baseline", "base.json", say=["control failed"])
        rows = self.json("compare", "b", "c")["arms"]
        self.assertEqual({r["runs"][1]["against_first"]["verdict"] for r in rows}, {"UNDECIDED"})

    def test_formats(self):
        self.two()
        markdown = self.icd("compare", "a", "b", "--markdown", "--html", "c.html").stdout
        tables = [line for line in markdown.splitlines() if line.startswith("|")]
        self.assertTrue(all(line.endswith("|") for line in tables))
        self.assertIn("| --- | --- | --- |", tables)
        page = Page((self.dir / "c.html").read_text())
        self.assertEqual(page.open, [])
        self.assertNotIn("script", page.tags)
        self.assertIn("iterative", page.text)
        self.assertIn("iterative", self.icd("compare", "a", "b").stdout)

    def test_wrong_use(self):
        self.two()
        self.fails(2, "compare", "a", say=["2 to 16"])
        self.fails(6, "compare", "a", "nothing", say=["nothing/metrics.json"])
        self.fails(2, "compare", "a", "b", "--max-regression", "much", say=["--max-regression"])
        (self.dir / "base.json").write_text('{"arms": [{"arm": "linear", "ln_ms": 3}]}')
        self.fails(6, "compare", "a", "--baseline", "base.json", "--anyway", say=["base.json", "ln_ms"])
        self.fails(6, "compare", "a", "--save-baseline", "no/such/folder.json", say=["folder.json"])


if __name__ == "__main__":
    unittest.main(verbosity=1)
