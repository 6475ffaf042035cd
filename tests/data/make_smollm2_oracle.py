#!/usr/bin/env python3
"""Makes smollm2_oracle.npz: hidden states (every fourth token) and perplexities of SmolLM2-135M in transformers.
Needs torch, transformers, tokenizers, and the folder that `tools/fetch_model.sh smollm2` makes:

    python3 tests/data/make_smollm2_oracle.py .cache/models/smollm2-135m data/text/austen.txt tests/data/smollm2_oracle.npz
"""
import pathlib
import sys

import numpy as np
from tokenizers import Tokenizer

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools"))
from check_transformers import perplexity, run_llama  # noqa: E402

BATCH, SEQ = 2, 24


def main(model, text, out):
    tokenizer = Tokenizer.from_file(str(pathlib.Path(model) / "tokenizer.json"))
    all_ids = tokenizer.encode(pathlib.Path(text).read_text(encoding="utf-8")).ids
    ids = np.array(all_ids[:BATCH * SEQ], np.int32).reshape(BATCH, SEQ)
    hidden, logits = run_llama(model, ids.astype(np.int64))
    np.savez_compressed(out, ids=ids, hidden=hidden[:, ::4], perplexity=np.float64(perplexity(logits, ids)))


if __name__ == "__main__":
    main(*sys.argv[1:4])
