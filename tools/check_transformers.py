#!/usr/bin/env python3
"""Compares ICD with Hugging Face transformers: check_transformers.py OUT.safetensors MODEL [PERMUTED].

OUT comes from `icd infer MODEL --dtype f32 -o OUT.safetensors`. PERMUTED is a folder written by `icd
apply`; transformers loads it as it is, and its hidden states are compared after the recorded order of
the residual axis is undone. Needs torch and transformers; the tests do not.
"""
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import load_file
from transformers import BertModel


def run(folder, ids):
    model = BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        out = model(input_ids=torch.tensor(ids.astype(np.int64)))
    return out.last_hidden_state.numpy(), out.pooler_output.numpy()


def show(what, a, b):
    cosine = (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    print(f"{what}: max |a-b| / max |a| = {abs(a - b).max() / abs(a).max():.3g}, "
          f"smallest cosine {cosine.min():.8f}")


def main(outputs, model, permuted=None):
    mine = load_file(outputs)
    hidden, pooled = run(model, mine["ids"])
    show("icd infer against transformers, hidden", hidden, mine["hidden"])
    show("icd infer against transformers, pooled", pooled, mine["pooled"])
    if permuted is None:
        return
    moved, moved_pooled = run(permuted, mine["ids"])
    axes = json.loads((pathlib.Path(permuted) / "icd.axes.json").read_text())["axes"]
    undone = moved
    if "residual" in axes:
        undone = np.empty_like(moved)
        undone[..., axes["residual"]["pi"]] = moved
    show("permuted model in transformers, hidden", hidden, undone)
    show("permuted model in transformers, pooled", pooled, moved_pooled)


if __name__ == "__main__":
    main(*sys.argv[1:4])
