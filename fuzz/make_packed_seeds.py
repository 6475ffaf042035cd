#!/usr/bin/env python3
"""Writes the seeds of corpus/packed: block files with packed matrices, sound and broken."""
import json
import pathlib
import struct

OUT = pathlib.Path(__file__).parent / "corpus" / "packed"
W = "layer.0.ffn.w1"
ROWS, COLS = 4, 6
SIZE = {"I8": 1, "U8": 1, "BF16": 2, "F32": 4, "I32": 4}


def image(tensors, about):
    header, data = {"__metadata__": {"icd.packed": about if isinstance(about, str) else json.dumps(about)}}, b""
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def ints(*values):
    return struct.pack("<%di" % len(values), *values)


def floats(*values):
    return struct.pack("<%df" % len(values), *values)


REST = {
    "layer.0.ffn.b1": ("F32", [ROWS], bytes(4 * ROWS)),
    "layer.0.ffn.b2": ("F32", [COLS], bytes(4 * COLS)),
    "layer.0.ffn.w2": ("F32", [COLS, ROWS], bytes(4 * ROWS * COLS)),
}
ABOUT = {"rows": ROWS, "cols": COLS, "dtype": "int8", "vector": 0, "group": 0, "n": 0, "m": 0, "frame": "0" * 16}
SCALES = {W + ".icd.scales": ("F32", [ROWS, 1], floats(.5, 1, 0, 2))}
WHICH = {W + ".icd.outlier_columns": ("I32", [2], ints(1, 4))}
WIDE = {W + ".icd.outliers": ("BF16", [ROWS, 2], bytes(range(16)))}
FEW = {W + ".icd.values": ("I8", [ROWS * (COLS - 2)], bytes(range(16)))}
ALL = {W + ".icd.values": ("I8", [ROWS * COLS], bytes(range(24)))}
ORDER = {W + ".icd.order": ("I32", [COLS], ints(0, 2, 3, 5, 1, 4))}
MASK = {W + ".icd.mask": ("U8", [2, 1], b"\x2b\x17")}


def about(**more):
    return {W: {**ABOUT, **more}}


def part(*tensors):
    whole = dict(REST)
    for t in tensors:
        whole.update(t)
    return whole


SOUND = part(SCALES, WHICH, WIDE, FEW, ORDER)
MASKED = part(SCALES, WHICH, WIDE, MASK,
              {W + ".icd.values": ("I8", [2 * 3 + 2 * 2], bytes(range(10)))})
SEEDS = {
    "outliers": image(SOUND, about(outliers=2, input_scale=.03125)),
    "plain": image(part(SCALES, ALL), about()),
    "masked": image(MASKED, about(outliers=2, vector=2)),
    "int4": image(part(SCALES, WHICH, WIDE, {W + ".icd.values": ("U8", [8], bytes(range(8)))}),
                  about(outliers=2, dtype="int4")),
    "cut": image(SOUND, about(outliers=2))[:-20],
    "more-than-columns": image(SOUND, about(outliers=7)),
    "count-lies": image(SOUND, about(outliers=1)),
    "huge": image(SOUND, about(outliers=1 << 40)),
    "rows-lie": image(SOUND, about(outliers=2, rows=1 << 20)),
    "no-columns": image(part(SCALES, WIDE, FEW), about(outliers=2)),
    "no-weights": image(part(SCALES, WHICH, FEW), about(outliers=2)),
    "falling": image(part(SCALES, WIDE, FEW, {W + ".icd.outlier_columns": ("I32", [2], ints(4, 1))}), about(outliers=2)),
    "beyond": image(part(SCALES, WIDE, FEW, {W + ".icd.outlier_columns": ("I32", [2], ints(1, 6))}), about(outliers=2)),
    "negative": image(part(SCALES, WIDE, FEW, {W + ".icd.outlier_columns": ("I32", [2], ints(-1, 4))}), about(outliers=2)),
    "unasked": image(part(SCALES, WHICH, WIDE, ALL), about()),
    "of-bf16": image(part(WHICH, WIDE, {W + ".icd.values": ("BF16", [16], bytes(32))}), about(outliers=2, dtype="bf16")),
    "scale-negative": image(part(SCALES, ALL), about(input_scale=-1)),
    "scale-large": image(part(SCALES, ALL), about(input_scale=1e300)),
    "scale-text": image(part(SCALES, ALL), about(input_scale="1")),
    "no-json": image(SOUND, "{"),
}

if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.items():
        (OUT / (name + ".safetensors")).write_bytes(data)
