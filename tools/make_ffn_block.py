#!/usr/bin/env python3
"""Writes one feed-forward block and some of its real inputs, in half precision.

usage: make_ffn_block.py use-lite-ffn.safetensors OUT.safetensors

Keeps layer.1.ffn.{w1,b1,w2,b2} and the first 512 rows of its recorded input (as `input`), rounded to
F16 (every value is far below 65504). Needs NumPy only; the same input gives the same bytes.
"""
import json
import sys

import numpy as np

WEIGHTS = ["layer.1.ffn." + part for part in ("w1", "b1", "w2", "b2")]
ROWS = 512
NUMPY = {"F32": "<f4", "F16": "<f2"}


def read(path):
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        data = file.read()
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(data[slice(*entry["data_offsets"])],
                            NUMPY[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in header.items()
    }


def write(path, tensors):
    header, at = {}, 0
    for name in sorted(tensors):
        end = at + tensors[name].nbytes
        header[name] = {"dtype": "F16", "shape": tensors[name].shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(tensors):
            file.write(tensors[name].tobytes())


def main(source, out):
    tensors = read(source)
    kept = {name: tensors[name] for name in WEIGHTS}
    kept["input"] = tensors["layer.1.ffn.input"][:ROWS]
    half = {name: np.ascontiguousarray(t, "<f2") for name, t in kept.items()}
    assert all(np.isfinite(t).all() for t in half.values())
    write(out, half)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
