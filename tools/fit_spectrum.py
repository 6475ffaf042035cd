#!/usr/bin/env python3
"""Fits the importance spectrum of synthetic weights (src/model/synthetic.c) to trained matrices.

    python3 tools/fit_spectrum.py MODEL.safetensors...

Model: w[i][j] = scale * exp(s_row t_i + s_col u_j) * normal, t and u Student's t of `dof` degrees of
freedom. Row and column scales are separated by alternating normalisation. The logarithm of the RMS
of n normal values has the variance 1 / (2 n), which is taken off; s follows from the variance, dof
from the fourth cumulant, to which that noise adds next to nothing.
"""

import json
import re
import struct
import sys
from collections import defaultdict

import numpy as np

TYPES = {"F32": np.float32, "F16": np.float16}


def tensors(path):
    with open(path, "rb") as file:
        data = file.read()
    (size,) = struct.unpack("<Q", data[:8])
    for name, about in json.loads(data[8:8 + size]).items():
        if name != "__metadata__" and about["dtype"] in TYPES:
            begin, end = (8 + size + x for x in about["data_offsets"])
            values = np.frombuffer(data[begin:end], TYPES[about["dtype"]])
            yield name, values.reshape(about["shape"]).astype(np.float64)


def scales(w):
    """Row and column scales whose removal leaves rows and columns of RMS 1."""
    row, col = np.ones(w.shape[0]), np.ones(w.shape[1])
    for _ in range(20):
        rest = w / np.outer(row, col)
        row *= np.sqrt((rest ** 2).mean(1) + 1e-30)
        rest = w / np.outer(row, col)
        col *= np.sqrt((rest ** 2).mean(0) + 1e-30)
    return np.log(row), np.log(col), w / np.outer(row, col)


def fit(log, noise):
    x = log - log.mean()
    variance = max((x ** 2).mean() - noise, 0)
    fourth = (x ** 4).mean() - 3 * (x ** 2).mean() ** 2
    excess = fourth / variance ** 2 if variance > .01 ** 2 else 0
    dof = np.clip(4 + 6 / excess, 4.5, 50) if excess > .1 else 50
    return np.sqrt(variance * (dof - 2) / dof), dof


def main():
    kinds = defaultdict(list)
    for path in sys.argv[1:]:
        for name, w in tensors(path):
            if re.search(r"embed|A_log|bias|conv1d|\.(input|output)$", name) or min(w.shape) < 8:
                continue  # no multiplied matrix, or activations
            if w.ndim == 1:
                w = w[:, None]  # gains: their size is their row's scale
            row, col, rest = scales(w)
            noise = .5 if w.shape[1] > 1 else 0
            kinds[path.split("/")[-2] + " " + re.sub(r"\d+", "*", name, count=1)].append(
                [*fit(row, noise / w.shape[1]), *fit(col, noise / w.shape[0]),
                 (rest ** 4).mean() / (rest ** 2).mean() ** 2, w.std() * np.sqrt(w.shape[1])])
    print(f"{'median of the matrices':64} n  s_row  dof  s_col  dof  kurtosis  std*sqrt(cols)")
    for kind, rows in kinds.items():
        m = np.median(rows, 0)
        print(f"{kind:64} {len(rows):2} {m[0]:6.3f} {m[1]:4.0f} {m[2]:6.3f} {m[3]:4.0f} {m[4]:9.2f} {m[5]:9.2f}")


if __name__ == "__main__":
    main()
