#!/usr/bin/python3
"""bench_graph.py PROGRAM [D EVENTS]: W by `bench_graph` beside SciPy's A.T @ A, in one run.

Access sets: every event draws one of 40 topics; an index of the topic is active with a chance
8 times that of the others. Densities from contextual sparsity (0.5 %) to denser traces (5 %)."""
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import scipy.sparse as sp


def trace(d, events, density, topics=40, lift=8, seed=1):
    rng = np.random.default_rng(seed)
    home = rng.integers(0, topics, d)
    base = density / (1 + (lift - 1) / topics)
    rows, cols = [], []
    for topic in range(topics):
        mine = np.arange(topic, events, topics)
        chance = np.where(home == topic, min(1, lift * base), base)
        for part in np.array_split(mine, max(1, len(mine) * d // 4_000_000)):
            r, c = np.nonzero(rng.random((len(part), d), np.float32) < chance)
            rows.append(part[r].astype(np.int32))
            cols.append(c.astype(np.int32))
    r, c = np.concatenate(rows), np.concatenate(cols)
    a = sp.csr_matrix((np.ones(len(r), np.uint8), (r, c)), (events, d))
    a.sort_indices()
    return a


def scipy_seconds(a):
    a = a.astype(np.float32)
    begin, cpu = time.perf_counter(), time.process_time()
    w = (a.T @ a).tocsr()
    return time.perf_counter() - begin, time.process_time() - cpu, w.nnz


def main():
    program = sys.argv[1]
    d, events = (int(x) for x in (sys.argv[2:4] or (5120, 100_000)))
    print(f"W, jaccard, sym, default cap; D = {d}, {events} events; best of 2; CPUs: "
          f"{len(os.sched_getaffinity(0))}, load {os.getloadavg()[0]:.1f}", flush=True)
    for density in (0.005, 0.02, 0.05):
        a = trace(d, events, density)
        print(f"\ndensity {a.nnz / d / events:.3f}: {a.nnz} indices, "
              f"{int((np.diff(a.indptr).astype(np.int64) ** 2).sum()) // 2} pairs", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "trace.npz")
            sp.save_npz(path, a, compressed=False)
            subprocess.run([program, path, "2", "1", "2"], check=True)
        if density <= 0.02:
            wall, cpu, nnz = scipy_seconds(a)
            print(f"SciPy A.T @ A (1 thread, counts only)  {wall:8.3f} s  "
                  f"{cpu:8.3f} s CPU  nnz {nnz}",
                  flush=True)


if __name__ == "__main__":
    main()
