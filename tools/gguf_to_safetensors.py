#!/usr/bin/env python3
"""Turns a Llama model in a GGUF file into a Hugging Face folder: weights in safetensors (quantised blocks
are multiplied out), config.json, tokenizer.json. Needs NumPy only.

    gguf_to_safetensors.py MODEL.gguf OUT_DIR [--dtype F16|F32]

GGUF's writer (llama.cpp) turns pairs of neighbours where Hugging Face turns (i, i + d/2): it reorders the
rows of q and k, which is undone here. Byte-level BPE vocabularies only.
"""

import argparse
import json
import os
import struct

import numpy as np

SCALAR = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
TEXT, ARRAY = 8, 9
CONTROL = 3  # token type of <|im_start|> and its like


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, code):
        value, = struct.unpack_from("<" + code, self.data, self.at)
        self.at += struct.calcsize("<" + code)
        return value

    def text(self):
        size = self.take("Q")
        self.at += size
        return bytes(self.data[self.at - size:self.at]).decode()

    def value(self, kind):
        if kind == TEXT:
            return self.text()
        if kind == ARRAY:
            kind, count = self.take("I"), self.take("Q")
            return [self.value(kind) for _ in range(count)]
        return self.take(SCALAR[kind])


def read_header(data):
    """(metadata, [(name, shape, type, offset)], offset of the first tensor)"""
    r = Reader(data)
    if bytes(data[:4]) != b"GGUF":
        raise SystemExit("not a GGUF file")
    r.at = 4
    version, tensors, keys = r.take("I"), r.take("Q"), r.take("Q")
    if version not in (2, 3):
        raise SystemExit(f"GGUF version {version}: this script knows 2 and 3")
    meta = {}
    for _ in range(keys):
        key = r.text()
        meta[key] = r.value(r.take("I"))
    infos = []
    for _ in range(tensors):
        name, dims = r.text(), r.take("I")
        shape = [r.take("Q") for _ in range(dims)][::-1]
        infos.append((name, shape, r.take("I"), r.take("Q")))
    align = meta.get("general.alignment", 32)
    return meta, infos, (r.at + align - 1) // align * align


def blocks(data, count, fields):
    """An array of blocks of 32 values."""
    return np.frombuffer(data, np.dtype(fields), count // 32)


def nibbles(packed):
    """Values 0..15 of a block come from the low halves, 16..31 from the high ones."""
    return np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32)


def q4_0(data, count):
    b = blocks(data, count, [("d", "<f2"), ("q", "u1", 16)])
    return b["d"].astype(np.float32)[:, None] * (nibbles(b["q"]) - 8)


def q4_1(data, count):
    b = blocks(data, count, [("d", "<f2"), ("m", "<f2"), ("q", "u1", 16)])
    return b["d"].astype(np.float32)[:, None] * nibbles(b["q"]) + b["m"].astype(np.float32)[:, None]


def q8_0(data, count):
    b = blocks(data, count, [("d", "<f2"), ("q", "i1", 32)])
    return b["d"].astype(np.float32)[:, None] * b["q"].astype(np.float32)


DECODE = {0: lambda data, n: np.frombuffer(data, "<f4", n), 1: lambda data, n: np.frombuffer(data, "<f2", n),
          2: q4_0, 3: q4_1, 8: q8_0}

OUTSIDE = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight",
           "output.weight": "lm_head.weight"}
LAYER = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj",
         "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def new_name(name):
    if name in OUTSIDE:
        return OUTSIDE[name]
    _, layer, part, kind = name.split(".")
    return f"model.layers.{layer}.{LAYER[part]}.{kind}"


