#!/usr/bin/python3
"""Writes fiedler_oracle.json: small connected weighted graphs with lambda_2 and its vector by SciPy
(plain and normalised Laplacian), signs fixed so that the first non-zero entry is positive."""
import json
import os

import numpy as np
from scipy.linalg import eigh
from scipy.sparse.csgraph import connected_components, laplacian


def graph(rng, n, density):
    while True:
        a = np.triu(rng.random((n, n)) < density, 1) * rng.integers(1, 9, (n, n)).astype(float)
        a += a.T
        if connected_components(a)[0] == 1:
            return a


def ring_of_cliques(rng, count, size):
    """Cliques with weights over three decades, joined by weak edges to a ring that is not symmetric."""
    n = count * size
    a = np.zeros((n, n))
    for c in range(count):
        k = c * size
        a[k:k + size, k:k + size] = np.triu(np.round(10 ** rng.uniform(0, 3, (size, size))), 1)
        if c + 1 < count:
            a[k + size - 1, k + size] = c + 1
    a[0, n - 1] = 1
    return a + a.T


def pair(a, normed):
    value, vector = eigh(laplacian(a, normed=normed))
    v = vector[:, 1]
    v *= np.sign(v[np.abs(v) > 1e-9][0])
    return float(value[1]), [float(x) for x in v]


def case_of(a):
    i, j = np.nonzero(np.triu(a))
    case = {"n": len(a), "i": i.tolist(), "j": j.tolist(), "w": a[i, j].tolist()}
    case["plain"], case["plain_vector"] = pair(a, False)
    case["normalized"], case["normalized_vector"] = pair(a, True)
    return case


def main():
    rng = np.random.default_rng(4)
    cases = []
    for n, density in ((3, 0.9), (10, 0.4), (40, 0.15), (90, 0.08), (150, 0.05), (260, 0.03)):
        cases.append(case_of(graph(rng, n, density)))
    cases.append(case_of(ring_of_cliques(rng, 24, 8)))
    cases.append(case_of(ring_of_cliques(rng, 50, 5)))
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fiedler_oracle.json")
    with open(path, "w") as f:
        json.dump(cases, f)
        f.write("\n")


if __name__ == "__main__":
    main()
