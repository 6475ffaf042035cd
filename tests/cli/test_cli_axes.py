"""Axes: trials with the built-in runner, axes that a user declares, traces of axes and masks."""
import json
import pathlib
import random
import struct
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from icd_cli import DATA, ROOT, CliTest  # noqa: E402

BLOCK = DATA / "use-lite-ffn.safetensors"
HEADS = ROOT / "tests/data/bert-heads/masked"
IN, INNER = 6, 10
FORWARD = """
import json, struct, sys
data = open(sys.argv[1] + "/model.safetensors", "rb").read()
(n,) = struct.unpack("<Q", data[:8])
head = json.loads(data[8:8 + n])
def tensor(name):
    a, b = head[name]["data_offsets"]
    flat = struct.unpack(f"<{(b - a) // 4}f", data[8 + n + a:8 + n + b])
    cols = head[name]["shape"][-1]
    return [flat[i:i + cols] for i in range(0, len(flat), cols)]
up, down = tensor("h.0.up"), tensor("h.0.down")
x = [.1 * i - .2 for i in range(len(up[0]))]
inner = [max(0, sum(a * b for a, b in zip(row, x))) for row in up]
print(*[sum(a * b for a, b in zip(row, inner)) for row in down])
"""
MAP = """
axes:
  - name: h.{L}.inner
    repeat: {L: 1}
    size: %d
    bindings:
      - {tensor: "h.{L}.up", dim: 0}
      - {tensor: "h.{L}.down", dim: 1}
""" % INNER


def write_safetensors(path, tensors):
    head, body = {}, b""
    for name, rows in tensors.items():
        shape = [len(rows), len(rows[0])] if isinstance(rows[0], list) else [len(rows)]
        flat = [v for row in rows for v in row] if len(shape) == 2 else rows
        data = struct.pack(f"<{len(flat)}f", *flat)
        head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


class Declared(CliTest):
    """A two-layer network of an architecture that icd does not know, and a program that runs it."""

    def setUp(self):
        super().setUp()
        rng = random.Random(3)
        self.model = self.dir / "other"
        self.model.mkdir()
        write_safetensors(self.model / "model.safetensors", {
            "h.0.up": [[rng.uniform(-1, 1) for _ in range(IN)] for _ in range(INNER)],
            "h.0.down": [[rng.uniform(-1, 1) for _ in range(INNER)] for _ in range(IN)]})
        (self.model / "config.json").write_text('{"model_type": "mine"}')
        (self.dir / "forward.py").write_text(FORWARD)
        (self.dir / "map.yaml").write_text(MAP)
        self.trial = f"{sys.executable} forward.py {{model}}"

    def test_without_a_map_the_error_says_what_to_do(self):
        self.fails(3, "axes", "other", say=["mine", "--map"])

    def test_right_axes_pass_the_trial(self):
        axes = self.json("axes", "other", "--map", "map.yaml", "--trial", self.trial)["axes"]
        self.assertEqual([a["axis"] for a in axes], ["h.0.inner"])
        self.assertTrue(axes[0]["trial"]["ok"])
        self.assertEqual(list(self.dir.glob("icd-trial-*")), [])

    def test_a_wrong_axis_is_named_and_refused(self):
        lines = MAP.splitlines()
        (self.dir / "map.yaml").write_text("\n".join(lines[:-1]) + "\n")  # down is forgotten
        done = self.icd("axes", "other", "--map", "map.yaml", "--trial", self.trial, code=1)
        self.assertIn("WRONG", done.stdout)
        self.order()
        done = self.icd("apply", "other", "--map", "map.yaml", "--trial", self.trial,
                        "--axis", "h.0.inner=perm.json", "-o", "out", code=1)
        self.assertIn("h.0.inner is wrong", done.stderr)
        self.assertFalse((self.dir / "out").exists())

    def order(self):
        order = list(range(INNER))
        random.Random(5).shuffle(order)
        (self.dir / "order.json").write_text(json.dumps(order))
        (self.dir / "pairs.csv").write_text("".join(f"{a},{b},1\n" for a, b in zip(order, order[1:])))
        self.icd("graph", "-t", "pairs.csv", "--d", INNER, "-o", "W.csr.npz", "-q")
        self.icd("solve", "W.csr.npz", "-o", "perm.json", "--granule", "2", "-q")

    def test_apply_tries_first_and_the_result_opens_again(self):
        self.order()
        apply = ["apply", "other", "--map", "map.yaml", "--axis", "h.0.inner=perm.json", "-o", "out"]
        self.fails(3, *apply, say=["cannot be tried", "--trial"])
        self.icd(*apply, "--trial", self.trial)
        self.assertNotEqual((self.dir / "out/model.safetensors").read_bytes(),
                            (self.model / "model.safetensors").read_bytes())
        axes = self.json("axes", "out", "--trial", self.trial)["axes"]
        self.assertTrue(axes[0]["trial"]["ok"])

    def test_maps_that_do_not_fit_are_refused_with_their_line(self):
        for old, new, say in (
                ('"h.{L}.down", dim: 1', '"h.{L}.dawn", dim: 1', ["map.yaml:8", "h.0.dawn"]),
                ("dim: 1", "dim: 2", ["map.yaml:8", "dim"]),
                (f"size: {INNER}", f"size: {INNER + 1}", ["expected at least"]),
                ("size:", "siez:", ["map.yaml:5", "siez"]),
                ('- {tensor: "h.{L}.down", dim: 1}', '- {tensor: "h.{L}.up", dim: 0}', ["do not overlap"]),
                ("repeat: {L: 1}", "repeat: {L: 2}", ["h.1.up"])):
            (self.dir / "map.yaml").write_text(MAP.replace(old, new))
            self.fails(6, "axes", "other", "--map", "map.yaml", say=say)

    def test_a_trial_command_that_fails(self):
        self.fails(4, "axes", "other", "--map", "map.yaml", "--trial", "echo broken >&2; exit 2", say=["broken", "code 2"])
        self.fails(4, "axes", "other", "--map", "map.yaml", "--trial", "echo x", say=["numbers"])


