#!/usr/bin/env python3
"""Writes fuzz/corpus/gpt2: make_gpt2_seeds.py FOLDER."""
import json
import pathlib
import struct
import sys

SHAPES = {"wte.weight": [2, 2], "wpe.weight": [2, 2], "ln_f.weight": [2], "ln_f.bias": [2],
          "h.0.ln_1.weight": [2], "h.0.ln_1.bias": [2], "h.0.ln_2.weight": [2], "h.0.ln_2.bias": [2],
          "h.0.attn.c_attn.weight": [2, 6], "h.0.attn.c_attn.bias": [6],
          "h.0.attn.c_proj.weight": [2, 2], "h.0.attn.c_proj.bias": [2],
          "h.0.mlp.c_fc.weight": [2, 3], "h.0.mlp.c_fc.bias": [3],
          "h.0.mlp.c_proj.weight": [3, 2], "h.0.mlp.c_proj.bias": [2]}


def seed(shapes, dtype="F32", size=4):
    header, data = {}, b""
    for name, shape in shapes.items():
        count = 1
        for n in shape:
            count *= n
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + size * count]}
        data += bytes((7 * i + 3) % 60 for i in range(size * count))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def main():
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    sound = seed(SHAPES)
    seeds = {
        "sound": sound,
        "half": seed(SHAPES, "F16", 2),
        "prefix": seed({"transformer." + k: v for k, v in SHAPES.items()}),
        "masks": seed({**SHAPES, "h.0.attn.bias": [1, 1, 2, 2], "h.0.attn.masked_bias": []}),
        "cut": sound[:-5],
        "seven": seed({**SHAPES, "h.0.attn.c_attn.weight": [2, 7]}),
        "three_dims": seed({**SHAPES, "h.0.attn.c_attn.weight": [1, 2, 6]}),
        "scalar": seed({**SHAPES, "h.0.attn.c_attn.bias": []}),
        "empty": seed({**SHAPES, "h.0.mlp.c_fc.weight": [0, 3]}),
        "twice": seed({**SHAPES, "model.layers.0.self_attn.q_proj.weight": [2, 2]}),
        "other_layer": seed({**SHAPES, "h.1.mlp.c_fc.weight": [2, 3]}),
        "bytes": seed(SHAPES, "U8", 1),
    }
    for name, data in seeds.items():
        (out / f"{name}.safetensors").write_bytes(data)


if __name__ == "__main__":
    main()
