#!/usr/bin/env python3
"""Writes the seeds of corpus/safetensors: sound files, and the ways in which they break."""
import json
import pathlib

OUT = pathlib.Path(__file__).parent / "corpus" / "safetensors"


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def image(header, data=0, lie=0):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return (len(text) + lie).to_bytes(8, "little") + text + bytes(i * 37 % 256 for i in range(data))


SEEDS = {
    "two": image({"__metadata__": {"format": "pt"}, "w": entry("F32", [2, 3], 0, 24),
                  "b": entry("F16", [3], 24, 30)}, 30),
    "misaligned": image({"a": entry("U8", [1], 0, 1), "b": entry("F64", [1], 1, 9)}, 9),
    "none": image({}),
    "empty_tensor": image({"a": entry("BF16", [0, 4], 0, 0), "s": entry("I8", [], 0, 1)}, 1),
    "cut": image({"w": entry("F32", [2, 3], 0, 24)}, 24)[:-5],
    "length_lies": image({"w": entry("I32", [1], 0, 4)}, 4, lie=1 << 40),
    "overlap": image({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, 6),
    "hole": image({"a": entry("U8", [4], 4, 8)}, 8),
    "overflow": image({"a": entry("F64", [1 << 62, 4, 4], 0, 8)}, 8),
    "negative": image({"a": entry("F32", [-1], 0, 4)}, 4),
    "dtype": image({"a": entry("F31", [1], 0, 4)}, 4),
    "twice": image(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":3}'),
    "no_json": image(b"{\"a\":\xff}"),
}

if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.items():
        (OUT / name).write_bytes(data)
