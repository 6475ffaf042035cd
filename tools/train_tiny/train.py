#!/usr/bin/env python3
"""Trains one of the small models that ship with the source.

usage: train.py bert|decoder|mamba TEXT OUT_DIR [STEPS]
"""
import json
import math
import os
import sys
import time

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

import models

LENGTH = {"bert": 64, "decoder": 128, "mamba": 128}
HELD = 20000
DECODER = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 128, "intermediate_size": 384,
    "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "hidden_act": "silu",
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "rope_scaling": None, "max_position_embeddings": 2048,
    "vocab_size": 256, "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False,
    "bos_token_id": 0, "eos_token_id": 0, "torch_dtype": "float16",
}
MAMBA = {
    "architectures": ["MambaForCausalLM"], "model_type": "mamba", "hidden_size": 128, "intermediate_size": 256,
    "num_hidden_layers": 4, "state_size": 16, "conv_kernel": 4, "expand": 2, "time_step_rank": 8, "vocab_size": 256,
    "hidden_act": "silu", "use_bias": False, "use_conv_bias": True, "layer_norm_epsilon": 1e-5,
    "residual_in_fp32": True, "tie_word_embeddings": True, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
    "torch_dtype": "float16",
}
BERT = dict(hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512, hidden_act="relu",
            max_position_embeddings=64, type_vocab_size=2, vocab_size=256)
PAD, UNK, CLS, SEP, MASK = range(5)


class Bytes:
    """Next byte: ids are the bytes of the text."""

    def __init__(self, net, config):
        self.net, self.config, self.unit = net(config), config, "bits_per_byte"

    def encode(self, text, out):
        return torch.tensor(list(text.encode("utf-8")))

    def loss(self, ids):
        return F.cross_entropy(self.net(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())

    def shown(self, loss):
        return loss / math.log(2)


class Pieces:
    """15 % of the word pieces hidden behind [MASK], ReLU feed-forward blocks."""

    def __init__(self):
        from transformers import BertConfig, BertForMaskedLM
        self.net, self.unit = BertForMaskedLM(BertConfig(**BERT)), "nats_per_masked_piece"
        self.look_at_neighbours(self.net.bert)
        self.config = self.net.config.to_dict() | {"architectures": ["BertForMaskedLM"], "torch_dtype": "float16"}

    @staticmethod
    def look_at_neighbours(bert):
        """Positions begin as waves, and the heads of the first layer one or two places to the left and right of their
        own: found by chance, which takes a large model, a model of this size would not learn to look anywhere."""
        table, self_ = bert.embeddings.position_embeddings.weight.data, bert.encoder.layer[0].attention.self
        n, width = table.shape
        waves, taken = width // 2, width // BERT["num_attention_heads"] // 2
        turn = 3 * 60. ** (-torch.arange(waves) / waves)
        angle = torch.arange(n)[:, None] * turn[None]
        table.copy_(.05 * torch.cat([angle.sin(), angle.cos()], 1))
        for head, step in enumerate((-1, 1, -2, 2)):
            for k in range(taken):
                row, sin, cos = head * 2 * taken + 2 * k, math.sin(step * turn[k]), math.cos(step * turn[k])
                for part, values in ((self_.query, ((cos, sin), (-sin, cos))), (self_.key, ((1, 0), (0, 1)))):
                    for i in range(2):
                        part.weight.data[row + i, k], part.weight.data[row + i, waves + k] = values[i]

    def encode(self, text, out):
        from tokenizers import BertWordPieceTokenizer
        words = BertWordPieceTokenizer(lowercase=True)
        words.train_from_iterator(text.split("\n"), vocab_size=BERT["vocab_size"], min_frequency=2,
                                  special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
        words.save_model(out)
        with open(os.path.join(out, "tokenizer_config.json"), "w") as file:
            json.dump({"tokenizer_class": "BertTokenizer", "do_lower_case": True}, file)
        return torch.tensor([i for line in text.split("\n") for i in words.encode(line, add_special_tokens=False).ids])

    def loss(self, ids):
        ids = ids.clone()
        ids[:, 0], ids[:, -1] = CLS, SEP
        hidden = (torch.rand(ids.shape) < .15) & (ids > MASK)
        labels = ids.masked_fill(~hidden, -100)
        return self.net(ids.masked_fill(hidden, MASK), labels=labels).loss

    def shown(self, loss):
        return loss


TASK = {  # task, steps, sequences a step, learning rate
    "bert": (Pieces, 2400, 32, 5e-4),
    "decoder": (lambda: Bytes(models.Decoder, DECODER), 1500, 24, 3e-3),
    "mamba": (lambda: Bytes(models.Mamba, MAMBA), 900, 16, 3e-3),
}


def windows(ids, length, count, generator):
    start = torch.randint(len(ids) - length, (count,), generator=generator)
    return torch.stack([ids[s:s + length] for s in start])


def held_loss(task, ids, length):
    task.net.eval()
    torch.manual_seed(2)
    with torch.no_grad():
        loss = task.loss(windows(ids, length, 64, torch.Generator().manual_seed(3))).item()
    task.net.train()
    return task.shown(loss)


def train(task, ids, length, steps, batch, rate):
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(task.net.parameters(), lr=rate, weight_decay=.05, betas=(.9, .98))
    began = time.time()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 100) * (.55 + .45 * math.cos(math.pi * step / steps))
        loss = task.loss(windows(ids[:-HELD], length, batch, generator))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.net.parameters(), 1.)
        optimizer.step()
        if step % 50 == 0:
            print(f"{step}/{steps} {task.shown(loss.item()):.3f} {time.time() - began:.0f} s", flush=True)


def main(kind, path, out, steps=None):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    os.makedirs(out, exist_ok=True)
    make, most, batch, rate = TASK[kind]
    task = make()
    with open(path, encoding="utf-8") as file:
        ids = task.encode(file.read(), out)
    steps = int(steps or most)
    length = LENGTH[kind]
    train(task, ids, length, steps, batch, rate)
    about = {"steps": steps, "batch": batch, "length": length, "tokens_in_text": len(ids), "seed": 0,
             "unit": task.unit, "held_out_loss": held_loss(task, ids[-HELD:], length)}
    state = {k: v.detach().half().contiguous() for k, v in task.net.state_dict().items()
             if not k.endswith(("position_ids", "predictions.decoder.weight", "predictions.decoder.bias"))}
    save_file(state, os.path.join(out, "model.safetensors"), {"format": "pt"})
    with open(os.path.join(out, "config.json"), "w") as file:
        json.dump(task.config, file, indent=1, sort_keys=True)
    with open(os.path.join(out, "training.json"), "w") as file:
        json.dump(about, file, indent=1)
    print(json.dumps(about))


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(*sys.argv[1:])
