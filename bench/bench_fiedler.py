#!/usr/bin/python3
"""bench_fiedler.py BENCH_FIEDLER [ARGUMENTS...]: its table with SciPy's lambda_2 (shift-invert Lanczos
just below zero) beside, and by how much the Rayleigh quotient exceeds it."""
import os
import subprocess
import sys
import tempfile

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import laplacian
from scipy.sparse.linalg import eigsh


def lambda_2(w, normed):
    """Shift-invert where a factorisation stays sparse; the top of 2I - L else (expanders fill in)."""
    l = laplacian(w.astype(float), normed=normed).tocsc()
    n = l.shape[0]
    if w.nnz < 4.5 * n and np.diff(w.indptr).min() < np.diff(w.indptr).max():
        value = eigsh(l, 2, sigma=-1e-9 * l.diagonal().max(), tol=1e-12, return_eigenvectors=False)
        return float(np.sort(value)[1])
    top = 2 * l.diagonal().max()
    value = eigsh(top * sp.identity(n) - l, 2, which="LA", ncv=80, tol=1e-10, maxiter=5000,
                  return_eigenvectors=False)
    return float(top - np.sort(value)[0])


def main():
    bench = sys.argv[1]
    lines = subprocess.run(sys.argv[1:], capture_output=True, text=True, check=True).stdout.split("\n")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([bench, "-w", folder], check=True)
        print(lines[0] + "\tscipy\tabove")
        for line in lines[1:]:
            if not line:
                continue
            name, kind, *_, quotient = line.split("\t")
            want = lambda_2(sp.load_npz(os.path.join(folder, name + ".csr.npz")), kind == "normalized")
            print(f"{line}\t{want:.10g}\t{100 * (float(quotient) / want - 1):.4f} %", flush=True)


if __name__ == "__main__":
    main()
