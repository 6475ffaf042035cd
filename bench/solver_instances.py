#!/usr/bin/python3
"""solver_instances.py OUT [NAME...]: graphs for bench/solver.py, as OUT/NAME.csr.npz (SciPy CSR,
symmetric, float32, labels under a fixed shuffle) and, where there are access sets, OUT/NAME.access.npz.

  packages      who depends on whom, of the Debian packages that this machine's lists name
  includes      which header under /usr/include includes which
  words         which words of data/text stand within four of each other, counts
  neurons-0/1   which of 1536 neurons of two real ReLU layers fire together (Jaccard, symmetric
                normalisation), from the first two thirds of data/use-lite-ffn*.access.npz; the last
                third is kept as access sets to judge by
  coactivation  a heavy-tailed synthetic: 4096 neurons, Zipf popularity, overlapping topics
  mock-2560 mock-2560-b40 sbm-100k sbm-1M grid-1M   the public instances, where ../shared has them

Needs NumPy and SciPy. What a machine cannot make is left out, and said so."""
import collections
import os
import re
import subprocess
import sys

import numpy as np
import scipy.sparse as sp

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHARED = os.path.join(os.path.dirname(ROOT), "shared", "instances")
PUBLIC = ["mock-2560", "mock-2560-b40", "sbm-100k", "sbm-1M", "grid-1M"]


class Missing(Exception):
    pass


def save(out, name, w, sets=None):
    """Hides the labels, drops nodes without a neighbour, and writes."""
    w = sp.csr_matrix(w + w.T)
    w.setdiag(0)
    w.eliminate_zeros()
    used = np.flatnonzero(np.diff(w.indptr)) if sets is None else np.arange(w.shape[0])
    order = np.random.default_rng(7).permutation(used)
    w = sp.csr_matrix(w[order][:, order].astype(np.float32))
    w.sort_indices()
    sp.save_npz(os.path.join(out, name + ".csr.npz"), w, compressed=False)
    if sets is not None:
        sets = sp.csr_matrix(sets[:, order].astype(np.uint8))
        sets.sort_indices()
        sp.save_npz(os.path.join(out, name + ".access.npz"), sets)
    print(f"{name}: n {w.shape[0]}, entries {w.nnz}", flush=True)


def of_pairs(pairs, weight=None):
    """CSR of pairs of names; repeats add up."""
    name = {x: i for i, x in enumerate(sorted({x for pair in pairs for x in pair}))}
    i = np.array([name[a] for a, _ in pairs], np.int64)
    j = np.array([name[b] for _, b in pairs], np.int64)
    return sp.coo_matrix((np.ones(len(i)), (i, j)), (len(name), len(name))).tocsr()


def packages(out):
    try:
        text = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True).stdout
    except OSError:
        text = ""
    pairs, name = [], None
    for line in text.splitlines():
        if line.startswith("Package: "):
            name = line[9:]
        elif line.startswith(("Depends: ", "Pre-Depends: ")):
            for word in re.split(r"[,|]", line.split(": ", 1)[1]):
                pairs.append((name, word.split()[0].split(":")[0]))
    if len(pairs) < 1000:
        raise Missing("apt-cache knows no packages here")
    save(out, "packages", of_pairs(pairs))


def includes(out):
    top, path_of, lines = "/usr/include", collections.defaultdict(list), []
    for folder, _, files in os.walk(top):
        for f in files:
            path = os.path.join(folder, f)
            path_of[f].append(path)
            try:
                with open(path, errors="ignore") as text:
                    lines += [(path, m) for m in re.findall(
                        r"^\s*#\s*include\s*[<\"]([^>\"]+)", text.read(), re.M)]
            except OSError:
                continue
    pairs = []
    for path, what in lines:
        near = os.path.normpath(os.path.join(os.path.dirname(path), what))
        found = [p for p in path_of[os.path.basename(what)]
                 if p == near or p.endswith("/" + what)]
        if near in found:
            found = [near]
        if found:
            pairs.append((path, min(found, key=len)))
    if len(pairs) < 1000:
        raise Missing("there are few headers here")
    save(out, "includes", of_pairs([p for p in pairs if p[0] != p[1]]))


