#!/usr/bin/env python3
"""Makes tests/data/gpt2_*: small random GPT2LMHeadModel folders, and what transformers computes
with them, layer by layer. Needs torch, transformers, safetensors, numpy:

    python3 tools/make_gpt2_oracle.py tests/data
"""

import json
import os
import sys

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import GPT2Config, GPT2LMHeadModel

SHAPES = {
    "gpt2_tied": dict(n_embd=24, n_head=4, n_inner=None, activation_function="gelu_new"),
    "gpt2_head": dict(n_embd=15, n_head=5, n_inner=22, activation_function="relu",
                      layer_norm_epsilon=1e-3, tie_word_embeddings=False),
}
COMMON = dict(n_layer=2, vocab_size=50, n_positions=48)
BATCH, SEQ = 2, 21


def tensors_of(config, rng):
    hidden, inner = config["n_embd"], config["n_inner"] or 4 * config["n_embd"]

    def matrix(*shape, size=1.5):
        return (rng.standard_normal(shape) * size / np.sqrt(shape[0])).astype(np.float32)

    def vector(n, mean=0.):
        return (mean + .3 * rng.standard_normal(n)).astype(np.float32)

    out = {"wte.weight": matrix(config["vocab_size"], hidden, size=7.),
           "wpe.weight": matrix(config["n_positions"], hidden, size=4.),
           "ln_f.weight": vector(hidden, 1.), "ln_f.bias": vector(hidden)}
    for n in range(config["n_layer"]):
        for norm in ("ln_1", "ln_2"):
            out[f"h.{n}.{norm}.weight"], out[f"h.{n}.{norm}.bias"] = vector(hidden, 1.), vector(hidden)
        for name, rows, cols in (("attn.c_attn", hidden, 3 * hidden), ("attn.c_proj", hidden, hidden),
                                 ("mlp.c_fc", hidden, inner), ("mlp.c_proj", inner, hidden)):
            out[f"h.{n}.{name}.weight"], out[f"h.{n}.{name}.bias"] = matrix(rows, cols), vector(cols)
    return out


def inputs_of_linears(model, ids):
    """Logits, the state after the final norm, and the input of every linear of every layer."""
    seen = {}

    def note(name):
        return lambda _, args: seen.__setitem__(name, args[0].numpy())

    for n, layer in enumerate(model.transformer.h):
        for name, module in (("attn.q", layer.attn.c_attn), ("attn.out", layer.attn.c_proj),
                             ("mlp.up", layer.mlp.c_fc), ("mlp.down", layer.mlp.c_proj)):
            module.register_forward_pre_hook(note(f"layer.{n}.{name}"))
    with torch.no_grad():
        out = model(torch.tensor(ids), output_hidden_states=True)
    return dict(seen, logits=out.logits.numpy(), hidden=out.hidden_states[-1].numpy())


def make(name, shape, folder):
    rng = np.random.default_rng(len(name) + shape["n_embd"])
    config = {**COMMON, **shape}
    tensors = tensors_of(config, rng)
    tied = config.get("tie_word_embeddings", True)
    # as GPT2LMHeadModel saves it, and as the original checkpoint has it: without prefix, with masks
    prefix = "" if tied else "transformer."
    stored = {prefix + key: value for key, value in tensors.items()}
    if tied:
        for n in range(config["n_layer"]):
            stored[f"h.{n}.attn.bias"] = np.tril(np.ones((1, 1, 4, 4), np.float32))
    else:
        stored["lm_head.weight"] = rng.standard_normal((config["vocab_size"], config["n_embd"])).astype(np.float32)
    model = GPT2LMHeadModel(GPT2Config(**config)).eval()
    state = {"transformer." + key: torch.tensor(value) for key, value in tensors.items()}
    if not tied:
        state["lm_head.weight"] = torch.tensor(stored["lm_head.weight"])
    missing = model.load_state_dict(state, strict=False).missing_keys
    assert all("attn.bias" in m or "masked_bias" in m or m == "lm_head.weight" for m in missing), missing
    model.tie_weights()
    ids = rng.integers(0, config["vocab_size"], (BATCH, SEQ))
    path = os.path.join(folder, name)
    os.makedirs(path, exist_ok=True)
    save_file(stored, os.path.join(path, "model.safetensors"), {"format": "pt"})
    with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as out:
        json.dump({"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", **config}, out, indent=2)
        out.write("\n")
    np.savez_compressed(os.path.join(path, "oracle.npz"), ids=ids.astype(np.int32),
                        **inputs_of_linears(model, ids))


def main():
    for name, shape in SHAPES.items():
        make(name, shape, sys.argv[1])


if __name__ == "__main__":
    main()
