#!/usr/bin/env python3
"""Writes bert-heads/KIND: tiny random BERTs with the heads that tasks put on them, and their logits.

usage: make_bert_heads_oracle.py OUT_DIR     (pip: torch, transformers, safetensors)

Each folder holds config.json, model.safetensors (F32) and reference.safetensors with ids [3, 9] (padded
with 0), lengths [3] and logits: [3, 9, vocab] masked words, [3, 5] sequence labels, [3, 9, 4] token
labels, [3, 9, 2] span ends.
"""
import json
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import (BertConfig, BertForMaskedLM, BertForQuestionAnswering, BertForSequenceClassification,
                          BertForTokenClassification)

KINDS = {"masked": (BertForMaskedLM, 2), "sequence": (BertForSequenceClassification, 5),
         "tokens": (BertForTokenClassification, 4), "span": (BertForQuestionAnswering, 2)}
LENGTHS = [9, 4, 7]


def logits(kind, out):
    if kind == "span":
        return torch.stack([out.start_logits, out.end_logits], -1)
    return out.logits


def main(root):
    torch.set_num_threads(1)
    for kind, (make, labels) in KINDS.items():
        torch.manual_seed(7)
        config = BertConfig(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=36,
                            vocab_size=40, max_position_embeddings=12, hidden_act="relu" if kind == "masked" else "gelu",
                            num_labels=labels, architectures=[make.__name__])
        model = make(config).eval()
        with torch.no_grad():
            for name, p in model.named_parameters():  # norms and biases that do something
                p += .2 * torch.randn_like(p)
        ids = torch.randint(1, 40, (3, 9))
        mask = torch.arange(9)[None] < torch.tensor(LENGTHS)[:, None]
        ids = ids * mask
        with torch.no_grad():
            out = logits(kind, model(input_ids=ids, attention_mask=mask.long()))
        folder = os.path.join(root, kind)
        os.makedirs(folder, exist_ok=True)
        skip = ("position_ids", "predictions.decoder.weight", "predictions.decoder.bias")
        save_file({k: v.contiguous() for k, v in model.state_dict().items() if not k.endswith(skip)},
                  os.path.join(folder, "model.safetensors"), {"format": "pt"})
        save_file({"ids": ids.int(), "lengths": torch.tensor(LENGTHS).int(), "logits": out.contiguous()},
                  os.path.join(folder, "reference.safetensors"))
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump(config.to_dict(), file, indent=1, sort_keys=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