def unpermute(w, heads):
    """Rows (head, pair, half) back to (head, half, pair)."""
    d = w.shape[0] // heads
    return w.reshape(heads, d // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)


def read_tensors(data, meta, infos, start, dtype):
    heads = {"attn_q": meta["llama.attention.head_count"], "attn_k": meta["llama.attention.head_count_kv"]}
    for name, shape, kind, offset in infos:
        if kind not in DECODE:
            raise SystemExit(f"{name}: GGUF type {kind}: this script knows F32, F16, Q4_0, Q4_1, Q8_0")
        w = DECODE[kind](data[start + offset:], int(np.prod(shape))).reshape(shape)
        part = name.split(".")[2] if name.startswith("blk.") else ""
        if part in heads:
            w = unpermute(w, heads[part])
        # gains stay f32: they are few
        yield new_name(name), np.ascontiguousarray(w, np.float32 if len(shape) == 1 else dtype)


def write_safetensors(path, tensors):
    tensors = sorted(tensors, key=lambda t: (-t[1].itemsize, t[0]))
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, w in tensors:
        kind = {4: "F32", 2: "F16"}[w.itemsize]
        header[name] = {"dtype": kind, "shape": list(w.shape), "data_offsets": [at, at + w.nbytes]}
        at += w.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".tmp", "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, w in tensors:
            out.write(w.tobytes())
    os.replace(path + ".tmp", path)


def config_of(meta, infos):
    llama = {k[6:]: v for k, v in meta.items() if k.startswith("llama.")}
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": llama["embedding_length"], "intermediate_size": llama["feed_forward_length"],
        "num_hidden_layers": llama["block_count"], "num_attention_heads": llama["attention.head_count"],
        "num_key_value_heads": llama["attention.head_count_kv"], "head_dim": llama["rope.dimension_count"],
        "max_position_embeddings": llama["context_length"], "vocab_size": llama["vocab_size"],
        "rms_norm_eps": float(f"{llama['attention.layer_norm_rms_epsilon']:.6g}"),
        "rope_theta": llama["rope.freq_base"], "rope_scaling": None,
        "tie_word_embeddings": all(name != "output.weight" for name, *_ in infos),
        "attention_bias": False, "mlp_bias": False,
        "bos_token_id": meta.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": meta.get("tokenizer.ggml.eos_token_id"),
    }


def tokenizer_of(meta):
    """SmolLM splits off digits one by one, GPT-2 does not; the rest is byte-level BPE."""
    if meta["tokenizer.ggml.model"] != "gpt2":
        raise SystemExit(f"tokenizer '{meta['tokenizer.ggml.model']}': this script knows byte-level BPE")
    tokens, kinds = meta["tokenizer.ggml.tokens"], meta["tokenizer.ggml.token_type"]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    digits = {"type": "Digits", "individual_digits": True}
    split = {"smollm": {"type": "Sequence", "pretokenizers": [digits, level]}, "gpt-2": level}
    if meta["tokenizer.ggml.pre"] not in split:
        raise SystemExit(f"pre-tokenizer '{meta['tokenizer.ggml.pre']}': this script knows {', '.join(split)}")
    return {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True}
                         for i, (t, kind) in enumerate(zip(tokens, kinds)) if kind == CONTROL],
        "normalizer": None, "pre_tokenizer": split[meta["tokenizer.ggml.pre"]], "post_processor": None,
        "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "vocab": {t: i for i, t in enumerate(tokens)}, "merges": meta["tokenizer.ggml.merges"]},
    }


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as out:
        json.dump(value, out, indent=1, ensure_ascii=False)
        out.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf")
    parser.add_argument("out")
    parser.add_argument("--dtype", choices=["F16", "F32"], default="F16")
    args = parser.parse_args()
    data = np.memmap(args.gguf, np.uint8, "r")
    meta, infos, start = read_header(data)
    if meta["general.architecture"] != "llama":
        raise SystemExit(f"architecture '{meta['general.architecture']}': this script knows llama")
    os.makedirs(args.out, exist_ok=True)
    write_json(os.path.join(args.out, "config.json"), config_of(meta, infos))
    write_json(os.path.join(args.out, "tokenizer.json"), tokenizer_of(meta))
    dtype = np.float16 if args.dtype == "F16" else np.float32
    write_safetensors(os.path.join(args.out, "model.safetensors"),
                      list(read_tensors(data, meta, infos, start, dtype)))


if __name__ == "__main__":
    main()