def words(out):
    text = ""
    for name in ["austen.txt", "sentences.tsv"]:
        with open(os.path.join(ROOT, "data", "text", name), encoding="utf-8") as f:
            text += f.read().lower() + "\n"
    tokens = re.findall(r"[a-z']+", text)
    pairs = [(tokens[i], tokens[i + d]) for d in range(1, 5) for i in range(len(tokens) - d)]
    save(out, "words", of_pairs([p for p in pairs if p[0] != p[1]]))


def together(sets):
    """Jaccard over the events of a 0/1 matrix, then D^-1/2 W D^-1/2."""
    a = sp.csr_matrix(sets.astype(np.float64))
    both = sp.coo_matrix(sp.triu(a.T @ a, 1))
    count = np.asarray(a.sum(0)).ravel()
    jaccard = both.data / (count[both.row] + count[both.col] - both.data)
    w = sp.coo_matrix((jaccard, (both.row, both.col)), both.shape).tocsr()
    degree = np.asarray((w + w.T).sum(0)).ravel()
    root = sp.diags(1 / np.sqrt(np.maximum(degree, 1e-30)))
    return strongest(root @ w @ root)


def strongest(w):
    """The 5 % of all pairs that weigh most."""
    n, w = w.shape[0], sp.coo_matrix(w)
    keep = int(0.025 * n * n)
    if w.nnz > keep:
        chosen = np.argsort(-w.data, kind="stable")[:keep]
        w = sp.coo_matrix((w.data[chosen], (w.row[chosen], w.col[chosen])), w.shape)
    return w.tocsr()


def neurons(out, layer):
    path = os.path.join(ROOT, "data", f"use-lite-ffn{layer}.access.npz")
    sets = sp.load_npz(path)
    cut = sets.shape[0] * 2 // 3
    save(out, f"neurons-{layer}", together(sets[:cut]), sets[cut:])


def coactivation(out, n=4096, topics=160, events=6000):
    r = np.random.default_rng(12)
    popular = 1 / (1 + r.permutation(n)) ** 0.7
    member = [np.unique(r.choice(n, int(20 + r.pareto(1.5) * 20) % 400 + 8, p=popular / popular.sum()))
              for _ in range(topics)]
    rate = 1 / (1 + np.arange(topics)) ** 0.8
    rows, cols = [], []
    for e in range(events):
        fires = [member[t] for t in r.choice(topics, r.integers(1, 4), p=rate / rate.sum())]
        fires = [f[r.random(len(f)) < 0.6] for f in fires]
        fires.append(r.choice(n, r.integers(2, 20), p=popular / popular.sum()))
        now = np.unique(np.concatenate(fires))
        rows.append(np.full(len(now), e))
        cols.append(now)
    rows, cols = np.concatenate(rows), np.concatenate(cols)
    sets = sp.coo_matrix((np.ones(len(rows)), (rows, cols)), (events, n)).tocsr()
    cut = events * 2 // 3
    a = sets[:cut]
    save(out, "coactivation", strongest(sp.triu(a.T @ a, 1)), sets[cut:])


def public(out, name):
    sys.path.insert(0, SHARED)
    try:
        import gen
    except ImportError as e:
        raise Missing("../shared/instances is not here") from e
    path = os.path.join(out, name)
    {"mock-2560": lambda: gen.mock(path), "mock-2560-b40": lambda: gen.mock40(path),
     "sbm-100k": lambda: gen.sbm(path, 100_000, 45), "sbm-1M": lambda: gen.sbm(path, 1_000_000, 46),
     "grid-1M": lambda: gen.grid(path)}[name]()


OWN = {"packages": packages, "includes": includes, "words": words,
       "neurons-0": lambda out: neurons(out, 0), "neurons-1": lambda out: neurons(out, 1),
       "coactivation": coactivation}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    out, names = sys.argv[1], sys.argv[2:] or list(OWN) + PUBLIC[:3]
    os.makedirs(out, exist_ok=True)
    for name in names:
        if os.path.exists(os.path.join(out, name + ".csr.npz")):
            continue
        try:
            OWN[name](out) if name in OWN else public(out, name)
        except Missing as e:
            print(f"{name}: left out, {e}", flush=True)


if __name__ == "__main__":
    main()
