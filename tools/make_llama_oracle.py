#!/usr/bin/env python3
"""Makes tests/data/llama_*: small random LlamaForCausalLM folders and what transformers computes
with them. Needs torch, transformers, safetensors, numpy:

    python3 tools/make_llama_oracle.py tests/data
"""

import json
import os
import sys

import numpy as np
import torch
from safetensors.numpy import save_file
from transformers import LlamaConfig, LlamaForCausalLM

SHAPES = {
    "llama_gqa": dict(hidden_size=24, intermediate_size=40, num_attention_heads=6,
                      num_key_value_heads=2, tie_word_embeddings=False, hidden_act="silu"),
    "llama_tied": dict(hidden_size=16, intermediate_size=36, num_attention_heads=4,
                       num_key_value_heads=4, tie_word_embeddings=True, hidden_act="gelu",
                       rms_norm_eps=1e-5),
}
COMMON = dict(num_hidden_layers=2, vocab_size=50, max_position_embeddings=64)
BATCH, SEQ = 2, 21


def make(name, shape, folder):
    rng = np.random.default_rng(len(name))
    config = {**COMMON, "rms_norm_eps": 1e-6, **shape}
    dim = config["hidden_size"] // config["num_attention_heads"]
    kv = config["num_key_value_heads"] * dim
    hidden, inner, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]

    def matrix(rows, cols):
        return (rng.standard_normal((rows, cols)) * 1.5 / np.sqrt(cols)).astype(np.float32)

    def gain():
        return (1 + .3 * rng.standard_normal(hidden)).astype(np.float32)

    tensors = {"model.embed_tokens.weight": matrix(vocab, hidden) * np.float32(4),
               "model.norm.weight": gain()}
    if not config["tie_word_embeddings"]:
        tensors["lm_head.weight"] = matrix(vocab, hidden)
    for n in range(config["num_hidden_layers"]):
        p = f"model.layers.{n}."
        tensors[p + "input_layernorm.weight"] = gain()
        tensors[p + "post_attention_layernorm.weight"] = gain()
        tensors[p + "self_attn.q_proj.weight"] = matrix(hidden, hidden)
        tensors[p + "self_attn.k_proj.weight"] = matrix(kv, hidden)
        tensors[p + "self_attn.v_proj.weight"] = matrix(kv, hidden)
        tensors[p + "self_attn.o_proj.weight"] = matrix(hidden, hidden)
        tensors[p + "mlp.gate_proj.weight"] = matrix(inner, hidden)
        tensors[p + "mlp.up_proj.weight"] = matrix(inner, hidden)
        tensors[p + "mlp.down_proj.weight"] = matrix(hidden, inner)
    ids = rng.integers(0, vocab, (BATCH, SEQ))
    path = os.path.join(folder, name)
    os.makedirs(path, exist_ok=True)
    logits, hiddens = compute(config, tensors, ids)
    save_file(tensors, os.path.join(path, "model.safetensors"), {"format": "pt"})
    with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as out:
        json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
                   "rope_theta": 10000.0, "rope_scaling": None, **config}, out, indent=2)
        out.write("\n")
    np.savez_compressed(os.path.join(path, "oracle.npz"), ids=ids.astype(np.int32),
                        logits=logits, hidden=hiddens)


def compute(config, tensors, ids):
    """Logits and the hidden states after the final norm."""
    with torch.no_grad():
        model = LlamaForCausalLM(LlamaConfig(**{
            k: v for k, v in config.items() if k != "num_key_value_heads"})).eval()
        model.load_state_dict(widened(config, tensors), strict=False)
        if config["tie_word_embeddings"]:
            model.lm_head.weight = model.model.embed_tokens.weight
        out = model(torch.tensor(ids), output_hidden_states=True)
        return out.logits.numpy(), out.hidden_states[-1].numpy()


def widened(config, tensors):
    """Every KV head as often as query heads read it: transformers before 4.31 has no groups."""
    dim = config["hidden_size"] // config["num_attention_heads"]
    group = config["num_attention_heads"] // config["num_key_value_heads"]
    state = {}
    for name, value in tensors.items():
        if ".k_proj." in name or ".v_proj." in name:
            heads = value.reshape(-1, dim, value.shape[1])
            value = np.repeat(heads, group, axis=0).reshape(-1, value.shape[1])
        state[name] = torch.tensor(value)
    return state


def main():
    for name, shape in SHAPES.items():
        make(name, shape, sys.argv[1])


if __name__ == "__main__":
    main()
