#!/usr/bin/python3
"""tools/gguf_to_safetensors.py: a GGUF file made from known weights gives them back."""
import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest

try:
    import numpy as np
except ImportError:
    print("skipped: NumPy is not here")
    sys.exit(77)

SOURCE = os.environ.get("ICD_SOURCE_DIR", ".")
TOOL = os.path.join(SOURCE, "tools", "gguf_to_safetensors.py")
HEADS, KV_HEADS, HIDDEN, INNER, VOCAB, DIM = 4, 2, 32, 64, 5, 8


def text(s):
    data = s.encode()
    return struct.pack("<Q", len(data)) + data


def value(v):
    """(type, bytes) of a metadata value."""
    if isinstance(v, str):
        return 8, text(v)
    if isinstance(v, bool):
        return 7, struct.pack("<?", v)
    if isinstance(v, int):
        return 4, struct.pack("<I", v)
    if isinstance(v, float):
        return 6, struct.pack("<f", v)
    kind = value(v[0])[0]
    return 9, struct.pack("<IQ", kind, len(v)) + b"".join(value(x)[1] for x in v)


def halves(low_high):
    return (low_high[:, :16] | low_high[:, 16:] << 4).astype(np.uint8)


def encode(kind, rng, shape):
    """Random quantised bytes of a tensor and the values that they stand for."""
    blocks = int(np.prod(shape)) // 32
    d = rng.uniform(.01, .1, blocks).astype(np.float16)
    m = rng.uniform(-1, 1, blocks).astype(np.float16)
    q = rng.integers(0, 16, (blocks, 32), dtype=np.uint8)
    wide = d.astype(np.float32)[:, None]
    if kind == "F32":
        w = rng.standard_normal(shape).astype(np.float32)
        return 0, w.tobytes(), w
    if kind == "Q4_0":
        data = b"".join(a.tobytes() + b.tobytes() for a, b in zip(d, halves(q)))
        return 2, data, (wide * (q.astype(np.float32) - 8)).reshape(shape)
    if kind == "Q4_1":
        data = b"".join(a.tobytes() + b.tobytes() + c.tobytes() for a, b, c in zip(d, m, halves(q)))
        return 3, data, (wide * q + m.astype(np.float32)[:, None]).astype(np.float32).reshape(shape)
    s = rng.integers(-127, 128, (blocks, 32)).astype(np.int8)
    data = b"".join(a.tobytes() + b.tobytes() for a, b in zip(d, s))
    return 8, data, (wide * s).reshape(shape)


