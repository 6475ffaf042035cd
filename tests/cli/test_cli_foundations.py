"""graph, solve, score, schema, doctor, version as a script would use them."""
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from icd_cli import DATA, ICD, SHARED, CliTest  # noqa: E402


class Help(CliTest):
    def test_every_command_has_help_with_an_example(self):
        listing = self.icd("--help").stdout
        for command in ("graph", "solve", "score", "schema", "doctor", "version"):
            self.assertIn(command, listing)
            text = self.icd(command, "--help").stdout
            self.assertIn("examples:", text)
            self.assertIn(f"icd {command}", text.split("examples:")[1])

    def test_no_command_is_a_usage_error(self):
        self.assertEqual(subprocess.run([ICD], capture_output=True).returncode, 2)
        self.fails(2, "grahp", say=["grahp"])

    def test_version(self):
        self.assertRegex(self.icd("version").stdout, r"^icd \d+\.\d+\.\d+\n$")
        self.assertIn("version", self.json("version"))

    def test_doctor_names_what_is_missing_and_how_to_enable_it(self):
        report = self.json("doctor")
        for row in report["capabilities"]:
            self.assertTrue(row["found"])
            if not row["available"]:
                self.assertTrue(row["enable"], row)

    def test_schema_is_json_schema(self):
        schema = json.loads(self.icd("schema").stdout)
        self.assertIn("$schema", schema)
        solver = schema["properties"]["solver"]["properties"]
        self.assertEqual(solver["time_budget_s"]["default"], 300)
        self.assertEqual(solver["refine_steps"]["default"], 2000)
        self.assertFalse(schema["additionalProperties"])


class Mock(CliTest):
    def test_mock_solve_score(self):
        self.icd("graph", "--mock", "--d", 2560, "--blocks", 4, "--noise", 0.02, "--seed", 42,
                 "-o", "W.csr.npz")
        meta = json.loads((self.dir / "W.meta.json").read_text())
        self.assertEqual(meta["format"], "csr")
        self.assertEqual(meta["source"], "mock")
        self.assertEqual(meta["seed"], 42)
        self.assertLessEqual(meta["nnz"], 0.05 * 2560 ** 2)
        stats = self.json("solve", "W.csr.npz", "-o", "perm.json", "--k-blocks", 4)
        perm = json.loads((self.dir / "perm.json").read_text())
        self.assertEqual(perm["D"], 2560)
        self.assertEqual(sorted(perm["pi"]), list(range(2560)))
        score = self.json("score", "W.csr.npz", "perm.json", "--k-blocks", 4)
        for key in ("C", "Cn", "cut16", "cut64", "cut128", "Q", "T", "J"):
            self.assertIn(key, score)
        self.assertAlmostEqual(score["Q"], stats["Q"], places=12)
        self.assertGreater(score["Q"], 0.7)

    def test_same_bytes_for_any_number_of_threads(self):
        for threads in (1, 2, 4):
            self.icd("graph", "--mock", "--d", 600, "-o", f"W{threads}.csr.npz", "--threads", threads)
            self.icd("solve", f"W{threads}.csr.npz", "-o", f"p{threads}.json", "--threads", threads)
        for name in ("W{}.csr.npz", "p{}.json"):
            first = (self.dir / name.format(1)).read_bytes()
            for threads in (2, 4):
                self.assertEqual(first, (self.dir / name.format(threads)).read_bytes(), name)

    def test_several_orders_in_one_table(self):
        self.icd("graph", "--mock", "--d", 256, "-o", "W.npz", "--planted", "planted.json")
        both = self.json("score", "W.npz", "identity", "planted.json")["orders"]
        self.assertGreater(both[0]["cut"], both[1]["cut"])
        self.assertIn("planted", self.icd("score", "W.npz", "identity", "planted.json").stdout)


class RealTrace(CliTest):
    """The trace that ships with the repository: learn on two thirds, judge on the rest."""

    def test_ours_touches_fewer_granules_than_frequency_sort(self):
        for layer in (0, 1):
            trace = DATA / f"use-lite-ffn{layer}.access.npz"
            events = self.json("graph", "-t", trace, "-o", "all.npz")["events"]
            learn = f"0:{events * 2 // 3}"
            held = f"{events * 2 // 3}:"
            self.icd("graph", "-t", trace, "--events", learn, "-o", "W.npz")
            for granule in (16, 32):
                self.icd("solve", "W.npz", "-t", trace, "--events", learn, "-g", granule, "-o", "ours.json")
                self.icd("solve", "W.npz", "-t", trace, "--events", learn, "-g", granule, "-m",
                         "frequency", "-o", "freq.json")
                rows = self.json("score", "W.npz", "identity", "freq.json", "ours.json", "-t", trace,
                                 "--events", held, "-g", granule)["orders"]
                touched = [row["touched"] for row in rows]
                self.assertLess(touched[2], touched[1], f"layer {layer}, g {granule}: {touched}")
                self.assertLess(touched[1], touched[0])


