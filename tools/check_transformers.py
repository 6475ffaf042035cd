#!/usr/bin/env python3
"""Compares ICD with Hugging Face transformers: check_transformers.py OUT.safetensors MODEL [PERMUTED].

OUT comes from `icd infer MODEL --dtype f32 -o OUT.safetensors`. PERMUTED is a folder written by `icd
apply`; transformers loads it as it is, and its hidden states are compared after the recorded order of
the residual axis is undone. For a Llama or a GPT-2, hidden states, logits and perplexity are compared. Needs torch and transformers; the tests do not.
"""
import json
import pathlib
import sys

import numpy as np
import torch
from safetensors.numpy import load_file
from transformers import BertModel, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM


def read_config(folder):
    return json.loads((pathlib.Path(folder) / "config.json").read_text())


def run_bert(folder, ids):
    model = BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        out = model(input_ids=torch.tensor(ids))
    return out.last_hidden_state.numpy(), out.pooler_output.numpy()


def repeat_heads(config, name, w):
    """Each KV head as often as query heads read it: the same function without groups, so that old
    versions of transformers, which have none, compute it too."""
    if ".k_proj." not in name and ".v_proj." not in name:
        return w
    heads = w.reshape(config["num_key_value_heads"], -1, *w.shape[1:])
    repeated = np.repeat(heads, config["num_attention_heads"] // config["num_key_value_heads"], axis=0)
    return repeated.reshape(-1, *w.shape[1:])


def llama(folder):
    config = read_config(folder)
    weights = {name: repeat_heads(config, name, w.astype(np.float32))
               for name, w in load_file(pathlib.Path(folder) / "model.safetensors").items()}
    config["num_key_value_heads"] = config["num_attention_heads"]
    model = LlamaForCausalLM(LlamaConfig(**config)).eval()
    model.load_state_dict({name: torch.tensor(w) for name, w in weights.items()}, strict=False)
    if config["tie_word_embeddings"]:
        model.lm_head.weight = model.model.embed_tokens.weight
    for layer in model.model.layers:  # versions before 4.31 know one base only
        rotary = getattr(layer.self_attn, "rotary_emb", None)
        if rotary is not None:
            width = config["hidden_size"] // config["num_attention_heads"]
            layer.self_attn.rotary_emb = type(rotary)(width, config["max_position_embeddings"],
                                                      config["rope_theta"])
    return model


def is_decoder(folder):
    return read_config(folder)["model_type"] in ("llama", "gpt2")


def run_decoder(folder, ids):
    """Hidden states after the final norm, and logits."""
    gpt2 = read_config(folder)["model_type"] == "gpt2"
    model = GPT2LMHeadModel.from_pretrained(folder).eval() if gpt2 else llama(folder)
    with torch.no_grad():
        out = model(input_ids=torch.tensor(ids), output_hidden_states=True)
    return out.hidden_states[-1].numpy(), out.logits.numpy()


def run(folder, ids):
    run_one = run_decoder if is_decoder(folder) else run_bert
    return run_one(folder, ids.astype(np.int64))


def perplexity(logits, ids):
    shares = torch.log_softmax(torch.tensor(logits[:, :-1]), -1)
    return float(torch.exp(-shares.gather(-1, torch.tensor(ids[:, 1:, None].astype(np.int64))).mean()))


def head_of(folder):
    w = load_file(pathlib.Path(folder) / "model.safetensors")
    for name in ("lm_head.weight", "model.embed_tokens.weight", "transformer.wte.weight", "wte.weight"):
        if name in w:
            return w[name].astype(np.float32)
    raise SystemExit(f"{folder}: no head")


def compare_decoder(folder, mine, hidden, logits):
    """`icd infer` writes hidden states; the head is one matrix product more."""
    head = head_of(folder)
    mine_logits = mine["hidden"] @ head.T
    show("icd infer against transformers, hidden", hidden, mine["hidden"])
    show("icd infer against transformers, logits", logits, mine_logits)
    print(f"perplexity: transformers {perplexity(logits, mine['ids']):.5f}, "
          f"icd {perplexity(mine_logits, mine['ids']):.5f}")


def show(what, a, b):
    cosine = (a * b).sum(-1) / np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    print(f"{what}: max |a-b| / max |a| = {abs(a - b).max() / abs(a).max():.3g}, "
          f"smallest cosine {cosine.min():.8f}")


def main(outputs, model, permuted=None):
    mine = load_file(outputs)
    hidden, second = run(model, mine["ids"])
    if is_decoder(model):
        what = "logits"
        compare_decoder(model, mine, hidden, second)
    else:
        what = "pooled"
        show("icd infer against transformers, hidden", hidden, mine["hidden"])
        show("icd infer against transformers, pooled", second, mine["pooled"])
    if permuted is None:
        return
    moved, moved_second = run(permuted, mine["ids"])
    axes = json.loads((pathlib.Path(permuted) / "icd.axes.json").read_text())["axes"]
    undone = moved
    if "residual" in axes:
        undone = np.empty_like(moved)
        undone[..., axes["residual"]["pi"]] = moved
    show("permuted model in transformers, hidden", hidden, undone)
    show(f"permuted model in transformers, {what}", second, moved_second)


if __name__ == "__main__":
    main(*sys.argv[1:4])
