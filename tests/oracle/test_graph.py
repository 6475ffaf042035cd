#!/usr/bin/python3
"""W by `icd graph` against its definition in NumPy and SciPy (SPEC section 3)."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

try:
    import numpy as np
    import scipy.sparse as sp
except ImportError:
    print("skipped: NumPy and SciPy are not here")
    sys.exit(77)

ICD = os.environ.get("ICD")
SOURCE = os.environ.get("ICD_SOURCE_DIR", ".")
REAL = os.path.join(SOURCE, "..", "shared", "real", "use-lite-ffn1.access.npz")


def weighted(a, weight, weighting):
    """Dense W before normalisation; rows of `a` are events."""
    size = np.asarray(a.sum(axis=1)).ravel()
    e = weight / np.maximum(size - 1, 1) if weighting == "clique" else weight
    n = np.asarray((a.T @ sp.diags(e) @ a).todense(), np.float64)
    np.fill_diagonal(n, 0)
    if weighting != "jaccard":
        return n
    f = a.T @ weight
    bottom = f[:, None] + f[None, :] - n
    return np.divide(n, bottom, out=np.zeros_like(n), where=n > 0)


def normalised(w, how):
    d = w.sum(axis=1)
    d = np.where(d > 0, d, 1)
    if how == "sym":
        return w / np.sqrt(np.outer(d, d))
    if how == "row":
        p = w / d[:, None]
        return (p + p.T) / 2
    return w


class Graph(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def graph(self, *args):
        out = self.path("W.csr.npz")
        done = subprocess.run([ICD, "graph", *map(str, args), "-o", out],
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        w = sp.load_npz(out)
        self.assertEqual(w.dtype, np.float32)
        self.assertEqual(abs(w - w.T).sum(), 0)
        self.assertEqual(w.diagonal().sum(), 0)
        self.assertTrue(w.has_sorted_indices and (w.data > 0).all())
        with open(self.path("W.meta.json"), encoding="utf-8") as file:
            self.meta = json.load(file)
        self.assertEqual(self.meta["nnz"], w.nnz)
        return w

    def random_trace(self, seed, weights):
        rng = np.random.default_rng(seed)
        a = sp.random(200, 60, 0.1, format="csr", random_state=seed)
        a.data[:] = 1
        a.sort_indices()
        weight = rng.integers(0, 5, 200) / 4 if weights else np.ones(200)
        with open(self.path("trace.jsonl"), "w", encoding="utf-8") as file:
            for e in range(200):
                indices = a.indices[a.indptr[e]:a.indptr[e + 1]].tolist()
                file.write(json.dumps({"set": indices, "w": float(weight[e])}) + "\n")
        return a, weight

    def compare(self, w, want, cap):
        """The `cap` strongest entries; what lies within rounding of the weakest may differ."""
        found = np.asarray(w.todense(), np.float64)
        self.assertLessEqual(w.nnz, cap)
        np.testing.assert_allclose(found[found > 0], want[found > 0], rtol=2e-6)
        positive = np.sort(want[want > 0])[::-1]
        self.assertEqual(w.nnz, min(len(positive), cap // 2 * 2))
        if w.nnz < len(positive):
            floor = positive[w.nnz - 1]
            self.assertTrue((found[want > floor * (1 + 2e-6)] > 0).all())

    def test_every_weighting_and_normalisation(self):
        for seed, weighting in enumerate(("count", "clique", "jaccard")):
            for how in ("none", "row", "sym"):
                for cap in (1 << 20, 500):
                    with self.subTest(weighting=weighting, normalize=how, cap=cap):
                        a, weight = self.random_trace(seed, weights=cap == 500)
                        w = self.graph("--trace", self.path("trace.jsonl"), "--d", 60,
                                       "--weighting", weighting, "--normalize", how,
                                       "--nnz-cap", cap)
                        want = normalised(weighted(a, weight, weighting), how)
                        self.compare(w, want, cap)
                        self.assertEqual(self.meta["events"], 200)

    def test_pairs(self):
        rng = np.random.default_rng(5)
        i, j = rng.integers(0, 30, (2, 400))
        i, j = i[i != j], j[i != j]
        x = rng.random(len(i)).round(3)
        with open(self.path("pairs.csv"), "w", encoding="utf-8") as file:
            file.writelines(f"{a},{b},{c}\n" for a, b, c in zip(i, j, x))
        half = sp.coo_matrix((x.astype(np.float32).astype(np.float64), (i, j)), (30, 30))
        want = np.asarray((half + half.T).todense())
        w = self.graph("--trace", self.path("pairs.csv"), "--d", 30, "--normalize", "sym",
                       "--nnz-cap", 10_000)
        self.compare(w, normalised(want, "sym"), 10_000)

    def test_mock(self):
        w = self.graph("--mock", "--d", 2560, "--blocks", 4, "--noise", 0.02, "--seed", 42,
                       "--planted", self.path("planted.json"))
        self.assertEqual(w.nnz, int(0.05 * 2560 * 2560))
        with open(self.path("planted.json"), encoding="utf-8") as file:
            pi = np.array(json.load(file)["pi"])
        self.assertTrue((np.sort(pi) == np.arange(2560)).all())
        c = w[pi][:, pi].tocoo()
        inside = c.row // 640 == c.col // 640
        self.assertAlmostEqual(1 - inside.mean(), 0.02 * 0.75, delta=0.002)
        self.assertAlmostEqual(c.data[inside].mean(), 1, delta=0.01)
        self.assertAlmostEqual(c.data[~inside].mean(), 0.5, delta=0.02)
        h = w.tocoo()
        self.assertAlmostEqual((h.row // 640 == h.col // 640).mean(), 0.25, delta=0.02)

    @unittest.skipUnless(os.path.exists(REAL), "../shared is not here")
    def test_real_trace(self):
        a = sp.load_npz(REAL).astype(np.float64)
        a.data[:] = 1
        want = normalised(weighted(a, np.ones(a.shape[0]), "jaccard"), "sym")
        cap = 1536 * 1536 // 20
        self.compare(self.graph("--trace", REAL), want, cap)


if __name__ == "__main__":
    if not ICD:
        print("skipped: the environment variable ICD does not name the program")
        sys.exit(77)
    unittest.main()