class BadInput(CliTest):
    def setUp(self):
        super().setUp()
        self.icd("graph", "--mock", "--d", 64, "-o", "W.npz")
        self.icd("solve", "W.npz", "-o", "perm.json", "-g", 16)

    def write(self, name, text):
        (self.dir / name).write_bytes(text if isinstance(text, bytes) else text.encode())
        return name

    def test_missing_and_truncated_files(self):
        self.fails(6, "solve", "nothing.npz", "-o", "p.json", say=["nothing.npz"])
        self.write("cut.npz", (self.dir / "W.npz").read_bytes()[:200])
        self.fails(6, "solve", "cut.npz", "-o", "p.json", say=["cut.npz"])
        self.fails(6, "solve", self.write("empty.npz", ""), "-o", "p.json", say=["empty.npz"])
        self.assertFalse((self.dir / "p.json").exists())

    def test_values_that_w_cannot_hold(self):
        head = "%%MatrixMarket matrix coordinate real general\n3 3 2\n"
        for body, word in (("1 2 nan\n2 1 nan\n", "nan"), ("1 2 -1\n2 1 -1\n", "-1"),
                           ("1 2 1\n2 1 2\n", "symmetric"), ("1 9 1\n9 1 1\n", "9"),
                           ("1 2 1\n", "2")):
            self.fails(6, "solve", self.write("bad.mtx", head + body), "-o", "p.json", say=["bad.mtx"])

    def test_perm_that_is_no_bijection(self):
        for pi in ([0, 0] + list(range(2, 64)), list(range(63)) + [64], [-1] + list(range(1, 64))):
            self.write("bad.json", json.dumps({"D": 64, "pi": pi}))
            self.fails(6, "score", "W.npz", "bad.json", say=["bad.json"])
        self.write("short.json", json.dumps({"D": 3, "pi": [2, 1, 0]}))
        self.fails(2, "score", "W.npz", "short.json", say=["64"])

    def test_damaged_traces(self):
        good = '{"t":0,"axis":"a","set":[1,2]}\n'
        self.fails(6, "graph", "-t", self.write("cut.jsonl", good + '{"t":1,"axis":"a","se'), "--d", 8, "-o", "x.npz",
                   say=["cut.jsonl: line 2"])
        self.fails(6, "graph", "-t", self.write("big.jsonl", good + '{"t":1,"axis":"a","set":[1,99]}\n'),
                   "--d", 8, "-o", "x.npz", say=["99"])
        self.fails(2, "graph", "-t", self.write("n.csv", "0,1,2\n1,2,1\n"), "-o", "x.npz", say=["--d"])
        self.icd("graph", "-t", "n.csv", "--d", 4, "-o", "x.npz")

    def test_config_errors_name_line_and_nearest_key(self):
        self.write("c.yaml", "solver:\n  time_buget_s: 3\n")
        self.fails(2, "solve", "W.npz", "-o", "p.json", "-c", "c.yaml", say=["c.yaml:2", "time_budget_s"])
        self.write("c.yaml", "solver:\n  granule: many\n")
        self.fails(2, "solve", "W.npz", "-o", "p.json", "-c", "c.yaml", say=["c.yaml:2", "many"])
        self.fails(2, "solve", "W.npz", "-o", "p.json", "--granule", "0", say=["granule"])
        self.fails(2, "solve", "W.npz", "-o", "p.json", "--override", "solver.sed=1", say=["solver.seed"])

    def test_usage(self):
        self.fails(2, "solve", "W.npz", say=["-o"])
        self.fails(2, "solve", "W.npz", "-o", "p.json", "--metod", "x", say=["--metod"])
        self.fails(2, "solve", "W.npz", "-o", "p.json", "--method", "x", say=["x"])
        self.fails(2, "graph", "-o", "x.npz", say=["--trace"])
        self.fails(2, "graph", "-t", "W.npz", "--events", "5:2", "-o", "x.npz", say=["5:2"])

    def test_errors_in_json(self):
        done = self.icd("solve", "nothing.npz", "-o", "p.json", "--json", code=6)
        error = json.loads(done.stdout)["error"]
        self.assertEqual(error["code"], "E_IO_501")
        self.assertIn("nothing.npz", error["message"])

    def test_full_disk_leaves_the_old_file(self):
        before = (self.dir / "perm.json").read_bytes()

        def small_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))

        self.fails(6, "solve", "W.npz", "-o", "perm.json", "-g", 16, say=["perm.json"], preexec_fn=small_files)
        self.assertEqual(before, (self.dir / "perm.json").read_bytes())
        self.assertEqual([p.name for p in self.dir.iterdir() if "tmp" in p.name], [])

    def test_folder_that_is_not_there_or_read_only(self):
        self.fails(6, "solve", "W.npz", "-o", "nowhere/p.json", say=["nowhere"])
        if os.geteuid() != 0:
            (self.dir / "ro").mkdir(mode=0o500)
            self.fails(6, "solve", "W.npz", "-o", "ro/p.json", say=["ro"])
        self.fails(6, "solve", "W.npz", "-o", "/proc/p.json", say=["/proc"])

    def test_kill_while_writing_leaves_the_old_file(self):
        self.icd("graph", "--mock", "--d", 1500, "-o", "V.npz")
        before = (self.dir / "V.npz").read_bytes()
        for delay in (0.0, 0.005, 0.01, 0.02, 0.04, 0.08):
            child = subprocess.Popen([ICD, "graph", "--mock", "--d", "1500", "-o", "V.npz", "-q"],
                                     cwd=self.dir, stdout=subprocess.DEVNULL)
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
            child.wait()
            self.assertEqual(before, (self.dir / "V.npz").read_bytes())

    def test_log_holds_events(self):
        self.icd("solve", "W.npz", "-o", "p.json", "--log", "run.log")
        events = [json.loads(line) for line in (self.dir / "run.log").read_text().splitlines()]
        self.assertTrue(events)
        for event in events:
            self.assertEqual(sorted(event), ["meta", "ok", "stage", "t_end", "t_start"])


if __name__ == "__main__":
    unittest.main(verbosity=1)
