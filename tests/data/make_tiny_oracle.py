#!/usr/bin/env python3
"""Makes tiny_oracle.npz: what transformers computes in f32 with the trained models of data/ (tiny-bert, tiny-decoder,
tiny-mamba): hidden states behind the last norm, and logits of every eighth token. Needs torch and transformers 4.39 or newer:

    python3 tests/data/make_tiny_oracle.py data tests/data/tiny_oracle.npz
"""
import pathlib
import sys

import numpy as np
import torch
import transformers

SEQ, EVERY = 24, 8
LENGTHS = [24, 17]
MODEL = {"bert": transformers.BertForMaskedLM, "decoder": transformers.LlamaForCausalLM,
         "mamba": transformers.MambaForCausalLM}


def inputs(name, folder):
    """The bytes of two places in a text; of an encoder any ids, the shorter sequence padded."""
    text = (folder / "text/austen.txt").read_bytes()
    ids = np.array([list(text[at:at + SEQ]) for at in (1000, 9000)], np.int32)
    if name != "bert":
        return ids, [SEQ, SEQ]
    rng = np.random.default_rng(5)
    ids = rng.integers(5, 256, ids.shape).astype(np.int32)
    ids[1, LENGTHS[1]:] = 0
    return ids, LENGTHS


def run(name, folder):
    model = MODEL[name].from_pretrained(folder / f"tiny-{name}", torch_dtype=torch.float32).eval()
    ids, lengths = inputs(name, folder)
    tensor = torch.from_numpy(ids.astype(np.int64))
    more = {}
    if name == "bert":
        more["attention_mask"] = torch.tensor([[int(i < n) for i in range(SEQ)] for n in lengths])
    with torch.no_grad():
        out = model(tensor, output_hidden_states=True, **more)
    return {f"{name}.ids": ids, f"{name}.lengths": np.array(lengths, np.int32),
            f"{name}.hidden": out.hidden_states[-1].numpy(), f"{name}.logits": out.logits[:, ::EVERY].numpy()}


def main(folder, out):
    members = {}
    for name in MODEL:
        members.update(run(name, pathlib.Path(folder)))
    np.savez_compressed(out, **members)


if __name__ == "__main__":
    main(*sys.argv[1:3])