class BuiltIn(CliTest):
    def test_every_axis_of_known_models_is_right(self):
        for model in (HEADS, BLOCK):
            axes = self.json("axes", model, "--check")["axes"]
            self.assertTrue(axes and all(a["trial"]["ok"] for a in axes), axes)

    def test_traces_of_all_axes(self):
        rng = random.Random(1)
        ids = [rng.randrange(1, 40) for _ in range(8 * 8)]
        head = b"{'descr': '<i4', 'fortran_order': False, 'shape': (8, 8), }"
        head += b" " * (-(10 + len(head) + 1) % 64) + b"\n"
        (self.dir / "ids.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head +
                                           struct.pack(f"<{len(ids)}i", *ids))
        out = self.json("trace", HEADS, "--input", "ids.npy", "--axes", "all", "-o", "t", "-q")
        self.assertEqual(out["axes"], len(self.json("axes", HEADS)["axes"]))
        self.assertEqual(out["tokens"], 64)
        self.assertTrue(0 < out["overhead"] < 1)
        self.icd("graph", "-t", "t/axes/layer.1.head.2.qk/trace.icdt", "-o", "W.csr.npz", "-q")
        self.fails(2, "trace", HEADS, "--input", "ids.npy", "--axes", "nothing", "-o", "u", say=["nothing"])

    def test_masks_of_a_pruned_model(self):
        rng = random.Random(2)
        rows = [[0.0 if (r // 16 + c) % 2 else rng.uniform(.1, 1) for c in range(12)] for r in range(32)]
        write_safetensors(self.dir / "pruned.safetensors", {
            "layer.0.ffn.w1": rows, "layer.0.ffn.w2": [[1.0] * 32 for _ in range(12)],
            "layer.0.ffn.b1": [0.0] * 32, "layer.0.ffn.b2": [0.0] * 12})
        out = self.icd("trace", "pruned.safetensors", "--source", "masks", "--vector", "16", "-o", "m")
        self.assertIn("1 linears, 2 row blocks", out.stdout)


if __name__ == "__main__":
    unittest.main()
