#!/usr/bin/env python3
"""Writes minilm_oracle.npz: what Hugging Face's BertModel computes on all-MiniLM-L6-v2.

usage: make_minilm_oracle.py MODEL_DIR OUT.npz     (pip: torch, transformers, safetensors)

ids [3, 24] int32 padded with 0, lengths [3] int32, hidden [3, 24, 384] float32 and pooled [3, 384]
float32. Padded positions are computed too, with the padding masked as keys only.
"""
import io
import sys
import zipfile

import numpy as np
import torch
from transformers import BertModel

SEQUENCES = [
    # "it is a truth universally acknowledged , that a single man in possession of a good fortune ..."
    [101, 2009, 2003, 1037, 3606, 21447, 8969, 1010, 2008, 1037, 2309, 2158, 1999, 6664, 1997, 1037,
     2204, 7280, 2442, 2022, 1999, 2215, 1997, 102],
    # "hello , world !"
    [101, 7592, 1010, 2088, 999, 102],
    # rare ids, both ends of the vocabulary
    [101, 30521, 999, 1000, 29999, 12345, 54, 1, 100, 103, 22222, 8, 102],
]
TOKENS = 24


def write_npz(path, arrays):
    """Stored members with a fixed time stamp: the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in sorted(arrays.items()):
            data = io.BytesIO()
            np.lib.format.write_array(data, np.ascontiguousarray(array))
            archive.writestr(zipfile.ZipInfo(name + ".npy", (1980, 1, 1, 0, 0, 0)), data.getvalue())


def main():
    folder, out = sys.argv[1:]
    torch.set_num_threads(1)
    model = BertModel.from_pretrained(folder).eval()
    lengths = np.array([len(s) for s in SEQUENCES], np.int32)
    ids = np.array([s + [0] * (TOKENS - len(s)) for s in SEQUENCES], np.int32)
    mask = torch.tensor(np.arange(TOKENS)[None, :] < lengths[:, None]).long()
    with torch.no_grad():
        result = model(input_ids=torch.tensor(ids).long(), attention_mask=mask)
    write_npz(out, {"ids": ids, "lengths": lengths, "hidden": result.last_hidden_state.numpy(),
                    "pooled": result.pooler_output.numpy()})


if __name__ == "__main__":
    main()