def permuted(w, heads):
    """What llama.cpp's converter does to the rows of q and k."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(w.shape)


META = {
    "general.architecture": "llama", "llama.block_count": 1, "llama.context_length": 77,
    "llama.embedding_length": HIDDEN, "llama.feed_forward_length": INNER, "llama.attention.head_count": HEADS,
    "llama.attention.head_count_kv": KV_HEADS, "llama.rope.freq_base": 100000.0, "llama.rope.dimension_count": DIM,
    "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.vocab_size": VOCAB, "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": ["<x>", "a", "b", "ab", "\u0120"],
    "tokenizer.ggml.token_type": [3, 1, 1, 1, 1], "tokenizer.ggml.merges": ["a b"], "flag": True,
}
TENSORS = [
    ("token_embd.weight", (VOCAB * 32, HIDDEN), "Q8_0"), ("output_norm.weight", (HIDDEN,), "F32"),
    ("blk.0.attn_norm.weight", (HIDDEN,), "F32"), ("blk.0.ffn_norm.weight", (HIDDEN,), "F32"),
    ("blk.0.attn_q.weight", (HEADS * DIM, HIDDEN), "Q4_1"), ("blk.0.attn_k.weight", (KV_HEADS * DIM, HIDDEN), "Q4_0"),
    ("blk.0.attn_v.weight", (KV_HEADS * DIM, HIDDEN), "Q4_1"), ("blk.0.attn_output.weight", (HIDDEN, HEADS * DIM), "Q8_0"),
    ("blk.0.ffn_gate.weight", (INNER, HIDDEN), "Q4_1"), ("blk.0.ffn_up.weight", (INNER, HIDDEN), "Q4_1"),
    ("blk.0.ffn_down.weight", (HIDDEN, INNER), "Q4_1"),
]


def write_gguf(path, meta):
    rng, want = np.random.default_rng(1), {}
    infos, body = b"", b""
    for name, shape, kind in TENSORS:
        code, data, w = encode(kind, rng, shape)
        body += b"\0" * (-len(body) % 32)
        infos += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in shape[::-1])
        infos += struct.pack("<IQ", code, len(body))
        body += data
        want[name] = w
    head = b"GGUF" + struct.pack("<IQQ", 3, len(TENSORS), len(meta))
    for key, v in meta.items():
        kind, data = value(v)
        head += text(key) + struct.pack("<I", kind) + data
    head += infos
    with open(path, "wb") as out:
        out.write(head + b"\0" * (-len(head) % 32) + body)
    return want


def read_safetensors(path):
    with open(path, "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        header, body = json.loads(file.read(size)), file.read()
    kinds = {"F32": np.float32, "F16": np.float16}
    return {name: np.frombuffer(body[t["data_offsets"][0]:t["data_offsets"][1]], kinds[t["dtype"]]).reshape(t["shape"])
            for name, t in header.items() if name != "__metadata__"}


class Gguf(unittest.TestCase):
    def convert(self, meta, *options):
        folder = tempfile.mkdtemp()
        path, out = os.path.join(folder, "m.gguf"), os.path.join(folder, "out")
        want = write_gguf(path, meta)
        done = subprocess.run([sys.executable, TOOL, path, out, *options], capture_output=True, text=True, check=False)
        return want, out, done

    def test_weights(self):
        for dtype in ("F32", "F16"):
            want, out, done = self.convert(META, "--dtype", dtype)
            self.assertEqual(done.returncode, 0, done.stderr)
            found = read_safetensors(os.path.join(out, "model.safetensors"))
            self.assertEqual(len(found), len(want))
            q = found["model.layers.0.self_attn.q_proj.weight"]
            kind = np.float32 if dtype == "F32" else np.float16
            self.assertEqual(q.dtype, kind)
            np.testing.assert_array_equal(permuted(q, HEADS), want["blk.0.attn_q.weight"].astype(kind))
            k = found["model.layers.0.self_attn.k_proj.weight"]
            np.testing.assert_array_equal(permuted(k, KV_HEADS), want["blk.0.attn_k.weight"].astype(kind))
            for new, old in (("embed_tokens", "token_embd"), ("layers.0.mlp.down_proj", "blk.0.ffn_down"),
                             ("layers.0.self_attn.o_proj", "blk.0.attn_output"), ("layers.0.mlp.gate_proj", "blk.0.ffn_gate")):
                np.testing.assert_array_equal(found[f"model.{new}.weight"], want[f"{old}.weight"].astype(kind))
            np.testing.assert_array_equal(found["model.norm.weight"], want["output_norm.weight"])

    def test_configuration(self):
        _, out, done = self.convert(META)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(os.path.join(out, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
        self.assertEqual((config["num_key_value_heads"], config["head_dim"], config["rope_theta"]), (KV_HEADS, DIM, 100000.0))
        self.assertEqual((config["rms_norm_eps"], config["tie_word_embeddings"]), (1e-5, True))
        with open(os.path.join(out, "tokenizer.json"), encoding="utf-8") as file:
            tokenizer = json.load(file)
        self.assertEqual(tokenizer["model"]["vocab"]["ab"], 3)
        self.assertEqual([t["content"] for t in tokenizer["added_tokens"]], ["<x>"])

    def test_refusals(self):
        for key, v in (("general.architecture", "mamba"), ("tokenizer.ggml.model", "llama"), ("tokenizer.ggml.pre", "qwen2")):
            _, out, done = self.convert({**META, key: v})
            self.assertEqual(done.returncode, 1)
            self.assertIn(f"'{v}'", done.stderr)
            self.assertFalse(os.path.exists(os.path.join(out, "model.safetensors")))


if __name__ == "__main__":
    unittest.main()
