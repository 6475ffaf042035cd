#!/usr/bin/env python3
"""Makes tests/data/mamba: a small random MambaForCausalLM folder, and what plain PyTorch
(tools/train_tiny/models.py) computes with it. Needs torch, safetensors, numpy:

    python3 tools/make_mamba_oracle.py tests/data

With --transformers (4.39 or newer) it compares the two and prints the largest relative errors.
"""

import json
import os
import sys

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "train_tiny"))
from models import Mamba  # noqa: E402

# No size is a multiple of a vector, of a row block or of a block of the scan.
CONFIG = {"architectures": ["MambaForCausalLM"], "model_type": "mamba", "hidden_size": 20,
          "intermediate_size": 70, "num_hidden_layers": 2, "state_size": 5, "conv_kernel": 4,
          "time_step_rank": 3, "vocab_size": 37, "hidden_act": "silu", "use_bias": False,
          "use_conv_bias": True, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True}
BATCH, SEQ = 2, 29


def spread(model):
    """Weights as a trained model has them: nothing is all ones or all zeros."""
    for name, value in model.named_parameters():
        if name.endswith(("norm.weight", "norm_f.weight", ".D")):
            value.copy_(1 + .3 * torch.randn_like(value))
        elif name.endswith("A_log"):
            value.add_(.3 * torch.randn_like(value))
        elif value.dim() > 1 and "embeddings" not in name:
            value.mul_(2)


def hidden_states(model, ids):
    """The stream before each layer, and after the last with the final norm."""
    x, seen = model.backbone.embeddings(ids), []
    for layer in model.backbone.layers:
        seen.append(x)
        x = layer(x)
    return seen + [model.backbone.norm_f(x)]


def make(folder):
    torch.manual_seed(5)
    path = os.path.join(folder, "mamba")
    os.makedirs(path, exist_ok=True)
    with torch.no_grad():
        model = Mamba(CONFIG)
        spread(model)
        ids = torch.randint(CONFIG["vocab_size"], (BATCH, SEQ))
        states, logits = hidden_states(model, ids), model(ids)
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    save_file(tensors, os.path.join(path, "model.safetensors"), {"format": "pt"})
    with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as out:
        json.dump(CONFIG, out, indent=2)
        out.write("\n")
    np.savez_compressed(os.path.join(path, "oracle.npz"), ids=ids.numpy().astype(np.int32),
                        logits=logits.numpy(), hidden=states[-1].numpy(),
                        stream=torch.stack(states[:-1]).numpy())


def compare(folder):
    from transformers import MambaConfig, MambaForCausalLM
    path = os.path.join(folder, "mamba")
    oracle = np.load(os.path.join(path, "oracle.npz"))
    with open(os.path.join(path, "config.json"), encoding="utf-8") as file:
        model = MambaForCausalLM(MambaConfig(**json.load(file))).eval()
    state = {k: torch.tensor(v) for k, v in load_file(os.path.join(path, "model.safetensors")).items()}
    model.load_state_dict(state, strict=False)
    model.tie_weights()
    with torch.no_grad():
        out = model(torch.tensor(oracle["ids"]).long(), output_hidden_states=True)
    for name, found in (("logits", out.logits), ("hidden", out.hidden_states[-1])):
        gap = np.abs(found.numpy() - oracle[name]).max() / np.abs(oracle[name]).max()
        print(f"{name}: {gap:.2g} from transformers")


if __name__ == "__main__":
    if "--transformers" in sys.argv:
        compare(sys.argv[1])
    else:
        make(sys.argv[1])
