"""`icd solve` and `icd score` against NumPy and NetworkX; needs the program's path in ICD."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

ICD = os.environ.get("ICD")
if not ICD or not os.path.exists(ICD):
    print("skipped: ICD does not name the program")
    sys.exit(77)
try:
    import networkx as nx
    import numpy as np
    import scipy.sparse as sp
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)


def icd(*args):
    done = subprocess.run([ICD, *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(done.stderr)
    return json.loads(done.stdout)


def random_graph(rng, n, density):
    a = np.triu(rng.random((n, n)) < density, 1) * rng.uniform(0.5, 2, (n, n))
    a = a.astype(np.float32).astype(np.float64)
    return a + a.T


def planted(rng, n, blocks, inside, outside):
    """A block model whose labels say nothing; returns W and the block of each index."""
    label = rng.permutation(np.arange(n) * blocks // n)
    chance = np.where(label[:, None] == label[None, :], inside, outside)
    a = np.triu(rng.random((n, n)) < chance, 1) * rng.uniform(0.5, 1.5, (n, n))
    a = a.astype(np.float32).astype(np.float64)
    return a + a.T, label


def modularity(a, block):
    """Q of SPEC section 4, pairs i = j included."""
    k, m2 = a.sum(1), a.sum()
    same = block[:, None] == block[None, :]
    return float((a[same].sum() - np.outer(k, k)[same].sum() / m2) / m2)


def rand_index(a, b):
    """Adjusted Rand index of two labellings."""
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1)
    pairs = lambda x: float((x * (x - 1) / 2).sum())
    both, in_a, in_b = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    expected = in_a * in_b / pairs(np.array([len(a)]))
    return (both - expected) / ((in_a + in_b) / 2 - expected)


class Files(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()

    def tearDown(self):
        self.dir.cleanup()

    def path(self, name):
        return os.path.join(self.dir.name, name)

    def save(self, a, name="W.csr.npz"):
        w = sp.csr_matrix(a.astype(np.float32))
        w.sort_indices()
        sp.save_npz(self.path(name), w)
        return self.path(name)

    def save_perm(self, pi):
        with open(self.path("p.json"), "w") as f:
            json.dump({"D": len(pi), "pi": [int(x) for x in pi]}, f)
        return self.path("p.json")

    def pi(self):
        with open(self.path("perm.json")) as f:
            return np.array(json.load(f)["pi"])


class Score(Files):
    def test_definitions(self):
        rng = np.random.default_rng(1)
        for n, g in ((2, 1), (17, 4), (130, 16), (200, 64)):
            a, pi = random_graph(rng, n, 0.2), rng.permutation(n)
            a[0, 1] = a[1, 0] = 1
            got = icd("score", self.save(a), self.save_perm(pi), "--granule", g, "--json")
            pos = np.argsort(pi)
            far = np.abs(pos[:, None] // g - pos[None, :] // g).astype(float)
            phi = np.where(far <= 3, far, 3 + 0.25 * (far - 3))
            cost, total = (a * phi).sum() / 2, a.sum() / 2
            last = float((n + g - 1) // g - 1)
            longest = last if last <= 3 else 3 + 0.25 * (last - 3)
            self.assertAlmostEqual(got["C"] / cost if cost else got["C"] + 1, 1, 9)
            if longest:
                self.assertAlmostEqual(got["Cn"], cost / longest / total, 9)
            for step in (16, 64, 128):
                apart = pos[:, None] // step != pos[None, :] // step
                self.assertAlmostEqual(got[f"cut{step}"], a[apart].sum() / a.sum(), 9)
            self.assertAlmostEqual(got["J"], got["Cn"] - 0.5 * got["Q"], 9)
            self.assertEqual(got["T"], 1)

    def test_modularity_is_networkx_s(self):
        rng = np.random.default_rng(2)
        for n, k in ((20, 3), (64, 0), (101, 7)):
            a, pi = random_graph(rng, n, 0.3), rng.permutation(n)
            flags = ["--k-blocks", k] if k else ["--granule", 16]
            got = icd("score", self.save(a), self.save_perm(pi), *flags, "--json")
            cuts = [b * n // k for b in range(k + 1)] if k else [*range(0, n, 16), n]
            blocks = [set(map(int, pi[x:y])) for x, y in zip(cuts, cuts[1:])]
            q = nx.community.modularity(nx.from_numpy_array(a), blocks, weight="weight")
            self.assertAlmostEqual(got["Q"], q, 6)

    def test_cut_is_networkx_s(self):
        rng = np.random.default_rng(12)
        n = 150
        a, pi = random_graph(rng, n, 0.1), rng.permutation(n)
        got = icd("score", self.save(a), self.save_perm(pi), "--json")
        graph = nx.from_numpy_array(a)
        for step in (16, 64, 128):
            blocks = [set(map(int, pi[x:x + step])) for x in range(0, n, step)]
            apart = sum(nx.cut_size(graph, b, weight="weight") for b in blocks) / 2
            self.assertAlmostEqual(got[f"cut{step}"], apart / (a.sum() / 2), 9)

    def test_touched(self):
        rng = np.random.default_rng(3)
        n, g = 50, 8
        events = sp.csr_matrix((rng.random((30, n)) < 0.2).astype(np.uint8))
        sp.save_npz(self.path("trace.npz"), events)
        a, pi = random_graph(rng, n, 0.3), rng.permutation(n)
        got = icd("score", self.save(a), self.save_perm(pi), "--granule", g, "--trace",
                  self.path("trace.npz"), "--json")
        line = np.argsort(pi) // g
        sets = [events[e].indices for e in range(events.shape[0])]
        touched = sum(len(set(line[s])) for s in sets)
        fewest = sum(-(-len(s) // g) for s in sets)
        self.assertAlmostEqual(got["T"], touched / fewest, 9)


class Solve(Files):
    def solve(self, w, *flags):
        return icd("solve", w, "-o", self.path("perm.json"), *flags, "--json")

    def test_planted_blocks_are_found(self):
        rng = np.random.default_rng(4)
        a, label = planted(rng, 640, 4, 0.2, 0.004)
        got = self.solve(self.save(a), "--k-blocks", 4)
        found = np.empty(640, int)
        found[self.pi()] = np.arange(640) * 4 // 640
        self.assertGreaterEqual(rand_index(label, found), 0.98)
        self.assertGreaterEqual(got["Q"], 0.98 * modularity(a, label))

    def test_hidden_mock(self):
        w = self.path("mock.csr.npz")
        subprocess.run([ICD, "graph", "--mock", "--d", "2560", "--blocks", "4", "--noise",
                        "0.02", "--seed", "42", "-o", w], check=True, capture_output=True)
        got = self.solve(w, "--k-blocks", 4)
        self.assertGreater(got["Q"], 0.7)
        self.assertEqual(sorted(self.pi()), list(range(2560)))

    def test_halves_are_no_worse_than_kernighan_lin_s(self):
        for seed in range(3):
            rng = np.random.default_rng(20 + seed)
            a = random_graph(rng, 96, 0.15)
            got = self.solve(self.save(a), "--granule", 48, "--effort", "high", "--time-budget", "1.5")
            graph = nx.from_numpy_array(a)
            peers = [nx.community.kernighan_lin_bisection(graph, max_iter=50, weight="weight", seed=k)
                     for k in range(5)]
            best = min(nx.cut_size(graph, p[0], p[1], weight="weight") for p in peers)
            self.assertLessEqual(got["cut"], best / (a.sum() / 2) + 1e-9)

    def test_effort_high_uses_its_time(self):
        rng = np.random.default_rng(8)
        w = self.save(random_graph(rng, 700, 0.03))
        usual = self.solve(w)
        got = self.solve(w, "--effort", "high", "--time-budget", "1")
        self.assertTrue(got["budget_used"])
        self.assertLess(got["cut"], usual["cut"])

    def test_warm_start(self):
        rng = np.random.default_rng(9)
        a, _ = planted(rng, 640, 10, 0.4, 0.01)
        self.solve(self.save(a))
        before = self.pi()
        os.rename(self.path("perm.json"), self.path("prev.json"))
        a[:8] *= 0.1
        a[:, :8] *= 0.1
        last = 641
        for price in (0, 0.05, 100):
            got = self.solve(self.save(a), "--prev", self.path("prev.json"), "--method", "warm",
                             "--override", f"solver.gamma_stab={price}")
            self.assertEqual(got["moved"], int((self.pi() != before).sum()))
            self.assertLessEqual(got["cut"], got["start"]["cut"] + 1e-9)
            self.assertLessEqual(got["moved"], last)
            last = got["moved"]
        self.assertEqual(last, 0)

    def test_reported_score_is_the_score(self):
        rng = np.random.default_rng(5)
        w = self.save(random_graph(rng, 150, 0.1))
        got = self.solve(w, "--granule", 16)
        again = icd("score", w, self.path("perm.json"), "--granule", 16, "--json")
        for key in ("C", "Cn", "cut16", "Q", "T", "J"):
            self.assertAlmostEqual(got[key], again[key], 12)

    def test_threads_do_not_matter(self):
        rng = np.random.default_rng(6)
        w = self.save(random_graph(rng, 400, 0.05))
        orders = []
        for threads in (1, 2, 4):
            self.solve(w, "--granule", 16, "--threads", threads)
            orders.append(self.pi())
        self.assertTrue((orders[0] == orders[1]).all() and (orders[0] == orders[2]).all())


if __name__ == "__main__":
    unittest.main()
