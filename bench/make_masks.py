#!/usr/bin/env python3
"""make_masks.py FFN.safetensors OUT: V x 1 masks of trained matrices as access sets, for bench_hyper.

Every row block of V = 64 rows keeps its round((1 - rate) n) input channels of highest saliency (sum of
squares of |w| ||x||; attention: of |w|). A file NAME.RATE.npz is a SciPy CSR matrix [row blocks, channels]."""
import json
import os
import struct
import sys

import numpy as np
import scipy.sparse as sp

V = 64


def read_tensors(path):
    with open(path, "rb") as f:
        data = f.read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + k for k in entry["data_offsets"])
        dtype = {"F32": np.float32, "F16": np.float16}[entry["dtype"]]
        tensors[name] = np.frombuffer(data[begin:end], dtype).reshape(entry["shape"]).astype(np.float64)
    return tensors


def matrices(t):
    for layer in range(2):
        name = f"layer.{layer}.ffn."
        if name + "w1" not in t:
            continue
        x = t[name + "input"]
        inner = np.maximum(x @ t[name + "w1"].T + t[name + "b1"], 0)
        yield f"up{layer}", t[name + "w1"] * np.sqrt((x ** 2).sum(0))
        yield f"down{layer}", t[name + "w2"] * np.sqrt((inner ** 2).sum(0))
    for name in ("qkv", "out"):
        if f"layer.1.attn.{name}" in t:
            yield f"{name}1", t[f"layer.1.attn.{name}"]


def mask(saliency, rate):
    blocks = (saliency ** 2).reshape(-1, V, saliency.shape[1]).sum(1)
    kept = np.zeros(blocks.shape, np.uint8)
    best = np.argsort(-blocks, 1, kind="stable")[:, :round((1 - rate) * blocks.shape[1])]
    np.put_along_axis(kept, best, 1, 1)
    return sp.csr_matrix(kept)


def main():
    source, out = sys.argv[1:]
    for name, saliency in matrices(read_tensors(source)):
        for rate in (.5, .75):
            sp.save_npz(os.path.join(out, f"{name}.{round(100 * rate)}.npz"), mask(saliency, rate))


main()
